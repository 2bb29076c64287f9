//! Entries of a policy → absolute paths: special names are looked up, what has no meaning here is warned about or
//! refused. Precedence between entries with the same path is settled; symbolic links are not followed yet.

use super::Findings;
use super::globs;
use super::walk::Walk;
use crate::policy::view::Kind;
use crate::policy::{Access, Entry, Restricted, Special, Target};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `:minimal`: what a program needs to start. Not `/dev` and `/proc` (always there), not `/tmp /var /opt /home /run`.
pub(super) const MINIMAL: &[&str] = &[
    "/bin",                   // #!/bin/sh
    "/sbin",                  // ldconfig, ip
    "/usr",                   // programs and their libraries
    "/etc",                   // ld.so.cache, passwd, certificates
    "/lib",                   // where /usr is not merged
    "/lib64",                 // the ELF interpreter
    "/nix/store",             // everything, on NixOS
    "/run/current-system/sw", // the profile that points into it
];

/// One path and what the policy says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub access: Access,
    /// No placeholder when the path is missing.
    pub skip_missing: bool,
}

/// Paths as written (lexically clean), each with its strongest wish.
pub(super) type Wishes = BTreeMap<PathBuf, Wish>;

/// Resolves every entry against the working directory.
pub(super) fn resolve(policy: &Restricted, cwd: &Path, walk: &Walk, found: &mut Findings) -> Wishes {
    let mut wishes = Wishes::new();
    for entry in &policy.entries {
        for path in places(entry, cwd, walk, found) {
            wish(&mut wishes, path, Wish { access: entry.access, skip_missing: entry.skip_missing });
        }
    }
    if policy.entries.iter().any(is_minimal) {
        for path in MINIMAL {
            wish(&mut wishes, path.into(), Wish { access: Access::Read, skip_missing: true });
        }
    }
    wishes
}

/// On a tie the stronger word stays; a path is skipped when missing only if every entry says so.
pub(super) fn wish(wishes: &mut Wishes, path: PathBuf, new: Wish) {
    let old = wishes.entry(path).or_insert(new);
    old.skip_missing = match new.access.cmp(&old.access) {
        std::cmp::Ordering::Less => old.skip_missing,
        std::cmp::Ordering::Equal => old.skip_missing && new.skip_missing,
        std::cmp::Ordering::Greater => new.skip_missing,
    };
    old.access = old.access.max(new.access);
}

fn is_minimal(entry: &Entry) -> bool {
    matches!(entry.target, Target::Special(Special::Minimal)) && entry.access != Access::Deny
}

fn places(entry: &Entry, cwd: &Path, walk: &Walk, found: &mut Findings) -> Vec<PathBuf> {
    match &entry.target {
        Target::Path(path) => vec![path.clone()],
        Target::Glob(glob) => globs::exact(glob, cwd, found), // the others: `globs`
        Target::Special(special) => special_place(special, cwd, walk, found).into_iter().collect(),
    }
}

pub(super) fn special_place(special: &Special, cwd: &Path, walk: &Walk, found: &mut Findings) -> Option<PathBuf> {
    match special {
        Special::Root => Some("/".into()),
        Special::Minimal => None, // a list, see `resolve`
        Special::ProjectRoots { subpath: None } => Some(cwd.into()),
        Special::ProjectRoots { subpath: Some(sub) } => Some(cwd.join(sub)),
        Special::SlashTmp => (walk.kind(Path::new("/tmp")) == Ok(Kind::Dir)).then(|| "/tmp".into()),
        Special::Tmpdir => tmpdir(walk, found),
        Special::Unknown { .. } => None, // the parser has warned, with the place
    }
}

/// Unset and empty mean none; a relative one would depend on who looks, so it is ignored loudly.
fn tmpdir(walk: &Walk, found: &mut Findings) -> Option<PathBuf> {
    let path = walk.view.tmpdir().filter(|p| !p.as_os_str().is_empty())?;
    if path.is_relative() {
        found.warnings.push(format!("TMPDIR is ignored because `{}` is not absolute", path.display()));
        return None;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compile::testing::*;
    use crate::policy::view::Recorded;

    fn paths(json: &str, entries: Vec<Entry>) -> (Vec<String>, Findings) {
        let view = Recorded::parse(json).unwrap();
        let mut found = Findings::default();
        let policy = Restricted { entries, glob_scan_max_depth: None };
        let wishes = resolve(&policy, Path::new("/w"), &Walk::new(&view), &mut found);
        (wishes.iter().map(|(p, w)| format!("{} {:?}", p.display(), w.access)).collect(), found)
    }

    #[test]
    fn special_names_are_looked_up() {
        let (paths, found) = paths(
            r#"{"tmpdir": "/scratch", "paths": {"/tmp": "dir"}}"#,
            vec![root(Access::Read), project(Access::Write), sub(".git", Access::Read), tmp(), tmpdir_entry()],
        );
        assert_eq!(paths, ["/ Read", "/scratch Write", "/tmp Write", "/w Write", "/w/.git Read"]);
        assert!(found.errors.is_empty() && found.warnings.is_empty());
    }

    #[test]
    fn an_unusable_tmpdir_is_ignored_and_a_relative_one_is_mentioned() {
        for (tmpdir, warnings) in [("null", 0), ("\"\"", 0), ("\"tmp\"", 1)] {
            let (paths, found) = paths(&format!(r#"{{"tmpdir": {tmpdir}, "paths": {{}}}}"#), vec![tmpdir_entry()]);
            assert!(paths.is_empty(), "{tmpdir}");
            assert_eq!(found.warnings.len(), warnings, "{tmpdir}");
        }
    }

    #[test]
    fn a_tmp_that_is_no_directory_is_ignored() {
        let (paths, _) = paths(r#"{"paths": {"/tmp": {"file": ""}}}"#, vec![tmp()]);
        assert!(paths.is_empty());
    }

    #[test]
    fn unknown_names_are_kept_quiet_and_exact_patterns_are_paths() {
        let glob = |glob: &str| entry(Target::Glob(glob.into()), Access::Deny);
        let unknown = Special::Unknown { path: ":future".into(), subpath: None };
        let (paths, found) =
            paths(r#"{"paths": {}}"#, vec![glob("/w/{a,b[*]}"), glob("/w/*.env"), special(unknown, Access::Deny)]);
        assert_eq!(paths, ["/w/a Deny", "/w/b* Deny"]);
        assert!(found.errors.is_empty() && found.warnings.is_empty(), "the parser has warned");
    }
}
