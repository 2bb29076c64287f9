//! The one thing a fresh network namespace needs.

use super::{Result, done, owned};
use std::os::fd::AsRawFd;

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
