//! The end of a cgroup.

use super::{Cgroup, tree};
use crate::{Error, Result};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a directory may stay busy after its last process is gone: the kernel ends a process before its cgroup learns of it.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Removes what was made for the container, and what the container has made below it. Who is still in there is killed first.
    /// What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        let leaves: Vec<_> = self.own().map(crate::plan::cgroup::Group::dir).collect();
        if leaves.iter().any(|leaf| is_busy(leaf)) {
            self.kill_all(libc::SIGKILL)?;
        }
        self.stop();
        leaves.iter().try_for_each(|leaf| remove(leaf))?;
        // Directories above the container's: another container may be in them by now, and then keeps them.
        for dir in self.made.iter().rev().filter(|dir| !leaves.contains(dir)) {
            match fs::remove_dir(dir) {
                Ok(()) => {}
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EBUSY | libc::ENOTEMPTY)) => {}
                Err(e) => return Err(failed(dir, &e)),
            }
        }
        Ok(())
    }
}

/// Tries, as it mostly succeeds.
fn is_busy(dir: &Path) -> bool {
    fs::remove_dir(dir).is_err_and(|e| e.raw_os_error() != Some(libc::ENOENT))
}

fn remove(leaf: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(50);
    loop {
        match tree::remove(leaf) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && begun.elapsed() < PATIENCE => {
                sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            done => return done.map_err(|e| failed(leaf, &e)),
        }
    }
}

fn failed(dir: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("cannot remove the cgroup `{}`", dir.display())).cause(error)
}
