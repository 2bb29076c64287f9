//! A proxy of codexrun's that keeps domains, and its resolver, asked for the host's listener in every spelling and behind every pretence.
//! Got through is who hears the listener's word, or whose second request an allowed server hears.

use super::{Attempt, Wall, World, absent};
use crate::outcome::{Fail, Outcome, word};
use crate::socket;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// 127.0.0.1, as parsers of addresses and files of names have it; some are allowed as names, and lead there all the same.
const HOSTS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST.",
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "127.0.0.01",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[::1%lo]",
    "ip6-localhost",
    "ip6-loopback",
    "localhost.localdomain",
    "a.localhost",
    "127.0.0.1.example.org",
    "127.0.0.1%00.example.org",
    "127.0.0.1\0.example.org",
    "127.0.0.1#.example.org",
    "a.example.org@127.0.0.1",
    "a.example.org:80@127.0.0.1",
    "127.0.0.1\\@a.example.org",
    "\u{ff11}27.0.0.1",
    "\u{24db}ocalhost",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "xn--localhost-",
    "a.example.org,127.0.0.1",
    "a.example.org 127.0.0.1",
    "a.example.org\t127.0.0.1",
];

/// `{h}` and `{p}` are the listener, `{good}` a server that is allowed.
const REQUESTS: &[(&str, &str)] = &[
    ("GET", "GET http://{h}:{p}/ HTTP/1.1\r\nHost: {h}:{p}\r\n\r\n"),
    ("GET of an allowed Host", "GET http://{h}:{p}/ HTTP/1.1\r\nHost: a.example.org\r\n\r\n"),
    ("CONNECT", "CONNECT {h}:{p} HTTP/1.1\r\n\r\nprobe"),
    ("CONNECT of an allowed Host", "CONNECT {h}:{p} HTTP/1.1\r\nHost: a.example.org:443\r\n\r\nprobe"),
];

#[rustfmt::skip]
/// What makes two readers see two things. The listener is 127.0.0.1:{p}.
const PRETENCES: &[(&str, &str)] = &[
    ("another Host", "GET http://{good}/ HTTP/1.1\r\nHost: 127.0.0.1:{p}\r\n\r\n"),
    ("a relative target", "GET / HTTP/1.1\r\nHost: 127.0.0.1:{p}\r\n\r\n"),
    ("a target of HTTPS", "GET https://127.0.0.1:{p}/ HTTP/1.1\r\n\r\n"),
    ("a target without a scheme", "GET 127.0.0.1:{p} HTTP/1.1\r\n\r\n"),
    ("no slash before a query", "GET http://127.0.0.1:{p}?a.example.org HTTP/1.1\r\n\r\n"),
    ("an allowed name before a `\\`", "GET http://{good}\\@127.0.0.1:{p}/ HTTP/1.1\r\n\r\n"),
    ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
    ("an upgrade to HTTP/2", "GET http://{good}/ HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n{next}"),
    ("a second request", "GET http://{good}/ HTTP/1.1\r\nConnection: keep-alive\r\n\r\n{next}"),
    ("two lengths", "GET http://{good}/ HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n{next}"),
    ("two lengths in one", "GET http://{good}/ HTTP/1.1\r\nContent-Length: 0, 60\r\n\r\n{next}"),
    ("a length and chunks", "GET http://{good}/ HTTP/1.1\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}"),
    ("chunks and a length", "GET http://{good}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{next}"),
    ("chunks twice", "GET http://{good}/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{next}"),
    ("chunks of another name", "GET http://{good}/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{next}"),
    ("chunks behind a tabulator", "GET http://{good}/ HTTP/1.1\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n{next}"),
    ("chunks before a colon", "GET http://{good}/ HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{next}"),
    ("a folded header", "GET http://{good}/ HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}"),
    ("a bare return in a header", "GET http://{good}/ HTTP/1.1\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}"),
    ("lines without a return", "GET http://{good}/ HTTP/1.1\nContent-Length: 0\n\n{next}"),
    ("a space in the target", "GET http://{good}/ HTTP/1.1 GET http://127.0.0.1:{p}/ HTTP/1.1\r\n\r\n"),
    ("what the bridge says", "codexrun\0\0\0\u{7}\0\0\u{1}\u{2}GET http://127.0.0.1:{p}/ HTTP/1.1\r\n\r\n"),
    ("a header that names the server", "GET http://{good}/ HTTP/1.1\r\nX-Forwarded-Host: 127.0.0.1:{p}\r\nForwarded: host=127.0.0.1\r\n\r\n{next}"),
    ("TRACE", "TRACE http://127.0.0.1:{p}/ HTTP/1.1\r\nMax-Forwards: 0\r\n\r\n"),
    ("CONNECT by a URL", "CONNECT http://127.0.0.1:{p}/ HTTP/1.1\r\n\r\nprobe"),
    ("CONNECT in small letters", "connect 127.0.0.1:{p} HTTP/1.1\r\n\r\nprobe"),
    ("CONNECT of another Host", "CONNECT {good} HTTP/1.1\r\nHost: 127.0.0.1:{p}\r\n\r\nCONNECT 127.0.0.1:{p} HTTP/1.1\r\n\r\n"),
];

/// What must never arrive anywhere.
const NEXT: &str = "GET http://127.0.0.1:{p}/smuggled HTTP/1.1\r\n\r\n";

