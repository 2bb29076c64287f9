//! `update`: other limits for a container that runs.

use super::group::{limit, of, reads};
use crate::oci::Who::Root;
use crate::oci::container::Container;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("update.memory", "memory with swap goes up and down again", Root, memory),
    must("update.memory.alone", "memory alone leaves the swap as it is", Root, memory_alone),
    must("update.unlimited", "-1 takes a limit away", Root, unlimited),
    must("update.zero", "what is absent or 0 stays", Root, zero),
    must("update.options", "the options do what the fields do", Root, options),
    must("update.cpu", "quota, period, shares, idle up and down", Root, cpu),
    must("update.cpu.period", "a period alone leaves the quota", Root, period),
    must("update.cpuset", "another CPU", Root, cpuset),
    must("update.unified", "unified keys", Root, unified),
    must(
        "update.below-usage",
        "with checkBeforeUpdate a limit below what is used is refused and changes nothing",
        Root,
        below_usage,
    ),
    must("update.paused", "a paused container too", Root, paused),
    must("update.created", "a created container too", Root, created),
];

fn update(turn: &Turn, container: &Container, resources: &Value) -> Result<crate::launch::Ran, No> {
    let file = turn.dir.join("resources.json");
    std::fs::write(&file, resources.to_string())?;
    turn.call(&["update", "--resources", &file.display().to_string(), &container.id])
}

/// One step after the other, each with what the files then say.
fn steps(turn: &Turn, first: Value, steps: &[(Value, &[(&str, &str)])]) -> Verdict {
    let config = limit(turn.sleeper(), first);
    let container = turn.started(&config)?;
    steps.iter().try_for_each(|(resources, files)| {
        let ran = update(turn, &container, resources)?;
        ran.must(&format!("exit 0 for {resources}"), ran.code == 0)?;
        files.iter().try_for_each(|(file, value)| reads(&of(&config), file, value))
    })
}

const M: i64 = 1 << 20;

fn memory(t: &Turn) -> Verdict {
    let both = |limit: i64, swap: i64| json!({"memory": {"limit": limit * M, "swap": swap * M}});
    let up: &[(&str, &str)] = &[("memory.max", "268435456"), ("memory.swap.max", "268435456")];
    let down: &[(&str, &str)] = &[("memory.max", "33554432"), ("memory.swap.max", "16777216")];
    steps(t, both(64, 96), &[(both(256, 512), up), (both(32, 48), down)])
}

fn memory_alone(t: &Turn) -> Verdict {
    let first = json!({"memory": {"limit": 64 * M, "swap": 96 * M}});
    steps(t, first, &[(json!({"memory": {"limit": 80 * M}}), &[("memory.max", "83886080"), ("memory.swap.max", "33554432")])])
}

fn unlimited(t: &Turn) -> Verdict {
    let first = json!({"memory": {"limit": 64 * M, "swap": 96 * M}, "pids": {"limit": 9}, "cpu": {"quota": 10_000}});
    let none = json!({"memory": {"limit": -1, "swap": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}});
    let files: &[(&str, &str)] =
        &[("memory.max", "max"), ("memory.swap.max", "max"), ("pids.max", "max"), ("cpu.max", "max 100000")];
    steps(t, first, &[(none, files)])
}

fn zero(t: &Turn) -> Verdict {
    let first = json!({"memory": {"limit": 64 * M}, "pids": {"limit": 9}, "cpu": {"shares": 2048, "quota": 10_000}});
    let nothing = json!({"memory": {"limit": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0}, "blockIO": {"weight": 0}});
    let files: &[(&str, &str)] = &[("memory.max", "67108864"), ("pids.max", "9"), ("cpu.max", "10000 100000")];
    steps(t, first, &[(nothing, files), (json!({}), files)])
}

fn options(t: &Turn) -> Verdict {
    let config = t.sleeper();
    let container = t.started(&config)?;
    let words = ["--memory", "64m", "--memory-swap", "96m", "--pids-limit", "7", "--cpu-quota", "20000", "--cpuset-cpus", "0"];
    t.succeeds(&[&["update"], &words[..], &[&container.id]].concat())?;
    let files = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("pids.max", "7"),
        ("cpu.max", "20000 100000"),
        ("cpuset.cpus", "0"),
    ];
    files.iter().try_for_each(|(file, value)| reads(&of(&config), file, value))
}

fn cpu(t: &Turn) -> Verdict {
    let first = json!({"cpu": {"quota": 50_000, "period": 100_000, "shares": 1024}});
    let up = json!({"cpu": {"quota": 300_000, "period": 200_000, "shares": 262_144}});
    let idle = json!({"cpu": {"idle": 1}});
    let down = json!({"cpu": {"quota": 5000, "period": 50_000, "shares": 2, "idle": 0}});
    steps(
        t,
        first,
        &[
            (up, &[("cpu.max", "300000 200000"), ("cpu.weight", "10000")]),
            (idle, &[("cpu.idle", "1")]),
            (down, &[("cpu.max", "5000 50000"), ("cpu.idle", "0"), ("cpu.weight", "1")]),
        ],
    )
}

fn period(t: &Turn) -> Verdict {
    steps(t, json!({"cpu": {"quota": 50_000}}), &[(json!({"cpu": {"period": 200_000}}), &[("cpu.max", "50000 200000")])])
}

fn cpuset(t: &Turn) -> Verdict {
    steps(t, json!({"cpu": {"cpus": "0"}}), &[(json!({"cpu": {"cpus": "0-1"}}), &[("cpuset.cpus", "0-1")])])
}

fn unified(t: &Turn) -> Verdict {
    let keys = json!({"unified": {"memory.high": "50331648"}});
    steps(t, json!({"unified": {"memory.high": "33554432"}}), &[(keys, &[("memory.high", "50331648")])])
}

fn below_usage(t: &Turn) -> Verdict {
    // What is in a tmpfs is memory in use.
    let config = limit(
        t.sh("/bin/busybox dd if=/dev/zero of=/dev/fill bs=1M count=16 2>/dev/null; echo full; exec sleep 1000"),
        json!({"memory": {"limit": 64 * M}}),
    );
    let container = t.started(&config)?;
    container.says("full")?;
    let ran = update(t, &container, &json!({"memory": {"limit": 8 * M, "checkBeforeUpdate": true}}))?;
    ran.must("an error", ran.code != 0)?;
    reads(&of(&config), "memory.max", "67108864")?;
    container.is("running")
}

fn paused(t: &Turn) -> Verdict {
    let config = t.sleeper();
    let container = t.started(&config)?;
    t.succeeds(&["pause", &container.id])?;
    t.succeeds(&["update", "--pids-limit", "7", &container.id])?;
    container.is("paused")?;
    t.succeeds(&["resume", &container.id])?;
    reads(&of(&config), "pids.max", "7")
}

fn created(t: &Turn) -> Verdict {
    let config = t.sleeper();
    let container = t.created(&config)?;
    t.succeeds(&["update", "--pids-limit", "7", &container.id])?;
    reads(&of(&config), "pids.max", "7")?;
    container.start()
}
