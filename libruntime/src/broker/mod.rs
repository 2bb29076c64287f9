//! The broker of Unix sockets: a process outside of the sandbox that performs its connect(2) and listen(2), where there are datagrams also
//! what sends them by name, and where the sandbox has no network namespace of its own its socket(AF_UNIX). The filter refers these to it
//! (seccomp_unotify(2)).
//!
//! A named socket of the host is an inode like those that the sandbox makes, so mounts cannot tell them apart, and a filter cannot read
//! the name, which another thread may change after the look. The broker reads it once, finds the inode as the caller would, asks the
//! kernel whose socket that is, and connects a duplicate of the caller's socket to that inode and no other. It never lets the kernel go
//! on with a call whose memory it has read.
//!
//! Landlock's rules that a program makes for itself would not bind it in what it does for that program, so none are made that speak of
//! connections.
//!
//! It has the caller's ids, groups and namespaces and no capability but the right to look into processes of the sandbox, so nothing that
//! it does for one of them reaches further than that one could. When it ends, a call that it should have answered fails with ENOSYS.
//!
//! Processes of `exec` have a filter of their own with the same broker, whom they find behind a door: a Unix socket among the container's
//! records.
//!
//! Most programs connect to nothing. Who stays with the sandbox holds what a broker needs ([`Vacant`]), and clones it at the first call.

mod book;
mod call;
mod enter;
mod grant;
pub(crate) mod message;
mod patience;
mod place;
mod ruleset;
mod send;
pub(crate) mod serve;
mod target;
pub(crate) mod whose;

use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result, file, signal, socket};
use enter::Sandbox;
pub use grant::Grants;
use patience::Waiter;
use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use whose::Listing;

/// The byte that a filter's listener comes with.
pub const WORD: u8 = b'b';

/// What is known before there is a filter.
pub struct Broker {
    /// Here the filter's listener comes, and here it is said that whoever has loaded the filter may go on: 0, or the errno why not.
    pub socket: OwnedFd,
    /// Who loads it.
    pub process: Pid,
    /// Sockets of the host that may be connected to, and directories of them.
    pub grants: Grants,
    /// The sandbox has a network namespace of its own. Otherwise its Unix sockets, and only those, get one.
    pub own_network: bool,
    /// Where processes of `exec` bring the listeners of their filters.
    pub door: Option<UnixListener>,
}

/// What every call is answered with.
struct Office {
    /// The network namespace of the sandbox's Unix sockets.
    network: u64,
    /// The host's, where the sandbox has one of its own: a socket of it was handed in, and connects to nothing new.
    outside: Option<u64>,
    grants: Grants,
    ours: Listing,
    hosts: Listing,
    /// Processes that wait in place of callers.
    waiting: RefCell<Vec<Waiter>>,
    /// Has input when one of them has ended.
    ended: OwnedFd,
}

impl Broker {
    /// The life of a broker from before there is a filter, which ends with the last that has it.
    pub fn live(mut self) -> ! {
        let door = self.door.as_ref().map(AsRawFd::as_raw_fd);
        let keep = self.grants.descriptors().chain([self.socket.as_raw_fd()]).chain(door);
        let received = alone(keep.collect()).and_then(|()| self.receive());
        let opened = self.told(received.and_then(|vacant| vacant.map(Vacant::open).transpose()));
        leave(opened.and_then(|opened| opened.map_or(Ok(()), Opened::serve)))
    }

    /// Waits for the filter, for a broker that begins later. `None`: the launch has failed before there was one.
    ///
    /// # Errors
    /// What comes from whoever has loaded the filter cannot be taken.
    pub fn postpone(mut self) -> Result<Option<Vacant>> {
        self.receive()
    }

