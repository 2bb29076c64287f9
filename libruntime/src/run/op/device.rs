//! `/dev`: nodes, and the terminal.

use super::super::child::Child;
use super::place::{PATH, exists_is_fine, open, open_or_make, parent, touch};
use crate::plan::op::{By, Device, Sync};
use crate::plan::place::At;
use crate::sys::file::Stat;
use crate::sys::mount::MountAttr;
use crate::sys::{Errno, Result, file, mount, tty};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) fn open_dev(at: &At, child: &mut Child) -> Result<()> {
    child.dev = Some(open_or_make(at, true, child)?);
    Ok(())
}

fn dev<'a>(child: &'a Child) -> Result<BorrowedFd<'a>> {
    child.dev.as_ref().map(AsFd::as_fd).ok_or(Errno::EBADF)
}

pub(super) fn link(child: &Child, name: &CStr, target: &CStr) -> Result<()> {
    exists_is_fine(file::symlink_at(target, dev(child)?, name))
}

/// What an image brings along must be the device that it says it is; its mode and owner are then the image's.
pub(super) fn device(plan: &Device, child: &mut Child) -> Result<()> {
    if plan.by == By::Itself {
        // Nothing is made on the way either: it would be the host's.
        let stat = file::stat(open(&plan.at, PATH, child)?.as_fd())?;
        return if is(&stat, plan) { Ok(()) } else { Err(Errno::ENODEV) };
    }
    let parent = parent(&plan.at, child)?;
    let name = &plan.at.name;
    let node = match &plan.by {
        By::Mknod | By::Itself => None,
        By::Host(source) => Some(lent(source, child)?),
        By::Parent(slot) => Some(child.nodes.get_mut(*slot).and_then(Option::take).ok_or(Errno::EBADF)?),
    };
    if let Some(node) = node {
        return bind_device(plan, node, parent.as_fd());
    }
    match file::mknod_at(parent.as_fd(), name, plan.kind | plan.mode, plan.device) {
        Err(Errno::EEXIST) => {
            let stat = file::stat(file::open_at(parent.as_fd(), name, PATH | libc::O_NOFOLLOW)?.as_fd())?;
            if is(&stat, plan) { Ok(()) } else { Err(Errno::EEXIST) }
        }
        Ok(()) => file::chown_at(parent.as_fd(), name, plan.owner),
        other => other,
    }
}

/// The host's node must be the device that config.json names, not only have its path.
fn bind_device(plan: &Device, node: OwnedFd, parent: BorrowedFd) -> Result<()> {
    if !is(&file::stat(node.as_fd())?, plan) {
        return Err(Errno::ENODEV);
    }
    touch(parent, &plan.at.name)?;
    mount::attach_at(node.as_fd(), parent, &plan.at.name)
}

fn is(stat: &Stat, plan: &Device) -> bool {
    stat.mode & libc::S_IFMT == plan.kind && (plan.kind == libc::S_IFIFO || stat.device == plan.device)
}

pub(super) fn node(child: &Child, name: &CStr, device: u64) -> Result<()> {
    let dev = dev(child)?;
    match file::mknod_at(dev, name, libc::S_IFCHR | 0o666, device) {
        Err(Errno::EEXIST) => {}
        other => return other,
    }
    // What an image brings along must be the device that it says it is.
    let stat = file::stat(file::open_at(dev, name, PATH | libc::O_NOFOLLOW)?.as_fd())?;
    if stat.is_device(device) { Ok(()) } else { Err(Errno::EEXIST) }
}

/// The last component is not followed: a link that an image left there cannot redirect it.
pub(super) fn bind_node(child: &Child, name: &CStr, source: &CStr) -> Result<()> {
    let dev = dev(child)?;
    touch(dev, name)?;
    mount::attach_at(lent(source, child)?.as_fd(), dev, name)
}

/// A copy of the host's node, to use and not to change: whom it belongs to (root's payload) would set mode, owner, times and attributes
/// of the host's. A device is written to on a read-only mount as well (mount(2), MS_RDONLY speaks of the file system).
fn lent(source: &CStr, child: &Child) -> Result<OwnedFd> {
    let node = mount::clone_path(source, 0, false)?;
    mount::setattr(node.as_fd(), 0, &MountAttr { set: child.copies.set | libc::MOUNT_ATTR_RDONLY, ..child.copies })?;
    Ok(node)
}

pub(super) fn console(child: &mut Child, ptmx: &At, console: &At, size: Option<(u16, u16)>) -> Result<()> {
    let master = open(ptmx, libc::O_RDWR | libc::O_NOCTTY, child)?;
    let peer = other_end(master.as_fd(), size)?;
    // CVE-2025-52565: what is bound is the descriptor's file, and the target is resolved inside the root.
    let target = open_or_make(console, false, child)?;
    mount::attach(mount::clone_fd(peer.as_fd(), 0)?.as_fd(), target.as_fd())?;
    hand_over(child, master.as_fd(), peer)
}

/// The end of a terminal that the process gets, of the size that is asked for.
pub(super) fn other_end(master: BorrowedFd, size: Option<(u16, u16)>) -> Result<OwnedFd> {
    let peer = tty::peer(master)?;
    size.map_or(Ok(()), |(rows, columns)| tty::set_size(master, rows, columns))?;
    Ok(peer)
}

/// Without CAP_CHOWN it stays root's: what is open already can be used all the same.
pub(super) fn own_terminal(uid: u32, child: &Child) -> Result<()> {
    match file::give(child.tty.as_ref().ok_or(Errno::EBADF)?.as_fd(), uid) {
        Err(Errno::EPERM) => Ok(()),
        given => given,
    }
}

/// The master goes to the parent, the other end waits to become stdio.
pub(super) fn hand_over(child: &mut Child, master: BorrowedFd, peer: OwnedFd) -> Result<()> {
    file::send_fd(child.gate.as_fd(), master, Sync::Console as u8)?;
    child.tty = Some(peer);
    Ok(())
}
