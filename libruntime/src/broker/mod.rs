//! The broker of Unix sockets: a process outside of the sandbox that performs its connect(2), and where the sandbox has no network
//! namespace of its own its socket(AF_UNIX). The filter refers both to it (seccomp_unotify(2)).
//!
//! A named socket of the host is an inode like those that the sandbox makes, so mounts cannot tell them apart, and a filter cannot read
//! the name, which another thread may change after the look. The broker reads it once, finds the inode as the caller would, asks the
//! kernel whose socket that is, and connects a duplicate of the caller's socket to that inode and no other. It never lets the kernel go
//! on with a call whose memory it has read.
//!
//! It has the caller's ids, groups and namespaces and no capability but the right to look into processes of the sandbox, so nothing that
//! it does for one of them reaches further than that one could. When it ends, a call that it should have answered fails with ENOSYS.

mod call;
mod enter;
mod grant;
mod patience;
mod place;
mod whose;

use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result, file, notify, signal, socket};
use grant::Grant;
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use whose::Listing;

/// What the process is told when it begins.
pub struct Broker<'a> {
    /// Here the filter's listener comes, and here it is said that whoever has loaded the filter may go on: 0, or the errno why not.
    pub socket: OwnedFd,
    /// Who loads it.
    pub process: Pid,
    /// Sockets of the host that may be connected to, and directories of them.
    pub grants: &'a [PathBuf],
    /// The sandbox has a network namespace of its own. Otherwise its Unix sockets, and only those, get one.
    pub own_network: bool,
}

/// What every call is answered with.
struct Office {
    listener: OwnedFd,
    /// The network namespace of the sandbox's Unix sockets.
    network: u64,
    grants: Vec<Grant>,
    ours: Listing,
    hosts: Listing,
    /// Processes that wait for a connection.
    waiting: Cell<usize>,
}

impl Broker<'_> {
    /// The life of the process, which ends with the last that has the filter.
    pub fn live(self) -> ! {
        let lived = match self.alone().and_then(|()| self.open()) {
            Ok(office) => office.as_ref().map_or(Ok(()), Office::serve),
            Err(errno) => self.say(errno as i32).and(Err(errno)),
        };
        process::exit(lived.is_err().into())
    }

    fn say(&self, errno: i32) -> Result<()> {
        file::tell(self.socket.as_fd(), &errno.to_ne_bytes())
    }

    /// Nothing of the caller's stays: not its streams, session, directory or signals.
    fn alone(&self) -> Result<()> {
        let null = file::open_at(file::cwd(), c"/dev/null", libc::O_RDWR)?;
        file::become_stdio(null.as_fd())?;
        drop(null);
        file::close_all_but([0, 1, 2, self.socket.as_raw_fd()])?;
        process::setsid()?;
        file::chdir(c"/")?;
        signal::set_mask(&signal::Set::all_but(&[])).map(drop)
    }

    /// `None`: the launch has failed before there was a filter.
    fn open(&self) -> Result<Option<Office>> {
        let grants = self.grants.iter().map(|path| Grant::pin(path)).collect::<Result<Vec<_>>>()?;
        let hosts = Listing::open()?;
        let Some((_, listener)) = file::receive(self.socket.as_fd())? else { return Ok(None) };
        let listener = listener.ok_or(Errno::EPROTO)?;
        enter::enter(self.process, self.own_network)?;
        let network = socket::network(socket::unix_socket(libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?.as_fd())?;
        let (grants, ours) = (grants.into_iter().flatten().collect(), Listing::open()?);
        let office = Office { listener, network, grants, ours, hosts, waiting: Cell::new(0) };
        self.say(0)?;
        Ok(Some(office))
    }
}

impl Office {
    fn serve(&self) -> Result<()> {
        loop {
            if !file::has_input(self.listener.as_fd())? {
                // The last that has the filter is gone.
                return Ok(());
            }
            match notify::receive(self.listener.as_fd()) {
                Ok(asked) => self.answer(&asked)?,
                // Its caller was killed, before it could be told.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}
