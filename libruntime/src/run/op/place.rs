//! Places inside the new root: found by openat2(2) from its descriptor, made when they are missing, mounted over.

use super::super::child::Child;
use super::walk::{Last, walk};
use crate::plan::place::At;
use crate::sys::file::{self, Resolve, Stat};
use crate::sys::{Errno, Result, mount};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) const PATH: i32 = libc::O_PATH;
pub(super) const DIR: i32 = libc::O_PATH | libc::O_DIRECTORY;

/// Makes an entry of the root in memory; its parent stands earlier in the plan.
pub(super) fn made(at: &At, child: &Child, make: impl Fn(BorrowedFd, &CStr) -> Result<()>) -> Result<()> {
    if at.direct {
        return make(child.root()?, &at.name);
    }
    let parent = file::open_in(child.root()?, at.parent(), DIR, at.resolve)?;
    make(parent.as_fd(), &at.name)
}

pub(super) fn touch(dir: BorrowedFd, name: &CStr) -> Result<()> {
    exists_is_fine(file::mknod_at(dir, name, libc::S_IFREG | 0o644, 0))
}

pub(super) fn exists_is_fine(result: Result<()>) -> Result<()> {
    result.or_else(|e| if e == Errno::EEXIST { Ok(()) } else { Err(e) })
}

pub(super) fn open(at: &At, flags: i32, child: &Child) -> Result<OwnedFd> {
    file::open_in(child.root()?, &at.path, flags, at.resolve)
}

/// Opens a place, making what is missing on the way: directories of mode 0755, at the end a directory or an empty file.
pub(super) fn open_or_make(at: &At, dir: bool, child: &Child) -> Result<OwnedFd> {
    match open(at, PATH, child) {
        Err(Errno::ENOENT) => make(at, dir, child),
        other => other,
    }
}

/// Makes a directory that is missing. One that cannot be looked up is for who goes there to complain of.
pub(super) fn dir(at: &At, child: &Child) -> Result<()> {
    match open(at, PATH, child) {
        Err(Errno::ENOENT) => make(at, true, child).map(drop),
        _ => Ok(()),
    }
}

/// Makes a place that was found missing. Most often only the last component is; more than that, and links, are for [`walk`].
fn make(at: &At, dir: bool, child: &Child) -> Result<OwnedFd> {
    let made = file::open_in(child.root()?, at.parent(), DIR, at.resolve).and_then(|parent| {
        // A link of this name, be it one that leads nowhere, is EEXIST.
        match dir {
            true => file::mkdir_at(parent.as_fd(), &at.name, 0o755)?,
            false => file::mknod_at(parent.as_fd(), &at.name, libc::S_IFREG | 0o644, 0)?,
        }
        // And one that takes its place meanwhile is ELOOP.
        file::open_in(parent.as_fd(), &at.name, PATH, Resolve::NoLinks)
    });
    match made {
        Err(Errno::ENOENT | Errno::EEXIST) => {
            let found = walk(child.root()?, &at.path, at.resolve, if dir { Last::Dir } else { Last::File })?;
            below_root(found.as_fd(), child).map(|_| found)
        }
        made => made,
    }
}

/// The directory that the last component of a place stands in, made when it is missing.
pub(super) fn parent(at: &At, child: &Child) -> Result<OwnedFd> {
    match file::open_in(child.root()?, at.parent(), DIR, at.resolve) {
        Err(Errno::ENOENT) => walk(child.root()?, &at.path, at.resolve, Last::Left),
        other => other,
    }
}

/// Attaches a detached mount at a place inside the root.
pub(super) fn attach(mount: OwnedFd, at: &At, child: &mut Child) -> Result<OwnedFd> {
    if at.is_root() {
        return cover_root(mount, child);
    }
    if at.direct {
        match mount::attach_at(mount.as_fd(), child.root()?, &at.name) {
            // What is missing is made; of the other the reason is found below.
            Err(Errno::ENOENT | Errno::EINVAL) => {}
            other => return other.map(|()| mount),
        }
    }
    let target = match open(at, PATH, child) {
        Err(Errno::ENOENT) if !at.kept => make(at, file::stat(mount.as_fd())?.is_dir(), child)?,
        other => {
            let target = other?;
            if at.resolve != Resolve::NoLinks {
                below_root(target.as_fd(), child)?;
            }
            target
        }
    };
    match mount::attach(mount.as_fd(), target.as_fd()) {
        // move_mount(2) says no more of a file over a directory, or the reverse.
        Err(Errno::EINVAL) if file::stat(mount.as_fd())?.is_dir() != file::stat(target.as_fd())?.is_dir() => Err(Errno::ENOTDIR),
        done => done.map(|()| mount),
    }
}

/// What is mounted over `/` is the root from then on.
fn cover_root(mount: OwnedFd, child: &mut Child) -> Result<OwnedFd> {
    mount::attach(mount.as_fd(), child.root()?)?;
    child.root_id = file::stat(mount.as_fd())?.id;
    child.root = Some(file::duplicate(mount.as_fd())?);
    Ok(mount)
}

/// A link of the image that leads to `/` is no place: what is mounted there lies beside the path that was meant (masks would find
/// nothing), and above the root, where `/..` still leads.
pub(super) fn below_root(target: BorrowedFd, child: &Child) -> Result<Stat> {
    let stat = file::stat(target)?;
    if stat.id == child.root_id { Err(Errno::ELOOP) } else { Ok(stat) }
}
