//! The one thing a fresh network namespace needs, and the one socket that is dialled.

use super::{Errno, Result, done, owned};
use std::os::fd::{AsRawFd, OwnedFd};

/// Brings `lo` up (netdevice(7), SIOCSIFFLAGS). The kernel then gives it 127.0.0.1/8 and ::1/128 by itself.
pub fn loopback_up() -> Result<()> {
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: `struct ifreq` is plain data, valid when zeroed.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is a live struct ifreq, which SIOCSIFFLAGS reads.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) }.into())
}

/// A stream to who listens at this path (unix(7)); EAGAIN when its backlog is full.
pub fn connect(path: &[u8]) -> Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    // SAFETY: `struct sockaddr_un` is plain data, valid when zeroed.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let room = address.sun_path.len() - 1;
    let target = address.sun_path.get_mut(..path.len()).filter(|_| path.len() <= room).ok_or(Errno::ENAMETOOLONG)?;
    target.iter_mut().zip(path).for_each(|(to, from)| *to = *from as libc::c_char);
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` is a live struct sockaddr_un of the length given.
    done(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) }.into())?;
    Ok(socket)
}
