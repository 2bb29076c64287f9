//! Every call that takes a descriptor, with those that the launcher had open on things outside: `file=7`, to read, and `dir=9`, its directory.
//! Where they are closed each says EBADF. Where they are not each gets through by the machine's own table, and so shows that it can.

use super::row::{Row, Through, Word, row};
use super::{Attempt, Wall, World};
use Word::{Is, N, Pipe, Q, Room, T};

const FILE: Word = Is("file");
const DIR: Word = Is("dir");
const IN: Word = T("file.txt");
const SAME: Word = N(-1);

const fn on(call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Always, call, call, words)
}

/// What this says of a descriptor that is open, and is not what the call is for.
const fn other(errno: i32, call: &'static str, words: &'static [Word]) -> Row {
    Row { through: Through::Past(errno), ..on(call, words) }
}

const fn no_socket(call: &'static str, words: &'static [Word]) -> Row {
    other(libc::ENOTSOCK, call, words)
}

const fn invalid(call: &'static str, words: &'static [Word]) -> Row {
    other(libc::EINVAL, call, words)
}

/// Asked for nothing of a descriptor, it says nothing, unless that is closed (POLLNVAL).
const fn idle(call: &'static str, words: &'static [Word]) -> Row {
    Row { through: Through::Idle, ..on(call, words) }
}

/// A vector, or a set of signals, of nothing.
const NONE: Word = Room;

#[rustfmt::skip]
static READ: &[Row] = &[
    on("read", &[FILE, Room, N(1)]),
    on("pread64", &[FILE, Room, N(1), N(0)]),
    on("readv", &[FILE, NONE, N(1)]),
    on("preadv", &[FILE, NONE, N(1), N(0), N(0)]),
    on("preadv2", &[FILE, NONE, N(1), N(0), N(0), N(0)]),
    on("mmap", &[N(0), N(4096), N(libc::PROT_READ as i64), N(libc::MAP_SHARED as i64), FILE, N(0)]),
    on("mmap2", &[N(0), N(4096), N(libc::PROT_READ as i64), N(libc::MAP_SHARED as i64), FILE, N(0)]),
    on("sendfile", &[Pipe, FILE, N(0), N(1)]),
    on("sendfile64", &[Pipe, FILE, N(0), N(1)]),
    on("splice", &[FILE, N(0), Pipe, N(0), N(1), N(0)]),
    invalid("tee", &[FILE, Pipe, N(1), N(0)]),
    on("vmsplice", &[FILE, NONE, N(1), N(0)]),
    invalid("copy_file_range", &[FILE, N(0), Pipe, N(0), N(1), N(0)]),
    on("readahead", &[FILE, N(0), N(1)]),
    on("getdents", &[DIR, Room, N(4096)]),
    on("getdents64", &[DIR, Room, N(4096)]),
    on("lseek", &[FILE, N(0), N(0)]),
    on("_llseek", &[FILE, N(0), N(0), Room, N(0)]),
    on("fstat", &[FILE, Room]),
    on("fstat64", &[FILE, Room]),
    on("oldfstat", &[FILE, Room]),
    on("newfstatat", &[DIR, IN, Room, N(0)]),
    on("fstatat64", &[DIR, IN, Room, N(0)]),
    on("statx", &[DIR, IN, N(0), N(0x7ff), Room]),
    on("fstatfs", &[FILE, Room]),
    on("fstatfs64", &[FILE, N(84), Room]),
    on("flistxattr", &[FILE, Room, N(64)]),
    on("listxattrat", &[DIR, IN, N(0), Room, N(64)]),
    other(libc::ENODATA, "fgetxattr", &[FILE, T("user.none"), Room, N(64)]),
    other(libc::ENODATA, "getxattrat", &[DIR, IN, N(0), T("user.none"), Q(&[0, 0]), N(16)]),
    on("file_getattr", &[DIR, IN, Room, N(24), N(0)]),
    on("cachestat", &[FILE, Room, Room, N(0)]),
    on("ioctl", &[FILE, N(libc::FIONREAD as i64), Room]),
    on("select", &[N(8), Q(&[1 << 7]), N(0), N(0), Q(&[0, 0])]),
    on("_newselect", &[N(8), Q(&[1 << 7]), N(0), N(0), Q(&[0, 0])]),
    on("pselect6", &[N(8), Q(&[1 << 7]), N(0), N(0), Q(&[0, 0]), N(0)]),
    idle("poll", &[Q(&[7]), N(1), N(0)]),
    idle("ppoll", &[Q(&[7]), N(1), Room, N(0), N(8)]),
    idle("ppoll_time64", &[Q(&[7]), N(1), Room, N(0), N(8)]),
    on("readdir", &[DIR, Room, N(1)]),
    on("pselect6_time64", &[N(8), Q(&[1 << 7]), N(0), N(0), Q(&[0, 0]), N(0)]),
];

