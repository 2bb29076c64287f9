//! Terminals: the runtime makes them in the container and hands their other end out over a socket.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::{COLUMNS, ROWS};
use crate::engine::image;
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "terminal", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("run -t gives the command a terminal", On::Every, |p| {
        terminal(p, &["run", "--rm", "-t", "--network=none", image::NAME])
    }),
    check("it is the controlling one, and /dev/console too", On::Every, controlling),
    check("it has the size of the caller's", On::Every, size),
    check("the exit code passes", On::Every, code),
    check("exec -t gives a terminal", On::Every, exec),
    check("without -t there is none", On::Every, |p| {
        p.says(&[], "tty", "not a tty").or_else(|_| p.sh(&[], "test -t 1")?.code_is(1))
    }),
];

fn terminal(p: &Play, call: &[&str]) -> Verdict {
    let ran = p.cli.on_terminal(&[call, &["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && tty"]].concat())?;
    ran.must("/dev/pts/0 or /dev/console", ran.code == 0 && (ran.out.contains("/dev/pts/") || ran.out.contains("/dev/console")))
}

fn on_terminal(p: &Play, script: &str) -> Result<crate::launch::Ran, crate::report::No> {
    p.cli.on_terminal(&["run", "--rm", "-t", "--network=none", image::NAME, "sh", "-c", script])
}

fn controlling(p: &Play) -> Verdict {
    let ran = on_terminal(p, "echo by tty >/dev/tty && echo by console >/dev/console")?;
    ran.must("both lines", ran.code == 0 && ran.out.contains("by tty") && ran.out.contains("by console"))
}

/// The engine sets the size after the start, so the script waits for it.
fn size(p: &Play) -> Verdict {
    let script =
        format!("i=0; until [ \"$(stty size)\" = '{ROWS} {COLUMNS}' ]; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.1; done");
    on_terminal(p, &script)?.code_is(0)
}

fn code(p: &Play) -> Verdict {
    on_terminal(p, "exit 5")?.code_is(5)
}

fn exec(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    terminal(p, &["exec", "-t", &name])
}
