//! The body of one HTTP request (RFC 9112, 6 and 7), from a client to a server.

use crate::message::Body;
use std::io::{self, BufRead, Error, Read, Write};

/// Exactly the body: what comes after it is another request, which is not passed on.
pub fn send(mut from: impl BufRead, mut server: impl Write, body: &Body) -> io::Result<()> {
    match body {
        Body::Bytes(length) => exactly(&mut from, &mut server, *length),
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
            exactly(&mut from, &mut server, size)?;
            if !line(&mut from)?.is_empty() {
                return Err(Error::other("a chunk is longer than it says"));
            }
            server.write_all(b"\r\n")?;
        },
    }
}

fn exactly(from: &mut impl Read, to: &mut impl Write, length: u64) -> io::Result<()> {
    let sent = io::copy(&mut from.take(length), to)?;
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

    fn sent(text: &str, body: &Body) -> (bool, String) {
        let mut got = Vec::new();
        let whole = send(text.replace('\n', "\r\n").as_bytes(), &mut got, body).is_ok();
        (whole, String::from_utf8(got).unwrap().replace("\r\n", "\n"))
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
