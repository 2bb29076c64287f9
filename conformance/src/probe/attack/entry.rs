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

pub const X32: i64 = 0x4000_0000;

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

/// Calls with structures in them have numbers of their own, the first of them this (arch/x86/entry/syscalls/syscall_64.tbl, x32).
#[cfg(target_arch = "x86_64")]
const FIRST_OWN: i64 = 512;

#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OWN: &[&str] = &[
    "rt_sigaction", "rt_sigreturn", "ioctl", "readv", "writev", "recvfrom", "sendmsg", "recvmsg", "execve", "ptrace",
    "rt_sigpending", "rt_sigtimedwait", "rt_sigqueueinfo", "sigaltstack", "timer_create", "mq_notify", "kexec_load", "waitid",
    "set_robust_list", "get_robust_list", "vmsplice", "move_pages", "preadv", "pwritev", "rt_tgsigqueueinfo", "recvmmsg",
    "sendmmsg", "process_vm_readv", "process_vm_writev", "setsockopt", "getsockopt", "io_setup", "io_submit", "execveat",
    "preadv2", "pwritev2",
];

#[cfg(target_arch = "x86_64")]
fn own_x32(name: &str) -> Option<i64> {
    (FIRST_OWN..).zip(OWN).find(|(_, own)| **own == name).map(|(nr, _)| nr)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn x32_has_the_numbers_of_the_kernels_table() {
        // Some by hand, from each end and from between; a name that is missing or stands twice moves those behind it.
        let known = [
            ("rt_sigaction", 512),
            ("ioctl", 514),
            ("readv", 515),
            ("recvmsg", 519),
            ("execve", 520),
            ("timer_create", 526),
            ("waitid", 529),
            ("vmsplice", 532),
            ("pwritev", 535),
            ("recvmmsg", 537),
            ("setsockopt", 541),
            ("io_setup", 543),
            ("execveat", 545),
            ("pwritev2", 547),
            ("getpid", 39),
            ("socket", 41),
            ("close_range", 436),
        ];
        for (name, number) in known {
            assert_eq!(Entry::X32.number(name), Some(number | X32), "{name}");
        }
        assert_eq!(OWN.len(), 36);
        // Each is a call of the other table too, where it has another number: that one x32 has not.
        for name in OWN {
            assert!(Entry::Native.number(name).is_some_and(|native| native < FIRST_OWN), "{name}");
        }
    }

    #[test]
    fn x32_has_the_numbers_of_the_installed_header() {
        let at = "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h";
        let Ok(header) = std::fs::read_to_string(at) else {
            println!("skip: no {at}");
            return;
        };
        let numbers = header.lines().filter_map(|line| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(" (__X32_SYSCALL_BIT + ")?;
            Some((name, number.strip_suffix(')')?.parse::<i64>().ok()?))
        });
        let own: Vec<(&str, i64)> = numbers.filter(|(_, number)| *number >= FIRST_OWN).collect();
        assert_eq!(own, OWN.iter().copied().zip(FIRST_OWN..).collect::<Vec<_>>());
    }
}
