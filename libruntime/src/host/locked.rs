//! Which attributes the sources of binds have for good: of a mount that came into a user namespace from outside nobody in there takes them
//! off (mount_namespaces(7)).

use crate::namespace;
use crate::plan::options::{self, LOCKABLE, Options};
use crate::sys::mount::{self, MountAttr};
use crate::sys::{Errno, file};
use oci_spec::runtime::{LinuxNamespaceType as Type, Mount, Spec};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// By the source, of binds that ask for one of these to be cleared.
pub(super) fn attributes(spec: &Spec, bundle: Option<&Path>, initial: impl Fn() -> crate::Result<bool>) -> crate::Result<Locked> {
    let inside = namespace::all(spec).any(|namespace| namespace.typ() == Type::User);
    let mut locked = Locked::new();
    let mut asked = spec.mounts().iter().flatten().filter_map(asked).peekable();
    // In the initial user namespace nothing is locked, and nobody is asked.
    if asked.peek().is_none() || !inside && initial()? {
        return Ok(locked);
    }
    for (source, asked) in asked {
        let path = bundle.map_or_else(|| source.to_owned(), |dir| dir.join(source));
        // What cannot be asked is found out about when the mount is made.
        let Ok(file) = CString::new(path.as_os_str().as_bytes()) else { continue };
        let held = held(&file) & asked;
        if held != 0 && (inside || keeps(&file, held)) {
            *locked.entry(path).or_default() |= held;
        }
    }
    Ok(locked)
}

/// Which, by the source.
pub type Locked = BTreeMap<PathBuf, u64>;

/// The source of a bind, and what it is not to have.
fn asked(mount: &Mount) -> Option<(&Path, u64)> {
    let attrs = Options::of(mount).ok().filter(|options| options::is_bind(mount) && !options.remount)?.attrs;
    let asked = (attrs.own.clear | attrs.tree.clear) & LOCKABLE;
    mount.source().as_deref().filter(|_| asked != 0).map(|source| (source, asked))
}

fn held(path: &CString) -> u64 {
    let attributes = file::open_at(file::cwd(), path, libc::O_PATH).and_then(|source| mount::attributes(source.as_fd()));
    attributes.unwrap_or(0)
}

/// A mount that was made in this user namespace is as free as any: it is tried with a copy that is attached nowhere.
fn keeps(path: &CString, held: u64) -> bool {
    let clear = MountAttr { clear: held, ..MountAttr::default() };
    mount::clone_path(path, 0, true).is_ok_and(|copy| mount::setattr(copy.as_fd(), 0, &clear) == Err(Errno::EPERM))
}
