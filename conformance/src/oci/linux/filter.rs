//! linux.seccomp, but for listeners.

use super::invalid;
use crate::oci::Who::Both;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("linux.seccomp.errno", "ERRNO gives errnoRet, or EPERM; defaultErrnoRet where the default action is meant", Both, errno),
    must("linux.seccomp.errno.action", "an errno for an action that has none is an error", Both, |t| {
        invalid(t, |c| c["linux"]["seccomp"] = rules(json!({"names": ["getcwd"], "action": "SCMP_ACT_KILL", "errnoRet": 5})))?;
        invalid(t, |c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5}))
    }),
    must("linux.seccomp.kill", "KILL_PROCESS ends it by SIGSYS", Both, kill),
    must("linux.seccomp.args", "each comparison of arguments", Both, arguments),
    must("linux.seccomp.names", "a rule without names is an error", Both, |t| {
        invalid(t, |c| c["linux"]["seccomp"] = rules(json!({"names": [], "action": "SCMP_ACT_ERRNO"})))?;
        invalid(t, |c| c["linux"]["seccomp"] = rules(json!({"action": "SCMP_ACT_ERRNO"})))
    }),
    must("linux.seccomp.default-action", "a filter without defaultAction is an error", Both, |t| {
        invalid(t, |c| c["linux"]["seccomp"] = json!({"syscalls": []}))
    }),
    must("linux.seccomp.invalid", "an architecture, operator or flag that does not exist is an error", Both, no_such),
];

fn rules(rule: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

/// mkdir(1) says which errno it got.
fn says(turn: &Turn, rule: Value, expected: &str) -> Verdict {
    let mut config = turn.sh("mkdir /work/new 2>&1; echo end");
    config["linux"]["seccomp"] = rules(rule.clone());
    let text = turn.output(&config)?;
    if text.contains(expected) && text.ends_with("end\n") { Ok(()) } else { fail(rule, expected, text) }
}

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn errno(turn: &Turn) -> Verdict {
    says(turn, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO"}), "Operation not permitted")?;
    says(turn, json!({"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}), "No space left on device")?;
    let others: Vec<&str> = syscalls::Sysno::iter().map(|call| call.name()).filter(|name| !MKDIR.contains(name)).collect();
    let mut config = turn.sh("mkdir /work/new 2>&1; echo end");
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28, "syscalls": [{"names": others, "action": "SCMP_ACT_ALLOW"}],
    });
    let text = turn.output(&config)?;
    if text.contains("No space") { Ok(()) } else { fail("defaultErrnoRet", "ENOSPC", text) }
}

fn kill(turn: &Turn) -> Verdict {
    let mut config = turn.sh("mkdir /work/new; echo code $?");
    config["linux"]["seccomp"] = rules(json!({"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS"}));
    let text = turn.output(&config)?;
    if text.contains("code 159\n") { Ok(()) } else { fail("mkdir", "128 + SIGSYS", text) }
}

/// The mode of mkdir(2), 0777 from mkdir(1), against each operator; the rule fits, or not.
fn arguments(turn: &Turn) -> Verdict {
    let table = [
        ("SCMP_CMP_EQ", 0o777, None, true),
        ("SCMP_CMP_NE", 0o777, None, false),
        ("SCMP_CMP_LT", 0o777, None, false),
        ("SCMP_CMP_LE", 0o777, None, true),
        ("SCMP_CMP_GE", 0o1000, None, false),
        ("SCMP_CMP_GT", 0o776, None, true),
        ("SCMP_CMP_MASKED_EQ", 0o070, Some(0o070), true),
        ("SCMP_CMP_MASKED_EQ", 0o070, Some(0o050), false),
    ];
    for (op, value, two, fits) in table {
        let arg = |index: u32| json!([{"index": index, "value": value, "valueTwo": two.unwrap_or(0), "op": op}]);
        let rule = |name: &str, index| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": arg(index)});
        let mut config = turn.sh("mkdir /work/new 2>&1; echo end");
        config["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("mkdir", 1), rule("mkdirat", 2)]});
        let text = turn.output(&config)?;
        if text.contains("No space") != fits || !text.ends_with("end\n") {
            return fail(format!("{op} {value:o} {two:?}"), if fits { "it fits" } else { "it does not" }, text);
        }
    }
    Ok(())
}

fn no_such(turn: &Turn) -> Verdict {
    let one = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    let with = |field: &str, value: Value| {
        let mut filter = one.clone();
        filter[field] = value;
        invalid(turn, |c| c["linux"]["seccomp"] = filter)
    };
    with("architectures", json!(["SCMP_ARCH_NO_SUCH"]))?;
    with("flags", json!(["SECCOMP_FILTER_FLAG_NO_SUCH"]))?;
    let arg = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_NO_SUCH"}]);
    with("syscalls", json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "args": arg}]))
}
