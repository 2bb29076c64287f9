//! What a program in the sandbox says to the proxy → request: the same however the bytes come, and nothing in it begins another line.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../proxy/src/address.rs"]
mod address;
#[path = "../../proxy/src/message.rs"]
mod message;
#[path = "../../proxy/src/rule.rs"]
mod rule;

use libfuzzer_sys::fuzz_target;
use std::io::{Read, Result};

fuzz_target!(|bytes: &[u8]| {
    let whole = message::read(bytes);
    let slowly = message::read(Slowly(bytes));
    let Ok(request) = whole else { return assert!(slowly.is_err()) };
    let line = |text: &[u8]| !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    assert!(line(request.method.as_bytes()) && line(request.path.as_bytes()) && line(request.host.to_string().as_bytes()));
    assert!(request.headers.iter().all(|(name, value)| line(name.as_bytes()) && line(value)));
    assert!(request.port != 0 && bytes.ends_with(&request.early));
    let slowly = slowly.expect("the same");
    assert_eq!(message::Request { early: vec![], ..request }, message::Request { early: vec![], ..slowly });
});

/// A byte at a time.
struct Slowly<'a>(&'a [u8]);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let some = buffer.len().min(1);
        self.0.read(&mut buffer[..some])
    }
}
