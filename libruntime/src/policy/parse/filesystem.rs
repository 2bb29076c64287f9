//! `[permissions.NAME.filesystem]`: keys are paths, special paths or globs, values an access or a table of paths below.

use super::cursor::{At, Text};
use super::path::{WORKSPACE_GLOB, absolute, below, glob_below, is_glob, pattern, subpath};
use super::preset::{entry, special};
use super::split::{access, depth, no_effect};
use crate::Result;
use crate::policy::{Access, Entry, Restricted, Special, Target};
use std::path::Path;

pub(super) fn read(at: &At) -> Result<Restricted> {
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
    refuse_relative(&name)?;
    let target = match exact(&name, access)? {
        Some(path) => Target::Path(absolute(&path)?),
        None => Target::Glob(pattern(&name)?),
    };
    Ok(entry(target, access))
}

/// A key that is no path is more likely a special one without its `:` than a path without its `/`.
fn refuse_relative(name: &Text) -> Result<()> {
    match name.str.starts_with(['/', '~']) {
        true => Ok(()),
        false => Err(name.expected("an absolute path, `~/…` or a special path that begins with `:`")),
    }
}

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
        return item.items()?.iter().map(|sub| below_place(&place, sub)).collect();
    }
    if is_glob(name.str) {
        return Err(name.error("a glob cannot hold a table; expected an exact path"));
    }
    refuse_relative(&name)?;
    let root = absolute(&name)?;
    item.items()?.iter().map(|sub| below_path(&root, sub)).collect()
}

fn below_place(place: &Special, sub: &At) -> Result<Entry> {
    let (name, access) = (sub.name(), access(sub)?);
    let target = match place {
        Special::ProjectRoots { .. } => match exact(&name, access)? {
            Some(path) => Target::Special(Special::ProjectRoots { subpath: subpath(&path)? }),
            None => Target::Glob(format!("{WORKSPACE_GLOB}{}", below(&name)?.str)),
        },
        _ if name.str == "." => Target::Special(place.clone()),
        Special::Unknown { path, .. } => {
            Target::Special(Special::Unknown { path: path.clone(), subpath: Some(name.str.to_owned()) })
        }
        Special::Root | Special::Minimal | Special::Tmpdir | Special::SlashTmp => {
            return Err(name.error("only `:workspace_roots` and paths can hold paths below them; expected `.`"));
        }
    };
    Ok(entry(target, access))
}

fn below_path(root: &Path, sub: &At) -> Result<Entry> {
    let (name, access) = (sub.name(), access(sub)?);
    let target = match exact(&name, access)? {
        Some(path) => Target::Path(subpath(&path)?.map_or(root.to_owned(), |sub| root.join(sub))),
        None => Target::Glob(glob_below(root, below(&name)?.str)),
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
        Access::Read | Access::Write => Err(name.expected("an exact path, or one that ends in `/**`")),
    }
}
