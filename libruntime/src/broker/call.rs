//! One call: which it is, and the answer.

use super::{Office, book, patience, ruleset};
use crate::sys::notify::{self, Asked};
use crate::sys::pidfd::{pidfd_getfd, pidfd_open, pidfd_open_thread};
use crate::sys::process::Pid;
use crate::sys::{Errno, Result, file, signal, socket};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// A call that waits for its answer, and where that goes.
pub(super) struct Call<'a> {
    pub listener: &'a Rc<OwnedFd>,
    pub asked: Asked,
}

/// An interface into the kernel by its AUDIT_ARCH_*: bytes of a word, and the numbers of socket(2), connect(2), sendto(2), sendmsg(2),
/// sendmmsg(2), landlock_create_ruleset(2) and listen(2). i386's socketcall(2) is none: its arguments are in memory, and the filter refuses it.
const CALLS: &[(u32, usize, [i32; 7])] = &[
    (0xc000_003e, 8, [41, 42, 44, 46, 307, 444, 50]),      // x86-64
    (0x4000_0003, 4, [359, 362, 369, 370, 345, 444, 363]), // i386
    (0xc000_00b7, 8, [198, 203, 206, 211, 269, 444, 201]), // aarch64
    (0x4000_0028, 4, [281, 283, 290, 296, 374, 444, 284]), // arm
    (0xc000_00f3, 8, [198, 203, 206, 211, 269, 444, 201]), // riscv64
];

impl Office {
    /// Answers one call, now or by a process that waits for it.
    ///
    /// # Errors
    /// It could not be answered, and waits; the end of the broker is its answer.
    pub(super) fn answer(&self, call: &Call) -> Result<()> {
        let interface = CALLS.iter().find(|(arch, ..)| *arch == call.asked.arch);
        let number = interface.and_then(|(.., calls)| calls.iter().position(|number| *number == call.asked.number));
        let word = interface.map_or(0, |(_, word, _)| *word);
        let answered = match number {
            Some(0) => socket(call),
            Some(1) => self.connect(call),
            Some(2) => self.send_to(call),
            Some(3) => self.send_message(call, word),
            Some(4) => self.send_messages(call, word),
            Some(5) => ruleset::make(call),
            Some(6) => self.listen(call),
            _ => Err(Errno::EPERM),
        };
        match answered {
            Ok(Answer::Given) => Ok(()),
            Ok(Answer::Done(value)) => call.say(Ok(value)),
            Err(errno) => call.say(Err(errno as i32)),
        }
    }

    /// A socket of the host's listens to nobody, unless it was handed in as a listener.
    fn listen(&self, call: &Call) -> Result<Answer> {
        let [fd, waiting] = [0, 1].map(|n| call.asked.args[n] as i32);
        let socket = Duplicate::of(owner(call.asked.thread)?.as_fd(), fd)?;
        if self.is_from_outside(socket.as_fd())? && !socket::listens(socket.as_fd())? {
            return Err(Errno::EPERM);
        }
        if !call.still_waits()? {
            return Ok(Answer::Given);
        }
        socket::listen(socket.as_fd(), waiting).map(|()| Answer::Done(0))
    }

    fn connect(&self, call: &Call) -> Result<Answer> {
        let [fd, length] = [0, 2].map(|n| call.asked.args[n] as i32);
        let socket = Duplicate::of(owner(call.asked.thread)?.as_fd(), fd)?;
        let address = super::message::address(call.asked.thread, call.asked.args[1], length)?;
        let target = self.target(call.asked.thread, socket.as_fd(), address)?;
        // From here on it is certain that all of this was the caller's.
        if !call.still_waits()? {
            return Ok(Answer::Given);
        }
        let connect = || socket::connect_as_written(socket.as_fd(), &target.address);
        let connected = for_a_moment(connect);
        if let Some(book) = self.grants.book() {
            // Nobody's entry is no reason to fail a connection that is there.
            let _ = book::note(book, call, socket.as_fd(), &target.address);
        }
        match connected {
            Err(Errno::EINTR) => {
                let family = socket::domain(socket.as_fd())?;
                let over = if family == libc::AF_UNIX { Errno::EAGAIN } else { Errno::EINPROGRESS };
                let limit = patience::Limit::of(socket.as_fd(), over)?;
                self.patiently(call, 0, &limit, |_| begun(connect()).map(|()| 0), Ok)
            }
            connected => connected.map(|()| Answer::Done(0)),
        }
    }
}

