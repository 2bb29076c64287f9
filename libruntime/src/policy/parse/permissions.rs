//! `[permissions.NAME]`: a profile, what it extends, and the workspace roots it adds.

use super::cursor::{At, Text};
use super::path::{WORKSPACE_GLOB, absolute, below, is_glob, pattern, subpath, workspace_root};
use super::preset::{Workspace, entry, full_access, read_only, restricted, special};
use super::split::{access, depth, no_effect};
use crate::policy::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const BUILT_IN: &[(&str, ())] = &[
    (":read-only", ()),
    (":workspace", ()),
    (":danger-full-access", ()),
];
/// Longer than any that a person wrote.
const MAX_CHAIN: usize = 64;

const PROFILE: &[&str] = &[
    "extends",
    "description",
    "workspace_roots",
    "filesystem",
    "network",
];
/// Keys of the network proxy, which a policy cannot ask for yet.
const PROXY: &[&str] = &[
    "mode",
    "proxy_url",
    "socks_url",
    "enable_socks5",
    "enable_socks5_udp",
    "allow_upstream_proxy",
    "allow_local_binding",
    "dangerously_allow_non_loopback_proxy",
    "dangerously_allow_all_unix_sockets",
    "domains",
    "unix_sockets",
];

/// The profile that `default_permissions` names.
pub(super) fn read(config: &At, name: &Text, workspace: Workspace) -> Result<Policy> {
    let (base, profiles) = chain(config, name)?;
    let mut policy = match base {
        Some(":read-only") => read_only(Network::Restricted),
        Some(":workspace") => workspace.policy(),
        Some(_) => full_access(),
        None => restricted(Vec::new(), Network::Restricted),
    };
    let mut roots = Vec::new();
    for profile in profiles.iter().rev() {
        overlay(&mut policy, &mut roots, profile)?;
    }
    if let FileSystem::Restricted(r) = &mut policy.file_system {
        r.entries = in_every_root(&r.entries, &roots);
    }
    Ok(policy)
}

/// The profiles from `name` up to its oldest parent, and the built-in that this one extends.
fn chain<'a>(config: &At<'a>, name: &Text<'a>) -> Result<(Option<&'a str>, Vec<At<'a>>)> {
    let table = config.get("permissions");
    if let Some(mine) = table
        .iter()
        .flat_map(At::items)
        .flatten()
        .find(|p| p.name().str.starts_with(':'))
    {
        return Err(mine
            .name()
            .error("a profile's name cannot begin with `:`, as those of the built-in ones do"));
    }
    let (mut name, mut names, mut profiles) = (name.clone(), Vec::new(), Vec::new());
    loop {
        names.push(name.str);
        if name.str.starts_with(':') {
            name.word(BUILT_IN)?;
            return Ok((Some(name.str), profiles));
        }
        let profile = table
            .as_ref()
            .and_then(|t| t.get(name.str))
            .ok_or_else(|| absent(&name, &names))?;
        if names.len() > MAX_CHAIN || names[..names.len() - 1].contains(&name.str) {
            return Err(name.error(format!("`extends` has no end: {}", arrows(&names))));
        }
        profile.only("a permission profile", PROFILE)?;
        let parent = profile
            .get("extends")
            .map(|parent| parent.text("the name of a permission profile"))
            .transpose()?;
        profiles.push(profile);
        match parent {
            Some(parent) => name = parent,
            None => return Ok((None, profiles)),
        }
    }
}

fn absent(name: &Text, names: &[&str]) -> Error {
    let by = if names.len() > 1 {
        format!(": {}", arrows(names))
    } else {
        String::new()
    };
    name.error(format!("no profile `{}` in `[permissions]`{by}", name.str))
}

fn arrows(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" → ")
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
    }
    match profile.get("filesystem") {
        Some(table) => override_entries(&mut policy.file_system, file_system(&table)?),
        None => Ok(()),
    }
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
    if let Some(key) = at
        .items()?
        .into_iter()
        .find(|item| PROXY.contains(&item.name().str))
    {
        return Err(key
            .name()
            .error(format!("`{}` is not supported yet", key.name().str)));
    }
    at.only("a profile's network", &["enabled"])?;
    let enabled = at.get("enabled").map(|on| on.bool()).transpose()?;
    Ok(enabled.map(|on| {
        if on {
            Network::Enabled
        } else {
            Network::Restricted
        }
    }))
}

fn override_entries(parent: &mut FileSystem, child: Restricted) -> Result<()> {
    // What was unrestricted becomes a list that says the same, so that a child can take from it.
    let mut merged = match std::mem::replace(parent, FileSystem::Unrestricted) {
        FileSystem::Restricted(parent) => parent,
        FileSystem::Unrestricted | FileSystem::External if child.entries.is_empty() => {
            return Ok(());
        }
        FileSystem::Unrestricted | FileSystem::External => Restricted {
            entries: vec![special(Special::Root, Access::Write)],
            glob_scan_max_depth: None,
        },
    };
    merged
        .entries
        .retain(|old| !child.entries.iter().any(|new| new.target == old.target));
    merged.entries.extend(child.entries);
    merged.glob_scan_max_depth = child.glob_scan_max_depth.or(merged.glob_scan_max_depth);
    *parent = FileSystem::Restricted(merged);
    Ok(())
}

