//! `linux.seccomp`: the agent that is asked about system calls.

use super::Who::Both;
use super::console::{Master, Socket};
use super::container::Container;
use super::exec::{detached_as, process};
use super::turn::Turn;
use super::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::os::unix::net::UnixDatagram;

pub const CASES: &[Must] = &[
    must("linux.seccomp.listener.state", "the agent gets one container process state, then end of file", Both, state),
    must("linux.seccomp.listener.fd", "with it comes one descriptor, through which calls are answered", Both, descriptor),
    must("linux.seccomp.listener.exec", "the agent is told of a process of `exec` too", Both, exec),
    must("linux.seccomp.listener.absent", "a socket that cannot be reached is an error", Both, absent),
    must("linux.seccomp.listener.ignored", "without SCMP_ACT_NOTIFY the path is ignored", Both, ignored),
    must("linux.seccomp.listener.needed", "SCMP_ACT_NOTIFY without a listener is an error", Both, needed),
    must("linux.seccomp.metadata", "listenerMetadata without listenerPath is an error", Both, metadata),
];

/// A container whose calls of mkdir(2) are for whoever listens there.
fn supervised(turn: &Turn, socket: &Socket, script: &str) -> Value {
    let mut config = with(turn, json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}));
    config["process"]["args"] = json!(["/bin/sh", "-c", script]);
    config["linux"]["seccomp"]["listenerPath"] = json!(socket.path);
    config["linux"]["seccomp"]["listenerMetadata"] = json!("metadata");
    config
}

fn with(turn: &Turn, rule: Value) -> Value {
    let mut config = turn.sh("true");
    config["process"]["noNewPrivileges"] = json!(true);
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    config
}

/// Started; what the agent got when.
fn started<'t>(turn: &'t Turn, socket: &Socket, script: &str) -> Result<(Container<'t>, Master), No> {
    let container = turn.started(&supervised(turn, socket, script))?;
    let message = socket.receive()?;
    Ok((container, message))
}

const REFUSED: &str = "mkdir /work/x 2>/dev/null || echo refused; exec sleep 1000";

fn state(turn: &Turn) -> Verdict {
    let socket = Socket::new(turn)?;
    let (container, message) = started(turn, &socket, REFUSED)?;
    let state: Value = serde_json::from_slice(&message.to_end()?).map_err(std::io::Error::from)?;
    let pid = json!(container.pid()?);
    let (id, inner) = (json!(container.id), &state["state"]["pid"]);
    let seen = [&state["fds"], &state["pid"], &state["metadata"], &state["state"]["id"], inner];
    let wanted = [&json!(["seccompFd"]), &pid, &json!("metadata"), &id, &pid];
    if seen == wanted && state["ociVersion"].is_string() { Ok(()) } else { fail("the socket", format!("{wanted:?}"), state) }
}

fn descriptor(turn: &Turn) -> Verdict {
    let socket = Socket::new(turn)?;
    let (container, message) = started(turn, &socket, REFUSED)?;
    let came = message.descriptors.len();
    if came != 1 {
        return fail("the socket", "one descriptor", came);
    }
    // The kernel refuses for an agent that has gone (ENOSYS).
    drop(message);
    container.says("refused")
}

fn exec(turn: &Turn) -> Verdict {
    let socket = Socket::new(turn)?;
    let (container, first) = started(turn, &socket, "exec sleep 1000")?;
    first.to_end()?;
    let file = process(turn, &["/bin/mkdir", "/work/y"], |p| p["noNewPrivileges"] = json!(true))?;
    let pid = detached_as(&container, turn, &file, &[])?;
    let state: Value = serde_json::from_slice(&socket.receive()?.to_end()?).map_err(std::io::Error::from)?;
    let first = container.pid()?;
    let same = state["pid"] == pid && state["state"]["pid"] == first;
    if same { Ok(()) } else { fail("the socket", format!("pid {pid}, and {first} in the state"), state) }
}

/// Nothing there, and a socket that takes no streams.
fn absent(turn: &Turn) -> Verdict {
    let socket = Socket::new(turn)?;
    let _datagrams = UnixDatagram::bind(turn.dir.join("datagrams"))?;
    turn.column.actor.own(&turn.dir.join("datagrams"))?;
    for name in ["nobody", "datagrams"] {
        let mut config = supervised(turn, &socket, "true");
        config["linux"]["seccomp"]["listenerPath"] = json!(turn.dir.join(name));
        turn.refused(&config)?;
    }
    Ok(())
}

fn ignored(turn: &Turn) -> Verdict {
    let mut config = with(turn, json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}));
    config["linux"]["seccomp"]["listenerPath"] = json!(turn.dir.join("nobody"));
    let container = turn.started(&config)?;
    container.ended().and_then(|code| if code == 0 { Ok(()) } else { fail("the container", 0, code) })
}

fn needed(turn: &Turn) -> Verdict {
    turn.refused(&with(turn, json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"})))
}

fn metadata(turn: &Turn) -> Verdict {
    let mut config = with(turn, json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}));
    config["linux"]["seccomp"]["listenerMetadata"] = json!("metadata");
    turn.refused(&config)
}
