//! What a bridge carries, as a word on the hook's command line: `inside:127.0.0.1:3128=127.0.0.1:3128`, `inside:0.0.0.0:443=127.0.0.1:3128,by-name`.
//! Addresses only, no secrets.

use crate::{Error, Result};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A side of the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The container's network namespace.
    Inside,
    /// The runtime's.
    Outside,
}

/// Connections to `listen` on one side become connections to `dial` on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The side that is listened on.
    pub side: Side,
    /// There.
    pub listen: SocketAddr,
    /// On the other side.
    pub dial: SocketAddr,
    /// What is said there before the client's own bytes.
    pub says: Says,
    /// Of a loopback: where nobody listens there, the one of the other version of IP is dialed (`localhost` is either).
    pub either: bool,
}

/// What the one who is dialed hears first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Says {
    /// A proxy of codexrun's: who the client is.
    pub client: bool,
    /// An HTTP proxy: CONNECT to the name that the client's destination stands for.
    pub name: bool,
}

impl Route {
    /// A route that carries bytes and adds none.
    pub fn plain(side: Side, listen: SocketAddr, dial: SocketAddr) -> Route {
        Route { side, listen, dial, says: Says::default(), either: false }
    }

    /// Where to dial when nobody listens at the first.
    pub fn second(&self) -> Option<SocketAddr> {
        let other = if self.dial.is_ipv4() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        (self.either && self.dial.ip().is_loopback()).then(|| SocketAddr::new(other, self.dial.port()))
    }

    /// `PORT`, or of a published one `HOST-PORT:PORT`: from a loopback to the other side's.
    ///
    /// # Errors
    /// The word that is no port.
    pub fn between_loopbacks(side: Side, text: &str) -> Result<Route, &str> {
        let (listen, dial) = text.split_once(':').filter(|_| side == Side::Outside).unwrap_or((text, text));
        Ok(Route { either: true, ..Route::plain(side, port(listen)?, port(dial)?) })
    }
}

fn port(text: &str) -> Result<SocketAddr, &str> {
    let port: u16 = text.parse().ok().filter(|port| *port != 0).ok_or(text)?;
    Ok((Ipv4Addr::LOCALHOST, port).into())
}

type Field = fn(&mut Route) -> &mut bool;
const WORDS: [(&str, Field); 3] = [
    ("client", |route| &mut route.says.client),
    ("by-name", |route| &mut route.says.name),
    ("either", |route| &mut route.either),
];
const SIDES: [(&str, Side); 2] = [("inside", Side::Inside), ("outside", Side::Outside)];

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Inside { "inside" } else { "outside" };
        write!(f, "{side}:{}={}", self.listen, self.dial)?;
        let mut copy = *self;
        WORDS.iter().filter(|(_, field)| *field(&mut copy)).try_for_each(|(word, _)| write!(f, ",{word}"))
    }
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(word: &str) -> Result<Route> {
        let parsed = || {
            let (side, addresses) = word.split_once(':')?;
            let (_, side) = SIDES.into_iter().find(|(name, _)| *name == side)?;
            let (listen, dial) = addresses.split_once('=')?;
            let mut words = dial.split(',');
            let mut route = Route::plain(side, listen.parse().ok()?, words.next()?.parse().ok()?);
            for word in words {
                let (_, field) = WORDS.iter().find(|(known, _)| *known == word)?;
                *field(&mut route) = true;
            }
            Some(route)
        };
        let wanted = "`inside:ADDRESS:PORT=ADDRESS:PORT[,client][,by-name][,either]` or `outside:…`";
        parsed().ok_or_else(|| Error::new(format!("`{word}` is not {wanted}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_is_written() {
        let says = ["inside:0.0.0.0:443=127.0.0.1:80,client,by-name", "inside:127.0.0.1:1=127.0.0.1:2,client"];
        for word in ["inside:127.0.0.1:3128=[::1]:80", "outside:127.0.0.1:8080=127.0.0.1:80,either"].into_iter().chain(says) {
            assert_eq!(word.parse::<Route>().unwrap().to_string(), word);
        }
        for word in [
            "",
            "inside",
            "above:127.0.0.1:1=127.0.0.1:2",
            "inside:127.0.0.1:1",
            "inside:localhost:1=127.0.0.1:2",
            "inside:127.0.0.1:1=127.0.0.1:2,x",
        ] {
            assert!(word.parse::<Route>().is_err(), "{word}");
        }
    }

    #[test]
    fn either_loopback_is_one_of_two() {
        let second = |word: &str| word.parse::<Route>().unwrap().second().map(|at| at.to_string());
        assert_eq!(second("outside:127.0.0.1:1=127.0.0.1:2,either").as_deref(), Some("[::1]:2"));
        assert_eq!(second("inside:127.0.0.1:1=[::1]:2,either").as_deref(), Some("127.0.0.1:2"));
        assert_eq!(second("inside:127.0.0.1:1=127.0.0.1:2"), None);
        assert_eq!(second("inside:127.0.0.1:1=192.0.2.1:2,either"), None, "that is no loopback");
    }
}
