//! System calls that this kernel does not have, or that a filter around codexrun refuses, and what a launch does without them. It finds
//! that out by itself when it makes them; who reads a plan is told before.

use crate::sys::{Errno, process};

/// A call that a launch can do without.
struct Way {
    name: &'static str,
    call: i64,
    /// By another errno it must not be missing.
    errnos: &'static [Errno],
    instead: &'static str,
}

const ANY: &[Errno] = &[Errno::ENOSYS, Errno::EPERM];

const WAYS: &[Way] = &[
    Way {
        name: "clone3",
        call: libc::SYS_clone3,
        errnos: ANY,
        instead: "clone(2) with the same flags; not into a cgroup of version 2, where the launch fails",
    },
    Way {
        name: "faccessat2",
        call: libc::SYS_faccessat2,
        errnos: ANY,
        instead: "execve(2) tells whether the program may be executed",
    },
    Way {
        name: "keyctl",
        call: libc::SYS_keyctl,
        errnos: &[Errno::ENOSYS],
        instead: "no new session keyring: nobody behind that filter has keyrings",
    },
    Way {
        name: "setns",
        call: libc::SYS_setns,
        errnos: ANY,
        instead: "no broker of Unix sockets: connect(2) to the host's fails",
    },
];

/// What is done instead of which call, one line for each that is missing here.
pub fn ways() -> Vec<String> {
    let missing = |way: &&Way| process::refusal(way.call).is_some_and(|errno| way.errnos.contains(&errno));
    WAYS.iter().filter(missing).map(|way| format!("no {}: {}", way.name, way.instead)).collect()
}