#[rustfmt::skip]
static HOLD: &[Row] = &[
    on("dup", &[FILE]),
    on("dup2", &[FILE, N(100)]),
    on("dup3", &[FILE, N(100), N(0)]),
    on("fcntl", &[FILE, N(libc::F_DUPFD as i64), N(100)]),
    on("fcntl64", &[FILE, N(libc::F_DUPFD as i64), N(100)]),
    on("flock", &[FILE, N((libc::LOCK_SH | libc::LOCK_NB) as i64)]),
    on("fsync", &[FILE]),
    on("fdatasync", &[FILE]),
    on("sync_file_range", &[FILE, N(0), N(0), N(0)]),
    on("syncfs", &[DIR]),
    on("fadvise64", &[FILE, N(0), N(0), N(0)]),
    on("fadvise64_64", &[FILE, N(0), N(0), N(0), N(0), N(0)]),
    on("close", &[FILE]),
    on("fchdir", &[DIR]),
    on("openat", &[DIR, IN, N(0)]),
    on("openat2", &[DIR, IN, Q(&[0, 0, 0]), N(24)]),
    on("faccessat", &[DIR, IN, N(libc::R_OK as i64)]),
    on("faccessat2", &[DIR, IN, N(libc::R_OK as i64), N(0)]),
    invalid("readlinkat", &[DIR, IN, Room, N(64)]),
    other(libc::EOVERFLOW, "name_to_handle_at", &[DIR, IN, Room, Room, N(0)]),
    other(libc::EACCES, "execveat", &[DIR, IN, N(0), N(0), N(0)]),
];

#[rustfmt::skip]
static CHANGE: &[Row] = &[
    on("fchmod", &[FILE, N(0o644)]),
    on("fchmodat", &[DIR, IN, N(0o644)]),
    on("fchmodat2", &[DIR, IN, N(0o644), N(0)]),
    on("fchown", &[FILE, SAME, SAME]),
    on("fchown32", &[FILE, SAME, SAME]),
    on("fchownat", &[DIR, IN, SAME, SAME, N(0)]),
    on("utimensat", &[FILE, N(0), N(0), N(0)]),
    on("utimensat_time64", &[FILE, N(0), N(0), N(0)]),
    on("futimesat", &[DIR, IN, N(0)]),
    invalid("ftruncate", &[FILE, N(0)]),
    invalid("ftruncate64", &[FILE, N(0), N(0)]),
    on("mkdirat", &[DIR, T("made"), N(0o700)]),
    on("mknodat", &[DIR, T("pipe"), N(0o010_600), N(0)]),
    on("symlinkat", &[T("/"), DIR, T("symlink")]),
    on("linkat", &[DIR, IN, DIR, T("link"), N(0)]),
    on("renameat", &[DIR, T("link"), DIR, T("other")]),
    on("renameat2", &[DIR, T("other"), DIR, T("link"), N(0)]),
    on("unlinkat", &[DIR, T("link"), N(0)]),
];

#[rustfmt::skip]
static SOCKET: &[Row] = &[
    no_socket("accept", &[FILE, N(0), N(0)]),
    no_socket("accept4", &[FILE, N(0), N(0), N(0)]),
    no_socket("bind", &[FILE, Q(&[1]), N(2)]),
    no_socket("connect", &[FILE, Q(&[0]), N(2)]),
    no_socket("listen", &[FILE, N(1)]),
    no_socket("shutdown", &[FILE, N(2)]),
    no_socket("getsockname", &[FILE, Room, Room]),
    no_socket("getpeername", &[FILE, Room, Room]),
    no_socket("getsockopt", &[FILE, N(1), N(3), Room, Q(&[4])]),
    no_socket("setsockopt", &[FILE, N(1), N(2), Room, N(4)]),
    no_socket("sendto", &[FILE, T("x"), N(1), N(0), N(0), N(0)]),
    no_socket("sendmsg", &[FILE, Room, N(0)]),
    no_socket("sendmmsg", &[FILE, Room, N(1), N(0)]),
    no_socket("recvfrom", &[FILE, Room, N(1), N(0), N(0), N(0)]),
    no_socket("recvmsg", &[FILE, Room, N(0)]),
    no_socket("recvmmsg", &[FILE, Room, N(1), N(0), N(0)]),
    no_socket("recvmmsg_time64", &[FILE, Room, N(1), N(0), N(0)]),
];

/// Calls that have descriptors of their own kind: to be asked for another one is a descriptor too.
#[rustfmt::skip]
static KIND: &[Row] = &[
    invalid("epoll_ctl", &[FILE, N(libc::EPOLL_CTL_ADD as i64), Pipe, Room]),
    invalid("epoll_wait", &[FILE, Room, N(1), N(0)]),
    invalid("epoll_pwait", &[FILE, Room, N(1), N(0), N(0), N(8)]),
    invalid("epoll_pwait2", &[FILE, Room, N(1), Q(&[0, 0]), N(0), N(8)]),
    invalid("signalfd", &[FILE, NONE, N(8)]),
    invalid("signalfd4", &[FILE, NONE, N(8), N(0)]),
    invalid("timerfd_settime", &[FILE, N(0), Room, N(0)]),
    invalid("timerfd_settime64", &[FILE, N(0), Room, N(0)]),
    invalid("timerfd_gettime", &[FILE, Room]),
    invalid("timerfd_gettime64", &[FILE, Room]),
    invalid("inotify_add_watch", &[FILE, T("/"), N(1)]),
    invalid("inotify_rm_watch", &[FILE, N(1)]),
    other(libc::EBADFD, "landlock_restrict_self", &[FILE, N(0)]),
    invalid("fanotify_mark", &[FILE, N(1), N(1), N(0), T("/"), T("/")]),
    other(libc::EBADFD, "landlock_add_rule", &[FILE, N(1), Q(&[4, 0]), N(0)]),
];

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    [READ, HOLD, CHANGE, SOCKET, KIND]
        .into_iter()
        .flatten()
        .flat_map(|row| row.at("on a descriptor of the caller's", world))
        .collect()
}
