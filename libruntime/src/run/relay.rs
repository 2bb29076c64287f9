//! Standard streams that are Unix sockets of the caller's: the command has an end of a pair of codexrun's in the place of each, and codexrun
//! passes bytes on, without waiting. Descriptors pass in neither direction.

use super::attend::OURS;
use super::interrupt;
use crate::sys::file::{self, Ready};
use crate::sys::{Errno, Result, signal, socket};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

/// For each stream that is relayed the first one that is the same socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Relayed([Option<u8>; 3]);

impl Relayed {
    /// By the sockets' identities.
    pub fn of(sockets: [Option<u64>; 3]) -> Relayed {
        let first = |socket: u64| sockets.iter().position(|other| *other == Some(socket)).map(|at| at as u8);
        Relayed(sockets.map(|socket| socket.and_then(first)))
    }

    pub fn is_empty(self) -> bool {
        self == Relayed::default()
    }
}

/// The command's ends, before they are its streams.
#[derive(Default)]
pub(super) struct Inner {
    ends: [Option<OwnedFd>; 3],
    of: Relayed,
}

impl Inner {
    /// dup2(2), as the caller's were.
    pub fn become_streams(&self) -> Result<()> {
        (0..).zip(self.of.0).try_for_each(|(number, of)| {
            let end = of.and_then(|of| self.ends.get(usize::from(of))?.as_ref());
            end.map_or(Ok(()), |end| file::become_stdio_number(end.as_fd(), number))
        })
    }

    /// Whether standard error is none of the caller's.
    pub fn has_errors(&self) -> bool {
        self.of.0[2].is_some()
    }
}

/// Codexrun's ends. An array, as the child drops it: it may not free anything.
#[derive(Default)]
pub(super) struct Relay {
    pairs: [Option<Pair>; 3],
    /// We were asked to end, and so the rest is not waited for without end.
    hurried: bool,
}

/// How much is polled for each pair: input, output, and whether the caller's other end has gone.
const EACH: usize = 3;
pub(super) const POLLED: usize = 3 * EACH;
/// How long somebody who has stopped reading is waited for when we were asked to end, in milliseconds.
const PATIENCE: i32 = 1000;

/// A pair for each socket.
pub(super) fn open(of: Relayed) -> Result<(Relay, Inner)> {
    let (mut relay, mut inner) = (Relay::default(), Inner { of, ..Inner::default() });
    let streams = [file::stdin(), file::stdout(), file::stderr()];
    for (at, outer) in streams.into_iter().enumerate().filter(|(at, _)| of.0[*at] == Some(*at as u8)) {
        let (ours, end) = file::socketpair()?;
        relay.pairs[at] = Some(Pair::new(outer, ours, at == 0)?);
        inner.ends[at] = Some(end);
    }
    Ok((relay, inner))
}

impl Relay {
    /// What to poll.
    pub fn awaits(&self) -> [Option<(BorrowedFd<'_>, Ready)>; POLLED] {
        let mut all = [None; POLLED];
        for (each, pair) in all.chunks_exact_mut(EACH).zip(&self.pairs) {
            each.copy_from_slice(&pair.as_ref().map_or([None; EACH], Pair::awaits));
        }
        all
    }

    /// Passes on what poll(2) says is ready of what was [awaited](Self::awaits).
    pub fn pass(&mut self, ready: &[bool]) {
        for (ready, pair) in ready.chunks_exact(EACH).zip(&mut self.pairs) {
            if let (Some(pair), [input, output, gone]) = (pair, ready) {
                pair.pass(*input, *output, *gone);
            }
        }
    }

    /// Somebody asks us to end.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// The command has ended: what it has written until now is still delivered, and who else has its streams is not heard any more. A signal
    /// that asks us to end ends that at once, one that came before after a while in which nobody reads.
    pub fn last_words(mut self) -> Result<()> {
        self.pairs.iter_mut().flatten().for_each(Pair::count);
        let mut signals = None;
        // All speak, also when one of them waits.
        while self.pairs.iter_mut().flatten().map(Pair::speak).filter(|waits| *waits).count() > 0 {
            let signals = match &mut signals {
                Some(signals) => signals,
                none => none.insert(Waiting::new()?),
            };
            let mut fds = [None; 4];
            fds[0] = Some((signals.fd.as_fd(), Ready::In));
            for (fd, pair) in fds[1..].iter_mut().zip(&self.pairs) {
                *fd = pair.as_ref().filter(|pair| pair.output.waits()).map(|pair| (pair.outer, Ready::Out));
            }
            let ready = file::poll_for_each(fds, if self.hurried { PATIENCE } else { -1 })?;
            if ready[0] && interrupt::ends(signal::next(signals.fd.as_fd())?) || ready == [false; 4] {
                break;
            }
        }
        self.pairs.into_iter().flatten().for_each(Pair::close);
        Ok(())
    }
}

/// While we wait for a reader the terminal may stop us, as any program.
struct Waiting {
    fd: OwnedFd,
    mask: signal::Set,
}

impl Waiting {
    fn new() -> Result<Waiting> {
        let fd = signal::signalfd(&interrupt::all())?;
        let mask = signal::set_mask(&signal::Set::all_but(&[OURS, &[libc::SIGTSTP]].concat()))?;
        Ok(Waiting { fd, mask })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = signal::set_mask(&self.mask);
    }
}

/// One socket of the caller's, and what stands in its place.
struct Pair {
    outer: BorrowedFd<'static>,
    ours: OwnedFd,
    /// What the caller says. Only of standard input: what is sent by another stream is for whoever reads that.
    input: Way,
    /// What the command says.
    output: Way,
    /// Nobody has the caller's other end any more.
    gone: bool,
    /// The kernel does not keep the command from sending descriptors.
    lenient: bool,
}

impl Pair {
    fn new(outer: BorrowedFd<'static>, ours: OwnedFd, reads: bool) -> Result<Pair> {
        let lenient = match socket::refuse_descriptors(ours.as_fd()) {
            Err(Errno::ENOPROTOOPT) => true,
            other => other.map(|()| false)?,
        };
        if !reads {
            socket::say_no_more(ours.as_fd())?;
        }
        let input = Way { ended: !reads, ..Way::default() };
        Ok(Pair { outer, ours, input, output: Way::default(), gone: false, lenient })
    }

