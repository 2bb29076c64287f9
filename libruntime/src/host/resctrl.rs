//! Where the resctrl file system is mounted, found in mountinfo, and what it can watch.

use super::cgroup::{bytes, read};
use crate::Result;
use crate::mountinfo::{self, Mount};
use std::path::{Path, PathBuf};

/// The resctrl file system, as the kernel's Documentation/filesystems/resctrl.rst describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resctrl {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// What a group can be watched for: `llc_occupancy`, `mbm_total_bytes`, `mbm_local_bytes`.
    pub monitored: Vec<String>,
}

impl Resctrl {
    /// The first that is mounted whole.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn probe() -> Result<Option<Self>> {
        let Some(mount) = find(&bytes(Path::new("/proc/self/mountinfo"))?) else { return Ok(None) };
        let features = read(&mount.join("info/L3_MON/mon_features"))?;
        Ok(Some(Resctrl { monitored: features.split_ascii_whitespace().map(str::to_owned).collect(), mount }))
    }
}

fn find(mountinfo: &[u8]) -> Option<PathBuf> {
    let mounts = mountinfo::parse(mountinfo);
    let whole = |mount: &&Mount| mount.fstype == "resctrl" && mount.root.as_os_str() == "/" && mount.is_visible(&mounts);
    mounts.iter().find(whole).map(|mount| mount.point.clone())
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn it_is_found_where_it_is_mounted_and_not_where_something_lies_over_it() {
        let root = "23 1 8:1 / / rw - ext4 /dev/x rw\n40 23 0:9 / /sys rw - sysfs sysfs rw\n";
        let mounted = format!("{root}41 40 0:50 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n");
        assert_eq!(find(root.as_bytes()), None);
        assert_eq!(find(mounted.as_bytes()), Some("/sys/fs/resctrl".into()));
        assert_eq!(find(format!("{mounted}42 40 0:51 / /sys/fs rw - tmpfs none rw\n").as_bytes()), None);
        assert_eq!(find(mounted.replace("0:50 / ", "0:50 /group ").as_bytes()), None);
    }
}