/// Until then an answer has come.
const PATIENCE: Duration = Duration::from_millis(700);

fn address(world: &World, name: &str) -> Result<SocketAddr, Fail> {
    world.fill(name).parse().map_err(|_| Fail::Errno(libc::EINVAL))
}

fn listener(world: &World) -> Result<SocketAddr, Fail> {
    address(world, "{tcp}")
}

/// Says it, and hears out what comes back.
fn said(mut stream: TcpStream, words: &[u8]) -> Outcome {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(words)?;
    let (mut answer, mut block) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&block[..n]),
            // What came before is what counts.
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => break,
            Err(e) => return Err(e.into()),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains("hello") || answer.contains("/smuggled") { Ok(answer.into()) } else { word("kept", answer.escape_debug()) }
}

/// A request by the proxy, the placeholders filled in.
fn request(world: &World, text: &str, host: &str) -> Outcome {
    let port = listener(world)?.port().to_string();
    let text = text.replace("{next}", NEXT).replace("{h}", host).replace("{p}", &port);
    said(socket::proxy()?, world.fill(&text).as_bytes())
}

/// RFC 1928: the greeting, the request and what is for the server, at once.
fn socks(world: &World, kind: u8, place: &[u8]) -> Outcome {
    let port = listener(world)?.port().to_be_bytes();
    said(socket::proxy()?, &[&[5, 1, 0, 5, 1, 0, kind], place, &port, b"probe"].concat())
}

/// As a name, however it looks.
fn socks_name(world: &World, host: &str) -> Outcome {
    let bare = host.trim_start_matches('[').trim_end_matches(']').as_bytes();
    socks(world, 3, &[&[bare.len() as u8], bare].concat())
}

/// The other commands, and other versions.
const SOCKS: &[(&str, &[u8])] = &[
    ("BIND", &[5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1]),
    ("UDP ASSOCIATE", &[5, 1, 0, 5, 3, 0, 1, 127, 0, 0, 1]),
    ("a password that nobody asked for", &[5, 1, 2, 1, 1, b'a', 1, b'b', 5, 1, 0, 1, 127, 0, 0, 1]),
    ("version 4", &[4, 1]),
    ("a name of no length", &[5, 1, 0, 5, 1, 0, 3, 0]),
    ("a kind that there is not", &[5, 1, 0, 5, 1, 0, 2, 127, 0, 0, 1]),
];

/// Addresses in binary: what a name cannot say.
const ADDRESSES: &[(&str, u8, &[u8])] = &[
    ("127.0.0.1", 1, &[127, 0, 0, 1]),
    ("0.0.0.0", 1, &[0, 0, 0, 0]),
    ("::1", 4, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ("::", 4, &[0; 16]),
    ("::ffff:127.0.0.1", 4, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1]),
    ("::127.0.0.1", 4, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1]),
    ("64:ff9b::127.0.0.1", 4, &[0, 100, 255, 155, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1]),
];

/// The resolver's addresses, where names are resolved for a port: those that stand for a name and those that stand for none.
const PLACES: &[&str] = &["127.0.0.1", "127.0.0.2", "127.63.255.255", "127.64.0.1", "127.127.255.255", "[::1]"];
const NAMES: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "localhost",
    "a.localhost",
    "ip6-localhost",
    "127.0.0.1:1 HTTP/1.1\r\nX",
    "a.example.org\r\n\r\nGET /smuggled",
    "a b",
    "a@b",
];

/// At this port the host has a listener too.
fn of_names(world: &World) -> Result<u16, Fail> {
    Ok(address(world, "{good}")?.port())
}

fn directly(world: &World, place: &str) -> Outcome {
    said(TcpStream::connect(format!("{place}:{}", of_names(world)?))?, b"probe")
}

fn by_name(world: &World, name: &str) -> Outcome {
    said(TcpStream::connect((socket::address_of(name)?, of_names(world)?))?, b"probe")
}

/// Only where there is a proxy of codexrun's; elsewhere nobody is asked.
fn attempt<'a>(world: &'a World, name: String, run: impl Fn() -> Outcome + 'a) -> Attempt<'a> {
    Attempt::new(Wall::Domains, format!("proxy\t{name}"), move || if world.is_control() { absent() } else { run() })
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let mut all = Vec::new();
    for host in HOSTS {
        let shown = host.escape_debug();
        for (name, text) in REQUESTS {
            all.push(attempt(world, format!("{name} {shown}"), move || request(world, text, host)));
        }
        all.push(attempt(world, format!("SOCKS of the name {shown}"), move || socks_name(world, host)));
    }
    all.extend(PRETENCES.iter().map(|(name, text)| attempt(world, name.to_string(), move || request(world, text, ""))));
    for (name, kind, address) in ADDRESSES {
        all.push(attempt(world, format!("SOCKS of the address {name}"), move || socks(world, *kind, address)));
    }
    for (name, words) in SOCKS {
        all.push(attempt(world, format!("SOCKS: {name}"), move || {
            said(socket::proxy()?, &[words, &listener(world)?.port().to_be_bytes()[..], b"probe"].concat())
        }));
    }
    all.extend(PLACES.iter().map(|place| attempt(world, format!("no name behind {place}"), move || directly(world, place))));
    for name in NAMES {
        all.push(attempt(world, format!("the resolver's address of {}", name.escape_debug()), move || by_name(world, name)));
    }
    all
}
