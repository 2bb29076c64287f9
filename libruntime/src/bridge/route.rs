//! What a bridge carries, as a word on the hook's command line: `inside:127.0.0.1:3128=127.0.0.1:3128`. Addresses only, no secrets.

use crate::{Error, Result};
use std::fmt;
use std::net::SocketAddr;
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
}

const SIDES: [(&str, Side); 2] = [("inside", Side::Inside), ("outside", Side::Outside)];

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Inside { "inside" } else { "outside" };
        write!(f, "{side}:{}={}", self.listen, self.dial)
    }
}

impl FromStr for Route {
    type Err = Error;

    fn from_str(word: &str) -> Result<Route> {
        let parsed = || {
            let (side, addresses) = word.split_once(':')?;
            let (_, side) = SIDES.into_iter().find(|(name, _)| *name == side)?;
            let (listen, dial) = addresses.split_once('=')?;
            Some(Route { side, listen: listen.parse().ok()?, dial: dial.parse().ok()? })
        };
        parsed().ok_or_else(|| Error::new(format!("`{word}` is not `inside:ADDRESS:PORT=ADDRESS:PORT` or `outside:…`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_is_written() {
        for word in ["inside:127.0.0.1:3128=[::1]:80", "outside:127.0.0.1:8080=127.0.0.1:80"] {
            assert_eq!(word.parse::<Route>().unwrap().to_string(), word);
        }
        for word in ["", "inside", "above:127.0.0.1:1=127.0.0.1:2", "inside:127.0.0.1:1", "inside:localhost:1=127.0.0.1:2"] {
            assert!(word.parse::<Route>().is_err(), "{word}");
        }
    }
}
