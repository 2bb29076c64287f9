//! Hooks that run in the container's namespaces (runtime-spec, "POSIX-platform Hooks"): createContainer, startContainer.

use super::super::child::Child;
use super::exec::leads_to_us;
use crate::plan::op::{ChildHook, HookKind, Op};
use crate::sys::file::Ready;
use crate::sys::process::{self, Cloned, Ended, Strings};
use crate::sys::{Errno, Result, file, signal};
use std::os::fd::{AsFd, BorrowedFd};

/// ETIME: it took too long and has been killed. EPIPE: so has codexrun, and the hook with it. ECANCELED: it failed. Anything else: it could
/// not be run.
pub(super) fn run(hook: &ChildHook, child: &Child) -> Result<()> {
    let state = if hook.kind == HookKind::StartContainer { &child.states.created } else { &child.states.creating };
    let state = state.as_ref().ok_or(Errno::EBADF)?;
    let (args, env) = child.hooks.get(hook.index).ok_or(Errno::EBADF)?;
    let env = env.as_ref().unwrap_or(&child.env);
    // The next hook reads it from the beginning too.
    file::rewind(state.as_fd())?;
    // Carries the errno of an execve(2) that fails; closed by one that does not.
    let (failed, says) = file::pipe()?;
    let (pid, pidfd) = match process::clone(0)? {
        Cloned::Child => {
            let errno = go_on(hook, state.as_fd(), child, args, env);
            let _ = file::write_all(says.as_fd(), &(errno as i32).to_ne_bytes());
            process::exit(127)
        }
        Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(says);
    // `start` finds the process alone, whoever has made it.
    let codexrun = (hook.kind == HookKind::CreateContainer).then_some((child.gate.as_fd(), Ready::HungUp));
    let [in_time, orphaned] = file::poll_for_each([Some((pidfd.as_fd(), Ready::In)), codexrun], hook.timeout)?;
    if !in_time {
        process::kill(pid, libc::SIGKILL)?;
    }
    let ended = process::wait(pid, 0)?;
    let mut errno = [0; 4];
    match (ended, file::read(failed.as_fd(), &mut errno)?) {
        (_, 4) => Err(Errno::from_raw(i32::from_ne_bytes(errno))),
        _ if orphaned => Err(Errno::EPIPE),
        _ if !in_time => Err(Errno::ETIME),
        (Some((_, Ended::Exited(0))), _) => Ok(()),
        _ => Err(Errno::ECANCELED),
    }
}

/// Nothing but the payload writes to standard output. Returns only if it fails.
fn go_on(hook: &ChildHook, state: BorrowedFd, child: &Child, args: &Strings, env: &Strings) -> Errno {
    let stdio = file::become_stdio_number(state, 0).and_then(|()| file::become_stdio_number(file::stderr(), 1));
    let said = child.said.as_ref().filter(|_| hook.is_bridge());
    let stdio = stdio.and_then(|()| said.map_or(Ok(()), |said| file::become_stdio_number(said.as_fd(), 2)));
    if hook.kind == HookKind::StartContainer && leads_to_us(&hook.path, child.own) {
        // The image says what that program is.
        return Errno::ELOOP;
    }
    match stdio.and_then(|()| inherit_nothing(child)).and_then(|()| signal::set_mask(&child.mask).map(drop)) {
        Ok(()) => process::exec(&hook.path, args, env),
        Err(errno) => errno,
    }
}

/// A filter that refuses close_range(2) was loaded after `Op::CloexecFrom`: only what the command keeps is left.
fn inherit_nothing(child: &Child) -> Result<()> {
    let kept = |op: &Op| if let Op::CloexecFrom(first) = op { Some(3..*first as i32) } else { None };
    match file::cloexec_from(3) {
        Err(Errno::EPERM | Errno::ENOSYS) => {
            child.plan.child.iter().find_map(|step| kept(&step.op)).unwrap_or(3..3).try_for_each(file::cloexec)
        }
        done => done,
    }
}
