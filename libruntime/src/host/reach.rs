//! Which sources of binds the root of a container's user namespace could not reach: whoever is somebody else outside has no power over
//! directories that others have shut (user_namespaces(7)), while who starts the container may have.

use crate::namespace::is_new;
use crate::plan::options;
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType as Type, Spec};
use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By their modes: an access control list is found out about when the mount is made.
pub(super) fn beyond(spec: &Spec, bundle: Option<&Path>) -> BTreeSet<PathBuf> {
    let Some(mut root) = Root::of(spec) else { return BTreeSet::new() };
    let binds = spec.mounts().iter().flatten().filter(|mount| options::is_bind(mount));
    let sources = binds.filter_map(|mount| mount.source().as_ref());
    let paths = sources.map(|source| bundle.map_or_else(|| source.clone(), |dir| dir.join(source)));
    paths.filter(|path| !root.reaches(path)).collect()
}

/// Who it is outside, and whom it has power over.
struct Root<'a> {
    uids: &'a [LinuxIdMapping],
    gids: &'a [LinuxIdMapping],
    /// Directories that have been asked about: an engine binds many files of one.
    known: HashMap<PathBuf, bool>,
}

impl<'a> Root<'a> {
    /// Of a container with user and mount namespaces of its own.
    fn of(spec: &'a Spec) -> Option<Self> {
        let linux = spec.linux().as_ref()?;
        let (uids, gids) = (linux.uid_mappings().as_deref()?, linux.gid_mappings().as_deref()?);
        let own = is_new(spec, Type::User) && is_new(spec, Type::Mount);
        own.then(|| Root { uids, gids, known: HashMap::new() })
    }

    /// By its name, and where links in it lead.
    fn reaches(&mut self, path: &Path) -> bool {
        path.ancestors().skip(1).all(|dir| self.enters(dir)) && self.follows(path)
    }

    fn enters(&mut self, dir: &Path) -> bool {
        if let Some(known) = self.known.get(dir) {
            return *known;
        }
        let enters = std::fs::metadata(dir).map_or(true, |found| self.may_search(&found)) && self.follows(dir);
        self.known.insert(dir.to_owned(), enters);
        enters
    }

    /// What is no link leads nowhere else.
    fn follows(&mut self, path: &Path) -> bool {
        let real = if path.is_symlink() { std::fs::canonicalize(path).ok() } else { None };
        real.is_none_or(|real| real.ancestors().skip(1).all(|dir| self.enters(dir)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_source_behind_a_shut_directory_is_beyond_by_its_name_and_by_every_link() {
        let dir = std::env::temp_dir().join(format!("codexrun-reach-{}", std::process::id()));
        for name in ["open/sub", "shut/sub"] {
            fs::create_dir_all(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("file"), "").unwrap();
        }
        for (name, mode) in [("", 0o755), ("open", 0o755), ("open/sub", 0o755), ("shut", 0o700), ("shut/sub", 0o755)] {
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("shut/sub", dir.join("to-dir")).unwrap();
        symlink("../to-dir/file", dir.join("open/to-file")).unwrap();
        symlink("../open/sub", dir.join("shut/back")).unwrap();
        let table = [
            ("open/sub/file", true),
            ("open/sub/../../shut", true),
            ("open/nothing/here", true),
            ("shut/sub/file", false),
            ("shut/nothing", false),
            ("to-dir", false),
            ("to-dir/file", false),
            ("open/to-file", false),
            ("shut/back/file", false),
        ];
        let mounts: Vec<_> =
            table.iter().map(|(path, _)| json!({"destination": "/m", "source": path, "options": ["bind"]})).collect();
        let ids = json!([{"containerID": 0, "hostID": 3_000_000, "size": 9}]);
        let linux = json!({"namespaces": [{"type": "user"}, {"type": "mount"}], "uidMappings": ids, "gidMappings": ids});
        let spec = json!({"ociVersion": "1.0.2", "mounts": mounts, "linux": linux});
        let beyond = beyond(&serde_json::from_value(spec).unwrap(), Some(&dir));
        fs::remove_dir_all(&dir).unwrap();
        let reached: Vec<bool> = table.iter().map(|(path, _)| !beyond.contains(&dir.join(path))).collect();
        assert_eq!(reached, table.map(|(_, reached)| reached));
    }
}
