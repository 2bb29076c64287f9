//! What a container sees of its own cgroup, and what it may do there.

use super::group::{TOP, exec, limit, of, text};
use crate::oci::Who::Root;
use crate::oci::bundle::push;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};
use std::path::Path;

pub const CASES: &[Must] = &[
    must("cgroup.namespace", "in a cgroup namespace its own is the root", Root, namespace),
    must("cgroup.mount.ro", "a mount of type cgroup or cgroup2 shows its own, and not more; ro is read-only", Root, read_only),
    must("cgroup.mount.rw", "a writable one takes new groups", Root, writable),
    must("cgroup.mount.bind", "without a cgroup namespace it is a bind of its own", Root, bind),
    must("cgroup.delegated", "root of a user namespace divides its own cgroup", Root, delegated),
    must("cgroup.delegated.limits", "and cannot raise its own limits", Root, delegated_limits),
    must("cgroup.divided.exec", "exec into a container that has divided its cgroup", Root, divided_exec),
    must("cgroup.divided.delete", "delete of such a one", Root, divided_delete),
    must("cgroup.threaded", "ps, kill and delete when the payload has made a threaded group", Root, threaded),
    must("cgroup.nested", "a nested cgroupsPath is made, and gone after delete", Root, nested),
    must("cgroup.relative", "a relative cgroupsPath too", Root, relative),
    must("cgroup.there", "a cgroup that was there before is entered and stays", Root, there),
    must("cgroup.two", "two containers below one path: the first that goes leaves the other", Root, two),
];

/// Mounts it where it belongs, in a cgroup namespace.
pub fn mounted(config: &mut Value, kind: &str, options: &[&str]) {
    push(&mut config["linux"]["namespaces"], json!({"type": "cgroup"}));
    mount(config, kind, options);
}

fn mount(config: &mut Value, kind: &str, options: &[&str]) {
    // Some runtimes drop a cgroup mount that has no sysfs to stand on.
    push(&mut config["mounts"], json!({"destination": "/sys", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}));
    push(&mut config["mounts"], json!({"destination": TOP, "type": kind, "source": "cgroup", "options": options}));
}

fn namespace(t: &Turn) -> Verdict {
    let mut config = t.sh("cat /proc/self/cgroup");
    push(&mut config["linux"]["namespaces"], json!({"type": "cgroup"}));
    t.prints(&config, "0::/\n")
}

fn read_only(t: &Turn) -> Verdict {
    for kind in ["cgroup", "cgroup2"] {
        let mut config =
            t.sh("cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x 2>&1; ls -d /sys/fs/cgroup/*/ 2>/dev/null");
        mounted(&mut config, kind, &["ro", "nosuid", "noexec", "nodev"]);
        // The shell is 1, cat 2.
        let text = t.output(&config)?;
        if !text.starts_with("1\n")
            || !text.ends_with("mkdir: can't create directory '/sys/fs/cgroup/x': Read-only file system\n")
        {
            return fail(format!("a read-only mount of type {kind}"), "process 1, no mkdir, no group", text);
        }
    }
    Ok(())
}

fn writable(t: &Turn) -> Verdict {
    let mut config = t.sh("mkdir /sys/fs/cgroup/x && echo $$ >/sys/fs/cgroup/x/cgroup.procs && cat /proc/self/cgroup");
    mounted(&mut config, "cgroup2", &["rw"]);
    t.prints(&config, "0::/x\n")
}

fn bind(t: &Turn) -> Verdict {
    let mut config = limit(t.sh("cat /sys/fs/cgroup/pids.max; cat /proc/self/cgroup"), json!({"pids": {"limit": 41}}));
    mount(&mut config, "cgroup", &["ro"]);
    let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default().to_string();
    t.prints(&config, &format!("41\n0::{path}\n"))
}

/// Puts itself into a group of its own and hands controllers down.
const DIVIDE: &str = "cd /sys/fs/cgroup && mkdir init && echo $$ >init/cgroup.procs && \
                      echo '+memory +pids +cpu' >cgroup.subtree_control && mkdir sub && echo 3 >sub/pids.max && echo divided";

fn in_user_namespace(mut config: Value) -> Value {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
    mounted(&mut config, "cgroup", &[]);
    config
}

fn delegated(t: &Turn) -> Verdict {
    let config = in_user_namespace(t.sh(&format!("{DIVIDE}; cat sub/pids.max cgroup.subtree_control")));
    t.prints(&config, "divided\n3\ncpu memory pids\n")
}

