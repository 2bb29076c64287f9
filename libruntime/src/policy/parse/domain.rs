//! The keys of a network behind a proxy of codexrun's: `[permissions.NAME.network]`, and `codexrun.proxy`.

use super::cursor::At;
use crate::Result;
use crate::policy::domain::{Domains, MODES, VERDICTS};

/// Codex's keys of which nothing is done: each would open more, so that without it the policy is kept; whoever asks for it is told.
const NEVER: &[(&str, &str)] = &[
    ("enable_socks5_udp", "the proxy carries TCP only"),
    ("allow_upstream_proxy", "the proxy dials by itself"),
    ("dangerously_allow_non_loopback_proxy", "the proxy is on the loopback of the sandbox alone"),
];

/// Whether a key is one of those.
pub(super) fn is_without_effect(key: &str) -> bool {
    NEVER.iter().any(|(name, _)| *name == key)
}

/// What the table says over what `domains` says already.
pub(super) fn overlay(domains: &mut Domains, at: &At) -> Result<()> {
    if let Some(table) = at.option("domains") {
        for item in table.items()? {
            domains.domains.insert(item.name().str.to_owned(), item.word(VERDICTS)?);
        }
    }
    if let Some(mode) = at.option("mode") {
        domains.limited = mode.word(MODES)?;
    }
    if let Some(on) = at.option("allow_local_binding") {
        domains.local = on.bool()?;
    }
    if let Some(on) = at.option("enable_socks5") {
        domains.socks = Some(on.bool()?);
    }
    for (key, field) in [("proxy_url", &mut domains.proxy_url), ("socks_url", &mut domains.socks_url)] {
        if let Some(url) = at.option(key) {
            *field = Some(url.text("a URL")?.str.to_owned());
        }
    }
    for (key, why) in NEVER {
        if let Some(on) = at.option(key)
            && on.bool()?
        {
            on.warn(&format!("has no effect: {why}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Base, Format, parse};
    use crate::policy::Network;
    use std::path::Path;

    /// The network, what is said to the proxy, and the warnings.
    fn read(network: &str) -> (Network, String, Vec<String>) {
        let text = format!("default_permissions = 'a'\n[permissions.a]\nextends = 'b'\n{network}");
        let parsed = parse("p", &text, Format::Toml, &Base { cwd: Path::new("/w"), home: None }).unwrap();
        let domains = parsed.policy.choices.proxy.map_or("none".into(), |domains| domains.canonical_json().to_string());
        let of_network = parsed.warnings.into_iter().filter(|said| !said.contains("no entries"));
        (parsed.policy.network, domains, of_network.collect())
    }

    #[test]
    fn an_enabled_network_with_domains_is_one_behind_a_proxy_and_a_child_has_the_last_word() {
        let parent = "[permissions.b.network]\nenabled = true\nmode = 'limited'\nenable_socks5 = false\n\
                      domains = { 'a.b' = 'allow', '*.c.d' = 'allow' }\n";
        let (network, domains, said) = read(parent);
        let limited = r#"{"domains":{"*.c.d":"allow","a.b":"allow"},"enable_socks5":false,"mode":"limited"}"#;
        assert_eq!((network, domains.as_str(), said), (Network::Proxy, limited, vec![]));
        let child = "[permissions.a.network]\nmode = 'full'\nproxy_url = 'http://127.0.0.1:3128'\nallow_local_binding = true\n\
                     domains = { 'a.b' = 'deny' }\n";
        let both = r#"{"allow_local_binding":true,"domains":{"*.c.d":"allow","a.b":"deny"},"enable_socks5":false,"proxy_url":"http://127.0.0.1:3128"}"#;
        assert_eq!(read(&format!("{parent}{child}")), (Network::Proxy, both.into(), vec![]));
        let off = format!("{parent}[permissions.a.network]\nenabled = false\n");
        assert_eq!(read(&off), (Network::Restricted, "none".into(), vec![]));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let of = |keys: &str| read(&format!("[permissions.b.network]\nenabled = true\n{keys}\n"));
        let (network, _, said) = of("mode = 'limited'");
        assert_eq!((network, said.len()), (Network::Proxy, 1), "no domain is allowed: {said:?}");
        let (network, domains, said) = of("proxy_url = 'http://127.0.0.1:3128'");
        assert_eq!((network, domains.as_str(), said.len()), (Network::Enabled, "none", 1), "{said:?}");
        let never = "enable_socks5_udp = true\nallow_upstream_proxy = true\ndangerously_allow_non_loopback_proxy = true";
        assert_eq!(of(&format!("{never}\ndomains = {{ 'a.b' = 'allow' }}")).2.len(), 3);
        assert!(of(&never.replace("true", "false")).2.is_empty());
    }
}
