//! Resources: what is asked stands in the cgroup, and the kernel holds the container to it.

use super::{Check, Group, On, Play, check, group_file};
use crate::engine::Name;
use crate::engine::cli::equal;
use crate::report::Verdict;
use std::time::Duration;

pub const GROUP: Group = Group { name: "limits", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("a memory limit kills", On::Rights, oom),
    check("memory and reservation stand in the cgroup", On::Rights, memory),
    check("a limit of processes stops a chain of forks", On::Rights, forks),
    check("--cpus is a quota", On::Rights, cpus),
    check("--cpu-shares", On::Rights, |p| written(p, "--cpu-shares=300", "cpu", "cpu.shares", "300")),
    check("--cpuset-cpus", On::Rights, |p| written(p, "--cpuset-cpus=0", "cpuset", "cpuset.cpus", "0")),
    check("--pids-limit", On::Rights, |p| written(p, "--pids-limit=77", "pids", "pids.max", "77")),
    check("a device that was not allowed cannot be opened", On::Rights, device_denied),
    check("a device that was allowed can", On::Every, device),
    check("pause stops every process, unpause lets them go on", On::Rights, pause),
    check("a paused container can be killed", On::Rights, paused_killed),
    check("update of memory and cpus reaches the cgroup", On::Rights, update),
    check("update of the number of processes reaches the cgroup", On::Docker, update_pids),
    check("update raises a memory limit again", On::Rights, raise),
    check("--cgroup-parent is the parent", On::Rights, parent),
    check("--cgroups=disabled makes none", On::Podman, disabled),
    check("--oom-score-adj", On::Every, |p| p.says(&["--oom-score-adj=500"], "cat /proc/self/oom_score_adj", "500")),
    check("--ulimit nofile", On::Every, |p| p.says(ULIMITS, "ulimit -Sn; ulimit -Hn", "1000\n1100")),
    check("stats shows a running one", On::Rights, stats),
];

/// podman sets the number of processes too, to more than root without CAP_SYS_RESOURCE may, unless it is told one.
const ULIMITS: &[&str] = &["--ulimit=nofile=1000:1100", "--ulimit=nproc=32768:32768"];

/// The victim is not the first process: the engine must see the event before the container's end.
fn oom(p: &Play) -> Verdict {
    let script = "tail /dev/zero; code=$?; sleep 0.3; exit $code";
    let name = p.background(&["--memory=16m", "--memory-swap=16m"], script)?;
    p.becomes(&name, ".State.Status", "exited")?;
    equal("exit code", p.inspect(&name, ".State.ExitCode")?, 137)?;
    // conmon 2.1.6 misses the event with every runtime here.
    if p.engine == Name::Docker { equal("OOMKilled", p.inspect(&name, ".State.OOMKilled")?, true) } else { Ok(()) }
}

fn memory(p: &Play) -> Verdict {
    let name = p.idle(&["--memory=64m", "--memory-reservation=32m"])?;
    equal("memory.limit_in_bytes", p.group_file(&name, "memory", "memory.limit_in_bytes")?, 64 << 20)?;
    equal("memory.soft_limit_in_bytes", p.group_file(&name, "memory", "memory.soft_limit_in_bytes")?, 32 << 20)
}

fn forks(p: &Play) -> Verdict {
    let chain = "i=0; while [ $i -lt 60 ]; do sleep 3 & i=$((i+1)); done; echo all";
    let ran = p.sh(&["--pids-limit=20"], chain)?;
    ran.must("`can't fork`, not all", ran.err.contains("can't fork") && !ran.out.contains("all"))
}

fn quota(p: &Play, name: &str) -> Result<f64, crate::report::No> {
    let number = |file: &str| Ok::<_, crate::report::No>(p.group_file(name, "cpu", file)?.parse::<f64>().unwrap_or(0.0));
    Ok(number("cpu.cfs_quota_us")? / number("cpu.cfs_period_us")?)
}

fn cpus(p: &Play) -> Verdict {
    let name = p.idle(&["--cpus=0.5"])?;
    equal("quota / period", quota(p, &name)?, 0.5)
}

