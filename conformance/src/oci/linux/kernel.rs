//! Parameters of the kernel, and how it is to treat the process: sysctl, personality, memory policy, shares of caches; of config.md
//! scheduler, I/O priority and the processors of `exec`.

use super::invalid;
use crate::oci::Who::{Both, Root};
use crate::oci::bundle::push;
use crate::oci::process::status_line;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, fail, skip};
use serde_json::{Value, json};
use std::fs;

pub const CASES: &[Must] = &[
    must("linux.sysctl", "parameters are those of the container's namespaces", Both, sysctl),
    must("linux.personality.domain", "LINUX and LINUX32 are the process's execution domain", Both, personality),
    must("linux.personality.invalid", "another domain, or a flag, of which there are none, is an error", Both, |t| {
        invalid(t, |c| c["linux"]["personality"] = json!({"domain": "MINIX"}))?;
        invalid(t, |c| c["linux"]["personality"] = json!({"domain": "LINUX", "flags": ["NO_SUCH"]}))
    }),
    must("linux.memory-policy.mode", "mode and nodes are the process's memory policy", Both, memory_policy),
    must("linux.memory-policy.invalid", "a mode, or a flag, that does not exist is an error", Both, |t| {
        invalid(t, |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_NO_SUCH", "nodes": "0"}))?;
        invalid(t, |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO_SUCH"]}))
    }),
    must("linux.memory-policy.nodes", "a mode that needs nodes and has none, or the other way round, is an error", Both, |t| {
        invalid(t, |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND"}))?;
        invalid(t, |c| c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_DEFAULT", "nodes": "0"}))
    }),
    must("linux.intel-rdt.absent", "intelRdt without a mounted resctrl is an error", Root, rdt),
    must(
        "linux.intel-rdt.mem-bw-schema",
        "a memBwSchema that does not begin with MB:, or has several lines, is an error",
        Root,
        |t| {
            named(t, json!({"memBwSchema": "L3:0=f"}), "memBwSchema")?;
            named(t, json!({"memBwSchema": "MB:0=20\nMB:1=30"}), "memBwSchema")
        },
    ),
    must("linux.intel-rdt.clos-id", "a closID that names no directory of resctrl is an error", Root, |t| {
        named(t, json!({"closID": "../outside"}), "closID")
    }),
    must("config.process.scheduler", "policy and nice value are the process's", Both, scheduler),
    must("config.process.scheduler.invalid", "a policy that does not exist is an error", Both, |t| {
        invalid(t, |c| c["process"]["scheduler"] = json!({"policy": "SCHED_NO_SUCH"}))
    }),
    must("config.process.io-priority", "class and priority are the process's", Both, io_priority),
    must("config.process.io-priority.invalid", "a class that does not exist is an error", Both, |t| {
        invalid(t, |c| c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_NO_SUCH", "priority": 1}))
    }),
    must(
        "config.process.exec-cpu-affinity",
        "a process of `exec` ends up on `final`, the first process does not",
        Root,
        affinity,
    ),
];

fn sysctl(turn: &Turn) -> Verdict {
    let before = fs::read_to_string("/proc/sys/kernel/msgmax")?;
    let mut config = turn.config(&["/bin/cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax"]);
    push(&mut config["linux"]["namespaces"], json!({"type": "network"}));
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "12345"});
    turn.prints(&config, "1\n12345\n")?;
    let after = fs::read_to_string("/proc/sys/kernel/msgmax")?;
    if before == after { Ok(()) } else { fail("the host's msgmax", before, after) }
}

fn personality(turn: &Turn) -> Verdict {
    for (domain, expected) in [("LINUX", "00000000\n"), ("LINUX32", "00000008\n")] {
        let mut config = turn.config(&["/bin/cat", "/proc/self/personality"]);
        config["linux"]["personality"] = json!({"domain": domain});
        turn.prints(&config, expected)?;
    }
    Ok(())
}

fn memory_policy(turn: &Turn) -> Verdict {
    if !fs::exists("/proc/self/numa_maps")? {
        return skip("this kernel knows no memory policies (no /proc/self/numa_maps)");
    }
    let mut config = turn.config(&["/bin/cat", "/proc/self/numa_maps"]);
    config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    let text = turn.output(&config)?;
    let bound = |line: &str| line.split(' ').nth(1).is_some_and(|policy| policy.starts_with("bind") && policy.ends_with(":0"));
    if text.lines().any(bound) { Ok(()) } else { fail("numa_maps", "bind=static:0", text) }
}

fn rdt(turn: &Turn) -> Verdict {
    if fs::read_to_string("/proc/self/mountinfo")?.contains(" - resctrl ") {
        return skip("resctrl is mounted here");
    }
    invalid(turn, |c| c["linux"]["intelRdt"] = json!({"closID": "guaranteed"}))
}

/// Ours says which part it is, also where there is no resctrl.
fn named(turn: &Turn, rdt: Value, field: &str) -> Verdict {
    let mut config = turn.sleeper();
    config["linux"]["intelRdt"] = rdt;
    let container = turn.create(&config)?;
    let said = !turn.column.runtime.is_codexrun() || container.made.err.contains(field);
    container.made.must(&format!("an error, of ours one about {field}"), container.made.code != 0 && said)
}

/// Field 41 of /proc/self/stat is the policy, 19 the nice value, proc(5); `cat` has no space in its name.
fn scheduler(turn: &Turn) -> Verdict {
    for (policy, number, nice) in [("SCHED_BATCH", "3", 5), ("SCHED_OTHER", "0", 7), ("SCHED_IDLE", "5", 0)] {
        let mut config = turn.config(&["/bin/cat", "/proc/self/stat"]);
        config["process"]["scheduler"] = json!({"policy": policy, "nice": nice});
        let text = turn.output(&config)?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        let seen = (fields.get(40).copied(), fields.get(18).copied());
        if seen != (Some(number), Some(&nice.to_string())) {
            return fail(policy, format!("policy {number}, nice {nice}"), format!("{seen:?}"));
        }
    }
    Ok(())
}

fn io_priority(turn: &Turn) -> Verdict {
    for (class, level, expected) in [("IOPRIO_CLASS_BE", 6, "best-effort: prio 6\n"), ("IOPRIO_CLASS_IDLE", 0, "idle\n")] {
        let mut config = turn.sh("ionice -p $$");
        config["process"]["ioPriority"] = json!({"class": class, "priority": level});
        turn.prints(&config, expected)?;
    }
    Ok(())
}

fn affinity(turn: &Turn) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    let mut process = turn.config(&["/bin/cat", "/proc/self/status"])["process"].clone();
    process["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    let file = turn.dir.join("process.json");
    fs::write(&file, process.to_string())?;
    let ran = turn.succeeds(&["exec", "--process", &file.display().to_string(), &container.id])?;
    let (inside, first) = (status_line(&ran.out, "Cpus_allowed_list"), container.proc("status")?);
    let (first, ours) = (status_line(&first, "Cpus_allowed_list"), fs::read_to_string("/proc/self/status")?);
    if inside == "0" && first == status_line(&ours, "Cpus_allowed_list") {
        Ok(())
    } else {
        fail("Cpus_allowed_list of exec, and of the first process", "0, and the caller's", format!("{inside}, and {first}"))
    }
}
