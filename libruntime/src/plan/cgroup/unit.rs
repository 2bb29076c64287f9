//! The systemd driver: `cgroupsPath` is SLICE:PREFIX:NAME, the cgroup is that of a transient unit, and what systemd has a property for
//! is told to it too ([`limits`]).

mod property;

pub use property::{fleeting, limits, unknown};

use super::Group;
use crate::host::cgroup::{Cgroups, Version};
use crate::systemd::text;
use crate::systemd::value::{Property, Value};
use crate::{Error, Result};
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A transient unit of systemd's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// `PREFIX-NAME.scope`, or `NAME.slice`.
    pub name: String,
    /// Of the user's systemd, not of the system's.
    pub user: bool,
    /// What it is started with, but for the process.
    #[serde(skip)]
    pub properties: Vec<Property>,
}

impl Unit {
    /// A slice holds units, and takes no process from systemd.
    pub fn is_slice(&self) -> bool {
        self.name.ends_with(SLICE)
    }
}

const SLICE: &str = ".slice";
/// Annotations `org.systemd.property.NAME`, as runc and crun have them.
const ANNOTATION: &str = crate::annotation::SYSTEMD_PROPERTY;
/// What no annotation may change: where the unit is, who is in it, and whose its cgroup is.
const OURS: &[&str] = &["Slice", "PIDs", "Delegate"];

/// The unit and its cgroup, as the path names them.
pub(super) fn place(cgroups: &Cgroups, path: Option<&Path>, id: &str, user: bool) -> Result<(Unit, Group)> {
    let [hierarchy] = cgroups.hierarchies.as_slice() else { return Err(version_2()) };
    let Some(root) = cgroups.systemd.clone().filter(|_| hierarchy.version == Version::V2) else { return Err(version_2()) };
    let default = format!(":codexrun:{id}");
    let text = path.map_or(Some(default.as_str()), Path::to_str).unwrap_or_default();
    let (slice, name) = names(text, user)?;
    let below = if name.ends_with(SLICE) { expand(&name)? } else { expand(&slice)?.join(&name) };
    let base = hierarchy.mount.join(root?.strip_prefix("/").unwrap_or(Path::new(""))).components().collect();
    let group = Group { version: Version::V2, controllers: hierarchy.controllers.clone(), base, path: below };
    Ok((Unit { properties: properties(&slice, &name, id), name, user }, group))
}

fn version_2() -> Error {
    let error = Error::new("the systemd driver needs cgroup version 2 and nothing else");
    error.hint("without it, `--cgroup-manager cgroupfs` and a `linux.cgroupsPath` that is a path")
}

/// SLICE:PREFIX:NAME → the slice and the unit.
fn names(path: &str, user: bool) -> Result<(String, String)> {
    let parts: Vec<&str> = path.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        let error = Error::new(format!("`{}` is not SLICE:PREFIX:NAME, as the systemd driver has it", path.escape_debug()));
        return Err(error.hint("`--cgroup-manager cgroupfs` takes a path"));
    };
    let slice = match slice {
        "" if user => "user.slice",
        "" => "system.slice",
        "-" => "-.slice",
        slice => slice,
    };
    let unit = match (prefix, name) {
        (_, "") => return Err(Error::new(format!("`{path}` has no name"))),
        (_, slice) if slice.ends_with(SLICE) => slice.to_owned(),
        ("", name) => format!("{name}.scope"),
        (prefix, name) => format!("{prefix}-{name}.scope"),
    };
    // systemd.unit(5)
    match unit.len() <= 255 && unit.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b)) {
        true => Ok((slice.to_owned(), unit)),
        false => Err(Error::new(format!("`{}` is no name of a unit", unit.escape_debug()))),
    }
}

/// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn expand(slice: &str) -> Result<PathBuf> {
    let wrong = || Error::new(format!("`{}` is no name of a slice such as `system.slice` or `a-b.slice`", slice.escape_debug()));
    let name = slice.strip_suffix(SLICE).ok_or_else(wrong)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.\\@".contains(&b));
    if !name.split('-').all(plain) {
        return Err(wrong());
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends.map(|end| format!("{}{SLICE}", &name[..end])).collect())
}

fn properties(slice: &str, unit: &str, id: &str) -> Vec<Property> {
    let property = |name: &str, value| (name.to_owned(), value);
    let mut all = vec![
        property("Description", Value::Text(format!("container {id}"))),
        // Nothing else at boot or shutdown knows of it.
        property("DefaultDependencies", Value::Bool(false)),
    ];
    match unit.ends_with(SLICE) {
        true => all.push(property("Wants", Value::Array("s".into(), vec![Value::Text(slice.to_owned())]))),
        false => {
            all.push(property("Slice", Value::Text(slice.to_owned())));
            // What lies below is the container's to divide, and the program about devices ours.
            all.push(property("Delegate", Value::Bool(true)));
        }
    }
    let counted = ["CPUAccounting", "IOAccounting", "MemoryAccounting", "TasksAccounting"];
    all.extend(counted.map(|name| property(name, Value::Bool(true))));
    all
}

