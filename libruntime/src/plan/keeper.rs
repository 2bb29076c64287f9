//! The keeper: a process that holds the place of what is missing and must not be made, and removes the cgroup that nobody else would.

use super::op::{Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, ParentStep, annotation_of};
use crate::{Error, annotation};
use oci_spec::runtime::Spec;
use std::path::PathBuf;

/// Each is a directory and two descriptors of the keeper's; a policy has three for each directory that may be written.
const MOST: usize = 1000;

/// What it is to hold.
pub(super) fn placeholders(draft: &mut Draft, spec: &Spec) -> Vec<PathBuf> {
    let Some(text) = annotation_of(spec, annotation::PLACEHOLDERS) else { return Vec::new() };
    let place = format!("annotations[{}]", annotation::PLACEHOLDERS);
    let parsed = serde_json::from_str(text).map_err(|e| Error::new(format!("is not a JSON array of paths: {e}")));
    let Some::<Vec<PathBuf>>(paths) = draft.take(&place, parsed) else { return Vec::new() };
    let clean = |p: &PathBuf| p.is_absolute() && p.file_name().is_some() && p.components().collect::<PathBuf>() == *p;
    if let Some(bad) = paths.iter().find(|p| !clean(p) || p.components().any(|c| c == std::path::Component::ParentDir)) {
        draft.refuse(&place, format!("`{}` is not a clean absolute path", bad.display()));
    }
    if paths.len() > MOST {
        draft.refuse(&place, format!("has {} paths, and no more than {MOST} are held", paths.len()));
    }
    paths
}

/// Where somebody needs one.
pub(super) fn plan(draft: &mut Draft, placeholders: Vec<PathBuf>) {
    // Of a container that is recorded, `delete` removes it.
    let kept = |step: &&ParentStep| matches!(step.op, ParentOp::Cgroup(_)) && !draft.options.record && !draft.options.detach;
    let cgroup = draft.before.iter().find(kept).map(|step| step.origin.clone());
    let held = (!placeholders.is_empty()).then(|| format!("annotations[{}]", annotation::PLACEHOLDERS));
    if let Some(place) = &held {
        draft.step(Stage::Placeholders, Op::Wait(Sync::Placeholders), place);
    }
    let op = ParentOp::Keeper { placeholders, cgroup: cgroup.is_some() };
    draft.parent.extend(held.or(cgroup).map(|origin| ParentStep { op, origin }));
}
