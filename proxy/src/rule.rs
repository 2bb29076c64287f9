//! Which hosts may be reached: deny wins, and what no pattern allows is refused.

use crate::address::{is_own, is_public};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What a client names: an address, or a name in lower case without its final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Literally.
    Address(IpAddr),
    /// To be resolved.
    Name(String),
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Host::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if name.len() <= 253 && name.split('.').all(label) { Ok(Host::Name(name)) } else { Err(format!("`{text}` is no host")) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => write!(f, "{address}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// `x.y`: that host. `*.x.y`: every name below it. `**.x.y`: both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    host: Host,
    itself: bool,
    below: bool,
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let (itself, below, rest) = match (text.strip_prefix("**."), text.strip_prefix("*.")) {
            (Some(rest), _) => (true, true, rest),
            (None, Some(rest)) => (false, true, rest),
            (None, None) => (true, false, text),
        };
        let host: Host = rest.parse().map_err(|_| format!("`{text}` is no domain; {}", instead(text)))?;
        if below && matches!(host, Host::Address(_)) {
            return Err(format!("`{text}` is no domain: nothing is below an address"));
        }
        Ok(Pattern { text: text.into(), host, itself, below })
    }
}

/// What to write, by the first thing that is wrong.
fn instead(text: &str) -> &'static str {
    match text {
        "*" | "**" => "to allow every one is a policy with the network on, to deny every one needs no pattern",
        text if !text.is_ascii() => "its name in the DNS begins with `xn--`",
        text if text.contains('/') => "expected a name alone, without scheme and path",
        text if text.contains(':') => "expected a name alone, without a port: it is allowed at every one",
        _ => "expected `x.y`, `*.x.y` or `**.x.y`",
    }
}

impl Pattern {
    fn matches(&self, host: &Host) -> bool {
        let below = |name: &str, top: &str| name.strip_suffix(top).is_some_and(|rest| rest.ends_with('.'));
        match (host, &self.host) {
            (host, mine) if host == mine => self.itself,
            (Host::Name(name), Host::Name(top)) => self.below && below(name, top),
            _ => false,
        }
    }
}

/// Why not, in the words of `x-proxy-error`, and the rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `blocked-by-allowlist`, `blocked-by-denylist`, `blocked-by-method-policy` or `blocked-by-policy`.
    pub word: &'static str,
    /// A pattern as it was written, or a sentence.
    pub rule: String,
}

/// Everything that the user said.
#[derive(Debug, Default)]
pub struct Rules {
    /// What may be reached.
    pub allow: Vec<Pattern>,
    /// What may not, although it is allowed.
    pub deny: Vec<Pattern>,
    /// Only what reads: GET, HEAD and OPTIONS without TLS.
    pub limited: bool,
    /// Addresses that are not public may be dialed for names that are allowed.
    pub local: bool,
}

const READS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

