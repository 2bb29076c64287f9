//! Cgroups that no record speaks of: of sandboxes whose codexrun was killed before there was a keeper (`run/keeper.rs`), or together with
//! it, empty directories named after its process; and of containers whose record is garbled.

use super::Cgroup;
use crate::plan::cgroup::{Group, Plan};
use std::fs;
use std::path::{Path, PathBuf};

/// The id of a container that was given none is this and the number of codexrun's process.
pub const UNNAMED: &str = "codexrun-";

/// Removes those that lie beside such a one. Who is about to be in one is alive; what cannot be removed is not empty, or not ours.
pub(super) fn remove_beside(leaf: &Path) {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix(UNNAMED)?.parse::<u32>().ok();
    let Some(dir) = leaf.parent().filter(|_| number(leaf).is_some()) else { return };
    let dead = |path: &Path| number(path).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if dead(&entry.path()) {
            fs::remove_dir(entry.path()).unwrap_or(());
        }
    }
}

impl Cgroup {
    /// Removes the directories of a container of which only the plan is left, and nobody's processes; the first that is still in use.
    pub fn remove_empty(plan: &Plan) -> Option<PathBuf> {
        let in_use = |dir: &PathBuf| fs::remove_dir(dir).is_err() && dir.exists();
        plan.groups.iter().map(Group::dir).find(in_use)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_codexrun_has_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let own = format!("{UNNAMED}{}", std::process::id());
        let dead = format!("{UNNAMED}{}", i32::MAX);
        let all = [own.as_str(), &dead, "codexrun-x", "codexrun", "2147483647"].map(|name| dir.path().join(name));
        all.iter().for_each(|path| fs::create_dir(path).unwrap());
        let there = || all.iter().map(|path| path.exists()).collect::<Vec<_>>();
        remove_beside(&dir.path().join("named"));
        assert_eq!(there(), [true; 5]);
        remove_beside(&dir.path().join("codexrun-1"));
        assert_eq!(there(), [true, false, true, true, true]);
        fs::create_dir_all(all[1].join("populated")).unwrap();
        remove_beside(&dir.path().join("codexrun-1"));
        assert!(all[1].exists());
    }
}
