//! Sockets of the caller's: whoever listens there gets the master of the terminal, or a pidfd of the process.

use super::fault::describe;
use super::interrupt::Interrupt;
use crate::sys::{Errno, Result as SysResult, file, socket};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How often a listener is asked that has as many callers as it wants, and how many milliseconds lie between: 10 seconds in all.
const TRIES: usize = 500;
const PAUSE: i32 = 20;

/// Hands the master over.
///
/// # Errors
/// Nobody listens, or nobody takes it in time; or a signal came.
pub(super) fn send(path: &Path, master: BorrowedFd, interrupt: &Interrupt) -> Result<()> {
    hand(path, master, &[0], interrupt).map_err(|e| refused("the terminal", path, e))
}

/// Hands a pidfd over with the word that runc says: what kind of process it is.
///
/// # Errors
/// As [`send`].
pub(super) fn send_pidfd(path: &Path, pidfd: BorrowedFd, joins: bool, interrupt: &Interrupt) -> Result<()> {
    let kind: &[u8] = if joins { b"setns" } else { b"standard" };
    hand(path, pidfd, kind, interrupt).map_err(|e| refused("the pidfd", path, e).at("--pidfd-socket"))
}

fn hand(path: &Path, fd: BorrowedFd, bytes: &[u8], interrupt: &Interrupt) -> SysResult<()> {
    connect(path, interrupt).and_then(|socket| file::send_with_fds(socket.as_fd(), [fd], bytes))
}

fn refused(what: &str, path: &Path, errno: Errno) -> Error {
    let error = Error::new(format!("cannot send {what} to `{}`", path.display())).cause(describe(errno));
    match errno {
        Errno::EAGAIN => error.hint("its listener has accepted nobody for 10 seconds"),
        _ => error,
    }
}

fn connect(path: &Path, interrupt: &Interrupt) -> SysResult<OwnedFd> {
    for _ in 0..TRIES {
        match socket::unix(path, None) {
            // unix(7) has no better word for a backlog that is full, and nothing to wait on.
            Err(Errno::EAGAIN) => interrupt.or_wait(None, PAUSE).map(drop)?,
            done => return done,
        }
    }
    Err(Errno::EAGAIN)
}
