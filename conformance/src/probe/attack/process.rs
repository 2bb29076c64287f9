//! Processes: one of the host's, and the sandbox's own init.

use super::row::{Row, Through, Word, row};
use super::{Attempt, Wall, World};
use Word::{N, Pid, Q, Read, Room, T};

const fn other(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Always, name, call, words)
}

/// What only a PID namespace keeps apart: who is there, and how it is scheduled.
const fn seen(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Processes, name, call, words)
}

const fn init(name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    row(Wall::Ours, name, call, words)
}

const SEIZE: Word = N(libc::PTRACE_SEIZE as i64);

/// Where a call has a signal it is 0, which asks for the right and sends nothing.
#[rustfmt::skip]
static OUTSIDE: &[Row] = &[
    other("kill", "kill", &[Pid, N(0)]),
    other("tkill", "tkill", &[Pid, N(0)]),
    other("tgkill", "tgkill", &[Pid, Pid, N(0)]),
    other("a queued signal", "rt_sigqueueinfo", &[Pid, N(0), Q(&[0, 0xffff_ffff])]),
    other("a queued signal for its thread", "rt_tgsigqueueinfo", &[Pid, Pid, N(0), Q(&[0, 0xffff_ffff])]),
    seen("a descriptor of it", "pidfd_open", &[Pid, N(0)]),
    other("trace it", "ptrace", &[SEIZE, Pid, N(0), N(0)]),
    other("its limits", "prlimit64", &[Pid, N(7), N(0), Room]),
    seen("its processors", "sched_getaffinity", &[Pid, N(128), Room]),
    seen("its scheduler", "sched_getscheduler", &[Pid]),
    seen("its parameters", "sched_getparam", &[Pid, Room]),
    seen("its priority", "setpriority", &[N(0), Pid, N(0)]),
    seen("its I/O priority", "ioprio_get", &[N(1), Pid]),
    Row { through: Through::Past(libc::EINVAL), ..seen("no processors for it", "sched_setaffinity", &[Pid, N(128), Room]) },
    seen("another scheduler for it", "sched_setscheduler", &[Pid, N(0), Room]),
    seen("another I/O priority for it", "ioprio_set", &[N(1), Pid, N(0)]),
    seen("its priority, to look", "getpriority", &[N(0), Pid]),
    seen("its attributes", "sched_getattr", &[Pid, Room, N(48), N(0)]),
    seen("other attributes for it", "sched_setattr", &[Pid, Q(&[48]), N(0)]),
    seen("other parameters for it", "sched_setparam", &[Pid, Room]),
    seen("its share of time", "sched_rr_get_interval", &[Pid, Room]),
    seen("its group", "getpgid", &[Pid]),
    seen("its session", "getsid", &[Pid]),
    other("join its group", "setpgid", &[N(0), Pid]),
    other("its locks", "get_robust_list", &[Pid, Room, Room]),
    other("its pages", "migrate_pages", &[Pid, N(1), Room, Room]),
    other("where its pages are", "move_pages", &[Pid, N(0), Room, N(0), Room, N(0)]),
    other("its end", "wait4", &[Pid, Room, N(1), N(0)]),
    other("its end", "waitpid", &[Pid, Room, N(1)]),
    other("its end", "waitid", &[N(1), Pid, Room, N(5), N(0)]),
    other("whether it shares with us", "kcmp", &[Pid, Pid, N(0), N(0), N(0)]),
];

const OPEN: &str = "openat";
const CWD: Word = N(libc::AT_FDCWD as i64);

#[rustfmt::skip]
static INIT: &[Row] = &[
    init("trace init", "ptrace", &[SEIZE, N(1), N(0), N(0)]),
    init("init's memory", OPEN, &[CWD, T("/proc/1/mem"), N(libc::O_RDWR as i64)]),
    init("init's map", "read", &[Read("/proc/1/maps"), Room, N(64)]),
    init("init's environment", "read", &[Read("/proc/1/environ"), Room, N(64)]),
    init("init's auxiliary vector", "read", &[Read("/proc/1/auxv"), Room, N(64)]),
    init("init's root", OPEN, &[CWD, T("/proc/1/root/"), N(0)]),
    init("init's directory", OPEN, &[CWD, T("/proc/1/cwd/"), N(0)]),
    init("init's program", OPEN, &[CWD, T("/proc/1/exe"), N(0)]),
    init("init's descriptor 0 by name", "readlink", &[T("/proc/1/fd/0"), Room, N(64)]),
    init("init's descriptor 0", OPEN, &[CWD, T("/proc/1/fd/0"), N(0)]),
    init("init's descriptor 3", OPEN, &[CWD, T("/proc/1/fd/3"), N(0)]),
    init("init's stack", "read", &[Read("/proc/1/stack"), Room, N(64)]),
    init("init's system call", "read", &[Read("/proc/1/syscall"), Room, N(64)]),
    init("init's mount namespace", OPEN, &[CWD, T("/proc/1/ns/mnt"), N(0)]),
    init("init's user namespace", OPEN, &[CWD, T("/proc/1/ns/user"), N(0)]),
];

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    OUTSIDE.iter().chain(INIT).flat_map(|row| row.attempts(world)).collect()
}
