//! features.md and features-linux.md: what `features` says is so.

use crate::oci::Who::{Both, Root};
use crate::oci::bundle::push;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("features.fields", "every field of the structure is there, and of its type", Both, fields),
    must("features.version", "ociVersionMin and ociVersionMax are taken, and in this order", Both, version),
    must("features.hooks", "each kind of hook is listed", Both, hooks),
    must("features.mount-options", "each option that is listed is taken", Root, options),
    must("features.namespaces", "each type that is listed is taken", Root, namespaces),
    must("features.capabilities", "each capability that is listed is known", Root, capabilities),
    must("features.seccomp", "each action, operator, architecture and flag that is listed is taken", Both, seccomp),
    must("features.enabled", "what is not on this host is on in the list all the same", Both, enabled),
];

fn features(turn: &Turn) -> Result<Value, No> {
    let ran = turn.succeeds(&["features"])?;
    serde_json::from_str(&ran.out).or_else(|e| fail(&ran.line, "JSON", format!("{e}: {}", ran.out)))
}

fn words<'a>(features: &'a Value, pointer: &str) -> Vec<&'a str> {
    features.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Places, and the type that stands there.
const FIELDS: &[(&str, &str)] = &[
    ("/ociVersionMin", "string"),
    ("/ociVersionMax", "string"),
    ("/hooks", "strings"),
    ("/mountOptions", "strings"),
    ("/annotations", "object"),
    ("/potentiallyUnsafeConfigAnnotations", "strings"),
    ("/linux/namespaces", "strings"),
    ("/linux/capabilities", "strings"),
    ("/linux/cgroup/v1", "bool"),
    ("/linux/cgroup/v2", "bool"),
    ("/linux/cgroup/systemd", "bool"),
    ("/linux/cgroup/systemdUser", "bool"),
    ("/linux/cgroup/rdma", "bool"),
    ("/linux/seccomp/enabled", "bool"),
    ("/linux/seccomp/actions", "strings"),
    ("/linux/seccomp/operators", "strings"),
    ("/linux/seccomp/archs", "strings"),
    ("/linux/seccomp/knownFlags", "strings"),
    ("/linux/seccomp/supportedFlags", "strings"),
    ("/linux/apparmor/enabled", "bool"),
    ("/linux/selinux/enabled", "bool"),
    ("/linux/intelRdt/enabled", "bool"),
    ("/linux/intelRdt/schemata", "bool"),
    ("/linux/intelRdt/monitoring", "bool"),
    ("/linux/memoryPolicy/modes", "strings"),
    ("/linux/memoryPolicy/flags", "strings"),
    ("/linux/mountExtensions/idmap/enabled", "bool"),
    ("/linux/netDevices/enabled", "bool"),
];

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        Some(Value::String(_)) => "string",
        Some(Value::Bool(_)) => "bool",
        Some(Value::Object(_)) => "object",
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => "strings",
        Some(_) => "something else",
        None => "missing",
    }
}

fn fields(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let wrong: Vec<String> = FIELDS
        .iter()
        .map(|(at, expected)| (at, expected, kind(features.pointer(at))))
        .filter(|(_, expected, seen)| **expected != *seen)
        .map(|(at, expected, seen)| format!("{at}: {seen}, not {expected}"))
        .collect();
    if wrong.is_empty() { Ok(()) } else { fail("features", "every field", wrong.join("; ")) }
}

fn version(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let [min, max] = ["ociVersionMin", "ociVersionMax"].map(|name| features[name].as_str().unwrap_or_default().to_string());
    let numbers = |text: &str| text.split(['.', '-']).take(3).filter_map(|n| n.parse().ok()).collect::<Vec<u32>>();
    if numbers(&min).len() != 3 || numbers(&min) > numbers(&max) {
        return fail("features", "min, and a max that is not below it", format!("{min}, {max}"));
    }
    for version in [min, max] {
        let mut config = turn.sleeper();
        config["ociVersion"] = json!(version);
        turn.created(&config)?;
    }
    Ok(())
}