/// Properties by annotation, in the order of their names; each replaces what is there.
pub(super) fn annotated(unit: &mut Unit, spec: &Spec) -> Vec<Error> {
    let mut given: Vec<_> = spec
        .annotations()
        .iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATION)?, key, value)))
        .collect();
    given.sort();
    let mut errors = Vec::new();
    for (name, key, value) in given {
        match annotation(name, value) {
            Ok(property) => put(&mut unit.properties, property),
            Err(e) => errors.push(e.at(format!("annotations[{}]", key.escape_debug()))),
        }
    }
    errors
}

fn annotation(name: &str, value: &str) -> Result<Property> {
    if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(Error::new(format!("`{}` is no name of a property", name.escape_debug())));
    }
    if OURS.contains(&name) {
        return Err(
            Error::new("is what the unit is made with, and cannot be changed").hint("`linux.cgroupsPath` names the slice")
        );
    }
    let value = text::value(value)?;
    // On D-Bus every time is in microseconds.
    match name.strip_suffix("Sec").filter(|name| name.ends_with(|c: char| c.is_ascii_lowercase())) {
        None => Ok((name.to_owned(), value)),
        Some(stem) => Ok((format!("{stem}USec"), microseconds(&value).ok_or_else(|| Error::new("is no time in seconds"))?)),
    }
}

fn microseconds(seconds: &Value) -> Option<Value> {
    let seconds = match seconds {
        Value::I32(n) => u64::try_from(*n).ok()?,
        Value::I64(n) => u64::try_from(*n).ok()?,
        Value::U32(n) => u64::from(*n),
        Value::U64(n) => *n,
        _ => return None,
    };
    Some(Value::U64(seconds.checked_mul(1_000_000)?))
}

fn put(properties: &mut Vec<Property>, new: Property) {
    properties.retain(|(name, _)| *name != new.0);
    properties.push(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(path: &str, user: bool) -> Result<(String, String), String> {
        let mut cgroups = Cgroups::recorded();
        cgroups.systemd = Some(Ok(if user { "/user.slice/user-7.slice/user@7.service".into() } else { "/".into() }));
        let placed = place(&cgroups, Some(Path::new(path)).filter(|p| *p != Path::new("")), "box", user);
        placed.map(|(unit, group)| (unit.name, group.dir().display().to_string())).map_err(|e| e.to_string())
    }

    #[test]
    fn a_path_names_a_slice_and_a_unit_as_with_runc() {
        let own = "user.slice/user-7.slice/user@7.service/user.slice/libpod-a.scope";
        let table = [
            ("", false, "codexrun-box.scope", "system.slice/codexrun-box.scope"),
            (":docker:a", false, "docker-a.scope", "system.slice/docker-a.scope"),
            ("-:p:a", false, "p-a.scope", "p-a.scope"),
            ("-.slice::a", false, "a.scope", "a.scope"),
            ("a-b_c-d.slice:cri:x", false, "cri-x.scope", "a.slice/a-b_c.slice/a-b_c-d.slice/cri-x.scope"),
            ("system.slice::pod-x.slice", false, "pod-x.slice", "pod.slice/pod-x.slice"),
            (":libpod:a", true, "libpod-a.scope", own),
        ];
        for (path, user, unit, dir) in table {
            assert_eq!(placed(path, user), Ok((unit.to_owned(), format!("/sys/fs/cgroup/{dir}"))), "{path}");
        }
    }

    #[test]
    fn what_is_no_slice_and_no_unit_is_refused() {
        let table = [
            ("/a/b", "`/a/b` is not SLICE:PREFIX:NAME"),
            ("a:b", "`a:b` is not"),
            ("a/b.slice:p:n", "`a/b.slice` is no name of a slice"),
            ("a--b.slice:p:n", "is no name of a slice"),
            (".slice:p:n", "is no name of a slice"),
            ("a.scope:p:n", "is no name of a slice"),
            (":p:a/../b", "`p-a/../b.scope` is no name of a unit"),
            (":p:", "has no name"),
        ];
        for (path, why) in table {
            let said = placed(path, false);
            assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{path}: {said:?}");
        }
        let version_1 = Cgroups { systemd: None, ..Cgroups::recorded() };
        assert!(place(&version_1, None, "box", false).unwrap_err().what.contains("version 2"));
    }

    #[test]
    fn annotations_are_properties() {
        assert_eq!(annotation("TimeoutStopUSec", "uint64 5"), Ok(("TimeoutStopUSec".into(), Value::U64(5))));
        assert_eq!(annotation("TimeoutStopSec", "3"), Ok(("TimeoutStopUSec".into(), Value::U64(3_000_000))));
        assert_eq!(annotation("CollectMode", "'inactive'"), Ok(("CollectMode".into(), Value::Text("inactive".into()))));
        for (name, value) in
            [("Slice", "'a.slice'"), ("Delegate", "false"), ("A_b", "1"), ("Nice", ""), ("TimeoutStopSec", "'1'")]
        {
            assert!(annotation(name, value).is_err(), "{name}");
        }
    }
}
