//! The binary interfaces a program may speak, and which of them the profile speaks of.

use oci_spec::runtime::Arch;

/// The machine that the program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// Runs x86-64, x86 and x32 programs.
    X86_64,
    /// Runs aarch64 and arm programs.
    Aarch64,
}

impl Native {
    /// This machine.
    #[cfg(target_arch = "x86_64")]
    pub const fn host() -> Self {
        Native::X86_64
    }

    /// This machine.
    #[cfg(target_arch = "aarch64")]
    pub const fn host() -> Self {
        Native::Aarch64
    }

    /// Everything it can execute, itself first.
    fn abis(self) -> &'static [Abi] {
        match self {
            Native::X86_64 => &[X86_64, X86, X32],
            Native::Aarch64 => &[AARCH64, ARM],
        }
    }
}

/// One binary interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Abi {
    /// Its name in the profile.
    pub arch: Arch,
    /// Its place in [`super::names::Numbers`].
    pub column: usize,
    /// What `seccomp_data.arch` says.
    pub audit: u32,
    /// Set in each of its numbers; x32 shares `audit` with x86-64 and differs only here.
    pub marker: u32,
    /// Only the low half of an argument is compared, as libseccomp does.
    pub narrow: bool,
    /// Sockets and System V IPC can also be reached through `socketcall` and `ipc`.
    pub multiplexed: bool,
}

impl Abi {
    /// The short name.
    pub(super) fn name(&self) -> &'static str {
        ["x86-64", "x32", "x86", "aarch64", "arm"][self.column]
    }
}

/// The bit that tells x32 from x86-64 (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;
/// `AUDIT_ARCH_X86_64`.
pub(super) const AUDIT_X86_64: u32 = 0xc000_003e;

const fn abi(arch: Arch, column: usize, audit: u32) -> Abi {
    Abi { arch, column, audit, marker: 0, narrow: false, multiplexed: false }
}

const X86_64: Abi = abi(Arch::ScmpArchX86_64, 0, AUDIT_X86_64);
const X32: Abi = Abi { marker: X32_BIT, narrow: true, ..abi(Arch::ScmpArchX32, 1, AUDIT_X86_64) };
const X86: Abi = Abi { narrow: true, multiplexed: true, ..abi(Arch::ScmpArchX86, 2, 0x4000_0003) };
const AARCH64: Abi = abi(Arch::ScmpArchAarch64, 3, 0xc000_00b7);
const ARM: Abi = Abi { narrow: true, ..abi(Arch::ScmpArchArm, 4, 0x4000_0028) };

/// The interfaces of this machine that the profile lists; the native one always, as libseccomp does. The order does
/// not depend on the profile. An architecture that the machine cannot execute is left out: nothing could call it.
pub(super) fn selected(listed: &[Arch], native: Native) -> Vec<&'static Abi> {
    let first = native.abis().first().map(|abi| abi.arch);
    native.abis().iter().filter(|abi| Some(abi.arch) == first || listed.contains(&abi.arch)).collect()
}

/// What is said of those that the machine cannot execute.
pub(super) fn foreign(listed: &[Arch], native: Native) -> impl Iterator<Item = String> {
    let is_foreign = move |arch: &Arch| *arch != Arch::ScmpArchNative && native.abis().iter().all(|abi| abi.arch != *arch);
    let list = listed.iter().enumerate().filter(move |(_, arch)| is_foreign(arch));
    list.map(|(i, arch)| format!("linux.seccomp.architectures[{i}]: has no effect: this machine runs no programs of `{arch}`"))
}

/// Every interface that programs are made for, on whatever machine.
pub fn architectures() -> impl Iterator<Item = Arch> {
    [Native::X86_64, Native::Aarch64].into_iter().flat_map(Native::abis).map(|abi| abi.arch)
}

/// The interface of a call, for listings.
pub(super) fn of(audit: u32, number: u32) -> Option<&'static Abi> {
    let all = [Native::X86_64, Native::Aarch64].into_iter().flat_map(Native::abis);
    let marker = if audit == AUDIT_X86_64 && number >= X32_BIT { X32_BIT } else { 0 };
    all.into_iter().find(|abi| abi.audit == audit && abi.marker == marker)
}

/// `socketcall` and `ipc`: the i386 calls that carry another call's number in their first argument.
pub(super) struct Carrier {
    /// The number of the carrier itself.
    pub number: u32,
    /// Which bits of the first argument are the number of the call carried.
    pub mask: u64,
    calls: &'static [(&'static str, u64)],
}

static CARRIERS: [Carrier; 2] = [
    Carrier { number: 102, mask: 0xffff_ffff, calls: SOCKETCALL },
    // ipc(2) keeps a "version" in the upper half and ignores it but for msgrcv and semtimedop; libseccomp compares all
    // 32 bits, so that ipc(0x10015, …) gets past its rules for shmat. Here it does not.
    Carrier { number: 117, mask: 0xffff, calls: IPC },
];

#[rustfmt::skip]
const SOCKETCALL: &[(&str, u64)] = &[
    ("socket", 1), ("bind", 2), ("connect", 3), ("listen", 4), ("accept", 5), ("getsockname", 6), ("getpeername", 7),
    ("socketpair", 8), ("send", 9), ("recv", 10), ("sendto", 11), ("recvfrom", 12), ("shutdown", 13),
    ("setsockopt", 14), ("getsockopt", 15), ("sendmsg", 16), ("recvmsg", 17), ("accept4", 18), ("recvmmsg", 19),
    ("sendmmsg", 20),
];

#[rustfmt::skip]
const IPC: &[(&str, u64)] = &[
    ("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11), ("msgrcv", 12), ("msgget", 13),
    ("msgctl", 14), ("shmat", 21), ("shmdt", 22), ("shmget", 23), ("shmctl", 24),
];

/// The carrier of a call and the call's number in it.
pub(super) fn carrier(name: &str) -> Option<(&'static Carrier, u64)> {
    CARRIERS.iter().find_map(|carrier| {
        let (_, call) = carrier.calls.iter().find(|(called, _)| *called == name)?;
        Some((carrier, *call))
    })
}
