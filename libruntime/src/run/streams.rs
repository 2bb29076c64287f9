//! The caller's streams as they were. What runs in the foreground has them: it may leave a terminal without echo, stopped or shut to others, and a file that whoever
//! reads it next does not wait for (O_NONBLOCK is of the open file, not of the descriptor; open(2)).

use crate::sys::{file, tty};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{self, FlowArg, SetArg, Termios};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::os::fd::BorrowedFd;

/// How they were; dropped, they are so again.
pub(super) struct Streams([Stream; 3]);

struct Stream {
    fd: BorrowedFd<'static>,
    flags: Option<OFlag>,
    modes: Option<Termios>,
    /// A terminal that others may open (TIOCEXCL).
    shared: bool,
}

impl Streams {
    pub fn now() -> Streams {
        Streams([file::stdin(), file::stdout(), file::stderr()].map(|fd| {
            let (flags, modes) = (fcntl(fd, FcntlArg::F_GETFL), termios::tcgetattr(fd).ok());
            let shared = modes.is_some() && tty::is_exclusive(fd) == Ok(false);
            Stream { fd, flags: flags.ok().map(OFlag::from_bits_retain), modes, shared }
        }))
    }
}

impl Stream {
    /// What cannot be restored has gone, or is somebody else's by now.
    fn restore(&self) {
        if let Some(flags) = self.flags {
            let _ = fcntl(self.fd, FcntlArg::F_SETFL(flags));
        }
        if let Some(modes) = self.modes.as_ref().filter(|_| is_ours(self.fd)) {
            // Before anything is written there, also by tcsetattr(3), which may wait for it.
            let _ = termios::tcflow(self.fd, FlowArg::TCOON);
            let _ = termios::tcsetattr(self.fd, SetArg::TCSANOW, modes);
            if self.shared {
                let _ = tty::share(self.fd);
            }
        }
    }
}

/// In the background it is set as a shell, or another program, needs it; and SIGTTOU would stop us.
fn is_ours(terminal: BorrowedFd) -> bool {
    match tcgetpgrp(terminal) {
        Ok(foreground) => foreground == getpgrp(),
        // Of another session, or of none: nobody's job is controlled by it.
        Err(errno) => errno == Errno::ENOTTY,
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.0.iter().for_each(Stream::restore);
    }
}