fn file_system(at: &At) -> Result<Restricted> {
    let mut restricted = Restricted::default();
    for item in at.items()? {
        match item.name().str {
            "glob_scan_max_depth" => restricted.glob_scan_max_depth = Some(depth(&item)?),
            _ if item.is_table() => restricted.entries.extend(nested(&item)?),
            _ => restricted.entries.push(flat(&item)?),
        }
    }
    Ok(restricted)
}

/// `"PATH" = "read"`.
fn flat(item: &At) -> Result<Entry> {
    let (name, access) = (item.name(), access(item)?);
    if name.str.starts_with(':') {
        return Ok(special(place(&name), access));
    }
    let target = match exact(&name, access)? {
        Some(path) => Target::Path(absolute(&path).map_err(|_| name.expected(PATH))?),
        None => Target::Glob(pattern(&name)?),
    };
    Ok(entry(target, access))
}

const PATH: &str = "an absolute path, `~/…` or a special path that begins with `:`";

fn place(name: &Text) -> Special {
    match name.str {
        ":root" => Special::Root,
        ":minimal" => Special::Minimal,
        ":tmpdir" => Special::Tmpdir,
        ":slash_tmp" => Special::SlashTmp,
        ":workspace_roots" | ":project_roots" => Special::ProjectRoots { subpath: None },
        _ => no_effect(name, None),
    }
}

/// `[filesystem."PATH"]`, whose keys are below PATH.
fn nested(item: &At) -> Result<Vec<Entry>> {
    let name = item.name();
    if name.str.starts_with(':') {
        let place = place(&name);
        return item
            .items()?
            .iter()
            .map(|sub| below_place(&place, sub))
            .collect();
    }
    if is_glob(name.str) {
        return Err(name.error("a glob cannot hold a table; expected an exact path"));
    }
    let root = absolute(&name).map_err(|_| name.expected(PATH))?;
    item.items()?
        .iter()
        .map(|sub| below_path(&root, sub))
        .collect()
}

fn below_place(place: &Special, sub: &At) -> Result<Entry> {
    let (name, access) = (sub.name(), access(sub)?);
    let target = match place {
        Special::ProjectRoots { .. } => match exact(&name, access)? {
            Some(path) => Target::Special(Special::ProjectRoots {
                subpath: subpath(&path)?,
            }),
            None => Target::Glob(format!("{WORKSPACE_GLOB}{}", below(&name)?.str)),
        },
        _ if name.str == "." => Target::Special(place.clone()),
        Special::Unknown { path, .. } => Target::Special(Special::Unknown {
            path: path.clone(),
            subpath: Some(name.str.to_owned()),
        }),
        Special::Root | Special::Minimal | Special::Tmpdir | Special::SlashTmp => {
            return Err(name.error(
                "only `:workspace_roots` and paths can hold paths below them; expected `.`",
            ));
        }
    };
    Ok(entry(target, access))
}

fn below_path(root: &Path, sub: &At) -> Result<Entry> {
    let (name, access) = (sub.name(), access(sub)?);
    let target = match exact(&name, access)? {
        Some(path) => Target::Path(subpath(&path)?.map_or(root.to_owned(), |sub| root.join(sub))),
        None => Target::Glob(root.join(below(&name)?.str).to_string_lossy().into_owned()),
    };
    Ok(entry(target, access))
}

/// The path that a key names exactly, `None` when it is a pattern. Only `deny` may have one; `read` and `write` mean the
/// whole tree anyway, so their trailing `/**` says nothing.
fn exact<'a>(name: &Text<'a>, access: Access) -> Result<Option<Text<'a>>> {
    let stem = match name.str.strip_suffix("/**") {
        Some("") => "/",
        Some(stem) => stem,
        None => name.str,
    };
    match access {
        _ if !is_glob(name.str) => Ok(Some(name.clone())),
        Access::Deny => Ok(None),
        Access::Read | Access::Write if !is_glob(stem) => Ok(Some(name.part(stem))),
        Access::Read | Access::Write => {
            Err(name.expected("an exact path, or one that ends in `/**`,"))
        }
    }
}

/// Entries of the workspace hold in every workspace root: the working directory, by symbol, and the added ones, by name.
fn in_every_root(entries: &[Entry], roots: &[(PathBuf, bool)]) -> Vec<Entry> {
    let mut all = Vec::new();
    for entry in entries {
        all.push(entry.clone());
        let added = roots
            .iter()
            .filter(|(_, enabled)| *enabled)
            .filter_map(|(root, _)| rooted(&entry.target, root));
        all.extend(added.map(|target| Entry {
            target,
            ..entry.clone()
        }));
    }
    all
}

fn rooted(target: &Target, root: &Path) -> Option<Target> {
    match target {
        Target::Special(Special::ProjectRoots { subpath: None }) => {
            Some(Target::Path(root.to_owned()))
        }
        Target::Special(Special::ProjectRoots { subpath: Some(sub) }) => {
            Some(Target::Path(root.join(sub)))
        }
        Target::Glob(glob) => {
            let below = glob.strip_prefix(WORKSPACE_GLOB)?;
            Some(Target::Glob(
                root.join(below).to_string_lossy().into_owned(),
            ))
        }
        Target::Path(_) | Target::Special(_) => None,
    }
}
