//! Refuses, by name, what is of another version or platform, and annotations of ours that mean nothing. Nothing is dropped in silence.

use super::Draft;
use crate::annotation;
use crate::bundle::{Bundle, FREEBSD, OF_ANOTHER_PLATFORM, PLATFORMS};
use oci_spec::runtime::{Process, Spec};
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

pub(super) fn spec(draft: &mut Draft, bundle: &Bundle) {
    let spec = &bundle.spec;
    version(draft, spec.version());
    let present = [
        spec.windows().is_some(),
        spec.solaris().is_some(),
        spec.vm().is_some(),
        spec.zos().is_some(),
        bundle.unknown.iter().any(|path| path == FREEBSD),
    ];
    for (present, name) in present.into_iter().zip(PLATFORMS) {
        refuse_if(draft, present, name, OF_ANOTHER_PLATFORM);
    }
    // `oci_spec` knows them here, the specification does not: what it does not know is no error (config.md, "Extensibility").
    for (present, name) in [(spec.uid_mappings().is_some(), "uidMappings"), (spec.gid_mappings().is_some(), "gidMappings")] {
        if present {
            draft.warnings.push(format!("config.json: `{name}` is no known field, and has no effect: `linux.{name}` is"));
        }
    }
    if let Some(one) = spec.process() {
        process(draft, one);
    }
    annotations(draft, spec);
}

/// runtime-spec 1.x only; what a later minor version adds is caught field by field.
fn version(draft: &mut Draft, version: &str) {
    if minor(version).is_none() {
        draft.refuse("ociVersion", format!("`{version}` is not a version 1.x.y of the runtime specification"));
    }
}

/// The x of 1.x.y (semver.org).
pub(super) fn minor(version: &str) -> Option<u64> {
    let version = semver::Version::parse(version).ok()?;
    (version.major == 1).then_some(version.minor)
}

pub(super) fn process(draft: &mut Draft, p: &Process) {
    let foreign = [(p.command_line().is_some(), "process.commandLine"), (p.user().username().is_some(), "process.user.username")];
    for (present, name) in foreign {
        refuse_if(draft, present, name, OF_ANOTHER_PLATFORM);
    }
}

/// Entries of a list that say something else of the same thing than an earlier one: applied one after the other, that one would be lost
/// in silence. Each with the one that it is at odds with, and why it is refused.
pub(super) fn rivals<'a, T: PartialEq, N: Display + Hash + Eq>(
    list: &'a [T],
    about: impl Fn(&'a T) -> N,
) -> Vec<(usize, String)> {
    let mut first = HashMap::new();
    let mut rivals = Vec::new();
    for (i, one) in list.iter().enumerate() {
        let name = about(one);
        match first.get(&name) {
            Some(&earlier) if list[earlier] != *one => {
                rivals.push((i, format!("says something else of `{name}` than [{earlier}], and only one can hold")));
            }
            Some(_) => {}
            None => drop(first.insert(name, i)),
        }
    }
    rivals
}

fn refuse_if(draft: &mut Draft, present: bool, name: &str, why: &str) {
    if present {
        draft.refuse(name, why);
    }
}

/// Under our prefix everything means something: a misspelt key must not be a protection that is missing.
fn annotations(draft: &mut Draft, spec: &Spec) {
    let all = spec.annotations().iter().flatten();
    if all.clone().any(|(key, _)| key.is_empty()) {
        draft.refuse("annotations", "a key is the empty string");
    }
    let mut ours: Vec<_> = all.filter(|(key, _)| key.starts_with(annotation::PREFIX)).collect();
    ours.sort();
    for (key, value) in ours {
        let place = format!("annotations[{key}]");
        let values = annotation::values(key);
        if !annotation::ALL.contains(&key.as_str()) {
            draft.refuse(place, format!("is not known; known are {}", annotation::ALL.join(", ")));
        } else if !values.is_empty() && !values.contains(&value.as_str()) {
            draft.refuse(place, format!("`{value}` is not `{}`", values.join("` or `")));
        }
    }
}
