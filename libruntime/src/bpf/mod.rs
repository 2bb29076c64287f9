//! OCI `linux.seccomp` → one classic BPF program. Pure: never touches the kernel; the same profile gives the same bytes.
//!
//! ```text
//! profile ──rules──▶ Rule ──decide──▶ number → Decision, for each interface ──tree──▶ jumps ──emit──▶ Program
//!          refuses          which rule wins                              balanced search       distances
//! ```
//!
//! The meaning is that of runc on libseccomp 2.5, whose verdict a test compares for every kind of rule. Where they
//! differ, on purpose:
//!
//! * an interface that the profile does not list, x32 among them, gets `KILL_PROCESS` (runc: `KILL_THREAD`);
//! * a rule for `shmat` and the like also stops `ipc(0x10015, …)` on i386 (see `arch::Carrier`);
//! * rules with different actions whose conditions overlap apply in the order written (see `decide`);
//! * a call that is newer than all that the profile names gets ENOSYS where the default is an errno, as from runc, and the default where
//!   it is a signal, as from libseccomp (runc: ENOSYS; see docs/seccomp.md);
//! * an `errnoRet` that cannot be returned is refused, not cut off or ignored, as the specification demands;
//! * an architecture that this machine cannot execute is passed over with a warning, whatever its byte order;
//! * no flags are set that the profile does not name (runc adds `SPEC_ALLOW` when `flags` is absent).

mod arch;
mod calls;
mod decide;
pub mod device;
mod emit;
mod interpret;
mod meaning;
mod names;
#[cfg(test)]
mod oracle;
mod rules;
#[cfg(test)]
mod second;
mod show;
#[cfg(test)]
mod tests;
mod tree;

pub use arch::{Native, architectures};
pub use calls::{Call, Calls, calls, permits};
pub use interpret::{Data, interpret};
pub use meaning::Meaning;
pub use show::{answer, show};

use crate::Error;
use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Insn {
    /// The operation.
    pub code: u16,
    /// Instructions to skip if the condition holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// What seccomp(2) is to be called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The filter.
    pub insns: Vec<Insn>,
    /// `SECCOMP_FILTER_FLAG_*`; `NEW_LISTENER` among them if the filter can answer `USER_NOTIF`.
    pub flags: u32,
    /// From this number on the machine's own interface answers ENOSYS: newer than all that the profile names.
    pub unheard: Option<u32>,
    /// What the profile says in vain, and where: system calls that no architecture has.
    pub warnings: Vec<String>,
}

/// `BPF_MAXINSNS`.
const MOST: usize = 4096;

/// Compiles a profile for a machine, or says everything that is wrong with it.
pub fn compile(seccomp: &LinuxSeccomp, native: Native) -> Result<Program, Vec<Error>> {
    compile_over(&[], seccomp, native)
}

/// The same, with rules that stand before those of the profile and win, also where they say what its default says. A rule of the
/// profile's without conditions wins over one with some.
pub fn compile_over(over: &[LinuxSyscall], seccomp: &LinuxSeccomp, native: Native) -> Result<Program, Vec<Error>> {
    let mut profile = rules::read(seccomp)?;
    profile.rules = rules::all(over)?.into_iter().chain(profile.rules).collect();
    let listed = seccomp.architectures().as_deref().unwrap_or_default();
    let tables = tables(&arch::selected(listed, native), &profile)?;
    let unheard = tables.first().and_then(|table| table.unheard);
    let mut asm = emit::Asm::default();
    let entry = tree::program(&mut asm, &tables, profile.default);
    let insns = asm.finish(entry);
    if insns.len() > MOST {
        return Err(vec![too_long(insns.len())]);
    }
    let notify = insns.iter().any(|insn| insn.code == emit::RET && insn.k == rules::RET_NOTIFY);
    let asked = seccomp.flags().as_deref().unwrap_or_default();
    let mut warnings = profile.warnings;
    warnings.extend(arch::foreign(listed, native));
    warnings.extend(rules::idle_flags(asked, notify));
    Ok(Program { insns, flags: rules::flags(asked, notify), unheard, warnings })
}

fn tables(abis: &[&'static arch::Abi], profile: &rules::Profile<'_>) -> Result<Vec<tree::Table>, Vec<Error>> {
    let mut tables = Vec::with_capacity(abis.len());
    let mut errors: Vec<Error> = Vec::new();
    for abi in abis {
        match decide::decide(abi, profile) {
            Ok(decisions) => tables.push(tree::Table { abi, decisions, unheard: profile.unheard(abi) }),
            // What is wrong on one interface is mostly wrong on all: said once.
            Err(more) => errors.extend(more.into_iter().filter(|error| !errors.contains(error)).collect::<Vec<_>>()),
        }
    }
    if errors.is_empty() { Ok(tables) } else { Err(errors) }
}

fn too_long(len: usize) -> Error {
    Error::new(format!("the filter has {len} instructions; the kernel takes at most {MOST}"))
        .at("linux.seccomp")
        .hint("fewer conditions on arguments, or fewer architectures")
}