fn written(p: &Play, option: &str, controller: &str, file: &str, expected: &str) -> Verdict {
    let name = p.idle(&[option])?;
    equal(file, p.group_file(&name, controller, file)?, expected)
}

/// A loop device that nobody has: were the device cgroup not there, the answer would be ENXIO.
fn device_denied(p: &Play) -> Verdict {
    let ran = p.sh(&["--cap-add=MKNOD"], "mknod /tmp/d b 7 250 && head -c 1 /tmp/d")?;
    ran.must("Operation not permitted", ran.code != 0 && ran.err.contains("not permitted"))
}

fn device(p: &Play) -> Verdict {
    p.says(&["--device=/dev/zero:/dev/nought"], "head -c 3 /dev/nought | wc -c", "3")
}

fn pause(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    // A command that counts in a file; exec, so that more than the first process must stand still.
    p.exec(&["-d"], &name, "while :; do echo >> /tmp/count; done")?.code_is(0)?;
    let root = format!("/proc/{}/root/tmp/count", p.inspect(&name, ".State.Pid")?);
    let count = || std::fs::metadata(&root).map_or(0, |m| m.len());
    crate::engine::cli::holds("it counts", || count() > 0)?;
    p.cli.run(&["pause", &name])?.code_is(0)?;
    equal("status", p.inspect(&name, ".State.Status")?, "paused")?;
    let before = count();
    std::thread::sleep(Duration::from_millis(300));
    equal("count while it is paused", count(), before)?;
    p.cli.run(&["unpause", &name])?.code_is(0)?;
    crate::engine::cli::holds("it counts again", || count() > before)?;
    equal("status", p.inspect(&name, ".State.Status")?, "running")
}

/// podman refuses to kill a paused container, but removes it.
fn paused_killed(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    p.cli.run(&["pause", &name])?.code_is(0)?;
    let words: &[&str] = if p.engine == Name::Docker { &["kill", &name] } else { &["rm", "-f", "-t", "0", &name] };
    p.cli.run(words)?.code_is(0)
}

fn update(p: &Play) -> Verdict {
    let name = p.idle(&["--memory=64m", "--memory-swap=64m"])?;
    p.cli.run(&["update", "--memory=48m", "--memory-swap=48m", "--cpus=0.25", &name])?.code_is(0)?;
    equal("memory.limit_in_bytes", p.group_file(&name, "memory", "memory.limit_in_bytes")?, 48 << 20)?;
    equal("quota / period", quota(p, &name)?, 0.25)
}

fn update_pids(p: &Play) -> Verdict {
    let name = p.idle(&["--pids-limit=66"])?;
    p.cli.run(&["update", "--pids-limit=55", &name])?.code_is(0)?;
    equal("pids.max", p.group_file(&name, "pids", "pids.max")?, 55)
}

fn raise(p: &Play) -> Verdict {
    let name = p.idle(&["--memory=32m", "--memory-swap=32m", "--pids-limit=66"])?;
    p.cli.run(&["update", "--memory=96m", "--memory-swap=96m", &name])?.code_is(0)?;
    equal("memory.limit_in_bytes", p.group_file(&name, "memory", "memory.limit_in_bytes")?, 96 << 20)?;
    equal("pids.max, which was not named", p.group_file(&name, "pids", "pids.max")?, 66)
}

fn parent(p: &Play) -> Verdict {
    let name = p.idle(&["--cgroup-parent=/mine", "--pids-limit=44"])?;
    let pid = p.inspect(&name, ".State.Pid")?;
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    equal("the container is in /mine", groups.contains(":pids:/mine/") || groups.contains("pids:/mine/"), true)?;
    equal("pids.max", group_file(&pid, "pids", "pids.max")?, 44)
}

fn disabled(p: &Play) -> Verdict {
    p.says(&["--cgroups=disabled"], "grep -c libpod /proc/self/cgroup; true", "0")
}

fn stats(p: &Play) -> Verdict {
    let name = p.idle(&["--memory=64m"])?;
    let ran = p.cli.run(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}} {{.MemUsage}}", &name])?;
    ran.must("its name, processes and memory", ran.code == 0 && ran.out.starts_with(&name) && ran.out.contains("B / "))
}
