//! A container in the runtime's mount namespace: its root is a tree of mounts that is attached nowhere, and chroot(2) leads into it.
//! What is attached within such a tree (Linux 6.15) is in no mount namespace of anybody's, and goes with the last process that is in it.

use super::super::child::Child;
use super::mounts::new_root;
use crate::plan::op::Root;
use crate::sys::mount::{self, MountAttr, RECURSIVE};
use crate::sys::{Errno, Result, file};
use std::os::fd::{AsFd, OwnedFd};

/// In the host's namespace a copy of a shared mount would hear of what is mounted there, and tell what is mounted here.
pub(super) fn tree(root: &Root, child: &mut Child) -> Result<()> {
    child.copies = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    new_root(root, child)
}

/// A copy of a mount of the host's, before anything is attached to it.
pub(super) fn copied(copy: OwnedFd, child: &Child) -> Result<OwnedFd> {
    if !child.copies.is_empty() {
        mount::setattr(copy.as_fd(), RECURSIVE, &child.copies)?;
    }
    Ok(copy)
}

/// With the last descriptor that open_tree(2) or fsmount(2) gave the tree is sealed: nobody attaches to it any more.
pub(super) fn enter(child: &mut Child) -> Result<()> {
    file::fchdir(child.root()?)?;
    mount::chroot_to_cwd()?;
    child.forget_host();
    Ok(())
}

pub(super) fn join(child: &Child) -> Result<()> {
    file::fchdir(child.target_root.ok_or(Errno::EBADF)?)?;
    mount::chroot_to_cwd()
}
