//! Deny patterns → what they match on the host at this moment. Unlike Codex, a directory that matches is denied as a whole, there is no
//! upper limit, and what is matched only by the name of a symbolic link is denied where the link leads.

use super::Findings;
use super::resolve::Wish;
use super::roots::{Ground, crosses, kernel_made};
use super::tree::Spot;
use super::walk::{End, Walk};
use crate::Error;
use crate::policy::glob::{Pattern, WORKSPACE};
use crate::policy::view::{Hit, Kind, Search};
use crate::policy::{Access, Restricted, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The patterns that a glob of the policy stands for; an error is kept for the end.
pub(super) fn patterns(glob: &str, cwd: &Path, found: &mut Findings) -> Vec<Pattern> {
    let parsed = match glob.strip_prefix(WORKSPACE) {
        Some(below) => Pattern::parse(cwd, below),
        None => Pattern::parse(Path::new("/"), glob),
    };
    parsed.unwrap_or_else(|error| {
        found.errors.push(error);
        Vec::new()
    })
}

/// A pattern that can only match one path is that path: it is denied before it exists.
pub(super) fn exact(glob: &str, cwd: &Path, found: &mut Findings) -> Vec<PathBuf> {
    let all = patterns(glob, cwd, found).into_iter();
    all.filter(Pattern::is_exact).map(|pattern| pattern.base).collect()
}

/// Looks for what every glob of the policy matches and denies it. What is granted must be on the ground already.
pub(super) fn deny(policy: &Restricted, cwd: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let mut searches: BTreeMap<PathBuf, Vec<Pattern>> = BTreeMap::new();
    for entry in &policy.entries {
        let Target::Glob(glob) = &entry.target else { continue };
        for pattern in patterns(glob, cwd, found).into_iter().filter(|pattern| !pattern.is_exact()) {
            if pattern.base == Path::new("/") {
                found.errors.push(unbounded(glob));
                break;
            }
            searches.entry(pattern.base.clone()).or_default().push(pattern);
        }
        ground.globs.push(written(glob, cwd));
    }
    let depth = policy.glob_scan_max_depth.map(usize::from);
    let wish = Wish { access: Access::Deny, skip_missing: true };
    for (base, patterns) in searches {
        if !kernel_made(&base, &wish, found) {
            search(&base, &patterns, depth, ground, walk, found);
        }
    }
}

fn written(glob: &str, cwd: &Path) -> String {
    match glob.strip_prefix(WORKSPACE) {
        Some(below) => cwd.join(below).to_string_lossy().into_owned(),
        None => glob.to_owned(),
    }
}

/// The sentence of Codex.
fn unbounded(glob: &str) -> Error {
    let what = format!("unreadable glob `{glob}` cannot be safely expanded");
    Error::new(what).hint("use a pattern with a non-root directory prefix")
}

fn search(base: &Path, patterns: &[Pattern], max_depth: Option<usize>, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let trace = walk.trace(base);
    if let Some(link) = trace.links.iter().find(|link| ground.tree.replaceable(&link.at)) {
        found.errors.push(crosses(Access::Deny, base, &link.at));
        return;
    }
    let End::Dir(root) = &trace.end else { return }; // nothing there that could match
    let granted = ground.tree.below(root).filter(|(_, spot)| spot.access != Access::Deny);
    let open: Vec<PathBuf> = granted.map(|(path, _)| path.to_path_buf()).collect();
    if open.is_empty() && matches!(ground.tree.access(root), None | Some(Access::Deny)) {
        return; // nothing of it can be seen anyway
    }
    let result = walk.view.search(&Search { root, patterns, max_depth, open: &open });
    let all = match result {
        Ok(all) => all,
        Err(cause) => {
            let what = format!("cannot look for what is denied below `{}`", base.display());
            found.errors.push(Error::new(what).cause(cause));
            return;
        }
    };
    let listed = |dir: &PathBuf| format!("`{}` cannot be listed: files in it are not denied by a pattern", dir.display());
    found.warnings.extend(all.barred.iter().map(listed));
    let (links, places): (Vec<Hit>, Vec<Hit>) = all.hits.into_iter().partition(|hit| hit.kind == Kind::Symlink);
    let before = ground.matched.len();
    for hit in places {
        plant(hit, ground, walk);
    }
    for link in links {
        follow(&link.path, ground, walk, found);
    }
    for (_, name) in &mut ground.matched[before..] {
        *name = name.strip_prefix(root).map(|below| base.join(below)).unwrap_or_default();
    }
}

fn plant(hit: Hit, ground: &mut Ground, walk: &Walk) {
    ground.matched.push((hit.path.clone(), hit.path.clone()));
    let dir = hit.kind == Kind::Dir;
    if dir && walk.kind(&hit.path) == Err(std::io::ErrorKind::NotFound) {
        ground.hold(&hit.path, walk); // another sandbox's placeholder, which may go at any moment
    } else {
        ground.tree.put(hit.path, Spot { access: Access::Deny, dir });
    }
}

/// Where programs and what they need to begin are.
const PROGRAMS: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"];

/// What a link leads to is denied, if it is a file: a directory could be `/usr`, by a link that a sandbox has made.
fn follow(link: &Path, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let (at, dir) = match walk.trace(link).end {
        End::Dir(at) => (at, true),
        End::File(at) => (at, false),
        End::Missing(_) | End::Barred(_) => return,
    };
    let made_afresh = ["/dev", "/proc"].iter().any(|top| at.starts_with(top));
    if made_afresh || ground.tree.access(&at) == Some(Access::Deny) {
        return;
    }
    let theirs = ground.tree.replaceable(link);
    // A link of a sandbox's making is no reason to deny what the next one needs to execute anything; no secret lies there.
    let spared = theirs && (dir || PROGRAMS.iter().any(|top| at.starts_with(top)));
    if !spared {
        ground.tree.put(at.clone(), Spot { access: Access::Deny, dir });
        ground.matched.push((at.clone(), link.into()));
    }
    if theirs {
        let now = if spared { "is not denied" } else { "is denied as long as the link stays" };
        found.warnings.push(format!(
            "`{}` matches a denied pattern, but is a symbolic link which the sandbox can replace: `{}`, to which it leads, {now}",
            link.display(),
            at.display()
        ));
    }
}

/// Nobody but codexrun writes down what a search has found: a sandbox would leave its secrets out.
pub(super) fn keep_cache(ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    walk.view.caches().iter().for_each(|dir| keep_own(dir, Access::Read, ground, walk, found));
}

/// Who could open what is kept of other containers could hold their locks and start those that wait (flock(2) and a FIFO need no more
/// than that, on a read-only mount too); who could write there would decide which hooks `delete` runs.
///
/// `own_dev`: the sandbox has a /dev of its own, in which nothing is the host's but what is granted by name.
pub(super) fn keep_records(own_dev: bool, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    for dir in walk.records() {
        let granted_by = ground.tree.nearest(&dir).map(|(by, _)| by);
        if !(own_dev && dir.starts_with("/dev") && granted_by == Some(Path::new("/"))) {
            keep_own(&dir, Access::Deny, ground, walk, found);
        }
    }
}

/// Allows no more than `most` of a directory of codexrun's own.
fn keep_own(dir: &Path, most: Access, ground: &mut Ground, walk: &Walk, found: &mut Findings) {
    let trace = walk.trace(dir);
    if let Some(link) = trace.links.iter().find(|link| ground.tree.replaceable(&link.at)) {
        found.errors.push(crosses(most, dir, &link.at));
        return;
    }
    let exceeds = |now| matches!((now, most), (Access::Write, Access::Read | Access::Deny) | (Access::Read, Access::Deny));
    match trace.end {
        End::Dir(at) if ground.tree.access(&at).is_some_and(exceeds) => ground.tree.put(at, Spot { access: most, dir: true }),
        End::Missing(at) => ground.hold(&at, walk),
        End::Dir(_) | End::File(_) | End::Barred(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compile::testing::*;
    use crate::policy::compile::{resolve, roots};
    use crate::policy::view::Recorded;
    use Access::{Deny, Read, Write};

    /// What is denied in a tree, and what is said about it.
    fn denied(paths: &str, entries: Vec<crate::policy::Entry>, depth: Option<usize>) -> (Vec<String>, Findings) {
        let view = Recorded::parse(&format!(r#"{{"paths": {{{paths}}}}}"#)).unwrap();
        let walk = Walk::new(&view);
        let mut found = Findings::default();
        let policy = Restricted { entries, glob_scan_max_depth: depth.and_then(std::num::NonZeroUsize::new) };
        let wishes = resolve::resolve(&policy, Path::new("/w"), &walk, &mut found);
        let (mut ground, _) = roots::land(&wishes, &walk, &mut found);
        deny(&policy, Path::new("/w"), &mut ground, &walk, &mut found);
        let all = ground.tree.iter().filter(|(_, spot)| spot.access == Deny);
        (all.map(|(path, _)| path.display().to_string()).collect(), found)
    }

    fn glob(pattern: &str) -> crate::policy::Entry {
        entry(Target::Glob(pattern.into()), Deny)
    }

    const TREE: &str = r#""/w/.env": "file", "/w/a/b/c.env": "file", "/w/a/keys/x": "file", "/w/a/keys/ok/y.env": "file",
        "/srv/d/id_rsa": "file", "/srv/d/id": "file", "/w/out.env": {"link": "/srv/d/id"}, "/srv/in.env": {"link": "/w/a/b"}"#;

    #[test]
    fn what_matches_is_denied_at_every_depth_up_to_the_limit() {
        let policy = |glob_: &str| vec![root(Read), glob(glob_)];
        for (pattern, depth, want) in [
            ("/w/**/*.env", None, &["/srv/d/id", "/w/.env", "/w/a/b/c.env", "/w/a/keys/ok/y.env"][..]),
            ("/w/**/*.env", Some(1), &["/srv/d/id", "/w/.env"]),
            ("/w/**/*.env", Some(3), &["/srv/d/id", "/w/.env", "/w/a/b/c.env"]),
            ("/srv/**/id_*", None, &["/srv/d/id_rsa"]),
            ("/w/a/*/x", None, &["/w/a/keys/x"]),
            ("/w/**/keys", None, &["/w/a/keys"]),
            ("codex-project-roots://a/**/c.*", None, &["/w/a/b/c.env"]),
            ("/none/**/x", None, &[]),
            ("/w/.env/**", None, &[]),
        ] {
            let (paths, found) = denied(TREE, policy(pattern), depth);
            assert_eq!(paths, want, "{pattern}");
            assert!(found.errors.is_empty() && found.warnings.is_empty(), "{pattern}: {found:?}");
        }
    }

    #[test]
    fn below_a_denied_directory_only_what_is_granted_is_searched() {
        let entries = vec![root(Read), glob("/w/**/keys"), glob("/w/**/*.env"), path("/w/a/keys/ok", Read)];
        let (paths, _) = denied(TREE, entries, None);
        assert_eq!(paths, ["/srv/d/id", "/w/.env", "/w/a/b/c.env", "/w/a/keys", "/w/a/keys/ok/y.env"]);
    }

    #[test]
    fn a_link_that_matches_denies_where_it_leads_unless_a_sandbox_could_hide_a_directory_by_it() {
        let (paths, found) = denied(TREE, vec![root(Read), project(Write), glob("/w/*.env"), glob("/srv/*.env")], None);
        assert_eq!(paths, ["/srv/d/id", "/w/.env", "/w/a/b"], "a link of the host's may deny a directory");
        assert_eq!(found.warnings.len(), 1, "a link in the workspace can be replaced: {found:?}");
        let (paths, found) = denied(
            r#""/w/usr.env": {"link": "/usr"}, "/usr/bin": "dir", "/w/null.env": {"link": "/dev/null"}, "/dev/null": "file""#,
            vec![root(Read), project(Write), glob("/w/*.env")],
            None,
        );
        assert!(paths.is_empty());
        assert!(found.warnings[0].ends_with("`/usr`, to which it leads, is not denied"), "{found:?}");
    }

    #[test]
    fn a_link_of_a_sandboxs_making_does_not_deny_a_program() {
        let links = r#""/w/a.env": {"link": "/usr/bin/sh"}, "/usr/bin/sh": "file", "/fixed/b.env": {"link": "/usr/bin/sh"}"#;
        let (paths, found) = denied(links, vec![root(Read), project(Write), glob("/w/*.env")], None);
        assert!(paths.is_empty() && found.warnings[0].ends_with("`/usr/bin/sh`, to which it leads, is not denied"), "{found:?}");
        let (paths, _) = denied(links, vec![root(Read), project(Write), glob("/fixed/*.env")], None);
        assert_eq!(paths, ["/usr/bin/sh"], "nobody in the sandbox has made that link");
    }

    #[test]
    fn what_cannot_be_searched_is_refused_or_mentioned() {
        let refused =
            |paths: &str, entries| denied(paths, entries, None).1.errors.into_iter().map(|e| e.what).collect::<Vec<_>>();
        assert_eq!(refused(TREE, vec![root(Read), glob("/**/*.env")]), ["unreadable glob `/**/*.env` cannot be safely expanded"]);
        assert_eq!(refused(TREE, vec![root(Read), glob("/w/{a")]).len(), 2, "where exact ones are looked for, and here");
        let link = r#""/w/l": {"link": "/srv"}, "/srv": "dir""#;
        let crosses = "cannot enforce sandbox deny-read path `/w/l` because it crosses writable symlink `/w/l`";
        assert_eq!(refused(link, vec![root(Read), project(Write), glob("/w/l/*.env")]), [crosses]);
        let (_, found) = denied(r#""/w/shut": {"dir": "unreadable"}"#, vec![root(Read), glob("/w/**/*.env")], None);
        assert_eq!(found.warnings, ["`/w/shut` cannot be listed: files in it are not denied by a pattern"]);
    }

    #[test]
    fn what_nobody_sees_is_not_searched() {
        let (paths, _) = denied(TREE, vec![path("/w", Read), glob("/srv/**/id_*"), glob("/w/*.env")], None);
        assert_eq!(paths, ["/srv/d/id", "/w/.env"]);
    }
}
