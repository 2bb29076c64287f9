//! CONNECT, and plain HTTP: one request a connection, so that each is looked at.

use crate::body;
use crate::client::Client;
use crate::dial::{Ask, Gate, No, Stray};
use crate::hurry::Hurry;
use crate::message::{self, Body, Request};
use crate::relay::{both_ways, break_off, one_way};
use crate::rule::Host;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// For a client that has got its answer to stop talking.
const HEARD: Duration = Duration::from_secs(5);

pub fn serve(mut hurry: Hurry, who: &Client, gate: &Gate) -> Option<()> {
    let client = hurry.client;
    let request = match message::read(&mut hurry) {
        Ok(request) => request,
        Err(why) => {
            gate.refuse(&Stray { client: who, protocol: "http", host: None, port: None, rule: &why });
            return answer(client, "400 Bad Request", None, &why, true);
        }
    };
    let connect = request.method == "CONNECT";
    let speaks = request.method != "HEAD";
    let (protocol, method) = if connect { ("connect", None) } else { ("http", Some(request.method.as_str())) };
    match gate.dial(&Ask { client: who, protocol, method, host: &request.host, port: request.port }) {
        Ok(server) if connect => {
            (&*client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
            both_ways(client, &server, &request.early)
        }
        Ok(server) => forward(client, &server, request),
        Err(No::Refused(refused)) => {
            let why = format!("codexrun: {}:{} is refused: {}", request.host, request.port, refused.rule);
            answer(client, "403 Forbidden", Some(refused.word), &why, speaks)
        }
        Err(No::Failed(why)) => answer(client, "502 Bad Gateway", None, &why, speaks),
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
    io::copy(&mut Hurry::new(client, HEARD).take(1 << 20), &mut io::sink()).ok().map(drop)
}

/// The body goes one way while the answer may already come the other.
fn forward(client: &TcpStream, server: &TcpStream, request: Request) -> Option<()> {
    client.set_read_timeout(None).ok()?;
    (&*server).write_all(&head(&request)).ok()?;
    let (from_server, to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let speaks = request.method != "HEAD";
    let answer = move || match answered(&from_server, &to_client, speaks) {
        // What the server has not read of the request it may still read.
        Ok(End::Answer) => drop(to_client.shutdown(Shutdown::Write)),
        // The answer is over, and with it the request.
        Ok(End::Connection) => drop(to_client.shutdown(Shutdown::Both)),
        Err(_) => [&from_server, &to_client].into_iter().for_each(break_off),
    };
    let back = std::thread::Builder::new().stack_size(crate::STACK).spawn(answer);
    let sent = body::send(BufReader::new(request.early.chain(client)), server, &request.body);
    if sent.is_err() {
        // A request without its end gets no answer.
        server.shutdown(Shutdown::Both).ok()?;
    }
    back.ok()?.join().ok().map(drop)
}

/// With what an answer has come to its end.
enum End {
    Answer,
    Connection,
}

/// The client is told that the connection ends, whatever the server says: a second request on it would get no answer. With the answer it does, also where
/// the server keeps its own.
fn answered(server: &TcpStream, client: &TcpStream, speaks: bool) -> io::Result<End> {
    let rest = message::pass_heads(server, client, speaks)?;
    if let Some(body) = rest.body {
        let passed = BufReader::new(rest.early.chain(Tee { from: server, to: client }));
        match body::send(passed, io::sink(), &body) {
            Ok(()) => return Ok(End::Answer),
            // It is not what it says, which is for the client to find.
            Err(e) if matches!(e.kind(), ErrorKind::Other | ErrorKind::UnexpectedEof) => {}
            Err(e) => return Err(e),
        }
    }
    one_way(server, client).map(|()| End::Connection)
}

/// What is read has been passed on, as it is.
struct Tee<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
}

impl Read for Tee<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = message::again(|| self.from.read(into))?;
        self.to.write_all(&into[..n]).map(|()| n)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Instant;

    #[test]
    fn who_has_got_his_answer_and_goes_on_talking_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut slow = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (client, _) = listener.accept().unwrap();
        let end = Instant::now() + 2 * HEARD;
        let drip = std::thread::spawn(move || {
            while Instant::now() < end && slow.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        answer(&client, "403 Forbidden", None, "no", true);
        drop(client);
        assert!(Instant::now() < end - HEARD / 2, "{:?} too late", Instant::now().duration_since(end - HEARD));
        drip.join().unwrap();
    }

    /// What a client reads to the end of its connection, whose server answers so and keeps its own as long as it is not closed.
    fn heard(method: &str, answer: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            for part in answer {
                std::thread::sleep(Duration::from_millis(20));
                client.write_all(part.as_bytes()).unwrap();
            }
            // Nobody asks for more.
            client.read_to_end(&mut Vec::new()).unwrap();
        });
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(proxy.local_addr().unwrap()).unwrap();
        let (ours, server_end) = (proxy.accept().unwrap().0, TcpStream::connect(at).unwrap());
        let request = message::read(format!("{method} http://x.y/ HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let passing = std::thread::spawn(move || forward(&ours, &server_end, request));
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        passing.join().unwrap();
        server.join().unwrap();
        text
    }

    #[test]
    fn an_answer_ends_also_where_the_server_keeps_its_connection() {
        let length = heard("GET", &["HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nhel", "lo\n"]);
        assert_eq!(length, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
        let chunks =
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r", "\nhel\r\n3\r\nlo\n\r\n0\r\nT: t\r\n", "\r\n"];
        assert!(heard("GET", chunks).ends_with("3;x=y\r\nhel\r\n3\r\nlo\n\r\n0\r\nT: t\r\n\r\n"));
        assert!(heard("HEAD", &["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"]).ends_with("close\r\n\r\n"));
        assert!(heard("GET", &["HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n"]).ends_with("close\r\n\r\n"));
    }
}
