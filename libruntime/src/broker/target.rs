//! Where a socket may be connected to, and to whom it may send: by the address that the caller gave, and what it leads to.

use super::{Office, place};
use crate::sys::process::Pid;
use crate::sys::{Errno, Result, file, socket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// An address, as the kernel is told it.
pub(super) struct Target {
    pub address: Vec<u8>,
    /// What it names, as long as it does.
    _place: Option<OwnedFd>,
}

impl Target {
    /// The one that the socket has.
    pub fn none() -> Target {
        Target { address: Vec::new(), _place: None }
    }
}

/// The family of an address, and the first byte of a name.
const FAMILY: usize = size_of::<libc::sa_family_t>();

impl Office {
    /// # Errors
    /// EPERM: it leads out; ECONNREFUSED: nobody is there; EACCES: Landlock's rules do not name the port.
    pub(super) fn target(&self, thread: Pid, socket: BorrowedFd, address: Vec<u8>) -> Result<Target> {
        match socket::domain(socket)? {
            libc::AF_UNIX => self.named(thread, socket, address),
            // A connection of the caller's (standard input of an inetd) could be dissolved by AF_UNSPEC, and made anew to anywhere.
            _ if self.is_from_outside(socket)? => Err(Errno::EPERM),
            // Of what is made of TCP (MPTCP, SMC) too.
            _ if socket::kind(socket)? == libc::SOCK_STREAM && !self.grants.reach(&address) => Err(Errno::EACCES),
            _ => Ok(Target { address, _place: None }),
        }
    }

    /// Whether it was made in the host's network namespace, where the sandbox has one of its own.
    pub(super) fn is_from_outside(&self, socket: BorrowedFd) -> Result<bool> {
        Ok(self.outside == Some(socket::network(socket)?))
    }

    /// What a Unix socket may be connected to. A name is looked up in the network namespace of the socket, wherever its holder is: one
    /// that came from outside would find the host's.
    fn named(&self, thread: Pid, socket: BorrowedFd, address: Vec<u8>) -> Result<Target> {
        if socket::network(socket)? != self.network {
            return Err(Errno::EPERM);
        }
        let family = address.first_chunk().map(|family| i32::from(libc::sa_family_t::from_ne_bytes(*family)));
        let name = match (family, address.get(FAMILY..)) {
            // By path; an abstract name begins with a zero byte, and belongs to the namespace.
            (Some(libc::AF_UNIX), Some(name)) if name.first().is_some_and(|first| *first != 0) => name,
            _ => return Ok(Target { address, _place: None }),
        };
        let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let place = place::find(thread, path)?;
        if !file::stat(place.as_fd())?.is_socket() {
            return Err(Errno::ECONNREFUSED);
        }
        if !self.granted(place.as_fd())? {
            self.is_ours(thread, place.as_fd(), socket::kind(socket)?)?;
        }
        let address = socket::named(format!("/proc/self/fd/{}", place.as_raw_fd()).as_bytes());
        Ok(Target { address, _place: Some(place) })
    }

    fn granted(&self, place: BorrowedFd) -> Result<bool> {
        self.grants.cover(place, &place::name(place)?)
    }

    /// A name that no one listens at is refused by the kernel too. Of somebody else's socket more is told: it is there, and shut.
    fn is_ours(&self, thread: Pid, place: BorrowedFd, kind: i32) -> Result<()> {
        let id = place::number(thread, place)?;
        // The kernel tells 32 bits of an inode: one that the host listens at too may be the host's.
        match (self.ours.has(id, kind)?, self.hosts.has(id, kind)?) {
            (true, false) => Ok(()),
            (false, false) => Err(Errno::ECONNREFUSED),
            (_, true) => Err(Errno::EPERM),
        }
    }
}
