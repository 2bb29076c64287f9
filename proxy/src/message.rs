//! One HTTP request as a proxy gets it (RFC 9112): its head, where it goes, and how long its body is.

use crate::rule::Host;
use std::io::{self, Read, Write};

/// More than servers take (nginx: four lines of 8 KiB): as often as there are connections it may be held, outside of the sandbox's cgroup.
const MOST: usize = 32 * 1024;
const HEADERS: usize = 128;

/// A head that has been read, with what came after it.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// As written: methods are case-sensitive.
    pub method: String,
    /// Whom it is for.
    pub host: Host,
    /// Where there.
    pub port: u16,
    /// Of plain HTTP: path and query, as a server wants it.
    pub path: String,
    /// What goes on to the server: without those that are between client and proxy, and without Host.
    pub headers: Vec<(String, Vec<u8>)>,
    /// How its body ends.
    pub body: Body,
    /// The beginning of the body, or of what is tunnelled.
    pub early: Vec<u8>,
}

/// RFC 9112, 6.
#[derive(Debug, PartialEq)]
pub enum Body {
    /// So many bytes.
    Bytes(u64),
    /// Transfer-Encoding: chunked.
    Chunks,
}

/// Between one hop and the next (RFC 9110, 7.6.1), and Host, which follows from the target.
const HOP: [&str; 11] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "host",
    "transfer-encoding",
    "content-length",
];

/// What an answer says of the connection to us.
const CONNECTION: [&str; 3] = ["connection", "proxy-connection", "keep-alive"];

/// Once more when a signal has interrupted it: with a time limit on a socket SIGCONT is enough (signal(7)).
pub fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Reads a request's head.
pub fn read(mut client: impl Read) -> Result<Request, String> {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let n = again(|| client.read(&mut block)).map_err(|e| e.to_string())?;
        bytes.extend_from_slice(&block[..n]);
        match parse(&bytes)? {
            Some(request) => return Ok(request),
            None if n == 0 => return Err("the request has no end".into()),
            None if bytes.len() > MOST => return Err("the request's head is too long".into()),
            None => {}
        }
    }
}

/// `None`: more is to come.
fn parse(bytes: &[u8]) -> Result<Option<Request>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(|e| e.to_string())? else { return Ok(None) };
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let of_it = |why: String| format!("`{target}`: {why}");
    let (host, port, path) = if method == "CONNECT" { authority(target, None) } else { absolute(target) }.map_err(of_it)?;
    // What Connection names is between us and the client too (RFC 9110, 7.6.1).
    let listed = values(head.headers, "connection").flat_map(|v| v.split(',')).map(|v| v.trim().to_ascii_lowercase());
    let listed: Vec<String> = listed.collect();
    let passes = |h: &&httparse::Header| {
        !HOP.iter().any(|hop| h.name.eq_ignore_ascii_case(hop)) && !listed.contains(&h.name.to_ascii_lowercase())
    };
    Ok(Some(Request {
        method: method.into(),
        host,
        port,
        path,
        headers: head.headers.iter().filter(passes).map(|h| (h.name.into(), h.value.to_vec())).collect(),
        body: body(head.headers).map_err(of_it)?,
        early: bytes[length..].to_vec(),
    }))
}

/// What is left of an answer whose head has been passed on.
#[derive(Debug, PartialEq)]
pub struct Rest {
    /// How it ends; `None`: with the connection.
    pub body: Option<Body>,
    /// Of it, what has been passed on with the head.
    pub early: Vec<u8>,
}

/// Passes on the heads of an answer, and what has come behind them: the last one with `Connection: close`. What is no head goes as it is.
/// `speaks`: an answer to HEAD has no body.
pub fn pass_heads(mut server: impl Read, mut client: impl Write, speaks: bool) -> io::Result<Rest> {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let n = again(|| server.read(&mut block))?;
        bytes.extend_from_slice(&block[..n]);
        loop {
            match answer(&bytes) {
                Ok(Some((length, None))) => {
                    // "Go on", which the client waits for.
                    client.write_all(&bytes[..length])?;
                    bytes.drain(..length);
                }
                Ok(Some((length, Some((head, body))))) => {
                    let early = bytes.split_off(length);
                    client.write_all(&[&head[..], &early].concat())?;
                    return Ok(Rest { body: if speaks { body } else { Some(Body::Bytes(0)) }, early });
                }
                Ok(None) if n > 0 && bytes.len() <= MOST => break,
                Ok(None) | Err(_) => return client.write_all(&bytes).map(|()| Rest { body: None, early: bytes }),
            }
        }
    }
}

