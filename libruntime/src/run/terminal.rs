//! The caller's side of the container's terminal: raw mode, and bytes both ways until the container ends.

use super::fault::describe;
use crate::Error;
use crate::sys::{Errno, Result, file, tty};
use nix::sys::termios::{self, OutputFlags, SetArg, Termios};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The master of the container's terminal, relayed to our own standard input and output.
pub(super) struct Relay {
    master: OwnedFd,
    /// Of our terminal, to be put back.
    cooked: Option<Termios>,
    input_ended: bool,
    /// Something that the container said is lost, and that was told.
    lost: bool,
}

impl Relay {
    /// Our own terminal, if there is one, becomes raw: every key is the container's.
    pub fn new(master: OwnedFd) -> Self {
        let stdin = std::io::stdin();
        let cooked = termios::tcgetattr(stdin.as_fd()).ok();
        if let Some(cooked) = &cooked {
            let mut raw = cooked.clone();
            termios::cfmakeraw(&mut raw);
            // A terminal that cannot be raw still shows what the container says.
            let _ = termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw);
        }
        if termios::tcgetattr(std::io::stdout()).is_err()
            && let Ok(mut plain) = termios::tcgetattr(&master)
        {
            // Into a file or a pipe lines go as they were written; where that cannot be had they end as a terminal's do.
            plain.output_flags.remove(OutputFlags::ONLCR);
            let _ = termios::tcsetattr(&master, SetArg::TCSANOW, &plain);
        }
        let relay = Relay { master, cooked, input_ended: false, lost: false };
        relay.resize();
        relay
    }

    /// What to poll: the master, and standard input until it ends.
    pub fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.master.as_fd()), (!self.input_ended).then(file::stdin)]
    }

    /// SIGWINCH: our terminal's size is the container's.
    pub fn resize(&self) {
        if let Ok((rows, columns)) = tty::size(file::stdin()) {
            let _ = tty::set_size(self.master.as_fd(), rows, columns);
        }
    }

    /// Passes on what poll(2) says can be read from the container (`output`) and from the caller (`input`).
    pub fn pass(&mut self, output: bool, input: bool) -> Result<()> {
        if output {
            self.output()?;
        }
        if input { self.input() } else { Ok(()) }
    }

    fn output(&mut self) -> Result<bool> {
        let mut buffer = [0; 4096];
        // EIO: nobody has the other end open any more (pty(7)).
        let n = file::read(self.master.as_fd(), &mut buffer).unwrap_or(0);
        match file::write_all(file::stdout(), &buffer[..n]) {
            // A reader that has gone away does not end the container.
            Ok(()) | Err(Errno::EPIPE) => {}
            Err(_) if self.lost => {}
            Err(errno) => {
                self.lost = true;
                Error::new("cannot write what the container says, and it is lost").cause(describe(errno)).warn();
            }
        }
        Ok(n > 0)
    }

    fn input(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        // What cannot be read has nothing more to say.
        let n = file::read(file::stdin(), &mut buffer).unwrap_or(0);
        if n == 0 {
            self.input_ended = true;
            // End of file, as a terminal says it.
            return file::write_all(self.master.as_fd(), &[4]);
        }
        file::write_all(self.master.as_fd(), &buffer[..n])
    }
}

impl Drop for Relay {
    /// The container has ended: what it said last is still to be shown.
    fn drop(&mut self) {
        while let (Ok([true]), Ok(true)) = (file::poll([Some(self.master.as_fd())]), self.output()) {}
        if let Some(cooked) = &self.cooked {
            let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, cooked);
        }
    }
}
