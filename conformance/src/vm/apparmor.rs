//! `process.apparmorProfile`, for the first process and for exec. The machine has loaded `profile.apparmor`.

use super::group::{exec, refused};
use crate::oci::Who::Root;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail, skip};
use serde_json::{Value, json};
use std::path::Path;

pub const CASES: &[Must] = &[
    must("apparmor.run", "the first process is under the profile, and says so from inside", Root, run),
    must("apparmor.denied", "what the profile denies is denied", Root, denied),
    must("apparmor.no-new-privileges", "with noNewPrivileges too", Root, no_new_privileges),
    must("apparmor.user", "for an ordinary user without capabilities", Root, user),
    must("apparmor.user-namespace", "in a user namespace", Root, user_namespace),
    must("apparmor.exec", "exec has the profile of its own process file", Root, exec_own),
    must("apparmor.exec.option", "`exec --apparmor`", Root, exec_option),
    must("apparmor.exec.inherits", "exec without a file has the container's", Root, exec_inherits),
    must("apparmor.unconfined", "`unconfined` is a profile, none given is none", Root, unconfined),
    must("apparmor.missing", "a profile that is not loaded is refused by name", Root, missing),
    must("apparmor.missing.exec", "by exec too", Root, missing_exec),
    must("apparmor.masked", "a /proc of the bundle's making does not catch the label", Root, masked),
];

const PROFILE: &str = "codexrun-vm";
const OTHER: &str = "codexrun-vm-other";
const CURRENT: &str = "cat /proc/self/attr/current";

/// Without the parser nothing is loaded.
fn loaded() -> Verdict {
    let list = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    if list.contains(PROFILE) || !Path::new("/sys/kernel/security/apparmor").exists() {
        return Ok(());
    }
    skip("no profile is loaded: the machine was made without apparmor_parser (scripts/packages vm)")
}

fn under(t: &Turn, script: &str, profile: &str) -> Result<Value, No> {
    loaded()?;
    let mut config = t.sh(script);
    config["process"]["apparmorProfile"] = json!(profile);
    Ok(config)
}

fn enforced(profile: &str) -> String {
    format!("{profile} (enforce)\n")
}

fn run(t: &Turn) -> Verdict {
    t.prints(&under(t, CURRENT, PROFILE)?, &enforced(PROFILE))
}

fn denied(t: &Turn) -> Verdict {
    let script = "echo x 2>/dev/null >/work/file && echo written; echo x >/tmp/file && echo elsewhere";
    t.prints(&under(t, script, PROFILE)?, "elsewhere\n")
}

fn no_new_privileges(t: &Turn) -> Verdict {
    let mut config = under(t, CURRENT, PROFILE)?;
    config["process"]["noNewPrivileges"] = json!(true);
    t.prints(&config, &enforced(PROFILE))
}

fn user(t: &Turn) -> Verdict {
    let mut config = under(t, CURRENT, PROFILE)?;
    config["process"]["user"] = json!({"uid": 1001, "gid": 1001});
    config["process"]["capabilities"] = json!({});
    t.prints(&config, &enforced(PROFILE))
}

fn user_namespace(t: &Turn) -> Verdict {
    let mut config = under(t, CURRENT, PROFILE)?;
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    crate::oci::bundle::push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
    t.prints(&config, &enforced(PROFILE))
}

fn exec_own(t: &Turn) -> Verdict {
    loaded()?;
    let container = t.started(&t.sleeper())?;
    let mut process = t.config(&["/bin/sh", "-c", CURRENT])["process"].clone();
    process["apparmorProfile"] = json!(OTHER);
    let file = t.dir.join("process.json");
    std::fs::write(&file, process.to_string())?;
    let ran = t.succeeds(&["exec", "--process", &file.display().to_string(), &container.id])?;
    ran.must(OTHER, ran.out == enforced(OTHER))
}

fn exec_option(t: &Turn) -> Verdict {
    loaded()?;
    let container = t.started(&t.sleeper())?;
    let ran = t.succeeds(&["exec", "--apparmor", OTHER, &container.id, "/bin/sh", "-c", CURRENT])?;
    ran.must(OTHER, ran.out == enforced(OTHER))
}

fn exec_inherits(t: &Turn) -> Verdict {
    let container = t.started(&under(t, "exec sleep 1000", PROFILE)?)?;
    let said = exec(t, &container, CURRENT)?;
    if said == enforced(PROFILE) { Ok(()) } else { fail(CURRENT, enforced(PROFILE), said) }
}

fn unconfined(t: &Turn) -> Verdict {
    t.prints(&under(t, CURRENT, "unconfined")?, "unconfined\n")?;
    t.prints(&under(t, CURRENT, "")?, "unconfined\n")
}

fn missing(t: &Turn) -> Verdict {
    let config = under(t, CURRENT, "no-such-profile")?;
    refused(t, &config, &["process.apparmorProfile", "no-such-profile"])
}

fn missing_exec(t: &Turn) -> Verdict {
    let container = t.started(&t.sleeper())?;
    let ran = t.fails(&["exec", "--apparmor", "no-such-profile", &container.id, "/bin/true"])?;
    ran.must("it names no-such-profile", ran.err.contains("no-such-profile"))
}

/// CVE-2019-16884, CVE-2019-19921: with a plain directory as /proc the label would be written into a file of the bundle's.
fn masked(t: &Turn) -> Verdict {
    let mut config = under(t, "cat /real/self/attr/current", PROFILE)?;
    for mount in config["mounts"].as_array_mut().into_iter().flatten().filter(|m| m["destination"] == "/proc") {
        *mount = json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"});
    }
    crate::oci::bundle::push(&mut config["mounts"], json!({"destination": "/real", "type": "proc", "source": "proc"}));
    let container = t.create(&config)?;
    if container.made.code != 0 {
        // Refused is as good as confined.
        return Ok(());
    }
    container.start()?;
    container.ended()?;
    let said = container.text();
    if said == enforced(PROFILE) { Ok(()) } else { fail("cat attr/current", enforced(PROFILE), said) }
}