    fn awaits(&self) -> [Option<(BorrowedFd<'_>, Ready)>; EACH] {
        let ours = self.ours.as_fd();
        let lost = !self.gone && !self.output.ended && !self.output.waits();
        [self.input.awaits(self.outer, ours), self.output.awaits(ours, self.outer), lost.then_some((self.outer, Ready::Gone))]
    }

    fn pass(&mut self, input: bool, output: bool, gone: bool) {
        if gone {
            self.gone = true;
            self.hear_no_more();
        }
        if output && !self.output.ended {
            self.pass_output();
        }
        if input && !self.input.ended {
            self.pass_input();
        }
    }

    fn pass_input(&mut self) {
        let (from, ours) = (self.outer, self.ours.as_fd());
        if !self.input.waits() {
            match self.input.fill(|room| socket::receive_now(from, room)) {
                Ok(1..) => {}
                Err(Errno::EAGAIN) => return,
                Ok(0) | Err(_) => {
                    self.input.ended = true;
                    // The command reads its end, or has gone.
                    let _ = socket::say_no_more(ours);
                    return;
                }
            }
        }
        // It reads no more: what is left is nobody's.
        if self.input.drain(ours).is_err() {
            self.input.end();
        }
    }

    fn pass_output(&mut self) {
        if !self.output.waits() {
            match self.hear(usize::MAX) {
                Ok(1..) => {}
                Err(Errno::EAGAIN) => return,
                // Of what it sends by a descriptor's side nothing is taken.
                Err(Errno::EPERM) => return self.hear_no_more(),
                Ok(0) | Err(_) => return self.output.end(),
            }
        }
        if self.output.drain(self.outer).is_err() {
            self.hear_no_more();
        }
    }

    /// Reads what the command says.
    ///
    /// # Errors
    /// EPERM: a descriptor comes with it. Whoever takes it closes it, and for how long that may wait its sender decides (socket(7), SO_LINGER).
    fn hear(&mut self, most: usize) -> Result<usize> {
        let (ours, lenient) = (self.ours.as_fd(), self.lenient);
        self.output.fill(|room| {
            let mut most = most.min(room.len());
            if lenient {
                let (sure, descriptor) = socket::look_ahead(ours, &mut room[..most])?;
                if descriptor {
                    return Err(Errno::EPERM);
                }
                most = sure;
            }
            socket::receive_now(ours, &mut room[..most])
        })
    }

    /// Nobody is there to hear the command: it is told EPIPE, as it would be by the caller's socket.
    fn hear_no_more(&mut self) {
        self.output.end();
        let _ = socket::hear_no_more(self.ours.as_fd());
    }

    /// The command has ended: only what it has said so far is to be delivered.
    fn count(&mut self) {
        let left = if self.output.ended { 0 } else { socket::unread(self.ours.as_fd()).unwrap_or(0) };
        self.output.left = Some(left);
    }

    /// Delivers of that what there is room for; whether there is more.
    fn speak(&mut self) -> bool {
        loop {
            if self.output.waits() {
                if self.output.drain(self.outer).is_err() {
                    self.hear_no_more();
                }
                if self.output.waits() {
                    return true;
                }
            }
            let left = self.output.left.unwrap_or(0);
            match self.hear(left) {
                Ok(read @ 1..) => self.output.left = Some(left.saturating_sub(read)),
                Ok(0) | Err(_) => return false,
            }
        }
    }

    /// A descriptor that nobody has taken is not to be closed by us, but with us.
    fn close(self) {
        if self.lenient {
            let _ = file::hang_up(self.ours.as_fd());
            let _ = self.ours.into_raw_fd();
        }
    }
}

/// Bytes that were read and are still to be written.
#[derive(Default)]
struct Way {
    bytes: Vec<u8>,
    at: Range<usize>,
    /// Nothing more is read.
    ended: bool,
    /// What is still to be read of somebody who has ended.
    left: Option<usize>,
}

/// Bytes of a direction that lie with us.
const ROOM: usize = 64 << 10;

impl Way {
    fn waits(&self) -> bool {
        !self.at.is_empty()
    }

