//! The one way out: asks the rules, resolves, asks them again about the address that is dialed, dials that address, and logs.

use crate::client::{Client, shown};
use crate::log::Log;
use crate::relay::inline;
use crate::rule::{Host, Refused, Rules};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For one address to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The rules and who hears of them.
pub struct Gate {
    /// What may be reached.
    pub rules: Rules,
    /// Whether SOCKS is spoken.
    pub socks: bool,
    /// Whether clients come by no bridge.
    pub direct: bool,
    /// Who was.
    pub log: Log,
}

/// What a client asks for.
pub struct Ask<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// `http`, `connect` or `socks5`.
    pub protocol: &'static str,
    /// Of plain HTTP, which can be looked at.
    pub method: Option<&'a str>,
    /// To whom.
    pub host: &'a Host,
    /// Where there.
    pub port: u16,
}

/// What no rule is asked about, since the proxy does not serve it or cannot tell whom it is for.
pub struct Stray<'a> {
    /// Who asks.
    pub client: &'a Client,
    /// As of [`Ask`].
    pub protocol: &'static str,
    /// As the client has it, if it got so far.
    pub host: Option<String>,
    /// The same.
    pub port: Option<u16>,
    /// Why not.
    pub rule: &'a str,
}

/// Why there is no connection.
pub enum No {
    /// The rules.
    Refused(Refused),
    /// The network.
    Failed(String),
}

impl Gate {
    /// A connection to what is asked for.
    pub fn dial(&self, ask: &Ask) -> Result<TcpStream, No> {
        let dialed = self.try_dial(ask);
        let refused = matches!(dialed, Err(No::Refused(_)));
        if self.log.hears(refused) {
            self.log.say(said(ask, &dialed), refused);
        }
        dialed.map(|(stream, _)| stream)
    }

    /// Says it, as every refusal.
    pub fn refuse(&self, stray: &Stray) {
        let line = json!({
            "event": "refused", "protocol": stray.protocol, "method": null, "host": stray.host.as_deref().map(shown), "port": stray.port,
            "reason": "not-served", "rule": shown(stray.rule), "address": null, "process": stray.client.process(),
        });
        self.log.say(line, true);
    }

    fn try_dial(&self, ask: &Ask) -> Result<(TcpStream, &str), No> {
        let rule = self.rules.method(ask.method).and_then(|()| self.rules.host(ask.host)).map_err(No::Refused)?;
        let mut why = No::Failed("no address".into());
        for address in resolve(ask.host, ask.port).map_err(No::Failed)? {
            match self.rules.address(ask.host, address.ip()) {
                Err(refused) => why = No::Refused(refused),
                Ok(()) => match TcpStream::connect_timeout(&address, PATIENCE).and_then(|to| inline(&to).map(|()| to)) {
                    Ok(stream) => return Ok((stream, rule)),
                    Err(e) => why = No::Failed(e.to_string()),
                },
            }
        }
        Err(why)
    }
}

/// The process is looked for while its connection waits, so that it is still there.
fn said(ask: &Ask, dialed: &Result<(TcpStream, &str), No>) -> Value {
    let (event, word, rule) = match dialed {
        Ok((_, rule)) => ("accepted", None, *rule),
        Err(No::Refused(refused)) => ("refused", Some(refused.word), refused.rule.as_str()),
        Err(No::Failed(why)) => ("failed", None, why.as_str()),
    };
    let address = dialed.as_ref().ok().and_then(|(stream, _)| stream.peer_addr().ok()).map(|at| at.ip());
    json!({
        "event": event, "protocol": ask.protocol, "method": ask.method, "host": ask.host.to_string(), "port": ask.port,
        "reason": word, "rule": rule, "address": address, "process": ask.client.process(),
    })
}

fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, String> {
    match host {
        Host::Address(address) => Ok(vec![SocketAddr::new(IpAddr::to_canonical(address), port)]),
        Host::Name(name) => Ok((name.as_str(), port).to_socket_addrs().map_err(|e| e.to_string())?.collect()),
    }
}
