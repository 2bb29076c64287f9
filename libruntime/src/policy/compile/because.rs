//! Which entry of a policy speaks of which place of the host: what `explain` names beside a mount.

use super::resolve::{MINIMAL, special_place};
use super::walk::{End, Walk};
use super::{Findings, choice, globs, metadata, resolve, roots};
use crate::policy::choice::{Git, KEY};
use crate::policy::view::View;
use crate::policy::{Access, FileSystem, Policy, Restricted, Special, Target};
use std::fmt;
use std::path::{Path, PathBuf};

/// One entry at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Without symbolic links. A missing place: the first that is missing.
    pub path: PathBuf,
    /// What is said.
    pub access: Access,
    /// Where, in `file_system.entries` of the canonical form; a choice has no entry.
    pub entry: Option<usize>,
    /// `/srv/data`, `:workspace_roots/.git`, `:tmpdir`, `/srv/**/*.env`, `codexrun.deny_secrets`.
    pub target: String,
}

/// Every entry and choice that speaks of a place; a pattern speaks of those that it matches now.
pub fn said(policy: &Policy, cwd: &Path, view: &dyn View) -> Vec<Said> {
    let FileSystem::Restricted(restricted) = &policy.file_system else { return Vec::new() };
    let walk = Walk::new(view);
    let mut found = Findings::default(); // what there is to say of it was said when the policy was compiled
    let mut all = Vec::new();
    for (entry, one) in restricted.entries.iter().enumerate() {
        for path in places(&one.target, cwd, &walk, &mut found) {
            all.push(Said { path: end(&path, &walk), access: one.access, entry: Some(entry), target: one.target.to_string() });
        }
    }
    let choices = choice::wished(&policy.choices, &walk, &mut found).into_iter();
    let choices = choices.filter(|(_, path, _)| walk.trace(path).found());
    all.extend(choices.map(|(name, path, wish)| chosen(name, end(&path, &walk), wish.access)));
    if policy.choices.private_tmp {
        // What was said of the host's has no meaning for a new one.
        let old = [choice::TMP.into()].into_iter().chain(choice::tmpdir_in_tmp(&walk)).map(|path| end(&path, &walk));
        let old: Vec<PathBuf> = old.collect();
        all.retain(|one| !old.contains(&one.path));
        all.push(chosen("private_tmp", end(Path::new(choice::TMP), &walk), Access::Write));
    }
    all.extend(landed(policy, restricted, cwd, &walk));
    all
}

fn chosen(name: &str, path: PathBuf, access: Access) -> Said {
    Said { path, access, entry: None, target: format!("{KEY}.{name}") }
}

fn end(path: &Path, walk: &Walk) -> PathBuf {
    let (End::Dir(path) | End::File(path) | End::Missing(path) | End::Barred(path)) = walk.trace(path).end;
    path
}

/// What patterns deny, and what of a worktree's repository is opened: found as compile finds it.
fn landed(policy: &Policy, restricted: &Restricted, cwd: &Path, walk: &Walk) -> Vec<Said> {
    let mut found = Findings::default();
    let globs = restricted.entries.iter().enumerate().filter_map(|(entry, one)| match &one.target {
        Target::Glob(glob) => Some((entry, glob, globs::patterns(glob, cwd, &mut Findings::default()))),
        Target::Path(_) | Target::Special(_) => None,
    });
    let globs: Vec<_> = globs.collect();
    if globs.is_empty() && policy.choices.git == Git::Protect {
        return Vec::new();
    }
    let mut wishes = resolve::resolve(restricted, cwd, walk, &mut found);
    choice::wishes(&policy.choices, &mut wishes, walk, &mut found);
    let (mut ground, _) = roots::land(&wishes, walk, &mut found);
    globs::deny(restricted, cwd, &mut ground, walk, &mut found);
    let said = |(path, name): (PathBuf, PathBuf)| {
        let (entry, glob, _) = globs.iter().find(|(_, _, all)| all.iter().any(|pattern| pattern.matches(&name)))?;
        Some(Said { path, access: Access::Deny, entry: Some(*entry), target: (*glob).clone() })
    };
    metadata::protect(&policy.choices, &mut ground, walk, &mut found);
    let opened = ground.opened.into_iter().map(|path| chosen("git", path, Access::Write));
    ground.matched.into_iter().filter_map(said).chain(opened).collect()
}

fn places(target: &Target, cwd: &Path, walk: &Walk, found: &mut Findings) -> Vec<PathBuf> {
    match target {
        Target::Path(path) => vec![path.clone()],
        Target::Glob(glob) => globs::exact(glob, cwd, found),
        Target::Special(Special::Minimal) => MINIMAL.iter().map(PathBuf::from).collect(),
        Target::Special(special) => special_place(special, cwd, walk, found).into_iter().collect(),
    }
}

