//! The lifecycle as a whole, and what an error may leave: nothing.

use super::Who::{Both, Root};
use super::bundle::{push, remove};
use super::turn::Turn;
use super::{Must, cgroups, must, named_in};
use crate::launch::{GRACE, orphans_end};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};
use std::path::Path;

pub const CASES: &[Must] = &[
    must("runtime.lifecycle.environment", "`create` makes the environment that config.json asks for", Both, environment),
    must("runtime.lifecycle.not-run", "`create` does not run the user's program", Both, not_run),
    must("runtime.lifecycle.config-frozen", "changes of config.json after `create` have no effect", Both, config_frozen),
    must("runtime.lifecycle.config-removed", "config.json may be gone after `create`", Both, config_removed),
    must("runtime.lifecycle.unable", "an error when the environment cannot be created", Both, unable),
    must("runtime.lifecycle.destroyed", "`delete` undoes what `create` has done", Root, destroyed),
    must("runtime.errors.create-no-trace", "a failed `create` leaves everything as it was", Both, create_no_trace),
    must("runtime.errors.id-free", "the id of a failed `create` can be used", Both, id_free),
    must("runtime.errors.start-no-trace", "a `start` that is refused leaves the container as it was", Both, start_no_trace),
    must("runtime.operations.supported", "state, create, start, kill and delete are supported", Both, supported),
];

fn environment(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    for name in ["pid", "ipc", "uts", "mnt"] {
        let (ours, inside) = (std::fs::read_link(format!("/proc/self/ns/{name}"))?, container.proc(&format!("ns/{name}"))?);
        if ours == Path::new(&inside) {
            return fail(&container.made.line, format!("a new {name} namespace"), inside);
        }
    }
    let mounts = container.proc("mountinfo")?;
    let there = |at: &str| mounts.lines().any(|l| l.split(' ').nth(4) == Some(at));
    if ["/", "/proc", "/dev", "/dev/pts"].iter().all(|at| there(at)) {
        Ok(())
    } else {
        fail(&container.made.line, "every mount", mounts)
    }
}

fn not_run(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.traced("touch /trace/ran; sleep 1000"))?;
    container.is("created")?;
    // The program would need less time than this second call of the runtime.
    container.is("created")?;
    if turn.trace("ran").exists() {
        return fail(&container.made.line, "nothing has run", "the payload's file is there");
    }
    container.start()?;
    super::container::until(|| turn.trace("ran").exists())
}

fn config_frozen(turn: &Turn) -> Verdict {
    let mut config = turn.sh("hostname; echo $WORD");
    push(&mut config["process"]["env"], json!("WORD=before"));
    let container = turn.created(&config)?;
    let changed = config.to_string().replace("WORD=before", "WORD=after").replace("\"inside\"", "\"changed\"");
    std::fs::write(container.bundle.join("config.json"), changed)?;
    container.start()?;
    container.ended()?;
    let text = container.text();
    if text == "inside\nbefore\n" { Ok(()) } else { fail(&container.made.line, "`inside`, `before`", text) }
}

fn config_removed(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sh("echo ran"))?;
    std::fs::remove_file(container.bundle.join("config.json"))?;
    container.start()?;
    container.ended()?;
    container.says("ran")?;
    container.is("stopped")?;
    container.delete()
}

/// A bind of something that is not there.
fn impossible(turn: &Turn) -> Value {
    let mut config = turn.sleeper();
    push(
        &mut config["mounts"],
        json!({"destination": "/work", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
    );
    config
}

fn unable(turn: &Turn) -> Verdict {
    turn.refused(&impossible(turn))
}

fn destroyed(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    push(&mut config["linux"]["namespaces"], json!({"type": "network"}));
    config["linux"]["resources"] = json!({"pids": {"limit": 20}});
    let container = turn.started(&config)?;
    let before = cgroups(&turn.tag);
    if before.is_empty() {
        return fail(&container.made.line, "a cgroup", "none");
    }
    container.stopped()?;
    container.delete()?;
    gone(turn, &format!("delete {}", container.id))
}

/// Nothing of the turn is on the host.
fn gone(turn: &Turn, line: &str) -> Verdict {
    let mut left = [cgroups(&turn.tag), named_in(&turn.state, &turn.tag)].concat();
    left.extend(orphans_end(GRACE));
    if left.is_empty() { Ok(()) } else { fail(line, "nothing is left", left.join("; ")) }
}

fn create_no_trace(turn: &Turn) -> Verdict {
    let mounts = super::host_mounts();
    // The last step that can fail: a program that is not there.
    for config in [impossible(turn), turn.config(&["/no/such/program"])] {
        let container = turn.create(&config)?;
        container.made.must("create fails", container.made.code != 0)?;
        gone(turn, &container.made.line)?;
        if super::host_mounts() != mounts {
            return fail(&container.made.line, "the host's mounts as before", super::host_mounts());
        }
    }
    Ok(())
}

fn id_free(turn: &Turn) -> Verdict {
    let id = turn.fresh();
    let bad = turn.bundle(&impossible(turn))?.display().to_string();
    turn.fails(&["create", "--bundle", &bad, &id])?;
    let good = turn.bundle(&turn.sleeper())?.display().to_string();
    let made = turn.call(&["create", "--bundle", &good, &id])?;
    turn.succeeds(&["delete", "--force", &id])?;
    made.must("create exits 0", made.code == 0)
}

fn start_no_trace(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let before = container.state()?;
    turn.fails(&["start", &container.id])?;
    let after = container.state()?;
    if before == after { Ok(()) } else { fail(format!("start {}", container.id), before, after) }
}

fn supported(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    remove(&mut config, "hostname");
    let container = turn.created(&config)?;
    container.state()?;
    container.start()?;
    container.kill("TERM")?;
    // init of a PID namespace ignores what it has no handler for.
    container.stopped()?;
    container.delete()
}
