//! Wherever codexrun, a hook or a payload could leave something: what was there before a trial is all that may be there afterwards.

use crate::oci::turn::Turn;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The column's own (`private_tmp`), so that whatever is there is ours.
const OWN: [&str; 2] = ["/tmp", "/dev/shm"];

/// Everybody's: what begins with this name there.
const SHARED: (&str, &str) = ("/run", "codexrun");

/// Where containers are known, and the memory of searches ([`crate::oci`] looks into the first); both are there to stay.
const KEPT: [&str; 2] = ["codexrun", "codexrun-scan"];

/// Names before a trial.
pub struct Places {
    turn: PathBuf,
    /// Of the proxy's, which stays.
    log: PathBuf,
    before: BTreeSet<PathBuf>,
}

impl Places {
    /// A look at all of them.
    pub fn look(turn: &Turn, log: PathBuf) -> Places {
        Places { turn: turn.dir.clone(), log, before: names(&turn.dir) }
    }

    /// What is there now and was not then.
    pub fn new_ones(&self) -> Vec<String> {
        let now = names(&self.turn);
        now.difference(&self.before).filter(|path| **path != self.log).map(|path| path.display().to_string()).collect()
    }
}

/// The state directory, the caller's runtime directory and the bundle lie in the turn's.
fn names(turn: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    OWN.iter().map(Path::new).chain([turn]).for_each(|dir| below(dir, &mut all));
    let shared = entries(Path::new(SHARED.0));
    all.extend(shared.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SHARED.1))));
    all.retain(|path| !KEPT.iter().any(|kept| path.ends_with(kept)));
    all
}

fn below(dir: &Path, all: &mut BTreeSet<PathBuf>) {
    for path in entries(dir) {
        if path.is_dir() && !path.is_symlink() {
            below(&path, all);
        }
        all.insert(path);
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_anywhere_below_is_seen_and_what_is_kept_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("run/deep")).unwrap();
        let places = Places { turn: dir.path().into(), log: PathBuf::new(), before: names(dir.path()) };
        let file = dir.path().join("run/deep/left");
        [dir.path().join("run/codexrun-scan"), file.clone()].iter().for_each(|path| fs::write(path, "").unwrap());
        assert!(places.new_ones().contains(&file.display().to_string()));
        assert!(!places.new_ones().iter().any(|path| path.ends_with("codexrun-scan")));
    }
}
