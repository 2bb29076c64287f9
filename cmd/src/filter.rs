//! A proxy of our own: the flags that ask for it, and its process, which lives no longer than codexrun.

use clap::{Args, ValueEnum};
use libruntime::{Error, Result};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The program, beside codexrun: what it needs (threads, name resolution) would be every command's burden here.
const PROGRAM: &str = "codexrun-proxy";

/// Which domains may be reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct Filter {
    /// Reach this domain and no others, by a proxy that codexrun runs: `x.y`, `*.x.y` (below it) or `**.x.y` (both); may be repeated
    #[arg(long, value_name = "PATTERN")]
    allow_domain: Vec<String>,
    /// But not this one; may be repeated
    #[arg(long, value_name = "PATTERN", requires = "allow_domain")]
    deny_domain: Vec<String>,
    /// `limited`: only GET, HEAD and OPTIONS without TLS [default: full]
    #[arg(long, value_enum, requires = "allow_domain")]
    network_mode: Option<Mode>,
    /// Append one JSON line for each request to this file, accepted or not
    #[arg(long, value_name = "FILE", requires = "allow_domain")]
    network_log: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Full,
    Limited,
}

impl Filter {
    /// The proxy, when there is a domain to be allowed.
    pub fn start(&self) -> Result<Option<Proxy>> {
        if self.allow_domain.is_empty() {
            return Ok(None);
        }
        let program = std::env::current_exe().unwrap_or_default().with_file_name(PROGRAM);
        let mut command = Command::new(&program);
        command.args(self.allow_domain.iter().flat_map(|pattern| ["--allow", pattern]));
        command.args(self.deny_domain.iter().flat_map(|pattern| ["--deny", pattern]));
        command.args((self.network_mode == Some(Mode::Limited)).then_some("--limited"));
        if let Some(file) = &self.network_log {
            command.arg("--log").arg(file);
        }
        // A signal from the terminal is the command's to answer, and the proxy stays for that.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(|e| {
            let error = Error::new(format!("`--allow-domain` needs `{}`", program.display())).cause(e);
            error.hint("`cargo build -p codexrun-proxy` makes it; it lies beside codexrun")
        })?;
        Proxy::of(child).map(Some)
    }
}

/// A proxy that runs. Its standard input is the thread it hangs by: it ends when nobody holds the other end.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    /// Of 127.0.0.1; HTTP and SOCKS5.
    pub port: u16,
}

impl Proxy {
    /// Waits for the port, which it prints when it listens.
    fn of(mut child: Child) -> Result<Proxy> {
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        match (read, line.trim().parse()) {
            (Some(Ok(_)), Ok(port)) => Ok(Proxy { child, port }),
            // It has said why.
            _ => {
                drop(child.stdin.take());
                let ended = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
                Err(Error::new("the proxy has not started").cause(ended))
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It may have been waited for already, with the other children.
        let _ = self.child.wait();
    }
}
