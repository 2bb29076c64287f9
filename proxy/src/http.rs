//! CONNECT, and plain HTTP: one request a connection, so that each is looked at.

use crate::client::Client;
use crate::dial::{Ask, Gate, No};
use crate::message::{self, Body, Request};
use crate::relay::{both_ways, break_off, one_way};
use crate::rule::Host;
use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::{Shutdown, TcpStream};

pub fn serve(client: TcpStream, who: &Client, gate: &Gate) -> Option<()> {
    let request = match message::read(&client) {
        Ok(request) => request,
        Err(why) => return answer(&client, "400 Bad Request", None, &why, true),
    };
    let connect = request.method == "CONNECT";
    let speaks = request.method != "HEAD";
    let (protocol, method) = if connect { ("connect", None) } else { ("http", Some(request.method.as_str())) };
    match gate.dial(&Ask { client: who, protocol, method, host: &request.host, port: request.port }) {
        Ok(server) if connect => {
            (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            both_ways(&client, &server, &request.early)
        }
        Ok(server) => forward(&client, &server, request),
        Err(No::Refused(refused)) => {
            let why = format!("codexrun: {}:{} is refused: {}", request.host, request.port, refused.rule);
            answer(&client, "403 Forbidden", Some(refused.word), &why, speaks)
        }
        Err(No::Failed(why)) => answer(&client, "502 Bad Gateway", None, &why, speaks),
    }
}

/// `speaks`: an answer to HEAD has no body.
fn answer(mut client: &TcpStream, status: &str, error: Option<&str>, why: &str, speaks: bool) -> Option<()> {
    let error = error.map(|word| format!("x-proxy-error: {word}\r\n")).unwrap_or_default();
    let length = why.len() + 1;
    let head =
        format!("HTTP/1.1 {status}\r\n{error}content-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let body = if speaks { format!("{why}\n") } else { String::new() };
    client.write_all(format!("{head}{body}").as_bytes()).ok()?;
    client.shutdown(Shutdown::Write).ok()?;
    // What the client still says is read, or it would get a reset in place of the answer.
    io::copy(&mut client.take(1 << 20), &mut io::sink()).ok().map(drop)
}

/// The body goes one way while the answer may already come the other.
fn forward(client: &TcpStream, server: &TcpStream, request: Request) -> Option<()> {
    client.set_read_timeout(None).ok()?;
    (&*server).write_all(&head(&request)).ok()?;
    let (from_server, to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let back = std::thread::Builder::new().stack_size(crate::STACK).spawn(move || match one_way(&from_server, &to_client) {
        // The answer is over, and with it the request.
        Ok(()) => drop(to_client.shutdown(Shutdown::Both)),
        Err(_) => [&from_server, &to_client].into_iter().for_each(break_off),
    });
    let sent = send(BufReader::new(request.early.chain(client)), server, &request.body);
    if sent.is_err() {
        // A request without its end gets no answer.
        server.shutdown(Shutdown::Both).ok()?;
    }
    back.ok()?.join().ok().map(drop)
}

fn head(request: &Request) -> Vec<u8> {
    let host = match (&request.host, request.port) {
        (Host::Address(address), port) => std::net::SocketAddr::new(*address, port).to_string(),
        (Host::Name(name), 80) => name.clone(),
        (Host::Name(name), port) => format!("{name}:{port}"),
    };
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", request.method, request.path).into_bytes();
    for (name, value) in &request.headers {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    let body = match request.body {
        Body::Bytes(0) => String::new(),
        Body::Bytes(length) => format!("Content-Length: {length}\r\n"),
        Body::Chunks => "Transfer-Encoding: chunked\r\n".into(),
    };
    head.extend(format!("{body}Connection: close\r\n\r\n").into_bytes());
    head
}

/// Exactly the body: what comes after it is another request, which is not passed on.
fn send(mut from: impl BufRead, mut server: &TcpStream, body: &Body) -> io::Result<()> {
    match body {
        Body::Bytes(length) => exactly(&mut from, server, *length),
        Body::Chunks => loop {
            let size = line(&mut from)?;
            let digits = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let size = size.ok_or_else(|| Error::other("no chunk"))?;
            server.write_all(format!("{size:x}\r\n").as_bytes())?;
            if size == 0 {
                // Trailers are not passed on.
                while !line(&mut from)?.is_empty() {}
                return server.write_all(b"\r\n");
            }
            exactly(&mut from, server, size)?;
            if !line(&mut from)?.is_empty() {
                return Err(Error::other("a chunk is longer than it says"));
            }
            server.write_all(b"\r\n")?;
        },
    }
}

fn exactly(from: &mut impl Read, mut to: &TcpStream, length: u64) -> io::Result<()> {
    let sent = io::copy(&mut from.take(length), &mut to)?;
    if sent == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(4096).read_until(b'\n', &mut bytes)?;
    let text = bytes.strip_suffix(b"\r\n").ok_or_else(|| Error::other("no line"))?;
    String::from_utf8(text.to_vec()).map_err(Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn sent(text: &str, body: &Body) -> (bool, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let whole = send(text.replace('\n', "\r\n").as_bytes(), &server, body).is_ok();
        drop(server);
        let mut got = String::new();
        listener.accept().unwrap().0.read_to_string(&mut got).unwrap();
        (whole, got.replace("\r\n", "\n"))
    }

    #[test]
    fn nothing_is_passed_on_behind_the_body() {
        let next = "GET http://evil/ HTTP/1.1\n\n";
        assert_eq!(sent(&format!("abc{next}"), &Body::Bytes(3)), (true, "abc".into()));
        assert_eq!(sent(next, &Body::Bytes(0)), (true, "".into()));
        let chunks = format!("3;x=y\nabc\n0\nTrailer: t\n\n{next}");
        assert_eq!(sent(&chunks, &Body::Chunks), (true, "3\nabc\n0\n\n".into()));
    }

    #[test]
    fn a_body_that_is_not_what_it_says_ends_the_request() {
        assert!(!sent("ab", &Body::Bytes(3)).0);
        for text in ["3\nabcd\n0\n\n", "x\n", "+3\nabc\n0\n\n", "3\nabc\n", "3"] {
            assert!(!sent(text, &Body::Chunks).0, "{text}");
        }
    }
}
