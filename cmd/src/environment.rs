//! The environment that a command gets: a fixed one in a bundle, the caller's in `sandbox`, and `--env` on top.

use crate::filter::Proxy;
use crate::listen;
use libruntime::policy::compile;
use libruntime::policy::view::View;
use libruntime::{Error, Result};
use std::ffi::OsString;
use std::path::PathBuf;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `NAME=VALUE` pairs in order, and what could not be taken over.
#[derive(Debug, Default)]
pub struct Environment {
    pub pairs: Vec<String>,
    pub warnings: Vec<String>,
    /// The port of a proxy of ours, which is then all that there is of the network.
    pub own_proxy: Option<u16>,
}

/// A server inside the sandbox is reached directly.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";
const NO_PROXIES: [&str; 6] =
    ["NO_PROXY", "no_proxy", "npm_config_noproxy", "NPM_CONFIG_NOPROXY", "YARN_NO_PROXY", "BUNDLE_NO_PROXY"];
/// Those that many programs know in lower case only (curl).
const LOWER: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "ftp_proxy"];

impl Environment {
    /// For a bundle: nothing of the caller's but what the view says, so that the same view gives the same bytes.
    pub fn fixed(view: &dyn View, terminal: bool) -> Result<Environment> {
        let mut env = Environment { pairs: vec![PATH.into(), "LANG=C.UTF-8".into()], ..Environment::default() };
        env.set_path("HOME", view.home()?)?;
        env.set_path("TMPDIR", view.tmpdir())?;
        if terminal {
            env.pairs.push("TERM=xterm".into());
        }
        Ok(env)
    }

    /// The caller's own, but for what speaks of descriptors that a sandbox does not get.
    pub fn inherited() -> Environment {
        let mut env = Environment::default();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), _) if listen::VARIABLES.contains(&name.as_str()) => {}
                (Ok(name), Ok(value)) => env.pairs.push(format!("{name}={value}")),
                (name, _) => env.warnings.push(not_passed_on(name)),
            }
        }
        env
    }

    /// Names the proxy in every variable that names one, as Codex does; no other proxy of the caller's is left.
    pub fn go_by(&mut self, proxy: &Proxy) {
        let port = proxy.port;
        self.own_proxy = Some(port);
        self.pairs.retain(|pair| !pair.split_once('=').is_some_and(|(name, _)| compile::names_a_proxy(name)));
        for name in compile::PROXY_VARIABLES.iter().chain(&LOWER) {
            self.set(name, &format!("{}://127.0.0.1:{port}", if by_socks(name, proxy) { "socks5h" } else { "http" }));
        }
        for name in NO_PROXIES {
            self.set(name, NO_PROXY);
        }
        self.set("CODEX_NETWORK_ALLOW_LOCAL_BINDING", if proxy.local { "1" } else { "0" });
        self.set("ELECTRON_GET_USE_PROXY", "true");
        self.set("NODE_USE_ENV_PROXY", "1");
    }

    /// `--env NAME=VALUE` sets, `--env NAME` copies from the caller.
    pub fn apply(&mut self, args: &[OsString]) -> Result<()> {
        args.iter().try_for_each(|arg| self.apply_one(arg))
    }

    fn apply_one(&mut self, arg: &OsString) -> Result<()> {
        let text = arg.to_str().ok_or_else(|| not_text(&format!("`--env {}`", arg.display())))?;
        match text.split_once('=') {
            _ if text.is_empty() || text.starts_with('=') => Err(Error::new(format!("`--env {text}` names no variable"))),
            Some((name, value)) => {
                self.besides(name, value)?;
                self.set(name, value);
                Ok(())
            }
            None => self.copy(text),
        }
    }

    /// A variable that names a proxy is a way to that port of the host, where nobody knows of the domains.
    fn besides(&self, name: &str, value: &str) -> Result<()> {
        if self.own_proxy.is_none() || value.is_empty() || !compile::names_a_proxy(name) {
            return Ok(());
        }
        let what = format!("`--env {name}` names another proxy than codexrun's, which would be a way past the allowed domains");
        let hint = "without it the variable names codexrun's; `--allow-host-port PORT` opens a port of the host to the sandbox";
        Err(Error::new(what).hint(hint))
    }

    fn copy(&mut self, name: &str) -> Result<()> {
        match std::env::var(name) {
            Ok(value) => {
                self.besides(name, &value)?;
                self.set(name, &value);
            }
            Err(std::env::VarError::NotPresent) => {
                self.warnings.push(format!("`--env {name}`: the caller has no such variable"));
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(not_text(&format!("the value of `{name}`")));
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) {
        let pair = format!("{name}={value}");
        match self.pairs.iter_mut().find(|p| p.split_once('=').is_some_and(|(n, _)| n == name)) {
            Some(old) => *old = pair,
            None => self.pairs.push(pair),
        }
    }

    fn set_path(&mut self, name: &str, path: Option<PathBuf>) -> Result<()> {
        let Some(path) = path.filter(|p| !p.as_os_str().is_empty()) else {
            return Ok(());
        };
        let value = path.to_str().ok_or_else(|| not_text(&format!("`{name}`")))?;
        self.set(name, value);
        Ok(())
    }
}

/// FTP goes by SOCKS alone: the proxy speaks no FTP, and by HTTP it would have to. What is for all protocols is HTTP, by whose CONNECT all go:
/// who knows no SOCKS may not even start where it is named (httpx, and what is made of it).
fn by_socks(name: &str, proxy: &Proxy) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    (is("FTP_PROXY") && proxy.speaks_socks) || (is("ALL_PROXY") && proxy.names_socks)
}

