//! Calls for which one needs power over a namespace or over the machine.

use super::row::{Row, Through, Word, past, row};
use super::{Attempt, Wall, World, absent};
use crate::outcome::Fail;
use crate::syscall::{Arg, call, text};
use Word::{N, Path, Q, Read, Room, T};
use libc::{EBADF, EFAULT, EINVAL, ENOENT, ENOEXEC};

const CWD: Word = N(libc::AT_FDCWD as i64);

const fn any(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Always, name, call, words)
}

const fn child(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    Row { through: Through::Child, ..any(name, call, words) }
}

const fn mount(name: &'static str, words: &'static [Word]) -> Row {
    any(name, "mount", words)
}

const NONE: Word = T("none");
const DIR: Word = T("{w}/sub");

#[rustfmt::skip]
static MOUNTS: &[Row] = &[
    mount("mount tmpfs", &[NONE, DIR, T("tmpfs"), N(0), N(0)]),
    mount("mount proc", &[NONE, DIR, T("proc"), N(0), N(0)]),
    mount("mount sysfs", &[NONE, DIR, T("sysfs"), N(0), N(0)]),
    mount("mount cgroup2", &[NONE, DIR, T("cgroup2"), N(0), N(0)]),
    mount("mount devpts", &[NONE, DIR, T("devpts"), N(0), N(0)]),
    mount("mount mqueue", &[NONE, DIR, T("mqueue"), N(0), N(0)]),
    mount("mount bpf", &[NONE, DIR, T("bpf"), N(0), N(0)]),
    mount("bind the root", &[T("/"), DIR, T(""), N((libc::MS_BIND | libc::MS_REC) as i64), N(0)]),
    mount("bind what is protected", &[T("{w}"), DIR, T(""), N(libc::MS_BIND as i64), N(0)]),
    mount("make the root writable", &[NONE, T("/"), T(""), N((libc::MS_REMOUNT | libc::MS_BIND) as i64), N(0)]),
    mount("make .git writable", &[NONE, T("{w}/.git"), T(""), N((libc::MS_REMOUNT | libc::MS_BIND) as i64), N(0)]),
    mount("make /proc/sys writable", &[NONE, T("/proc/sys"), T(""), N((libc::MS_REMOUNT | libc::MS_BIND) as i64), N(0)]),
    mount("share the root", &[NONE, T("/"), T(""), N((libc::MS_SHARED | libc::MS_REC) as i64), N(0)]),
    mount("move .git", &[T("{w}/.git"), DIR, T(""), N(libc::MS_MOVE as i64), N(0)]),
    any("unmount .git", "umount2", &[T("{w}/.git"), N(libc::MNT_DETACH as i64)]),
    any("unmount /proc/sys", "umount2", &[T("/proc/sys"), N(libc::MNT_DETACH as i64)]),
    any("unmount /proc/kcore", "umount", &[T("/proc/kcore"), N(0)]),
    any("pivot_root", "pivot_root", &[T("{w}"), DIR]),
    any("chroot", "chroot", &[T("{w}")]),
    any("a detached tree", "open_tree", &[CWD, T("/"), N(1)]),
    any("a detached tree with attributes", "open_tree_attr", &[CWD, T("/"), N(1), Q(&[0, 1, 0, 0]), N(32)]),
    any("a context of tmpfs", "fsopen", &[T("tmpfs"), N(0)]),
    any("a context of proc", "fsopen", &[T("proc"), N(0)]),
    any("a context of the root", "fspick", &[CWD, T("/"), N(0)]),
    any("move .git by the new calls", "move_mount", &[CWD, T("{w}/.git"), CWD, DIR, N(0)]),
    any("clear read-only", "mount_setattr", &[CWD, T("/"), N(0), Q(&[0, 1, 0, 0]), N(32)]),
    any("clear read-only on all", "mount_setattr", &[CWD, T("/"), N(0x8000), Q(&[0, 15, 0, 0]), N(32)]),
    past(EBADF, "a mount of a context", "fsmount", &[N(-1), N(0), N(0)]),
    past(EINVAL, "swap to a file", "swapon", &[T("{w}/plain.txt"), N(0)]),
    past(EINVAL, "swap off", "swapoff", &[T("{w}/plain.txt")]),
];

const fn clone3(flags: u64) -> [u64; 11] {
    [flags, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, 0]
}

const CHILD: i64 = libc::SIGCHLD as i64;

