//! `linux.seccomp`: where the filter goes, and who answers for it.

use super::op::{Agent, Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, ParentStep, broker};
use crate::annotation;
use crate::bpf::{self, Data, Native};
use oci_spec::runtime::{LinuxSeccomp, Spec};
use std::os::unix::ffi::OsStrExt;

/// `ports`: those of TCP that Landlock's rules let it connect to, if they confine that.
pub(super) fn plan(draft: &mut Draft, spec: &Spec, ports: Option<Vec<u16>>) -> Vec<String> {
    let place = "linux.seccomp";
    let over = broker::rules(draft, spec, ports);
    let Some(seccomp) = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()) else {
        if !over.is_empty() {
            draft.refuse(place, format!("is missing: `{}` changes what it says", annotation::UNIX_SOCKETS));
        }
        keyring(draft);
        return Vec::new();
    };
    if seccomp.listener_metadata().is_some() && seccomp.listener_path().is_none() {
        draft.refuse(format!("{place}.listenerMetadata"), "is set without `listenerPath`: nobody would be told");
    }
    let mut program = match bpf::compile_over(&over, seccomp, draft.host.native) {
        Ok(program) => program,
        Err(reasons) => {
            draft.errors.extend(reasons);
            return Vec::new();
        }
    };
    let no_new_privs = spec.process().as_ref().and_then(|p| p.no_new_privileges()) == Some(true);
    let stage = match (no_new_privs, draft.init && lets_init_work(&program.insns, draft)) {
        (false, _) => Stage::SeccompEarly,
        (true, true) => Stage::SeccompInit,
        (true, false) => Stage::SeccompLate,
    };
    // A new keyring for each launch would use up an ordinary user's quota (keyrings(7)); out of reach, the caller's may stay.
    if answers(&program.insns, draft.host.native, keys(draft.host.native)).any(|answer| answer == ALLOW) {
        keyring(draft);
    }
    let mut warnings: Vec<String> = program.warnings.iter().map(|what| format!("config.json: {what}")).collect();
    let notifies = program.flags & NEW_LISTENER != 0;
    if broker::is_planned(draft) {
        program.flags |= WAIT_KILLABLE;
    } else if notifies {
        agent(draft, seccomp, stage);
    } else if seccomp.listener_path().is_some() {
        warnings.push(format!("config.json: {place}.listenerPath: has no effect, as no action is `SCMP_ACT_NOTIFY`"));
    }
    let refuses = |calls: [i32; 2]| refuses(&program.insns, draft.host.native, calls);
    if refuses(WRITE) && draft.child.iter().any(|step| step.op == Op::Hooked) {
        draft.refuse(place, "refuses write(2), by which the process tells that the hooks of hooks.startContainer have ended");
    } else if refuses(WRITE) && refuses(EXECVE) {
        draft.refuse(place, "refuses execve(2), by which the command begins, and write(2), by which anybody could be told of it");
    }
    let sends = answers(&program.insns, draft.host.native, telling(draft.host.native)).all(|answer| answer == ALLOW);
    draft.step(stage, if notifies { Op::Supervised { program, sends } } else { Op::Seccomp(program) }, place);
    warnings
}

/// The agent is reached from where the host's paths mean something: by the parent, before there is a container. What it is told waits
/// for the pid.
fn agent(draft: &mut Draft, seccomp: &LinuxSeccomp, stage: Stage) {
    let place = "linux.seccomp.listenerPath";
    let path = match seccomp.listener_path() {
        Some(path) if !path.is_absolute() => return draft.refuse(place, format!("`{}` is not an absolute path", path.display())),
        Some(path) if path.as_os_str().len() > LONGEST => {
            return draft.refuse(place, format!("has more than {LONGEST} bytes, and the address of a Unix socket no more"));
        }
        Some(path) if path.as_os_str().as_bytes().contains(&0) => return draft.refuse(place, "contains a NUL byte"),
        Some(path) => path.clone(),
        None => return draft.refuse(place, "is missing: `SCMP_ACT_NOTIFY` asks an agent, and nobody would answer"),
    };
    let status = match stage {
        _ if draft.joins => "running",
        Stage::SeccompEarly => "creating",
        _ => "created",
    };
    let agent = Agent { path, metadata: seccomp.listener_metadata().clone(), status };
    draft.before.insert(0, ParentStep { op: ParentOp::Agent(agent), origin: place.to_owned() });
    for op in [ParentOp::Introduce, ParentOp::Tell(Sync::Agent)] {
        draft.parent.push(ParentStep { op, origin: place.to_owned() });
    }
    draft.step(Stage::Agent, Op::Wait(Sync::Agent), place);
}

