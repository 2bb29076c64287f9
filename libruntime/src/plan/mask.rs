//! `linux.maskedPaths` and `linux.readonlyPaths`. A file is covered by /dev/null, a directory by an empty file system; which one
//! it is, only the child can see.

use super::Draft;
use super::mount::Kernels;
use super::op::Op;
use super::order::Stage;
use oci_spec::runtime::Spec;
use std::path::Path;

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(linux) = spec.linux() else { return };
    let kernels = Kernels::of(spec);
    for (i, path) in linux.readonly_paths().iter().flatten().enumerate() {
        let place = format!("linux.readonlyPaths[{i}]");
        if let Some(at) = draft.at(&place, Path::new(path)) {
            draft.step(Stage::Masks, Op::ReadOnly(kernels.hold(at)), place);
        }
    }
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    if !masked.is_empty() {
        draft.step(Stage::Masks, Op::OpenNull(c"/dev/null".to_owned()), "linux.maskedPaths");
    }
    for (i, path) in masked.iter().enumerate() {
        let place = format!("linux.maskedPaths[{i}]");
        if let Some(at) = draft.at(&place, Path::new(path)) {
            draft.step(Stage::Masks, Op::Mask(kernels.hold(at)), place);
        }
    }
}
