//! `SandboxPolicy`, the tagged form of every generation; `ReadOnlyAccess` is that of early 2026.

use super::cursor::At;
use super::path::absolute;
use super::preset::{Workspace, entry, full_access, read_all, restricted, special};
use super::split;
use crate::Result;
use crate::policy::{Access, Entry, FileSystem, Network, Policy, Special, Target};
use std::path::PathBuf;

type Read = fn(&At) -> Result<Policy>;

pub(super) const TYPES: &[(&str, Read)] = &[
    ("danger-full-access", danger),
    ("read-only", read_only),
    ("external-sandbox", external),
    ("workspace-write", workspace_write),
];

pub(super) fn read(at: &At) -> Result<Policy> {
    at.need("type")?.word(TYPES)?(at)
}

fn danger(at: &At) -> Result<Policy> {
    at.only("`danger-full-access`", &["type"])?;
    Ok(full_access())
}

fn read_only(at: &At) -> Result<Policy> {
    at.only("`read-only`", &["type", "network_access", "access"])?;
    Ok(restricted(reads(at.get("access"))?, switch(at)?))
}

fn external(at: &At) -> Result<Policy> {
    at.only("`external-sandbox`", &["type", "network_access"])?;
    let network = at.get("network_access").map_or(Ok(Network::Restricted), |n| split::network(&n))?;
    Ok(Policy { file_system: FileSystem::External, network, choices: Default::default() })
}

fn workspace_write(at: &At) -> Result<Policy> {
    let known = ["type", "writable_roots", "network_access", "exclude_tmpdir_env_var", "exclude_slash_tmp", "read_only_access"];
    at.only("`workspace-write`", &known)?;
    Ok(Workspace { reads: reads(at.get("read_only_access"))?, ..knobs(at)? }.policy())
}

/// The switches that config.toml's `[sandbox_workspace_write]` has too.
pub(super) fn knobs(at: &At) -> Result<Workspace> {
    Ok(Workspace {
        writable_roots: at.get("writable_roots").map_or(Ok(Vec::new()), |roots| paths(&roots))?,
        slash_tmp: !flag(at, "exclude_slash_tmp")?,
        tmpdir: !flag(at, "exclude_tmpdir_env_var")?,
        network: switch(at)?,
        ..Workspace::default()
    })
}

pub(super) fn paths(at: &At) -> Result<Vec<PathBuf>> {
    let path = |item: At| absolute(&item.text("an absolute path")?);
    at.list("a list of absolute paths")?.into_iter().map(path).collect()
}

fn switch(at: &At) -> Result<Network> {
    Ok(if flag(at, "network_access")? { Network::Enabled } else { Network::Restricted })
}

fn flag(at: &At, key: &str) -> Result<bool> {
    at.get(key).map_or(Ok(false), |value| value.bool())
}

/// `ReadOnlyAccess`.
fn reads(access: Option<At>) -> Result<Vec<Entry>> {
    let Some(at) = access else {
        return Ok(read_all());
    };
    at.only("a read access", &["type", "include_platform_defaults", "readable_roots"])?;
    let full = at.need("type")?.word(&[("full-access", true), ("restricted", false)])?;
    if full {
        at.only("`full-access`", &["type"])?;
        return Ok(read_all());
    }
    let defaults = at.get("include_platform_defaults").map_or(Ok(true), |d| d.bool())?;
    let roots = at.get("readable_roots").map_or(Ok(Vec::new()), |roots| paths(&roots))?;
    let mut entries = if defaults { platform_defaults() } else { Vec::new() };
    entries.extend(roots.into_iter().map(|root| entry(Target::Path(root), Access::Read)));
    Ok(entries)
}

/// That generation counted the working directory and /tmp among them; `:minimal` has been without since.
fn platform_defaults() -> Vec<Entry> {
    let places = [Special::Minimal, Special::ProjectRoots { subpath: None }, Special::SlashTmp];
    places.map(|place| special(place, Access::Read)).into()
}
