//! `start`: once, and of a created container only.

use super::Who::Both;
use super::bundle::remove;
use super::container::until;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};

pub const CASES: &[Must] = &[
    must("runtime.start.no-id", "an error when no id is given", Both, |t| t.fails(&["start"]).map(drop)),
    must("runtime.start.unknown", "an error when the container does not exist", Both, unknown),
    must("runtime.start.twice", "starting a running container is an error and changes nothing", Both, twice),
    must("runtime.start.stopped", "starting a stopped container is an error and changes nothing", Both, stopped),
    must("runtime.start.killed-before", "starting a container that was killed before is an error", Both, killed_before),
    must("runtime.start.runs", "the user's program runs as `process` says", Both, runs),
    must("runtime.start.status", "the status is `running` afterwards", Both, status),
    must("runtime.start.executed", "the user's program has been executed when `start` returns", Both, executed),
    must("runtime.start.no-process", "an error when `process` is not set", Both, no_process),
];

fn unknown(turn: &Turn) -> Verdict {
    turn.fails(&["start", "no-such-container"]).map(drop)
}

/// A payload that counts how often it was run.
const COUNTED: &str = "echo run >> /trace/runs; sleep 1000";

fn once(turn: &Turn, line: &str) -> Verdict {
    let runs = turn.mark("runs");
    if runs == "run\n" { Ok(()) } else { fail(line, "one run", runs) }
}

fn twice(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.traced(COUNTED))?;
    until(|| !turn.mark("runs").is_empty())?;
    let again = turn.fails(&["start", &container.id])?;
    container.is("running")?;
    once(turn, &again.line)
}

fn stopped(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.traced("echo run >> /trace/runs"))?;
    container.ended()?;
    let again = turn.fails(&["start", &container.id])?;
    container.is("stopped")?;
    once(turn, &again.line)
}

fn killed_before(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.traced(COUNTED))?;
    container.stopped()?;
    let start = turn.fails(&["start", &container.id])?;
    container.is("stopped")?;
    if turn.trace("runs").exists() { fail(&start.line, "no run", turn.mark("runs")) } else { container.delete() }
}

fn runs(turn: &Turn) -> Verdict {
    turn.prints(&turn.sh("echo $0 $PATH; pwd"), "/bin/sh /bin\n/\n")
}

fn status(turn: &Turn) -> Verdict {
    turn.started(&turn.sleeper())?.is("running")
}

/// `running` stands for a process that has executed the program, not for one that is about to.
fn executed(turn: &Turn) -> Verdict {
    for _ in 0..5 {
        let container = turn.started(&turn.sleeper())?;
        let line = container.proc("cmdline")?;
        if !line.starts_with("/bin/sleep") {
            return fail(format!("start {}", container.id), "the process is /bin/sleep", line.replace('\0', " "));
        }
    }
    Ok(())
}

/// Whichever of the two operations says so.
fn no_process(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    remove(&mut config, "process");
    let container = turn.create(&config)?;
    if container.made.code != 0 {
        return turn.unknown(&container.id);
    }
    turn.fails(&["start", &container.id]).map(drop)
}
