//! Annotations, properties that nobody knows, and values that nobody can mean.

use super::Who::{Both, Root};
use super::bundle::push;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("config.annotations.unknown-key", "a key that nobody knows is no error", Both, unknown_key),
    must("config.annotations.empty-value", "a value may be the empty string", Both, empty_value),
    must("config.annotations.empty-key", "a key is not the empty string; otherwise an error", Both, empty_key),
    must("config.annotations.values-strings", "a value is a string; otherwise an error", Both, values_strings),
    must("config.annotations.kept", "what is in the configuration comes back unchanged in the state", Both, kept),
    must("config.extensibility.top", "an unknown property at the top is ignored", Both, |t| {
        ignored(t, |c| c["noSuchThing"] = json!({"a": [1]}))
    }),
    must("config.extensibility.process", "an unknown property of process is ignored", Both, |t| {
        ignored(t, |c| c["process"]["noSuchThing"] = json!(1))
    }),
    must("config.extensibility.root", "an unknown property of root is ignored", Both, |t| {
        ignored(t, |c| c["root"]["noSuchThing"] = json!("x"))
    }),
    must("config.extensibility.mounts", "an unknown property of a mount is ignored", Both, |t| {
        ignored(t, |c| c["mounts"][0]["noSuchThing"] = json!([]))
    }),
    must("config.extensibility.hooks", "an unknown kind of hook is ignored", Both, |t| {
        ignored(t, |c| c["hooks"] = json!({"noSuchKind": []}))
    }),
    must("config.extensibility.linux", "an unknown property of linux is ignored", Both, |t| {
        ignored(t, |c| c["linux"]["noSuchThing"] = json!({}))
    }),
    must("config.values.not-json", "a configuration that is no JSON is an error", Both, not_json),
    must("config.values.types", "a value of the wrong type is an error", Both, types),
    must("config.values.namespace", "an unknown namespace type is an error", Both, namespace),
    must("config.values.namespace-twice", "one type of namespace twice is an error", Both, namespace_twice),
    must("config.values.seccomp", "an unknown seccomp action is an error", Both, seccomp),
    must("config.values.propagation", "an unknown rootfsPropagation is an error", Both, |t| {
        invalid(t, |c| c["linux"]["rootfsPropagation"] = json!("sideways"))
    }),
    must("config.values.device", "an unknown device type is an error", Root, device),
    must("config.values.sysctl", "a sysctl outside the container's namespaces is an error", Both, sysctl),
    must("config.values.rlimit-negative", "a negative limit is an error", Both, negative),
];

/// The container is made and runs as if nothing had been added.
fn ignored(turn: &Turn, change: impl Fn(&mut Value)) -> Verdict {
    let mut config = turn.sh("echo runs");
    change(&mut config);
    turn.prints(&config, "runs\n")
}

fn invalid(turn: &Turn, change: impl Fn(&mut Value)) -> Verdict {
    let mut config = turn.sleeper();
    change(&mut config);
    turn.refused(&config)
}

fn unknown_key(turn: &Turn) -> Verdict {
    ignored(turn, |c| c["annotations"] = json!({"org.example.no-such-key": "x", "run.oci.no_such_key": "y", "plain": "z"}))
}

fn empty_value(turn: &Turn) -> Verdict {
    ignored(turn, |c| c["annotations"] = json!({"org.example.empty": ""}))
}

fn empty_key(turn: &Turn) -> Verdict {
    invalid(turn, |c| c["annotations"] = json!({"": "x"}))
}

fn values_strings(turn: &Turn) -> Verdict {
    for value in [json!(1), json!(true), json!({}), json!(["x"])] {
        invalid(turn, |c| c["annotations"] = json!({"org.example": value}))?;
    }
    Ok(())
}

fn kept(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    let all = json!({"a": "", "b": "\"quoted\"\n", "org.example/ü": "{\"json\": 1}", "org.opencontainers.image.title": "x"});
    config["annotations"] = all.clone();
    let state = turn.created(&config)?.state()?;
    let lost = all.as_object().into_iter().flatten().find(|(key, value)| state["annotations"].get(key) != Some(value));
    lost.map_or(Ok(()), |(key, value)| fail("state", format!("{key:?}: {value}"), &state["annotations"]))
}

fn not_json(turn: &Turn) -> Verdict {
    for text in ["", "{", "[]", "null", "{\"ociVersion\": }"] {
        let (bundle, id) = (turn.bundle(&turn.sleeper())?, turn.fresh());
        std::fs::write(bundle.join("config.json"), text)?;
        turn.fails(&["create", "--bundle", &bundle.display().to_string(), &id])?;
        turn.unknown(&id)?;
    }
    Ok(())
}

/// A field and a value that is not of its type.
type Change = fn(&mut Value);

const WRONG: &[Change] = &[
    |c| c["process"]["args"] = json!("sleep 1000"),
    |c| c["process"]["user"]["uid"] = json!("root"),
    |c| c["process"]["terminal"] = json!("no"),
    |c| c["root"]["readonly"] = json!("yes"),
    |c| c["root"]["path"] = json!(7),
    |c| c["mounts"] = json!({"destination": "/work"}),
    |c| c["hostname"] = json!(["inside"]),
    |c| c["linux"]["namespaces"] = json!("all"),
    |c| c["hooks"] = json!({"prestart": {"path": "/bin/true"}}),
];

fn types(turn: &Turn) -> Verdict {
    WRONG.iter().try_for_each(|change| invalid(turn, change))
}

fn namespace(turn: &Turn) -> Verdict {
    invalid(turn, |c| push(&mut c["linux"]["namespaces"], json!({"type": "nosuch"})))
}

fn namespace_twice(turn: &Turn) -> Verdict {
    invalid(turn, |c| push(&mut c["linux"]["namespaces"], json!({"type": "pid"})))
}

fn seccomp(turn: &Turn) -> Verdict {
    invalid(turn, |c| c["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NO_SUCH"}))
}

fn device(turn: &Turn) -> Verdict {
    invalid(turn, |c| c["linux"]["devices"] = json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]))
}

/// `vm.swappiness` is the whole machine's; `net.*` needs a network namespace of one's own.
fn sysctl(turn: &Turn) -> Verdict {
    for name in ["vm.swappiness", "net.ipv4.ip_forward"] {
        invalid(turn, |c| c["linux"]["sysctl"] = json!({name: "1"}))?;
    }
    Ok(())
}

fn negative(turn: &Turn) -> Verdict {
    invalid(turn, |c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": -1, "hard": -1}]))
}
