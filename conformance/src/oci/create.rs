//! `create`: what it needs, what it refuses, and what there is after it.

use super::Who::{Both, Root};
use super::bundle::{push, without_namespace};
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::json;
use std::fs;

pub const CASES: &[Must] = &[
    must("runtime.create.no-id", "an error when no id is given", Both, no_id),
    must("runtime.create.no-bundle", "an error when the bundle is not there", Both, no_bundle),
    must("runtime.create.no-config", "an error when the bundle has no config.json", Both, no_config),
    must("runtime.create.unique-id", "an error for a taken id; the first container stays as it is", Both, unique_id),
    must("runtime.create.invalid-id", "an error for an invalid id; no container is created", Both, invalid_id),
    must("runtime.create.container", "a new container is created, its status is `created`", Both, created),
    must("runtime.create.applies", "every property but `process` is applied by `create`", Both, applies),
    must("runtime.create.args-not-applied", "process.args is not applied before `start`", Both, args_not_applied),
    must(
        "runtime.create.property-refused",
        "a property that cannot be applied is an error; no container is created",
        Root,
        property_refused,
    ),
    must("runtime.create.hostname-refused", "a hostname without a UTS namespace of its own is an error", Both, hostname_refused),
];

fn no_id(turn: &Turn) -> Verdict {
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    turn.fails(&["create", "--bundle", &bundle]).map(drop)
}

fn no_bundle(turn: &Turn) -> Verdict {
    let id = turn.fresh();
    turn.fails(&["create", "--bundle", "/no/such/bundle", &id])?;
    turn.unknown(&id)
}

fn no_config(turn: &Turn) -> Verdict {
    let (bundle, id) = (turn.bundle(&turn.sleeper())?, turn.fresh());
    fs::remove_file(bundle.join("config.json"))?;
    turn.fails(&["create", "--bundle", &bundle.display().to_string(), &id])?;
    turn.unknown(&id)
}

fn unique_id(turn: &Turn) -> Verdict {
    let first = turn.started(&turn.sleeper())?;
    let before = first.state()?;
    let second = turn.bundle(&turn.sleeper())?.display().to_string();
    turn.fails(&["create", "--bundle", &second, &first.id])?;
    let after = first.state()?;
    if before == after { Ok(()) } else { fail(format!("create {}", first.id), before, after) }
}

fn invalid_id(turn: &Turn) -> Verdict {
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    for id in ["", ".", "..", "../up", "a/b", "a b", "a\nb"] {
        turn.fails(&["create", "--bundle", &bundle, id])?;
    }
    let made: Vec<_> =
        fs::read_dir(&turn.state)?.flatten().filter(|e| !e.file_name().to_string_lossy().starts_with('.')).collect();
    if made.is_empty() { Ok(()) } else { fail("create", "an empty state directory", format!("{made:?}")) }
}

fn created(turn: &Turn) -> Verdict {
    turn.created(&turn.sleeper())?.is("created")
}

fn applies(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["root"]["readonly"] = json!(true);
    config["linux"]["maskedPaths"] = json!(["/etc"]);
    let container = turn.created(&config)?;
    let (pid, mounts) = (container.pid()?, container.proc("mountinfo")?);
    let options =
        |at: &str| mounts.lines().rfind(|l| l.split(' ').nth(4) == Some(at)).and_then(|l| l.split(' ').nth(5)).unwrap_or("");
    if !options("/").split(',').any(|o| o == "ro") || options("/etc").is_empty() {
        return fail(&container.made.line, "`/` read-only, `/etc` masked", mounts);
    }
    // The namespace's own view of its name, asked from outside.
    let name = std::process::Command::new("nsenter").args(["--target", &pid.to_string(), "--uts", "hostname"]).output()?;
    if name.stdout == b"inside\n" {
        Ok(())
    } else {
        fail(&container.made.line, "hostname `inside`", String::from_utf8_lossy(&name.stdout))
    }
}

fn args_not_applied(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    let line = container.proc("cmdline")?;
    if line.starts_with("/bin/sleep") {
        return fail(&container.made.line, "not yet the payload", line);
    }
    container.start()?;
    super::container::until(|| container.proc("cmdline").is_ok_and(|l| l.starts_with("/bin/sleep")))
}

fn property_refused(turn: &Turn) -> Verdict {
    let mut sysctl = turn.sleeper();
    sysctl["linux"]["sysctl"] = json!({"kernel.no_such_thing": "1"});
    turn.refused(&sysctl)?;
    let mut joined = turn.sleeper();
    without_namespace(&mut joined, "ipc");
    push(&mut joined["linux"]["namespaces"], json!({"type": "ipc", "path": "/no/such/namespace"}));
    turn.refused(&joined)
}

fn hostname_refused(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    without_namespace(&mut config, "uts");
    turn.refused(&config)
}
