//! Processes that somebody has frozen from outside, in a cgroup that is not the container's: under version 1 nothing frozen dies.

use super::file;
use crate::host::cgroup::{Cgroups, Version};
use crate::{Error, Result};

/// Takes processes that are to die along to where the caller is, which does not stand still itself. Their own cgroup is left as it is:
/// others may be in it.
///
/// # Errors
/// The cgroups cannot be looked at, or a process must not be moved.
pub fn release(pids: &[i32]) -> Result<()> {
    let hierarchies = Cgroups::probe()?.hierarchies;
    let freezes = |name: &String| name == "freezer";
    let Some(here) = hierarchies.iter().find(|h| h.version == Version::V1 && h.controllers.iter().any(freezes)) else {
        return Ok(());
    };
    pids.iter().try_for_each(|pid| match file::write(&here.own, "cgroup.procs", &pid.to_string()) {
        Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
            Err(Error::new(format!("cannot take process {pid} out of its freezer cgroup")).cause(e))
        }
        _ => Ok(()),
    })
}