fn hooks(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let mut seen = words(&features, "/hooks");
    seen.sort_unstable();
    let expected = ["createContainer", "createRuntime", "poststart", "poststop", "prestart", "startContainer"];
    if seen == expected { Ok(()) } else { fail("features", format!("{expected:?}"), format!("{seen:?}")) }
}

/// Each on a mount of its own. What changes a mount that is there, and what needs mappings, has its own cases.
fn options(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let mut config = turn.sh("echo taken");
    let own = ["remount", "idmap", "ridmap"];
    for (n, option) in words(&features, "/mountOptions").into_iter().filter(|o| !own.contains(o)).enumerate() {
        let kind = if option.ends_with("bind") { "bind" } else { "tmpfs" };
        let at = format!("/tmp/{n}");
        push(
            &mut config["mounts"],
            json!({"destination": at, "type": kind, "source": turn.dir.join("trace"), "options": [option]}),
        );
    }
    turn.prints(&config, "taken\n")
}

fn namespaces(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let listed = words(&features, "/linux/namespaces");
    let mut config = turn.sh("echo taken");
    let map = json!([{"containerID": 0, "hostID": 0, "size": 70_000}]);
    config["linux"]["namespaces"] = listed.iter().map(|kind| json!({"type": kind})).collect();
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    turn.prints(&config, "taken\n")?;
    let all = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
    let missing: Vec<_> = all.iter().filter(|kind| !listed.contains(kind)).collect();
    if missing.is_empty() { Ok(()) } else { fail("features", "all eight", format!("without {missing:?}")) }
}

/// Those that this kernel, or the caller, lacks may be left out with a warning.
fn capabilities(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let mut config = turn.sh("echo taken");
    for set in ["bounding", "permitted", "effective"] {
        config["process"]["capabilities"][set] = features["linux"]["capabilities"].clone();
    }
    if words(&features, "/linux/capabilities").len() < 41 {
        return fail("features", "the 41 capabilities of Linux 5.9 and later", &features["linux"]["capabilities"]);
    }
    turn.prints(&config, "taken\n")
}

fn seccomp(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    let without_listener =
        |words: Vec<&str>| words.into_iter().filter(|a| *a != "SCMP_ACT_NOTIFY").map(str::to_string).collect::<Vec<_>>();
    let rule =
        |action: &str, op: &str| json!({"names": ["acct"], "action": action, "args": [{"index": 0, "value": 1, "op": op}]});
    let actions = without_listener(words(&features, "/linux/seccomp/actions"));
    let operators = words(&features, "/linux/seccomp/operators");
    if actions.is_empty() || operators.len() != 7 {
        return fail("features", "actions, and seven operators", &features["linux"]["seccomp"]);
    }
    let one = |filter: Value| {
        let mut config = turn.sh("echo taken");
        config["linux"]["seccomp"] = filter;
        turn.prints(&config, "taken\n")
    };
    for action in &actions {
        let rules: Vec<Value> = operators.iter().map(|op| rule(action, op)).collect();
        one(json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": words(&features, "/linux/seccomp/archs"), "syscalls": [rules[0]],
        }))?;
    }
    for op in operators {
        one(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("SCMP_ACT_ERRNO", op)]}))?;
    }
    // Whether somebody waits in a way that can be killed is a question only where there is a listener.
    let flags = words(&features, "/linux/seccomp/supportedFlags").into_iter().filter(|f| !f.contains("WAIT_KILLABLE"));
    one(
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags.collect::<Vec<_>>(), "syscalls": [rule("SCMP_ACT_ERRNO", "SCMP_CMP_EQ")]}),
    )
}

fn enabled(turn: &Turn) -> Verdict {
    let features = features(turn)?;
    for at in
        ["/linux/seccomp/enabled", "/linux/apparmor/enabled", "/linux/selinux/enabled", "/linux/cgroup/v1", "/linux/cgroup/v2"]
    {
        if features.pointer(at) != Some(&json!(true)) {
            return fail(at, true, features.pointer(at).unwrap_or(&Value::Null));
        }
    }
    Ok(())
}
