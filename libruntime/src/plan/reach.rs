//! Sources of binds that the root of the container's user namespace could not reach: they are copied from outside.

use super::op::{Op, ParentOp, Prepared, Source};
use super::order::Stage;
use super::{Draft, ParentStep};
use std::path::Path;

/// Which of the copies this one is; none where the container's root can make it itself.
pub(super) fn plan(draft: &mut Draft, place: &str, path: &Path, source: Source) -> Option<Prepared> {
    if !draft.host.out_of_reach.contains(path) {
        return None;
    }
    let slot = draft.parent.iter().filter(|step| matches!(step.op, ParentOp::Reach(_))).count();
    draft.parent.push(ParentStep { op: ParentOp::Reach(source), origin: place.to_owned() });
    draft.step(Stage::Reach, Op::Receive(slot), place);
    Some(Prepared::Sent(slot))
}
