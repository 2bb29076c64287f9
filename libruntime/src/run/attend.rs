//! Follows a container in the foreground: forwards signals to it and relays its terminal, until it ends.

use super::container::{Container, KeeperProcess};
use super::launch::setup;
use super::terminal::Relay;
use crate::Result;
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::{file, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Signals that stay what they are: job control acts on codexrun as on any program, and faults of its own must show.
pub(super) const OURS: &[i32] = &[
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// Follows the container to its end and forwards signals to it.
pub(super) fn attend(container: &mut Container, blocked: &signal::Set) -> Result<()> {
    let Container { pidfd, master, keeper, .. } = container;
    follow(pidfd.as_fd(), master.take(), blocked, || keeper.as_mut().map_or(Ok(()), KeeperProcess::failed))
}

/// Follows a first process to its end; `child` is told when another child of ours has changed.
pub(super) fn follow(
    first: BorrowedFd,
    master: Option<OwnedFd>,
    blocked: &signal::Set,
    mut child: impl FnMut() -> Result<()>,
) -> Result<()> {
    let signals = signal::signalfd(blocked).map_err(|e| setup("listen for signals", e))?;
    let mut relay = master.map(Relay::new);
    loop {
        let [master, input] = relay.as_ref().map_or([None, None], Relay::descriptors);
        let fds = [Some(first), Some(signals.as_fd()), master, input];
        let [ended, signal, output, input] = file::poll(fds).map_err(|e| setup("follow the container", e))?;
        if ended {
            return Ok(());
        }
        if signal {
            forward(first, &signals, relay.as_ref(), &mut child)?;
        }
        if let Some(relay) = &mut relay {
            relay.pass(output, input).map_err(|e| setup("relay the terminal", e))?;
        }
    }
}

fn forward(first: BorrowedFd, signals: &OwnedFd, relay: Option<&Relay>, child: &mut impl FnMut() -> Result<()>) -> Result<()> {
    match (signal::next(signals.as_fd()).map_err(|e| setup("read a signal", e))?, relay) {
        (libc::SIGCHLD, _) => child()?,
        (libc::SIGWINCH, Some(relay)) => relay.resize(),
        // A container that has just ended needs no signal.
        (number, _) => pidfd_send_signal(first, number).unwrap_or(()),
    }
    Ok(())
}
