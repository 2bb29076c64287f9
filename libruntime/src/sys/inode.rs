//! What stat(2) does not tell of a file.

use super::{Errno, Result, check, done};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// STATX_ATTR_IMMUTABLE.
pub const IMMUTABLE: u64 = 0x10;
/// STATX_ATTR_APPEND.
pub const APPEND: u64 = 0x20;

/// statx(2): STATX_ATTR_* of the file itself, a link not followed.
pub fn attributes(path: &CStr) -> Result<u64> {
    // SAFETY: `struct statx` is plain data, valid when zeroed.
    let mut statx: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: `path` is NUL-terminated and `statx` a live struct that the kernel fills.
    done(unsafe { libc::syscall(libc::SYS_statx, libc::AT_FDCWD, path.as_ptr(), flags, libc::STATX_TYPE, &raw mut statx) })?;
    Ok(statx.stx_attributes)
}

/// statx(2), STATX_MNT_ID (Linux 5.8): the number, in mountinfo, of the mount by which it was opened.
pub fn mount(fd: BorrowedFd) -> Result<u64> {
    mount_number(fd, libc::STATX_MNT_ID)
}

/// statx(2), STATX_MNT_ID_UNIQUE (Linux 6.8): a number of that mount's which no other ever gets.
pub fn unique_mount(fd: BorrowedFd) -> Result<u64> {
    mount_number(fd, 0x4000)
}

/// Whether this is the root of its mount (STATX_ATTR_MOUNT_ROOT).
pub fn is_mount_root(fd: BorrowedFd) -> Result<bool> {
    const MOUNT_ROOT: u64 = 0x2000;
    statx(fd, 0).map(|statx| statx.stx_attributes & MOUNT_ROOT != 0)
}

fn mount_number(fd: BorrowedFd, which: libc::c_uint) -> Result<u64> {
    let statx = statx(fd, which)?;
    if statx.stx_mask & which != 0 { Ok(statx.stx_mnt_id) } else { Err(Errno::ENOSYS) }
}

fn statx(fd: BorrowedFd, which: libc::c_uint) -> Result<libc::statx> {
    // SAFETY: `struct statx` is plain data, valid when zeroed.
    let mut statx: libc::statx = unsafe { std::mem::zeroed() };
    let (path, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: `path` is NUL-terminated and `statx` a live struct that the kernel fills.
    done(unsafe { libc::syscall(libc::SYS_statx, fd.as_raw_fd(), path, flags, which, &raw mut statx) })?;
    Ok(statx)
}

/// lgetxattr(2): how many bytes of the buffer the value takes.
pub fn xattr(path: &CStr, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    let (value, size) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: both strings are NUL-terminated; the kernel writes at most `size` bytes to `value`.
    let read = check(unsafe { libc::syscall(libc::SYS_lgetxattr, path.as_ptr(), name.as_ptr(), value, size) })?;
    Ok(read as usize)
}
