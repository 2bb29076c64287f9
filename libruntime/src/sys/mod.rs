//! The only `unsafe` of the crate: one thin, typed function per system call. Nothing here allocates, locks or formats,
//! so that all of it may be called between `clone` and `execve`.

pub mod ask;
pub mod bpf;
pub mod cred;
pub mod epoll;
pub mod event;
pub mod file;
pub mod inode;
pub mod landlock;
pub mod lsm;
pub mod mount;
pub mod namespace;
pub mod net;
pub mod netlink;
pub mod notify;
pub mod pidfd;
pub mod process;
pub mod schedule;
pub mod signal;
pub mod socket;
pub mod thread;
pub mod tty;

pub use nix::errno::Errno;

use std::os::fd::{FromRawFd, OwnedFd};

/// What every call here returns.
pub type Result<T> = std::result::Result<T, Errno>;

/// -1 becomes the errno that the libc wrapper left.
fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret == -1 { Err(Errno::last()) } else { Ok(ret) }
}

/// As [`check`], for calls that return nothing of interest.
fn done(ret: libc::c_long) -> Result<()> {
    check(ret).map(drop)
}

/// A call that a signal has interrupted is made again (EINTR, signal(7)).
pub(crate) fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

/// A descriptor that the call has just made and that nobody else owns.
fn owned(ret: libc::c_long) -> Result<OwnedFd> {
    let fd = check(ret)?;
    // SAFETY: the kernel has just returned this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
