//! The console socket: whoever listens there gets the master of the container's terminal.

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
    let sent = connect(path, interrupt).and_then(|socket| file::send_fd(socket.as_fd(), master, 0));
    sent.map_err(|e| {
        let error = Error::new(format!("cannot send the terminal to `{}`", path.display())).cause(describe(e));
        match e {
            Errno::EAGAIN => error.hint("its listener has accepted nobody for 10 seconds"),
            _ => error,
        }
    })
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
