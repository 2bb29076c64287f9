//! Hears of processes that the kernel ends for want of memory.

use super::{Cgroup, file};
use crate::host::cgroup::Version;
use crate::plan::cgroup::Group;
use crate::sys::{event, file as sys};
use crate::{Error, Result};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A descriptor that becomes readable when something may have happened.
#[derive(Debug)]
pub struct Oom {
    dir: PathBuf,
    event: OwnedFd,
    /// Version 1: has to stay open for as long as one listens.
    _control: Option<File>,
    /// Version 2: what the counter said last.
    kills: Option<u64>,
}

fn killed<'g>(mut groups: impl Iterator<Item = &'g Group>) -> u64 {
    let has = |group: &&Group| group.controllers.iter().any(|name| name == "memory");
    let count = |group: &Group| {
        let name = if group.version == Version::V1 { "memory.oom_control" } else { "memory.events" };
        file::keyed(&file::read(&group.dir(), name).ok()?, "oom_kill")
    };
    groups.find(has).and_then(count).unwrap_or(0)
}

impl Cgroup {
    /// How many processes the kernel has ended for want of memory; 0 where it does not tell (version 1 before Linux 4.13).
    pub fn oom_kills(&self) -> u64 {
        killed(self.own())
    }

    /// The same, also of a cgroup that somebody else has made: since then, whoever was in it.
    pub fn oom_kills_ever(&self) -> u64 {
        killed(self.groups.iter())
    }

    /// Listens.
    ///
    /// # Errors
    /// The container is in no cgroup with the memory controller.
    pub fn oom(&self) -> Result<Oom> {
        let has = |group: &&crate::plan::cgroup::Group| group.controllers.iter().any(|name| name == "memory");
        let group = self.groups.iter().find(has).ok_or_else(|| Error::new("the container has no memory cgroup"))?;
        let dir = group.dir();
        let failed = |e: std::io::Error| Error::new(format!("cannot listen to the cgroup `{}`", dir.display())).cause(e);
        match group.version {
            Version::V1 => {
                let control = File::open(dir.join("memory.oom_control")).map_err(failed)?;
                let event = event::eventfd().map_err(|e| failed(e.into()))?;
                let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
                file::write(&dir, "cgroup.event_control", &line).map_err(failed)?;
                Ok(Oom { dir, event, _control: Some(control), kills: None })
            }
            Version::V2 => {
                let event = event::inotify().map_err(|e| failed(e.into()))?;
                let path = CString::new(dir.join("memory.events").as_os_str().as_bytes()).map_err(|e| failed(e.into()))?;
                event::watch(event.as_fd(), &path, libc::IN_MODIFY | libc::IN_DELETE_SELF).map_err(|e| failed(e.into()))?;
                let kills = kills(&dir);
                Ok(Oom { dir, event, _control: None, kills: Some(kills.unwrap_or(0)) })
            }
        }
    }
}

fn kills(dir: &std::path::Path) -> Option<u64> {
    file::keyed(&file::read(dir, "memory.events").ok()?, "oom_kill")
}

impl AsFd for Oom {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Oom {
    /// Waits until the descriptor is readable: whether a process was ended; `None` when the cgroup is gone.
    pub fn wait(&mut self) -> Result<Option<bool>> {
        let mut buffer = [0; 4096];
        sys::read(self.event.as_fd(), &mut buffer).map_err(|e| Error::new("cannot listen for events").cause(e.desc()))?;
        if !self.dir.exists() {
            return Ok(None);
        }
        let Some(before) = self.kills else { return Ok(Some(true)) };
        let now = kills(&self.dir);
        self.kills = now.or(self.kills);
        Ok(now.map(|now| now > before))
    }
}
