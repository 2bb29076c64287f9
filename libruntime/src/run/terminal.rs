//! The caller's side of the container's terminal: raw mode, and bytes both ways until the container ends. It never waits for either side
//! by reading or writing: whoever floods the terminal, or does not read, keeps no signal and no timer from being heard.

use super::fault::describe;
use crate::Error;
use crate::sys::file::{self, Ready};
use crate::sys::{Errno, Result, signal, tty};
use nix::sys::termios::{self, OutputFlags, SetArg, Termios};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What asks for one.
pub(super) const PLACE: &str = "config.json: process.terminal";

/// The master of the container's terminal, relayed to our own standard input and output.
pub(super) struct Relay {
    master: OwnedFd,
    /// The container may close its terminal and open it again; as long as we have it open it is not at its end meanwhile, which poll(2)
    /// would tell us without a pause.
    peer: Option<OwnedFd>,
    /// Standard output when it is a terminal, by a description of our own: that it does not wait is nobody else's affair.
    screen: Option<OwnedFd>,
    /// Of our terminal, to be put back.
    cooked: Option<Termios>,
    output: Pending,
    input: Pending,
    input_ended: bool,
    /// Something that the container said is lost, and that was told.
    lost: bool,
}

/// Bytes that were read and are still to be written: at most what a pipe takes at once (pipe(7), PIPE_BUF).
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
}

/// More than a terminal holds: who goes on writing to it when the container has ended is not waited for.
const LAST_WORDS: usize = 1 << 20;
/// How long a reader that has stopped reading is waited for when we were asked to end, in milliseconds.
const PATIENCE: i32 = 1000;

impl Pending {
    /// Reads once; how much there was.
    fn fill(&mut self, from: BorrowedFd) -> Result<usize> {
        self.bytes.resize(libc::PIPE_BUF, 0);
        let read = file::read(from, &mut self.bytes);
        self.bytes.truncate(read.unwrap_or(0));
        read
    }

    /// Writes once.
    fn drain(&mut self, to: BorrowedFd) -> Result<()> {
        match file::write_some(to, &self.bytes) {
            Ok(written) => drop(self.bytes.drain(..written)),
            Err(Errno::EAGAIN) => {}
            Err(e) => {
                self.bytes.clear();
                return Err(e);
            }
        }
        Ok(())
    }
}

/// The master as soon as we have it: the program, which may speak before anybody relays it, is to find the terminal as it will stay.
pub(super) fn prepare(master: BorrowedFd) -> Result<()> {
    if termios::tcgetattr(std::io::stdout()).is_err() {
        plain(master)?;
    }
    resize(master);
    Ok(())
}

/// Into a file or a pipe lines go as they were written.
fn plain(master: BorrowedFd) -> Result<()> {
    let mut plain = termios::tcgetattr(master)?;
    plain.output_flags.remove(OutputFlags::ONLCR);
    termios::tcsetattr(master, SetArg::TCSANOW, &plain)
}

fn resize(master: BorrowedFd) {
    if let Ok((rows, columns)) = tty::size(file::stdin()) {
        let _ = tty::set_size(master, rows, columns);
    }
}

