//! Which sources of binds the root of a container's user namespace could not reach: whoever is somebody else outside has no power over
//! directories that others have shut (user_namespaces(7)), while who starts the container may have.

use crate::plan::options;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType as Type, Spec};
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By their modes: an access control list is found out about when the mount is made.
pub(super) fn beyond(spec: &Spec, bundle: Option<&Path>) -> BTreeSet<PathBuf> {
    let Some(root) = Root::of(spec) else { return BTreeSet::new() };
    let binds = spec.mounts().iter().flatten().filter(|mount| options::is_bind(mount));
    let sources = binds.filter_map(|mount| mount.source().as_ref());
    let paths = sources.map(|source| bundle.map_or_else(|| source.clone(), |dir| dir.join(source)));
    paths.filter(|path| !root.reaches(path)).collect()
}

/// Who it is outside, and whom it has power over.
struct Root<'a> {
    uids: &'a [LinuxIdMapping],
    gids: &'a [LinuxIdMapping],
}

impl<'a> Root<'a> {
    /// Of a container with user and mount namespaces of its own.
    fn of(spec: &'a Spec) -> Option<Self> {
        let linux = spec.linux().as_ref()?;
        let new = |typ| linux.namespaces().iter().flatten().any(|n| n.typ() == typ && n.path().is_none());
        let (uids, gids) = (linux.uid_mappings().as_deref()?, linux.gid_mappings().as_deref()?);
        (new(Type::User) && new(Type::Mount)).then_some(Root { uids, gids })
    }

    /// By its name, and where links in it lead.
    fn reaches(&self, path: &Path) -> bool {
        let real = std::fs::canonicalize(path).ok();
        let dirs = path.ancestors().skip(1).chain(real.iter().flat_map(|real| real.ancestors().skip(1)));
        dirs.filter_map(|dir| std::fs::metadata(dir).ok()).all(|dir| self.may_search(&dir))
    }

    fn may_search(&self, dir: &Metadata) -> bool {
        let within =
            |list: &[LinuxIdMapping], id: u32| list.iter().any(|m| id.checked_sub(m.host_id()).is_some_and(|n| n < m.size()));
        let execute = match () {
            _ if first(self.uids) == Some(dir.uid()) => 0o100,
            _ if first(self.gids) == Some(dir.gid()) => 0o010,
            _ => 0o001,
        };
        dir.mode() & execute != 0 || within(self.uids, dir.uid()) && within(self.gids, dir.gid())
    }
}

/// What the host calls id 0, or where that is not mapped the first.
fn first(list: &[LinuxIdMapping]) -> Option<u32> {
    list.iter().find(|map| map.container_id() == 0).or(list.first()).map(LinuxIdMapping::host_id)
}
