//! Follows a container in the foreground: forwards signals to it and relays its terminal, until it ends.

use super::container::{Container, KeeperProcess};
use super::launch::setup;
use super::terminal::Relay;
use crate::annotation;
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::{event, file, signal};
use crate::{Error, Result};
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

/// The exit code of timeout(1).
const TIMED_OUT: u8 = 124;

/// Follows the container to its end, or for at most `wall` seconds, and forwards signals to it.
pub(super) fn attend(container: &mut Container, blocked: &signal::Set, wall: Option<u64>) -> Result<()> {
    let Container { pidfd, master, keeper, .. } = container;
    let timer = wall.map(event::timer).transpose().map_err(|e| setup("set a timer", e))?;
    follow(pidfd.as_fd(), master.take(), blocked, timer.as_ref().map(AsFd::as_fd), || {
        keeper.as_mut().map_or(Ok(()), KeeperProcess::failed)
    })
}

/// Follows a first process to its end; `child` is told when another child of ours has changed.
pub(super) fn follow(
    first: BorrowedFd,
    master: Option<OwnedFd>,
    blocked: &signal::Set,
    timer: Option<BorrowedFd>,
    mut child: impl FnMut() -> Result<()>,
) -> Result<()> {
    let signals = signal::signalfd(blocked).map_err(|e| setup("listen for signals", e))?;
    let mut relay = master.map(Relay::new);
    loop {
        let [master, input] = relay.as_ref().map_or([None, None], Relay::descriptors);
        let fds = [Some(first), Some(signals.as_fd()), master, input, timer];
        let [ended, signal, output, input, late] = file::poll(fds).map_err(|e| setup("follow the container", e))?;
        if ended {
            return Ok(());
        }
        if late {
            let place = format!("config.json: annotations[{}]", annotation::WALL_TIME);
            return Err(Error::new("the time is over, and the container was killed").at(place).code(TIMED_OUT));
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
