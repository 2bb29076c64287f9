//! Follows the symbolic links of what the policy names and puts every existing place into the tree; fails closed where
//! a protection would lie behind a link that the sandbox itself can replace.

use super::Findings;
use super::resolve::{Wish, Wishes};
use super::tree::{Spot, Tree};
use super::walk::{End, Link, Trace, Walk};
use crate::Error;
use crate::policy::Access;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The decided places, the missing ones that must not be created, and the links that lead to them.
#[derive(Debug, Default)]
pub(super) struct Ground {
    pub tree: Tree,
    pub placeholders: BTreeSet<PathBuf>,
    pub links: Vec<Link>,
    /// Granted caches.
    pub caches: BTreeSet<PathBuf>,
    /// Deny patterns, absolute: what was expanded when the bundle was made.
    pub globs: Vec<String>,
    /// What they deny, and the name by which they match it.
    pub matched: Vec<(PathBuf, PathBuf)>,
    /// Granted Unix sockets.
    pub sockets: Vec<String>,
    /// Of a git directory, what may be written by choice.
    pub opened: Vec<PathBuf>,
    /// Directories of hooks that the user's own configuration of git names, relative to each repository.
    pub hooks: Vec<String>,
    /// Repositories whose worktrees have been looked for.
    pub commons: BTreeSet<PathBuf>,
    /// What names a resolver, which the sandbox has inside.
    pub resolver: Option<PathBuf>,
}

/// A wish and where its path leads.
#[derive(Debug)]
pub(super) struct Traced<'a> {
    path: &'a Path,
    wish: Wish,
    trace: Trace,
}

/// Follows every wish and puts what exists on the ground.
pub(super) fn land<'a>(wishes: &'a Wishes, walk: &Walk, found: &mut Findings) -> (Ground, Vec<Traced<'a>>) {
    let wanted = wishes.iter().filter(|(path, wish)| !kernel_made(path, wish, found));
    let traced: Vec<Traced> = wanted.map(|(path, wish)| Traced { path, wish: *wish, trace: walk.trace(path) }).collect();
    let mut ground = Ground::default();
    for one in &traced {
        plant(&mut ground.tree, one.wish.access, &one.trace);
    }
    let seen = traced.iter().filter(|one| one.wish.access != Access::Deny && one.trace.found());
    ground.links = seen.flat_map(|one| one.trace.links.clone()).collect();
    (ground, traced)
}

/// Judges links and missing places, which is possible only when everything writable and everything protected is known.
pub(super) fn judge(traced: &[Traced], walk: &Walk, ground: &mut Ground, found: &mut Findings) {
    for one in traced {
        judge_one(one, walk, ground, found);
    }
}

/// What a fresh `/dev` holds in every sandbox.
const NODES: &[&str] =
    &["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "console", "fd", "stdin", "stdout", "stderr"];

/// `/proc` and `/dev` are made afresh: a grant of what they hold adds nothing, and a program cannot do without it.
pub(super) fn kernel_made(path: &Path, wish: &Wish, found: &mut Findings) -> bool {
    let dev = path == Path::new("/dev") || NODES.iter().any(|node| path.starts_with(Path::new("/dev").join(node)));
    if !dev && !path.starts_with("/proc") {
        return false;
    }
    if wish.access == Access::Deny || (wish.access == Access::Write && !dev) {
        let word = if wish.access == Access::Deny { "denied" } else { "granted for writing" };
        let what = format!("`{}` cannot be {word}: the sandbox has a /proc and /dev of its own", path.display());
        found.errors.push(Error::new(what));
    }
    true
}

fn plant(tree: &mut Tree, access: Access, trace: &Trace) {
    match &trace.end {
        End::Dir(at) => tree.put(at.clone(), Spot { access, dir: true }),
        End::File(at) => tree.put(at.clone(), Spot { access, dir: false }),
        End::Missing(_) | End::Barred(_) => {}
    }
}

fn judge_one(one: &Traced, walk: &Walk, ground: &mut Ground, found: &mut Findings) {
    let crossed = one.trace.links.iter().find(|link| ground.tree.replaceable(&link.at));
    match (one.wish.access, crossed) {
        (Access::Write, Some(link)) => found.errors.extend(gains(one, link, &ground.tree)),
        (Access::Write, None) => unreached(one, found), // a missing writable root is skipped
        (access @ (Access::Read | Access::Deny), Some(link)) => found.errors.push(crosses(access, one.path, &link.at)),
        (Access::Read | Access::Deny, None) => close(one, walk, ground, found),
    }
}

/// What a link of the sandbox's own making leads to would be granted to the next one: `TMPDIR` that is missing, `ln -s $HOME`. It may
/// lead to where the sandbox may write anyway.
fn gains(one: &Traced, link: &Link, tree: &Tree) -> Option<Error> {
    let (End::Dir(at) | End::File(at)) = &one.trace.end else { return None };
    if tree.around(at) == Some(Access::Write) {
        return None;
    }
    let what = format!(
        "cannot grant writable root `{}` because it crosses writable symlink `{}`, which a sandbox may have made",
        one.path.display(),
        link.at.display()
    );
    Some(Error::new(what).hint("name the target of the link instead, or remove the link"))
}

/// What the caller cannot reach cannot be granted, which is no reason to refuse the rest.
fn unreached(one: &Traced, found: &mut Findings) {
    if let (End::Barred(at), false) = (&one.trace.end, one.wish.skip_missing) {
        let (path, at) = (one.path.display(), at.display());
        found.warnings.push(format!("writable root `{path}` is not granted: `{at}` cannot be reached"));
    }
}

/// The sentence of Codex, which people know to search for.
pub(super) fn crosses(access: Access, path: &Path, link: &Path) -> Error {
    let mut error = unenforceable(access, path);
    error.what += &format!(" because it crosses writable symlink `{}`", link.display());
    error.hint("name the target of the link instead, or remove the link")
}

/// A protected path that does not exist (yet) inside a writable place.
fn close(one: &Traced, walk: &Walk, ground: &mut Ground, found: &mut Findings) {
    match &one.trace.end {
        End::Dir(_) | End::File(_) => {}
        End::Missing(at) if !one.wish.skip_missing => ground.hold(at, walk),
        End::Missing(_) => {}
        End::Barred(at) if ground.tree.access(at) == Some(Access::Write) => {
            let error = unenforceable(one.wish.access, one.path);
            found.errors.push(error.cause(walk.barred(at)));
        }
        End::Barred(_) => {} // neither can the sandbox go there
    }
}

/// The beginning of every sentence that fails closed.
pub(super) fn unenforceable(access: Access, path: &Path) -> Error {
    let kind = if access == Access::Deny { "deny-read" } else { "read-only" };
    Error::new(format!("cannot enforce sandbox {kind} path `{}`", path.display()))
}

impl Ground {
    /// Keeps the missing path `at` from being created, if it could be.
    pub fn hold(&mut self, at: &Path, walk: &Walk) {
        let Some(parent) = at.parent() else { return };
        // What is made in a new directory is not made on the host.
        if !self.tree.replaceable(at) || self.tree.in_fresh(parent) {
            return;
        }
        if walk.writable(parent) {
            self.placeholders.insert(at.to_path_buf());
        }
    }
}