/// `sizeof sun_path`, without the NUL (unix(7)).
const LONGEST: usize = 107;

fn keyring(draft: &mut Draft) {
    if !draft.options.keep_keyring {
        draft.step(Stage::Keyring, Op::Keyring, "process");
    }
}

const NEW_LISTENER: u32 = 1 << 3;
const WAIT_KILLABLE: u32 = 1 << 5;
const ALLOW: u32 = 0x7fff_0000;

/// Whether the filter answers "allow" to all that init does after the fork, and the command until its execve(2).
fn lets_init_work(program: &[bpf::Insn], draft: &Draft) -> bool {
    let native = draft.host.native;
    let landlock = if super::landlock::restricts(draft) { LANDLOCK } else { &[] };
    let calls = match native {
        Native::X86_64 => INIT_X86_64,
        Native::Aarch64 => INIT_AARCH64,
    };
    answers(program, native, calls).chain(answers(program, native, landlock)).all(|answer| answer == ALLOW)
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
    calls.iter().map(move |nr| answer(program, native, *nr, [0; 6]))
}

fn answer(program: &[bpf::Insn], native: Native, nr: i32, args: [u64; 6]) -> u32 {
    let arch = match native {
        Native::X86_64 => 0xc000_003e,
        Native::Aarch64 => 0xc000_00b7,
    };
    bpf::interpret(program, &Data { nr, arch, instruction_pointer: 0, args })
}

/// Whether a call fails, or ends the process: one that is called like write(2) of eight bytes to a pipe of a high number.
fn refuses(program: &[bpf::Insn], native: Native, [x86_64, aarch64]: [i32; 2]) -> bool {
    let nr = match native {
        Native::X86_64 => x86_64,
        Native::Aarch64 => aarch64,
    };
    // Without a tracer, which codexrun is not, it fails as well.
    let answer = answer(program, native, nr, [10, 1 << 40, 8, 0, 0, 0]) & 0xffff_0000;
    matches!(answer, KILL_THREAD | KILL_PROCESS | TRAP | ERRNO | TRACE)
}

const WRITE: [i32; 2] = [1, 64];
const EXECVE: [i32; 2] = [59, 221];

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000;

/// add_key, request_key, keyctl.
fn keys(native: Native) -> &'static [i32] {
    match native {
        Native::X86_64 => &[248, 249, 250],
        Native::Aarch64 => &[217, 218, 219],
    }
}

/// sendmsg, sendto, read, shutdown, close: an agent is told with these.
fn telling(native: Native) -> &'static [i32] {
    match native {
        Native::X86_64 => &[46, 44, 0, 48, 3],
        Native::Aarch64 => &[211, 206, 63, 210, 57],
    }
}

// clone, write, close_range, kill, wait4, rt_sigtimedwait, exit_group, setsid, rt_sigprocmask, ioctl, dup2 (dup3), execve
const INIT_X86_64: &[i32] = &[56, 1, 436, 62, 61, 128, 231, 112, 14, 16, 33, 59];
const INIT_AARCH64: &[i32] = &[220, 64, 436, 129, 260, 137, 94, 157, 135, 29, 24, 221];
// openat2, landlock_add_rule, landlock_restrict_self; what cannot be closed goes with execve(2)
const LANDLOCK: &[i32] = &[437, 445, 446];
