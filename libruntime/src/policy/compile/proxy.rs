//! Proxy-only: the endpoints that the proxy variables name become routes of the bridge, and the variables name its ends inside.

use super::{Findings, Request};
use crate::Error;
use crate::bridge::{Route, Side};
use crate::policy::Network;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Codex's list; in any case of letters.
pub const PROXY_VARIABLES: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "WS_PROXY",
    "WSS_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
    "YARN_HTTP_PROXY",
    "YARN_HTTPS_PROXY",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_PROXY",
    "BUNDLE_HTTP_PROXY",
    "BUNDLE_HTTPS_PROXY",
    "PIP_PROXY",
    "DOCKER_HTTP_PROXY",
    "DOCKER_HTTPS_PROXY",
];

/// The port of an endpoint that names none.
const PORTS: &[(&str, u16)] = &[("https", 443), ("socks4", 1080), ("socks4a", 1080), ("socks5", 1080), ("socks5h", 1080)];
const PORT: u16 = 80;

/// The request with what its network asks of the bridge; what cannot be had is found.
pub(super) fn routed<'a>(request: &Request<'a>, found: &mut Findings) -> Request<'a> {
    let mut request = request.clone();
    match request.policy.network {
        Network::Enabled if !request.routes.is_empty() => found.errors.push(needless()),
        Network::Enabled | Network::Restricted => {}
        Network::Proxy => proxied(&mut request, found),
    }
    request
}

fn needless() -> Error {
    let what = "a port cannot be published or allowed where the network is the host's own";
    Error::new(what).hint("every port is reachable already; leave `--publish` and `--allow-host-port` out")
}

fn proxied(request: &mut Request, found: &mut Findings) {
    let mut named = false;
    let mut usable = false;
    for variable in &mut request.env {
        let Some((name, value)) = variable.split_once('=').filter(|(name, value)| names_a_proxy(name) && !value.is_empty())
        else {
            continue;
        };
        named = true;
        match Endpoint::parse(value) {
            Some(endpoint) => {
                let port = port_inside(&mut request.routes, endpoint.address);
                *variable = format!("{name}={}", endpoint.at(port));
                usable = true;
            }
            None => {
                found.warnings.push(format!("`{name}` names no proxy on this machine's loopback, so it leads nowhere inside"))
            }
        }
    }
    if !usable {
        found.errors.push(without_endpoint(named));
    }
}

/// Codex's sentences, which people know to search for.
fn without_endpoint(named: bool) -> Error {
    match named {
        false => Error::new("managed proxy mode requires proxy environment variables")
            .hint("e.g. `--env HTTP_PROXY=http://127.0.0.1:3128`"),
        true => Error::new("managed proxy mode requires parseable loopback proxy endpoints")
            .hint("the host must be localhost, 127.0.0.1 or [::1]"),
    }
}

/// Whether a variable of this name is read as a proxy's URL.
pub fn names_a_proxy(name: &str) -> bool {
    PROXY_VARIABLES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The port inside that leads to `dial`: its own number, unless another route has that.
fn port_inside(routes: &mut Vec<Route>, dial: SocketAddr) -> u16 {
    let inside = |routes: &[Route]| routes.iter().filter(|route| route.side == Side::Inside).copied().collect::<Vec<_>>();
    if let Some(known) = inside(routes).iter().find(|route| route.dial == dial) {
        return known.listen.port();
    }
    let free = |port: &u16| inside(routes).iter().all(|route| route.listen.port() != *port);
    let port = (dial.port()..=u16::MAX).chain(1..dial.port()).find(free).unwrap_or(dial.port());
    routes.push(Route::plain(Side::Inside, (Ipv4Addr::LOCALHOST, port).into(), dial));
    port
}

/// A proxy's URL in three parts, the middle one being its host and port.
#[derive(Debug, PartialEq)]
struct Endpoint<'a> {
    /// Scheme and user, as written.
    before: &'a str,
    address: SocketAddr,
    /// Path and what follows, as written.
    after: &'a str,
}

