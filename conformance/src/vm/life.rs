//! The lifecycle verbs on version 2: pause, kill, delete, ps, events.

use super::group::{capable, limit, of, reads, text};
use crate::oci::Who::Root;
use crate::oci::container::{Container, dead_or_gone, until};
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const CASES: &[Must] = &[
    must("pause", "a paused container stands still, and goes on", Root, pause),
    must("pause.kill", "SIGKILL reaches a paused container", Root, pause_kill),
    must("pause.exec", "exec into a paused container is refused, not stuck", Root, pause_exec),
    must("kill.all", "`kill --all` reaches every process without a PID namespace", Root, kill_all),
    must("kill.all.frozen", "SIGKILL also reaches those that the payload has frozen", Root, kill_frozen),
    must("kill.all.term", "a signal that is no SIGKILL is delivered once to each", Root, kill_term),
    must("delete.fork-bomb", "`delete --force` ends a fork bomb", Root, fork_bomb),
    must("delete.groups", "groups that the payload has made go with it", Root, delete_groups),
    must("ps", "`ps --format json` has every process, those of groups below too", Root, ps),
    must("events.stats", "`events --stats` counts what is used and says the limits", Root, stats),
    must("events.stats.hugetlb", "and how often a limit of huge pages was met", Root, failures),
    must("events.oom", "`events` tells of a process that is killed for want of memory", Root, oom),
];

/// Bytes that the payload has written by now.
fn ticks(t: &Turn) -> usize {
    t.mark("ticks").len()
}

fn ticking<'t>(t: &'t Turn<'t>) -> Result<Container<'t>, No> {
    let container = t.started(&t.traced("while :; do echo -n x >>/trace/ticks; /bin/busybox usleep 10000; done"))?;
    until(|| ticks(t) > 0)?;
    Ok(container)
}

fn pause(t: &Turn) -> Verdict {
    let container = ticking(t)?;
    t.succeeds(&["pause", &container.id])?;
    container.is("paused")?;
    let before = ticks(t);
    std::thread::sleep(Duration::from_millis(150));
    if ticks(t) != before {
        return fail("pause", "nothing is written any more", format!("{} bytes", ticks(t) - before));
    }
    t.succeeds(&["resume", &container.id])?;
    container.is("running")?;
    until(|| ticks(t) > before)
}

fn pause_kill(t: &Turn) -> Verdict {
    let container = ticking(t)?;
    t.succeeds(&["pause", &container.id])?;
    container.kill("KILL")?;
    // Version 2 lets a frozen process die.
    container.ended().map(drop)
}

fn pause_exec(t: &Turn) -> Verdict {
    let container = t.started(&t.sleeper())?;
    t.succeeds(&["pause", &container.id])?;
    let begin = Instant::now();
    let ran = t.fails(&["exec", &container.id, "/bin/true"])?;
    ran.must("paused, at once", begin.elapsed() < Duration::from_secs(5) && ran.err.contains("paused"))
}

/// Three sleepers beside the first process, as the host numbers them.
fn crowd(t: &Turn, before: &str) -> Result<(Value, String), No> {
    let mut config = t.traced(&format!("{before} for i in 1 2 3; do sleep 1000 & done; echo all; wait"));
    crate::oci::bundle::without_namespace(&mut config, "pid");
    Ok((config, "all".into()))
}

fn all_in(config: &Value) -> Result<Vec<i32>, No> {
    let list = text(&of(config), "cgroup.procs")?;
    Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
}

fn kill_all(t: &Turn) -> Verdict {
    let (config, word) = crowd(t, "")?;
    let container = t.started(&config)?;
    container.says(&word)?;
    let pids = all_in(&config)?;
    if pids.len() != 4 {
        return fail("cgroup.procs", "four processes", format!("{pids:?}"));
    }
    t.succeeds(&["kill", "--all", &container.id, "KILL"])?;
    until(|| pids.iter().all(|pid| dead_or_gone(*pid)))?;
    container.ended().map(drop)
}

fn kill_frozen(t: &Turn) -> Verdict {
    let script = "cd /sys/fs/cgroup && mkdir ice && { sleep 1000 & echo $! >ice/cgroup.procs; } && echo 1 >ice/cgroup.freeze && \
                  echo frozen && exec sleep 1000";
    let mut config = t.sh(script);
    super::view::mounted(&mut config, "cgroup", &[]);
    let container = t.started(&config)?;
    container.says("frozen")?;
    t.succeeds(&["kill", "--all", &container.id, "KILL"])?;
    container.ended()?;
    container.delete()
}

fn kill_term(t: &Turn) -> Verdict {
    let script = "trap 'echo -n x >>/trace/ticks' TERM; echo ready; while :; do sleep 1000 & wait $!; done";
    let config = t.traced(script);
    let container = t.started(&config)?;
    container.says("ready")?;
    t.succeeds(&["kill", "--all", &container.id, "TERM"])?;
    until(|| ticks(t) > 0)?;
    std::thread::sleep(Duration::from_millis(50));
    let count = ticks(t);
    container.is("running")?;
    if count == 1 { Ok(()) } else { fail("kill --all TERM", "one signal", count) }
}

fn fork_bomb(t: &Turn) -> Verdict {
    let config = limit(t.sh("bomb() { bomb | bomb & }; bomb; while :; do bomb; done"), json!({"pids": {"limit": 150}}));
    let container = t.started(&config)?;
    until(|| super::group::count(&of(&config), "pids.events", "max").is_ok_and(|n| n > 0))?;
    let ran = t.call(&["delete", "--force", &container.id])?;
    ran.must("exit 0", ran.code == 0)?;
    gone(&config)
}

