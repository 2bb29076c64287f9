//! Process descriptors: a signal sent through one never reaches a process that reused the number.

use super::{Result, done, owned};
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// pidfd_open(2): a descriptor of the process `pid`, close-on-exec.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: two integers go in; the kernel touches no memory of ours.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// pidfd_send_signal(2), as kill(2) would: no `siginfo`. A number is taken because real-time signals have no name in `nix`.
pub fn pidfd_send_signal(process: BorrowedFd, signal: i32) -> Result<()> {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null `info` is what the kernel expects for "fill it in as kill(2)"; no other memory is touched.
    done(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, info, 0) })
}

/// pidfd_open(2) of a thread (PIDFD_THREAD, Linux 6.9; before, EINVAL), close-on-exec.
pub fn pidfd_open_thread(thread: Pid) -> Result<OwnedFd> {
    // SAFETY: two integers go in; the kernel touches no memory of ours.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, thread.as_raw(), libc::O_EXCL) })
}

/// pidfd_getfd(2): a duplicate of a descriptor of that process, close-on-exec. Needs the right to trace it.
pub fn pidfd_getfd(process: BorrowedFd, fd: i32) -> Result<OwnedFd> {
    // SAFETY: three integers go in; the kernel touches no memory of ours.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
}
