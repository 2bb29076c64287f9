//! `linux.resources` when a container is made: each field in its file, and what the kernel then does.

use super::group::{capable, count, disk, exec, gets, limit, of, reads};
use crate::oci::Who::Root;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::json;
use std::time::{Duration, Instant};

pub const CASES: &[Must] = &[
    must("memory.limit", "memory.limit is memory.max", Root, memory_limit),
    must("memory.swap", "memory.swap, the sum, is memory.swap.max less the memory", Root, memory_swap),
    must("memory.unlimited", "-1 is max", Root, memory_unlimited),
    must("memory.reservation", "memory.reservation is memory.low", Root, memory_reservation),
    must("memory.oom", "above its limit a process is killed: exit 137, counted in memory.events", Root, memory_oom),
    must("cpu.quota", "cpu.quota and cpu.period are cpu.max", Root, cpu_quota),
    must("cpu.burst", "cpu.burst is cpu.max.burst", Root, cpu_burst),
    must("cpu.shares", "cpu.shares are cpu.weight: 1024 are 100", Root, cpu_shares),
    must("cpu.idle", "cpu.idle is cpu.idle", Root, cpu_idle),
    must("cpu.throttled", "a quota of a tenth of a CPU is held", Root, cpu_throttled),
    must("cpuset", "cpus and mems are where it may run", Root, cpuset),
    must("pids.limit", "pids.limit stops a chain of forks", Root, pids),
    must("io.weight", "blockIO.weight is io.weight", Root, io_weight),
    must("io.max", "the four throttles of a device are one line of io.max", Root, io_max),
    must("io.max.held", "a megabyte at two megabytes per second takes half a second", Root, io_held),
    must("hugetlb", "hugepageLimits are hugetlb.SIZE.max, reservations too", Root, hugetlb),
    must("unified", "unified keys are written as they stand", Root, unified),
    must("unified.last", "unified has the last word", Root, unified_last),
    must("limits.order", "limits hold before the first process enters", Root, order),
];

fn memory_limit(t: &Turn) -> Verdict {
    gets(t, json!({"memory": {"limit": 67_108_864}}), &[("memory.max", "67108864"), ("memory.swap.max", "max")])
}

fn memory_swap(t: &Turn) -> Verdict {
    let both = json!({"memory": {"limit": 67_108_864, "swap": 100_663_296}});
    gets(t, both, &[("memory.max", "67108864"), ("memory.swap.max", "33554432")])
}

fn memory_unlimited(t: &Turn) -> Verdict {
    gets(t, json!({"memory": {"limit": -1, "swap": -1}}), &[("memory.max", "max"), ("memory.swap.max", "max")])
}

fn memory_reservation(t: &Turn) -> Verdict {
    gets(t, json!({"memory": {"reservation": 16_777_216}}), &[("memory.low", "16777216"), ("memory.max", "max")])
}

/// A buffer of four times what is permitted.
const GLUTTON: &str = "/bin/busybox dd if=/dev/zero of=/dev/null bs=64M count=1";

fn memory_oom(t: &Turn) -> Verdict {
    let config = limit(t.sh(&format!("exec {GLUTTON}")), json!({"memory": {"limit": 16_777_216, "swap": 16_777_216}}));
    let container = t.started(&config)?;
    let code = container.ended()?;
    if code != 137 {
        return fail(GLUTTON, "exit 137", format!("exit {code}"));
    }
    match count(&of(&config), "memory.events", "oom_kill")? {
        0 => fail("memory.events", "oom_kill 1", "oom_kill 0"),
        _ => container.is("stopped"),
    }
}

fn cpu_quota(t: &Turn) -> Verdict {
    gets(t, json!({"cpu": {"quota": 50_000, "period": 200_000}}), &[("cpu.max", "50000 200000")])
}

fn cpu_burst(t: &Turn) -> Verdict {
    gets(t, json!({"cpu": {"quota": 50_000, "burst": 20_000}}), &[("cpu.max", "50000 100000"), ("cpu.max.burst", "20000")])
}

fn cpu_shares(t: &Turn) -> Verdict {
    gets(t, json!({"cpu": {"shares": 1024}}), &[("cpu.weight", "100")])
}

fn cpu_idle(t: &Turn) -> Verdict {
    gets(t, json!({"cpu": {"idle": 1}}), &[("cpu.idle", "1"), ("cpu.weight", "0")])
}