fn not_passed_on(name: std::result::Result<String, OsString>) -> String {
    let name = name.unwrap_or_else(|name| name.display().to_string());
    format!("the variable `{name}` is not passed on: it is not UTF-8, which config.json cannot carry")
}

/// OCI's config.json is JSON, and JSON has no other text.
pub fn not_text(what: &str) -> Error {
    Error::new(format!("{what} is not UTF-8, which config.json cannot carry"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn env_replaces_appends_and_copies() {
        let mut env = Environment { pairs: vec!["A=1".into(), "AB=2".into()], ..Environment::default() };
        env.apply(&["A=x=y".into(), "C=".into(), "PATH".into(), "NO_SUCH_VARIABLE_".into()]).unwrap();
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        assert_eq!(env.pairs, ["A=x=y", "AB=2", "C=", &path]);
        assert_eq!(env.warnings.len(), 1);
    }

    #[test]
    fn socks_is_named_for_all_protocols_only_when_it_is_asked_for() {
        let named = |speaks_socks, names_socks| {
            let mut env = Environment::default();
            env.go_by(&Proxy { port: 4000, speaks_socks, names_socks, local: false });
            ["ALL_PROXY", "all_proxy", "FTP_PROXY", "https_proxy"].map(|name| {
                let value = |pair: &String| Some(pair.strip_prefix(name)?.strip_prefix('=')?.split_once(':')?.0.to_owned());
                env.pairs.iter().find_map(value).unwrap_or_default()
            })
        };
        assert_eq!(named(true, false), ["http", "http", "socks5h", "http"]);
        assert_eq!(named(true, true), ["socks5h", "socks5h", "socks5h", "http"]);
        assert_eq!(named(false, false), ["http"; 4]);
    }

    #[test]
    fn a_proxy_of_ours_is_the_only_one() {
        let pairs = ["HTTP_PROXY=http://127.0.0.1:8888", "pip_proxy=x", "NO_PROXY=*", "A=1"].map(String::from).to_vec();
        let mut env = Environment { pairs, ..Environment::default() };
        env.go_by(&Proxy { port: 4000, speaks_socks: true, names_socks: false, local: false });
        let of = |name: &str| env.pairs.iter().filter_map(|p| p.split_once('=')).find(|p| p.0 == name).map(|p| p.1);
        assert_eq!(of("HTTP_PROXY"), Some("http://127.0.0.1:4000"));
        assert_eq!(of("PIP_PROXY"), Some("http://127.0.0.1:4000"));
        assert_eq!(of("all_proxy"), Some("http://127.0.0.1:4000"));
        assert_eq!((of("NO_PROXY"), of("pip_proxy"), of("A")), (Some(NO_PROXY), None, Some("1")));
        assert!(env.pairs.iter().all(|pair| !pair.contains("8888")));
    }

    #[test]
    fn no_variable_names_a_proxy_beside_ours_and_one_may_be_emptied() {
        let mut env = Environment::default();
        env.apply(&["http_proxy=http://127.0.0.1:9".into()]).unwrap();
        env.go_by(&Proxy { port: 4000, speaks_socks: true, names_socks: false, local: false });
        for name in ["HTTP_PROXY", "Pip_Proxy", "docker_https_proxy"] {
            let said = env.apply(&[format!("{name}=http://127.0.0.1:9").into()]).unwrap_err().to_string();
            assert!(said.starts_with(&format!("`--env {name}` names another proxy than codexrun's")), "{said}");
        }
        env.apply(&["HTTP_PROXY=".into(), "NO_PROXY=*".into()]).unwrap();
        assert!(env.pairs.contains(&"HTTP_PROXY=".into()) && env.pairs.iter().all(|pair| !pair.ends_with(":9")));
    }

    #[test]
    fn a_variable_needs_a_name_and_text() {
        let mut env = Environment::default();
        for bad in [OsString::from(""), "=x".into(), OsString::from_vec(b"A=\xff".to_vec())] {
            assert!(env.apply(&[bad]).is_err());
        }
    }
}
