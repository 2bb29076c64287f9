//! The switches for what Codex's forms have no word for; each has the name of its field in the policy's object `codexrun`.

use clap::{Args, ValueEnum};
use libruntime::policy::choice::{self, Choices, Limits};
use libruntime::policy::isolation;
use libruntime::{Error, Result};

/// What `spec --from-policy`, `sandbox` and `plan --policy` add to a policy.
#[derive(Debug, Default, PartialEq, Args)]
#[command(next_help_heading = "Beyond the policy")]
pub struct Choose {
    /// Add a permission profile for this one command: JSON, or a file with it
    #[arg(long, value_name = "PROFILE")]
    pub additional: Vec<String>,
    /// A new, empty /tmp instead of the host's
    #[arg(long)]
    pub private_tmp: bool,
    /// Grant a device: dri, nvidia, kfd, dxg, kvm, fuse, tun, or a path below /dev
    #[arg(long, value_name = "NAME")]
    pub device: Vec<String>,
    /// What of a repository may be written
    #[arg(long, value_enum)]
    pub git: Option<Git>,
    /// Grant the cache of a toolchain: cargo, npm, pnpm, yarn, go, pip, uv, gradle
    #[arg(long, value_name = "NAME")]
    pub cache: Vec<String>,
    /// Deny keys, tokens and passwords in the home directory
    #[arg(long)]
    pub deny_secrets: bool,
    /// Protect the .git of every repository below the writable roots
    #[arg(long)]
    pub nested_git: bool,
    /// Let the sandbox connect to a Unix socket of the host, or to those below a directory; may be repeated
    #[arg(long, value_name = "PATH")]
    pub unix_socket: Vec<String>,
    /// Unix datagrams too; every sendmsg(2) then takes longer
    #[arg(long)]
    pub unix_datagrams: bool,
    /// Which sockets may be a standard stream; without a word any [default: a connection; with the network on also others of IP]
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "any")]
    pub stdio_sockets: Option<StdioSockets>,
    /// Landlock's rules behind the mounts, as a second wall
    #[arg(long)]
    pub landlock: bool,
    /// Connect by TCP to no ports but these inside, and those that lead out (proxies, --allow-host-port, --dns); `none`: to those
    /// alone. Landlock's rules
    #[arg(long, value_name = "PORT,…|none", value_delimiter = ',', value_parser = port_or_none)]
    pub tcp_ports: Vec<Port>,
    /// By what the policy is enforced [default: namespaces]
    #[arg(long, value_enum, value_name = "HOW")]
    pub isolation: Option<Isolation>,
    /// What may be given up without namespaces: processes, metadata, carve-outs, attributes, private-tmp, proxy-only, signals,
    /// abstract-sockets, device-ioctl
    #[arg(long, value_name = "CLAUSE", value_delimiter = ',')]
    pub accept_loss: Vec<String>,
    /// Do not refuse system calls of a group: bpf, interfaces (with a proxy), keys, mounts, namespaces, perf, tracing, userfaultfd
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub allow_syscalls: Vec<String>,
    /// Limit pids, memory, cpus, files or wall (seconds)
    #[arg(long, value_name = "NAME=VALUE")]
    pub limit: Vec<String>,
    /// Resolve names inside, and reach this port of them through the proxy, for programs that know of none; may be repeated
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = choice::port)]
    pub dns: Vec<u16>,
}

/// One of `--tcp-ports`, or its `none`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Port(Option<u16>);

fn port_or_none(text: &str) -> Result<Port> {
    if text == "none" { Ok(Port(None)) } else { choice::port(text).map(|port| Port(Some(port))) }
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum Git {
    /// Nothing
    Protect,
    /// In a linked worktree what a commit needs, but neither configuration nor hooks
    Commit,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum StdioSockets {
    /// Also one of datagrams, or one that listens
    Any,
    /// By a Unix socket whoever has its other end can send descriptors in
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum Isolation {
    /// Namespaces, mounts and a filter
    Namespaces,
    /// Landlock and a filter, where user namespaces are forbidden
    Landlock,
    /// Namespaces if the caller may make them, else Landlock
    Auto,
}

impl Choose {
    /// Whether any of them was given.
    pub fn is_given(&self) -> bool {
        *self != Choose::default()
    }

    /// The choices that the switches make.
    pub fn choices(&self) -> Result<Choices> {
        if self.tcp_ports.len() > 1 && self.tcp_ports.contains(&Port(None)) {
            return Err(Error::new("`none` of --tcp-ports has no port beside it"));
        }
        let mut choices = Choices {
            private_tmp: self.private_tmp,
            deny_secrets: self.deny_secrets,
            nested_git: self.nested_git,
            unix_datagrams: self.unix_datagrams,
            stdio_sockets: match self.stdio_sockets {
                None => choice::StdioSockets::Connected,
                Some(StdioSockets::Any) => choice::StdioSockets::Any,
                Some(StdioSockets::None) => choice::StdioSockets::None,
            },
            git: match self.git {
                None | Some(Git::Protect) => choice::Git::Protect,
                Some(Git::Commit) => choice::Git::Commit,
            },
            limits: self.limits()?,
            landlock: self.landlock,
            dns: self.dns.clone(),
            tcp_ports: (!self.tcp_ports.is_empty()).then(|| self.tcp_ports.iter().filter_map(|port| port.0).collect()),
            isolation: match self.isolation {
                None | Some(Isolation::Namespaces) => isolation::Isolation::Namespaces,
                Some(Isolation::Landlock) => isolation::Isolation::Landlock,
                Some(Isolation::Auto) => isolation::Isolation::Auto,
            },
            ..Choices::default()
        };
        self.device.iter().try_for_each(|name| choices.device(name))?;
        self.cache.iter().try_for_each(|name| choices.cache(name))?;
        self.unix_socket.iter().try_for_each(|path| choices.unix_socket(path))?;
        self.accept_loss.iter().try_for_each(|name| choices.accept(name))?;
        self.allow_syscalls.iter().try_for_each(|name| choices.allow(name))?;
        Ok(choices)
    }

    fn limits(&self) -> Result<Limits> {
        let mut limits = Limits::default();
        for limit in &self.limit {
            let pair = limit.split_once('=');
            let (name, value) = pair.ok_or_else(|| Error::new(format!("`--limit {limit}` is not NAME=VALUE")))?;
            limits.set(name, value)?;
        }
        Ok(limits)
    }
}
