//! Signals and ends.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::equal;
use crate::report::{Verdict, fail};
use std::time::{Duration, Instant};

pub const GROUP: Group = Group { name: "signals", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("stop ends what ignores SIGTERM after its timeout", On::Every, stubborn),
    check("stop lets a trap finish", On::Every, |p| stopped(p, &[], "TERM", 3)),
    check("--stop-signal is what stop sends", On::Every, |p| stopped(p, &["--stop-signal", "USR2"], "USR2", 3)),
    check("kill -s USR1 reaches the trap", On::Every, usr1),
    check("kill ends it at once: 137", On::Every, killed),
    check("kill of a stopped container is refused", On::Every, dead),
    check("a second process dies with the first", On::Every, with_first),
    check("SIGTERM of the attached engine reaches the command", On::Docker, proxied),
];

fn stubborn(p: &Play) -> Verdict {
    let name = p.ready(&[], "trap '' TERM; echo ready; while :; do sleep 0.1; done")?;
    let begin = Instant::now();
    p.cli.run(&["stop", "-t", "1", &name])?.code_is(0)?;
    let took = begin.elapsed();
    if took > Duration::from_secs(8) {
        return fail(format!("stop -t 1 {name}"), "an end soon after one second", format!("{took:?}"));
    }
    equal("exit code", p.inspect(&name, ".State.ExitCode")?, 137)
}

fn stopped(p: &Play, options: &[&str], signal: &str, code: i32) -> Verdict {
    let name = p.ready(options, &format!("trap 'exit {code}' {signal}; echo ready; while :; do sleep 0.05; done"))?;
    p.cli.run(&["stop", "-t", "10", &name])?.code_is(0)?;
    equal("exit code", p.inspect(&name, ".State.ExitCode")?, code)
}

fn usr1(p: &Play) -> Verdict {
    let name = p.ready(&[], "trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done")?;
    p.cli.run(&["kill", "-s", "USR1", &name])?.code_is(0)?;
    p.becomes(&name, ".State.ExitCode", "5")
}

fn killed(p: &Play) -> Verdict {
    let name = p.ready(&[], "trap '' TERM; echo ready; while :; do sleep 0.1; done")?;
    p.cli.run(&["kill", &name])?.code_is(0)?;
    p.becomes(&name, ".State.Status", "exited")?;
    equal("exit code", p.inspect(&name, ".State.ExitCode")?, 137)
}

fn dead(p: &Play) -> Verdict {
    let name = p.background(&[], "exit 0")?;
    p.becomes(&name, ".State.Status", "exited")?;
    let ran = p.cli.run(&["kill", &name])?;
    ran.must("a failure", ran.code != 0)
}

/// A number of seconds that no other sleep has.
const MARK: &str = "86413";

fn with_first(p: &Play) -> Verdict {
    let name = p.ready(&[], &format!("setsid sleep {MARK} & echo ready; wait"))?;
    p.cli.run(&["kill", &name])?.code_is(0)?;
    let alive = || crate::launch::processes().iter().any(|(_, _, line)| line.ends_with(&format!(": sleep {MARK}")));
    crate::engine::cli::holds("the second process is gone", || !alive())
}

fn proxied(p: &Play) -> Verdict {
    let name = p.name();
    let call = ["run", "--name", &name, "--network=none", crate::engine::image::NAME, "sh", "-c"];
    let script = "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let running = p.cli.start(&[&call[..], &[script]].concat())?;
    crate::engine::cli::holds("the container is ready", || p.cli.run(&["logs", &name]).is_ok_and(|r| r.out.contains("ready")))?;
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.finish_beside_others()?.code_is(4)
}
