//! The tree → Landlock's rules: as a second wall behind the mounts, and as the only one.

use super::roots::Ground;
use super::tree::{Spot, Tree};
use super::walk::Walk;
use super::{Findings, Request, proxy};
use crate::landlock::{Config, NetPort, PathBeneath, Ruleset};
use crate::policy::isolation::Clause;
use crate::policy::view::Kind;
use crate::policy::{Access, Network};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const READ: &str = "v5.read_execute";
const ALL: &str = "v5.all";
/// The same without `ioctl_dev`.
const OLD: &str = "v4.all";
const CONNECT: &str = "connect_tcp";
/// To make what is no file and no directory.
const LINKS: &[&str] = &["make_fifo", "make_sock", "make_sym"];
/// All but those, and devices.
const NO_LINKS: &[&str] =
    &[READ, "write_file", "truncate", "make_reg", "make_dir", "remove_file", "remove_dir", "refer", "ioctl_dev"];

/// Behind namespaces and mounts; none unless the policy asks for one, or opens a git directory.
pub(super) fn behind(ground: &Ground, request: &Request) -> Option<Config> {
    let choices = &request.policy.choices;
    let mut wall = if choices.landlock { Some(second(ground, request.policy.network)) } else { no_links(ground) };
    if let Some(own) = &choices.tcp_ports {
        let wall = wall.get_or_insert_default();
        let net = Ruleset { handled_access_net: words(&[CONNECT]), ..Ruleset::default() };
        wall.ruleset.push(net);
        wall.net_port = connected(proxy::ports_inside(&request.routes).chain(own.iter().copied()));
    }
    wall
}

fn connected(ports: impl Iterator<Item = u16>) -> Vec<NetPort> {
    let port: Vec<u16> = ports.collect::<BTreeSet<_>>().into_iter().collect();
    if port.is_empty() { Vec::new() } else { vec![NetPort { allowed_access: words(&[CONNECT]), port }] }
}

/// What the mounts show to be read can be read, what they show to be written can be written. What is taken away below
/// a place that is granted only they take away, since Landlock's rules add up.
fn second(ground: &Ground, network: Network) -> Config {
    let scoped: &[&str] = if network == Network::Enabled { &["signal"] } else { &["abstract_unix_socket", "signal"] };
    let ruleset = Ruleset { handled_access_fs: words(&[ALL]), scoped: words(scoped), ..Ruleset::default() };
    let tree = &ground.tree;
    let read =
        tree.iter().filter(|(path, spot)| spot.access == Access::Read && tree.around(path).is_none_or(|a| a == Access::Deny));
    let read = read.map(|(path, _)| path.to_path_buf()).collect();
    let rules = [(&[READ][..], read), (&[ALL], written(ground)), (NO_LINKS, ground.opened.clone())];
    Config { ruleset: vec![ruleset], path_beneath: beneath(rules), net_port: Vec::new() }
}

/// git outside opens by name what a commit leaves in a git directory, COMMIT_EDITMSG or a log, and would write through a link, or wait for
/// a pipe. Only Landlock knows directories in which there may be files and none of those.
fn no_links(ground: &Ground) -> Option<Config> {
    let handled = [LINKS, &["refer"]].concat();
    let rules = [(&["refer"][..], vec!["/".into()]), (LINKS, written(ground))];
    let ruleset = Ruleset { handled_access_fs: words(&handled), ..Ruleset::default() };
    let wall = Config { ruleset: vec![ruleset], path_beneath: beneath(rules), net_port: Vec::new() };
    (!ground.opened.is_empty()).then_some(wall)
}

