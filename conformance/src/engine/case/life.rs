//! From creation to removal, and again.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::{equal, until};
use crate::engine::left::Look;
use crate::report::Verdict;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const GROUP: Group = Group { name: "life", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("wait gives the exit code", On::Every, waited),
    check("rm refuses a running container, rm -f removes it", On::Every, removed),
    check("restart gives a new process", On::Every, restarted),
    check("--restart=on-failure counts", On::Every, on_failure),
    check("a failed start can be removed", On::Every, failed),
    check("twenty in a row leave nothing", On::Every, row),
    check("a health check is run in the container", On::Podmans, health_on_demand),
    check("a health check turns healthy", On::Docker, health),
    check("the death of its process by another's hand is noticed", On::Every, killed),
];

fn waited(p: &Play) -> Verdict {
    let name = p.ready(&[], "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")?;
    let waiting = p.cli.start(&["wait", &name])?;
    p.cli.run(&["kill", "-s", "TERM", &name])?.code_is(0)?;
    let ran = waiting.finish_beside_others()?;
    ran.must("9", ran.code == 0 && ran.out == "9\n")
}

fn removed(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let ran = p.cli.run(&["rm", &name])?;
    ran.must("a failure", ran.code != 0)?;
    equal("status", p.inspect(&name, ".State.Status")?, "running")?;
    p.cli.run(&["rm", "-f", &name])?.code_is(0)?;
    let ran = p.cli.run(&["inspect", &name])?;
    ran.must("no such container", ran.code != 0)
}

fn restarted(p: &Play) -> Verdict {
    let name = p.ready(&[], super::IDLE)?;
    let pid = p.inspect(&name, ".State.Pid")?;
    p.cli.run(&["restart", "-t", "5", &name])?.code_is(0)?;
    p.becomes(&name, ".State.Status", "running")?;
    equal("the process is another", p.inspect(&name, ".State.Pid")? != pid, true)
}

fn on_failure(p: &Play) -> Verdict {
    let name = p.background(&["--restart=on-failure:2"], "exit 3")?;
    until("restarts and status", "2 exited", || {
        Ok(format!("{} {}", p.inspect(&name, ".RestartCount")?, p.inspect(&name, ".State.Status")?))
    })
}

fn failed(p: &Play) -> Verdict {
    let name = p.name();
    let ran = p.cli.run(&["run", "--name", &name, "--network=none", crate::engine::image::NAME, "no-such-command"])?;
    ran.must("127", ran.code == 127)?;
    p.cli.run(&["rm", &name])?.code_is(0)
}

fn row(p: &Play) -> Verdict {
    let before = Look::now(p.site);
    (0..20).try_for_each(|n| p.sh(&[], &format!("exit {n}"))?.code_is(n))?;
    before.compare(p.site)
}

/// Without systemd podman has no timer, so it is told when.
fn health_on_demand(p: &Play) -> Verdict {
    let name = p.idle(&["--health-cmd=test -e /tmp/well", "--health-interval=disable"])?;
    p.cli.run(&["healthcheck", "run", &name])?.code_is(1)?;
    p.exec(&[], &name, ": > /tmp/well")?.code_is(0)?;
    p.cli.run(&["healthcheck", "run", &name])?.code_is(0)
}

fn health(p: &Play) -> Verdict {
    let name = p.idle(&["--health-cmd=test -e /tmp/well", "--health-interval=100ms", "--health-retries=1"])?;
    p.becomes(&name, ".State.Health.Status", "unhealthy")?;
    p.exec(&[], &name, ": > /tmp/well")?.code_is(0)?;
    p.becomes(&name, ".State.Health.Status", "healthy")
}

fn killed(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let pid = p.inspect(&name, ".State.Pid")?.parse().unwrap_or(0);
    equal("a pid", pid > 1, true)?;
    kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(std::io::Error::from)?;
    p.becomes(&name, ".State.Status", "exited")?;
    equal("exit code", p.inspect(&name, ".State.ExitCode")?, 137)
}
