//! `linux.seccomp`: where the filter goes.

use super::Draft;
use super::op::Op;
use super::order::Stage;
use crate::bpf::{self, Data, Native};
use oci_spec::runtime::Spec;

pub(super) fn plan(draft: &mut Draft, spec: &Spec) -> Vec<String> {
    let place = "linux.seccomp";
    let Some(seccomp) = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()) else {
        keyring(draft);
        return Vec::new();
    };
    if seccomp.listener_path().is_some() {
        draft.unsupported(format!("{place}.listenerPath"), "is not supported yet");
    }
    if seccomp.listener_metadata().is_some() {
        draft.unsupported(format!("{place}.listenerMetadata"), "is not supported yet");
    }
    let program = match bpf::compile(seccomp, draft.host.native) {
        Ok(program) => program,
        Err(reasons) => {
            draft.errors.extend(reasons);
            return Vec::new();
        }
    };
    if program.flags & NEW_LISTENER != 0 {
        // The descriptor that seccomp(2) returns would stay in the container: whoever holds it answers for the supervisor.
        draft.unsupported(place, "has SCMP_ACT_NOTIFY, but no listener is supported yet");
    }
    let no_new_privs = spec.process().as_ref().and_then(|p| p.no_new_privileges()) == Some(true);
    let stage = match (no_new_privs, draft.init && lets_init_work(&program.insns, draft.host.native)) {
        (false, _) => Stage::SeccompEarly,
        (true, true) => Stage::SeccompInit,
        (true, false) => Stage::SeccompLate,
    };
    // A new keyring for each launch would use up an ordinary user's quota (keyrings(7)); out of reach, the caller's may stay.
    if answers(&program.insns, draft.host.native, keys(draft.host.native)).any(|answer| answer == ALLOW) {
        keyring(draft);
    }
    let warnings = program.warnings.clone();
    draft.step(stage, Op::Seccomp(program), place);
    warnings
}

fn keyring(draft: &mut Draft) {
    if !draft.options.keep_keyring {
        draft.step(Stage::Keyring, Op::Keyring, "process");
    }
}

const NEW_LISTENER: u32 = 1 << 3;
const ALLOW: u32 = 0x7fff_0000;

/// Whether the filter answers "allow" to all that init does after the fork, and the command until its execve(2).
fn lets_init_work(program: &[bpf::Insn], native: Native) -> bool {
    let calls = match native {
        Native::X86_64 => INIT_X86_64,
        Native::Aarch64 => INIT_AARCH64,
    };
    answers(program, native, calls).all(|answer| answer == ALLOW)
}

/// Whether execveat(2) passes the filter, if there is one.
pub(super) fn lets_execveat(draft: &Draft) -> bool {
    let filters = draft.child.iter().filter_map(|step| if let Op::Seccomp(program) = &step.op { Some(program) } else { None });
    let call: &[i32] = match draft.host.native {
        Native::X86_64 => &[322],
        Native::Aarch64 => &[281],
    };
    filters.flat_map(|filter| answers(&filter.insns, draft.host.native, call)).all(|answer| answer == ALLOW)
}

/// What the filter answers to these calls of the native architecture, with arguments of zero.
fn answers(program: &[bpf::Insn], native: Native, calls: &'static [i32]) -> impl Iterator<Item = u32> {
    let arch = match native {
        Native::X86_64 => 0xc000_003e,
        Native::Aarch64 => 0xc000_00b7,
    };
    calls.iter().map(move |nr| bpf::interpret(program, &Data { nr: *nr, arch, instruction_pointer: 0, args: [0; 6] }))
}

/// add_key, request_key, keyctl.
fn keys(native: Native) -> &'static [i32] {
    match native {
        Native::X86_64 => &[248, 249, 250],
        Native::Aarch64 => &[217, 218, 219],
    }
}

// clone, write, close_range, kill, wait4, rt_sigtimedwait, exit_group, setsid, rt_sigprocmask, ioctl, dup2 (dup3), execve
const INIT_X86_64: &[i32] = &[56, 1, 436, 62, 61, 128, 231, 112, 14, 16, 33, 59];
const INIT_AARCH64: &[i32] = &[220, 64, 436, 129, 260, 137, 94, 157, 135, 29, 24, 221];
