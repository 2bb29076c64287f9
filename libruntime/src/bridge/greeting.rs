//! What the bridge itself says to the one it has dialed, before the client's bytes: who the client is, to a proxy of codexrun's; and CONNECT
//! with the name that the client has resolved, whose answer is kept from the client.

use super::errno;
use super::route::Says;
use crate::sys::{Errno, Result, socket};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

/// Before every connection to a proxy of codexrun's: these bytes, the number of the container's first process, and the inode of the client's
/// socket, each 32 bits in the order of the network, and the ports that it comes from and goes to, each 16. By the ports the proxy finds the client
/// where a broker has connected it, and else among that process and its descendants, if it needs to.
const CLIENT: &[u8; 8] = b"codexrun";
/// More than any proxy's answer to CONNECT.
const LONGEST: usize = 16 * 1024;
/// For a proxy to say that it is one.
const PATIENCE: Duration = Duration::from_secs(10);
const END: &[u8] = b"\r\n\r\n";

/// Who connects.
pub(super) struct Client<'a> {
    /// The container's first process.
    pub init: u32,
    /// Its socket; 0: it has gone.
    pub socket: u32,
    /// Its own port.
    pub from: u16,
    /// Where it has connected to.
    pub to: SocketAddr,
    /// What it resolved to get there.
    pub name: Option<&'a str>,
}

/// The bridge's own connection to a proxy of codexrun's: no port, so that it is nobody's. The proxy answers with the first bytes of its greeting, and
/// nothing more: with it the connection ends.
pub(super) fn hold(proxy: SocketAddr, init: u32) -> Result<TcpStream> {
    let mut held = TcpStream::connect(proxy).map_err(errno)?;
    let to = SocketAddr::new(proxy.ip(), 0);
    let itself = Client { init, socket: 0, from: 0, to, name: None };
    let greeting = Greeting::of(Says { client: true, name: false }, &itself).ok_or(Errno::EADDRNOTAVAIL)?;
    held.set_read_timeout(Some(PATIENCE)).map_err(errno)?;
    greeting.say(&held)?;
    let mut answer = [0; CLIENT.len()];
    held.read_exact(&mut answer).map_err(errno)?;
    if answer == *CLIENT { Ok(held) } else { Err(Errno::EPROTO) }
}

/// What is to be said, and whether it is answered.
#[derive(Default)]
pub(super) struct Greeting {
    words: Vec<u8>,
    answered: bool,
}

impl Greeting {
    /// `None`: nobody has asked for the name of that address.
    pub fn of(says: Says, client: &Client) -> Option<Greeting> {
        let mut words = Vec::new();
        if says.client {
            words.extend_from_slice(CLIENT);
            words.extend([client.init, client.socket].iter().flat_map(|number| number.to_be_bytes()));
            words.extend([client.from, client.to.port()].iter().flat_map(|port| port.to_be_bytes()));
        }
        if says.name {
            let authority = format!("{}:{}", client.name?, client.to.port());
            words.extend_from_slice(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes());
        }
        Some(Greeting { words, answered: says.name })
    }

    /// Says it to who has just been connected, in whose buffer there is room; the answer is to be waited for if there is one.
    pub fn say(&self, mut to: &TcpStream) -> Result<Option<Answer>> {
        to.write_all(&self.words).map_err(errno)?;
        Ok(self.answered.then(Answer::default))
    }
}

/// As much as has been heard of the answer to CONNECT.
#[derive(Default)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Reads the head and not a byte beyond it: what follows is the server's. Whether it is whole; an error when the proxy refuses.
    pub fn hear(&mut self, from: &TcpStream) -> Result<bool> {
        let mut block = [0; 2048];
        let there = match socket::peek(from.as_fd(), &mut block) {
            Ok(0) => return Err(Errno::ECONNRESET),
            Ok(n) => n,
            Err(Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        let (head, whole) = self.take(&block[..there]);
        socket::receive(from.as_fd(), &mut block[..head])?;
        whole
    }

    /// How many of these bytes belong to the head, and whether it is whole with them.
    pub fn take(&mut self, there: &[u8]) -> (usize, Result<bool>) {
        let before = self.0.len();
        self.0.extend_from_slice(there);
        let end = self.0.windows(END.len()).position(|bytes| bytes == END).map(|at| at + END.len());
        self.0.truncate(end.unwrap_or(self.0.len()));
        let whole = match end {
            Some(_) if self.welcomes() => Ok(true),
            None if self.0.len() < LONGEST => Ok(false),
            _ => Err(Errno::ECONNREFUSED),
        };
        (self.0.len() - before, whole)
    }

    /// `HTTP/1.1 200 …`
    fn welcomes(&self) -> bool {
        let line = self.0.split(|b| *b == b'\r').next().unwrap_or_default();
        let status = line.split(|b| *b == b' ').nth(1);
        line.starts_with(b"HTTP/1.") && status.is_some_and(|status| status.len() == 3 && status[0] == b'2')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn client<'a>(name: Option<&'a str>) -> Client<'a> {
        Client { init: 7, socket: 258, from: 513, to: "127.64.0.1:443".parse().unwrap(), name }
    }

    #[test]
    fn the_client_comes_first_and_the_name_after_it() {
        let said = |client_too, name, of| Greeting::of(Says { client: client_too, name }, &client(of)).map(|g| g.words);
        assert_eq!(said(false, false, None), Some(vec![]));
        let who = b"codexrun\0\0\0\x07\0\0\x01\x02\x02\x01\x01\xbb".to_vec();
        assert_eq!(said(true, false, None), Some(who.clone()));
        let connect = b"CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\n";
        assert_eq!(said(true, true, Some("a.b")), Some([&who[..], connect].concat()));
        assert_eq!(said(false, true, None), None, "an address without a name");
    }

    /// What is left for the client of an answer that comes in these pieces.
    fn heard(pieces: &[&str]) -> (Result<bool>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut ours, _) = listener.accept().unwrap();
        let (mut answer, mut last) = (Answer::default(), Ok(false));
        for piece in pieces {
            proxy.write_all(piece.as_bytes()).unwrap();
            last = answer.hear(&ours);
        }
        drop(proxy);
        let mut rest = String::new();
        ours.read_to_string(&mut rest).unwrap();
        (last, rest)
    }

    #[test]
    fn the_answer_is_heard_to_its_end_and_no_further() {
        let fine = (Ok(true), "220 hello".to_string());
        assert_eq!(heard(&["HTTP/1.1 200 ok\r\nx: y\r\n\r\n220 hello"]), fine);
        assert_eq!(heard(&["HTTP/1.0 200", " ok\r\n\r", "\n220 hello"]), fine);
        assert_eq!(heard(&["HTTP/1.1 200 ok\r\n"]), (Ok(false), String::new()));
        for refused in
            ["HTTP/1.1 403 no\r\n\r\n", "SSH-2.0 200 x\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1\r\nx: 200 y\r\n\r\n"]
        {
            assert_eq!(heard(&[refused]).0, Err(Errno::ECONNREFUSED), "{refused}");
        }
    }
}
