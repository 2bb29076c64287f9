//! The resolver inside: every name has an address of 127.64.0.0/10, and a connection to that address is one to the name. Nothing is asked of
//! anybody; whether a name may be reached the proxy decides, when it is told name and port.

use super::dns::{Code, Question};
use crate::sys::Result;
use crate::sys::epoll::{Epoll, Events};
use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;

/// Where resolvers are asked if resolv.conf(5) names none.
pub(super) const PLACE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
/// 127.64.0.1: loopback that nobody else uses.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 1]);
/// Names of one sandbox, which are kept outside of it.
const MOST: usize = 1 << 14;
/// Clients by TCP at a time: more than one is rare.
const CLIENTS: usize = 64;

/// Names, by the order in which they were asked for.
#[derive(Default)]
pub struct Names {
    all: Vec<String>,
    known: HashMap<String, usize>,
}

impl Names {
    /// The address of a name; `None` when there are too many.
    fn address(&mut self, name: String) -> Option<Ipv4Addr> {
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(Ipv4Addr::LOCALHOST); // RFC 6761, 6.3
        }
        let number = match self.known.get(&name) {
            Some(number) => *number,
            None if self.all.len() == MOST => return None,
            None => {
                self.all.push(name.clone());
                self.known.insert(name, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        Some((FIRST + number as u32).into())
    }

    /// The name that an address stands for.
    pub fn of(&self, address: SocketAddr) -> Option<&str> {
        let SocketAddr::V4(address) = address else { return None };
        let number = u32::from(*address.ip()).checked_sub(FIRST)?;
        self.all.get(number as usize).map(String::as_str)
    }

    /// What is said to a query.
    pub fn reply(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut question = Question::read(message)?;
        Some(match (question.name.take(), question.address) {
            (None, _) => question.answer(Code::NoSuchName, None),
            (Some(_), false) => question.answer(Code::Fine, None),
            (Some(name), true) => match self.address(name) {
                Some(address) => question.answer(Code::Fine, Some(address)),
                None => question.answer(Code::Refused, None),
            },
        })
    }
}

/// A client by TCP: each message has its length in front (RFC 1035, 4.2.2).
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// Whether there may be more to come.
    fn serve(&mut self, names: &mut Names) -> bool {
        let mut block = [0; 1024];
        match self.stream.read(&mut block) {
            Ok(n) if n > 0 => self.read.extend_from_slice(&block[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
            _ => return false,
        }
        while let Some(length) = self.read.first_chunk().map(|two| usize::from(u16::from_be_bytes(*two))) {
            let Some(message) = self.read.get(2..2 + length) else { return self.read.len() < block.len() };
            let Some(reply) = names.reply(message) else { return false };
            let whole = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
            // Who does not take his answers gets no more.
            if !self.stream.write(&whole).is_ok_and(|n| n == whole.len()) {
                return false;
            }
            self.read.drain(..2 + length);
        }
        true
    }
}

/// What answers, by both protocols.
pub(super) struct Resolver {
    pub names: Names,
    socket: UdpSocket,
    clients: BTreeMap<u64, Client>,
    /// The token of the next client; the socket has the first.
    next: u64,
}

impl Resolver {
    /// Watches the socket, which does not wait, as `token`, and each client as a later one.
    pub fn new(socket: UdpSocket, token: u64, epoll: &Epoll) -> Result<Resolver> {
        epoll.add(socket.as_fd(), libc::EPOLLIN as Events, token)?;
        Ok(Resolver { names: Names::default(), socket, clients: BTreeMap::new(), next: token + 1 })
    }

    /// One more who asks by TCP; the oldest goes when there are too many.
    pub fn accept(&mut self, stream: TcpStream, epoll: &Epoll) -> Result<()> {
        if self.clients.len() == CLIENTS {
            self.drop_oldest();
        }
        epoll.add(stream.as_fd(), libc::EPOLLIN as Events, self.next)?;
        self.clients.insert(self.next, Client { stream, read: Vec::new() });
        self.next += 1;
        Ok(())
    }

    /// The oldest client goes, so that its descriptor is free; whether there was one.
    pub fn drop_oldest(&mut self) -> bool {
        self.clients.pop_first().is_some()
    }

    /// Somebody asks.
    pub fn ready(&mut self, token: u64) {
        if let Some(client) = self.clients.get_mut(&token) {
            if !client.serve(&mut self.names) {
                self.clients.remove(&token);
            }
            return;
        }
        let mut message = [0; 1024];
        if let Ok((n, from)) = self.socket.recv_from(&mut message)
            && let Some(reply) = self.names.reply(&message[..n])
        {
            // Who hears nothing asks again.
            let _ = self.socket.send_to(&reply, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_and_the_address_its_name() {
        let mut names = Names::default();
        let address = |names: &mut Names, name: &str| names.address(name.into()).unwrap();
        assert_eq!(address(&mut names, "crates.io"), Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(address(&mut names, "pypi.org"), Ipv4Addr::new(127, 64, 0, 2));
        assert_eq!(address(&mut names, "crates.io"), Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(names.of("127.64.0.2:443".parse().unwrap()), Some("pypi.org"));
        for stranger in ["127.64.0.3:443", "127.0.0.1:443", "[::1]:443", "10.0.0.1:1"] {
            assert_eq!(names.of(stranger.parse().unwrap()), None, "{stranger}");
        }
        assert_eq!(address(&mut names, "a.localhost"), Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn there_are_only_so_many_names() {
        let mut names = Names::default();
        assert!((0..MOST).all(|n| names.address(format!("n{n}.example")).is_some()));
        assert_eq!(names.address("one.more".into()), None);
        assert!(names.address("n0.example".into()).is_some());
    }
}