    /// Whoever has loaded the filter may go on, or hears why not.
    fn told<T>(&self, made: Result<Option<T>>) -> Result<Option<T>> {
        let say = |errno: i32| file::tell(self.socket.as_fd(), &errno.to_ne_bytes());
        match made {
            Ok(None) => Ok(None),
            // A word that could not be said may be said with its reason.
            Ok(made) => say(0).or_else(|errno| say(errno as i32).and(Err(errno))).map(|()| made),
            Err(errno) => say(errno as i32).and(Err(errno)),
        }
    }

    fn receive(&mut self) -> Result<Option<Vacant>> {
        let (listener, space) = match file::receive_with_fds(self.socket.as_fd())? {
            Some((WORD, [Some(listener), Some(space)])) => (listener, space),
            Some(_) => return Err(Errno::EPROTO),
            None => return Ok(None),
        };
        let (grants, door) = (std::mem::take(&mut self.grants), self.door.take());
        Ok(Some(Vacant { listener, process: self.process, space, own_network: self.own_network, grants, door }))
    }
}

/// What a broker needs, and nobody in it: calls wait.
pub struct Vacant {
    listener: OwnedFd,
    process: Pid,
    space: OwnedFd,
    own_network: bool,
    grants: Grants,
    door: Option<UnixListener>,
}

/// A broker in its place, and whom it hears.
struct Opened {
    office: Office,
    listener: OwnedFd,
    door: Option<UnixListener>,
}

impl Opened {
    fn serve(self) -> Result<()> {
        self.office.serve(self.listener, self.door)
    }
}

impl Vacant {
    /// Has input when a call waits, and its end when nobody has the filter any more.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Has input when a process of `exec` brings another.
    pub fn door(&self) -> Option<BorrowedFd<'_>> {
        self.door.as_ref().map(AsFd::as_fd)
    }

    /// The life of a broker that begins now, in a process that has just been cloned.
    pub fn live(self) -> ! {
        leave(alone(self.descriptors()).and_then(|()| self.open()).and_then(Opened::serve))
    }

    fn descriptors(&self) -> Vec<RawFd> {
        let door = self.door.as_ref().map(AsRawFd::as_raw_fd);
        self.grants.descriptors().chain([self.listener.as_raw_fd(), self.space.as_raw_fd()]).chain(door).collect()
    }

    fn open(self) -> Result<Opened> {
        let (hosts, outside) = (Listing::open()?, own_network()?);
        Sandbox::of(self.process, self.space, self.own_network)?.enter()?;
        let (network, outside) = (own_network()?, self.own_network.then_some(outside));
        let (grants, ours, ended) = (self.grants, Listing::open()?, signal::signalfd(&signal::Set::of(&[libc::SIGCHLD]))?);
        let office = Office { network, outside, grants, ours, hosts, waiting: RefCell::default(), ended };
        Ok(Opened { office, listener: self.listener, door: self.door })
    }
}

/// What a call of the standard library's failed with: the kernel's reason, not what it most often is.
fn errno(error: std::io::Error) -> Errno {
    Errno::try_from(error).unwrap_or(Errno::EPROTO)
}

/// By its cookie (SO_NETNS_COOKIE).
fn own_network() -> Result<u64> {
    socket::network(socket::unix_socket(libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?.as_fd())
}

/// Nothing of the caller's stays: not its streams, session, directory or signals.
fn alone(mut keep: Vec<RawFd>) -> Result<()> {
    let null = file::open_at(file::cwd(), c"/dev/null", libc::O_RDWR)?;
    file::become_stdio(null.as_fd())?;
    drop(null);
    keep.extend([0, 1, 2]);
    file::close_all_but(keep)?;
    process::setsid()?;
    file::chdir(c"/")?;
    // It has a handler before it may come.
    signal::interrupt_every(0)?;
    signal::set_mask(&signal::Set::all_but(&[libc::SIGALRM])).map(drop)
}

/// The exit code says of what it died; every errno fits.
fn leave(lived: Result<()>) -> ! {
    process::exit(lived.map_or_else(|errno| errno as i32, |()| 0))
}