    /// Who has something to say or, when that was said, who is to hear it.
    fn awaits<'a>(&self, from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Option<(BorrowedFd<'a>, Ready)> {
        if self.waits() { Some((to, Ready::Out)) } else { (!self.ended).then_some((from, Ready::In)) }
    }

    fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<usize> {
        self.bytes.resize(ROOM, 0);
        let length = read(&mut self.bytes)?;
        self.at = 0..length;
        Ok(length)
    }

    /// Writes what there is room for.
    fn drain(&mut self, to: BorrowedFd) -> Result<()> {
        match socket::send_now(to, &self.bytes[self.at.clone()]) {
            Ok(sent) => self.at.start += sent,
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }

    fn end(&mut self) {
        (self.ended, self.at) = (true, 0..0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A pair whose outer end, kept for good, is not one of our streams; the caller's end, and the command's.
    fn pair(lenient: bool) -> (Pair, UnixStream, UnixStream) {
        let ((outer, caller), (ours, command)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let outer: &'static UnixStream = Box::leak(Box::new(outer));
        let pair = Pair::new(outer.as_fd(), ours.into(), true).unwrap();
        (Pair { lenient, ..pair }, caller, command)
    }

    #[test]
    fn the_same_socket_is_relayed_once() {
        let of = |sockets| Relayed::of(sockets).0;
        assert_eq!(of([Some(7), Some(7), Some(7)]), [Some(0); 3]);
        assert_eq!(of([None, Some(7), Some(7)]), [None, Some(1), Some(1)]);
        assert_eq!(of([Some(7), Some(8), Some(7)]), [Some(0), Some(1), Some(0)]);
        assert!(Relayed::of([None; 3]).is_empty() && !Relayed::of([None, None, Some(1)]).is_empty());
    }

    /// As before Linux 6.16: what comes with a descriptor is left where it is, and so is the descriptor, which nobody then has to close.
    #[test]
    fn a_descriptor_ends_the_stream_of_who_sends_it() {
        let (mut relay, mut caller, mut command) = pair(true);
        // SO_PASSRIGHTS is on again: an older kernel has none.
        let (ours, end) = file::socketpair().unwrap();
        (relay.ours, command) = (ours, {
            drop(command);
            end.into()
        });
        command.write_all(b"before").unwrap();
        relay.pass(false, true, false);
        let mut six = [0; 6];
        caller.read_exact(&mut six).unwrap();
        assert_eq!(&six, b"before");
        command.write_all(b"more").unwrap();
        file::send_with_fds(command.as_fd(), [file::stdin()], b"with").unwrap();
        relay.pass(false, true, false);
        assert_eq!(command.write_all(b"after").unwrap_err().raw_os_error(), Some(libc::EPIPE));
        assert!(relay.output.ended && socket::unread(relay.ours.as_fd()) == Ok(8), "it is not taken");
    }

    #[test]
    fn nothing_is_read_that_is_not_written_yet() {
        let (mut relay, mut caller, command) = pair(false);
        command.set_nonblocking(true).unwrap();
        caller.set_nonblocking(true).unwrap();
        let block = [1; 4096];
        let (mut sent, mut idle) = (0, 0);
        while idle < 3 {
            match caller.write(&block) {
                Ok(n) => (sent, idle) = (sent + n, 0),
                Err(_) => idle += 1,
            }
            relay.pass(true, false, false);
        }
        assert!(relay.input.waits() && relay.input.at.len() <= ROOM && relay.input.bytes.len() == ROOM);
        assert!(matches!(relay.awaits()[0], Some((_, Ready::Out))));
        drop(caller);
        let (mut heard, mut bytes) = (0, [0; 8192]);
        while heard < sent {
            heard += (&command).read(&mut bytes).unwrap_or(0);
            relay.pass(true, false, false);
        }
        relay.pass(true, false, false);
        assert_eq!((heard, (&command).read(&mut bytes).unwrap(), relay.input.ended), (sent, 0, true));
    }
}
