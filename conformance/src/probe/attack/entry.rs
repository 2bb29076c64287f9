//! The ways into the kernel from one program: the machine's own table of calls, x32's, and i386's by `int 0x80`.

use crate::syscall::{Arg, Ret, call};
#[cfg(target_arch = "x86_64")]
use std::str::FromStr;

/// A table of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Native,
    #[cfg(target_arch = "x86_64")]
    X32,
    #[cfg(target_arch = "x86_64")]
    I386,
}

/// Those that this machine may have.
#[cfg(target_arch = "x86_64")]
pub const ENTRIES: &[Entry] = &[Entry::Native, Entry::X32, Entry::I386];
#[cfg(not(target_arch = "x86_64"))]
pub const ENTRIES: &[Entry] = &[Entry::Native];

#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

impl Entry {
    /// For the reader.
    pub fn name(self) -> &'static str {
        match self {
            Entry::Native => std::env::consts::ARCH,
            #[cfg(target_arch = "x86_64")]
            Entry::X32 => "x32",
            #[cfg(target_arch = "x86_64")]
            Entry::I386 => "i386",
        }
    }

    /// The number of a call, if this table has it.
    pub fn number(self, name: &str) -> Option<i64> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Entry::Native => syscalls::x86_64::Sysno::from_str(name).ok().map(|nr| nr.id().into()),
            #[cfg(not(target_arch = "x86_64"))]
            Entry::Native => name.parse::<syscalls::Sysno>().ok().map(|nr| nr.id().into()),
            #[cfg(target_arch = "x86_64")]
            Entry::X32 => own_x32(name).or_else(|| Entry::Native.number(name)).map(|nr| nr | X32),
            #[cfg(target_arch = "x86_64")]
            Entry::I386 => syscalls::x86::Sysno::from_str(name).ok().map(|nr| nr.id().into()),
        }
    }

    /// Makes the call. Addresses are those of `syscall::page`, which every table can see.
    pub fn call(self, number: i64, words: [i64; 6]) -> Ret {
        match self {
            Entry::Native => call(number, words.map(Arg::Int)),
            #[cfg(target_arch = "x86_64")]
            Entry::X32 => call(number, words.map(Arg::Int)),
            #[cfg(target_arch = "x86_64")]
            Entry::I386 => crate::syscall::int80(number as u32, words.map(|word| word as u32)),
        }
    }
}

/// Calls with structures in them have numbers of their own (arch/x86/entry/syscalls/syscall_64.tbl).
#[cfg(target_arch = "x86_64")]
fn own_x32(name: &str) -> Option<i64> {
    const OWN: &[(&str, i64)] = &[
        ("ioctl", 514),
        ("recvfrom", 517),
        ("sendmsg", 518),
        ("recvmsg", 519),
        ("execve", 520),
        ("ptrace", 521),
        ("kexec_load", 528),
        ("mq_notify", 527),
        ("sendmmsg", 538),
        ("process_vm_readv", 539),
        ("process_vm_writev", 540),
        ("execveat", 545),
    ];
    OWN.iter().find(|(own, _)| *own == name).map(|(_, nr)| *nr)
}
