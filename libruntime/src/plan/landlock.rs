//! The annotation with Landlock's rules: the ruleset is made before the clone, its places are added where they are there.

use super::op::{Op, ParentOp, Permit};
use super::order::Stage;
use super::place::c_path;
use super::{Draft, ParentStep, annotation_of};
use crate::annotation::LANDLOCK;
use crate::landlock::{Config, OF_A_FILE, connectable, missing};
use crate::sys::file::Resolve;
use oci_spec::runtime::Spec;
use std::path::Path;

/// Gives the TCP ports that the rules let it connect to; none where they say nothing of connections.
pub(super) fn plan(draft: &mut Draft, spec: &Spec) -> Option<Vec<u16>> {
    let text = annotation_of(spec, LANDLOCK)?;
    let place = format!("annotations[{LANDLOCK}]");
    let rules = draft.take(&place, Config::parse(text).and_then(|config| config.rules()))?;
    for lack in missing(&rules.handled, draft.host.landlock) {
        draft.refuse(&place, lack);
    }
    if spec.process().as_ref().and_then(|process| process.no_new_privileges()) != Some(true) {
        draft.refuse(&place, "needs `process.noNewPrivileges`: without it the kernel takes rules from CAP_SYS_ADMIN only");
    }
    let connects = connectable(&rules.handled, &rules.ports);
    let op = ParentOp::Ruleset { handled: rules.handled, ports: rules.ports };
    draft.before.push(ParentStep { op, origin: place.clone() });
    for (path, access) in &rules.paths {
        permit(draft, &place, path, *access);
    }
    draft.step(Stage::Landlock, Op::Restrict, place);
    connects
}

fn permit(draft: &mut Draft, place: &str, path: &Path, access: u64) {
    if !path.is_absolute() {
        return draft.refuse(place, format!("`{}` is not an absolute path", path.display()));
    }
    // After the pivot, so that the root is the container's.
    let resolve = if draft.resolve == Resolve::NoLinks { Resolve::HostNoLinks } else { Resolve::NoMagicLinks };
    if let Some(path) = draft.take(place, c_path(path)) {
        let permit = Permit { path, access, of_a_file: access & OF_A_FILE, resolve };
        draft.step(Stage::Landlock, Op::Permit(permit), place);
    }
}

/// Whether the process restricts itself before its execve(2).
pub(super) fn restricts(draft: &Draft) -> bool {
    draft.child.iter().any(|step| step.op == Op::Restrict)
}
