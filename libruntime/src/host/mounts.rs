//! What the kernel permits with mounts that are in no mount namespace.

use crate::sys::{Result, mount};
use std::os::fd::{AsFd, OwnedFd};

/// Tries: one empty file system on another, both attached nowhere. They go with their descriptors.
pub(super) fn can_be_attached_nowhere() -> bool {
    attempt().is_ok()
}

fn attempt() -> Result<()> {
    mount::attach(empty()?.as_fd(), empty()?.as_fd())
}

fn empty() -> Result<OwnedFd> {
    let fs = mount::fsopen(c"tmpfs")?;
    mount::fscreate(fs.as_fd())?;
    mount::fsmount(fs.as_fd(), 0)
}
