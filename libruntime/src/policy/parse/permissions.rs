//! `[permissions.NAME]`: a profile, what it extends, and the workspace roots it adds.

use super::choice::add_socket;
use super::cursor::{At, Text, quote};
use super::domain;
use super::filesystem;
use super::path::{WORKSPACE_GLOB, glob_below, workspace_root};
use super::preset::{Workspace, full_access, read_only, restricted, special};
use crate::policy::choice::{Choices, EVERY_SOCKET};
use crate::policy::domain::{Domains, KEYS};
use crate::policy::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

type Base = fn(Workspace) -> Policy;

const BUILT_IN: &[(&str, Base)] = &[
    (":read-only", |_| read_only(Network::Restricted)),
    (":workspace", Workspace::policy),
    (":danger-full-access", |_| full_access()),
];
/// Longer than any that a person wrote.
const MAX_CHAIN: usize = 64;

const PROFILE: &[&str] = &["extends", "description", "workspace_roots", "filesystem", "network"];
/// Grants every Unix socket of the host that has a path.
const ALL_SOCKETS: &str = "dangerously_allow_all_unix_sockets";
/// Keys of a network beside those of its proxy.
const SOCKETS: &[&str] = &["enabled", "unix_sockets", ALL_SOCKETS];
/// Values of `unix_sockets`.
const SOCKET: &[(&str, bool)] = &[("allow", true), ("deny", false), ("none", false)];

/// The profile that `default_permissions` names.
pub(super) fn read(config: &At, name: &Text, workspace: Workspace) -> Result<Policy> {
    let (base, profiles) = chain(&named(config)?, name)?;
    let mut policy = base(workspace);
    let mut roots = Vec::new();
    for profile in profiles.iter().rev() {
        overlay(&mut policy, &mut roots, profile)?;
    }
    all_sockets(&mut policy, config, &profiles)?;
    by_proxy(&mut policy, config);
    if let FileSystem::Restricted(r) = &mut policy.file_system {
        r.entries = in_every_root(&r.entries, &roots);
    }
    Ok(policy)
}

/// Every profile of the file.
fn named<'a>(config: &At<'a>) -> Result<Vec<At<'a>>> {
    let Some(table) = config.get("permissions") else {
        return Ok(Vec::new());
    };
    let profiles = table.items()?;
    match profiles.iter().find(|profile| profile.name().str.starts_with(':')) {
        None => Ok(profiles),
        Some(mine) => Err(mine.name().error("only the built-in profiles have names that begin with `:`")),
    }
}

/// What the oldest parent of `name` begins with, and the profiles from `name` up to that parent.
fn chain<'a>(named: &[At<'a>], name: &Text<'a>) -> Result<(Base, Vec<At<'a>>)> {
    let (mut name, mut names, mut profiles) = (name.clone(), Vec::new(), Vec::new());
    loop {
        let again = names.len() == MAX_CHAIN || names.contains(&name.str);
        names.push(name.str);
        if again {
            return Err(name.error(format!("`extends` has no end: {}", arrows(&names))));
        }
        if name.str.starts_with(':') {
            return Ok((name.word(BUILT_IN)?, profiles));
        }
        let profile = named.iter().find(|profile| profile.name().str == name.str);
        let profile = profile.ok_or_else(|| absent(&name, &names))?;
        profile.only("a permission profile", PROFILE)?;
        profiles.push(profile.clone());
        match profile.get("extends") {
            Some(parent) => name = parent.text("the name of a permission profile")?,
            None => return Ok((|_| restricted(Vec::new(), Network::Restricted), profiles)),
        }
    }
}

fn absent(name: &Text, names: &[&str]) -> Error {
    let by = if names.len() > 1 { format!(": {}", arrows(names)) } else { String::new() };
    name.error(format!("no profile {} in `[permissions]`{by}", quote(name.str)))
}

fn arrows(names: &[&str]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(" → ")
}

/// A child's keys over those of its parent.
fn overlay(policy: &mut Policy, roots: &mut Vec<(PathBuf, bool)>, profile: &At) -> Result<()> {
    if let Some(text) = profile.get("description") {
        text.text("a string")?;
    }
    if let Some(table) = profile.get("workspace_roots") {
        override_roots(roots, &table)?;
    }
    if let Some(table) = profile.get("network") {
        policy.network = network(&table)?.unwrap_or(policy.network);
        if let Some(sockets) = table.get("unix_sockets") {
            override_sockets(&mut policy.choices, &sockets)?;
        }
        domain::overlay(policy.choices.proxy.get_or_insert_default(), &table)?;
    }
    if let Some(table) = profile.get("filesystem") {
        override_entries(&mut policy.file_system, filesystem::read(&table)?);
    }
    Ok(())
}

