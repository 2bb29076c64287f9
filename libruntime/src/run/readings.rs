//! What may have been meant where something on which half of the plan depends has the wrong form: namespaces, id maps, annotations of
//! ours. Each time the least and the most that it can be: of what is refused either way, it is no cause.

use crate::annotation;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

const NAMESPACES: [&str; 8] = ["mount", "pid", "network", "ipc", "uts", "user", "cgroup", "time"];
const MAPPINGS: [&str; 2] = ["uidMappings", "gidMappings"];

/// The spec without, and with all of, what has these faults; none when they touch nothing of the kind.
pub(super) fn of(spec: &Spec, faults: &[&str]) -> Vec<Spec> {
    let ours = |path: &str| annotation::ALL.iter().any(|key| speaks_of(path, key));
    let maps = |path: &str| path == "linux" || MAPPINGS.iter().any(|name| lies_in(path, &format!("linux.{name}")));
    let spaces = |path: &str| path == "linux" || lies_in(path, "linux.namespaces");
    let touched = |which: &dyn Fn(&str) -> bool| faults.iter().any(|path| which(path));
    let (ours, maps, spaces) = (touched(&ours), touched(&maps), touched(&spaces));
    if !ours && !maps && !spaces {
        return Vec::new();
    }
    let read = |most: bool| {
        let mut json = serde_json::to_value(spec).ok()?;
        if ours {
            annotations(&mut json, faults, most);
        }
        if maps {
            mappings(&mut json["linux"], most);
        }
        if spaces {
            namespaces(&mut json["linux"], faults, most);
        }
        crate::bundle::spec(&json).ok()
    };
    [read(false), read(true)].into_iter().flatten().collect()
}

fn lies_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether a fault is one of this annotation, or of all.
fn speaks_of(path: &str, key: &str) -> bool {
    path.strip_prefix("annotations").is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.') == Some(key))
}

/// A faulty entry becomes the copy of a sound one, so that the others keep their places: what is said of it is not told anyway.
fn namespaces(linux: &mut Value, faults: &[&str], most: bool) {
    if !linux["namespaces"].is_array() {
        linux["namespaces"] = json!([]);
    }
    let Some(all) = linux["namespaces"].as_array_mut() else { return };
    let is_faulty = |n: usize| faults.iter().any(|path| lies_in(path, &format!("linux.namespaces[{n}]")));
    let sound: Vec<String> = all.iter().enumerate().filter(|(n, _)| !is_faulty(*n)).map(|(_, one)| kind(one)).collect();
    match sound.first() {
        Some(first) => {
            all.iter_mut().enumerate().filter(|(n, _)| is_faulty(*n)).for_each(|(_, one)| *one = json!({"type": first}))
        }
        None => all.clear(),
    }
    if most {
        all.extend(NAMESPACES.iter().filter(|name| !sound.iter().any(|known| known == *name)).map(|name| json!({"type": name})));
    }
}

fn kind(namespace: &Value) -> String {
    namespace["type"].as_str().unwrap_or_default().to_owned()
}

fn mappings(linux: &mut Value, most: bool) {
    let all = if most { json!([{"containerID": 0, "hostID": 0, "size": u32::MAX}]) } else { Value::Null };
    MAPPINGS.iter().for_each(|name| linux[*name] = all.clone());
}

/// Of ours those mean most that are set to their one value.
fn annotations(json: &mut Value, faults: &[&str], most: bool) {
    let keys = annotation::ALL.iter().filter(|key| faults.iter().any(|path| speaks_of(path, key)));
    if !json["annotations"].is_object() {
        json["annotations"] = json!({});
    }
    let Some(all) = json["annotations"].as_object_mut() else { return };
    for key in keys {
        match annotation::values(key).first().filter(|_| most) {
            Some(value) => drop(all.insert((*key).to_owned(), (*value).into())),
            None => drop(all.remove(*key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: Value, faults: &[&str]) -> Vec<Value> {
        let spec = crate::bundle::spec(&spec).unwrap();
        of(&spec, faults).iter().map(|spec| serde_json::to_value(spec).unwrap()).collect()
    }

    #[test]
    fn a_faulty_namespace_is_none_or_every_one_that_is_not_there() {
        let list = json!([{"type": "pid"}, {"type": "mount"}, {"type": "uts", "path": "/u"}]);
        let read = read(json!({"ociVersion": "1.3.0", "linux": {"namespaces": list}}), &["linux.namespaces[1].type"]);
        let kinds = |n: usize| read[n]["linux"]["namespaces"].as_array().unwrap().iter().map(kind).collect::<Vec<_>>().join(" ");
        assert_eq!((kinds(0), kinds(1)), ("pid pid uts".into(), "pid pid uts mount network ipc user cgroup time".into()));
        assert_eq!(read[1]["linux"]["namespaces"][2]["path"], "/u");
    }

    #[test]
    fn an_annotation_of_others_is_read_in_one_way_and_one_of_ours_in_two() {
        let spec = json!({"ociVersion": "1.3.0", "annotations": {"x": "", "dev.codexrun.init": ""}});
        assert!(read(spec.clone(), &["annotations.x", "hostname"]).is_empty());
        let read = read(spec, &["annotations.dev.codexrun.init"]);
        assert_eq!(
            (&read[0]["annotations"], &read[1]["annotations"]["dev.codexrun.init"]),
            (&json!({"x": ""}), &json!("reaper"))
        );
    }

    #[test]
    fn faulty_mappings_are_none_or_all() {
        let map = json!([{"containerID": 0, "hostID": 0, "size": 0}]);
        let read = read(json!({"ociVersion": "1.3.0", "linux": {"uidMappings": map}}), &["linux.uidMappings[0].size"]);
        assert_eq!(read[0]["linux"]["uidMappings"], Value::Null);
        assert_eq!(read[1]["linux"]["gidMappings"][0]["size"], u32::MAX);
    }
}