/// A user namespace gives the power for all the others.
#[rustfmt::skip]
static NAMESPACES: &[Row] = &[
    any("unshare user", "unshare", &[N(0x1000_0000)]),
    any("unshare user and all others", "unshare", &[N(0x7e02_0000)]),
    child("clone user", "clone", &[N(0x1000_0000 | CHILD)]),
    child("clone user and all others", "clone", &[N(0x7e02_0000 | CHILD)]),
    child("clone user, with an upper half", "clone", &[N(0x1_1000_0000 | CHILD)]),
    child("clone3 user", "clone3", &[Q(&clone3(0x1000_0000)), N(88)]),
    child("clone3 user and all others", "clone3", &[Q(&clone3(0x7e02_0000)), N(88)]),
    any("unshare mount", "unshare", &[N(0x0002_0000)]),
    any("unshare cgroup", "unshare", &[N(0x0200_0000)]),
    any("unshare uts", "unshare", &[N(0x0400_0000)]),
    any("unshare ipc", "unshare", &[N(0x0800_0000)]),
    any("unshare pid", "unshare", &[N(0x2000_0000)]),
    any("unshare net", "unshare", &[N(0x4000_0000)]),
    any("unshare time", "unshare", &[N(0x0000_0080)]),
    child("clone mount", "clone", &[N(0x0002_0000 | CHILD)]),
    child("clone cgroup", "clone", &[N(0x0200_0000 | CHILD)]),
    child("clone uts", "clone", &[N(0x0400_0000 | CHILD)]),
    child("clone ipc", "clone", &[N(0x0800_0000 | CHILD)]),
    child("clone pid", "clone", &[N(0x2000_0000 | CHILD)]),
    child("clone net", "clone", &[N(0x4000_0000 | CHILD)]),
    child("clone3 mount", "clone3", &[Q(&clone3(0x0002_0000)), N(88)]),
    child("clone3 net", "clone3", &[Q(&clone3(0x4000_0000)), N(88)]),
    child("clone3 time", "clone3", &[Q(&clone3(0x0000_0080)), N(88)]),
    any("join init's mount namespace", "setns", &[Read("/proc/1/ns/mnt"), N(0)]),
    any("join init's pid namespace", "setns", &[Read("/proc/1/ns/pid"), N(0)]),
    any("join the network namespace again", "setns", &[Read("/proc/self/ns/net"), N(0)]),
    any("join the ipc namespace again", "setns", &[Read("/proc/self/ns/ipc"), N(0)]),
    any("join the uts namespace again", "setns", &[Read("/proc/self/ns/uts"), N(0)]),
    any("join the cgroup namespace again", "setns", &[Read("/proc/self/ns/cgroup"), N(0)]),
];