fn delegated_limits(t: &Turn) -> Verdict {
    let script = "echo 99 2>/dev/null >/sys/fs/cgroup/pids.max && echo raised; cat /sys/fs/cgroup/pids.max";
    t.prints(&limit(in_user_namespace(t.sh(script)), json!({"pids": {"limit": 41}})), "41\n")
}

fn divided(t: &Turn) -> Value {
    let mut config = t.sh(&format!("{DIVIDE} && exec sleep 1000"));
    mounted(&mut config, "cgroup", &[]);
    config
}

fn divided_exec(t: &Turn) -> Verdict {
    let container = t.started(&divided(t))?;
    container.says("divided")?;
    let said = exec(t, &container, "cat /proc/self/cgroup")?;
    if said == "0::/init\n" { Ok(()) } else { fail("exec cat /proc/self/cgroup", "0::/init, where the first process is", said) }
}

fn divided_delete(t: &Turn) -> Verdict {
    let config = divided(t);
    let container = t.started(&config)?;
    container.says("divided")?;
    t.succeeds(&["delete", "--force", &container.id])?;
    gone(&of(&config))
}

fn gone(dir: &Path) -> Verdict {
    if dir.exists() { fail(dir.display(), "it is gone", "it is there") } else { Ok(()) }
}

fn threaded(t: &Turn) -> Verdict {
    let script = "cd /sys/fs/cgroup && mkdir threads && echo threaded >threads/cgroup.type && \
                  echo $$ >threads/cgroup.threads && echo made && exec sleep 1000";
    let mut config = t.sh(script);
    mounted(&mut config, "cgroup", &[]);
    let container = t.started(&config)?;
    container.says("made")?;
    let listed = t.succeeds(&["ps", "--format", "json", &container.id])?.out;
    let pids: Vec<i32> = serde_json::from_str(&listed).unwrap_or_default();
    if !pids.contains(&container.pid()?) {
        return fail("ps --format json", container.pid()?, listed);
    }
    t.succeeds(&["kill", "--all", &container.id, "KILL"])?;
    container.ended()?;
    container.delete()?;
    gone(&of(&config))
}

fn nested(t: &Turn) -> Verdict {
    let mut config = limit(t.sleeper(), json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 9}}));
    let tag = t.fresh();
    config["linux"]["cgroupsPath"] = json!(format!("/{tag}/one/two"));
    let container = t.started(&config)?;
    for (file, value) in [("memory.max", "67108864"), ("pids.max", "9")] {
        super::group::reads(&of(&config), file, value)?;
    }
    container.stopped()?;
    container.delete()?;
    gone(&of(&config))?;
    gone(&Path::new(TOP).join(tag))
}

fn relative(t: &Turn) -> Verdict {
    let mut config = t.sleeper();
    config["linux"]["cgroupsPath"] = json!(format!("{}/leaf", t.fresh()));
    let container = t.started(&config)?;
    let seen = container.proc("cgroup")?;
    let path = format!("{TOP}{}", seen.trim().trim_start_matches("0::"));
    if !seen.contains(&t.tag) {
        return fail("/proc/PID/cgroup", &t.tag, seen);
    }
    container.stopped()?;
    container.delete()?;
    gone(Path::new(&path))
}

fn there(t: &Turn) -> Verdict {
    let config = t.sleeper();
    let dir = of(&config);
    std::fs::create_dir(&dir)?;
    let verdict = entered(t, &config);
    std::fs::remove_dir(&dir)?;
    verdict
}

fn entered(t: &Turn, config: &Value) -> Verdict {
    let container = t.started(config)?;
    let procs = text(&of(config), "cgroup.procs")?;
    if procs != container.pid()?.to_string() {
        return fail("cgroup.procs", container.pid()?, procs);
    }
    container.stopped()?;
    container.delete()
}

fn two(t: &Turn) -> Verdict {
    let (mut one, mut other, above) = (t.sleeper(), t.sleeper(), t.fresh());
    one["linux"]["cgroupsPath"] = json!(format!("/{above}/one"));
    other["linux"]["cgroupsPath"] = json!(format!("/{above}/other"));
    let (first, second) = (t.started(&one)?, t.started(&other)?);
    first.stopped()?;
    first.delete()?;
    gone(&of(&one))?;
    second.is("running")?;
    second.stopped()?;
    second.delete()?;
    gone(&of(&other))?;
    // Nobody's alone: as under runc it stays, for whoever has chosen the path.
    Ok(std::fs::remove_dir(Path::new(TOP).join(above))?)
}