fn gone(config: &Value) -> Verdict {
    if of(config).exists() { fail(of(config).display(), "it is gone", "it is there") } else { Ok(()) }
}

fn delete_groups(t: &Turn) -> Verdict {
    let mut config = t.sh("cd /sys/fs/cgroup && mkdir -p a/b/c d && sleep 1000 & sleep 1000 & wait");
    super::view::mounted(&mut config, "cgroup", &[]);
    let container = t.started(&config)?;
    until(|| of(&config).join("d").exists())?;
    container.stopped()?;
    container.delete()?;
    gone(&config)
}

fn ps(t: &Turn) -> Verdict {
    let script = "cd /sys/fs/cgroup && mkdir below && { sleep 1000 & echo $! >below/cgroup.procs; } && echo all && wait";
    let mut config = t.sh(script);
    super::view::mounted(&mut config, "cgroup", &[]);
    let container = t.started(&config)?;
    container.says("all")?;
    let ran = t.succeeds(&["ps", "--format", "json", &container.id])?;
    let pids: Vec<i32> = serde_json::from_str(&ran.out).unwrap_or_default();
    ran.must("two processes, the first among them", pids.len() == 2 && pids.contains(&container.pid()?))
}

fn failures(t: &Turn) -> Verdict {
    let mut config = t.sh("/bin/busybox fallocate -l 6291456 /tmp/huge/x; exec sleep 1000");
    crate::oci::bundle::push(
        &mut config["mounts"],
        json!({"destination": "/tmp/huge", "type": "hugetlbfs", "source": "hugetlbfs", "options": ["pagesize=2M"]}),
    );
    let container = t.started(&limit(config, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]})))?;
    let failed = || {
        let ran = t.call(&["events", "--stats", &container.id]).map(|ran| ran.out).unwrap_or_default();
        let line: Value = serde_json::from_str(&ran).unwrap_or_default();
        line["data"]["hugetlb"]["2MB"]["failcnt"].as_u64().is_some_and(|n| n > 0)
    };
    until(failed)
}

fn stats(t: &Turn) -> Verdict {
    let resources = json!({
        "memory": {"limit": 67_108_864, "swap": 100_663_296}, "pids": {"limit": 9}, "cpu": {"cpus": "1", "quota": 50_000},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
        "devices": [{"allow": true, "type": "b", "access": "rwm"}],
    });
    let (major, minor) = super::group::disk()?;
    let script = format!(
        "/bin/busybox mknod /tmp/disk b {major} {minor} && /bin/busybox dd if=/tmp/disk of=/dev/null bs=64k count=2 iflag=direct 2>/dev/null; \
         echo read; exec sleep 1000"
    );
    let container = t.started(&limit(capable(t.sh(&script), "CAP_MKNOD"), resources))?;
    container.says("read")?;
    let ran = t.succeeds(&["events", "--stats", &container.id])?;
    let line: Value = serde_json::from_str(&ran.out).unwrap_or_default();
    ran.must("a `stats` of this container", line["type"] == "stats" && line["id"] == container.id.as_str())?;
    let data = &line["data"];
    let equal = [
        ("/memory/usage/limit", json!(67_108_864)),
        ("/memory/swap/limit", json!(33_554_432)),
        ("/pids/current", json!(1)),
        ("/pids/limit", json!(9)),
    ];
    let wrong = equal.iter().find(|(at, value)| data.pointer(at) != Some(value));
    ran.must(&format!("{wrong:?}"), wrong.is_none())?;
    let positive = ["/memory/usage/usage", "/memory/raw/anon", "/cpu/usage/total", "/cpu/throttling/periods"];
    let zero = positive.iter().find(|at| data.pointer(at).and_then(Value::as_u64).is_none_or(|n| n == 0));
    ran.must(&format!("more than 0 at {zero:?}"), zero.is_none())?;
    ran.must("hugetlb of 2MB", data["hugetlb"]["2MB"]["usage"] == 0)?;
    let read = json!({"major": major, "minor": minor, "op": "Read", "value": 131_072});
    let bytes = data["blkio"]["ioServiceBytesRecursive"].as_array().cloned().unwrap_or_default();
    ran.must(&format!("{read} among the bytes"), bytes.contains(&read))
}

/// The first process survives: its children ask for too much, again and again, as nothing tells when `events` listens.
fn oom(t: &Turn) -> Verdict {
    let script = "while :; do /bin/busybox dd if=/dev/zero of=/dev/null bs=64M count=1; /bin/busybox usleep 300000; done";
    let config = limit(t.sh(script), json!({"memory": {"limit": 16_777_216, "swap": 16_777_216}}));
    let container = t.started(&config)?;
    let events = t.launch(&["events", "--interval", "1h", &container.id]).start(&t.column.actor)?;
    let said = events.output()?;
    let heard = until(|| crate::launch::text(&said).is_ok_and(|text| text.contains("\"oom\"")));
    heard.or_else(|_| fail("events", "an event of type oom", crate::launch::text(&said).unwrap_or_default()))?;
    container.stopped()?;
    let ran = events.finish_beside_others()?;
    ran.must("it ends with the container", ran.code == 0 && !ran.timed_out)?;
    reads(&of(&config), "memory.max", "16777216")
}
