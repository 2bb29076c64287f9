//! The container's cgroup on the disk: made, limited, entered, frozen, ended, measured and removed. The parent's side only; what is to
//! be there was decided in `plan::cgroup`.

mod file;
mod freeze;
mod kill;
mod make;
mod oom;
mod remove;
mod stats;
#[cfg(test)]
mod tests;

pub use oom::Oom;

use crate::host::cgroup::Version;
use crate::plan::cgroup::{Group, Plan, limits};
use crate::{Error, Result};
use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A container's cgroup: one directory in each hierarchy. Small and plain, for the record of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The directories.
    pub groups: Vec<Group>,
    /// Those of them, and of the directories above them, that were made for this container, shallow first. Only these are removed,
    /// and only in these every process counts as the container's: another directory may be shared (an engine's `--cgroup-parent`).
    pub made: Vec<PathBuf>,
}

impl Cgroup {
    /// What [`Cgroup::create`] is about to make, to be remembered before it does.
    pub fn planned(plan: &Plan) -> Cgroup {
        let missing = |dir: &PathBuf| !dir.exists();
        let mut made: Vec<PathBuf> = plan.groups.iter().flat_map(Group::levels).filter(missing).collect();
        made.dedup();
        Cgroup { groups: plan.groups.clone(), made }
    }

    /// Makes the directories and writes the limits. `None`: nothing is limited, and the caller may make none.
    ///
    /// # Errors
    /// The first that failed, with its place in config.json; nothing is left behind.
    pub fn create(plan: &Plan) -> Result<Option<Cgroup>> {
        make::create(plan)
    }

    /// Moves a process into it, with all its threads.
    pub fn enter(&self, pid: i32) -> Result<()> {
        for group in &self.groups {
            let dir = group.dir();
            file::write(&dir, "cgroup.procs", &pid.to_string()).map_err(|e| {
                let error = Error::new(format!("cannot move process {pid} into the cgroup `{}`", dir.display())).cause(&e);
                match (e.raw_os_error(), group.version) {
                    (Some(libc::ENOSPC), _) => error.hint("its cpuset has no CPU or no memory node"),
                    (Some(libc::EBUSY), Version::V2) => {
                        error.hint("a cgroup with controllers for its children may hold no process")
                    }
                    (Some(libc::EAGAIN), _) => error.hint("the limit of processes is reached"),
                    _ => error,
                }
            })?;
        }
        Ok(())
    }

    /// Every process in it and in the cgroups below it, as this pid namespace numbers them.
    pub fn pids(&self) -> Result<Vec<i32>> {
        self.of_all_processes().map_or(Ok(Vec::new()), |group| file::pids(&group.dir()))
    }

    /// Whether every process in it belongs to the container: the directory was made for it.
    pub fn is_own(&self) -> bool {
        self.own().next().is_some()
    }

    /// Changes the limits of a cgroup that is in use; `devices` stay as they are, as the CRI demands.
    ///
    /// # Errors
    /// Every field that this host has no controller for, before anything is written; or the first write that failed.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Vec<Error>> {
        let resources = file::with_current_quota(&self.groups, resources);
        let (change, errors) = limits(Some(&resources), &self.groups, true);
        if !errors.is_empty() {
            return Err(errors);
        }
        change.warnings.iter().for_each(|what| Error::new(what).warn());
        make::write_all(&self.groups, &change.writes).map_err(|e| vec![e])
    }

    /// Groups whose directory was made for this container.
    fn own(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| self.made.contains(&group.dir()))
    }

    /// The group in which a process of the container cannot be missed: its own if there is one, version 2 first (cgroup.kill).
    fn of_all_processes(&self) -> Option<&Group> {
        let rank = |group: &&Group| (!self.made.contains(&group.dir()), group.version == Version::V1);
        self.groups.iter().min_by_key(rank)
    }

    fn shared(&self) -> Error {
        let dir = self.groups.first().map(|group| group.dir().display().to_string()).unwrap_or_default();
        Error::new(format!("the cgroup `{dir}` was there before the container, and may hold processes of others"))
    }
}