const EVENT: [u64; 16] = [0x70_0000_0000 | 1, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[rustfmt::skip]
static MACHINE: &[Row] = &[
    past(EINVAL, "reboot", "reboot", &[N(0), N(0), N(0)]),
    past(EINVAL, "another kernel", "kexec_load", &[N(0), N(17), N(0), N(0)]),
    past(EINVAL, "another kernel by file", "kexec_file_load", &[N(-1), N(-1), N(0), N(0), N(-1)]),
    past(ENOEXEC, "a module", "init_module", &[T("x"), N(1), T("")]),
    past(EBADF, "a module by file", "finit_module", &[N(-1), T(""), N(0)]),
    past(ENOENT, "remove a module", "delete_module", &[T("codexrun_none"), N(0x800)]),
    past(ENOENT, "process accounting", "acct", &[T("{w}/no-such")]),
    any("the kernel's log", "syslog", &[N(3), Room, N(64)]),
    any("set the clock to nothing", "settimeofday", &[N(0), N(0)]),
    past(EINVAL, "another second", "adjtimex", &[Q(&[0x4000])]),
    past(EINVAL, "another second of that clock", "clock_adjtime", &[N(0), Q(&[0x4000])]),
    past(EINVAL, "host name", "sethostname", &[T("x"), N(65)]),
    past(EINVAL, "domain name", "setdomainname", &[T("x"), N(65)]),
    any("all I/O ports", "iopl", &[N(3)]),
    any("one I/O port", "ioperm", &[N(0x80), N(1), N(1)]),
    any("a map of eBPF", "bpf", &[N(0), Q(&[0x4_0000_0002, 0x1_0000_0004, 0, 0, 0, 0, 0, 0, 0]), N(72)]),
    any("an event of the whole machine", "perf_event_open", &[Q(&EVENT), N(-1), N(0), N(-1), N(0)]),
    any("every page fault, the kernel's too", "userfaultfd", &[N(0)]),
    any("page faults of its own", "userfaultfd", &[N(1)]),
    any("an event of its own", "perf_event_open", &[Q(&EVENT), N(0), N(-1), N(-1), N(0)]),
    any("the session keyring", "keyctl", &[N(0), N(-3), N(0)]),
    any("a key for the session", "add_key", &[T("user"), T("attack"), T("x"), N(1), N(-3)]),
    any("a timer that wakes the machine", "timerfd_create", &[N(8), N(0)]),
    any("a timer that wakes the machine, by another clock", "timerfd_create", &[N(9), N(0)]),
    any("watch a file system", "fanotify_init", &[N(4), N(0)]),
    any("a directory by its handle", "open_by_handle_at", &[Read("/"), Q(&[0x1_0000_0008, 2]), N(0)]),
    any("the root of a file system by its number", "open_by_handle_at", &[Path("{w}"), Q(&[0x1_0000_0008, 2]), N(0)]),
    any("another user", "setuid", &[N(54321)]),
    any("another user, 32 bits", "setuid32", &[N(54321)]),
    any("another user for files", "setreuid", &[N(-1), N(5432)]),
    any("three other users", "setresuid", &[N(5432), N(5432), N(5432)]),
    any("another group", "setgid", &[N(5432)]),
    any("another effective group", "setregid", &[N(-1), N(5432)]),
    any("three other groups", "setresgid", &[N(5432), N(5432), N(5432)]),
    any("other groups", "setgroups", &[N(1), Room]),
    any("no groups", "setgroups", &[N(0), N(0)]),
    any("all capabilities", "capset", &[Q(&[0x2008_0522]), Q(&[0xffff_ffff_ffff_ffff, 0, 0])]),
    any("an ambient capability", "prctl", &[N(47), N(2), N(21), N(0), N(0)]),
    any("privileges again", "prctl", &[N(38), N(0), N(0), N(0), N(0)]),
    any("another program file", "prctl", &[N(35), N(13), Read("/proc/self/exe"), N(0), N(0)]),
    any("a higher priority", "setpriority", &[N(0), N(0), N(-20)]),
    any("real time", "sched_setscheduler", &[N(0), N(1), Q(&[1])]),
    any("a node of the memory", "mknod", &[T("{w}/mem"), N(0o020_600), N(0x0101)]),
    any("a node of the disk", "mknod", &[T("{w}/disk"), N(0o060_600), N(0xfe00)]),
    past(EFAULT, "a letter typed into the terminal", "ioctl", &[N(0), N(0x5412), N(1)]),
    past(EFAULT, "a letter typed into /dev/tty", "ioctl", &[Read("/dev/tty"), N(0x5412), N(1)]),
    past(EFAULT, "a selection pasted into the console", "ioctl", &[N(0), N(0x541c), N(1)]),
    any("the terminal", "ioctl", &[N(0), N(0x540e), N(1)]),
    past(EBADF, "the console's output", "ioctl", &[Read("/dev/tty"), N(0x541d), N(0)]),
    past(EINVAL, "thaw the file system", "ioctl", &[Read("{w}"), N(0xc004_5878), N(0)]),
];

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let mounts = MOUNTS.iter().flat_map(|row| row.attempts(world)).map(among_own_mounts);
    mounts.chain([NAMESPACES, MACHINE].into_iter().flatten().flat_map(|row| row.attempts(world))).collect()
}

/// Whoever may do all that would share, uncover and make writable the mounts of the machine.
fn among_own_mounts(Attempt { wall, name, calls, run }: Attempt<'_>) -> Attempt<'_> {
    Attempt { wall, name, calls, run: Box::new(move || own_mounts().and_then(|()| run())) }
}

/// A namespace of them, from which nothing comes out, where one can be had: the attempt to make one is another row's.
fn own_mounts() -> Result<(), Fail> {
    if call(libc::SYS_unshare, [Arg::Int(libc::CLONE_NEWNS.into())]).is_err() {
        return Ok(());
    }
    let (none, root, private) = (text("none"), text("/"), Arg::Int((libc::MS_REC | libc::MS_PRIVATE) as i64));
    call(libc::SYS_mount, [Arg::Text(&none), Arg::Text(&root), Arg::Null, private, Arg::Null]).map(drop).or_else(|_| absent())
}
