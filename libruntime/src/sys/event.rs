//! Descriptors that become readable when something happens: eventfd(2), inotify(7).

use super::{Result, check, owned};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// eventfd(2), close-on-exec.
pub fn eventfd() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }.into())
}

/// timerfd_create(2), close-on-exec: readable when so many seconds have passed, those in suspension not counted.
pub fn timer(seconds: u64) -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) }.into())?;
    // SAFETY: all-zero is a valid `struct itimerspec`: no interval.
    let mut when: libc::itimerspec = unsafe { std::mem::zeroed() };
    when.it_value.tv_sec = seconds.try_into().unwrap_or(libc::time_t::MAX);
    // SAFETY: `when` is one live struct itimerspec, and the old value is not asked for.
    check(unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const when, std::ptr::null_mut()) }.into())?;
    Ok(timer)
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