/// How long the head is, and what it is to be, with its body; `None` in place of that where another one follows (RFC 9110, 15.2).
type Answer = (usize, Option<(Vec<u8>, Option<Body>)>);

/// `None`: more is to come.
fn answer(bytes: &[u8]) -> Result<Option<Answer>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes)? else { return Ok(None) };
    let (code, version) = (head.code.unwrap_or_default(), head.version.unwrap_or_default());
    if (100..200).contains(&code) {
        return Ok(Some((length, None)));
    }
    let mut changed = format!("HTTP/1.{version} {code:03} {}\r\n", head.reason.unwrap_or_default()).into_bytes();
    for h in head.headers.iter().filter(|h| !CONNECTION.iter().any(|name| h.name.eq_ignore_ascii_case(name))) {
        changed.extend([h.name.as_bytes(), b": ", h.value, b"\r\n"].concat());
    }
    changed.extend(b"Connection: close\r\n\r\n");
    Ok(Some((length, Some((changed, answered(code, head.headers))))))
}

/// The body of an answer (RFC 9112, 6.3); where its length is not clear it ends with the connection.
fn answered(code: u16, headers: &[httparse::Header]) -> Option<Body> {
    match (code, body(headers)) {
        (204 | 304, _) => Some(Body::Bytes(0)),
        (_, Ok(Body::Bytes(0))) if values(headers, "content-length").next().is_none() => None,
        (_, body) => body.ok(),
    }
}

fn values<'a>(headers: &'a [httparse::Header], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| std::str::from_utf8(h.value).unwrap_or("\u{fffd}"))
}

/// Where two readers could disagree about the end, nothing is passed on: what follows would be a request that nobody has looked at.
fn body(headers: &[httparse::Header]) -> Result<Body, String> {
    let lengths: Vec<&str> = values(headers, "content-length").collect();
    let codings: Vec<&str> = values(headers, "transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Body::Bytes(0)),
        ([one], []) if !one.is_empty() && one.bytes().all(|b| b.is_ascii_digit()) => {
            one.parse().map(Body::Bytes).map_err(|e| format!("Content-Length: {e}"))
        }
        ([], [one]) if one.trim().eq_ignore_ascii_case("chunked") => Ok(Body::Chunks),
        _ => Err("the length of the body is not clear".into()),
    }
}

fn absolute(target: &str) -> Result<(Host, u16, String), String> {
    let (scheme, rest) = target.split_once("://").ok_or("this is a proxy: the request must have an absolute URL")?;
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(format!("`{scheme}` is not spoken here; CONNECT tunnels it"));
    }
    let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port, _) = authority(place, Some(80))?;
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    Ok((host, port, path))
}

