//! What may be done where: a map from canonical paths to access, in which the longest prefix decides. Pure.

use crate::policy::Access;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::{Path, PathBuf};

/// One decided place. Symbolic links never become spots: they are followed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub access: Access,
    pub dir: bool,
}

/// Canonical paths and what the policy says of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    spots: BTreeMap<PathBuf, Spot>,
    /// A directory that is not the host's, but new and empty.
    fresh: Option<PathBuf>,
}

impl Tree {
    /// Adds a spot; when the place is already decided the stronger word stays: deny > write > read.
    pub fn put(&mut self, path: PathBuf, spot: Spot) {
        let old = self.spots.entry(path).or_insert(spot);
        old.access = old.access.max(spot.access);
    }

    /// Decides anew what was decided before.
    pub fn set(&mut self, path: PathBuf, spot: Spot) {
        self.spots.insert(path, spot);
    }

    /// A new directory in the place of the host's.
    pub fn renew(&mut self, path: PathBuf) {
        self.set(path.clone(), Spot { access: Access::Write, dir: true });
        self.fresh = Some(path);
    }

    /// Whether `path` is the new directory.
    pub fn is_fresh(&self, path: &Path) -> bool {
        self.fresh.as_deref() == Some(path)
    }

    /// Whether `path` lies in the new directory, and not in something of the host's that is bound there.
    pub fn in_fresh(&self, path: &Path) -> bool {
        self.nearest(path).is_some_and(|(at, _)| self.is_fresh(at))
    }

    pub fn get(&self, path: &Path) -> Option<&Spot> {
        self.spots.get(path)
    }

    /// Forgets a spot.
    pub fn take(&mut self, path: &Path) -> Option<Spot> {
        self.spots.remove(path)
    }

    /// The deepest spot that is `path` or above it.
    pub fn nearest(&self, path: &Path) -> Option<(&Path, &Spot)> {
        path.ancestors().find_map(|at| self.spots.get_key_value(at)).map(|(p, s)| (p.as_path(), s))
    }

    /// The access of `path`; `None`: nothing is said, so there is nothing to see.
    pub fn access(&self, path: &Path) -> Option<Access> {
        self.nearest(path).map(|(_, spot)| spot.access)
    }

    /// The access of what of the host lies around a spot.
    pub fn around(&self, path: &Path) -> Option<Access> {
        path.parent().filter(|up| !self.in_fresh(up)).and_then(|up| self.access(up))
    }

    /// Whether the sandbox can replace what lies at `path`. The root itself is a read-only skeleton, whatever the policy
    /// says of `/`.
    pub fn replaceable(&self, path: &Path) -> bool {
        path.parent().is_some_and(|up| up != Path::new("/") && self.access(up) == Some(Access::Write))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Spot)> {
        self.spots.iter().map(|(p, s)| (p.as_path(), s))
    }

    /// Every spot below `path`, without it. `PathBuf` orders by component, so they follow each other.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Spot)> {
        self.spots
            .range::<Path, _>((Excluded(path), Unbounded))
            .map(|(p, s)| (p.as_path(), s))
            .take_while(move |(p, _)| p.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(spots: &[(&str, Access)]) -> Tree {
        let mut tree = Tree::default();
        for (path, access) in spots {
            tree.put(path.into(), Spot { access: *access, dir: true });
        }
        tree
    }

    #[test]
    fn the_longest_prefix_decides_and_deny_beats_write_beats_read_on_a_tie() {
        use Access::*;
        let t = tree(&[("/", Read), ("/w", Write), ("/w", Read), ("/w/s", Write), ("/w/s", Deny), ("/w/s/ok", Read)]);
        for (path, want) in [
            ("/", Read),
            ("/etc/passwd", Read),
            ("/w/x", Write),
            ("/wx", Read),
            ("/w/s", Deny),
            ("/w/s/x/y", Deny),
            ("/w/s/ok/x", Read),
        ] {
            assert_eq!(t.access(Path::new(path)), Some(want), "{path}");
        }
        assert_eq!(tree(&[("/w", Write)]).access(Path::new("/etc")), None);
    }

    #[test]
    fn below_lists_descendants_only() {
        let t = tree(&[("/a", Access::Read), ("/a-b", Access::Read), ("/a/b", Access::Read), ("/b", Access::Read)]);
        let below: Vec<_> = t.below(Path::new("/a")).map(|(p, _)| p).collect();
        assert_eq!(below, [Path::new("/a/b")]);
    }
}
