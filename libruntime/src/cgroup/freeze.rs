//! `pause` and `resume`: the freezer controller of version 1, cgroup.freeze of version 2.

use super::{Cgroup, file, tree};
use crate::host::cgroup::Version;
use crate::plan::cgroup::Group;
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long the kernel may take. A process in an uninterruptible sleep cannot be frozen.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Stops every process in it; returns when all of them stand still.
    pub fn freeze(&self) -> Result<()> {
        let group = self.freezer()?;
        let dir = group.dir();
        match group.version {
            Version::V1 => freeze_v1(&dir),
            Version::V2 => v2(&dir, true),
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<()> {
        let group = self.freezer()?;
        let dir = group.dir();
        match group.version {
            Version::V1 => file::write(&dir, "freezer.state", "THAWED").map_err(|e| failed("thaw", &dir, &e.to_string())),
            Version::V2 => v2(&dir, false),
        }
    }

    /// Whether it was frozen by [`Cgroup::freeze`]; not when there is no freezer.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn is_frozen(&self) -> Result<bool> {
        let Ok(group) = self.freezer() else { return Ok(false) };
        let (name, thawed) = match group.version {
            Version::V1 => ("freezer.state", "THAWED"),
            Version::V2 => ("cgroup.freeze", "0"),
        };
        match file::line(&group.dir(), name) {
            Ok(state) => Ok(state != thawed),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(false),
            Err(e) => Err(failed("look into", &group.dir(), &e.to_string())),
        }
    }

    /// The directory that [`Cgroup::freeze`] would freeze, if there is one.
    pub fn freezer_dir(&self) -> Option<PathBuf> {
        self.freezer().ok().map(Group::dir)
    }

    /// Version 1: also what the container itself has frozen. A directory that is gone by now needs nothing.
    pub(super) fn thaw_all(&self) {
        let Some(group) = self.own().find(|group| group.controllers.iter().any(|name| name == "freezer")) else { return };
        // What cannot be thawed is found out by whoever waits for its processes to end.
        let _ = tree::find(&group.dir(), |place| {
            let _ = file::write_at(place.dir, "freezer.state", "THAWED");
            Ok(None::<()>)
        });
    }

    /// The group that can stop all of the container and nothing else.
    pub(super) fn freezer(&self) -> Result<&Group> {
        let v1 = |group: &&Group| group.controllers.iter().any(|name| name == "freezer");
        let v2 = |group: &&Group| group.version == Version::V2;
        match self.own().find(v1).or_else(|| self.own().find(v2)) {
            Some(group) => Ok(group),
            None if self.groups.is_empty() || self.is_own() => Err(Error::new("the container has no cgroup that can be frozen")),
            None => Err(self.shared()),
        }
    }
}

/// A fork may slip through while the kernel walks the processes, and the state stays FREEZING: written again, and now and then thawed
/// for a moment, it gets there.
fn freeze_v1(dir: &Path) -> Result<()> {
    let cannot = |e: std::io::Error| failed("freeze", dir, &e.to_string());
    let begun = Instant::now();
    for attempt in 1u32.. {
        file::write(dir, "freezer.state", "FROZEN").map_err(cannot)?;
        if file::read(dir, "freezer.state").map_err(cannot)? == "FROZEN" {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            break;
        }
        if attempt % 50 == 0 {
            file::write(dir, "freezer.state", "THAWED").map_err(cannot)?;
        }
        sleep(Duration::from_micros(10 * u64::from(attempt.min(1000))));
    }
    file::write(dir, "freezer.state", "THAWED").map_err(cannot)?;
    Err(failed("freeze", dir, "a process does not stop"))
}

fn v2(dir: &Path, frozen: bool) -> Result<()> {
    let verb = if frozen { "freeze" } else { "thaw" };
    let write = |on: bool| file::write(dir, "cgroup.freeze", if on { "1" } else { "0" });
    write(frozen).map_err(|e| failed(verb, dir, &e.to_string()))?;
    let begun = Instant::now();
    let mut pause = Duration::from_micros(20);
    while begun.elapsed() < PATIENCE {
        let events = file::read(dir, "cgroup.events").map_err(|e| failed(verb, dir, &e.to_string()))?;
        if file::keyed(&events, "frozen") == Some(u64::from(frozen)) {
            return Ok(());
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    write(false).map_err(|e| failed("thaw", dir, &e.to_string()))?;
    Err(failed(verb, dir, "a process does not stop"))
}

fn failed(verb: &str, dir: &Path, cause: &str) -> Error {
    Error::new(format!("cannot {verb} the cgroup `{}`", dir.display())).cause(cause)
}
