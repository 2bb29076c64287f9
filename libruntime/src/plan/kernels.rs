//! The kernel's own file systems where they belong: the child remembers their mounts, so that what is masked in them is found from there.

use super::mount::SHARED;
use super::options;
use super::place::{At, Held, c_string};
use crate::sys::file::Resolve;
use oci_spec::runtime::{Mount, Spec};
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Type and place.
pub(super) const KERNELS: &[(&str, &CStr)] = &[("proc", c"/proc"), ("sysfs", c"/sys")];

/// Which of the kernel's own stand where they belong when all is mounted.
pub(super) struct Kernels([bool; KERNELS.len()]);

impl Kernels {
    /// Of a spec's mounts.
    pub(super) fn of(spec: &Spec) -> Self {
        Kernels(std::array::from_fn(|n| is_seen(spec, KERNELS[n].0, KERNELS[n].1)))
    }

    /// A place below one of them, to be looked up from that mount. By its path somebody who may rename what lies in the root could lead
    /// the look-up elsewhere in the meantime, or to nothing (CVE-2019-19921).
    pub(super) fn hold(&self, at: At) -> At {
        let path = at.path.to_bytes();
        let below = |point: &CStr| path.strip_prefix(point.to_bytes()).filter(|rest| rest.first() == Some(&b'/'));
        let found = KERNELS.iter().enumerate().find_map(|(n, (_, point))| Some((n, below(point)?)));
        let held =
            found.filter(|(n, _)| self.0[*n]).and_then(|(n, rest)| Some(Held { slot: SHARED + n, path: c_string(rest).ok()? }));
        At { held, ..at }
    }
}

/// Whether what is mounted at `point` in the end is a new file system of the type `fs`.
fn is_seen(spec: &Spec, fs: &str, point: &CStr) -> bool {
    last_at(spec, point.to_bytes()).is_some_and(|mount| mount.typ().as_deref() == Some(fs) && !options::is_bind(mount))
}

/// What is mounted at `point` in the end; none where that is nothing, or lies below another mount on `/`.
pub(super) fn last_at<'a>(spec: &'a Spec, point: &[u8]) -> Option<&'a Mount> {
    let at = |mount: &Mount, point: &[u8]| leads_to(mount.destination(), point);
    let covers = |mount: &&Mount| !options::is_remount(mount) && (at(mount, point) || at(mount, b"/"));
    spec.mounts().iter().flatten().rfind(covers).filter(|mount| at(mount, point))
}

/// Whether a destination, by its words, is `point`.
fn leads_to(destination: &Path, point: &[u8]) -> bool {
    let names = || destination.components().filter(|c| !matches!(c, Component::RootDir | Component::CurDir));
    if names().any(|c| c == Component::ParentDir) {
        let at = At::new(&Path::new("/").join(destination), Resolve::NoLinks, false);
        return at.is_ok_and(|at| at.path.to_bytes() == point);
    }
    let wanted = point.split(|b| *b == b'/').filter(|name| !name.is_empty());
    names().map(|c| c.as_os_str().as_bytes()).eq(wanted)
}
