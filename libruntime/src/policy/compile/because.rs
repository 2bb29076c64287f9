//! Which entry of a policy speaks of which place of the host: what `explain` names beside a mount.

use super::Findings;
use super::resolve::{MINIMAL, special_place};
use super::walk::{End, Walk};
use crate::policy::view::View;
use crate::policy::{Access, FileSystem, Policy, Special, Target};
use std::fmt;
use std::path::{Path, PathBuf};

/// One entry at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Without symbolic links. A missing place: the first that is missing.
    pub path: PathBuf,
    /// What is said.
    pub access: Access,
    /// Where, in `file_system.entries` of the canonical form.
    pub entry: usize,
    /// `/srv/data`, `:workspace_roots/.git`, `:tmpdir`.
    pub target: String,
}

/// Every entry that speaks of a place; a glob speaks of those that it matched, which only the mounts show.
pub fn said(policy: &Policy, cwd: &Path, view: &dyn View) -> Vec<Said> {
    let FileSystem::Restricted(restricted) = &policy.file_system else { return Vec::new() };
    let walk = Walk::new(view);
    let mut all = Vec::new();
    for (entry, one) in restricted.entries.iter().enumerate() {
        for path in places(&one.target, cwd, &walk) {
            let (End::Dir(path) | End::File(path) | End::Missing(path) | End::Barred(path)) = walk.trace(&path).end;
            all.push(Said { path, access: one.access, entry, target: one.target.to_string() });
        }
    }
    all
}

fn places(target: &Target, cwd: &Path, walk: &Walk) -> Vec<PathBuf> {
    match target {
        Target::Path(path) => vec![path.clone()],
        Target::Glob(_) => Vec::new(),
        Target::Special(Special::Minimal) => MINIMAL.iter().map(PathBuf::from).collect(),
        // What there is to warn of has been said when the policy was compiled.
        Target::Special(special) => special_place(special, cwd, walk, &mut Findings::default()).into_iter().collect(),
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
        let words: Vec<_> = all.iter().map(|said| format!("{} {} {}", said.entry, said.path.display(), said.target)).collect();
        assert_eq!(
            words[..5],
            ["0 / :root", "1 /w :workspace_roots", "2 /tmp :slash_tmp", "3 /var/t :tmpdir", "4 /w/.git :workspace_roots/.git"]
        );
    }
}