/// A connection of TCP that we have begun ourselves, and whose time (SO_SNDTIMEO) is over, says EALREADY to who goes on waiting for it.
fn begun(connected: Result<()>) -> Result<()> {
    connected.map_err(|errno| if errno == Errno::EALREADY { Errno::EINPROGRESS } else { errno })
}

impl Call<'_> {
    pub fn say(&self, with: std::result::Result<i64, i32>) -> Result<()> {
        match notify::answer(self.listener.as_fd(), self.asked.id, with) {
            // The caller was killed, and needs no answer.
            Err(Errno::ENOENT) => Ok(()),
            said => said,
        }
    }

    pub fn still_waits(&self) -> Result<bool> {
        notify::still_waits(self.listener.as_fd(), self.asked.id)
    }
}

/// What became of a call.
pub(super) enum Answer {
    /// It has been answered, or will be by another process.
    Given,
    /// It has succeeded, and returns this.
    Done(i64),
}

/// A socket of the sandbox's own namespace, in which the host has none. Which kinds there are the filter says.
fn socket(call: &Call) -> Result<Answer> {
    let [family, kind, protocol] = [0, 1, 2].map(|n| call.asked.args[n] as i32);
    let plain = kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    if family != libc::AF_UNIX || ![libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET].contains(&plain) {
        return Err(Errno::EPERM);
    }
    let made = socket::unix_socket(kind | libc::SOCK_CLOEXEC, protocol)?;
    notify::answer_with_fd(call.listener.as_fd(), call.asked.id, made.as_fd(), kind & libc::SOCK_CLOEXEC != 0)?;
    Ok(Answer::Given)
}

/// The process, or the thread, whose descriptors they are.
pub(super) fn owner(thread: Pid) -> Result<OwnedFd> {
    match pidfd_open_thread(nix::unistd::Pid::from_raw(thread)) {
        Err(Errno::EINVAL) => pidfd_open(nix::unistd::Pid::from_raw(patience::Status::of(thread)?.process)),
        opened => opened,
    }
}

/// Milliseconds for which others may be held up.
const MOMENT: u32 = 2;

/// EINTR: it waits. Whether it will nobody can know before: that is of the socket's open file, which the caller may change at any time.
fn for_a_moment<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = signal::interrupt_every(MOMENT)?;
    let done = call();
    signal::interrupt_every(before)?;
    done
}

/// Our duplicate of a descriptor of the caller's. As the last of its kind its close(2) may linger (SO_LINGER, socket(7)), until a signal.
pub(super) struct Duplicate(ManuallyDrop<OwnedFd>);

impl Duplicate {
    pub fn of(owner: BorrowedFd, fd: i32) -> Result<Duplicate> {
        pidfd_getfd(owner, fd).map(ManuallyDrop::new).map(Duplicate)
    }
}

impl AsFd for Duplicate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Duplicate {
    fn drop(&mut self) {
        // EINTR: it is closed all the same.
        let _ = for_a_moment(|| file::close_copy(self.0.as_fd()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{self, Cloned};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::time::{Duration, Instant};

    /// A connection whose close(2) waits for ten seconds for what nobody reads.
    fn lingering(to: &TcpListener) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(to.local_addr()?)?;
        stream.set_nonblocking(true)?;
        while stream.write(&[0; 65536]).is_ok() {}
        stream.set_nonblocking(false)?;
        Ok(socket::linger(stream.as_fd(), true, 10).map(|()| stream)?)
    }

    fn closed_in(to: &TcpListener) -> Result<Duration> {
        let stream = lingering(to).map_err(super::super::errno)?;
        let me = pidfd_open(nix::unistd::Pid::this())?;
        let duplicate = Duplicate::of(me.as_fd(), stream.as_raw_fd())?;
        drop(stream);
        let began = Instant::now();
        drop(duplicate);
        Ok(began.elapsed())
    }

    /// In a process of its own, as the signal that ends the wait is one of the process's.
    #[test]
    fn the_last_descriptor_of_a_socket_that_lingers_is_closed_in_a_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        match process::clone(0).unwrap() {
            Cloned::Child => process::exit(match closed_in(&listener) {
                Ok(took) => i32::from(took > Duration::from_secs(2)),
                Err(_) => 2,
            }),
            Cloned::Parent(child, _) => {
                let ended = process::wait(child, 0).unwrap().map(|(_, how)| how);
                assert_eq!(ended, Some(process::Ended::Exited(0)), "1: it waited, 2: it could not be tried");
            }
        }
    }
}
