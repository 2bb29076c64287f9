//! The same for programs. The shape is that of docs/explain.md, and stays.

use super::because::word;
use super::{Answer, Because, Facts, Namespace, Verdict};
use crate::bpf::{Calls, answer};
use crate::policy::compile::Lift;
use serde_json::{Map, Value, json};
use std::path::Path;

impl Answer {
    /// One element of `paths`.
    pub fn json(&self) -> Value {
        let mut json = json!({ "path": text(&self.path), "at": text(&self.at), "kind": self.kind });
        for (name, verdict) in self.all_rights() {
            json[name] = match verdict {
                Verdict::Yes => json!({ "allowed": true }),
                Verdict::No { why, by } => json!({ "allowed": false, "why": why, "by": by }),
                Verdict::Unknown { why } => json!({ "allowed": null, "why": why }),
            };
        }
        json["mount"] = self.mount.as_ref().map_or(Value::Null, |m| json!({ "origin": m.origin, "at": text(&m.at) }));
        json["entry"] = self.because.as_ref().map_or(Value::Null, entry);
        json
    }
}

/// JSON has no other text: a byte that is not UTF-8 becomes U+FFFD.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn entry(because: &Because) -> Value {
    let said = |one: &crate::policy::compile::Said, protection: bool| json!({ "index": one.entry, "target": one.target, "access": word(one.access), "protection": protection });
    match because {
        Because::Entry(one) => said(one, false),
        Because::Protection(one) => said(one, true),
        Because::Own | Because::Nothing => Value::Null,
    }
}

impl Facts {
    /// What stands beside `paths`.
    pub fn json(&self) -> Value {
        let namespace = |whose: &Namespace| match whose {
            Namespace::Own => json!("own"),
            Namespace::Caller => json!("caller"),
            Namespace::Joined(path) => json!({ "joined": text(path) }),
        };
        let namespaces = self.namespaces.iter().map(|(kind, whose)| ((*kind).to_owned(), namespace(whose)));
        let limits = self.limits.iter().map(|(name, value)| (name.clone(), json!(value)));
        let lift = |Lift { name, calls, because }: &Lift| ((*name).to_owned(), json!({ "calls": calls, "because": because }));
        json!({
            "user": {
                "uid": self.inside.0, "gid": self.inside.1, "outside": { "uid": self.outside.0, "gid": self.outside.1 },
                "groups": self.groups, "capabilities": self.capabilities, "noNewPrivileges": self.no_new_privileges,
            },
            "isolation": { "by": self.isolation, "landlock": self.landlock, "lost": self.lost },
            "namespaces": namespaces.collect::<Map<_, _>>(),
            "network": self.network(),
            "unixDatagrams": self.unix_datagrams,
            "unixSockets": self.unix_sockets.as_ref().map(|granted| granted.iter().map(|path| text(path)).collect::<Vec<_>>()),
            "systemCalls": self.system_calls.as_ref().map(calls),
            "liftable": self.lifts.iter().map(lift).collect::<Map<_, _>>(),
            "environment": self.environment,
            "limits": limits.collect::<Map<_, _>>(),
        })
    }
}

fn calls(calls: &Calls) -> Value {
    let one = |call: &crate::bpf::Call| {
        let lines = call.lines.iter().map(|(when, what)| json!({ "if": when, "answer": answer(*what) }));
        let lines: Vec<Value> = lines.collect();
        (call.name.to_owned(), json!({ "answer": answer(call.otherwise), "lines": lines }))
    };
    json!({ "default": answer(calls.default), "named": calls.named.iter().map(one).collect::<Map<_, _>>() })
}
