//! `mounts[].uidMappings` and `gidMappings`, the options `idmap` and `ridmap`: a mount whose files have other owners.

use super::namespace::{lines, refuse_faulty};
use super::op::{IdMap, ParentOp, Prepared, Source};
use super::{Draft, ParentStep};
use oci_spec::runtime::{LinuxIdMapping, Mount};
use std::ffi::CString;

/// Which of the mounts that the parent maps this one is; none when its ids are not mapped. Without mappings of its own it has
/// the container's, also those of a user namespace that is joined.
pub(super) fn plan(draft: &mut Draft, place: &str, mount: &Mount, idmap: Option<bool>, source: &Source) -> Option<Prepared> {
    let own = |list: &Option<Vec<LinuxIdMapping>>| list.clone().filter(|list| !list.is_empty());
    let (uid, gid, namespace) = match (own(mount.uid_mappings()), own(mount.gid_mappings())) {
        (None, None) if idmap.is_none() => return None,
        (None, None) => (draft.maps.0.clone(), draft.maps.1.clone(), joined(draft)),
        (uid, gid) => (uid.unwrap_or_default(), gid.unwrap_or_default(), None),
    };
    let neither = uid.is_empty() && gid.is_empty();
    for (list, name) in [(&uid, "uidMappings"), (&gid, "gidMappings")] {
        let place = format!("{place}.{name}");
        refuse_faulty(draft, &place, list);
        match list.is_empty() && namespace.is_none() {
            true if neither => draft.refuse(place, "is missing, and the container has no mappings of its own to take its place"),
            true => draft.refuse(place, "is missing: a mount has both lists, or the container's two"),
            false => {}
        }
    }
    let recursive = idmap == Some(true);
    let (uid, gid) = (lines(&uid), lines(&gid));
    let map = IdMap { source: source.clone(), recursive, uid, gid, namespace };
    let slot = draft.before.iter().filter(|step| matches!(step.op, ParentOp::IdMap(_))).count();
    draft.before.push(ParentStep { op: ParentOp::IdMap(map), origin: place.to_owned() });
    Some(Prepared::Mapped(slot))
}

/// The user namespace that the container joins, whose mappings are the container's.
fn joined(draft: &Draft) -> Option<CString> {
    draft.before.iter().find_map(|step| match &step.op {
        ParentOp::Join(join) if join.flag == libc::CLONE_NEWUSER as u64 => Some(join.path.clone()),
        _ => None,
    })
}
