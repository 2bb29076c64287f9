//! What a client of SOCKS5 says until it is connected.

use crate::rule::Host;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

pub const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;

/// What is asked for.
pub struct Request {
    /// By CONNECT of this version, and not by another command.
    pub connects: bool,
    /// Or what is none, as it was said.
    pub host: Result<Host, String>,
    /// Where there.
    pub port: u16,
}

impl Request {
    /// `None`: the client has gone, or wants to say who it is.
    pub fn read(client: &mut (impl Read + Write)) -> Option<Request> {
        greet(client)?;
        let [version, command, _, kind] = read(client)?;
        let (host, port) = (host(client, kind)?, u16::from_be_bytes(read(client)?));
        Some(Request { connects: (version, command) == (VERSION, CONNECT), host, port })
    }
}

fn read<const N: usize>(client: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn read_long(client: &mut impl Read) -> Option<Vec<u8>> {
    let [length] = read(client)?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn greet(client: &mut (impl Read + Write)) -> Option<()> {
    let [_] = read(client)?;
    let offered = read_long(client)?;
    let chosen = if offered.contains(&NO_AUTHENTICATION) { NO_AUTHENTICATION } else { 0xff };
    client.write_all(&[VERSION, chosen]).ok()?;
    (chosen == NO_AUTHENTICATION).then_some(())
}

fn host(client: &mut impl Read, kind: u8) -> Option<Result<Host, String>> {
    Some(match kind {
        1 => Ok(Host::Address(Ipv4Addr::from(read::<4>(client)?).into())),
        3 => {
            let name = String::from_utf8_lossy(&read_long(client)?).into_owned();
            name.parse().map_err(|_| name)
        }
        4 => Ok(Host::Address(Ipv6Addr::from(read::<16>(client)?).into())),
        _ => Err(String::new()),
    })
}
