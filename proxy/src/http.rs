//! CONNECT, and plain HTTP: one request a connection, so that each is looked at.

use crate::body;
use crate::client::Client;
use crate::dial::{Ask, Gate, No, Stray};
use crate::hurry::Hurry;
use crate::message::{self, Body, Request};
use crate::relay::{both_ways, break_off, one_way};
use crate::rule::Host;
use std::io::{self, BufReader, Read, Write};
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
    let back = std::thread::Builder::new().stack_size(crate::STACK).spawn(move || match answered(&from_server, &to_client) {
        // The answer is over, and with it the request.
        Ok(()) => drop(to_client.shutdown(Shutdown::Both)),
        Err(_) => [&from_server, &to_client].into_iter().for_each(break_off),
    });
    let sent = body::send(BufReader::new(request.early.chain(client)), server, &request.body);
    if sent.is_err() {
        // A request without its end gets no answer.
        server.shutdown(Shutdown::Both).ok()?;
    }
    back.ok()?.join().ok().map(drop)
}

/// The client is told that the connection ends, whatever the server says: a second request on it would get no answer.
fn answered(server: &TcpStream, client: &TcpStream) -> io::Result<()> {
    message::pass_heads(server, client)?;
    one_way(server, client)
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
}
