//! SIGTERM, SIGINT, SIGHUP and SIGQUIT while a container is made. They are blocked then, so that nothing is left half made; whoever waits for something
//! waits for them too, and what was made goes again.

use super::launch::setup;
use crate::sys::{Errno, Result as SysResult, file, signal};
use crate::{Error, Result};
use std::cell::{Cell, OnceCell};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const NAMES: [(i32, &str); 4] =
    [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT"), (libc::SIGHUP, "SIGHUP"), (libc::SIGQUIT, "SIGQUIT")];

/// Listens from the first wait on; a signal that came before is heard too.
#[derive(Default)]
pub(super) struct Interrupt {
    signals: OnceCell<OwnedFd>,
    came: Cell<Option<i32>>,
}

/// That a launch was stopped, if this is a signal that stops one.
pub(super) fn before_start(number: i32) -> Option<Error> {
    stopped(number, |name| format!("stopped by {name} before the process could start"))
}

/// That something was stopped, and by which signal, if it is one of these.
pub(super) fn stopped(number: i32, what: impl FnOnce(&str) -> String) -> Option<Error> {
    let (_, name) = NAMES.into_iter().find(|(known, _)| *known == number && is_heard(number) != Ok(false))?;
    Some(Error::new(what(name)).code(128 + number as u8))
}

/// Whether this signal asks us to end, and is heard.
pub(super) fn ends(number: i32) -> bool {
    signal::asks_to_end(number) && is_heard(number) != Ok(false)
}

/// All that do.
pub(super) fn all() -> signal::Set {
    signal::Set::of(&NAMES.map(|(number, _)| number))
}

/// nohup(1), and a shell that starts something in the background, have them ignored; the kernel keeps also those that are blocked (signal(7)).
fn is_heard(number: i32) -> SysResult<bool> {
    signal::is_ignored(number).map(|ignored| !ignored)
}

impl Interrupt {
    /// What came before was for the container.
    pub fn from_now_on() -> Interrupt {
        let interrupt = Interrupt::default();
        while interrupt.or_wait(None, 0) == Err(Errno::EINTR) {}
        interrupt.came.set(None);
        interrupt
    }

    /// Waits until there is something to read, for about so many milliseconds (-1: without end); whether there is.
    ///
    /// # Errors
    /// EINTR: a signal came first.
    pub fn or_wait(&self, fd: Option<BorrowedFd>, milliseconds: i32) -> SysResult<bool> {
        self.or_either([fd, None], milliseconds).map(|[ready, _]| ready)
    }

    /// The same of two; which of them it is.
    pub fn or_either(&self, [one, other]: [Option<BorrowedFd>; 2], milliseconds: i32) -> SysResult<[bool; 2]> {
        let end = u64::try_from(milliseconds).ok().map(|time| Instant::now() + Duration::from_millis(time));
        loop {
            let left =
                end.map_or(-1, |end| end.saturating_duration_since(Instant::now()).as_millis().try_into().unwrap_or(i32::MAX));
            let [one, other, signalled] = file::poll_within([one, other, Some(self.listen()?)], left)?;
            if !signalled {
                return Ok([one, other]);
            }
            let number = signal::next(self.listen()?)?;
            if is_heard(number)? {
                self.came.set(Some(number));
                return Err(Errno::EINTR);
            }
        }
    }

    /// # Errors
    /// A signal has come, or comes at this moment.
    pub fn none(&self) -> Result<()> {
        match self.or_wait(None, 0) {
            Err(Errno::EINTR) => Err(Error::new("stopped")),
            done => done.map(drop).map_err(|e| setup("look for signals", e)),
        }
    }

    /// The error, or the signal that it comes of.
    pub fn explain(&self, error: Error) -> Error {
        if self.came.get().is_none() {
            // Who has sent it to all has ended what failed, and nobody has listened since.
            let _ = self.or_wait(None, 0);
        }
        self.came.get().and_then(before_start).unwrap_or(error)
    }

    /// Which has come.
    pub fn came(&self) -> Option<i32> {
        self.came.get()
    }

    fn listen(&self) -> SysResult<BorrowedFd<'_>> {
        if self.signals.get().is_none() {
            let signals = signal::signalfd(&all())?;
            self.signals.set(signals).map_err(|_| Errno::EEXIST)?;
        }
        self.signals.get().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }
}
