//! What a proxy of codexrun's lets through: the keys of Codex's `[permissions.NAME.network]`, which stand as `codexrun.proxy` in the JSON
//! forms, as those have no word for them.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// See [`KEYS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    /// Patterns, and whether what they match is allowed; a denial wins. The proxy reads them.
    pub domains: BTreeMap<String, bool>,
    /// Only requests that read and can be looked at.
    pub limited: bool,
    /// An allowed name may lead to an address that is not public.
    pub local: bool,
    /// Whether SOCKS5 is spoken beside HTTP, if something is said of it.
    pub socks: Option<bool>,
    /// Where the proxy is found inside; loopback. A port of its own when `None`.
    pub proxy_url: Option<String>,
    /// One more place to find it at.
    pub socks_url: Option<String>,
}

/// Nothing is allowed.
impl Default for Domains {
    fn default() -> Domains {
        Domains { domains: BTreeMap::new(), limited: false, local: false, socks: None, proxy_url: None, socks_url: None }
    }
}

/// Codex's names of what is acted on.
pub const KEYS: [&str; 6] = ["domains", "mode", "allow_local_binding", "enable_socks5", "proxy_url", "socks_url"];
/// Values of `domains`.
pub const VERDICTS: &[(&str, bool)] = &[("allow", true), ("deny", false)];
/// Values of `mode`: whether it is limited.
pub const MODES: &[(&str, bool)] = &[("full", false), ("limited", true)];

impl Domains {
    /// Whether it asks for a proxy by itself; the rest only says how that should be.
    pub fn ask(&self) -> bool {
        !self.domains.is_empty() || self.limited
    }

    /// Unless it is switched off.
    pub fn speaks_socks(&self) -> bool {
        self.socks != Some(false)
    }

    /// Asked for by name, SOCKS is named to programs: that the proxy speaks it is no reason, as many programs do not.
    pub fn names_socks(&self) -> bool {
        self.speaks_socks() && (self.socks.is_some() || self.socks_url.is_some())
    }

    /// The patterns of one verdict.
    pub fn patterns(&self, allowed: bool) -> impl Iterator<Item = &str> {
        self.domains.iter().filter(move |(_, verdict)| **verdict == allowed).map(|(pattern, _)| pattern.as_str())
    }

    /// What differs from the default, keys in alphabetical order.
    pub fn canonical_json(&self) -> Value {
        let word = |allowed: bool| json!(VERDICTS.iter().find(|(_, verdict)| *verdict == allowed).map(|(word, _)| *word));
        let domains: Map<String, Value> =
            self.domains.iter().map(|(pattern, allowed)| (pattern.clone(), word(*allowed))).collect();
        let fields = [
            ("allow_local_binding", self.local.then_some(json!(true))),
            ("domains", (!domains.is_empty()).then_some(Value::Object(domains))),
            ("enable_socks5", self.socks.map(|on| json!(on))),
            ("mode", self.limited.then_some(json!("limited"))),
            ("proxy_url", self.proxy_url.as_ref().map(|url| json!(url))),
            ("socks_url", self.socks_url.as_ref().map(|url| json!(url))),
        ];
        Value::Object(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }
}
