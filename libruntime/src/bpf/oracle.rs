//! What libseccomp makes of a profile, given to it as runc does (`libcontainer/seccomp/seccomp_linux.go`).

use super::{Insn, Native};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall, error};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::io::{Read, Seek};

/// The program, or why there is none.
pub(super) fn compile(seccomp: &LinuxSeccomp, native: Native) -> Result<Vec<Insn>, error::SeccompError> {
    // As a kernel of 5.7 or later: the answer must not depend on the one that the tests run on.
    libseccomp::set_api(6)?;
    let default = action(seccomp.default_action(), seccomp.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default)?;
    filter.set_act_badarch(ScmpAction::KillProcess)?;
    for arch in archs(seccomp, native) {
        filter.add_arch(arch)?;
    }
    if native == Native::Aarch64 {
        filter.remove_arch(ScmpArch::X8664)?;
    }
    for call in seccomp.syscalls().iter().flatten() {
        add(&mut filter, call, default)?;
    }
    // libseccomp 2.5.4 forgets to load the number where the first call of its list does not exist on an architecture.
    filter.set_syscall_priority(ScmpSyscall::from_name("getpid")?, 255)?;
    let mut file = tempfile::tempfile().unwrap();
    filter.export_bpf(&file)?;
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes.chunks_exact(8).map(insn).collect())
}

fn insn(bytes: &[u8]) -> Insn {
    Insn {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    }
}

/// libseccomp starts with the architecture that it was built for.
fn archs(seccomp: &LinuxSeccomp, native: Native) -> Vec<ScmpArch> {
    let (mut archs, known): (Vec<ScmpArch>, &[(Arch, ScmpArch)]) = match native {
        Native::X86_64 => (vec![], &[(Arch::ScmpArchX86, ScmpArch::X86), (Arch::ScmpArchX32, ScmpArch::X32)]),
        Native::Aarch64 => (vec![ScmpArch::Aarch64], &[(Arch::ScmpArchArm, ScmpArch::Arm)]),
    };
    let listed = seccomp.architectures().as_deref().unwrap_or_default();
    archs.extend(known.iter().filter(|(arch, _)| listed.contains(arch)).map(|(_, arch)| *arch));
    archs
}

fn add(filter: &mut ScmpFilterContext, call: &LinuxSyscall, default: ScmpAction) -> Result<(), error::SeccompError> {
    let action = action(call.action(), call.errno_ret());
    if action == default {
        return Ok(());
    }
    let args = call.args().as_deref().unwrap_or_default();
    let shared = (0..6).any(|n| args.iter().filter(|arg| arg.index() == n).count() > 1);
    for name in call.names() {
        let Ok(number) = ScmpSyscall::from_name(name) else { continue };
        let conds: Vec<ScmpArgCompare> = args.iter().map(compare).collect();
        match (conds.is_empty(), shared) {
            (true, _) => filter.add_rule(action, number).map(drop)?,
            (_, false) => filter.add_rule_conditional(action, number, &conds).map(drop)?,
            (_, true) => {
                for cond in conds {
                    filter.add_rule_conditional(action, number, &[cond])?;
                }
            }
        }
    }
    Ok(())
}

fn compare(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let op = match arg.op() {
        Operator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        Operator::ScmpCmpLt => ScmpCompareOp::Less,
        Operator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        Operator::ScmpCmpEq => ScmpCompareOp::Equal,
        Operator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        Operator::ScmpCmpGt => ScmpCompareOp::Greater,
        Operator::ScmpCmpMaskedEq => {
            return ScmpArgCompare::new(
                arg.index() as u32,
                ScmpCompareOp::MaskedEqual(arg.value()),
                arg.value_two().unwrap_or(0),
            );
        }
    };
    ScmpArgCompare::new(arg.index() as u32, op, arg.value())
}

fn action(action: Action, errno: Option<u32>) -> ScmpAction {
    let errno = errno.unwrap_or(libc::EPERM as u32);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(errno as i32),
        Action::ScmpActNotify => ScmpAction::Notify,
        Action::ScmpActTrace => ScmpAction::Trace(errno as u16),
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
    }
}
