//! What is said to the proxy: by a program in the sandbox as HTTP or SOCKS → request, the same however the bytes come, and nothing in it
//! begins another line; the body of a request, of which no more is passed on than it says; by the bridge, who the client is.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../proxy/src/address.rs"]
mod address;
#[path = "../../proxy/src/body.rs"]
mod body;
#[path = "../../proxy/src/client.rs"]
mod client;
#[path = "../../proxy/src/hurry.rs"]
mod hurry;
#[path = "../../proxy/src/message.rs"]
mod message;
#[path = "../../proxy/src/rule.rs"]
mod rule;
#[path = "../../proxy/src/socks/request.rs"]
mod socks;

use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Read, Result};

fuzz_target!(|bytes: &[u8]| {
    request(bytes);
    chunks(bytes);
    socks(bytes);
    assert!(client::Client::read(bytes).is_none() || bytes.starts_with(b"codexrun"));
});

fn line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

fn request(bytes: &[u8]) {
    let whole = message::read(bytes);
    let slowly = message::read(Slowly(bytes));
    let Ok(request) = whole else { return assert!(slowly.is_err()) };
    assert!(line(request.method.as_bytes()) && line(request.path.as_bytes()) && line(request.host.to_string().as_bytes()));
    assert!(request.headers.iter().all(|(name, value)| line(name.as_bytes()) && line(value)));
    assert!(request.port != 0 && bytes.ends_with(&request.early));
    let slowly = slowly.expect("the same");
    assert_eq!(message::Request { early: vec![], ..request }, message::Request { early: vec![], ..slowly });
}

/// What is passed on is one body: of itself all of it is passed on again, and nothing that follows.
fn chunks(bytes: &[u8]) {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    if body::send(bytes, &mut once, &message::Body::Chunks).is_ok() {
        let next = [&once[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        body::send(&next[..], &mut twice, &message::Body::Chunks).expect("a body");
        assert_eq!(once, twice);
    }
}

fn socks(bytes: &[u8]) {
    let mut client = Cursor::new(bytes.to_vec());
    if let Some(request) = socks::Request::read(&mut client) {
        assert!(request.host.ok().is_none_or(|host| line(host.to_string().as_bytes()) && !host.to_string().is_empty()));
    }
}

/// A byte at a time.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let some = buffer.len().min(1);
        self.0.read(&mut buffer[..some])
    }
}
