//! Who a process is: a user, and capabilities.

use crate::launch::Launch;
use crate::oci::process::status_line;
use crate::oci::turn::Turn;
use crate::report::{Verdict, fail};

/// A caller that has capabilities to hand on itself.
const CALLER: &[&str] = &["setpriv", "--inh-caps=+net_raw,+kill", "--ambient-caps=+net_raw,+kill", "--"];

fn called(turn: &Turn, words: &[&str]) -> Launch {
    let mut launch = turn.launch(words);
    if turn.column.actor.is_root() {
        launch.argv.splice(0..0, CALLER.iter().map(|w| w.to_string()));
    }
    launch
}

fn nothing_to_hand_on(who: &str, status: &str) -> Verdict {
    for set in ["CapInh", "CapAmb"] {
        let seen = status_line(status, set);
        if seen != "0000000000000000" {
            return fail(format!("{set} of {who}"), "none", seen);
        }
    }
    Ok(())
}

/// runc put every capability into the inheritable set as well: a file with inheritable capabilities then gave them to any user. The
/// caller's own, which execve(2) leaves in place, do not come in either.
pub fn inheritable(turn: &Turn) -> Verdict {
    let bundle = turn.bundle(&turn.config(&["/bin/cat", "/proc/self/status"]))?;
    let words = ["run", "--bundle", &bundle.display().to_string(), &turn.fresh()];
    let ran = called(turn, &words).start(&turn.column.actor)?.finish_beside_others()?;
    ran.must("exit 0", ran.code == 0)?;
    nothing_to_hand_on("the first process", &ran.out)?;

    let container = turn.started(&turn.sleeper())?;
    for more in [&[][..], &["--cap", "CAP_KILL"]] {
        let words = [&["exec"], more, &[&container.id, "/bin/cat", "/proc/self/status"]].concat();
        let ran = called(turn, &words).start(&turn.column.actor)?.finish_beside_others()?;
        ran.must("exit 0", ran.code == 0)?;
        nothing_to_hand_on(&format!("exec {more:?}"), &ran.out)?;
    }
    Ok(())
}

/// crun took the 1 for 0.
pub fn user_one(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    for (user, expected) in [("1", "1 0\n"), ("1:1", "1 1\n"), ("10", "10 0\n"), ("65534:1", "65534 1\n")] {
        let ran = turn.succeeds(&["exec", "--user", user, &container.id, "/bin/sh", "-c", "echo $(id -u) $(id -g)"])?;
        ran.must(expected, ran.out == expected)?;
    }
    Ok(())
}
