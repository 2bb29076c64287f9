//! Bytes both ways until both sides have ended.

use std::io;
use std::net::{Shutdown, TcpStream};

/// From one to the other, and the end with it. What fails has ended too.
pub fn one_way(mut from: impl io::Read, to: &TcpStream) {
    let mut sink = to;
    let _ = io::copy(&mut from, &mut sink);
    let _ = to.shutdown(Shutdown::Write);
}

/// `early` is what the client has said already.
pub fn both_ways(client: &TcpStream, server: &TcpStream, early: &[u8]) -> Option<()> {
    client.set_read_timeout(None).ok()?;
    server.set_nodelay(true).ok()?;
    let (from_server, to_client) = (server.try_clone().ok()?, client.try_clone().ok()?);
    let back = std::thread::Builder::new().stack_size(crate::STACK).spawn(move || one_way(from_server, &to_client)).ok()?;
    one_way(io::Read::chain(early, client), server);
    back.join().ok()
}
