//! The flags about the network that `spec --from-policy`, `sandbox` and `plan --policy` share.

use clap::Args;
use libruntime::bridge::{Route, Side};
use libruntime::{Error, Result};

/// What goes through the bridge beside the proxies of the environment.
#[derive(Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// Proxy-only, whatever the policy says: as Codex's helper; `{}` will do
    #[arg(long, value_name = "JSON")]
    pub managed_network: Option<String>,
    /// Let the host's loopback reach a port of the sandbox; may be repeated
    #[arg(long, value_name = "[HOST-PORT:]PORT")]
    publish: Vec<String>,
    /// Let the sandbox reach a port of the host's loopback; may be repeated
    #[arg(long, value_name = "PORT")]
    allow_host_port: Vec<String>,
}

impl Network {
    /// The two kinds of ports, as routes.
    pub fn routes(&self) -> Result<Vec<Route>> {
        let published = self.publish.iter().map(|text| route(Side::Outside, text));
        let allowed = self.allow_host_port.iter().map(|text| route(Side::Inside, text));
        let routes: Vec<Route> = published.chain(allowed).collect::<Result<_>>()?;
        match routes
            .iter()
            .enumerate()
            .find(|(n, route)| routes[..*n].iter().any(|r| (r.side, r.listen) == (route.side, route.listen)))
        {
            Some((_, twice)) => Err(Error::new(format!("`{}`: port {} is given twice", flag(twice.side), twice.listen.port()))),
            None => Ok(routes),
        }
    }
}

fn flag(side: Side) -> &'static str {
    match side {
        Side::Outside => "--publish",
        Side::Inside => "--allow-host-port",
    }
}

fn route(side: Side, text: &str) -> Result<Route> {
    let wrong = |word| Error::new(format!("`{} {text}`: `{word}` is no port from 1 to 65535", flag(side)));
    Route::between_loopbacks(side, text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(publish: &[&str], allow: &[&str]) -> Result<Vec<String>> {
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let network = Network { managed_network: None, publish: words(publish), allow_host_port: words(allow) };
        Ok(network.routes()?.iter().map(Route::to_string).collect())
    }

    #[test]
    fn ports_become_routes_between_the_two_loopbacks() {
        let all = routes(&["8080", "9000:80"], &["5432", "8081"]).unwrap();
        let expected = [
            "outside:127.0.0.1:8080=127.0.0.1:8080,either",
            "outside:127.0.0.1:9000=127.0.0.1:80,either",
            "inside:127.0.0.1:5432=127.0.0.1:5432,either",
            "inside:127.0.0.1:8081=127.0.0.1:8081,either",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_no_port_and_what_stands_twice_is_refused() {
        for wrong in ["", "0", "65536", "a", "1:", ":1", "1:2:3", "127.0.0.1:1"] {
            assert!(routes(&[wrong], &[]).is_err(), "{wrong}");
        }
        assert!(routes(&[], &["1:2"]).is_err());
        let twice = |publish: &[&str], allow: &[&str]| routes(publish, allow).unwrap_err().to_string();
        assert_eq!(twice(&["8080", "8080:81"], &[]), "`--publish`: port 8080 is given twice");
        assert_eq!(twice(&[], &["5432", "5432"]), "`--allow-host-port`: port 5432 is given twice");
    }
}
