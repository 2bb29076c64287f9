//! The tables of system calls, x86-64's (x32 has its numbers) and i386's: each call is attacked by an attempt that names it, or stands here with
//! the reason why there is nothing to attack.

use super::{World, attempts};
use std::collections::BTreeSet;

/// A reason, and the calls that it is about.
#[rustfmt::skip]
const EXEMPT: &[(&str, &[&str])] = &[
    ("the kernel has it no more, or never had", &[
        "uselib", "_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl", "getpmsg", "putpmsg", "afs_syscall", "tuxcall",
        "security", "lookup_dcookie", "epoll_ctl_old", "epoll_wait_old", "vserver",
        "stty", "gtty", "ftime", "prof", "lock", "mpx", "ulimit", "profil", "idle", "bdflush", "r#break",
    ]),
    ("its own memory", &[
        "brk", "munmap", "mremap", "msync", "mincore", "mlock", "mlock2", "munlock", "mlockall", "munlockall", "mbind", "set_mempolicy",
        "get_mempolicy", "set_mempolicy_home_node", "remap_file_pages", "membarrier", "mseal", "map_shadow_stack", "pkey_alloc", "pkey_free",
        "shmdt",
    ]),
    ("its own memory in a descriptor: it takes no address, path or descriptor, and is a new file that nobody else has", &["memfd_secret"]),
    ("its own registers, thread and randomness", &[
        "modify_ldt", "arch_prctl", "set_thread_area", "get_thread_area", "set_tid_address", "set_robust_list", "rseq", "personality",
        "restart_syscall", "uretprobe", "uprobe", "getrandom", "vm86", "vm86old",
    ]),
    ("its own processes and their end", &["fork", "vfork", "exit", "exit_group", "setsid", "umask", "sched_yield"]),
    ("its own signals", &[
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_sigsuspend",
        "sigaltstack", "pause", "signal", "sigaction", "sgetmask", "ssetmask", "sigsuspend", "sigpending", "sigreturn", "sigprocmask",
    ]),
    ("its own locks, by memory that it has", &["futex", "futex_time64", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue"]),
    ("its own limits and identity, asked for, or lowered", &[
        "getpid", "gettid", "getppid", "getpgrp", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid",
        "getuid32", "geteuid32", "getgid32", "getegid32", "getgroups32", "getresuid32", "getresgid32",
        "getrlimit", "ugetrlimit", "setrlimit", "getrusage", "nice",
    ]),
    ("its own label, by the rules of the security module", &["lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules"]),
    ("what everybody is told", &[
        "uname", "olduname", "oldolduname", "sysinfo", "times", "time", "gettimeofday", "clock_gettime", "clock_gettime64", "clock_getres",
        "clock_getres_time64", "getcpu", "sched_get_priority_max", "sched_get_priority_min", "ustat", "statfs", "statfs64", "sysfs",
    ]),
    ("waits, or counts time", &[
        "nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "alarm", "getitimer", "setitimer", "timer_gettime", "timer_gettime64",
        "timer_settime64", "timer_getoverrun", "timer_delete",
    ]),
    ("two new ends, which are read and written by who has them, and by no name; what pipe2(2) can be told of is a queue of the keys' notices, and \
      keyctl(2), which fills it, is refused", &["pipe", "pipe2"]),
    ("a new counter of one's own: it takes a number and flags", &["eventfd", "eventfd2"]),
    ("a new set that is empty: what goes into it is epoll_ctl(2)'s, which is attacked", &["epoll_create", "epoll_create1"]),
    ("a new list that is empty: what goes into it is inotify_add_watch(2)'s, which is attacked", &["inotify_init", "inotify_init1"]),
    ("closes those of a range that are open, and succeeds where none is: it returns nothing and leads nowhere", &["close_range"]),
    ("ends, or waits for, what io_submit(2) has begun", &["io_cancel", "io_destroy", "io_pgetevents", "io_pgetevents_time64"]),
    ("asks of a name what open(2) would be asked, and gives no descriptor", &[
        "stat", "lstat", "access", "getxattr", "lgetxattr", "listxattr", "llistxattr", "getcwd", "chdir",
        "oldstat", "oldlstat", "stat64", "lstat64",
    ]),
    ("what is written already goes to the disk", &["sync"]),
    ("two that do something with any argument; the filter refuses both", &["vhangup", "stime"]),
    ("a twin that is attacked, with wider or narrower words", &[
        "lchown32", "setreuid32", "setregid32", "setgroups32", "setresuid32", "setresgid32", "setgid32", "setfsuid32", "setfsgid32",
        "clock_adjtime64", "mq_timedsend_time64", "mq_timedreceive_time64", "sched_rr_get_interval_time64",
    ]),
];

/// Those of both tables. The crate's own iterators leave out the last.
fn all() -> BTreeSet<&'static str> {
    let native = (0..1024).filter_map(syscalls::x86_64::Sysno::new).map(|call| call.name());
    native.chain((0..1024).filter_map(syscalls::x86::Sysno::new).map(|call| call.name())).collect()
}

fn attacked(world: &World) -> BTreeSet<String> {
    attempts(world).flat_map(|attempt| attempt.calls.iter().map(|call| call.to_string()).collect::<Vec<_>>()).collect()
}

fn exempt() -> impl Iterator<Item = &'static str> {
    EXEMPT.iter().flat_map(|(_, calls)| calls.iter().copied())
}

#[test]
fn every_system_call_is_attacked_or_exempt_with_a_reason() {
    let world = World::read(std::iter::empty());
    let (attacked, exempt): (_, BTreeSet<&str>) = (attacked(&world), exempt().collect());
    let neither: Vec<_> = all().into_iter().filter(|call| !attacked.contains(*call) && !exempt.contains(call)).collect();
    assert!(neither.is_empty(), "neither attacked nor exempt: {neither:?}");
}

#[test]
fn no_call_is_exempt_twice_or_attacked_too_and_all_exist() {
    let world = World::read(std::iter::empty());
    let (attacked, all, mut seen) = (attacked(&world), all(), BTreeSet::new());
    for call in exempt() {
        assert!(seen.insert(call), "{call} is exempt twice");
        assert!(!attacked.contains(call), "{call} is attacked");
        assert!(all.contains(call), "{call} is no system call");
    }
    let unknown: Vec<_> = attacked.iter().filter(|call| !all.contains(call.as_str())).collect();
    assert!(unknown.is_empty(), "attacked, and no system calls: {unknown:?}");
}
