//! File systems that the suite mounts for a case, in a mount namespace of its own.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const NONE: Option<&str> = None;

/// One of them, with all that is mounted below it; gone when dropped.
pub struct Mounted {
    /// Where.
    pub at: PathBuf,
}

impl Mounted {
    /// A tmpfs at a directory, which is made where it is missing; `data` as in tmpfs(5).
    pub fn tmpfs(name: &str, at: &Path, flags: MsFlags, data: Option<&str>) -> io::Result<Mounted> {
        fs::create_dir_all(at)?;
        mount(Some(name), at, Some("tmpfs"), flags, data)?;
        Ok(Mounted { at: at.into() })
    }

    /// mount(2) with MS_REMOUNT, or with what says how mounts propagate.
    pub fn change(&self, flags: MsFlags) -> io::Result<()> {
        Ok(mount(NONE, &self.at, NONE, flags, NONE)?)
    }

    /// MS_MOVE: over what is there.
    pub fn moved(mut self, to: &Path) -> io::Result<Mounted> {
        mount(Some(&self.at), to, NONE, MsFlags::MS_MOVE, NONE)?;
        self.at = to.into();
        Ok(self)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays mounted is found by the look at the host's mounts, after the case.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}
