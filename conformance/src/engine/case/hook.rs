//! OCI hooks, by way of podman's directory of hooks.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::equal;
use crate::engine::image;
use crate::report::{No, Verdict};
use serde_json::{Value, json};

pub const GROUP: Group = Group { name: "hooks", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("prestart gets the state on stdin", On::Podmans, |p| hooked(p, "prestart")),
    check("createRuntime gets the state on stdin", On::Podmans, |p| hooked(p, "createRuntime")),
    check("poststart gets the state on stdin", On::Podmans, |p| hooked(p, "poststart")),
    check("poststop gets the state on stdin", On::Podmans, |p| hooked(p, "poststop")),
    check("a hook that fails before the start stops it", On::Podmans, failing),
];

/// Runs a container with one hook; its exit code.
fn run(p: &Play, stage: &str, script: &str) -> Result<i32, No> {
    let name = p.number("hooks");
    let hook = json!({
        "version": "1.0.0",
        "hook": {"path": "/bin/sh", "args": ["sh", "-c", script]},
        "when": {"always": true},
        "stages": [stage],
    });
    p.cli.put(&format!("{name}/hook.json"), &hook.to_string())?;
    let dir = p.cli.dir().join(&name).display().to_string();
    let call = ["run", "--rm", "--network=none", image::NAME, "sh", "-c", "exit 3"];
    Ok(p.cli.with(&["--hooks-dir", &dir]).run(&call)?.code)
}

fn hooked(p: &Play, stage: &str) -> Verdict {
    let out = p.cli.dir().join(format!("{stage}.json"));
    let code = run(p, stage, &format!("cat > '{}'", out.display()))?;
    equal("exit code", code, 3)?;
    let read = || std::fs::read_to_string(&out).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    crate::engine::cli::holds("the hook has written the state", || read().is_some())?;
    let state = read().unwrap_or_default();
    let named = ["ociVersion", "id", "status", "bundle"].iter().all(|key| state[key].is_string());
    equal("ociVersion, id, status, bundle are there", named, true)
}

fn failing(p: &Play) -> Verdict {
    let code = run(p, "createRuntime", "exit 1")?;
    equal("the engine's own failure", (125..=127).contains(&code), true)
}
