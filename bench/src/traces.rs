//! What stands on the host that its programs can leave there: mounts, cgroups, files for a while and sockets.

use std::collections::BTreeSet;
use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

/// Of all but mounts, only what carries such a name is ours or a peer's: other programs of this machine go on.
const NAMES: [&str; 4] = ["codexrun", "bubblewrap", "bwrap", "crun"];

/// In words, one for each.
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// As the host is at this moment, seen from our mount namespace.
    pub fn now() -> Result<Traces> {
        let mut all: BTreeSet<String> = fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(mount).collect();
        let mut cgroups = vec![];
        below(Path::new("/sys/fs/cgroup"), &mut cgroups);
        let places = [std::env::temp_dir(), "/dev/shm".into(), "/run".into(), "/run/codexrun".into()];
        let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).map(|dir| [dir.join("codexrun"), dir]);
        let files = places.into_iter().chain(own.into_iter().flatten()).flat_map(|place| entries(&place));
        let sockets = fs::read_to_string("/proc/net/unix")?;
        let sockets = sockets.lines().filter_map(|line| line.split_whitespace().nth(7)).map(PathBuf::from);
        let ours = |kind| move |path: PathBuf| named(&path).then(|| format!("{kind} {}", path.display()));
        all.extend(cgroups.into_iter().filter_map(ours("cgroup")));
        all.extend(files.filter_map(ours("file")));
        all.extend(sockets.filter_map(ours("socket")));
        Ok(Traces(all))
    }

    /// What has come since.
    pub fn since(&self, before: &Traces) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

/// The conformance suite may be playing beside us.
fn named(path: &Path) -> bool {
    let path = path.to_string_lossy();
    NAMES.iter().any(|name| path.contains(name)) && !path.contains("codexrun-test")
}

/// Its number, of which no two mounts have one, and its place (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<String> {
    let mut fields = line.split(' ');
    let (id, at) = (fields.next()?, fields.nth(3)?);
    Some(format!("mount {id} at {at}"))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

/// Every directory, those in them too.
fn below(dir: &Path, into: &mut Vec<PathBuf>) {
    for path in entries(dir).into_iter().filter(|path| path.is_dir() && !path.is_symlink()) {
        below(&path, into);
        into.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_a_mount_that_have_come_are_told_and_what_was_there_is_not() {
        let before = Traces::now().unwrap();
        let path = std::env::temp_dir().join(format!("codexrun-bench-trace-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let since = Traces::now().unwrap().since(&before);
        fs::remove_file(&path).unwrap();
        assert!(since.contains(&format!("file {}", path.display())), "{since:?}");
        assert_eq!(mount("36 35 98:0 /mnt1 /mnt2 rw,noatime - ext3 /dev/root rw").unwrap(), "mount 36 at /mnt2");
        assert!(before.0.iter().any(|trace| trace.starts_with("mount ") && trace.ends_with(" at /proc")), "{:?}", before.0);
    }
}
