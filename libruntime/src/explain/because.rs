//! Path → entry of the policy: the longest place that an entry speaks of, as compile decided.

use crate::policy::Access;
use crate::policy::compile::Said;
use std::fmt;
use std::path::Path;

/// What of a policy has to do with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// This entry says so.
    Entry(Said),
    /// Metadata below the writable place of this entry is protected by default: `.git` and what it points to, `.agents`, `.codex`.
    Protection(Said),
    /// Every sandbox has a `/proc` and `/dev` of its own.
    Own,
    /// No entry speaks of it, or none that says what is so.
    Nothing,
}

/// Finds the reason for what is permitted at `at`, which lies on a mount that is read-only or not.
pub(super) fn because(said: &[Said], at: &Path, read_only: bool) -> Because {
    let rank = |one: &&Said| (one.path.components().count(), one.access);
    let best = said.iter().filter(|one| at.starts_with(&one.path)).max_by_key(rank);
    let own = ["/proc", "/dev"].iter().any(|own| at.starts_with(own) && best.is_none_or(|one| !one.path.starts_with(own)));
    match best {
        _ if own => Because::Own,
        None => Because::Nothing,
        Some(one) if one.access == Access::Write && read_only => Because::Protection(one.clone()),
        Some(one) if one.access == Access::Read && !read_only => Because::Nothing,
        Some(one) => Because::Entry(one.clone()),
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Entry(said) => write!(f, "{} = {}", Source(said), word(said.access)),
            Because::Protection(said) => write!(f, "protected metadata of {}", Source(said)),
            Because::Own => f.write_str("the sandbox's own"),
            Because::Nothing => f.write_str("no entry"),
        }
    }
}

/// Where a policy says it; a choice has its name alone.
struct Source<'a>(&'a Said);

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said { entry, target, .. } = self.0;
        entry.map_or(Ok(()), |entry| write!(f, "entries[{entry}]: "))?;
        f.write_str(target)
    }
}

/// As a policy writes it.
pub fn word(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Deny => "deny",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_place_decides_and_protection_is_told_from_a_grant() {
        let said: Vec<Said> = [("/", Access::Read), ("/w", Access::Write), ("/w", Access::Read), ("/w/x", Access::Deny)]
            .into_iter()
            .enumerate()
            .map(|(entry, (path, access))| Said { path: path.into(), access, entry: Some(entry), target: path.into() })
            .collect();
        let words = |at: &str, read_only| because(&said, Path::new(at), read_only).to_string();
        assert_eq!(words("/usr", true), "entries[0]: / = read");
        assert_eq!(words("/w", false), "entries[1]: /w = write");
        assert_eq!(words("/w/.git", true), "protected metadata of entries[1]: /w");
        assert_eq!(words("/w/x/y", true), "entries[3]: /w/x = deny");
        assert_eq!(words("/dev/pts", false), "the sandbox's own");
        let secret = Said { path: "/h".into(), access: Access::Deny, entry: None, target: "codexrun.deny_secrets".into() };
        assert_eq!(because(&[secret], Path::new("/h/k"), true).to_string(), "codexrun.deny_secrets = deny");
        assert_eq!(because(&said[1..], Path::new("/usr"), true), Because::Nothing);
    }
}