fn override_roots(roots: &mut Vec<(PathBuf, bool)>, table: &At) -> Result<()> {
    for item in table.items()? {
        let (root, enabled) = (workspace_root(&item.name())?, item.bool()?);
        roots.retain(|(known, _)| *known != root);
        roots.push((root, enabled));
    }
    Ok(())
}

fn network(at: &At) -> Result<Option<Network>> {
    let ours = |key: &str| SOCKETS.contains(&key) || KEYS.contains(&key) || domain::is_without_effect(key);
    if let Some(stranger) = at.items()?.into_iter().find(|item| !ours(item.name().str)) {
        return Err(stranger.unknown("a profile's network", &[SOCKETS, &KEYS[..]].concat()));
    }
    let enabled = at.get("enabled").map(|on| on.bool()).transpose()?;
    Ok(enabled.map(|on| if on { Network::Enabled } else { Network::Restricted }))
}

/// `"/run/x.sock" = "allow"`; a child may take back what its parent allows.
fn override_sockets(choices: &mut Choices, table: &At) -> Result<()> {
    for item in table.items()? {
        let (mut one, allowed) = (Choices::default(), item.word(SOCKET)?);
        add_socket(&mut one, &item.name())?;
        choices.unix_sockets.retain(|known| !one.unix_sockets.contains(known));
        if allowed {
            choices.unix_sockets.extend(one.unix_sockets);
        }
    }
    Ok(())
}

/// The word of the youngest profile that has one. It widens a network that is on or one of proxies, as Codex has it, and no other.
fn all_sockets(policy: &mut Policy, config: &At, profiles: &[At]) -> Result<()> {
    let said = profiles.iter().filter_map(|profile| profile.get("network")?.option(ALL_SOCKETS));
    let said: Vec<bool> = said.map(|on| on.bool()).collect::<Result<_>>()?;
    match policy.network {
        _ if said.first() != Some(&true) => {}
        Network::Restricted => config.warn(&format!("the network is off, and `{ALL_SOCKETS}` has no effect")),
        Network::Enabled | Network::Proxy => policy.choices.unix_socket(EVERY_SOCKET)?,
    }
    Ok(())
}

/// An enabled network with domains is one behind a proxy; keys that say how the proxy should be ask for none.
fn by_proxy(policy: &mut Policy, config: &At) {
    let Some(domains) = policy.choices.proxy.take() else { return };
    match policy.network {
        Network::Enabled if domains.ask() => {
            policy.network = Network::Proxy;
            if domains.patterns(true).next().is_none() {
                config.warn("no domain is allowed, so the network reaches nothing");
            }
            policy.choices.proxy = Some(domains);
        }
        Network::Enabled if domains != Domains::default() => {
            config.warn("without `domains` the network has no proxy, and the keys that say how it should be have no effect");
        }
        Network::Enabled | Network::Restricted | Network::Proxy => {}
    }
}

fn override_entries(parent: &mut FileSystem, child: Restricted) {
    // What was unrestricted becomes a list that says the same, so that a child can take from it.
    let mut merged = match parent {
        FileSystem::Restricted(parent) => std::mem::take(parent),
        FileSystem::Unrestricted | FileSystem::External if child.entries.is_empty() => return,
        FileSystem::Unrestricted | FileSystem::External => {
            Restricted { entries: vec![special(Special::Root, Access::Write)], glob_scan_max_depth: None }
        }
    };
    merged.entries.retain(|old| !child.entries.iter().any(|new| new.target == old.target));
    merged.entries.extend(child.entries);
    merged.glob_scan_max_depth = child.glob_scan_max_depth.or(merged.glob_scan_max_depth);
    *parent = FileSystem::Restricted(merged);
}

/// Entries of the workspace hold in every workspace root: the working directory, by symbol, and the added ones, by name.
fn in_every_root(entries: &[Entry], roots: &[(PathBuf, bool)]) -> Vec<Entry> {
    let mut all = Vec::new();
    for entry in entries {
        all.push(entry.clone());
        let added = roots.iter().filter(|(_, enabled)| *enabled).filter_map(|(root, _)| rooted(&entry.target, root));
        all.extend(added.map(|target| Entry { target, ..entry.clone() }));
    }
    all
}

fn rooted(target: &Target, root: &Path) -> Option<Target> {
    match target {
        Target::Special(Special::ProjectRoots { subpath: None }) => Some(Target::Path(root.to_owned())),
        Target::Special(Special::ProjectRoots { subpath: Some(sub) }) => Some(Target::Path(root.join(sub))),
        Target::Glob(glob) => {
            let below = glob.strip_prefix(WORKSPACE_GLOB)?;
            Some(Target::Glob(glob_below(root, below)))
        }
        Target::Path(_) | Target::Special(_) => None,
    }
}
