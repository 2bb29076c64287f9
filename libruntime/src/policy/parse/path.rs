//! Paths and patterns as policies write them → absolute and lexically clean. Nothing here looks at a disk: a symbolic
//! link is compile's business.

use super::cursor::Text;
use crate::Result;
use std::path::{Component, Path, PathBuf};

/// A pattern that begins so is relative to each workspace root.
pub(super) const WORKSPACE_GLOB: &str = crate::policy::glob::WORKSPACE;

/// `/…`, `~` or `~/…`.
pub(super) fn absolute(text: &Text) -> Result<PathBuf> {
    Ok(clean(Path::new(&rooted(text, str::to_owned)?)))
}

/// As [`absolute`], and a relative path begins at the policy's working directory.
pub(super) fn workspace_root(text: &Text) -> Result<PathBuf> {
    refuse_nul(text)?;
    if text.str.is_empty() || text.str.starts_with(['/', '~']) {
        return absolute(text);
    }
    let cwd = known(text, "the working directory", text.source.base.cwd)?;
    Ok(clean(&Path::new(cwd).join(text.str)))
}

/// A pattern is absolute or relative to the workspace roots, and without `..`, which has no lexical meaning behind `*`.
pub(super) fn pattern(text: &Text) -> Result<String> {
    if let Some(relative) = text.str.strip_prefix(WORKSPACE_GLOB) {
        return Ok(format!("{WORKSPACE_GLOB}{}", below(&text.part(relative))?.str));
    }
    match has_parent(text.str) {
        true => Err(text.expected("a glob pattern without `..`")),
        false => rooted(text, literal),
    }
}

/// A pattern for what is below a directory.
pub(super) fn glob_below(directory: &Path, pattern: &str) -> String {
    format!("{}/{pattern}", literal(&directory.to_string_lossy()).trim_end_matches('/'))
}

/// The pattern that matches only `path`.
fn literal(path: &str) -> String {
    path.chars().map(|c| if matches!(c, '*' | '?' | '[') { format!("[{c}]") } else { c.into() }).collect()
}

fn has_parent(path: &str) -> bool {
    Path::new(path).components().any(|c| c == Component::ParentDir)
}

/// A path below a workspace root; `.` is the root itself.
pub(super) fn subpath(text: &Text) -> Result<Option<PathBuf>> {
    let clean: PathBuf = Path::new(below(text)?.str).components().filter(|c| *c != Component::CurDir).collect();
    Ok(Some(clean).filter(|path| !path.as_os_str().is_empty()))
}

/// Relative and without `..`, which could lead out of the place it is meant to stay in.
pub(super) fn below<'t, 'a>(text: &'t Text<'a>) -> Result<&'t Text<'a>> {
    refuse_nul(text)?;
    if text.str.is_empty() || text.str.starts_with('/') || has_parent(text.str) {
        return Err(text.expected("a relative path without `..`"));
    }
    Ok(text)
}

pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', ']'])
}

/// The text with its `~` replaced by what `write` makes of the home directory.
fn rooted(text: &Text, write: fn(&str) -> String) -> Result<String> {
    refuse_nul(text)?;
    let rest = match text.str.strip_prefix('~') {
        None if text.str.starts_with('/') => return Ok(text.str.to_owned()),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => return Err(text.expected("an absolute path or `~/…`")),
    };
    let Some(home) = text.source.base.home else {
        return Err(text.error("cannot expand `~`: no home directory is known"));
    };
    Ok(write(known(text, "the home directory", home)?) + rest)
}

/// A directory of the caller as text; config.json is JSON and could not name another.
fn known<'p>(text: &Text, what: &str, path: &'p Path) -> Result<&'p str> {
    match path.to_str() {
        Some(str) if path.is_absolute() => Ok(str),
        Some(_) => Err(text.error(format!("{what} `{}` is not absolute", path.display()))),
        None => Err(text.error(format!("{what} `{}` is not UTF-8", path.display()))),
    }
}

fn refuse_nul(text: &Text) -> Result<()> {
    if text.str.contains('\0') { Err(text.error("a path cannot contain NUL")) } else { Ok(()) }
}

/// Without `.`, `..` and doubled slashes; `..` at the root stays there, as in the kernel.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