impl<'a> Endpoint<'a> {
    fn parse(value: &'a str) -> Option<Endpoint<'a>> {
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = split(host_and_port)?;
        let default = || PORTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map_or(PORT, |(_, port)| *port);
        let port = if port.is_empty() { default() } else { port.parse().ok().filter(|port| *port != 0)? };
        let before = &value[..value.len() - after.len() - host_and_port.len()];
        Some(Endpoint { before, address: loopback(host, port)?, after })
    }

    fn at(&self, port: u16) -> String {
        format!("{}127.0.0.1:{port}{}", self.before, self.after)
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; no port is an empty one.
fn split(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(v6) => {
            let (_, port) = v6.split_once(']')?;
            let host = &text[..text.len() - port.len()];
            if port.is_empty() { Some((host, "")) } else { Some((host, port.strip_prefix(':')?)) }
        }
        None => Some(text.split_once(':').unwrap_or((text, ""))),
    }
}

fn loopback(host: &str, port: u16) -> Option<SocketAddr> {
    match host {
        "127.0.0.1" => Some((Ipv4Addr::LOCALHOST, port).into()),
        "[::1]" => Some((Ipv6Addr::LOCALHOST, port).into()),
        name => name.eq_ignore_ascii_case("localhost").then(|| (Ipv4Addr::LOCALHOST, port).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{FileSystem, Policy};

    #[test]
    fn only_host_and_port_of_a_value_change() {
        let table = [
            ("http://127.0.0.1:3128", "http://127.0.0.1:3128"),
            ("http://localhost:3128/", "http://127.0.0.1:3128/"),
            ("LOCALHOST:3128", "127.0.0.1:3128"),
            ("https://localhost", "https://127.0.0.1:443"),
            ("socks5h://[::1]", "socks5h://127.0.0.1:1080"),
            ("http://user:p@ss:w@localhost:8/a?b#c", "http://user:p@ss:w@127.0.0.1:8/a?b#c"),
            ("localhost/x", "127.0.0.1:80/x"),
        ];
        for (value, inside) in table {
            let endpoint = Endpoint::parse(value).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(endpoint.at(endpoint.address.port()), inside, "{value}");
        }
    }

    #[test]
    fn what_is_not_this_machines_loopback_is_no_endpoint() {
        let refused = [
            "http://proxy.corp:3128",
            "http://127.0.0.2:3128",
            "http://127.0.0.1:0",
            "http://127.0.0.1:65536",
            "http://127.0.0.1:x",
            "http://[::2]:1",
            "http://[::1",
            "http://[::1]3128",
            "http://127.0.0.1@evil:1",
            "http://localhost.evil:1",
            "::1",
            "",
        ];
        for value in refused {
            assert_eq!(Endpoint::parse(value), None, "{value}");
        }
    }

    fn tried(env: &[&str], network: Network, routes: &[&str]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let policy = Policy { file_system: FileSystem::Unrestricted, network, choices: Default::default() };
        let request = Request {
            env: env.iter().map(ToString::to_string).collect(),
            routes: routes.iter().map(|word| word.parse().unwrap()).collect(),
            ..crate::policy::compile::testing::request(&policy)
        };
        let mut found = Findings::default();
        let made = routed(&request, &mut found);
        let errors = found.errors.iter().map(|e| e.what.clone()).chain(found.warnings).collect();
        (made.env, made.routes.iter().map(Route::to_string).collect(), errors)
    }

    #[test]
    fn one_endpoint_is_one_route_and_two_of_the_same_port_are_two() {
        let env = ["http_proxy=localhost:9", "HTTPS_PROXY=http://127.0.0.1:9", "All_Proxy=socks5://[::1]:9", "NO_PROXY=x", "A=b"];
        let (env, routes, said) = tried(&env, Network::Proxy, &["outside:127.0.0.1:10=127.0.0.1:10"]);
        let inside = ["inside:127.0.0.1:9=127.0.0.1:9", "inside:127.0.0.1:10=[::1]:9"];
        assert_eq!(routes, [&["outside:127.0.0.1:10=127.0.0.1:10"][..], &inside].concat());
        let all =
            ["http_proxy=127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9", "All_Proxy=socks5://127.0.0.1:10", "NO_PROXY=x", "A=b"];
        assert_eq!(env, all);
        assert!(said.is_empty());
    }

    #[test]
    fn without_a_usable_endpoint_nothing_starts() {
        let none = "managed proxy mode requires proxy environment variables";
        assert_eq!(tried(&["HTTP_PROXY=", "A=b"], Network::Proxy, &[]).2, [none]);
        let (env, routes, said) = tried(&["HTTP_PROXY=http://proxy.corp:1"], Network::Proxy, &[]);
        assert_eq!((env, routes.len()), (vec!["HTTP_PROXY=http://proxy.corp:1".to_string()], 0), "not removed");
        assert_eq!(said[0], "managed proxy mode requires parseable loopback proxy endpoints");
        assert!(said[1].starts_with("`HTTP_PROXY` names no proxy on this machine's loopback"));
    }

    #[test]
    fn other_networks_keep_their_variables_and_the_hosts_own_needs_no_routes() {
        for network in [Network::Restricted, Network::Enabled] {
            assert_eq!(tried(&["HTTP_PROXY=localhost:9"], network, &[]).0, ["HTTP_PROXY=localhost:9"]);
        }
        let port = ["inside:127.0.0.1:5432=127.0.0.1:5432"];
        assert!(tried(&[], Network::Restricted, &port).2.is_empty());
        assert_eq!(tried(&[], Network::Enabled, &port).2.len(), 1);
    }
}
