//! Pseudo-terminals, pty(7).

use super::{Result, done, owned};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// TIOCSPTLCK 0 and TIOCGPTPEER: the other end of the terminal whose master this is, never looked up by name.
pub fn peer(master: BorrowedFd) -> Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one live int.
    done(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags, no pointer.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// TIOCSCTTY: the controlling terminal of this session.
pub fn set_controlling(tty: BorrowedFd) -> Result<()> {
    // SAFETY: the argument is an integer.
    done(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 0) }.into())
}

/// TIOCGEXCL: whether nobody else may open it (ioctl_tty(2)).
pub fn is_exclusive(tty: BorrowedFd) -> Result<bool> {
    let mut is = 0;
    // SAFETY: TIOCGEXCL writes one live int.
    done(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCGEXCL, &raw mut is) }.into()).map(|()| is != 0)
}

/// TIOCNXCL: whoever may open it may again.
pub fn share(tty: BorrowedFd) -> Result<()> {
    // SAFETY: TIOCNXCL takes no argument.
    done(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCNXCL) }.into())
}

/// TIOCSWINSZ.
pub fn set_size(tty: BorrowedFd, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: reads one live struct winsize.
    done(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
}

/// TIOCGWINSZ: (rows, columns).
pub fn size(tty: BorrowedFd) -> Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: fills one live struct winsize.
    done(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_row, size.ws_col))
}
