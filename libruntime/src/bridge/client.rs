//! Which socket a program inside has connected with, as the kernel knows it (sock_diag(7)): by its number the program is found.

use super::errno;
use crate::sys::{Errno, Result, netlink};
use std::cell::Cell;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

/// The sockets of the network namespace in which it was opened.
pub(super) struct Sockets {
    socket: OwnedFd,
    /// The number of the last question; an answer has that of its own (netlink(7)).
    asked: Cell<u32>,
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// struct nlmsghdr; struct inet_diag_req_v2; where struct inet_diag_msg has the inode, 32 bits of it.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const INODE: usize = HEADER + 68;

impl Sockets {
    /// Asks by this socket (NETLINK_SOCK_DIAG).
    pub fn by(socket: OwnedFd) -> Sockets {
        Sockets { socket, asked: Cell::default() }
    }

    /// The inode of the socket at the other end of a connection that came `from` there; 0: it has gone.
    pub fn of(&self, accepted: &TcpStream, from: SocketAddr) -> Result<u32> {
        let number = self.asked.get().wrapping_add(1);
        let request = request(number, from, accepted.local_addr().map_err(errno)?).ok_or(Errno::EAFNOSUPPORT)?;
        self.asked.set(number);
        netlink::send(self.socket.as_fd(), &request)?;
        loop {
            let mut answer = [0; 1024];
            let length = netlink::receive(self.socket.as_fd(), &mut answer)?;
            // One that came too late for an earlier question is nobody's.
            if answer[..length].get(8..12) == Some(&number.to_ne_bytes()) {
                return Ok(inode(&answer[..length]).unwrap_or(0));
            }
        }
    }
}

/// For the one socket that has these two addresses, of version 4: one of version 6 has them behind a prefix, and is found by them too.
fn request(number: u32, from: SocketAddr, to: SocketAddr) -> Option<Vec<u8>> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else { return None };
    let address = |at: std::net::SocketAddrV4| [at.ip().octets(), [0; 4], [0; 4], [0; 4]].concat();
    let parts = [
        &((HEADER + REQUEST) as u32).to_ne_bytes()[..],
        &SOCK_DIAG_BY_FAMILY.to_ne_bytes(),
        &NLM_F_REQUEST.to_ne_bytes(),
        &number.to_ne_bytes(),
        &[0; 4], // sender
        &[libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0],
        &u32::MAX.to_ne_bytes(), // in whatever state
        &from.port().to_be_bytes(),
        &to.port().to_be_bytes(),
        &address(from),
        &address(to),
        &[0; 4],    // on whatever interface
        &[0xff; 8], // INET_DIAG_NOCOOKIE
    ];
    Some(parts.concat())
}

fn inode(answer: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let number = answer.get(INODE..INODE + 4).filter(|_| kind == SOCK_DIAG_BY_FAMILY)?;
    number.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    fn own(stream: &TcpStream) -> u32 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap().display().to_string();
        link.trim_start_matches("socket:[").trim_end_matches(']').parse().unwrap()
    }

    #[test]
    fn the_other_end_is_found_by_its_addresses_whatever_its_family_and_nobody_when_it_has_gone() {
        let sockets = Sockets::by(netlink::open_diag().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for to in [format!("127.0.0.1:{port}"), format!("[::ffff:127.0.0.1]:{port}")] {
            let client = TcpStream::connect(to).unwrap();
            let (accepted, from) = listener.accept().unwrap();
            assert_eq!(sockets.of(&accepted, from), Ok(own(&client)));
            drop((client, accepted));
        }
        let (accepted, from) = (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), "127.0.0.1:1".parse().unwrap());
        assert_eq!(sockets.of(&accepted, from), Ok(0));
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_not_taken_for_this_ones() {
        let sockets = Sockets::by(netlink::open_diag().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        let nobody = "127.0.0.1:1".parse().unwrap();
        netlink::send(sockets.socket.as_fd(), &request(0, nobody, nobody).unwrap()).unwrap();
        assert_eq!(sockets.of(&accepted, from), Ok(own(&client)));
    }

    #[test]
    fn a_request_is_as_long_as_it_says_and_garbage_is_no_answer() {
        let at = "127.0.0.1:1".parse().unwrap();
        assert_eq!(request(1, at, at).unwrap().len(), HEADER + REQUEST);
        assert_eq!(request(1, "[::1]:1".parse().unwrap(), at), None);
        assert_eq!([&[0; 200][..], &[20; 30], &[]].map(inode), [None; 3]);
    }
}
