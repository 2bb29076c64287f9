//! Directories that autofs(5) would mount something on if they were entered: slow, and without end when the server is gone. Found in
//! mountinfo, without touching them.

use crate::mountinfo;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What /proc/self/mountinfo says of autofs.
#[derive(Debug, Default)]
pub(super) struct Automounts {
    /// Mounted upon when they are opened.
    direct: HashSet<PathBuf>,
    /// May be listed; what lies in them is mounted when it is opened.
    indirect: HashSet<PathBuf>,
    /// Everything that something is mounted on already.
    mounted: HashSet<PathBuf>,
}

impl Automounts {
    pub fn probe() -> Self {
        Self::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(mountinfo: &[u8]) -> Self {
        let mut all = Automounts::default();
        for mount in mountinfo::parse(mountinfo) {
            let point = mount.point;
            // A later mount covers what was there.
            all.direct.remove(&point);
            all.indirect.remove(&point);
            if mount.fstype == "autofs" {
                let indirect = mount.system_options.split(',').any(|option| option == "indirect");
                let kind = if indirect { &mut all.indirect } else { &mut all.direct };
                kind.insert(point);
            } else {
                all.mounted.insert(point);
            }
        }
        all
    }

    /// Whether to enter the directory would mount something.
    pub fn wait_at(&self, dir: &Path) -> bool {
        let below = || dir.parent().is_some_and(|parent| self.indirect.contains(parent)) && !self.mounted.contains(dir);
        self.direct.contains(dir) || below()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_mounted_is_not_entered() {
        let all = Automounts::parse(
            b"1 0 0:1 / / rw - ext4 /dev/vda rw\n\
             2 1 0:2 / /net rw - autofs map rw,fd=7,indirect\n\
             3 2 0:3 / /net/up rw - nfs4 up:/ rw\n\
             4 1 0:4 / /data\\040b rw - autofs systemd-1 rw,fd=9,direct\n\
             5 1 0:5 / /home rw - autofs systemd-1 rw,fd=9,direct\n\
             6 5 0:6 / /home rw - nfs4 home:/ rw\n",
        );
        for (path, waits) in
            [("/net", false), ("/net/down", true), ("/net/up", false), ("/data b", true), ("/home", false), ("/", false)]
        {
            assert_eq!(all.wait_at(Path::new(path)), waits, "{path}");
        }
    }
}