/// What may be written, git directories apart; of places inside each other the outer one.
fn written(ground: &Ground) -> Vec<PathBuf> {
    let tree = &ground.tree;
    let outer = tree.iter().filter(|(path, spot)| spot.access == Access::Write && tree.around(path) != Some(Access::Write));
    let plain = outer.map(|(path, _)| path.to_path_buf()).filter(|path| !ground.opened.contains(path));
    ["/dev".into(), "/proc".into()].into_iter().chain(plain).collect()
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn beneath<const N: usize>(rules: [(&[&str], Vec<PathBuf>); N]) -> Vec<PathBeneath> {
    let rules = rules.into_iter().filter(|(_, places)| !places.is_empty());
    rules.map(|(access, parent)| PathBeneath { allowed_access: words(access), parent }).collect()
}

/// What a program cannot do without and what gives nothing away. Not /dev/pts: those are the terminals of others.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Without mounts. The tree has the entries of `/` one by one, without /dev and /proc, and nothing narrower below a writable place.
/// `listed`: every directory may be listed.
pub(super) fn only(
    tree: &Tree,
    listed: bool,
    network: Network,
    ports: &[u16],
    gone: &dyn Fn(Clause) -> bool,
    walk: &Walk,
    found: &mut Findings,
) -> Config {
    let there = |path: &PathBuf| walk.kind(path).is_ok();
    let proc = Some(PathBuf::from("/proc")).filter(there);
    let mut grants = Grants { tree, walk, read: proc.into_iter().collect(), write: Vec::new() };
    for (path, spot) in tree.iter() {
        grants.place(path, *spot);
    }
    grants.write.extend(DEVICES.iter().map(PathBuf::from).filter(there));
    let all = if gone(Clause::DeviceIoctl) { OLD } else { ALL };
    let Grants { read, write, .. } = grants;
    let names = if listed { vec!["/".into()] } else { Vec::new() };
    let scopes = [
        ("abstract_unix_socket", network == Network::Enabled || gone(Clause::AbstractSockets)),
        ("signal", gone(Clause::Signals)),
    ];
    let scoped: Vec<&str> = scopes.into_iter().filter(|(_, gone)| !gone).map(|(scope, _)| scope).collect();
    let tcp = match network {
        // Where an older Landlock will do, the filter, which refuses every socket, is enough.
        Network::Restricted if gone(Clause::AbstractSockets) => Vec::new(),
        Network::Enabled => Vec::new(),
        Network::Restricted | Network::Proxy => words(&["v4.all"]),
    };
    let ruleset = Ruleset { handled_access_fs: words(&[all]), handled_access_net: tcp, scoped: words(&scoped) };
    for path in read.iter().chain(&write).filter(|path| path.to_str().is_none()) {
        found.errors.push(Error::new(format!("`{}` is not UTF-8, so config.json cannot name it", path.display())));
    }
    Config {
        ruleset: vec![ruleset],
        path_beneath: beneath([(&["read_dir"], names), (&[READ], read), (&[all], write)]),
        net_port: connected(ports.iter().copied()),
    }
}

/// Rules add up, so a directory with something denied below is granted by what else it has.
struct Grants<'a> {
    tree: &'a Tree,
    walk: &'a Walk<'a>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl Grants<'_> {
    fn place(&mut self, path: &Path, spot: Spot) {
        let denies = |path: &Path| self.tree.below(path).any(|(_, spot)| spot.access == Access::Deny);
        if spot.access == Access::Deny {
            return;
        }
        if !denies(path) {
            // A mount that is read-only keeps nobody from writing to a device, and a device is granted to be used.
            let used = spot.access == Access::Write || path.starts_with("/dev");
            return if used { self.write.push(path.into()) } else { self.read.push(path.into()) };
        }
        for child in self.walk.list(path).into_iter().filter(|child| self.tree.get(child).is_none()) {
            match self.walk.kind(&child) {
                Ok(Kind::Symlink) | Err(_) => {} // leads to what has a rule of its own, or is gone
                Ok(kind) => self.place(&child, Spot { dir: kind == Kind::Dir, ..spot }),
            }
        }
    }
}

/// As the annotation has it.
pub(super) fn text(config: &Config) -> Result<String> {
    serde_json::to_string(config).map_err(|e| Error::new("cannot write Landlock's rules").cause(e))
}
