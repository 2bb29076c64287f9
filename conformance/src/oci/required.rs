//! Fields that the specification calls REQUIRED, of objects that may be left out themselves: an object without one is an error. Fields
//! whose absence has a case of its own are not asked for again.

use super::Who::{Both, Root};
use super::bundle::remove;
use super::turn::Turn;
use super::{Must, must};
use crate::report::Verdict;
use serde_json::Value;

pub const CASES: &[Must] = &[
    must("config.required", "each field of config.md that is required where its object is", Both, |t| each(t, PROCESS)),
    must("linux.required", "each field of config-linux.md that is required where its object is", Both, |t| each(t, LINUX)),
    must("linux.resources.required", "each field of resources that is required where its object is", Root, |t| {
        each(t, RESOURCES)
    }),
];

/// Where an object may stand, the object, and what it must not lack.
type Object = (&'static str, &'static str, &'static [&'static str]);

#[rustfmt::skip]
const PROCESS: &[Object] = &[
    ("process/consoleSize", r#"{"height": 24, "width": 80}"#, &["height", "width"]),
    ("process/rlimits", r#"[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]"#, &["type", "soft", "hard"]),
    ("process/scheduler", r#"{"policy": "SCHED_OTHER", "nice": 1}"#, &["policy"]),
    ("process/ioPriority", r#"{"class": "IOPRIO_CLASS_BE", "priority": 4}"#, &["class", "priority"]),
    ("hooks/prestart", r#"[{"path": "/bin/true", "timeout": 5}]"#, &["path"]),
    ("hooks/createRuntime", r#"[{"path": "/bin/true", "timeout": 5}]"#, &["path"]),
];

#[rustfmt::skip]
const LINUX: &[Object] = &[
    ("linux/namespaces", r#"[{"type": "mount", "path": ""}]"#, &["type"]),
    ("linux/seccomp/syscalls", r#"[{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]"#, &["names", "action"]),
    ("linux/seccomp/syscalls/0/args", r#"[{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]"#, &["index", "value", "op"]),
    ("linux/personality", r#"{"domain": "LINUX", "flags": []}"#, &["domain"]),
    ("linux/memoryPolicy", r#"{"mode": "MPOL_BIND", "nodes": "0"}"#, &["mode"]),
];

#[rustfmt::skip]
const RESOURCES: &[Object] = &[
    ("linux/resources/devices", r#"[{"allow": true, "type": "c", "access": "r"}]"#, &["allow"]),
    ("linux/resources/blockIO/weightDevice", r#"[{"major": 8, "minor": 0, "weight": 100}]"#, &["major", "minor"]),
    ("linux/resources/blockIO/throttleReadBpsDevice", RATE, &["major", "minor", "rate"]),
    ("linux/resources/blockIO/throttleWriteBpsDevice", RATE, &["major", "minor", "rate"]),
    ("linux/resources/blockIO/throttleReadIOPSDevice", RATE, &["major", "minor", "rate"]),
    ("linux/resources/blockIO/throttleWriteIOPSDevice", RATE, &["major", "minor", "rate"]),
    ("linux/resources/hugepageLimits", r#"[{"pageSize": "2MB", "limit": 4194304}]"#, &["pageSize", "limit"]),
    ("linux/resources/network/priorities", r#"[{"name": "lo", "priority": 1}]"#, &["name", "priority"]),
];

const RATE: &str = r#"[{"major": 8, "minor": 0, "rate": 1048576}]"#;

fn each(turn: &Turn, objects: &[Object]) -> Verdict {
    objects.iter().try_for_each(|(place, object, fields)| fields.iter().try_for_each(|field| lacks(turn, place, object, field)))
}

/// Ours says what it lacks: this host might refuse the object for another reason.
fn lacks(turn: &Turn, place: &str, object: &str, field: &str) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["terminal"] = (place == "process/consoleSize").into();
    config["linux"]["seccomp"] = serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getcwd"], "action": "SCMP_ACT_ERRNO"}]});
    let object: Value = serde_json::from_str(object).map_err(std::io::Error::from)?;
    let there = place.split('/').fold(&mut config, |at, key| match key.parse::<usize>() {
        Ok(index) => &mut at[index],
        Err(_) => &mut at[key],
    });
    *there = object;
    remove(if there.is_array() { &mut there[0] } else { there }, field);
    let container = turn.create(&config)?;
    let said = !turn.column.runtime.is_codexrun()
        || [format!("`{field}`"), format!(".{field}: ")].iter().any(|words| container.made.err.contains(words));
    container.made.must(&format!("an error, of ours one about {place}, {field}"), container.made.code != 0 && said)?;
    turn.unknown(&container.id)
}
