//! What happens to a container, as it happens.

use super::Record;
use crate::cgroup::{Cgroup, Oom};
use crate::sys::file::poll_within;
use crate::{Error, Result};
use serde_json::Value;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What it has used so far.
    Stats(Value),
    /// The kernel has ended a process of it for want of memory.
    OutOfMemory,
}

impl Record {
    /// Tells `each` what it has used, every `interval`, and when it lacks memory, until the container has ended or `each` says `false`.
    ///
    /// # Errors
    /// `container not running`; it has no cgroup; or what `each` says.
    pub fn follow<E: From<Error>>(&self, interval: Duration, mut each: impl FnMut(Event) -> Result<bool, E>) -> Result<(), E> {
        let cgroup = self.living_cgroup()?;
        let first = self.first_process()?;
        // Not every host counts memory: then there is nothing to hear.
        let mut oom = cgroup.oom().ok();
        let mut due = Instant::now() + interval;
        loop {
            let left = due.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
            let fds = [Some(first.as_fd()), oom.as_ref().map(AsFd::as_fd)];
            let ready = poll_within(fds, i32::try_from(left).unwrap_or(i32::MAX));
            let [ended, heard] = ready.map_err(|e| Error::new("cannot wait for events").cause(e.desc()))?;
            // First what it may have died of.
            if heard && !hear(&mut oom, &mut each)? || ended {
                return Ok(());
            }
            if Instant::now() >= due {
                due += interval;
                if !each(Event::Stats(Cgroup::stats(cgroup)))? {
                    return Ok(());
                }
            }
        }
    }
}

/// Whether to go on.
fn hear<E: From<Error>>(oom: &mut Option<Oom>, each: &mut impl FnMut(Event) -> Result<bool, E>) -> Result<bool, E> {
    match oom.as_mut().map(Oom::wait).transpose()?.flatten() {
        Some(true) => each(Event::OutOfMemory),
        Some(false) => Ok(true),
        // The cgroup is gone; the container's end is heard of by its process.
        None => {
            *oom = None;
            Ok(true)
        }
    }
}
