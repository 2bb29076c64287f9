//! The container's cgroup on the disk: made, limited, entered, frozen, ended, measured and removed. The parent's side only; what is to
//! be there was decided in `plan::cgroup`.

mod below;
mod enter;
mod file;
mod freeze;
mod held;
mod kill;
mod make;
mod oom;
mod release;
mod remove;
mod stale;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
mod tree;
mod unit;

pub use below::Below;
pub use enter::Entry;
pub use oom::Oom;
pub use release::release;
pub use stale::UNNAMED;

use crate::host::cgroup::Version;
use crate::plan::cgroup::unit::{fleeting, unknown};
use crate::plan::cgroup::{Group, Plan, Unit, Write, left_alone, limits};
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
    /// Nothing is limited: a caller who may not enter stays outside.
    pub lenient: bool,
    /// The unit of systemd's that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl Cgroup {
    /// Makes the directories and writes the limits. `None`: nothing is limited, and the caller may make none.
    ///
    /// # Errors
    /// The first that failed, with its place in config.json; nothing is left behind.
    pub fn create(plan: &Plan) -> Result<Option<Cgroup>> {
        make::create(plan)
    }

    /// What [`Cgroup::create`] will give if all goes well. To be recorded before, so that a runtime that is killed in between leaves
    /// nothing that [`Cgroup::remove`] could not find. Looks, and changes nothing.
    pub fn foresee(plan: &Plan) -> Cgroup {
        let mut made = Vec::new();
        for level in plan.groups.iter().flat_map(Group::levels) {
            if !made.contains(&level) && !level.exists() {
                made.push(level);
            }
        }
        Cgroup { groups: plan.groups.clone(), made, lenient: plan.is_lenient(), unit: plan.unit.clone() }
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
    /// Every field that this host has no controller for, before anything is written; or every write that failed, and what the
    /// files held is put back.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Vec<Error>> {
        let resources = file::with_current_quota(&self.groups, resources);
        let (mut change, mut errors) = limits(Some(&resources), &self.groups, true);
        let (wrong, unchanged) = left_alone(&resources);
        errors.extend(wrong);
        change.warnings.extend(unchanged.iter().map(|what| what.replace("config.json: ", "")));
        if self.unit.is_some() {
            errors.extend(unknown(&change.writes));
            change.warnings.extend(fleeting(&change.writes));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        change.warnings.iter().for_each(|what| Error::new(what).warn());
        let before = held::all(&self.groups, &change.writes);
        self.change(&change.writes).map_err(|e| held::put_back(before, e).each())
    }

    /// First the kernel: what it refuses systemd does not hear of.
    fn change(&self, writes: &[Write]) -> Result<()> {
        let Some(unit) = &self.unit else { return make::write_all(&self.groups, writes) };
        self.groups.iter().for_each(make::enable_all);
        make::write_all(&self.groups, writes)?;
        self.tell(unit, writes)
    }

    /// A directory of it that was there before and has processes of others, and one of them. Of one that was made nothing is asked.
    pub fn company(&self) -> Option<(PathBuf, String)> {
        let dir = self.groups.iter().map(Group::dir).find(|dir| !self.made.contains(dir))?;
        let all = file::line(&dir, "cgroup.procs").ok()?;
        all.lines().next().map(|first| (dir, first.to_owned()))
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
