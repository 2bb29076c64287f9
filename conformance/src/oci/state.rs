//! What a container's state says, and who may ask for it.

use super::Who::Both;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("runtime.scope.same-entity", "whoever has created a container can use every operation on it", Both, same_entity),
    must("runtime.state.required", "ociVersion, id, status, pid and bundle are in the state", Both, required),
    must("runtime.state.schema", "the JSON adheres to the state schema", Both, schema),
    must("runtime.state.bundle-absolute", "bundle is the absolute path, whatever `create` was told", Both, bundle_absolute),
    must("runtime.state.pid", "pid is that of the container process, as the runtime sees it", Both, pid),
    must("runtime.state.annotations", "annotations of the configuration are in the state", Both, annotations),
    must("runtime.state.status", "status goes through created, running, stopped", Both, status),
    must(
        "runtime.state.paused",
        "another value stands for a state that the specification does not define",
        super::Who::Root,
        paused,
    ),
    must("runtime.state.no-id", "an error when no id is given", Both, |t| t.fails(&["state"]).map(drop)),
    must("runtime.state.unknown", "an error when the container does not exist", Both, |t| t.unknown("no-such-container")),
];

fn same_entity(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    container.state()?;
    container.start()?;
    container.stopped()?;
    container.delete()?;
    turn.unknown(&container.id)
}

fn required(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    let state = container.state()?;
    holds(&state, "id is ours", state["id"] == container.id.as_str())?;
    holds(&state, "status created", state["status"] == "created")?;
    holds(&state, "a positive pid", state["pid"].as_i64().is_some_and(|p| p > 0))?;
    holds(&state, "the bundle", state["bundle"] == container.bundle.display().to_string())?;
    holds(&state, "ociVersion as SemVer", state["ociVersion"].as_str().is_some_and(is_semver))
}

fn holds(state: &Value, what: &str, it_does: bool) -> Verdict {
    if it_does { Ok(()) } else { fail("state", what, state) }
}

/// Three numbers with dots between, then perhaps `-` or `+` and more.
fn is_semver(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok())
}

fn schema(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    let created = container.state()?;
    container.start()?;
    let running = container.state()?;
    container.stopped()?;
    let stopped = container.state()?;
    [created, running, stopped].iter().try_for_each(adheres)
}

/// schema/state-schema.json.
pub fn adheres(state: &Value) -> Verdict {
    holds(
        state,
        "ociVersion, id, status, bundle are strings",
        ["ociVersion", "id", "status", "bundle"].iter().all(|f| state[*f].is_string()),
    )?;
    holds(state, "pid is an integer, not negative", state.get("pid").is_none_or(Value::is_u64))?;
    let map = |v: &Value| v.as_object().is_some_and(|all| all.values().all(Value::is_string));
    holds(state, "annotations map strings to strings", state.get("annotations").is_none_or(map))
}

fn bundle_absolute(turn: &Turn) -> Verdict {
    let (bundle, id) = (turn.bundle(&turn.sleeper())?, turn.fresh());
    let mut launch = turn.launch(&["create", "--bundle", ".", &id]);
    launch.dir = bundle.clone();
    let made = launch.start(&turn.column.actor)?.finish_beside_others()?;
    let state = turn.call(&["state", &id]);
    turn.succeeds(&["delete", "--force", &id])?;
    made.must("create exits 0", made.code == 0)?;
    let state: Value = serde_json::from_str(&state?.out).unwrap_or_default();
    holds(&state, &format!("bundle {}", bundle.display()), state["bundle"] == bundle.display().to_string())
}

fn pid(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("readlink /proc/self; readlink /proc/self/ns/uts; sleep 1000"))?;
    container.says("uts:")?;
    let (pid, uts) = (container.pid()?, container.proc("ns/uts")?);
    let state = container.state()?;
    holds(&state, &format!("pid {pid}"), state["pid"] == pid)?;
    let seen = container.text();
    if seen.contains(&uts) { Ok(()) } else { fail(format!("ns/uts of {pid}"), uts, seen) }
}

fn annotations(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["annotations"] = json!({"org.example.one": "1", "two": "deux é"});
    let state = turn.created(&config)?.state()?;
    let seen = &state["annotations"];
    holds(&state, "both annotations", seen["org.example.one"] == "1" && seen["two"] == "deux é")
}

fn status(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    container.is("created")?;
    container.start()?;
    container.is("running")?;
    container.stopped()?;
    container.is("stopped")
}

fn paused(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    turn.succeeds(&["pause", &container.id])?;
    container.is("paused")?;
    turn.succeeds(&["resume", &container.id])?;
    container.is("running")
}
