//! Hooks that run in the container's namespaces (runtime-spec, "POSIX-platform Hooks"): createContainer, startContainer.

use super::super::child::Child;
use super::super::hook::{Running, Side};
use super::exec::leads_to_us;
use crate::plan::op::{ChildHook, HookKind, Op};
use crate::sys::file::Ready;
use crate::sys::process::{self, Ended, Strings};
use crate::sys::{Errno, Result, file, signal};
use std::os::fd::{AsFd, BorrowedFd};

/// ETIME: it took too long and has been killed. EPIPE: so has codexrun, and the hook with it. EBADRQC: the container's filter has ended it.
/// ECANCELED: it failed. Anything else: it could not be run.
pub(super) fn run(hook: &ChildHook, child: &Child) -> Result<()> {
    let state = if hook.kind == HookKind::StartContainer { &child.states.created } else { &child.states.creating };
    let state = state.as_ref().ok_or(Errno::EBADF)?;
    let (args, env) = child.hooks.get(hook.index).ok_or(Errno::EBADF)?;
    let env = env.as_ref().unwrap_or(&child.env);
    // The next hook reads it from the beginning too.
    file::seek(state.as_fd(), 0)?;
    let side = if hook.kind == HookKind::StartContainer { Side::Inside } else { Side::Outside };
    let running = Running::begin(side, || go_on(hook, state.as_fd(), child, args, env))?;
    // Not where `create` has made the process and is gone: `start` only opens the way for it.
    let watched = hook.kind == HookKind::CreateContainer || !child.plan.child.iter().any(|step| step.op == Op::Park);
    let codexrun = watched.then_some((child.gate.as_fd(), Ready::HungUp));
    let either = [Some((running.pidfd(), Ready::In)), codexrun];
    let [in_time, orphaned] = file::wait_long(hook.timeout, |piece| file::poll_for_each(either, piece))?;
    if !in_time {
        running.kill()?;
    }
    let ended = running.wait()?;
    match running.failed()? {
        Some(errno) => Err(errno),
        None if orphaned => Err(Errno::EPIPE),
        None if !in_time => Err(Errno::ETIME),
        None if ended == Ended::Exited(0) => Ok(()),
        None if ended == Ended::Killed(libc::SIGSYS) => Err(Errno::EBADRQC),
        None => Err(Errno::ECANCELED),
    }
}

/// Nothing but the payload writes to standard output. Returns only if it fails.
fn go_on(hook: &ChildHook, state: BorrowedFd, child: &Child, args: &Strings, env: &Strings) -> Errno {
    let errors = child.stderr.as_ref().map_or(Ok(()), |stderr| file::become_stdio_number(stderr.as_fd(), 2));
    let stdio = errors.and_then(|()| file::become_stdio_number(state, 0));
    let stdio = stdio.and_then(|()| file::become_stdio_number(file::stderr(), 1));
    let said = child.said.as_ref().filter(|_| hook.is_bridge());
    let stdio = stdio.and_then(|()| said.map_or(Ok(()), |said| file::become_stdio_number(said.as_fd(), 2)));
    if hook.kind == HookKind::StartContainer && leads_to_us(&hook.path, child.own) {
        // The image says what that program is.
        return Errno::ELOOP;
    }
    match stdio
        .and_then(|()| begin_in_root(hook, child))
        .and_then(|()| inherit_nothing(child))
        .and_then(|()| signal::set_mask(&child.mask).map(drop))
    {
        Ok(()) => process::exec(&hook.path, args, env),
        Err(errno) => errno,
    }
}

/// As under runc: a hook that binds a file below the root names it from there. The bridge's names none, and a root that is attached nowhere
/// has no path: a shell would complain (getcwd(3)).
fn begin_in_root(hook: &ChildHook, child: &Child) -> Result<()> {
    let nowhere = || child.plan.child.iter().any(|step| step.op == Op::Chroot);
    let begins = hook.kind == HookKind::CreateContainer && !hook.is_bridge() && !nowhere();
    if begins { file::fchdir(child.root()?) } else { Ok(()) }
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
