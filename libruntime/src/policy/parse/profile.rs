//! `PermissionProfile`: tagged, and the two untagged forms that preceded the tag.

use super::cursor::At;
use super::legacy::paths;
use super::preset::{entry, full_access};
use super::split;
use crate::Result;
use crate::policy::{Access, FileSystem, Network, Policy, Restricted, Target};

type Read = fn(&At) -> Result<Policy>;

pub(super) const TYPES: &[(&str, Read)] = &[("managed", managed), ("disabled", disabled), ("external", external)];

pub(super) fn read(at: &At) -> Result<Policy> {
    at.need("type")?.word(TYPES)?(at)
}

fn managed(at: &At) -> Result<Policy> {
    at.only("a managed profile", &["type", "file_system", "network"])?;
    Ok(Policy { file_system: file_system(&at.need("file_system")?)?, network: network(at)?, choices: Default::default() })
}

fn disabled(at: &At) -> Result<Policy> {
    at.only("a disabled profile", &["type"])?;
    Ok(full_access())
}

fn external(at: &At) -> Result<Policy> {
    at.only("an external profile", &["type", "network"])?;
    Ok(Policy { file_system: FileSystem::External, network: network(at)?, choices: Default::default() })
}

fn network(at: &At) -> Result<Network> {
    at.get("network").map_or(Ok(Network::Restricted), |n| split::network(&n))
}

fn file_system(at: &At) -> Result<FileSystem> {
    at.only("a managed file system", &["type", "entries", "glob_scan_max_depth"])?;
    let restricted = at.need("type")?.word(&[("restricted", true), ("unrestricted", false)])?;
    let entries = split::restricted(at)?;
    if restricted {
        return Ok(FileSystem::Restricted(entries));
    }
    split::without_entries(at, &entries, FileSystem::Unrestricted)
}

/// What is added to a policy: the entries of an untagged profile, and nothing where it says nothing.
pub(super) fn read_additional(at: &At) -> Result<Policy> {
    read_untagged(at).map_err(|e| super::form::read_as(e, "an additional permission profile"))
}

/// Before the tag: every field may be absent, and what is absent is not permitted.
pub(super) fn read_untagged(at: &At) -> Result<Policy> {
    at.only("an untagged profile", &["file_system", "network"])?;
    let entries = at.option("file_system").map_or(Ok(Restricted::default()), |fs| untagged_entries(&fs))?;
    let network = at.option("network").map_or(Ok(Network::Restricted), |n| untagged_network(&n))?;
    Ok(Policy { file_system: FileSystem::Restricted(entries), network, choices: Default::default() })
}

fn untagged_network(at: &At) -> Result<Network> {
    at.only("an untagged profile's network", &["enabled"])?;
    let enabled = at.option("enabled").map_or(Ok(false), |on| on.bool())?;
    Ok(if enabled { Network::Enabled } else { Network::Restricted })
}

fn untagged_entries(at: &At) -> Result<Restricted> {
    if at.get("read").is_none() && at.get("write").is_none() {
        at.only("an untagged profile's file system", &["entries", "glob_scan_max_depth", "read", "write"])?;
        return split::restricted(at);
    }
    at.only("an untagged profile's lists", &["read", "write"])?;
    let mut entries = Vec::new();
    for (key, access) in [("read", Access::Read), ("write", Access::Write)] {
        let roots = at.option(key).map_or(Ok(Vec::new()), |list| paths(&list))?;
        entries.extend(roots.into_iter().map(|root| entry(Target::Path(root), access)));
    }
    Ok(Restricted { entries, glob_scan_max_depth: None })
}
