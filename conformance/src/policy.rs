//! The policies of the matrix, in the forms people write.

use crate::scene::Scene;
use serde_json::{Value, json};

/// How many policies a row of the table speaks of.
pub const COUNT: usize = 7;

/// One policy: its name in the report, and its text for a scene.
pub struct Policy {
    /// Short, for the report.
    pub name: &'static str,
    /// Whether the host's network is shut.
    pub restricted: bool,
    /// Whether anything is confined at all.
    pub confined: bool,
    /// What is given to `--policy`: a preset's name or a JSON document.
    pub text: fn(&Scene) -> Text,
}

/// A preset or a document.
pub enum Text {
    /// By name.
    Preset(&'static str),
    /// By content.
    Json(Value),
}

/// In the order of the table's columns.
pub const POLICIES: [Policy; COUNT] = [
    Policy { name: "read-only", restricted: true, confined: true, text: |_| Text::Preset("read-only") },
    Policy { name: "workspace-write", restricted: true, confined: true, text: |s| Text::Json(workspace(s, false)) },
    Policy { name: "workspace-write+network", restricted: false, confined: true, text: |s| Text::Json(workspace(s, true)) },
    Policy { name: "restricted read, :minimal", restricted: true, confined: true, text: |_| Text::Json(scoped(true)) },
    Policy { name: "restricted read", restricted: true, confined: true, text: |_| Text::Json(scoped(false)) },
    Policy { name: "split with deny", restricted: true, confined: true, text: |s| Text::Json(split(s)) },
    Policy { name: "danger-full-access", restricted: false, confined: false, text: |_| Text::Preset("danger-full-access") },
];

impl Policy {
    /// The word after `--policy`: a preset, or a file written into the scene.
    pub fn word(&self, scene: &Scene) -> std::io::Result<String> {
        match (self.text)(scene) {
            Text::Preset(name) => Ok(name.into()),
            Text::Json(value) => Ok(scene.put("policy.json", &format!("{value:#}\n"))?.display().to_string()),
        }
    }
}

fn workspace(scene: &Scene, network: bool) -> Value {
    json!({"type": "workspace-write", "writable_roots": [scene.x()], "network_access": network})
}

/// An entry for a symbolic place.
pub fn special(kind: &str, access: &str) -> Value {
    json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access})
}

/// An entry for a path.
pub fn path(path: impl AsRef<std::path::Path>, access: &str) -> Value {
    json!({"path": {"type": "path", "path": path.as_ref()}, "access": access})
}

/// A pair of split policies with a restricted network.
pub fn pair(entries: Vec<Value>) -> Value {
    json!({"file_system": {"kind": "restricted", "entries": entries}, "network": "restricted"})
}

/// The workspace, with or without the system directories; the one with them is a permission profile.
fn scoped(minimal: bool) -> Value {
    let workspace = special("project_roots", "write");
    if !minimal {
        return pair(vec![workspace]);
    }
    let file_system = json!({"type": "restricted", "entries": [special("minimal", "read"), workspace]});
    json!({"type": "managed", "file_system": file_system, "network": "restricted"})
}

fn split(scene: &Scene) -> Value {
    let (w, out) = (scene.w(), scene.out());
    pair(vec![
        special("root", "read"),
        special("project_roots", "write"),
        path(w.join("locked"), "read"),
        path(w.join("secret"), "deny"),
        path(w.join("secret.env"), "deny"),
        path(w.join("secret2.env"), "none"),
        path(out.join("dir"), "deny"),
    ])
}
