//! The JSON forms as a JSON Schema (draft 2020-12), for editors and other programs. Words come from the tables by which the forms are
//! read; a test asks schema and parser about the same documents.

use super::split::{ACCESS, KINDS, NETWORK};
use crate::policy::choice::{CACHES, DEVICES, FIELDS, GIT, KEY, LIMITS, STDIO_SOCKETS, SYSCALLS};
use crate::policy::domain::{KEYS, MODES, VERDICTS};
use crate::policy::isolation::{CLAUSES, ISOLATION};
use serde_json::{Map, Value, json};

/// The schema of every JSON form.
pub fn schema() -> Value {
    let forms = ["legacy", "profile", "untagged", "pair", "fileSystem"].map(|form| json!({ "$ref": format!("#/$defs/{form}") }));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A sandbox policy of an agent, in any of Codex's JSON forms",
        "anyOf": forms,
        "$defs": {
            "path": { "type": "string", "pattern": "^(/|~$|~/)", "description": "absolute, or below the home directory" },
            "paths": { "type": "array", "items": refer("path") },
            "network": { "anyOf": [words(NETWORK), object(&[("mode", constant("proxy"))], &["mode"])] },
            "depth": { "type": ["integer", "null"], "minimum": 1 },
            "legacy": { "anyOf": beside(legacy()) },
            "profile": { "anyOf": beside(profile()) },
            "untagged": { "anyOf": beside(vec![untagged()]) },
            "pair": { "anyOf": beside(vec![object(&[("file_system", refer("kinds")), ("network", refer("network"))], &["file_system"])]) },
            "fileSystem": { "anyOf": beside(vec![kinds()]) },
            "kinds": kinds(),
            "choices": choices(),
            "entry": entry(),
            "target": target(),
        },
    })
}

/// Each form, with the key that may stand in any of them.
fn beside(forms: Vec<Value>) -> Vec<Value> {
    let with = |mut form: Value| {
        form["properties"][KEY] = refer("choices");
        form
    };
    forms.into_iter().map(with).collect()
}

fn kinds() -> Value {
    file_system("kind", words(KINDS), &[])
}

fn choices() -> Value {
    let list = |item: Value| optional(json!({ "type": "array", "items": item }));
    let device = json!({ "anyOf": [words(DEVICES), { "type": "string", "pattern": "^/dev/." }] });
    let limit = json!({ "type": ["integer", "string"], "minimum": 1, "description": "`memory` also `512m`, `cpus` also `0.5`" });
    let limits: Vec<(&str, Value)> = LIMITS.iter().map(|name| (*name, limit.clone())).collect();
    let field = |name: &&'static str| {
        let schema = match *name {
            "devices" => list(device.clone()),
            "caches" => list(words(CACHES)),
            "unix_sockets" => list(json!({ "type": "string", "pattern": "^[/~]" })),
            "allow_syscalls" => list(json!({ "enum": SYSCALLS })),
            "git" => optional(words(GIT)),
            "stdio_sockets" => optional(json!({ "anyOf": [words(STDIO_SOCKETS), { "type": "boolean" }] })),
            "isolation" => optional(words(ISOLATION)),
            "accept_loss" => list(json!({ "enum": CLAUSES.iter().map(|(word, ..)| *word).collect::<Vec<_>>() })),
            "limits" => optional(object(&limits, &[])),
            "proxy" => optional(proxy()),
            "dns" | "tcp_ports" => list(json!({ "type": "integer", "minimum": 1, "maximum": 65535 })),
            _ => json!({ "type": ["boolean", "null"] }),
        };
        (*name, schema)
    };
    object(&FIELDS.iter().map(field).collect::<Vec<_>>(), &[])
}

