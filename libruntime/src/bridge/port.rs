//! A port of the host's loopback for a proxy, which is nobody else's when that has gone.

use crate::sys::socket;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// A listener, and a socket that has its port and does not listen: while it is there the port is nobody else's, and when the listener has gone,
/// with the proxy, who connects is refused and does not wait.
pub fn kept_port() -> io::Result<(TcpListener, OwnedFd)> {
    let kept = socket::tcp(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    socket::share_port(kept.as_fd(), true)?;
    socket::bind(kept.as_fd())?;
    let kept = TcpListener::from(kept);
    // It shares its port too, as those of the standard library do.
    let listener = TcpListener::bind(kept.local_addr()?)?;
    socket::share_port(kept.as_fd(), false)?;
    Ok((listener, kept.into()))
}
