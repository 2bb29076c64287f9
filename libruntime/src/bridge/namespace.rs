//! The container's network namespace, and the user namespace that owns it, entered by a helper each time something is made there.

use super::client::Sockets;
use super::{errno, failed, listen};
use crate::sys::process;
use crate::sys::{Result as SysResult, event, file, namespace, net, netlink, socket};
use crate::{Error, Result};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the container handed over.
pub(super) struct Namespaces {
    /// `None`: it is ours.
    user: Option<OwnedFd>,
    net: OwnedFd,
}

/// The caller's user and network namespace.
pub(super) fn own() -> SysResult<[OwnedFd; 2]> {
    let open = |path| file::open_at(file::cwd(), path, libc::O_RDONLY);
    Ok([open(c"/proc/self/ns/user")?, open(c"/proc/self/ns/net")?])
}

impl Namespaces {
    /// The other end of [`super::hand_over`].
    pub fn receive(guest: BorrowedFd) -> Result<Self> {
        let [our_user, our_net] = own().map_err(|e| failed("open our own namespaces", e))?;
        let user = one(guest, libc::CLONE_NEWUSER)?;
        let net = one(guest, libc::CLONE_NEWNET)?;
        if same(&net, &our_net) {
            let what = "the container has no network namespace of its own, so nothing needs a bridge";
            return Err(Error::new(what).hint("`linux.namespaces` must have `network`"));
        }
        // Who enters the namespace that it is in is refused (setns(2)).
        let user = (!same(&user, &our_user)).then_some(user);
        Ok(Namespaces { user, net })
    }

    /// A listener inside. `lo` is brought up if the runtime has not.
    pub fn listener(&self, on: SocketAddr) -> SysResult<TcpListener> {
        self.make(|| net::loopback_up().and_then(|()| listen(on))).map(TcpListener::from)
    }

    /// A socket inside for datagrams, which does not wait.
    pub fn datagrams(&self, on: SocketAddr) -> SysResult<UdpSocket> {
        let bound = || UdpSocket::bind(on).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        self.make(|| bound().map_err(errno)).map(UdpSocket::from)
    }

    /// What the kernel tells of sockets inside.
    pub fn sockets(&self) -> SysResult<Sockets> {
        self.make(netlink::open_diag).map(Sockets::by)
    }

    /// A connection inside, begun.
    pub fn dial(&self, to: SocketAddr) -> SysResult<TcpStream> {
        let socket = self.make(|| socket::tcp(&to))?;
        socket::connect(socket.as_fd(), &to)?;
        Ok(TcpStream::from(socket))
    }

    /// What `make` makes inside. An ordinary user may enter the network namespace only by way of its owner, from which there is no way
    /// back: so a helper does, whose table of descriptors is ours, and leaves in the slot what it has made.
    fn make<T: AsFd>(&self, make: impl FnOnce() -> SysResult<T>) -> SysResult<OwnedFd> {
        let slot = event::eventfd()?;
        process::apart(libc::CLONE_FILES as u64, || {
            self.enter()?;
            // Closed here and now: the table outlives this process.
            make().and_then(|made| file::put_into(slot.as_fd(), made.as_fd()))
        })?;
        Ok(slot)
    }

    fn enter(&self) -> SysResult<()> {
        if let Some(user) = &self.user {
            namespace::join(user.as_fd(), libc::CLONE_NEWUSER as u64)?;
        }
        namespace::join(self.net.as_fd(), libc::CLONE_NEWNET as u64)
    }
}

fn one(guest: BorrowedFd, kind: i32) -> Result<OwnedFd> {
    let received = file::receive_fd(guest, 0).map_err(|e| failed("receive the container's namespaces", e))?;
    let fd = received.ok_or_else(|| Error::new("the container's namespaces were not handed over"))?;
    match namespace::kind(fd.as_fd()) {
        Ok(found) if found == kind as u64 => Ok(fd),
        Ok(_) => Err(Error::new("what was handed over is not the container's namespaces")),
        Err(e) => Err(failed("look at the container's namespaces", e)),
    }
}

fn same(a: &OwnedFd, b: &OwnedFd) -> bool {
    let id = |fd: &OwnedFd| file::stat(fd.as_fd()).map(|stat| stat.id);
    id(a).is_ok() && id(a) == id(b)
}
