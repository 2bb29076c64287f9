//! `$XDG_RUNTIME_DIR`, as far as it is believed: what codexrun keeps there decides what its next calls do outside of every sandbox.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory that the variable names. `None`: none, or one below /tmp, which `workspace-write` lets a sandbox rewrite, and a sandbox
/// that was started without the variable does not know what is to be kept from it there.
pub fn runtime_dir() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute() && !is_temporary(dir))
}

/// The one that logind makes for a user.
pub fn of_login(uid: u32) -> PathBuf {
    format!("/run/user/{uid}").into()
}

/// By the name, or by where links lead; of what is missing the nearest directory above counts.
fn is_temporary(dir: &Path) -> bool {
    let tmp = Path::new("/tmp");
    let real = dir.ancestors().find_map(|above| fs::canonicalize(above).ok());
    let below = |top: &Path| real.as_ref().is_some_and(|real| real.starts_with(top));
    dir.starts_with(tmp) || below(tmp) || fs::canonicalize(tmp).is_ok_and(|tmp| below(&tmp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_lies_in_tmp_by_name_or_by_a_link_is_not_believed() {
        let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
        let link = elsewhere.path().join("link");
        symlink("/tmp", &link).unwrap();
        for dir in [Path::new("/tmp"), Path::new("/tmp/none/at/all"), &link, &link.join("none")] {
            assert!(is_temporary(dir), "{dir:?}");
        }
        for dir in [elsewhere.path(), &elsewhere.path().join("none"), &of_login(1000), Path::new("/tmpfs")] {
            assert!(!is_temporary(dir), "{dir:?}");
        }
    }
}
