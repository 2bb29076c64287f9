//! The listing of a cgroup: a line for each directory, each write and the device program.

use super::{Plan, Write};
use std::fmt;

impl Plan {
    /// What is done after the directories are there, and where each thing comes from.
    pub fn lines(&self) -> Vec<(String, &str)> {
        let mut lines: Vec<(String, &str)> =
            self.groups.iter().map(|group| (format!("make {}", group.dir().display()), self.origin.as_str())).collect();
        if let Some(unit) = &self.unit {
            let of = if unit.user { "the user's systemd" } else { "systemd" };
            lines.insert(0, (format!("ask {of} for {} with the process in it", unit.name), self.origin.as_str()));
            let property = |(name, value): &crate::systemd::value::Property| (format!("  {name} {value}"), self.origin.as_str());
            drop(lines.splice(1..1, unit.properties.iter().map(property)));
        }
        if let Some(uid) = self.owner {
            lines.push((format!("give it to user {uid} where it is version 2"), "mounts"));
        }
        if let Some(devices) = &self.devices {
            lines.push((format!("attach a device program of {} instructions", devices.program.len()), "linux.resources.devices"));
        }
        lines.extend(self.writes.iter().map(|write| (write.to_string(), write.origin.as_str())));
        lines
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (file, value)) in self.choices.iter().enumerate() {
            let or = if i == 0 { "" } else { " or " };
            write!(f, "{or}write {file} {}", value.escape_debug())?;
        }
        Ok(())
    }
}
