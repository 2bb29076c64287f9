//! Ends criu amid a restore, and what it has made by then: children of ours as criu is (`--restore-sibling`), which wait for it.

use super::super::launch::setup;
use crate::Result;
use crate::state::process::children as children_of;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result as SysResult};
use std::os::fd::{AsFd, BorrowedFd};

/// Kills it.
pub(super) fn end(criu: BorrowedFd) -> Result<()> {
    pidfd_send_signal(criu, libc::SIGKILL).map_err(|e| setup("end criu", e))
}

/// Ours.
pub(super) fn children() -> Result<Vec<Pid>> {
    children_of(nix::unistd::Pid::this().as_raw())
}

/// Ends and collects them all, but for those that were there before: a caller may have become codexrun with children of its own.
pub(super) fn children_but(before: &[Pid]) -> Result<()> {
    let cannot = |e| setup("end a process of the container", e);
    for child in children()?.into_iter().filter(|child| !before.contains(child)) {
        below(child)?;
        // It keeps its number until we have waited for it.
        process::kill(child, libc::SIGKILL).and_then(|()| process::wait(child, 0)).map_err(cannot)?;
    }
    Ok(())
}

/// Kills the descendants of a process: those that wait as it does, and helpers of criu's.
pub(super) fn below(pid: Pid) -> Result<()> {
    for child in children_of(pid)? {
        below(child)?;
        let is_still = || children_of(pid).is_ok_and(|now| now.contains(&child));
        match kill(child, is_still) {
            Err(Errno::ESRCH) => {}
            killed => killed.map_err(|e| setup("end a process of the container", e))?,
        }
    }
    Ok(())
}

/// Only if it is still the same once its descriptor is open: its number may be a stranger's by now.
fn kill(pid: Pid, is_still: impl FnOnce() -> bool) -> SysResult<()> {
    let process = pidfd_open(nix::unistd::Pid::from_raw(pid))?;
    if is_still() { pidfd_send_signal(process.as_fd(), libc::SIGKILL) } else { Err(Errno::ESRCH) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn children_and_theirs_are_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "(sleep 60; :) & sleep 60 & wait; exit 7"]).stdout(Stdio::null());
        let mut top = command.spawn().unwrap();
        let pid = top.id().cast_signed();
        let all = || children_of(pid).unwrap().iter().map(|child| 1 + children_of(*child).unwrap().len()).sum::<usize>();
        while all() < 3 {
            std::thread::yield_now();
        }
        below(pid).unwrap();
        assert_eq!(top.wait().unwrap().code(), Some(7), "nobody is left to wait for, and it is not killed itself");
    }
}
