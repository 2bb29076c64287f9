//! Follows a container in the foreground: forwards signals to it and relays its terminal, until it ends.

use super::container::Container;
use super::launch::setup;
use super::terminal::Relay;
use crate::Result;
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::{file, signal};
use std::os::fd::{AsFd, OwnedFd};

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
    let signals = signal::signalfd(blocked).map_err(|e| setup("listen for signals", e))?;
    let mut relay = container.master.take().map(Relay::new);
    loop {
        let [master, input] = relay.as_ref().map_or([None, None], Relay::descriptors);
        let fds = [Some(container.pidfd.as_fd()), Some(signals.as_fd()), master, input];
        let [ended, signal, output, input] = file::poll(fds).map_err(|e| setup("follow the container", e))?;
        if ended {
            return Ok(());
        }
        if signal {
            forward(container, &signals, relay.as_ref())?;
        }
        if let Some(relay) = &mut relay {
            relay.pass(output, input).map_err(|e| setup("relay the terminal", e))?;
        }
    }
}

fn forward(container: &mut Container, signals: &OwnedFd, relay: Option<&Relay>) -> Result<()> {
    match (signal::next(signals.as_fd()).map_err(|e| setup("read a signal", e))?, relay) {
        (libc::SIGCHLD, _) => container.keeper_failed()?,
        (libc::SIGWINCH, Some(relay)) => relay.resize(),
        // A container that has just ended needs no signal.
        (number, _) => pidfd_send_signal(container.pidfd.as_fd(), number).unwrap_or(()),
    }
    Ok(())
}
