//! sendto(2), sendmsg(2) and sendmmsg(2), where there are Unix datagrams: performed with the caller's socket, and to no other name than
//! connect(2) would reach.

use super::Office;
use super::call::{Answer, Call, Duplicate, owner};
use super::message::{Message, Sender};
use super::patience::Limit;
use super::target::Target;
use super::whose::messages;
use crate::sys::notify::write_memory;
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::process::Pid;
use crate::sys::{Errno, Result, socket};
use std::os::fd::{AsFd, OwnedFd};

/// Messages of one sendmmsg(2): the call may send fewer than it was given.
const MOST: u64 = 64;
/// NETLINK_ROUTE: libc asks for addresses by it (getaddrinfo(3)). Others have more to do with who sends.
const ROUTE: i32 = 0;
/// RTM_GETLINK, GETADDR, GETROUTE, GETNEIGH, GETRULE. Others name processes and descriptors (RTM_GETNSID), which would be ours.
const LISTS: &[u16] = &[18, 22, 26, 30, 34];
/// TCP Fast Open connects, and whoever is told that it is not there does so by connect(2); what is sent without a copy would be of our memory.
const REFUSED: i32 = libc::MSG_FASTOPEN | libc::MSG_ZEROCOPY;

/// The caller's end of it.
struct Line {
    thread: Pid,
    owner: OwnedFd,
    socket: Duplicate,
    family: i32,
    stream: bool,
    flags: i32,
}

impl Line {
    fn of(call: &Call, flags: i32) -> Result<Line> {
        let owner = owner(call.asked.thread)?;
        let socket = Duplicate::of(owner.as_fd(), call.asked.args[0] as i32)?;
        let family = socket::domain(socket.as_fd())?;
        match family {
            libc::AF_UNIX | libc::AF_INET | libc::AF_INET6 => {}
            libc::AF_NETLINK if socket::protocol(socket.as_fd())? == ROUTE => {}
            _ => return Err(Errno::EPERM),
        }
        if flags & REFUSED != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let stream = socket::kind(socket.as_fd())? == libc::SOCK_STREAM;
        Ok(Line { thread: call.asked.thread, owner, socket, family, stream, flags })
    }

    fn sender(&self) -> Sender<'_> {
        Sender { thread: self.thread, owner: self.owner.as_fd(), family: self.family, stream: self.stream }
    }

    /// Whether the caller wants to wait until there is room.
    fn waits(&self) -> Result<bool> {
        Ok(self.flags & libc::MSG_DONTWAIT == 0 && socket::waits(self.socket.as_fd())?)
    }

    /// Sends what is left of a message. SIGPIPE is the caller's.
    fn send(&self, message: &Message, to: &Target, sent: i64, flags: i32) -> Result<i64> {
        let (data, control) = (&message.data[sent as usize..], if sent == 0 { message.control.as_slice() } else { &[] });
        let flags = self.flags | flags | libc::MSG_NOSIGNAL;
        let now = socket::send_message(self.socket.as_fd(), &to.address, data, control, flags);
        if now == Err(Errno::EPIPE) && self.stream && sent == 0 && self.flags & libc::MSG_NOSIGNAL == 0 {
            pidfd_send_signal(self.owner.as_fd(), libc::SIGPIPE)?;
        }
        Ok(sent + now? as i64)
    }

    fn is_all(&self, message: &Message, sent: i64) -> bool {
        !self.stream || sent as usize == message.data.len()
    }
}

impl Office {
    pub(super) fn send_to(&self, call: &Call) -> Result<Answer> {
        let [_, data, length, flags, name, size] = call.asked.args;
        let line = Line::of(call, flags as i32)?;
        let message = Message::plain(&line.sender(), (name, size), (data, length))?;
        self.send(call, &line, message, Ok)
    }

    pub(super) fn send_message(&self, call: &Call, word: usize) -> Result<Answer> {
        let line = Line::of(call, call.asked.args[2] as i32)?;
        let message = Message::read(&line.sender(), call.asked.args[1], word)?;
        self.send(call, &line, message, Ok)
    }

    /// As many as can be sent without waiting; the first may wait.
    pub(super) fn send_messages(&self, call: &Call, word: usize) -> Result<Answer> {
        let mut line = Line::of(call, call.asked.args[3] as i32)?;
        // struct mmsghdr: a struct msghdr, and how much of it was sent.
        let (header, stride) = (7 * word as u64, 8 * word as u64);
        let count = u64::from(call.asked.args[2] as u32).min(MOST);
        for n in 0..count {
            let at = call.asked.args[1].wrapping_add(n * stride);
            let thread = call.asked.thread;
            let told = move |sent: i64| write_memory(thread, at.wrapping_add(header), &(sent as u32).to_ne_bytes());
            let sent = Message::read(&line.sender(), at, word)
                .and_then(|message| self.send(call, &line, message, move |sent| told(sent).map(|()| 1)));
            match sent {
                Ok(Answer::Done(_)) => line.flags |= libc::MSG_DONTWAIT,
                other if n == 0 => return other,
                Ok(Answer::Given) | Err(_) => return Ok(Answer::Done(n as i64)),
            }
        }
        Ok(Answer::Done(count as i64))
    }

    /// Sends one message; `finish` makes of its length what the call returns.
    fn send(&self, call: &Call, line: &Line, message: Message, finish: impl FnOnce(i64) -> Result<i64>) -> Result<Answer> {
        if line.family == libc::AF_NETLINK && !messages(&message.data).all(|(kind, _)| LISTS.contains(&kind)) {
            return Err(Errno::EPERM);
        }
        let to = match message.name.is_empty() {
            true => Target::none(),
            false => self.target(call.asked.thread, line.socket.as_fd(), message.name.clone())?,
        };
        // From here on it is certain that all of this was the caller's.
        if !call.still_waits()? {
            return Ok(Answer::Given);
        }
        let sent = match line.send(&message, &to, 0, libc::MSG_DONTWAIT) {
            Ok(sent) if line.is_all(&message, sent) || !line.waits()? => return finish(sent).map(Answer::Done),
            Err(Errno::EAGAIN) if line.waits()? => 0,
            other => other?,
        };
        let rest = |done: &mut i64| {
            *done = (*done).max(sent);
            loop {
                *done = line.send(&message, &to, *done, 0)?;
                if line.is_all(&message, *done) {
                    return Ok(*done);
                }
            }
        };
        let limit = Limit::of(line.socket.as_fd(), Errno::EAGAIN)?;
        self.patiently(call, message.data.len() + message.control.len(), &limit, rest, finish)
    }
}
