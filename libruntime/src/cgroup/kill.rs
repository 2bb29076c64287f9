//! Signals for every process of a container, also without a pid namespace of its own.

use super::{Cgroup, file};
use crate::host::cgroup::Version;
use crate::sys::Errno;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::{Error, Result};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long processes may take to die of SIGKILL.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Sends a signal (its number) to every process in it and below it, each exactly once where it can be frozen meanwhile. After
    /// SIGKILL it is empty on return, however fast they fork; a frozen cgroup is thawed then, as in version 1 nothing frozen dies.
    ///
    /// # Errors
    /// The cgroup was not made for the container: others may be in it.
    pub fn kill_all(&self, signal: i32) -> Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let Some(group) = self.of_all_processes().filter(|_| self.is_own()) else { return Err(self.shared()) };
        let dir = group.dir();
        if signal == libc::SIGKILL { self.end(&dir, group.version) } else { self.once(&dir, signal) }
    }

    /// Until nobody is left.
    fn end(&self, dir: &Path, version: Version) -> Result<()> {
        let begun = Instant::now();
        let mut pause = Duration::from_micros(100);
        loop {
            let killed = version == Version::V2 && file::write(dir, "cgroup.kill", "1").is_ok();
            if !killed {
                // Frozen, nobody forks between the look and the signal.
                let frozen = self.freeze().is_ok();
                let sent = send(dir, libc::SIGKILL, &mut BTreeSet::new());
                if frozen || self.is_frozen()? {
                    self.thaw()?;
                }
                sent?;
            }
            // Through the freezer of version 1, or in a cgroup that the container made: nothing that stands still there dies.
            self.thaw_all();
            if file::pids(dir)?.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let left = file::pids(dir)?.len();
                return Err(Error::new(format!("{left} processes in `{}` do not die of SIGKILL", dir.display())));
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    /// A paused container stays paused; the signal arrives when it goes on.
    fn once(&self, dir: &Path, signal: i32) -> Result<()> {
        let paused = self.is_frozen()?;
        let frozen = !paused && self.freeze().is_ok();
        let mut seen = BTreeSet::new();
        let mut sent = send(dir, signal, &mut seen);
        while !frozen && !paused && matches!(sent, Ok(new) if new > 0) && seen.len() < 100_000 {
            sent = send(dir, signal, &mut seen);
        }
        if frozen {
            self.thaw()?;
        }
        sent.map(drop)
    }
}

/// Signals those that were not seen before; how many these were. A process is signalled only if it is still there after its descriptor
/// was opened: a number that was given to a stranger meanwhile is not.
fn send(dir: &Path, signal: i32, seen: &mut BTreeSet<i32>) -> Result<usize> {
    let new: Vec<i32> = file::pids(dir)?.into_iter().filter(|pid| !seen.contains(pid)).collect();
    let open = |pid: &i32| pidfd_open(Pid::from_raw(*pid)).ok().map(|fd| (*pid, fd));
    let opened: Vec<(i32, OwnedFd)> = new.iter().filter_map(open).collect();
    let still: BTreeSet<i32> = file::pids(dir)?.into_iter().collect();
    for (pid, process) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
        match pidfd_send_signal(process.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => seen.insert(*pid),
            Err(e) => return Err(Error::new(format!("cannot signal process {pid} of the container")).cause(e.desc())),
        };
    }
    Ok(new.len())
}
