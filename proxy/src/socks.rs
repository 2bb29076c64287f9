//! SOCKS5 (RFC 1928), CONNECT only, without authentication.

mod request;

use crate::client::Client;
use crate::dial::{Ask, Gate, No, Stray};
use crate::hurry::Hurry;
use crate::relay::both_ways;
use request::{Request, VERSION};
use std::io::Write;

/// REP of a reply.
mod reply {
    pub const DONE: u8 = 0;
    pub const NOT_ALLOWED: u8 = 2;
    pub const UNREACHABLE: u8 = 4;
    pub const COMMAND: u8 = 7;
    pub const ADDRESS: u8 = 8;
}

pub fn serve(mut hurry: Hurry, who: &Client, gate: &Gate) -> Option<()> {
    let request = Request::read(&mut hurry)?;
    let client = hurry.client;
    let answer = |code: u8| (&*client).write_all(&[VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]).ok();
    let refuse = |host: String, rule: &str| {
        gate.refuse(&Stray { client: who, protocol: "socks5", host: Some(host), port: Some(request.port), rule });
    };
    let host = match &request.host {
        Ok(host) => host,
        Err(text) => {
            refuse(text.clone(), "no host");
            return answer(reply::ADDRESS);
        }
    };
    if !request.connects {
        refuse(host.to_string(), "CONNECT is the only command");
        return answer(reply::COMMAND);
    }
    match gate.dial(&Ask { client: who, protocol: "socks5", method: None, host, port: request.port }) {
        Ok(server) => {
            answer(reply::DONE)?;
            both_ways(client, &server, &[])
        }
        Err(No::Refused(_)) => answer(reply::NOT_ALLOWED),
        Err(No::Failed(_)) => answer(reply::UNREACHABLE),
    }
}