impl Rules {
    /// The pattern that allows `host`.
    pub fn host(&self, host: &Host) -> Result<&str, Refused> {
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.matches(host)) {
            return Err(Refused { word: "blocked-by-denylist", rule: pattern.text.clone() });
        }
        let allowed = self.allow.iter().find(|pattern| pattern.matches(host));
        let none = || Refused { word: "blocked-by-allowlist", rule: "no allowed domain matches".into() };
        allowed.map(|pattern| pattern.text.as_str()).ok_or_else(none)
    }

    /// `method` is None for what is not HTTP.
    pub fn method(&self, method: Option<&str>) -> Result<(), Refused> {
        if !self.limited || method.is_some_and(|method| READS.contains(&method)) {
            return Ok(());
        }
        Err(Refused { word: "blocked-by-method-policy", rule: "limited to GET, HEAD and OPTIONS that can be looked at".into() })
    }

    /// What was resolved, if it may be dialed: an address that is not public, or this machine's, only when it is allowed, and not denied, literally. So
    /// a name that is allowed cannot be pointed at the local network.
    pub fn address(&self, host: &Host, address: IpAddr) -> Result<(), Refused> {
        let address = address.to_canonical();
        let literal = Host::Address(address);
        if let Some(pattern) = self.deny.iter().find(|pattern| pattern.matches(&literal)) {
            return Err(Refused { word: "blocked-by-denylist", rule: pattern.text.clone() });
        }
        let localhost = *host == Host::Name("localhost".into()) && address.is_loopback();
        if self.local || localhost || self.allow.iter().any(|pattern| pattern.matches(&literal)) {
            return Ok(());
        }
        // The kernel is asked of a public one alone.
        let near = match is_public(address) {
            false => "not public",
            true if is_own(address) => "this machine's own",
            true => return Ok(()),
        };
        Err(Refused { word: "blocked-by-policy", rule: format!("{address} is {near}, and not allowed literally") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        let patterns = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Rules { allow: patterns(allow), deny: patterns(deny), ..Rules::default() }
    }

    fn word(rules: &Rules, host: &str) -> &'static str {
        rules.host(&host.parse().unwrap()).map_or_else(|refused| refused.word, |_| "allowed")
    }

    #[test]
    fn one_star_is_below_two_are_both_and_none_is_itself() {
        let table = [
            ("x.y", "x.y", true),
            ("x.y", "a.x.y", false),
            ("*.x.y", "x.y", false),
            ("*.x.y", "a.x.y", true),
            ("*.x.y", "a.b.x.y", true),
            ("*.x.y", "ax.y", false),
            ("**.x.y", "x.y", true),
            ("**.x.y", "a.x.y", true),
            ("**.x.y", "evilx.y", false),
            ("X.Y", "x.y.", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "[::1]", true),
            ("*.1", "127.0.0.1", false),
        ];
        for (pattern, host, allowed) in table {
            assert_eq!(word(&rules(&[pattern], &[]), host) == "allowed", allowed, "{pattern} {host}");
        }
    }

    #[test]
    fn deny_wins_and_nothing_allows_nothing() {
        assert_eq!(word(&rules(&["**.x.y"], &["a.x.y"]), "a.x.y"), "blocked-by-denylist");
        assert_eq!(word(&rules(&["**.x.y"], &["a.x.y"]), "b.x.y"), "allowed");
        assert_eq!(word(&rules(&[], &[]), "x.y"), "blocked-by-allowlist");
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["*", "**", "*.", "**.", "", "a.*.b", "*a.b", "a b", "http://a", "a/b", "*.127.0.0.1", "a..b", "a:80"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let table = [
            ("*", "network on"),
            ("**", "to deny every one needs no pattern"),
            ("https://x.y/", "without scheme"),
            ("x.y:443", "without a port"),
            ("münchen.de", "`xn--`"),
            ("x..y", "expected `x.y`"),
        ];
        for (text, said) in table {
            let error = text.parse::<Pattern>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is no domain; ")) && error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_private_address_must_be_named_literally() {
        let rules = rules(&["**.x.y", "localhost", "10.0.0.5", "fd00::1"], &["192.0.2.7"]);
        let ask = |host: &str, address: &str| rules.address(&host.parse().unwrap(), address.parse().unwrap()).is_ok();
        assert!(ask("x.y", "93.184.216.34") && ask("x.y", "10.0.0.5") && ask("x.y", "fd00::1"));
        assert!(ask("localhost", "127.0.0.1") && ask("localhost", "::1"));
        for address in ["127.0.0.1", "10.0.0.6", "169.254.169.254", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.6", "192.0.2.7"] {
            assert!(!ask("x.y", address), "{address}");
        }
        assert!(ask("x.y", "::ffff:10.0.0.5") && !ask("localhost", "10.0.0.6"));
        let local = Rules { local: true, ..rules };
        let ask = |address: &str| local.address(&"x.y".parse().unwrap(), address.parse().unwrap()).is_ok();
        assert!(ask("10.0.0.6") && !ask("192.0.2.7"), "and deny wins");
    }

    #[test]
    fn limited_is_for_reading_what_can_be_seen() {
        let limited = Rules { limited: true, ..Rules::default() };
        assert!(READS.iter().all(|method| limited.method(Some(method)).is_ok()));
        for method in [Some("POST"), Some("get"), Some("CONNECT"), None] {
            assert_eq!(limited.method(method).unwrap_err().word, "blocked-by-method-policy");
        }
    }
}
