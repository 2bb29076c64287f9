//! What is done to a living container by way of its cgroup: paused, resumed, limited, measured.

use super::{Record, Status, not_running};
use crate::cgroup::Cgroup;
use crate::{Error, Result};
use oci_spec::runtime::LinuxResources;
use serde_json::Value;

impl Record {
    /// Stops every process of it; returns when they stand still.
    ///
    /// # Errors
    /// `container not running`, in which case nothing was done; it has no cgroup of its own; a process cannot be stopped.
    pub fn pause(&self) -> Result<()> {
        match self.status()? {
            Status::Created | Status::Running => self.cgroup()?.freeze(),
            Status::Creating | Status::Paused | Status::Stopped => Err(not_running()),
        }
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// `container not paused`, or not running.
    pub fn resume(&self) -> Result<()> {
        let cgroup = self.living_cgroup()?;
        // Asked here, not by the status: one that was paused before its start counts as created.
        if cgroup.is_frozen()? { cgroup.thaw() } else { Err(Error::new("container not paused")) }
    }

    /// Changes its limits; what is absent or 0 stays as it is.
    ///
    /// # Errors
    /// Every limit that this host cannot set, before anything is changed; or the first that the kernel refused.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Vec<Error>> {
        self.living_cgroup().map_err(|e| vec![e])?.update(resources)
    }

    /// Changes its share of caches and memory bandwidth (`linux.intelRdt`).
    ///
    /// # Errors
    /// `container not running`; it has no resctrl group; or what [`Resctrl::update`](crate::resctrl::Resctrl::update) says.
    pub fn update_share(&self, l3_cache: Option<&str>, bandwidth: Option<&str>) -> Result<()> {
        if let Status::Creating | Status::Stopped = self.status()? {
            return Err(not_running());
        }
        let none = || Error::new(format!("container `{}` has no resctrl group", self.id));
        let group = self.resctrl.as_ref().ok_or_else(|| none().hint("its config.json has no `linux.intelRdt`"))?;
        group.update(l3_cache, bandwidth)
    }

    /// What it has used: the object `data` of runc's `stats` event.
    pub fn stats(&self) -> Result<Value> {
        self.living_cgroup().map(Cgroup::stats)
    }

    pub(super) fn living_cgroup(&self) -> Result<&Cgroup> {
        match self.status()? {
            Status::Creating | Status::Stopped => Err(not_running()),
            Status::Created | Status::Running | Status::Paused => self.cgroup(),
        }
    }

    fn cgroup(&self) -> Result<&Cgroup> {
        let none = || Error::new(format!("container `{}` has no cgroup", self.id));
        self.cgroup
            .as_ref()
            .ok_or_else(|| none().hint("its config.json asks for none, or it was made with `--cgroup-manager disabled`, or without the right to make one"))
    }
}
