//! Calls that a filter shuts whatever their arguments: no entry may reach the kernel's own code with them. All arguments are -1, with which
//! no call of these does anything (stime and vhangup would); through is every answer but the filter's.

use super::entry::ENTRIES;
use super::{Attempt, Wall, World, absent};
use crate::outcome::Fail;
use crate::syscall::{Arg, call};

/// Shut in every sandbox.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    "io_uring_setup", "io_uring_enter", "io_uring_register", "socketcall",
    "mount", "umount", "umount2", "pivot_root", "move_mount", "open_tree",
    "fsopen", "fsconfig", "fspick", "fsmount", "mount_setattr",
    "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd", "setns", "clone3",
    "acct", "clock_settime", "clock_settime64", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "open_by_handle_at", "quotactl", "quotactl_fd", "reboot", "settimeofday", "swapoff", "swapon",
    "syslog",
];

/// Younger than libseccomp 2.5, by which other runtimes find the number of a name.
const OURS: &[&str] = &["open_tree_attr"];

/// Shut where the network is: what would take over a process that has been given more.
const NETWORK: &[&str] = &["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"];

/// Shut where there is no namespace that keeps the host's apart.
#[rustfmt::skip]
const SHARED: &[&str] = &[
    "shmget", "shmat", "shmctl", "msgget", "msgsnd", "msgrcv", "msgctl", "semget", "semop", "semctl", "semtimedop", "semtimedop_time64",
    "ipc", "mq_open", "mq_unlink", "prlimit64",
];

/// By the table of x32, of which no filter lets anything pass: a call that it shares with x86-64 (getpid), its first, its last, and one that
/// there is not. Through is every answer, as a filter kills: also where the kernel has no x32, and says ENOSYS.
#[cfg(target_arch = "x86_64")]
const X32: &[i64] = &[39, 512, 547, 1000];
#[cfg(not(target_arch = "x86_64"))]
const X32: &[i64] = &[];

fn by_x32() -> impl Iterator<Item = Attempt<'static>> {
    X32.iter().map(|number| {
        let run = move || Ok(format!("{:?}", call(number | super::entry::X32, [-1; 6].map(Arg::Int))));
        Attempt::new(Wall::Always, format!("x32\tthe filter lets number {number} live"), run)
    })
}

pub fn attempts(_: &World) -> Vec<Attempt<'_>> {
    let lists = [(Wall::Always, ALWAYS), (Wall::Ours, OURS), (Wall::Network, NETWORK), (Wall::Shared, SHARED)];
    let all = lists.into_iter().flat_map(|(wall, calls)| calls.iter().map(move |call| (wall, call)));
    all.flat_map(|(wall, call)| ENTRIES.iter().map(move |entry| (wall, call, *entry)))
        .map(|(wall, call, entry)| {
            Attempt::new(wall, format!("{}\tthe filter lets {call} pass", entry.name()), move || {
                let Some(number) = entry.number(call) else { return absent() };
                match entry.call(number, [-1; 6]) {
                    Err(libc::EPERM | libc::ENOSYS) => Err(Fail::Errno(libc::EPERM)),
                    Err(errno) => Ok(format!("errno {errno}")),
                    Ok(n) => Ok(n.to_string()),
                }
            })
            .by(std::slice::from_ref(call))
        })
        .chain(by_x32())
        .collect()
}
