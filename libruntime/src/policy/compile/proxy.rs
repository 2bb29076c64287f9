//! Proxy-only: the endpoints that the proxy variables name become routes of the bridge, and the variables name its ends inside. Ports that
//! are to be reached by name become routes too.

use super::{Findings, Request};
use crate::bridge::{Route, Says, Side};
use crate::policy::Network;
use crate::policy::domain::Domains;
use crate::{Error, Result};
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
/// Of the resolver inside.
const DNS: u16 = 53;

/// The request with what its network asks of the bridge; what cannot be had is found.
pub(super) fn routed<'a>(request: &Request<'a>, found: &mut Findings) -> Request<'a> {
    let mut request = request.clone();
    match request.policy.network {
        Network::Enabled if !request.routes.is_empty() => found.errors.push(needless()),
        Network::Enabled if request.policy.choices.tcp_ports.is_some() => found.errors.push(not_all()),
        Network::Enabled | Network::Restricted => found.errors.extend(without_proxy(&request).map(idle)),
        Network::Proxy => proxied(&mut request, found),
    }
    found.errors.extend(twice(&request.routes).map(|port| Error::new(format!("port {port} is listened on twice inside"))));
    found.errors.extend(round(&request.routes).map(circular));
    request
}

/// A port inside that the host reaches and that leads to the host: a connection to it would come back without end.
fn round(routes: &[Route]) -> Option<u16> {
    let mut published = routes.iter().filter(|route| route.side == Side::Outside).map(|route| route.dial.port());
    let leads_out = |port: &u16| routes.iter().any(|route| route.side == Side::Inside && route.listen.port() == *port);
    published.find(leads_out)
}

fn circular(port: u16) -> Error {
    let error = Error::new(format!("port {port} inside is published, and leads to the host"));
    error.hint("a connection would go round; a server inside needs a port that is not let through to the host")
}

fn idle(what: &str) -> Error {
    let error = Error::new(format!("`{what}` has no effect without a proxy"));
    error.hint("`sandbox --allow-domain` runs one; `--managed-network '{}'` goes by those that the environment names, and so does `\"network\": {\"mode\": \"proxy\"}` of a split policy")
}

/// What is asked of a proxy that there is not.
fn without_proxy(request: &Request) -> Option<&'static str> {
    let choices = &request.policy.choices;
    [(choices.proxy.is_some(), "proxy"), (!choices.dns.is_empty(), "dns")].into_iter().find(|(on, _)| *on).map(|(_, what)| what)
}

/// At which the bridge, and its resolver, listen inside.
pub(super) fn ports_inside(routes: &[Route]) -> impl Iterator<Item = u16> {
    let names = routes.iter().any(|route| route.says.name).then_some(DNS);
    routes.iter().filter(|route| route.side == Side::Inside).map(|route| route.listen.port()).chain(names)
}

/// Whoever listens on every address has the port alone.
fn twice(routes: &[Route]) -> Option<u16> {
    let ports: Vec<u16> = ports_inside(routes).collect();
    ports.iter().enumerate().find(|(n, port)| ports[..*n].contains(port)).map(|(_, port)| *port)
}

/// The routes to a proxy of codexrun's at `port` of the host's loopback: to where the policy says that it is found, else to the same port.
pub fn to_own_proxy(domains: Option<&Domains>, port: u16) -> Result<Vec<Route>> {
    let urls = domains
        .map_or([None, None], |d| [("proxy_url", d.proxy_url.as_deref()), ("socks_url", d.socks_url.as_deref())].map(Some));
    let mut ports = Vec::new();
    for (key, url) in urls.into_iter().flatten().filter_map(|(key, url)| Some((key, url?))) {
        let endpoint = Endpoint::parse(url).ok_or_else(|| Error::new(format!("`{key}`: `{url}` is not on the loopback")))?;
        if !ports.contains(&endpoint.address.port()) {
            ports.push(endpoint.address.port());
        }
    }
    if ports.is_empty() {
        ports.push(port);
    }
    let to = |listen: u16| Route {
        says: Says { client: true, name: false },
        ..Route::plain(Side::Inside, (Ipv4Addr::LOCALHOST, listen).into(), (Ipv4Addr::LOCALHOST, port).into())
    };
    Ok(ports.into_iter().map(to).collect())
}

