//! The system calls of the floor, one or a fixed few per function; negative means failed. The only `unsafe` of this binary.
#![allow(unsafe_code)]

use libc::{AT_EMPTY_PATH, AT_FDCWD, MNT_DETACH, MS_BIND, MS_REC, MS_SLAVE, O_CLOEXEC, O_CREAT, O_WRONLY, c_char, c_int, c_long};
use std::ffi::CStr;
use std::ptr::null;

pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;

const RECURSIVE: c_int = 0x8000;
const OPEN_TREE_CLONE: c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: c_int = 4;

/// The C entry point: the start-up of Rust's std would add a dozen system calls to what is measured.
// SAFETY: the C runtime calls `main` once, with `argc` NUL-terminated strings that live as long as the process.
#[unsafe(no_mangle)]
pub extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: as above; argv[0] is skipped and argc may be 0.
    let word = |i: usize| unsafe { CStr::from_ptr(*argv.add(i)) };
    let args: Vec<&'static CStr> = (1..argc.max(1) as usize).map(word).collect();
    crate::run(args.leak())
}

/// fork with namespaces: the child goes on in a copy of this process.
pub fn clone3(flags: c_int) -> c_int {
    let args = [flags as u32 as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    // SAFETY: 64 bytes are the first version of `struct clone_args`; without CLONE_VM nothing is shared with the child.
    unsafe { libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) as c_int }
}

/// Waits for `pid`: its code as a shell would say it, and the largest resident size below it, in KiB.
pub fn wait(pid: c_int) -> (c_int, c_long) {
    // SAFETY: all-zero is a valid `rusage`.
    let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
    // SAFETY: both out-pointers are valid for the call.
    if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } < 0 {
        return (1, 0);
    }
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    (code, usage.ru_maxrss)
}

/// Tells when this program began, and waits until nobody wants to know more.
pub fn tell_time_and_wait() -> c_int {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is one live struct timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    let bytes = (now.tv_sec * 1_000_000_000 + now.tv_nsec).to_ne_bytes();
    // SAFETY: `bytes` is live and eight long.
    if unsafe { libc::write(1, bytes.as_ptr().cast(), bytes.len()) } != 8 {
        return 1;
    }
    let mut closed = libc::pollfd { fd: 1, events: 0, revents: 0 };
    // SAFETY: `closed` is one live struct pollfd; POLLERR is reported unasked.
    let ended = unsafe { libc::poll(&mut closed, 1, -1) };
    c_int::from(ended != 1)
}

pub fn exit(code: c_int) -> ! {
    // SAFETY: ends the process without running anything of the parent's.
    unsafe { libc::_exit(code) }
}

pub fn exec(argv: &[*const c_char]) -> c_int {
    // SAFETY: `argv` is null-terminated and its strings are those of `main`; `environ` is not changed by this process.
    unsafe { libc::execve(argv[0], argv.as_ptr(), environ.cast()) }
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

pub fn map(inside: &CStr, outside: &CStr) -> c_int {
    let line = [inside.to_bytes(), b" ", outside.to_bytes(), b" 1\n"].concat();
    write(c"/proc/self/uid_map", &line) | write(c"/proc/self/setgroups", b"deny") | write(c"/proc/self/gid_map", &line)
}

fn write(path: &CStr, text: &[u8]) -> c_int {
    // SAFETY: `path` is NUL-terminated, `text` is valid for its length; a bad descriptor only makes the write fail.
    unsafe {
        let fd = libc::open(path.as_ptr(), O_WRONLY | O_CREAT | O_CLOEXEC, 0o644);
        let done = libc::write(fd, text.as_ptr().cast(), text.len());
        libc::close(fd);
        if done < 0 { -1 } else { 0 }
    }
}

pub fn write_number(path: &CStr, number: c_long) {
    write(path, number.to_string().as_bytes());
}

pub fn lo() -> c_int {
    // SAFETY: `ifreq` is plain data, all-zero is valid; the ioctl reads the name and the flags only.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as c_char;
        request.ifr_name[1] = b'o' as c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        let done = libc::ioctl(fd, libc::SIOCSIFFLAGS, &request);
        libc::close(fd);
        done
    }
}

