//! `linux.maskedPaths` and `linux.readonlyPaths`. A file is covered by /dev/null, a directory by an empty file system; which one
//! it is, only the child can see.

use super::Draft;
use super::kernels::Kernels;
use super::op::Op;
use super::order::Stage;
use crate::sys::mount::{MountAttr, attr};
use oci_spec::runtime::Spec;
use std::path::Path;

const READ_ONLY: MountAttr = MountAttr { set: attr::RDONLY, clear: 0, propagation: 0, userns: 0 };

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(linux) = spec.linux() else { return };
    let kernels = Kernels::of(spec);
    for (i, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let place = format!("linux.readonlyPaths[{i}]");
        match draft.at(&place, Path::new(path)) {
            // It cannot be bound over itself, and nothing is made in it any more.
            Some(at) if at.is_root() => draft.step(Stage::RootAttr, Op::RootAttr { attr: READ_ONLY, recursive: true }, place),
            Some(at) => draft.step(Stage::Masks, Op::ReadOnly(kernels.hold(at)), place),
            None => {}
        }
    }
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    if !masked.is_empty() {
        draft.step(Stage::Masks, Op::OpenNull(c"/dev/null".to_owned()), "linux.maskedPaths");
    }
    for (i, path) in masked.iter().enumerate() {
        let place = format!("linux.maskedPaths[{i}]");
        match draft.at(&place, Path::new(path)) {
            Some(at) if at.is_root() => draft.refuse(place, "`/` cannot be covered: there would be nothing left to run"),
            Some(at) => draft.step(Stage::Masks, Op::Mask(kernels.hold(at)), place),
            None => {}
        }
    }
}
