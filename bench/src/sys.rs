//! The few system calls of the bench that std has no function for. The only `unsafe` of this binary.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io::{Error, Result};

/// geteuid(2).
pub fn uid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// getegid(2).
pub fn gid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getegid() }
}

/// A mount namespace of our own, from which nothing travels back.
pub fn private_mounts() -> Result<()> {
    // SAFETY: flags only; the bench has one thread.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)
}

/// mount(2) without a type: binds and changes of propagation.
pub fn mount(from: &CStr, to: &CStr, flags: libc::c_ulong) -> Result<()> {
    // SAFETY: strings are NUL-terminated; type and data are not read for these flags.
    done(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), flags, std::ptr::null()) })
}

/// umount2(2), lazy.
pub fn umount(at: &CStr) -> Result<()> {
    // SAFETY: `at` is NUL-terminated.
    done(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) })
}

/// access(2) with our real ids.
pub fn enterable(path: &CStr) -> bool {
    // SAFETY: `path` is NUL-terminated.
    unsafe { libc::access(path.as_ptr(), libc::R_OK | libc::X_OK) == 0 }
}

/// PR_SET_CHILD_SUBREAPER (prctl(2)): the payload that `create` leaves behind becomes our child, so that its end can be awaited.
pub fn adopt_orphans() -> Result<()> {
    // SAFETY: numbers only.
    done(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) })
}

/// wait4(2) for one child: its largest resident size, KiB.
pub fn reap(pid: i32) -> Result<i64> {
    // SAFETY: a C struct of integers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` outlives the call, and no status is asked for.
    done(unsafe { libc::wait4(pid, std::ptr::null_mut(), 0, &mut usage) })?;
    Ok(usage.ru_maxrss)
}

/// Collects every child that has ended; all that std has started must have been waited for.
pub fn reap_dead() {
    // SAFETY: no status is asked for.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// CLOCK_MONOTONIC in nanoseconds: the same for every process of the machine.
pub fn now() -> i64 {
    clock(libc::CLOCK_MONOTONIC)
}

fn clock(id: libc::clockid_t) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is one live struct timespec.
    unsafe { libc::clock_gettime(id, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// CLOCK_PROCESS_CPUTIME_ID in nanoseconds: what this process has had of the processors, whatever else they did meanwhile.
pub fn spent() -> i64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// A system call that does next to nothing: `getpid`, `read` of a byte that is not there, `openat` of /dev/null and its close(2),
/// `unshare` of nothing.
pub fn trifle(name: &str) -> Result<()> {
    let fd = match name {
        // SAFETY: takes nothing; by number, lest libc remembers.
        "getpid" => return done(unsafe { libc::syscall(libc::SYS_getpid) } as i32),
        // SAFETY: a number only; 0 asks for nothing.
        "unshare" => return done(unsafe { libc::unshare(0) }),
        // SAFETY: a live byte; standard input is /dev/null.
        "read" => return done(unsafe { libc::read(0, [0u8].as_mut_ptr().cast(), 1) } as i32),
        // SAFETY: the path is NUL-terminated.
        _ => unsafe { libc::openat(libc::AT_FDCWD, c"/dev/null".as_ptr(), libc::O_RDONLY) },
    };
    done(fd)?;
    // SAFETY: the descriptor was opened here, and nobody else has it.
    done(unsafe { libc::close(fd) })
}

/// sendmsg(2) of one byte.
pub fn send_message(to: &std::os::unix::net::UnixStream) -> Result<()> {
    let mut byte = 0u8;
    let mut vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: `struct msghdr` is plain data, valid when zeroed.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut vector, 1);
    // SAFETY: `message` refers to one live byte.
    done(unsafe { libc::sendmsg(std::os::fd::AsRawFd::as_raw_fd(to), &raw const message, 0) } as i32)
}

fn done(result: i32) -> Result<()> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
