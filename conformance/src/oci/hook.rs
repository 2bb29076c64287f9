//! Hooks that leave marks: what the cases put into `hooks`, and where they find what the hooks saw.

use super::bundle::{bind, push};
use super::turn::Turn;
use serde_json::{Value, json};
use std::path::Path;

/// Which namespaces a kind of hook belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The runtime's: the host's, for us.
    Runtime,
    /// The container's.
    Container,
}

/// When a kind of hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// `create`.
    Create,
    /// `start`.
    Start,
    /// `delete`.
    Delete,
}

/// One of the six.
pub struct Kind {
    /// Its key in `hooks`.
    pub name: &'static str,
    /// Where it is executed.
    pub side: Side,
    /// When.
    pub during: During,
    /// What `status` may be in the state that it reads.
    pub status: &'static [&'static str],
}

const CREATING: &[&str] = &["creating", "created"];

/// In the order in which they are called.
pub const KINDS: [Kind; 6] = [
    Kind { name: "prestart", side: Side::Runtime, during: During::Create, status: CREATING },
    Kind { name: "createRuntime", side: Side::Runtime, during: During::Create, status: CREATING },
    Kind { name: "createContainer", side: Side::Container, during: During::Create, status: CREATING },
    Kind { name: "startContainer", side: Side::Container, during: During::Start, status: &["created"] },
    Kind { name: "poststart", side: Side::Runtime, during: During::Start, status: &["running"] },
    Kind { name: "poststop", side: Side::Runtime, during: During::Delete, status: &["stopped"] },
];

/// A shell of the side that the hook runs on, with a script. `$T` is the directory of marks, on both sides; `$S` is what
/// came on stdin: it is read before anything else, because crun dies of SIGPIPE when nobody does.
pub fn shell(turn: &Turn, script: &str) -> Value {
    let (marks, script) = (format!("T={}", turn.dir.join("trace").display()), format!("S=$(cat); {script}"));
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", marks]})
}

/// A payload that sees the directory of marks under the host's name, as `$T`.
pub fn payload(turn: &Turn, script: &str) -> Value {
    let (mut config, trace) = (turn.sh(script), turn.dir.join("trace"));
    let name = trace.display().to_string();
    push(&mut config["mounts"], bind(&trace, &name));
    push(&mut config["process"]["env"], json!(format!("T={name}")));
    config
}

/// Adds a hook of a kind.
pub fn add(config: &mut Value, kind: &str, hook: Value) {
    push(&mut config["hooks"][kind], hook);
}

/// A hook that is a program of its own, not a shell from PATH.
pub fn program(path: &Path) -> Value {
    json!({"path": path, "args": [path]})
}
