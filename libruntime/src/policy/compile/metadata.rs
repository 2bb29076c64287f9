//! `.git`, `.agents` and `.codex` at the top of every writable root: what an agent must not rewrite, because a program
//! outside the sandbox (git, a hook, the next agent) trusts it.

use super::Findings;
use super::git;
use super::roots::{Ground, crosses, unenforceable};
use super::tree::Spot;
use super::walk::{End, Walk};
use crate::Error;
use crate::policy::Access;
use crate::policy::choice::{Choices, Git};
use crate::policy::glob::Pattern;
use crate::policy::view::{Kind, Search};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::ErrorKind::{self, NotFound};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const NAMES: &[&str] = &[
    ".git",    // hooks and config run commands outside
    ".agents", // instructions that the next agent obeys
    ".codex",  // its configuration
];

/// Adds the protections of every writable root.
pub(super) fn protect(choices: &Choices, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    withdraw(ground, walk, found);
    let roots = writable_roots(ground);
    if !roots.is_empty() {
        git::users(ground, walk, found);
    }
    for root in &roots {
        for name in NAMES {
            guard(root, name, choices.git, ground, walk, found);
        }
    }
    let above: BTreeSet<&Path> = roots.iter().flat_map(|root| root.ancestors().skip(1)).collect();
    for dir in above.into_iter().filter(|dir| !roots.iter().any(|root| root == dir)) {
        around(dir, ground, walk, found);
    }
    let nested = if choices.nested_git { roots } else { Vec::new() };
    for repository in nested.iter().flat_map(|root| repositories(root, walk, found)).collect::<Vec<_>>() {
        guard(&repository, ".git", choices.git, ground, walk, found);
    }
}

/// A link of somebody else's where the caller may remove it, root in /tmp: no mount can lie on it, and who replaces it would be trusted.
/// Everybody on the machine can make one, so that it is no reason to refuse every command.
fn withdraw(ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    for root in writable_roots(ground) {
        let theirs = |path: &PathBuf| walk.kind(path) == Ok(Kind::Symlink) && walk.of_others(path) && walk.owns(&root);
        if let Some(link) = NAMES.iter().map(|name| root.join(name)).find(theirs) {
            let (at, link) = (root.display(), link.display());
            found
                .warnings
                .push(format!("`{at}` is not granted for writing: somebody else has made the link `{link}`; remove it"));
            ground.tree.set(root.clone(), Spot { access: Access::Read, dir: true });
        }
    }
}

/// The repository that a root lies in, if `dir` is its top: its configuration may trust what lies in the root.
fn around(dir: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let path = dir.join(".git");
    if walk.view.is_automounted(dir) {
        return; // nobody has made a repository of it
    }
    let Ok(kind) = walk.kind(&path) else { return };
    if walk.of_others(&path) {
        return;
    }
    match walk.trace(&path).end {
        End::Dir(_) | End::File(_) if kind != Kind::Symlink && ground.tree.access(dir) == Some(Access::Write) => {
            guard(dir, ".git", Git::Protect, ground, walk, found)
        }
        End::Dir(at) => git::trusted(&at, &at, dir, ground, walk, found),
        End::File(at) => pointer(dir, &at, Git::Protect, ground, walk, found),
        End::Missing(_) | End::Barred(_) => {}
    }
}

/// Every directory below a root that has a `.git`. What is in one is not looked at.
fn repositories(root: &Path, walk: &Walk, found: &mut Findings) -> Vec<PathBuf> {
    let patterns = Pattern::parse(root, "**/.git").unwrap_or_default();
    match walk.view.search(&Search { root, patterns: &patterns, max_depth: None, open: &[] }) {
        Ok(all) => {
            let dirs = all.hits.iter().filter_map(|hit| hit.path.parent());
            dirs.filter(|dir| !is_strangers(root, dir, walk)).map(Path::to_path_buf).collect()
        }
        Err(cause) => {
            let what = format!("cannot look for repositories below `{}`", root.display());
            found.errors.push(Error::new(what).cause(cause));
            Vec::new()
        }
    }
}

/// Whether it lies in what somebody else has put into a sticky root.
fn is_strangers(root: &Path, dir: &Path, walk: &Walk) -> bool {
    let top = dir.ancestors().take_while(|up| *up != root).last();
    top.is_some_and(|top| walk.of_others(top))
}

/// An explicit grant of `R/.git` is a root, but not one that has a `.git` of its own.
fn writable_roots(ground: &Ground) -> Vec<PathBuf> {
    let own = |path: &Path| ground.tree.is_fresh(path) || ground.caches.contains(path);
    let roots = ground.tree.iter().filter(|(path, spot)| spot.access == Access::Write && spot.dir && !own(path));
    let plain = |path: &Path| !path.file_name().is_some_and(|name| NAMES.iter().any(|n| name == *n));
    roots.map(|(path, _)| path.to_path_buf()).filter(|path| plain(path)).collect()
}

