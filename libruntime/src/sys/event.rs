//! Descriptors that become readable when something happens: eventfd(2), inotify(7).

use super::{Result, check, owned};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// eventfd(2), close-on-exec.
pub fn eventfd() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }.into())
}

/// inotify_init1(2), close-on-exec.
pub fn inotify() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) }.into())
}

/// inotify_add_watch(2): `mask` is IN_*.
pub fn watch(inotify: BorrowedFd, path: &CStr, mask: u32) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    check(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) }.into()).map(drop)
}
