//! Sockets to the kernel: of its network configuration, rtnetlink(7), and of its sockets, sock_diag(7). Each speaks of the network
//! namespace in which it was made.

use super::{Errno, Result, again, check, owned};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// socket(2), AF_NETLINK, NETLINK_ROUTE, close-on-exec.
pub fn open() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) }.into())
}

/// The same, NETLINK_SOCK_DIAG.
pub fn open_diag() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG) }.into())
}

/// Whether it fails for good: a filter around codexrun refuses it, or the kernel has no such sockets.
pub fn is_out_of_reach(errno: Errno) -> bool {
    use Errno::{EACCES, EAFNOSUPPORT, EINVAL, ENOSYS, EPERM, EPROTONOSUPPORT};
    matches!(errno, EPERM | EACCES | EINVAL | ENOSYS | EPROTONOSUPPORT | EAFNOSUPPORT)
}

/// send(2) of one message, to the kernel.
pub fn send(socket: BorrowedFd, message: &[u8]) -> Result<()> {
    // SAFETY: the buffer is live and as long as said.
    let once = || unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    again(|| check(once() as libc::c_long)).map(drop)
}

/// recv(2): how much of `buffer` the next messages fill.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    let (at, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is live, writable and as long as said.
    let once = || unsafe { libc::recv(socket.as_raw_fd(), at, room, 0) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}
