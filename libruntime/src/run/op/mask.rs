//! What is covered and what is made read-only after everything is mounted.

use super::super::child::Child;
use super::chroot::copied;
use super::mounts::{fresh, kept};
use super::place::{PATH, below_root, open};
use crate::plan::place::At;
use crate::sys::file::{self, Stat};
use crate::sys::mount::{self, MountAttr, RECURSIVE, attr};
use crate::sys::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

pub(super) fn open_null(path: &CStr, child: &mut Child) -> Result<()> {
    let null = file::open_at(file::cwd(), path, PATH | libc::O_NOFOLLOW)?;
    if !file::stat(null.as_fd())?.is_device(libc::makedev(1, 3)) {
        return Err(Errno::ENODEV);
    }
    child.null = Some(null);
    Ok(())
}

/// What is missing needs no mask: ENOENT, and ENOTDIR for something below a file.
fn present(at: &At, child: &Child) -> Result<Option<(OwnedFd, Stat)>> {
    let found = match &at.held {
        Some(held) => file::open_in(kept(held.slot, child)?, &held.path, PATH, at.resolve),
        None => open(at, PATH, child),
    };
    match found {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => {
            let target = other?;
            let stat = below_root(target.as_fd(), child)?;
            Ok(Some((target, stat)))
        }
    }
}

pub(super) fn mask(at: &At, child: &mut Child) -> Result<()> {
    let Some((target, stat)) = present(at, child)? else { return Ok(()) };
    let cover = if stat.is_dir() { empty(child)? } else { null(child)? };
    mount::attach(cover.as_fd(), target.as_fd())
}

fn null(child: &Child) -> Result<OwnedFd> {
    copied(mount::clone_fd(child.null.as_ref().ok_or(Errno::EBADF)?.as_fd(), 0)?, child)
}

/// A mount of the one empty file system that covers every masked directory.
fn empty(child: &mut Child) -> Result<OwnedFd> {
    if let Some(empty) = &child.empty {
        return mount::clone_fd(empty.as_fd(), 0);
    }
    let attrs = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let mount = fresh(c"tmpfs", [(c"mode", Some(c"0755"))].into_iter(), attrs)?;
    child.empty = Some(file::duplicate(mount.as_fd())?);
    Ok(mount)
}

pub(super) fn read_only(at: &At, child: &Child) -> Result<()> {
    let Some((target, _)) = present(at, child)? else { return Ok(()) };
    let copy = mount::clone_fd(target.as_fd(), RECURSIVE)?;
    mount::setattr(copy.as_fd(), RECURSIVE, &MountAttr { set: attr::RDONLY, ..MountAttr::default() })?;
    mount::attach(copy.as_fd(), target.as_fd())
}
