//! A proxy of our own: the flags that ask for it, and its process, which lives no longer than codexrun.

use crate::ready::ready;
use clap::{Args, ValueEnum};
use libruntime::bridge;
use libruntime::policy::domain::Domains;
use libruntime::policy::view::PROXY;
use libruntime::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Shutdown, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

/// For it to say that it serves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which domains may be reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct Filter {
    /// Reach this domain and no others, by a proxy that codexrun runs: `x.y`, `*.x.y` (below it) or `**.x.y` (both); may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow_domain: Vec<String>,
    /// But not this one; may be repeated
    #[arg(long, value_name = "PATTERN")]
    deny_domain: Vec<String>,
    /// `limited`: only GET, HEAD and OPTIONS without TLS [default: full]
    #[arg(long, value_enum)]
    network_mode: Option<Mode>,
    /// Append one JSON line for each request to this file, accepted or not; where the sandbox cannot write, and no symbolic
    /// link lies on the way
    #[arg(long, value_name = "FILE")]
    pub network_log: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Full,
    Limited,
}

impl Filter {
    /// A port for the proxy, when a flag allows a domain or the policy has some.
    pub fn port(&self, policy: Option<&Domains>) -> Result<Option<Port>> {
        if self.allow_domain.is_empty() && policy.is_none() {
            return self.idle();
        }
        let domains = self.over(policy.cloned().unwrap_or_default());
        let (listener, kept) = bridge::kept_port().map_err(|e| Error::new("cannot take a port for the proxy").cause(e))?;
        let port = listener.local_addr().map_err(|e| Error::new("cannot learn the proxy's port").cause(e))?.port();
        Ok(Some(Port { proxy: Proxy::of(&domains, port), listener, kept, domains }))
    }

    /// The proxy, at its port. `direct`: its clients come by no bridge.
    pub fn start(&self, Port { listener, kept, domains, .. }: Port, direct: bool) -> Result<Keeper> {
        let own = std::env::current_exe().map_err(|e| Error::new("cannot learn where codexrun's own file is").cause(e))?;
        // A program of its own: what it needs (threads, name resolution) would be every command's burden here.
        let program = own.with_file_name(PROXY);
        let mut command = Command::new(&program);
        command.args(domains.patterns(true).flat_map(|pattern| ["--allow", pattern]));
        command.args(domains.patterns(false).flat_map(|pattern| ["--deny", pattern]));
        let switches = [
            ("--limited", domains.limited),
            ("--local", domains.local),
            ("--no-socks", !domains.speaks_socks()),
            ("--direct", direct),
        ];
        command.args(switches.iter().filter(|(_, on)| *on).map(|(switch, _)| switch));
        if let Some(file) = &self.network_log {
            command.arg("--log").arg(file);
        }
        let (ours, its) = UnixStream::pair().map_err(|e| Error::new("cannot make a socket").cause(e))?;
        // A signal from the terminal is the command's to answer, and the proxy stays for that.
        command.stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(its)).process_group(0);
        let child = command.spawn().map_err(|e| {
            let error = Error::new(format!("domains need `{}`", program.display())).cause(e);
            error.hint("`cargo build -p codexrun-proxy` makes it; it lies beside codexrun")
        })?;
        // With it goes our copy of the socket's other end, whose end would not be that of what the proxy says.
        drop(command);
        Keeper::of(child, ours, kept)
    }

    /// What a flag says over what the policy says.
    fn over(&self, mut domains: Domains) -> Domains {
        for pattern in &self.allow_domain {
            domains.domains.entry(pattern.clone()).or_insert(true); // a denial of the policy stays
        }
        domains.domains.extend(self.deny_domain.iter().map(|pattern| (pattern.clone(), false)));
        domains.limited = self.network_mode.map_or(domains.limited, |mode| mode == Mode::Limited);
        domains
    }

    /// Without a proxy no flag must say anything to it.
    fn idle(&self) -> Result<Option<Port>> {
        let given = [
            (!self.deny_domain.is_empty(), "--deny-domain"),
            (self.network_mode.is_some(), "--network-mode"),
            (self.network_log.is_some(), "--network-log"),
        ];
        match given.iter().find(|(on, _)| *on) {
            Some((_, flag)) => Err(Error::new(format!("`{flag}` needs `--allow-domain`, or a policy with domains"))),
            None => Ok(None),
        }
    }
}

/// Where a proxy of ours is, and what the environment says of it.
#[derive(Debug)]
pub struct Proxy {
    /// Of 127.0.0.1.
    pub port: u16,
    /// Whether it speaks SOCKS5 beside HTTP.
    pub speaks_socks: bool,
    /// Whether programs are told so for all protocols.
    pub names_socks: bool,
    /// Whether it dials addresses that are not public.
    pub local: bool,
}

impl Proxy {
    /// One that keeps these domains.
    pub fn of(domains: &Domains, port: u16) -> Proxy {
        Proxy { port, speaks_socks: domains.speaks_socks(), names_socks: domains.names_socks(), local: domains.local }
    }
}

/// A port that is taken for a proxy, before there is one: a bundle names it, and says whether the log is out of its reach.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    kept: OwnedFd,
    domains: Domains,
    /// What will be there.
    pub proxy: Proxy,
}

/// A proxy that runs. Its standard output is the thread it hangs by: it ends when nobody holds the other end.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    thread: UnixStream,
    /// So that nobody else gets its port while the sandbox has a way there, should the proxy end before it.
    _kept: OwnedFd,
    /// Where it looks who has connected.
    pub book: Option<Arc<File>>,
}

impl Keeper {
    /// Waits for its word that it serves, or for its reason not to.
    fn of(mut child: Child, thread: UnixStream, kept: OwnedFd) -> Result<Keeper> {
        let mut line = String::new();
        let read = thread.set_read_timeout(Some(PATIENCE)).and_then(|()| BufReader::new(&thread).read_line(&mut line));
        match (read, ready(&line)) {
            (Ok(_), Ok(book)) => {
                let open = |book: u32| OpenOptions::new().write(true).open(format!("/proc/{}/fd/{book}", child.id()));
                // Without it the proxy looks into /proc.
                let book = book.and_then(|book| open(book).ok());
                Ok(Keeper { child, thread, _kept: kept, book: book.map(Arc::new) })
            }
            (Ok(_), Err(said)) => {
                drop(thread);
                let ended = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
                let none = || Error::new("the proxy has not started").cause(ended);
                Err(if said.is_empty() { none() } else { Error::new(said) })
            }
            (Err(e), _) => {
                let ended = child.kill().and_then(|()| child.wait().map(drop));
                let what = match e.kind() {
                    ErrorKind::WouldBlock => format!("the proxy has not begun within {} s", PATIENCE.as_secs()),
                    _ => "cannot hear whether the proxy has begun".into(),
                };
                Err(Error::new(what).cause(ended.err().unwrap_or(e)))
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Who cannot be told goes when we do: the thread ends with us.
        if self.thread.shutdown(Shutdown::Both).is_ok() {
            // It may have been waited for already, with the other children.
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};

    #[test]
    fn a_port_whose_listener_has_gone_refuses_and_is_nobody_elses() {
        let (listener, _kept) = bridge::kept_port().unwrap();
        let at = listener.local_addr().unwrap();
        TcpStream::connect(at).unwrap();
        let kept_from_others =
            || [at, SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port()))].map(TcpListener::bind).iter().all(Result::is_err);
        assert!(kept_from_others());
        drop(listener);
        assert_eq!(TcpStream::connect(at).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(kept_from_others());
    }
}
