//! Sources of binds that the root of the container's user namespace could not reach, in a directory of somebody else's: each is copied by a
//! process that has our rights and the container's mounts. There, what the host has locked stays locked (mount_namespaces(7)).

use super::container::Container;
use super::idmap;
use super::interrupt::Interrupt;
use super::launch::failed;
use crate::plan::ParentStep;
use crate::plan::op::Source;
use crate::sys::process::Apart;
use crate::sys::{Errno, Result as SysResult, file, namespace};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};

/// To the container's process, which waits for it.
pub(super) fn send(step: &ParentStep, container: &mut Container, source: &Source, interrupt: &Interrupt) -> Result<()> {
    let (process, gate) = (container.pidfd.as_fd(), container.gate.as_fd());
    let sent = Apart::begin(0, || copy(process, gate, source)).and_then(|copier| patiently(copier, interrupt));
    container.hear(sent).map_err(|e| not_copied(step, e))
}

fn copy(process: BorrowedFd, gate: BorrowedFd, source: &Source) -> SysResult<()> {
    namespace::join(process, libc::CLONE_NEWNS as u64)?;
    file::send_fd(gate, idmap::copy(source)?.as_fd(), 0)
}

/// The source may be on a file system that does not answer.
fn patiently(copier: Apart, interrupt: &Interrupt) -> SysResult<()> {
    match interrupt.or_wait(Some(copier.pidfd()), -1) {
        Ok(_) => copier.end(),
        Err(errno) => copier.abandon().and(Err(errno)),
    }
}

pub(super) fn not_copied(step: &ParentStep, errno: Errno) -> Error {
    let error = failed(step, errno);
    match errno {
        Errno::ENOENT => error.hint("the source does not exist on the host"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{process, signal};

    /// As one whose source is on a file system that does not answer.
    #[test]
    fn a_signal_ends_the_wait_for_a_copier_that_hangs_and_the_copier() {
        let (hears, says) = file::pipe().unwrap();
        let waits = move || {
            signal::set_mask(&signal::Set::of(&[libc::SIGTERM]))?;
            process::kill(nix::unistd::getpid().as_raw(), libc::SIGTERM)?;
            let copier = Apart::begin(0, || file::poll([None::<BorrowedFd>]).map(drop))?;
            drop(says);
            patiently(copier, &Interrupt::default())
        };
        assert_eq!(process::apart(0, waits), Err(Errno::EINTR));
        assert_eq!(file::poll_for(hears.as_fd(), 5000), Ok(true), "nobody has it open any more");
    }
}