fn needless() -> Error {
    let what = "a port cannot be published or allowed where the network is the host's own";
    Error::new(what).hint("every port is reachable already; leave `--publish` and `--allow-host-port` out")
}

fn not_all() -> Error {
    let error =
        Error::new("`tcp_ports` confines nothing where the network is the host's own: UDP and the rest have no such rules");
    error.hint("leave the network off and name domains: `--allow-domain`")
}

fn proxied(request: &mut Request, found: &mut Findings) {
    let mut named = false;
    let mut usable = false;
    let mut tunnel = None;
    for variable in &mut request.env {
        let Some((name, value)) = variable.split_once('=').filter(|(name, value)| names_a_proxy(name) && !value.is_empty())
        else {
            continue;
        };
        named = true;
        match Endpoint::parse(value) {
            Some(endpoint) => {
                tunnel = tunnel.or(endpoint.tunnel());
                let port = port_inside(&mut request.routes, endpoint.address);
                *variable = format!("{name}={}", endpoint.at(port));
                usable = true;
            }
            None => {
                found.warnings.push(format!("`{name}` names no proxy on this machine's loopback, so it leads nowhere inside"))
            }
        }
    }
    match tunnel {
        _ if !usable => found.errors.push(without_endpoint(named)),
        _ if request.policy.choices.dns.is_empty() => {}
        Some(proxy) => by_name(request, proxy),
        None => found.errors.push(Error::new("`dns` needs an HTTP proxy that asks for no password")),
    }
    let ours = request.routes.iter().any(|route| route.says.client);
    if request.policy.choices.proxy.is_some() && !ours {
        found.warnings.push("the domains of the policy are for the proxies to keep that the environment names".into());
    }
}

/// Names are resolved inside, and these ports of them tunnelled.
fn by_name(request: &mut Request, proxy: SocketAddr) {
    let client = request.routes.iter().any(|route| route.dial == proxy && route.says.client);
    let to = |port: &u16| Route {
        says: Says { client, name: true },
        ..Route::plain(Side::Inside, (Ipv4Addr::UNSPECIFIED, *port).into(), proxy)
    };
    request.routes.extend(request.policy.choices.dns.iter().map(to));
}

/// Codex's sentences, which people know to search for.
fn without_endpoint(named: bool) -> Error {
    match named {
        false => Error::new("managed proxy mode requires proxy environment variables")
            .hint("e.g. `--env HTTP_PROXY=http://127.0.0.1:3128`"),
        true => Error::new("managed proxy mode requires parseable loopback proxy endpoints")
            .hint("the host must be localhost, 127.0.0.1 or [::1], the port from 1 to 65535"),
    }
}

