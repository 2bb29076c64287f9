//! Signals as people and engines write them: `TERM`, `SIGTERM`, `15`, `RTMIN+3`.

use crate::{Error, Result};
use std::str::FromStr;

/// A signal number, 1 to 64; or 0, which asks whether there is somebody to signal (kill(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

/// signal(7): glibc and musl keep 32 and 33 for themselves.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// SIGKILL.
    pub const KILL: Signal = Signal(libc::SIGKILL);
    /// SIGTERM, what `kill` sends unless told.
    pub const TERM: Signal = Signal(libc::SIGTERM);

    /// As kill(2) takes it.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Signal> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = upper.parse().ok().or_else(|| named(name)).or_else(|| real_time(name));
        match number {
            Some(number @ 0..=RTMAX) => Ok(Signal(number)),
            _ => Err(Error::new(format!("unknown signal `{}`", text.escape_debug())).hint("a name, or a number from 0 to 64")),
        }
    }
}

fn named(name: &str) -> Option<i32> {
    // Other names for the same numbers, kept by signal(7).
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        name => name,
    };
    nix::sys::signal::Signal::from_str(&format!("SIG{name}")).ok().map(|s| s as i32)
}

fn real_time(name: &str) -> Option<i32> {
    let from = |base: i32, rest: &str| match rest {
        "" => Some(base),
        // `+3` and `-2`; a bare number is no offset.
        rest if rest.starts_with(['+', '-']) => rest.parse::<i32>().ok()?.checked_add(base),
        _ => None,
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => from(RTMIN, rest),
        (_, Some(rest)) => from(RTMAX, rest),
        _ => None,
    };
    number.filter(|n| (RTMIN..=RTMAX).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_mean_the_same() {
        let table = [("TERM", 15), ("SIGTERM", 15), ("sigterm", 15), ("15", 15), ("kill", 9), ("CLD", 17), ("64", 64), ("0", 0)];
        for (text, number) in table.into_iter().chain([("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-2", 62)]) {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for bad in ["", "-9", "65", "SIG", "SIG15", "NOPE", "RTMIN3", "RTMIN+99", "RTMAX+1", "SIGSIGTERM"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad}");
        }
    }
}