pub(super) fn guard(root: &Path, name: &str, git: Git, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let path = root.join(name);
    // An explicit word about the very path wins; one about a place below it re-opens only that place.
    if ground.tree.get(&path).is_some_and(|spot| spot.access == Access::Write) {
        return;
    }
    let kind = walk.kind(&path);
    if kind != Err(NotFound) && walk.of_others(&path) {
        return strangers(root, path, kind, ground, walk);
    }
    match kind {
        Ok(Kind::Symlink) => found.errors.push(crosses(Access::Read, &path, &path)),
        Ok(Kind::Dir) if name == ".git" => {
            git::trusted(&path, &path, root, ground, walk, found);
            found.errors.extend((git == Git::Commit).then(|| git::refuse(&path)));
            ground.tree.put(path, Spot { access: Access::Read, dir: true });
        }
        Ok(Kind::Dir) => ground.tree.put(path, Spot { access: Access::Read, dir: true }),
        Ok(Kind::File) => {
            // First, as it may lead back to itself.
            ground.tree.put(path.clone(), Spot { access: Access::Read, dir: false });
            if name == ".git" {
                pointer(root, &path, git, ground, walk, found);
            }
        }
        Err(NotFound) => ground.hold(&path, walk),
        Err(cause) => found.errors.push(unenforceable(Access::Read, &path).cause(cause)),
    }
}

/// What somebody else has put into a sticky directory says nothing to us, and the kernel lets the sandbox replace it no more than it lets
/// the caller: only where that owns the directory.
fn strangers(root: &Path, path: PathBuf, kind: Result<Kind, ErrorKind>, ground: &mut Ground, walk: &Walk) {
    match kind {
        Ok(kind @ (Kind::Dir | Kind::File)) if walk.owns(root) => {
            ground.tree.put(path, Spot { access: Access::Read, dir: kind == Kind::Dir });
        }
        // Nothing lies on a mount point that would not answer; a link is gone, as is the grant ([`withdraw`]).
        Ok(_) | Err(_) => {}
    }
}

/// `.git` is a file in worktrees and submodules: `gitdir: PATH`, relative to where it lies.
fn pointer(root: &Path, file: &Path, git: Git, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let text = walk.read(file).unwrap_or_default();
    match target(&text, root, walk) {
        Some(gitdir) => {
            let common = path_in(&gitdir.join("commondir"), walk).map(|path| gitdir.join(path));
            git::trusted(common.as_deref().unwrap_or(&gitdir), &gitdir, root, ground, walk, found);
            if git == Git::Commit {
                match git::linked(&gitdir, file, ground, walk) {
                    Ok((gitdir, common)) => git::open(&gitdir, &common, ground, walk, found),
                    Err(error) => found.errors.push(error),
                }
                return;
            }
            shut(&gitdir, ground, walk, found);
            // Hooks and config of a worktree lie in the repository that it shares.
            if let Some(common) = common {
                shut(&common, ground, walk, found);
            }
        }
        None => found.warnings.push(format!("`{}` is no `gitdir: PATH` pointer; only it is protected", file.display())),
    }
}

fn target(text: &[u8], root: &Path, walk: &Walk) -> Option<PathBuf> {
    let value = text.trim_ascii().strip_prefix(b"gitdir")?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    if value.is_empty() || value.contains(&b'\n') {
        return None;
    }
    match value {
        b"~" => walk.home(),
        [b'~', b'/', rest @ ..] => Some(walk.home()?.join(OsStr::from_bytes(rest))),
        _ => Some(root.join(OsStr::from_bytes(value))),
    }
}

/// A path that is all that stands in a file.
pub(super) fn path_in(file: &Path, walk: &Walk) -> Option<PathBuf> {
    let text = walk.read(file).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(text.trim_ascii()))).filter(|path| !path.as_os_str().is_empty())
}

/// Makes a git directory read-only where it would be writable, unless the policy grants a `.git` by name.
fn shut(gitdir: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let trace = walk.trace(gitdir);
    if let Some(link) = trace.links.iter().find(|link| ground.tree.replaceable(&link.at)) {
        found.errors.push(crosses(Access::Read, gitdir, &link.at));
        return;
    }
    let (at, dir) = match trace.end {
        End::Dir(at) => (at, true),
        End::File(at) => (at, false),
        // A repository of the sandbox's making would be trusted as the one that was there.
        End::Missing(at) if is_shut(&at, ground) => return ground.hold(&at, walk),
        End::Missing(_) | End::Barred(_) => return,
    };
    if is_shut(&at, ground) {
        ground.tree.put(at, Spot { access: Access::Read, dir });
    }
}

/// Whether the sandbox could write there, and not because the policy grants a `.git` by name.
fn is_shut(at: &Path, ground: &Ground) -> bool {
    let by_name = |path: &Path| path.components().any(|c| c.as_os_str() == ".git");
    ground.tree.nearest(at).is_some_and(|(root, spot)| spot.access == Access::Write && !by_name(root))
}
