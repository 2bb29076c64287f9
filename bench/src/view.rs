//! The view of the host in which every contender runs: a mount namespace of the bench's own, made once, untimed.
//! An ordinary user cannot make one and takes the host as it is.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sys;

/// Leaves the host's mounts alone from here on.
pub fn enter() -> Result<()> {
    sys::private_mounts()?;
    // crun refuses a hybrid host: v1 controllers beside a cgroup2 mount. Without the latter it sees pure v1.
    for at in hybrid_mounts(&fs::read_to_string("/proc/self/mountinfo")?) {
        sys::umount(&text(at)?)?;
    }
    Ok(())
}

/// `/tmp` is the bench's own from here on: mount points that a sandbox leaves in it (`/tmp/.git`) would mislead others.
pub fn cover_tmp(with: &Path) -> Result<()> {
    sys::mount(&text(with.as_os_str())?, c"/tmp", libc::MS_BIND)
}

fn hybrid_mounts(mountinfo: &str) -> Vec<&str> {
    let of = |kind: &'static str| {
        mountinfo.lines().filter_map(move |line| {
            let (left, right) = line.split_once(" - ")?;
            right.starts_with(kind).then(|| left.split(' ').nth(4))?
        })
    };
    let is_hybrid = of("cgroup ").next().is_some();
    of("cgroup2 ").filter(|_| is_hybrid).collect()
}

/// A path as the kernel takes it.
pub fn text(path: impl AsRef<OsStr>) -> Result<CString> {
    CString::new(path.as_ref().as_bytes()).map_err(|e| Error::new(ErrorKind::InvalidInput, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    const V2: &str = "39 29 0:36 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn cgroup2_goes_only_when_v1_is_there() {
        assert_eq!(hybrid_mounts(&format!("{V1}{V2}")), ["/sys/fs/cgroup/unified"]);
        assert!(hybrid_mounts(V2).is_empty());
    }
}