/// `host:port`; the port may be absent when there is a default.
fn authority(text: &str, default: Option<u16>) -> Result<(Host, u16, String), String> {
    let wrong = || format!("`{text}` is no HOST:PORT");
    let bracket = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[bracket..].rfind(':') {
        Some(at) => (&text[..bracket + at], text[bracket + at + 1..].parse().ok().filter(|port| *port != 0)),
        None => (text, default),
    };
    Ok((host.parse().map_err(|_| wrong())?, port.ok_or_else(wrong)?, String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Request, String> {
        read(text.replace('\n', "\r\n").as_bytes())
    }

    /// A client whose every second answer is that a signal came.
    struct Interrupted<'a>(&'a [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut block[..5]) }
        }
    }

    #[test]
    fn a_request_that_signals_interrupt_is_read() {
        let request = read(Interrupted(b"GET http://x.y/ HTTP/1.1\r\n\r\n", false)).unwrap();
        assert_eq!(request.host.to_string(), "x.y");
    }

    #[test]
    fn a_request_loses_what_is_between_client_and_proxy() {
        let text = "POST http://X.y:8080/a?b HTTP/1.1\nHost: evil\nProxy-Authorization: p\nConnection: X-Secret, close\nX-Secret: s\nAccept: */*\nContent-Length: 3\n\nabc";
        let request = ask(text).unwrap();
        assert_eq!((request.host.to_string().as_str(), request.port, request.path.as_str()), ("x.y", 8080, "/a?b"));
        assert_eq!(request.headers, [("Accept".to_string(), b"*/*".to_vec())]);
        assert_eq!((request.body, &request.early[..]), (Body::Bytes(3), &b"abc"[..]));
    }

    #[test]
    fn targets_are_absolute_or_an_authority() {
        let place = |line: &str| ask(&format!("{line} HTTP/1.1\n\n")).map(|r| format!("{}:{} {}", r.host, r.port, r.path));
        assert_eq!(place("CONNECT a.b:443").unwrap(), "a.b:443 ");
        assert_eq!(place("CONNECT [::1]:443").unwrap(), "::1:443 ");
        assert_eq!(place("GET http://a.b").unwrap(), "a.b:80 /");
        assert_eq!(place("GET HTTP://[::1]?x").unwrap(), "::1:80 /?x");
        let wrong =
            ["CONNECT a.b", "CONNECT a.b:0", "CONNECT a.b:x", "GET /", "GET https://a.b/", "GET http://u@a.b/", "GET http:///"];
        for line in wrong.into_iter().chain(["OPTIONS *", "CONNECT http://a.b:1", "GET http://a.b:99999/"]) {
            assert!(place(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_body_whose_end_two_could_see_differently_is_refused() {
        let body = |headers: &str| ask(&format!("GET http://a/ HTTP/1.1\n{headers}\n")).map(|r| r.body);
        assert_eq!(body(""), Ok(Body::Bytes(0)));
        assert_eq!(body("transfer-encoding: Chunked\n"), Ok(Body::Chunks));
        let twice = "Content-Length: 1\n";
        for headers in
            ["Content-Length: +1\n", "Content-Length: 1, 1\n", "Content-Length: \n", "Transfer-Encoding: gzip, chunked\n"]
        {
            assert!(body(headers).is_err(), "{headers}");
        }
        assert!(body(&twice.repeat(2)).is_err() && body(&format!("{twice}Transfer-Encoding: chunked\n")).is_err());
    }

    #[test]
    fn the_client_is_told_that_the_connection_ends() {
        let passed = |text: &str| {
            let mut got = Vec::new();
            pass_heads(text.replace('\n', "\r\n").as_bytes(), &mut got, true).unwrap();
            String::from_utf8(got).unwrap().replace("\r\n", "\n")
        };
        let answer = "HTTP/1.1 200 OK\nA: b\nkeep-alive: 5\nConnection: keep-alive\nC: d\n\nbody";
        let closed = "HTTP/1.1 200 OK\nA: b\nC: d\nConnection: close\n\nbody";
        assert_eq!(passed(answer), closed);
        let first = "HTTP/1.1 100 Continue\nA: b\n\nHTTP/1.1 103 Early Hints\nConnection: x\n\n";
        assert_eq!(passed(&format!("{first}{answer}")), format!("{first}{closed}"));
        assert_eq!(passed("HTTP/1.0 204 \n\n"), "HTTP/1.0 204 \nConnection: close\n\n");
        for none in ["", "SSH-2.0-x\n", "HTTP/1.1 200 OK\nA: b\n", "HTTP/1.1 100 Continue\n\n"] {
            assert_eq!(passed(none), none);
        }
    }

    #[test]
    fn an_answer_says_how_it_ends() {
        let end = |text: &str, speaks| {
            let rest = pass_heads(text.replace('\n', "\r\n").as_bytes(), io::sink(), speaks).unwrap();
            (rest.body, String::from_utf8(rest.early).unwrap())
        };
        let length = "HTTP/1.1 200 OK\nContent-Length: 3\n\nab";
        assert_eq!(end(length, true), (Some(Body::Bytes(3)), "ab".into()));
        assert_eq!(end(&length.replace("ab", ""), false), (Some(Body::Bytes(0)), String::new()), "to HEAD");
        assert_eq!(end("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", true).0, Some(Body::Chunks));
        for none in ["204 No Content\n\n", "304 Not Modified\nContent-Length: 3\n\n", "200 OK\nContent-Length: 0\n\n"] {
            assert_eq!(end(&format!("HTTP/1.1 {none}"), true).0, Some(Body::Bytes(0)), "{none}");
        }
        let unclear = ["200 OK\n\n", "200 OK\nContent-Length: 1\nContent-Length: 2\n\n", "200 OK\nTransfer-Encoding: gzip\n\n"];
        for open in unclear.map(|head| format!("HTTP/1.1 {head}")).into_iter().chain(["SSH-2.0-x\n".into()]) {
            assert_eq!(end(&open, true).0, None, "{open}");
        }
    }
}
