//! Mounts in which others are mounted or made: they can be written to until all is there.

use super::Draft;
use super::op::{Attrs, Op};
use super::options::{self, Options};
use super::order::Stage;
use super::place::At;
use crate::sys::mount::{MountAttr, attr};
use oci_spec::runtime::{Mount, Spec};
use std::path::Path;

/// Every place where something is mounted or made, in the order of their names, with the number of its mount.
pub(super) struct Places<'a>(Vec<(&'a Path, usize)>);

impl<'a> Places<'a> {
    pub(super) fn of(spec: &'a Spec) -> Self {
        let devices =
            spec.linux().iter().flat_map(|linux| linux.devices().iter().flatten()).map(|device| device.path().as_path());
        let made = devices.chain([Path::new("/dev/null")]).map(|path| (path, 0));
        let numbered = spec.mounts().iter().flatten().zip(1..).filter(|(mount, _)| !options::is_remount(mount));
        let mounted = numbered.map(|(mount, n)| (mount.destination().as_path(), n));
        let mut all: Vec<_> = made.chain(mounted).map(|(path, n)| (from_root(path), n)).collect();
        all.sort();
        Places(all)
    }

    /// Whether there is one in the mount of this number, and no later mount lies over it.
    pub(super) fn fill(&self, mount: &Mount, number: usize) -> bool {
        let dir = from_root(mount.destination());
        let behind = self.0.partition_point(|(path, _)| *path <= dir);
        let covered = self.0[..behind].last().is_some_and(|(path, n)| *path == dir && *n > number);
        !covered && self.0.get(behind).is_some_and(|(path, _)| path.starts_with(dir))
    }
}

fn from_root(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// What is to be filled can be written to until all is there, as with runc.
pub(super) fn read_only_later(draft: &mut Draft, place: &str, options: &mut Options, at: &At) {
    options.attrs = options.attrs.alone();
    let own = MountAttr { set: options.attrs.own.set & attr::RDONLY, ..MountAttr::default() };
    if !own.is_empty() {
        options.attrs.own.set &= !attr::RDONLY;
        let attrs = Attrs { own, ..Attrs::default() };
        draft.step(Stage::Masks, Op::Remount { at: at.clone(), attrs, parameters: Vec::new() }, place);
    }
}
