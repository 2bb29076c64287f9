//! `kill`: the signal, the process it reaches, and the containers it is an error for.

use super::Who::Both;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};

pub const CASES: &[Must] = &[
    must("runtime.kill.no-id", "an error when no id is given", Both, |t| t.fails(&["kill"]).map(drop)),
    must("runtime.kill.unknown", "an error when the container does not exist", Both, unknown),
    must("runtime.kill.stopped", "an error for a stopped container, without effect", Both, stopped),
    must("runtime.kill.created", "the signal reaches the process of a created container", Both, created),
    must("runtime.kill.signal", "the signal that is named is the one that is sent", Both, signal),
    must("runtime.kill.bad-signal", "an unknown signal is an error, without effect", Both, bad_signal),
    must("runtime.kill.status", "the status is `stopped` when the process has stopped", Both, status),
    must("runtime.kill.exited", "the same when it has exited by itself", Both, exited),
];

fn unknown(turn: &Turn) -> Verdict {
    turn.fails(&["kill", "no-such-container", "TERM"]).map(drop)
}

fn stopped(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 0"))?;
    container.ended()?;
    turn.fails(&["kill", &container.id, "TERM"])?;
    container.is("stopped")
}

fn created(turn: &Turn) -> Verdict {
    let container = turn.created(&turn.sleeper())?;
    container.kill("KILL")?;
    let code = container.ended()?;
    if code == 137 { container.is("stopped") } else { fail(format!("kill {} KILL", container.id), "killed by signal 9", code) }
}

/// As a name, as a name with SIG, as a number.
fn signal(turn: &Turn) -> Verdict {
    let script = "for s in USR1 USR2 HUP TERM; do trap \"echo $s\" $s; done; echo ready; while :; do sleep 0.01; done";
    let container = turn.started(&turn.sh(script))?;
    container.says("ready")?;
    for (word, name) in [("USR1", "USR1"), ("SIGUSR2", "USR2"), ("1", "HUP"), ("TERM", "TERM")] {
        container.kill(word)?;
        container.says(name)?;
    }
    let text = container.text();
    if text == "ready\nUSR1\nUSR2\nHUP\nTERM\n" { Ok(()) } else { fail(&container.made.line, "each signal once", text) }
}

fn bad_signal(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    for word in ["NOSUCH", "99", "-3"] {
        turn.fails(&["kill", &container.id, word])?;
    }
    container.is("running")
}

fn status(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    container.kill("KILL")?;
    super::container::until(|| container.is("stopped").is_ok())?;
    container.ended().map(drop)
}

fn exited(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sh("exit 3"))?;
    let code = container.ended()?;
    if code == 3 { container.is("stopped") } else { fail(&container.made.line, "exit code 3 at the subreaper", code) }
}