/// As config.toml writes it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, below) = match self {
            Target::Path(path) => return write!(f, "{}", path.display()),
            Target::Glob(pattern) => return f.write_str(pattern),
            Target::Special(Special::Root) => (":root", None),
            Target::Special(Special::Minimal) => (":minimal", None),
            Target::Special(Special::Tmpdir) => (":tmpdir", None),
            Target::Special(Special::SlashTmp) => (":slash_tmp", None),
            Target::Special(Special::ProjectRoots { subpath }) => {
                (":workspace_roots", subpath.as_ref().map(|path| path.display().to_string()))
            }
            Target::Special(Special::Unknown { path, subpath }) => (path.as_str(), subpath.clone()),
        };
        f.write_str(name)?;
        below.map_or(Ok(()), |below| write!(f, "/{below}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse::preset;
    use crate::policy::view::Recorded;

    #[test]
    fn every_entry_is_found_where_its_links_lead() {
        let view = r#"{"tmpdir": "/t", "paths": {"/t": {"link": "var/t"}, "/var/t": "dir", "/tmp": "dir", "/w/.git": "dir"}}"#;
        let all = said(&preset("workspace").unwrap(), Path::new("/w"), &Recorded::parse(view).unwrap());
        let words: Vec<_> =
            all.iter().map(|said| format!("{} {} {}", said.entry.unwrap(), said.path.display(), said.target)).collect();
        assert_eq!(
            words[..5],
            ["0 / :root", "1 /w :workspace_roots", "2 /tmp :slash_tmp", "3 /var/t :tmpdir", "4 /w/.git :workspace_roots/.git"]
        );
    }

    #[test]
    fn what_git_may_write_by_choice_is_named() {
        let view = r#"{"home": "/h", "paths": {"/w/.git": {"file": "gitdir: /r/.git/worktrees/w\n"}, "/r/.git/objects": "dir",
            "/r/.git/worktrees/w/gitdir": {"file": "/w/.git\n"}, "/r/.git/worktrees/w/commondir": {"file": "../..\n"}}}"#;
        let mut policy = preset("workspace").unwrap();
        policy.choices.git = Git::Commit;
        let all = said(&policy, Path::new("/w"), &Recorded::parse(view).unwrap());
        let words = all.iter().filter(|one| one.entry.is_none()).map(|one| format!("{} {}", one.path.display(), one.target));
        assert_eq!(words.collect::<Vec<_>>(), ["/r/.git/worktrees/w codexrun.git", "/r/.git/objects codexrun.git"]);
    }

    #[test]
    fn patterns_and_choices_are_named_where_they_deny_or_grant() {
        let view = r#"{"tmpdir": "/tmp/t", "home": "/h", "paths": {"/w/a/x.env": "file", "/w/b.env": {"link": "/srv/b"}, "/srv/b": "file",
            "/h/.ssh": "dir", "/h/.npm": "dir", "/tmp/t": "dir", "/w/literal": "file"}}"#;
        let policy = r#"{"file_system": {"entries": [
            {"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"},
            {"path": {"type": "special", "value": {"kind": "tmpdir"}}, "access": "write"},
            {"path": {"type": "special", "value": {"kind": "slash_tmp"}}, "access": "deny"},
            {"path": {"type": "glob_pattern", "pattern": "/w/*/none"}, "access": "deny"},
            {"path": {"type": "glob_pattern", "pattern": "/w/{**/*.env,literal}"}, "access": "deny"}]},
            "codexrun": {"deny_secrets": true, "caches": ["npm"], "private_tmp": true}}"#;
        let base = crate::policy::parse::Base { cwd: Path::new("/w"), home: Some(Path::new("/h")) };
        let policy = crate::policy::parse::parse("p", policy, crate::policy::parse::Format::Json, &base).unwrap().policy;
        let all = said(&policy, Path::new("/w"), &Recorded::parse(view).unwrap());
        let words = all.iter().map(|one| format!("{:?} {} {:?} {}", one.entry, one.path.display(), one.access, one.target));
        assert_eq!(
            words.collect::<Vec<_>>(),
            [
                "Some(0) / Read :root",
                "Some(4) /w/literal Deny /w/{**/*.env,literal}",
                "None /h/.npm Write codexrun.caches",
                "None /h/.ssh Deny codexrun.deny_secrets",
                "None /tmp Write codexrun.private_tmp",
                "Some(4) /w/a/x.env Deny /w/{**/*.env,literal}",
                "Some(4) /srv/b Deny /w/{**/*.env,literal}",
            ]
        );
    }
}
