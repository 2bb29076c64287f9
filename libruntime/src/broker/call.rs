//! One call: what it asks for, whether that may be, and the answer.

use super::{Office, patience, place};
use crate::sys::notify::{self, Asked};
use crate::sys::pidfd::{pidfd_getfd, pidfd_open, pidfd_open_thread};
use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result, file, socket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The numbers of socket(2) and connect(2), by AUDIT_ARCH_*. i386's socketcall(2) is none: its arguments are in memory, and the filter
/// refuses it.
const CALLS: &[(u32, [i32; 2])] = &[
    (0xc000_003e, [41, 42]),   // x86-64
    (0x4000_0003, [359, 362]), // i386
    (0xc000_00b7, [198, 203]), // aarch64
    (0x4000_0028, [281, 283]), // arm
    (0xc000_00f3, [198, 203]), // riscv64
];

/// Processes that may wait for a connection at a time.
const MOST: usize = 1024;
/// The family of an address, and the first byte of a name.
const FAMILY: usize = size_of::<libc::sa_family_t>();

impl Office {
    /// Answers one call, now or by a process that waits for it.
    ///
    /// # Errors
    /// It could not be answered, and waits; the end of the broker is its answer.
    pub(super) fn answer(&self, asked: &Asked) -> Result<()> {
        let calls = CALLS.iter().find(|(arch, _)| *arch == asked.arch).map_or([-1, -1], |(_, calls)| *calls);
        let answered = match calls {
            [socket, _] if socket == asked.number => self.socket(asked),
            [_, connect] if connect == asked.number => self.connect(asked),
            _ => Err(Errno::EPERM),
        };
        match answered {
            Ok(Answer::Given) => Ok(()),
            Ok(Answer::Done) => self.say(asked, Ok(0)),
            Err(errno) => self.say(asked, Err(errno as i32)),
        }
    }

    fn say(&self, asked: &Asked, with: std::result::Result<i64, i32>) -> Result<()> {
        match notify::answer(self.listener.as_fd(), asked.id, with) {
            // The caller was killed, and needs no answer.
            Err(Errno::ENOENT) => Ok(()),
            said => said,
        }
    }

    /// A socket of the sandbox's own namespace, in which the host has none.
    fn socket(&self, asked: &Asked) -> Result<Answer> {
        let [family, kind, protocol] = [0, 1, 2].map(|n| asked.args[n] as i32);
        let plain = kind & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
        if family != libc::AF_UNIX || ![libc::SOCK_STREAM, libc::SOCK_SEQPACKET].contains(&plain) {
            return Err(Errno::EPERM);
        }
        let made = socket::unix_socket(kind | libc::SOCK_CLOEXEC, protocol)?;
        notify::answer_with_fd(self.listener.as_fd(), asked.id, made.as_fd(), kind & libc::SOCK_CLOEXEC != 0)?;
        Ok(Answer::Given)
    }

    fn connect(&self, asked: &Asked) -> Result<Answer> {
        let [fd, length] = [0, 2].map(|n| asked.args[n] as i32);
        let socket = pidfd_getfd(owner(asked.thread)?.as_fd(), fd)?;
        let domain = socket::domain(socket.as_fd())?;
        let mut address = [0; socket::LONGEST];
        let address = usize::try_from(length).ok().and_then(|length| address.get_mut(..length)).ok_or(Errno::EINVAL)?;
        notify::read_memory(asked.thread, asked.args[1], address)?;
        let target = match domain {
            libc::AF_UNIX => self.target(asked.thread, socket.as_fd(), address)?,
            // A connection of the caller's (standard input of an inetd) could be dissolved by AF_UNSPEC, and made anew to anywhere.
            _ if self.outside == Some(socket::network(socket.as_fd())?) => return Err(Errno::EPERM),
            _ => Target { address: address.to_vec(), place: None },
        };
        // From here on it is certain that all of this was the caller's.
        if !notify::still_waits(self.listener.as_fd(), asked.id)? {
            return Ok(Answer::Given);
        }
        if socket::waits(socket.as_fd())? {
            self.patiently(asked, socket.as_fd(), &target.address)?;
            return Ok(Answer::Given);
        }
        let connected = socket::connect_as_written(socket.as_fd(), &target.address);
        drop(target.place);
        connected.map(|()| Answer::Done)
    }

    /// The sandbox's threads are limited by its cgroup, the processes that wait for them are not in it.
    fn patiently(&self, asked: &Asked, socket: BorrowedFd, address: &[u8]) -> Result<()> {
        while let Ok(Some(_)) = process::wait(-1, libc::WNOHANG) {
            self.waiting.set(self.waiting.get().saturating_sub(1));
        }
        if self.waiting.get() >= MOST {
            return Err(Errno::EAGAIN);
        }
        patience::connect(self.listener.as_fd(), asked, socket, address)?;
        self.waiting.set(self.waiting.get() + 1);
        Ok(())
    }

    /// What a Unix socket may be connected to. A name is looked up in the network namespace of the socket, wherever its holder is: one
    /// that came from outside would find the host's.
    fn target(&self, thread: Pid, socket: BorrowedFd, address: &[u8]) -> Result<Target> {
        if socket::network(socket)? != self.network {
            return Err(Errno::EPERM);
        }
        let family = address.first_chunk().map(|family| i32::from(libc::sa_family_t::from_ne_bytes(*family)));
        let name = match (family, address.get(FAMILY..)) {
            // By path; an abstract name begins with a zero byte, and belongs to the namespace.
            (Some(libc::AF_UNIX), Some(name)) if name.first().is_some_and(|first| *first != 0) => name,
            _ => return Ok(Target { address: address.to_vec(), place: None }),
        };
        let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let place = place::find(thread, path)?;
        if !file::stat(place.as_fd())?.is_socket() {
            return Err(Errno::ECONNREFUSED);
        }
        if !self.granted(place.as_fd())? {
            self.is_ours(thread, place.as_fd())?;
        }
        let address = socket::named(format!("/proc/self/fd/{}", place.as_raw_fd()).as_bytes());
        Ok(Target { address, place: Some(place) })
    }

    fn granted(&self, place: BorrowedFd) -> Result<bool> {
        let name = place::name(place)?;
        for grant in &self.grants {
            if grant.covers(place, &name)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A name that no one listens at is refused by the kernel too. Of somebody else's socket more is told: it is there, and shut.
    fn is_ours(&self, thread: Pid, place: BorrowedFd) -> Result<()> {
        let id = place::number(thread, place)?;
        // The kernel tells 32 bits of an inode: one that the host listens at too may be the host's.
        match (self.ours.has(id)?, self.hosts.has(id)?) {
            (true, false) => Ok(()),
            (false, false) => Err(Errno::ECONNREFUSED),
            (_, true) => Err(Errno::EPERM),
        }
    }
}

/// What became of a call.
enum Answer {
    /// It has been answered, or will be by another process.
    Given,
    /// It has succeeded.
    Done,
}

/// Where a socket is to be connected to.
struct Target {
    address: Vec<u8>,
    /// What the address names, as long as it does.
    place: Option<OwnedFd>,
}

/// The process, or the thread, whose descriptors they are.
fn owner(thread: Pid) -> Result<OwnedFd> {
    match pidfd_open_thread(nix::unistd::Pid::from_raw(thread)) {
        Err(Errno::EINVAL) => pidfd_open(nix::unistd::Pid::from_raw(patience::Status::of(thread)?.process)),
        opened => opened,
    }
}
