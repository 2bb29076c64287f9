//! The caller's side of the container's terminal: raw mode, and bytes both ways until the container ends. It never waits for either side
//! by reading or writing: whoever floods the terminal, or does not read, keeps no signal and no timer from being heard.

use super::fault::describe;
use crate::Error;
use crate::sys::file::{self, Ready};
use crate::sys::{Errno, Result, signal, tty};
use nix::sys::termios::{self, OutputFlags, SetArg, Termios};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The master of the container's terminal, relayed to our own standard input and output.
pub(super) struct Relay {
    master: OwnedFd,
    /// The container may close its terminal and open it again; as long as we have it open it is not at its end meanwhile, which poll(2)
    /// would tell us without a pause.
    _open: Option<OwnedFd>,
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
    /// Reads once; how much there was. What cannot be read has nothing more to say, such as a terminal that nobody has open (EIO).
    fn fill(&mut self, from: BorrowedFd) -> usize {
        self.bytes.resize(libc::PIPE_BUF, 0);
        let read = file::read(from, &mut self.bytes).unwrap_or(0);
        self.bytes.truncate(read);
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
        } else if let Ok(mut plain) = termios::tcgetattr(&master) {
            // Into a file or a pipe lines go as they were written; where that cannot be had they end as a terminal's do.
            plain.output_flags.remove(OutputFlags::ONLCR);
            let _ = termios::tcsetattr(&master, SetArg::TCSANOW, &plain);
        }
        file::set_nonblocking(master.as_fd())?;
        let (output, input) = (Pending::default(), Pending::default());
        let relay = Relay {
            _open: tty::peer(master.as_fd()).ok(),
            master,
            screen,
            cooked,
            output,
            input,
            input_ended: false,
            lost: false,
        };
        relay.resize();
        Ok(relay)
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
        if let Ok((rows, columns)) = tty::size(file::stdin()) {
            let _ = tty::set_size(self.master.as_fd(), rows, columns);
        }
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
            self.output.fill(self.master.as_fd());
        } else {
            let screen = self.screen.as_ref().map_or(file::stdout(), AsFd::as_fd);
            match self.output.drain(screen) {
                // A reader that has gone away does not end the container.
                Ok(()) | Err(Errno::EPIPE) => {}
                Err(_) if self.lost => {}
                Err(errno) => {
                    self.lost = true;
                    Error::new("cannot write what the container says, and it is lost").cause(describe(errno)).warn();
                }
            }
        }
    }

    fn pass_input(&mut self) -> Result<()> {
        if !self.input.bytes.is_empty() {
            return self.input.drain(self.master.as_fd());
        }
        if self.input.fill(file::stdin()) == 0 {
            self.input_ended = true;
            // End of file, as a terminal says it.
            self.input.bytes.push(4);
        }
        Ok(())
    }

    /// The container has ended: what it said last is still to be shown. Who asks us to end, or has `asked`, is not kept waiting for a
    /// reader that does not read.
    pub fn last_words(mut self, signals: BorrowedFd, mut asked: bool) -> Result<()> {
        let mut most = LAST_WORDS;
        loop {
            if self.output.bytes.is_empty() && file::poll_within([Some(self.master.as_fd())], 0)? == [true] {
                most = most.saturating_sub(self.output.fill(self.master.as_fd()));
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
