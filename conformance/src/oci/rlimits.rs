//! Resource limits of the process.

use super::Who::Both;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("config.process.rlimits.unknown", "a type that the kernel does not have is an error", Both, unknown),
    must("config.process.rlimits.duplicate", "two entries of one type are an error", Both, duplicate),
    must("config.process.rlimits.match", "rlim_cur and rlim_max are the configured values, for every type", Both, matches),
    must("config.process.rlimits.others-kept", "a limit that is not named stays the caller's", Both, others_kept),
    must("config.process.rlimits.soft-above-hard", "soft above hard cannot be set and is an error", Both, soft_above_hard),
];

fn limit(kind: &str, soft: u64, hard: u64) -> Value {
    json!({"type": kind, "soft": soft, "hard": hard})
}

fn with(turn: &Turn, limits: &[Value]) -> Value {
    let mut config = turn.config(&["/bin/cat", "/proc/self/limits"]);
    config["process"]["rlimits"] = json!(limits);
    config
}

fn unknown(turn: &Turn) -> Verdict {
    for kind in ["RLIMIT_NOSUCH", "NOFILE", "rlimit_nofile", ""] {
        turn.refused(&with(turn, &[limit(kind, 10, 10)]))?;
    }
    Ok(())
}

fn duplicate(turn: &Turn) -> Verdict {
    turn.refused(&with(turn, &[limit("RLIMIT_NOFILE", 60, 60), limit("RLIMIT_NOFILE", 70, 70)]))
}

/// Type, the name that /proc has for it, soft and hard; all below what an ordinary process has.
const LIMITS: &[(&str, &str, u64, u64)] = &[
    ("RLIMIT_AS", "Max address space", 1 << 40, 1 << 41),
    ("RLIMIT_CORE", "Max core file size", 0, 4096),
    ("RLIMIT_CPU", "Max cpu time", 100, 200),
    ("RLIMIT_DATA", "Max data size", 1 << 40, 1 << 41),
    ("RLIMIT_FSIZE", "Max file size", 1 << 30, 1 << 31),
    ("RLIMIT_LOCKS", "Max file locks", 100, 200),
    ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 8192),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 1000, 2000),
    ("RLIMIT_NICE", "Max nice priority", 0, 0),
    ("RLIMIT_NOFILE", "Max open files", 60, 70),
    ("RLIMIT_NPROC", "Max processes", 5000, 6000),
    ("RLIMIT_RSS", "Max resident set", 1 << 30, 1 << 31),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
    ("RLIMIT_RTTIME", "Max realtime timeout", 1000, 2000),
    ("RLIMIT_SIGPENDING", "Max pending signals", 100, 200),
    ("RLIMIT_STACK", "Max stack size", 1 << 20, 1 << 22),
];

fn matches(turn: &Turn) -> Verdict {
    let limits: Vec<Value> = LIMITS.iter().map(|(kind, _, soft, hard)| limit(kind, *soft, *hard)).collect();
    let text = turn.output(&with(turn, &limits))?;
    for (kind, name, soft, hard) in LIMITS {
        let (seen, expected) = (of(&text, name), format!("{soft} {hard}"));
        if seen != expected {
            return fail(kind, expected, seen);
        }
    }
    Ok(())
}

/// Soft and hard of one line of /proc/PID/limits.
fn of(limits: &str, name: &str) -> String {
    let line = limits.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn others_kept(turn: &Turn) -> Verdict {
    let ours = of(&std::fs::read_to_string("/proc/self/limits")?, "Max pending signals");
    let seen = of(&turn.output(&with(turn, &[limit("RLIMIT_NOFILE", 60, 70)]))?, "Max pending signals");
    if ours == seen { Ok(()) } else { fail("Max pending signals", ours, seen) }
}

fn soft_above_hard(turn: &Turn) -> Verdict {
    let container = turn.create(&with(turn, &[limit("RLIMIT_NOFILE", 80, 60)]))?;
    if container.made.code != 0 {
        return turn.unknown(&container.id);
    }
    turn.fails(&["start", &container.id]).map(drop)
}
