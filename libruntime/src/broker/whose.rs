//! Who listens where, as the kernel knows it (sock_diag(7), UNIX_DIAG_VFS). A socket is of the network namespace that it was made in, so
//! what is listed in the sandbox's was made in the sandbox.

use crate::sys::{Errno, Result, netlink};
use std::os::fd::{AsFd, OwnedFd};

/// The sockets of the network namespace in which it was opened; or why the kernel may not be asked, where all may be somebody else's.
pub(super) struct Listing(Result<OwnedFd>);

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// NLM_F_REQUEST | NLM_F_DUMP.
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// TCP_ESTABLISHED, TCP_CLOSE: of a Unix datagram socket that is connected, and of one that is not.
const CONNECTED: u8 = 1;
const OPEN: u8 = 7;
/// TCP_LISTEN, in which state Unix sockets listen too.
const LISTENING: u8 = 10;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;
/// struct nlmsghdr, struct unix_diag_msg, struct nlattr.
const HEADER: usize = 16;
const MESSAGE: usize = 16;
const ATTRIBUTE: usize = 4;

impl Listing {
    pub fn open() -> Result<Listing> {
        match netlink::open_diag() {
            Err(errno) if !netlink::is_out_of_reach(errno) => Err(errno),
            opened => Ok(Listing(opened)),
        }
    }

    /// Whether somebody listens at this file, by its device and inode as the kernel numbers them, or, for a caller of datagrams (`kind` is
    /// the caller's SOCK_*), receives there.
    pub fn has(&self, id: (u32, u32), kind: i32) -> Result<bool> {
        let states: &[u8] = if kind == libc::SOCK_DGRAM { &[CONNECTED, OPEN, LISTENING] } else { &[LISTENING] };
        let socket = self.0.as_ref().map_err(|errno| *errno)?.as_fd();
        netlink::send(socket, &request(states))?;
        let (mut buffer, mut found) = (vec![0; 32 * 1024], false);
        loop {
            let length = netlink::receive(socket, &mut buffer)?;
            for (kind, body) in messages(&buffer[..length]) {
                match kind {
                    NLMSG_DONE => return Ok(found),
                    NLMSG_ERROR => return Err(Errno::ECONNREFUSED),
                    _ => found |= receives(body) && vfs(body) == Some(id),
                }
            }
        }
    }
}

fn request(states: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(40);
    let mut word = |word: u32| text.extend(word.to_ne_bytes());
    word(40);
    word(u32::from_ne_bytes([SOCK_DIAG_BY_FAMILY.to_ne_bytes(), DUMP.to_ne_bytes()].concat().try_into().unwrap_or_default()));
    [0, 0].into_iter().for_each(&mut word); // sequence number, sender
    word(u32::from_ne_bytes([libc::AF_UNIX as u8, 0, 0, 0]));
    let states = states.iter().fold(0, |all, state| all | 1 << state);
    [states, 0, UDIAG_SHOW_VFS, u32::MAX, u32::MAX].into_iter().for_each(word);
    text
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The kind and the body of each; netlink(7).
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = word(bytes, 0)? as usize;
        let message = (half(bytes, 4)?, bytes.get(HEADER..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A connection has the name that its listener is bound to, and nobody reaches it by that.
fn receives(message: &[u8]) -> bool {
    matches!(message, [_, kind, state, ..] if *state == LISTENING || i32::from(*kind) == libc::SOCK_DGRAM)
}

/// Device and inode of the file that a socket is bound to.
pub fn vfs(message: &[u8]) -> Option<(u32, u32)> {
    let mut rest = message.get(MESSAGE..)?;
    loop {
        let length = usize::from(half(rest, 0)?);
        if half(rest, 2)? == UNIX_DIAG_VFS {
            return Some((word(rest, ATTRIBUTE + 4)?, word(rest, ATTRIBUTE)?));
        }
        rest = rest.get(length.max(ATTRIBUTE).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_is_listed_while_somebody_listens_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (listener, listing) = (UnixListener::bind(&path).unwrap(), Listing::open().unwrap());
        let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let place = crate::sys::file::open_at(crate::sys::file::cwd(), &path, libc::O_PATH).unwrap();
        let id = super::super::place::number(std::process::id() as i32, place.as_fd()).unwrap();
        assert_eq!(listing.has(id, libc::SOCK_STREAM), Ok(true));
        assert_eq!(listing.has((id.0, id.1 ^ 1), libc::SOCK_STREAM), Ok(false));
        assert_eq!(listing.has((id.0 ^ 1, id.1), libc::SOCK_STREAM), Ok(false));
        drop(listener);
        assert_eq!(listing.has(id, libc::SOCK_STREAM), Ok(false));
    }

    #[test]
    fn who_receives_datagrams_is_listed_for_those_who_send_them_and_a_connection_is_not() {
        use std::os::unix::net::{UnixDatagram, UnixStream};
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = std::ffi::CString::new(dir.path().join(name).to_str().unwrap()).unwrap();
            let place = crate::sys::file::open_at(crate::sys::file::cwd(), &path, libc::O_PATH).unwrap();
            super::super::place::number(std::process::id() as i32, place.as_fd()).unwrap()
        };
        let (receiver, listing) = (UnixDatagram::bind(dir.path().join("d")).unwrap(), Listing::open().unwrap());
        assert_eq!([libc::SOCK_DGRAM, libc::SOCK_STREAM].map(|kind| listing.has(place("d"), kind)), [Ok(true), Ok(false)]);
        receiver.connect(dir.path().join("d")).unwrap();
        assert_eq!(listing.has(place("d"), libc::SOCK_DGRAM), Ok(true));
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let _client = UnixStream::connect(dir.path().join("s")).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(listing.has(place("s"), libc::SOCK_DGRAM), Ok(true));
        drop(listener);
        assert_eq!(listing.has(place("s"), libc::SOCK_DGRAM), Ok(false), "only a connection is left");
    }

    #[test]
    fn where_the_kernel_may_not_be_asked_nobody_is_known() {
        assert_eq!(Listing(Err(Errno::EPERM)).has((0, 0), libc::SOCK_STREAM), Err(Errno::EPERM));
    }

    #[test]
    fn garbage_is_no_message() {
        assert_eq!(messages(&[0; 40]).count(), 0);
        assert_eq!(messages(&[255; 40]).count(), 0);
        assert_eq!(vfs(&[0; 17]), None);
        assert_eq!(vfs(&[0; 200]), None);
        assert_eq!(vfs(&[9; 200]), None);
    }
}