impl Relay {
    /// Our own terminal, if there is one, becomes raw: every key is the container's.
    pub fn new(master: OwnedFd) -> Result<Self> {
        let stdin = std::io::stdin();
        let cooked = termios::tcgetattr(stdin.as_fd()).ok();
        if let Some(cooked) = &cooked {
            let mut raw = cooked.clone();
            termios::cfmakeraw(&mut raw);
            // A terminal that cannot be raw still shows what the container says.
            let _ = termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw);
        }
        let mut screen = None;
        if termios::tcgetattr(std::io::stdout()).is_ok() {
            let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
            screen = file::open_at(file::cwd(), c"/proc/self/fd/1", flags).ok();
        }
        file::set_nonblocking(master.as_fd())?;
        let (output, input) = (Pending::default(), Pending::default());
        Ok(Relay { peer: tty::peer(master.as_fd()).ok(), master, screen, cooked, output, input, input_ended: false, lost: false })
    }

    /// What to poll: for output and for input, who has something to say or, when that was said, who is to hear it.
    pub fn awaits(&self) -> [Option<(BorrowedFd<'_>, Ready)>; 2] {
        let output = if self.output.bytes.is_empty() { (self.master.as_fd(), Ready::In) } else { (self.screen(), Ready::Out) };
        let input = match self.input.bytes.is_empty() {
            true => (!self.input_ended).then(|| (file::stdin(), Ready::In)),
            false => Some((self.master.as_fd(), Ready::Out)),
        };
        [Some(output), input]
    }

    fn screen(&self) -> BorrowedFd<'_> {
        self.screen.as_ref().map_or(file::stdout(), AsFd::as_fd)
    }

    /// SIGWINCH: our terminal's size is the container's.
    pub fn resize(&self) {
        resize(self.master.as_fd());
    }

    /// Passes on what poll(2) says is ready of what was [awaited](Self::awaits).
    pub fn pass(&mut self, output: bool, input: bool) -> Result<()> {
        if output {
            self.pass_output();
        }
        if input { self.pass_input() } else { Ok(()) }
    }

    fn pass_output(&mut self) {
        if self.output.bytes.is_empty() {
            // What could not be read is still there.
            let _ = self.output.fill(self.master.as_fd());
            return;
        }
        let screen = self.screen.as_ref().map_or(file::stdout(), AsFd::as_fd);
        match self.output.drain(screen) {
            // A reader that has gone away does not end the container.
            Ok(()) | Err(Errno::EPIPE) => {}
            Err(errno) => self.lose("write", errno),
        }
    }

    /// Told once.
    fn lose(&mut self, what: &str, errno: Errno) {
        if !std::mem::replace(&mut self.lost, true) {
            Error::new(format!("cannot {what} what the container says, and it is lost")).cause(describe(errno)).warn();
        }
    }

    fn pass_input(&mut self) -> Result<()> {
        if !self.input.bytes.is_empty() {
            return self.input.drain(self.master.as_fd());
        }
        match self.input.fill(file::stdin()) {
            // Others may read it too.
            Ok(1..) | Err(Errno::EAGAIN) => {}
            Ok(0) | Err(_) => {
                self.input_ended = true;
                // End of file, as a terminal says it.
                self.input.bytes.push(4);
            }
        }
        Ok(())
    }

    /// The container has ended: what it said last is still to be shown. Who asks us to end, or has `asked`, is not kept waiting for a
    /// reader that does not read.
    pub fn last_words(mut self, signals: BorrowedFd, mut asked: bool) -> Result<()> {
        let mut most = LAST_WORDS;
        loop {
            if self.output.bytes.is_empty() && file::poll_within([Some(self.master.as_fd())], 0)? == [true] {
                match self.output.fill(self.master.as_fd()) {
                    Ok(read) => most = most.saturating_sub(read),
                    Err(Errno::EAGAIN) => continue,
                    // Nobody has it open any more, not even we.
                    Err(Errno::EIO) if self.peer.is_none() => {}
                    Err(errno) => self.lose("read", errno),
                }
            }
            if self.output.bytes.is_empty() || most == 0 {
                return Ok(());
            }
            let fds = [Some((self.screen(), Ready::Out)), Some((signals, Ready::In))];
            match file::poll_for_each(fds, if asked { PATIENCE } else { -1 })? {
                [true, _] => self.pass_output(),
                [false, true] => asked |= signal::asks_to_end(signal::next(signals)?),
                [false, false] => return Ok(()),
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(cooked) = &self.cooked {
            let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, cooked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_cannot_be_prepared_is_told() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(plain(null.as_fd()), Err(Errno::ENOTTY));
    }
}
