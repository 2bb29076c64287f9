//! SOCKS5 (RFC 1928), CONNECT only, without authentication.

use crate::client::Client;
use crate::dial::{Ask, Gate, No};
use crate::relay::both_ways;
use crate::rule::Host;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;

/// REP of a reply.
mod reply {
    pub const DONE: u8 = 0;
    pub const NOT_ALLOWED: u8 = 2;
    pub const UNREACHABLE: u8 = 4;
    pub const COMMAND: u8 = 7;
    pub const ADDRESS: u8 = 8;
}

pub fn serve(mut client: TcpStream, who: &Client, gate: &Gate) -> Option<()> {
    greet(&mut client)?;
    let [version, command, _, kind] = read(&mut client)?;
    let host = host(&mut client, kind)?;
    let port = u16::from_be_bytes(read(&mut client)?);
    let answer = |code: u8| (&client).write_all(&[VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]).ok();
    let Some(host) = host else { return answer(reply::ADDRESS) };
    if version != VERSION || command != CONNECT {
        return answer(reply::COMMAND);
    }
    match gate.dial(&Ask { client: who, protocol: "socks5", method: None, host: &host, port }) {
        Ok(server) => {
            answer(reply::DONE)?;
            both_ways(&client, &server, &[])
        }
        Err(No::Refused(_)) => answer(reply::NOT_ALLOWED),
        Err(No::Failed(_)) => answer(reply::UNREACHABLE),
    }
}

fn read<const N: usize>(client: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn read_long(client: &mut TcpStream) -> Option<Vec<u8>> {
    let [length] = read(client)?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn greet(client: &mut TcpStream) -> Option<()> {
    let [_] = read(client)?;
    let offered = read_long(client)?;
    let chosen = if offered.contains(&NO_AUTHENTICATION) { NO_AUTHENTICATION } else { 0xff };
    client.write_all(&[VERSION, chosen]).ok()?;
    (chosen == NO_AUTHENTICATION).then_some(())
}

/// `Some(None)`: read, and no host.
fn host(client: &mut TcpStream, kind: u8) -> Option<Option<Host>> {
    Some(match kind {
        1 => Some(Host::Address(Ipv4Addr::from(read::<4>(client)?).into())),
        3 => String::from_utf8(read_long(client)?).ok().and_then(|name| name.parse().ok()),
        4 => Some(Host::Address(Ipv6Addr::from(read::<16>(client)?).into())),
        _ => None,
    })
}