/// Whether a variable of this name is read as a proxy's URL.
pub fn names_a_proxy(name: &str) -> bool {
    PROXY_VARIABLES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The port inside that leads to `dial`: its own number, unless it is another route's.
fn port_inside(routes: &mut Vec<Route>, dial: SocketAddr) -> u16 {
    if let Some(known) = routes.iter().find(|route| route.side == Side::Inside && route.dial == dial) {
        return known.listen.port();
    }
    // Of what is published it is a server's inside.
    let inside = |route: &Route| if route.side == Side::Inside { route.listen } else { route.dial }.port();
    let free = |port: &u16| routes.iter().all(|route| inside(route) != *port);
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

    /// The address, if CONNECT can be said there by who knows no password and no TLS.
    fn tunnel(&self) -> Option<SocketAddr> {
        let scheme = self.before.split_once("://").map_or("http", |(scheme, _)| scheme);
        (scheme.eq_ignore_ascii_case("http") && !self.before.contains('@')).then_some(self.address)
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
        let inside = ["inside:127.0.0.1:9=127.0.0.1:9", "inside:127.0.0.1:11=[::1]:9"];
        assert_eq!(routes, [&["outside:127.0.0.1:10=127.0.0.1:10"][..], &inside].concat());
        let all =
            ["http_proxy=127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9", "All_Proxy=socks5://127.0.0.1:11", "NO_PROXY=x", "A=b"];
        assert_eq!(env, all);
        assert!(said.is_empty());
    }

    #[test]
    fn no_connection_goes_round() {
        let (published, allowed) = ("outside:127.0.0.1:9=127.0.0.1:8", "inside:127.0.0.1:8=127.0.0.1:8");
        let said = tried(&[], Network::Restricted, &[published, allowed]).2;
        assert_eq!(said, ["port 8 inside is published, and leads to the host"]);
        let (_, routes, said) = tried(&["HTTP_PROXY=localhost:8"], Network::Proxy, &[published]);
        assert_eq!((routes[1].as_str(), said.len()), ("inside:127.0.0.1:9=127.0.0.1:8", 0));
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
    fn ports_by_name_go_by_the_first_proxy_that_tunnels() {
        let tried = |env: &[&str], network, routes: &[&str]| {
            let mut policy = Policy { file_system: FileSystem::Unrestricted, network, choices: Default::default() };
            policy.choices.dns = vec![443, 80];
            let request = Request {
                env: env.iter().map(ToString::to_string).collect(),
                routes: routes.iter().map(|word| word.parse().unwrap()).collect(),
                ..crate::policy::compile::testing::request(&policy)
            };
            let mut found = Findings::default();
            let routes = routed(&request, &mut found).routes.iter().map(Route::to_string).collect::<Vec<_>>();
            (routes, found.errors.iter().map(|e| e.what.clone()).collect::<Vec<_>>())
        };
        let (socks, http) = ("ALL_PROXY=socks5h://localhost:8081", "HTTP_PROXY=localhost:3128");
        let (routes, errors) = tried(&[socks, "FTP_PROXY=http://u:p@localhost:1", http], Network::Proxy, &[]);
        let by_name = ["inside:0.0.0.0:443=127.0.0.1:3128,by-name", "inside:0.0.0.0:80=127.0.0.1:3128,by-name"];
        assert_eq!((&routes[3..], errors.len()), (&by_name.map(String::from)[..], 0));
        let own = tried(&["HTTP_PROXY=localhost:9"], Network::Proxy, &["inside:127.0.0.1:9=127.0.0.1:9,client"]).0;
        assert_eq!(own[1], "inside:0.0.0.0:443=127.0.0.1:9,client,by-name");
        assert_eq!(tried(&[socks], Network::Proxy, &[]).1, ["`dns` needs an HTTP proxy that asks for no password"]);
        assert_eq!(tried(&[], Network::Restricted, &[]).1, ["`dns` has no effect without a proxy"]);
        for port in [443, 53] {
            let route = format!("inside:127.0.0.1:{port}=127.0.0.1:{port}");
            assert_eq!(tried(&[http], Network::Proxy, &[&route]).1, [format!("port {port} is listened on twice inside")]);
        }
    }

    #[test]
    fn our_own_proxy_is_found_where_the_policy_says() {
        let routes = |domains: Option<&Domains>| {
            to_own_proxy(domains, 4000).map(|all| all.iter().map(Route::to_string).collect::<Vec<_>>())
        };
        let mut domains = Domains::default();
        for domains in [None, Some(&domains)] {
            assert_eq!(routes(domains).unwrap(), ["inside:127.0.0.1:4000=127.0.0.1:4000,client"]);
        }
        domains.proxy_url = Some("http://127.0.0.1:3128".into());
        domains.socks_url = Some("http://localhost:8081".into());
        let both = ["inside:127.0.0.1:3128=127.0.0.1:4000,client", "inside:127.0.0.1:8081=127.0.0.1:4000,client"];
        assert_eq!(routes(Some(&domains)).unwrap(), both);
        domains.socks_url = Some("http://0.0.0.0:8081".into());
        assert!(routes(Some(&domains)).unwrap_err().what.starts_with("`socks_url`"));
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
