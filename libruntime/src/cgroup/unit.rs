//! A cgroup that is a unit of systemd's: started with the container's process, changed and stopped by systemd too.

use super::{Cgroup, file, held, make};
use crate::plan::cgroup::{Plan, Unit, Write, unit};
use crate::systemd::Manager;
use crate::systemd::value::{Property, Value};
use crate::{Error, Result};

impl Cgroup {
    /// Has systemd make the unit with this process in it, and writes the limits: systemd knows not all of them.
    ///
    /// # Errors
    /// systemd cannot be reached or refuses; a limit cannot be written, and then the unit is gone again.
    pub fn start(plan: &Plan, unit: &Unit, pid: i32) -> Result<Cgroup> {
        let place = |e: Error| if e.place.is_some() { e } else { e.at(format!("config.json: {}", plan.origin)) };
        let new = Manager::connect(unit.user)
            .and_then(|mut manager| manager.start(&unit.name, &properties(unit, pid)))
            .map_err(place)?;
        if !new && !unit.is_slice() {
            let what = format!("systemd has a unit `{}` already", unit.name);
            return Err(place(
                Error::new(what).hint("another container has this `linux.cgroupsPath`, or one of this name was not deleted"),
            ));
        }
        let mut cgroup = Cgroup::foresee(plan);
        cgroup.made = if new { plan.paths() } else { Vec::new() };
        cgroup.unit = cgroup.unit.filter(|_| new);
        match cgroup.complete(plan, pid) {
            Ok(()) => Ok(cgroup),
            Err(e) => Err(match cgroup.remove() {
                Ok(()) => e,
                Err(left) => e.hint(left.to_string()),
            }),
        }
    }

    fn complete(&self, plan: &Plan, pid: i32) -> Result<()> {
        self.groups.iter().for_each(make::enable_all);
        // A slice has none of systemd's making.
        if self.groups.iter().any(|group| !file::holds(&group.dir(), pid)) {
            self.enter(pid)?;
        }
        make::limit(plan)
    }

    /// Limits that are written already, as properties: systemd would write back what it knows. It takes all of them or none, and rounds
    /// what it writes itself.
    pub(super) fn tell(&self, unit: &Unit, writes: &[Write]) -> Result<()> {
        let properties = unit::limits(writes);
        if properties.is_empty() {
            return Ok(());
        }
        let exact = held::all(&self.groups, writes);
        Manager::connect(unit.user)?.set(&unit.name, &properties)?;
        if let Some(held) = held::restore(exact) {
            Error::new(held.left()).warn();
        }
        Ok(())
    }

    /// Has systemd move a process into the unit.
    pub fn attach(&self, pid: i32) -> Result<()> {
        let attach = |unit: &Unit| Manager::connect(unit.user)?.attach(&unit.name, pid.cast_unsigned());
        self.unit.as_ref().map_or(Ok(()), attach)
    }

    /// Stops the unit, in which nobody is left. Without an answer it goes by itself: systemd collects a unit that is empty.
    pub(super) fn stop(&self) {
        let Some(unit) = &self.unit else { return };
        let stopped = Manager::connect(unit.user).and_then(|mut manager| manager.stop(&unit.name));
        stopped.unwrap_or_else(|e| e.warn());
    }
}

fn properties(unit: &Unit, pid: i32) -> Vec<Property> {
    let mut all = unit.properties.clone();
    if !unit.is_slice() {
        all.push(("PIDs".into(), Value::Array("u".into(), vec![Value::U32(pid.cast_unsigned())])));
    }
    all
}