fn proxy() -> Value {
    let domains = json!({ "type": "object", "additionalProperties": words(VERDICTS), "description": "`x.y`, `*.x.y`, `**.x.y`" });
    let field = |key: &&'static str| {
        let schema = match *key {
            "domains" => domains.clone(),
            "mode" => words(MODES),
            "proxy_url" | "socks_url" => json!({ "type": "string" }),
            _ => json!({ "type": "boolean" }),
        };
        (*key, optional(schema))
    };
    object(&KEYS.iter().map(field).collect::<Vec<_>>(), &[])
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn words<T>(table: &[(&str, T)]) -> Value {
    json!({ "enum": table.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
}

fn constant(word: &str) -> Value {
    json!({ "const": word })
}

fn optional(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// A table that has these keys and no others.
fn object(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> = properties.iter().map(|(key, schema)| ((*key).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn legacy() -> Vec<Value> {
    let (tag, flag) = (|word| ("type", constant(word)), json!({ "type": "boolean" }));
    let reads = json!({ "anyOf": [
        object(&[tag("full-access")], &["type"]),
        object(&[tag("restricted"), ("include_platform_defaults", flag.clone()), ("readable_roots", refer("paths"))], &["type"]),
    ]});
    let workspace = [
        tag("workspace-write"),
        ("writable_roots", refer("paths")),
        ("network_access", flag.clone()),
        ("exclude_tmpdir_env_var", flag.clone()),
        ("exclude_slash_tmp", flag.clone()),
        ("read_only_access", reads.clone()),
    ];
    vec![
        object(&[tag("danger-full-access")], &["type"]),
        object(&[tag("read-only"), ("network_access", flag), ("access", reads)], &["type"]),
        object(&[tag("external-sandbox"), ("network_access", words(NETWORK))], &["type"]),
        object(&workspace, &["type"]),
    ]
}

fn profile() -> Vec<Value> {
    let tag = |word| ("type", constant(word));
    let kind = json!({ "enum": ["restricted", "unrestricted"] });
    let managed = [tag("managed"), ("file_system", file_system("type", kind, &["type"])), ("network", refer("network"))];
    vec![
        object(&managed, &["type", "file_system"]),
        object(&[tag("disabled")], &["type"]),
        object(&[tag("external"), ("network", refer("network"))], &["type"]),
    ]
}

fn untagged() -> Value {
    let enabled = object(&[("enabled", json!({ "type": ["boolean", "null"] }))], &[]);
    let entries = ("entries", json!({ "type": "array", "items": refer("entry") }));
    let lists = object(&[("read", optional(refer("paths"))), ("write", optional(refer("paths")))], &[]);
    let entries = object(&[entries, ("glob_scan_max_depth", refer("depth"))], &[]);
    let file_system = json!({ "anyOf": [entries, lists, { "type": "null" }] });
    object(&[("file_system", file_system), ("network", optional(enabled))], &[])
}

/// The key that names its kind differs between the forms.
fn file_system(key: &str, kinds: Value, required: &[&str]) -> Value {
    let entries = json!({ "type": "array", "items": refer("entry") });
    object(&[(key, kinds), ("entries", entries), ("glob_scan_max_depth", refer("depth"))], required)
}

fn entry() -> Value {
    let skip = optional(constant("skip"));
    object(&[("path", refer("target")), ("access", words(ACCESS)), ("missing_path_behavior", skip)], &["path", "access"])
}

fn target() -> Value {
    let tag = |word| ("type", constant(word));
    let text = json!({ "type": "string" });
    let special = json!({
        "type": "object", "required": ["kind"],
        "properties": { "kind": { "type": "string", "description": "`root`, `minimal`, `project_roots`, `tmpdir`, `slash_tmp`; one of a \
            later version has no effect" }, "path": text, "subpath": { "type": ["string", "null"] } },
    });
    json!({ "anyOf": [
        object(&[tag("path"), ("path", refer("path"))], &["type", "path"]),
        object(&[tag("glob_pattern"), ("pattern", text)], &["type", "pattern"]),
        object(&[tag("special"), ("value", special)], &["type", "value"]),
    ]})
}

#[cfg(test)]
mod tests {
    use super::super::{Base, Format, parse};
    use super::*;
    use std::path::Path;

    /// As much of JSON Schema as the schema uses; a key that is not known here would be a gap, so it panics.
    fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
        schema.as_object().unwrap().iter().all(|(key, rule)| match key.as_str() {
            "$ref" => holds(root, root.pointer(&rule.as_str().unwrap()[1..]).unwrap(), value),
            "anyOf" => rule.as_array().unwrap().iter().any(|one| holds(root, one, value)),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "type" => rule.as_array().map_or_else(|| is(rule, value), |all| all.iter().any(|one| is(one, value))),
            "maximum" => value.as_u64().is_none_or(|n| n <= rule.as_u64().unwrap()),
            "minimum" => value.as_u64().is_none_or(|n| n >= rule.as_u64().unwrap()),
            "pattern" if rule == "^/dev/." => value.as_str().is_none_or(|text| text.len() > 5 && text.starts_with("/dev/")),
            "pattern" => value.as_str().is_none_or(|text| text.starts_with('/') || text == "~" || text.starts_with("~/")),
            "items" => value.as_array().is_none_or(|all| all.iter().all(|one| holds(root, rule, one))),
            "required" => {
                value.as_object().is_none_or(|has| rule.as_array().unwrap().iter().all(|k| has.contains_key(k.as_str().unwrap())))
            }
            "properties" => {
                value.as_object().is_none_or(|has| has.iter().all(|(k, v)| rule.get(k).is_none_or(|s| holds(root, s, v))))
            }
            "additionalProperties" if rule.is_object() => {
                value.as_object().is_none_or(|has| has.values().all(|v| holds(root, rule, v)))
            }
            "additionalProperties" => {
                value.as_object().is_none_or(|has| has.keys().all(|k| schema["properties"].get(k).is_some()))
            }
            "$schema" | "title" | "$defs" | "description" => true,
            other => panic!("{other}"),
        })
    }

    fn is(typ: &Value, value: &Value) -> bool {
        match typ.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64(),
            "null" => value.is_null(),
            other => panic!("{other}"),
        }
    }

    fn documents() -> Vec<Value> {
        let entry = |path: Value, access: &str| json!({ "path": path, "access": access });
        let path = json!({ "type": "path", "path": "/srv" });
        let glob = json!({ "type": "glob_pattern", "pattern": "/srv/**/*.env" });
        let special = json!({ "type": "special", "value": { "kind": "project_roots", "subpath": "a" } });
        let mut skip = entry(special, "write");
        skip["missing_path_behavior"] = "skip".into();
        let entries = json!([entry(path, "read"), entry(glob, "none"), skip]);
        vec![
            json!({ "type": "danger-full-access" }),
            json!({ "type": "read-only", "network_access": true, "access": { "type": "full-access" } }),
            json!({ "type": "external-sandbox", "network_access": "enabled" }),
            json!({ "type": "workspace-write", "writable_roots": ["/a", "~/b"], "network_access": false, "exclude_slash_tmp": true,
                "exclude_tmpdir_env_var": true, "read_only_access": { "type": "restricted", "include_platform_defaults": false,
                "readable_roots": ["/c"] } }),
            json!({ "type": "managed", "file_system": { "type": "restricted", "entries": entries, "glob_scan_max_depth": 3 },
                "network": "restricted" }),
            json!({ "type": "disabled" }),
            json!({ "type": "read-only", "codexrun": { "private_tmp": true, "devices": ["dri", "/dev/fuse"], "git": "commit",
                "caches": ["npm"], "allow_syscalls": ["tracing"], "deny_secrets": false, "landlock": true, "tcp_ports": [5432], "isolation": "auto",
                "accept_loss": ["metadata"], "nested_git": null, "unix_sockets": ["/run/x.sock", "~/y"],
                "unix_datagrams": true, "stdio_sockets": true,
                "limits": { "pids": 9, "memory": "2g", "cpus": "1.5", "files": 3, "wall": 60 } } }),
            json!({ "type": "read-only", "codexrun": { "stdio_sockets": "none" } }),
            json!({ "type": "managed", "file_system": { "type": "unrestricted" }, "network": { "mode": "proxy" }, "codexrun": {
                "dns": [443, 80], "proxy": { "domains": { "crates.io": "allow", "*.x.y": "deny" }, "mode": "limited",
                "allow_local_binding": true, "enable_socks5": false, "proxy_url": "http://127.0.0.1:3128", "socks_url": null } } }),
            json!({ "kind": "unrestricted", "codexrun": {} }),
            json!({ "type": "external", "network": "enabled" }),
            json!({ "file_system": { "entries": entries }, "network": { "enabled": true } }),
            json!({ "file_system": { "read": ["/a"], "write": ["/b"] } }),
            json!({ "file_system": { "kind": "restricted", "entries": entries }, "network": "enabled" }),
            json!({ "kind": "restricted", "entries": entries, "glob_scan_max_depth": 1 }),
        ]
    }

    /// The document with one thing changed, at every place: gone, of another type, a key too many.
    fn mutants(value: &Value) -> Vec<Value> {
        let mut all = vec![json!(7), json!("x"), json!([]), json!({ "x": 1 })];
        match value {
            Value::Object(table) => {
                let with = |key: &str, new: Option<Value>| {
                    let mut table = table.clone();
                    table.remove(key);
                    new.map(|new| table.insert(key.to_owned(), new));
                    Value::Object(table)
                };
                all.push(with("stranger", Some(json!(1))));
                for (key, below) in table {
                    all.push(with(key, None));
                    all.extend(mutants(below).into_iter().map(|new| with(key, Some(new))));
                }
            }
            Value::Array(list) => {
                for (n, below) in list.iter().enumerate() {
                    let with =
                        |new| list.iter().enumerate().map(|(i, old)| if i == n { &new } else { old }.clone()).collect::<Value>();
                    all.extend(mutants(below).into_iter().map(with));
                }
            }
            _ => {}
        }
        all
    }

    #[test]
    fn the_schema_and_the_parser_agree_on_every_document_with_one_thing_changed() {
        let (schema, base) = (schema(), Base { cwd: Path::new("/w"), home: Some(Path::new("/h")) });
        let mut asked = 0;
        for document in documents() {
            assert!(holds(&schema, &schema, &document), "{document}");
            for text in std::iter::once(document.clone()).chain(mutants(&document)) {
                let parsed = parse("p", &text.to_string(), Format::Json, &base);
                // What is wrong by its meaning only the parser sees: a glob that is relative, entries without effect, globs with `read`.
                let structural = parsed.as_ref().err().is_none_or(|e| !MEANING.iter().any(|said| e.what.contains(said)));
                if structural {
                    assert_eq!(holds(&schema, &schema, &text), parsed.is_ok(), "{text}: {:?}", parsed.err());
                }
                asked += 1;
            }
        }
        assert!(asked > 400, "{asked}");
    }

    /// Parts of sentences about what no schema says.
    const MEANING: &[&str] = &[
        "absolute path or `~/…`",
        "unknown field `path`",
        "unknown field `subpath`",
        "unknown field `stranger` in `project_roots`",
        "is no limit of",
    ];

    #[test]
    fn the_shipped_schema_is_this_one() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.schema.json");
        let text = format!("{:#}\n", schema());
        if std::env::var_os("CODEXRUN_UPDATE").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), text, "CODEXRUN_UPDATE=1 cargo test -p libruntime schema");
    }
}
