//! `FileSystemSandboxPolicy`, alone or beside `NetworkSandboxPolicy`.

use super::cursor::{At, Text};
use super::path::{absolute, pattern, subpath};
use crate::Result;
use crate::policy::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};
use std::num::NonZeroUsize;

pub(super) const ACCESS: &[(&str, Access)] =
    &[("read", Access::Read), ("write", Access::Write), ("deny", Access::Deny), ("none", Access::Deny)];
pub(super) const NETWORK: &[(&str, Network)] = &[("restricted", Network::Restricted), ("enabled", Network::Enabled)];

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Restricted,
    Unrestricted,
    External,
}

pub(super) const KINDS: &[(&str, Kind)] =
    &[("restricted", Kind::Restricted), ("unrestricted", Kind::Unrestricted), ("external-sandbox", Kind::External)];

/// `{"file_system": …, "network": …}`.
pub(super) fn read_pair(at: &At) -> Result<Policy> {
    at.only("a split policy", &["file_system", "network"])?;
    let file_system = file_system(&at.need("file_system")?)?;
    let network = at.get("network").map_or(Ok(Network::Restricted), |n| network(&n))?;
    Ok(Policy { file_system, network, choices: Default::default() })
}

/// A file system without a network: the network is restricted, as it is by default.
pub(super) fn read_alone(at: &At) -> Result<Policy> {
    Ok(Policy { file_system: file_system(at)?, network: Network::Restricted, choices: Default::default() })
}

fn file_system(at: &At) -> Result<FileSystem> {
    at.only("a file system policy", &["kind", "entries", "glob_scan_max_depth"])?;
    let kind = at.get("kind").map_or(Ok(Kind::Restricted), |kind| kind.word(KINDS))?;
    let restricted = restricted(at)?;
    match kind {
        Kind::Restricted => Ok(FileSystem::Restricted(restricted)),
        Kind::Unrestricted => without_entries(at, &restricted, FileSystem::Unrestricted),
        Kind::External => without_entries(at, &restricted, FileSystem::External),
    }
}

/// An entry of an unrestricted policy would be without effect, a denial among them silently so.
pub(super) fn without_entries(at: &At, restricted: &Restricted, kind: FileSystem) -> Result<FileSystem> {
    match at.get("entries") {
        Some(entries) if !restricted.entries.is_empty() => {
            Err(entries.error("entries have no effect unless the file system is `restricted`"))
        }
        _ => Ok(kind),
    }
}

/// The entries and what goes with them, which every later form shares.
pub(super) fn restricted(at: &At) -> Result<Restricted> {
    let entries = match at.get("entries") {
        Some(list) => list.list("a list of entries")?.iter().map(entry).collect::<Result<_>>()?,
        None => Vec::new(),
    };
    Ok(Restricted { entries, glob_scan_max_depth: at.option("glob_scan_max_depth").map(|d| depth(&d)).transpose()? })
}

pub(super) fn depth(at: &At) -> Result<NonZeroUsize> {
    let number = at.number().and_then(|n| usize::try_from(n).ok()).and_then(NonZeroUsize::new);
    number.ok_or_else(|| at.expected("a whole number from 1"))
}

pub(super) fn access(at: &At) -> Result<Access> {
    at.word(ACCESS)
}

/// Codex's word, or what it has no word for.
pub(super) fn network(at: &At) -> Result<Network> {
    if !at.is_table() {
        return at.word(NETWORK);
    }
    at.only("a network", &["mode"])?;
    at.need("mode")?.word(&[("proxy", Network::Proxy)])
}

fn entry(at: &At) -> Result<Entry> {
    at.only("an entry", &["path", "access", "missing_path_behavior"])?;
    let access = access(&at.need("access")?)?;
    let target = target(&at.need("path")?, access)?;
    let skip = at.option("missing_path_behavior").map(|skip| skip.word(&[("skip", ())])).transpose()?;
    Ok(Entry { target, access, skip_missing: skip.is_some() })
}

type ReadTarget = fn(&At, Access) -> Result<Target>;

const TARGETS: &[(&str, ReadTarget)] = &[("path", path), ("glob_pattern", glob), ("special", special)];

fn target(at: &At, access: Access) -> Result<Target> {
    at.need("type")?.word(TARGETS)?(at, access)
}

fn path(at: &At, _: Access) -> Result<Target> {
    at.only("a path", &["type", "path"])?;
    Ok(Target::Path(absolute(&at.need("path")?.text("an absolute path")?)?))
}

fn glob(at: &At, access: Access) -> Result<Target> {
    at.only("a glob", &["type", "pattern"])?;
    let text = at.need("pattern")?.text("a glob pattern")?;
    match access {
        Access::Deny => Ok(Target::Glob(pattern(&text)?)),
        Access::Read | Access::Write => Err(text.error("a glob can only be denied; expected an exact path")),
    }
}

fn special(at: &At, _: Access) -> Result<Target> {
    at.only("a special path", &["type", "value"])?;
    let value = at.need("value")?;
    let kind = value.need("kind")?.text("a special path's kind")?;
    let place = match kind.str {
        "root" => bare(&value, Special::Root),
        "minimal" => bare(&value, Special::Minimal),
        "tmpdir" => bare(&value, Special::Tmpdir),
        "slash_tmp" => bare(&value, Special::SlashTmp),
        "project_roots" | "current_working_directory" => project_roots(&value),
        "unknown" => unknown(&value),
        _ => future(&value, &kind),
    };
    Ok(Target::Special(place?))
}

fn bare(at: &At, place: Special) -> Result<Special> {
    at.only("a special path without subpath", &["kind"])?;
    Ok(place)
}

fn project_roots(at: &At) -> Result<Special> {
    at.only("`project_roots`", &["kind", "subpath"])?;
    let below = at.option("subpath").map(|sub| subpath(&sub.text("a relative path")?)).transpose()?;
    Ok(Special::ProjectRoots { subpath: below.flatten() })
}

fn unknown(at: &At) -> Result<Special> {
    at.only("`unknown`", &["kind", "path", "subpath"])?;
    Ok(no_effect(&at.need("path")?.text("a special path's name")?, written(at)?))
}

/// A kind of a later version: kept by its name, whatever else it says.
fn future(at: &At, kind: &Text) -> Result<Special> {
    Ok(no_effect(kind, written(at)?))
}

fn written(at: &At) -> Result<Option<String>> {
    let sub = at.option("subpath").map(|sub| sub.text("a relative path")).transpose()?;
    Ok(sub.map(|text| text.str.to_owned()))
}

/// A token that this version does not know: kept, and without effect.
pub(super) fn no_effect(name: &Text, subpath: Option<String>) -> Special {
    name.warn(&format!("unknown special path {} has no effect", super::cursor::quote(name.str)));
    Special::Unknown { path: name.str.to_owned(), subpath }
}
