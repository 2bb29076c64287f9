//! What the kernel permits with mounts that are in no mount namespace.

use crate::Error;
use crate::sys::{Result, mount};
use std::os::fd::{AsFd, OwnedFd};

/// Tries: one empty file system on another, both attached nowhere. They go with their descriptors.
///
/// # Errors
/// What says nothing about it: no memory, no descriptors.
pub(super) fn can_be_attached_nowhere() -> crate::Result<bool> {
    let tried = super::known(attempt()).map_err(|errno| {
        let error = Error::new("cannot learn whether mounts can be attached to what is attached nowhere");
        error.at("config.json: linux.namespaces").cause(errno)
    })?;
    Ok(tried.is_some())
}

fn attempt() -> Result<()> {
    mount::attach(empty()?.as_fd(), empty()?.as_fd())
}

fn empty() -> Result<OwnedFd> {
    let fs = mount::fsopen(c"tmpfs")?;
    mount::fscreate(fs.as_fd())?;
    mount::fsmount(fs.as_fd(), 0)
}
