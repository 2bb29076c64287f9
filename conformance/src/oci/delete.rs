//! `delete`: of stopped containers, all of it, and of nothing else.

use super::Who::{Both, Root};
use super::bundle::{bind, push};
use super::turn::Turn;
use super::{Must, cgroups, must, named_in};
use crate::report::{Verdict, fail};
use serde_json::json;
use std::fs;

pub const CASES: &[Must] = &[
    must("runtime.delete.no-id", "an error when no id is given", Both, |t| t.fails(&["delete"]).map(drop)),
    must("runtime.delete.unknown", "an error when the container does not exist", Both, unknown),
    must("runtime.delete.running", "an error for a running container, without effect", Both, running),
    must("runtime.delete.paused", "an error for a paused container, without effect", Root, paused),
    must("runtime.delete.resources", "everything that `create` has made is deleted", Both, resources),
    must("runtime.delete.foreign-kept", "what the container did not create is kept", Both, foreign_kept),
    must("runtime.delete.joined-kept", "a namespace and a cgroup of somebody else's are kept", Root, joined_kept),
    must("runtime.delete.id-reused", "the id may be used again", Both, id_reused),
];

fn unknown(turn: &Turn) -> Verdict {
    turn.fails(&["delete", "no-such-container"]).map(drop)
}

fn running(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let before = container.state()?;
    let ran = turn.fails(&["delete", &container.id])?;
    let after = container.state()?;
    if before == after { Ok(()) } else { fail(&ran.line, before, after) }
}

fn paused(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    turn.succeeds(&["pause", &container.id])?;
    let refused = turn.fails(&["delete", &container.id]).and_then(|_| container.is("paused"));
    turn.call(&["resume", &container.id])?;
    refused
}

fn resources(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 0"))?;
    container.ended()?;
    container.delete()?;
    turn.unknown(&container.id)?;
    let left = [cgroups(&turn.tag), named_in(&turn.state, &turn.tag)].concat();
    if left.is_empty() { Ok(()) } else { fail(format!("delete {}", container.id), "nothing is left", left.join("; ")) }
}

fn foreign_kept(turn: &Turn) -> Verdict {
    let (volume, mut config) = (turn.dir.join("trace/volume"), turn.sh("echo new > /work/new"));
    fs::create_dir(&volume)?;
    fs::write(volume.join("old"), "old")?;
    turn.column.actor.own(&volume)?;
    push(&mut config["mounts"], bind(&volume, "/work"));
    let container = turn.started(&config)?;
    container.ended()?;
    container.delete()?;
    let kept = [
        volume.join("old"),
        volume.join("new"),
        container.bundle.join("config.json"),
        container.bundle.join("rootfs/bin/busybox"),
    ];
    match kept.iter().find(|p| !p.exists()) {
        None => Ok(()),
        Some(path) => {
            fail(format!("delete {}", container.id), "volume and bundle are kept", format!("{} is gone", path.display()))
        }
    }
}

fn joined_kept(turn: &Turn) -> Verdict {
    let owner = turn.started(&turn.sleeper())?;
    let mut config = turn.sh("exit 0");
    super::bundle::without_namespace(&mut config, "ipc");
    push(&mut config["linux"]["namespaces"], json!({"type": "ipc", "path": format!("/proc/{}/ns/ipc", owner.pid()?)}));
    let guest = turn.started(&config)?;
    guest.ended()?;
    guest.delete()?;
    owner.is("running")?;
    owner.proc("ns/ipc").map(drop)
}

fn id_reused(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 0"))?;
    container.ended()?;
    container.delete()?;
    let bundle = turn.bundle(&turn.sleeper())?.display().to_string();
    turn.succeeds(&["create", "--bundle", &bundle, &container.id])?;
    container.is("created")
}