fn cpu_throttled(t: &Turn) -> Verdict {
    let config = limit(t.sh("while :; do :; done"), json!({"cpu": {"quota": 10_000, "period": 100_000}}));
    let _container = t.started(&config)?;
    let used = || count(&of(&config), "cpu.stat", "usage_usec");
    let (before, begin) = (used()?, Instant::now());
    std::thread::sleep(Duration::from_millis(600));
    let (used, took) = (used()? - before, begin.elapsed().as_micros());
    // Twice the tenth: a period that has begun is used to its end.
    let held = u128::from(used) * 5 < took && count(&of(&config), "cpu.stat", "nr_throttled")? > 0;
    if held { Ok(()) } else { fail("while :; do :; done", "a tenth of a CPU", format!("{used} µs in {took} µs")) }
}

fn cpuset(t: &Turn) -> Verdict {
    let config = limit(t.sleeper(), json!({"cpu": {"cpus": "1", "mems": "0"}}));
    let container = t.started(&config)?;
    reads(&of(&config), "cpuset.cpus", "1")?;
    reads(&of(&config), "cpuset.mems.effective", "0")?;
    let script = "while read -r word rest; do [ $word != Cpus_allowed_list: ] || echo $rest; done </proc/self/status";
    let list = exec(t, &container, script)?;
    if list == "1\n" { Ok(()) } else { fail(script, "1", list) }
}

fn pids(t: &Turn) -> Verdict {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do /bin/sleep 100 & done; echo never; wait";
    let config = limit(t.sh(script), json!({"pids": {"limit": 5}}));
    let container = t.started(&config)?;
    let code = container.ended()?;
    reads(&of(&config), "pids.max", "5")?;
    let stopped = count(&of(&config), "pids.events", "max")? > 0 && code != 0 && !container.text().contains("never");
    if stopped { Ok(()) } else { fail(script, "the shell cannot fork", format!("exit {code}, {:?}", container.text())) }
}

fn io_weight(t: &Turn) -> Verdict {
    gets(t, json!({"blockIO": {"weight": 1000}}), &[("io.weight", "default 10000")])
}

fn io_max(t: &Turn) -> Verdict {
    let (major, minor) = disk()?;
    let rate = |rate: u32| json!([{"major": major, "minor": minor, "rate": rate}]);
    let all = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400),
    }});
    let line = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=300 wiops=400");
    gets(t, all, &[("io.max", &line)])
}

fn io_held(t: &Turn) -> Verdict {
    let (major, minor) = disk()?;
    let resources = json!({
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": major, "minor": minor, "access": "rm"}],
        "blockIO": {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 2_097_152}]},
    });
    // Past the cache, in which another case may have left some.
    let script = format!(
        "/bin/busybox mknod /tmp/disk b {major} {minor} && /bin/busybox dd if=/tmp/disk of=/dev/null bs=64k count=16 iflag=direct 2>&1"
    );
    let config = limit(capable(t.sh(&script), "CAP_MKNOD"), resources);
    let begin = Instant::now();
    let container = t.started(&config)?;
    let (code, took) = (container.ended()?, begin.elapsed());
    let read = super::group::text(&of(&config), "io.stat")?;
    let held = code == 0 && took > Duration::from_millis(400) && read.contains("rbytes=1048576");
    let got = || format!("exit {code} after {took:?}, io.stat {read:?}, {:?}", container.text());
    if held { Ok(()) } else { fail(script, "1048576 bytes in half a second", got()) }
}

fn hugetlb(t: &Turn) -> Verdict {
    let two = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
    gets(t, two, &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")])
}

fn unified(t: &Turn) -> Verdict {
    let keys = json!({"unified": {"memory.high": "33554432", "cgroup.max.depth": "3", "cpu.weight.nice": "5", "pids.max": "77"}});
    gets(t, keys, &[("memory.high", "33554432"), ("cgroup.max.depth", "3"), ("cpu.weight.nice", "5"), ("pids.max", "77")])
}

fn unified_last(t: &Turn) -> Verdict {
    gets(t, json!({"pids": {"limit": 5}, "unified": {"pids.max": "9"}}), &[("pids.max", "9")])
}

/// The payload reads them first of all.
fn order(t: &Turn) -> Verdict {
    let mut config = limit(
        t.sh("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"),
        json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 9}}),
    );
    super::view::mounted(&mut config, "cgroup", &["ro"]);
    t.prints(&config, "67108864\n9\n")
}
