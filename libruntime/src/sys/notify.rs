//! The supervisor's end of a seccomp filter, seccomp_unotify(2): calls are received, looked at, and answered.

use super::pidfd::{pidfd_getfd, pidfd_open};
use super::{Errno, Result, again, check, done};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19: once a call has been received only a signal that kills ends it, so that what was
/// done for it is not done again.
pub const WAIT_KILLABLE: u32 = 1 << 5;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
pub const NEW_LISTENER: u32 = 1 << 3;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// By which it is answered.
    pub id: u64,
    /// The thread that made it, by its number here.
    pub thread: libc::pid_t,
    /// AUDIT_ARCH_* of the interface that it came by.
    pub arch: u32,
    /// Its number there.
    pub number: i32,
    /// Its arguments, which may be pointers into that thread's memory.
    pub args: [u64; 6],
}

/// SECCOMP_IOCTL_NOTIF_RECV: the next call; waits for one. ENOENT: its caller has gone before it could be told.
pub fn receive(listener: BorrowedFd) -> Result<Asked> {
    // SAFETY: `struct seccomp_notif` is plain data, and must be zero.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: `asked` is a live, writable struct of the size that the request says.
    done(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut asked) }.into())?;
    let data = asked.data;
    Ok(Asked { id: asked.id, thread: asked.pid as libc::pid_t, arch: data.arch, number: data.nr, args: data.args })
}

/// SECCOMP_IOCTL_NOTIF_ID_VALID: the caller still waits. What was opened by its number before is its own then, and not another
/// process's that has got the number meanwhile.
pub fn still_waits(listener: BorrowedFd, id: u64) -> Result<bool> {
    let ask = || {
        // SAFETY: `id` is a live u64, which the request reads.
        done(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) }.into())
    };
    match again(ask) {
        Err(Errno::ENOENT) => Ok(false),
        asked => asked.map(|()| true),
    }
}

/// SECCOMP_IOCTL_NOTIF_SEND: the call returns this. Never SECCOMP_USER_NOTIF_FLAG_CONTINUE, with which the kernel would read again what
/// was looked at. ENOENT: the caller has gone.
pub fn answer(listener: BorrowedFd, id: u64, with: std::result::Result<i64, i32>) -> Result<()> {
    let (val, error) = with.map_or_else(|errno| (0, -errno), |value| (value, 0));
    let answer = libc::seccomp_notif_resp { id, val, error, flags: 0 };
    again(|| {
        // SAFETY: `answer` is a live struct of the size that the request says.
        done(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const answer) }.into())
    })
}

/// SECCOMP_IOCTL_NOTIF_ADDFD with SECCOMP_ADDFD_FLAG_SEND (Linux 5.14): the caller gets a copy of this descriptor, whose number the call
/// returns.
pub fn answer_with_fd(listener: BorrowedFd, id: u64, fd: BorrowedFd, close_on_exec: bool) -> Result<()> {
    let newfd_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let add = libc::seccomp_notif_addfd { id, flags: 2, srcfd: fd.as_raw_fd() as u32, newfd: 0, newfd_flags };
    // SAFETY: `add` is a live struct of the size that the request says.
    done(unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw const add) }.into())
}

/// Whether the two calls are made at all by which another process is looked into: tried on `process`, ourselves.
pub fn may_look_into(process: u32) -> Result<()> {
    let (pid, mut there) = (process as libc::pid_t, [0]);
    let pidfd = pidfd_open(nix::unistd::Pid::from_raw(pid))?;
    pidfd_getfd(pidfd.as_fd(), pidfd.as_raw_fd())?;
    read_memory(pid, [1u8].as_ptr() as u64, &mut there)
}

/// process_vm_writev(2): all of `bytes`, to `address` of another process; EFAULT when it may not write there itself.
pub fn write_memory(thread: libc::pid_t, address: u64, bytes: &[u8]) -> Result<()> {
    let ours = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let theirs = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `ours` is live, and only read; `theirs` is looked up in the other process, and never touched here.
    let written = check(unsafe { libc::process_vm_writev(thread, &raw const ours, 1, &raw const theirs, 1, 0) } as libc::c_long)?;
    if written as usize == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
}

/// process_vm_readv(2): all of `buffer`, from `address` of another process; EFAULT when not all of it is there.
pub fn read_memory(thread: libc::pid_t, address: u64, buffer: &mut [u8]) -> Result<()> {
    let ours = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let theirs = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: `ours` is live and writable; `theirs` is looked up in the other process, and never touched here.
    let read = check(unsafe { libc::process_vm_readv(thread, &raw const ours, 1, &raw const theirs, 1, 0) } as libc::c_long)?;
    if read as usize == buffer.len() { Ok(()) } else { Err(Errno::EFAULT) }
}