pub fn make_slave() -> c_int {
    // SAFETY: strings are NUL-terminated; source, type and data are ignored for a change of propagation.
    unsafe { libc::mount(null(), c"/".as_ptr(), null(), MS_SLAVE | MS_REC, null()) }
}

/// An empty tmpfs over /tmp, as the working directory. Sources were opened before, so nothing is hidden from us.
pub fn scratch() -> c_int {
    mount(c"tmpfs", c"/tmp", libc::MS_NOSUID | libc::MS_NODEV, c"mode=755");
    chdir(c"/tmp")
}

/// `path` becomes a mount of its own (pivot_root(2) wants one) and the working directory.
pub fn rootfs(path: &CStr) -> c_int {
    // SAFETY: strings are NUL-terminated.
    unsafe { libc::mount(path.as_ptr(), path.as_ptr(), null(), MS_BIND | MS_REC, null()) };
    chdir(path)
}

pub fn mount(kind: &CStr, at: &CStr, flags: u64, data: &CStr) -> c_int {
    // SAFETY: strings are NUL-terminated; `data` is a string for every type used here.
    unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) }
}

/// A detached copy of the tree at `path`, every mount of it with `attributes`.
pub fn open_tree(path: &CStr, attributes: u64) -> c_int {
    let attr = [attributes, 0, 0, 0];
    // SAFETY: `path` is NUL-terminated; `attr` has the layout and the size of `struct mount_attr`.
    unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | RECURSIVE | O_CLOEXEC) as c_int;
        let empty = c"".as_ptr();
        let done = libc::syscall(libc::SYS_mount_setattr, fd, empty, AT_EMPTY_PATH | RECURSIVE, &attr, size_of_val(&attr));
        if done < 0 { -1 } else { fd }
    }
}

pub fn attach(tree: c_int, to: &CStr) -> c_int {
    // SAFETY: strings are NUL-terminated; a bad descriptor only makes the call fail.
    unsafe { libc::syscall(libc::SYS_move_mount, tree, c"".as_ptr(), AT_FDCWD, to.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH) as c_int }
}

/// An existing directory is as good: a rootfs on disk keeps those of the round before.
pub fn mkdir(path: &CStr) -> c_int {
    // SAFETY: `path` is NUL-terminated.
    unsafe { libc::mkdir(path.as_ptr(), 0o755) };
    0
}

pub fn mkfile(path: &CStr) -> c_int {
    // SAFETY: `path` is NUL-terminated.
    unsafe { libc::mknod(path.as_ptr(), libc::S_IFREG | 0o444, 0) }
}

pub fn mknod(path: &CStr, major: u32, minor: u32) -> c_int {
    // SAFETY: `path` is NUL-terminated.
    unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(major, minor)) }
}

pub fn symlink(text: &CStr, path: &CStr) -> c_int {
    // SAFETY: both are NUL-terminated.
    unsafe { libc::symlink(text.as_ptr(), path.as_ptr()) }
}

pub fn hostname(name: &CStr) -> c_int {
    // SAFETY: `name` is valid for its length.
    unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) }
}

pub fn chdir(path: &CStr) -> c_int {
    // SAFETY: `path` is NUL-terminated.
    unsafe { libc::chdir(path.as_ptr()) }
}

/// The working directory becomes the root, the old root goes (pivot_root(2), "pivot_root(".", ".")").
pub fn pivot() -> c_int {
    let dot = c".".as_ptr();
    // SAFETY: `dot` is NUL-terminated.
    unsafe {
        match libc::syscall(libc::SYS_pivot_root, dot, dot) {
            0 => libc::umount2(dot, MNT_DETACH),
            _ => -1,
        }
    }
}

pub fn rmdir(path: &CStr) {
    // SAFETY: `path` is NUL-terminated. A directory that was never made is no loss.
    unsafe { libc::rmdir(path.as_ptr()) };
}
