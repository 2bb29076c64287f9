//! What the files of limits hold, to be put back when a change is refused half-way.

use super::file;
use crate::Error;
use crate::plan::cgroup::{Group, Write};
use std::path::PathBuf;

/// Files with a line `KEY VALUE` for each device, and the value of one that has no line (the kernel's admin-guide, cgroup-v1 and
/// cgroup-v2.rst).
const KEYED: &[(&str, &str)] = &[
    ("blkio.throttle.read_bps_device", "0"),
    ("blkio.throttle.write_bps_device", "0"),
    ("blkio.throttle.read_iops_device", "0"),
    ("blkio.throttle.write_iops_device", "0"),
    ("blkio.weight_device", "default"),
    ("blkio.leaf_weight_device", "default"),
    ("blkio.bfq.weight_device", "default"),
    ("io.bfq.weight", "default"),
    ("io.weight", "default"),
    ("io.max", "rbps=max wbps=max riops=max wiops=max"),
    ("io.latency", "target=0"),
    ("rdma.max", "hca_handle=max hca_object=max"),
    ("misc.max", "max"),
    ("dmem.max", "max"),
    ("dmem.min", "0"),
    ("dmem.low", "0"),
    ("net_prio.ifpriomap", "0"),
];
/// `KEY VALUE` too, but for one key, and that is not written.
const OOM_CONTROL: (&str, &str) = ("memory.oom_control", "oom_kill_disable");

/// What a file holds of one key, or at all.
pub(super) struct Held {
    dir: PathBuf,
    file: String,
    key: String,
    value: String,
}

/// Of all files that will be written to.
pub(super) fn all(groups: &[Group], writes: &[Write]) -> Vec<Held> {
    let held = |write: &Write| {
        let dir = groups[write.group].dir();
        write.choices.iter().find_map(|(file, new)| {
            let key = new.split_once(' ').map_or("default", |(key, _)| key);
            let value = written(file, key, &file::read(&dir, file).ok()?);
            Some(Held { dir: dir.clone(), file: file.clone(), key: key.to_owned(), value })
        })
    };
    writes.iter().filter_map(held).collect()
}

/// What gives the file this text where it is written to it.
fn written(file: &str, key: &str, text: &str) -> String {
    let absent = KEYED.iter().find(|(name, _)| *name == file);
    let line = || text.lines().find(|line| line.split(' ').next() == Some(key));
    match absent {
        Some((_, absent)) => line().map_or_else(|| format!("{key} {absent}"), str::to_owned),
        None if file == OOM_CONTROL.0 => file::keyed(text, OOM_CONTROL.1).unwrap_or_default().to_string(),
        None => text.to_owned(),
    }
}

impl Held {
    fn is_back(&self) -> bool {
        let there = || file::read(&self.dir, &self.file).is_ok_and(|text| written(&self.file, &self.key, &text) == self.value);
        // A write of no bytes is none: cpuset.cpus is emptied by an empty line.
        let value = if self.value.is_empty() { "\n" } else { &self.value };
        there() || file::write(&self.dir, &self.file, value).is_ok()
    }

    /// The reason for one that is not.
    pub fn left(&self) -> String {
        format!("`{}` could not be set back to {}", self.dir.join(&self.file).display(), self.value)
    }
}

/// The last first, as one value may bound another; a second time for those that are bound the other way around. One that stays new.
pub(super) fn restore(mut values: Vec<Held>) -> Option<Held> {
    values.reverse();
    values.retain(|held| !held.is_back());
    values.retain(|held| !held.is_back());
    values.pop()
}

/// All of them, because of this error.
pub(super) fn put_back(values: Vec<Held>, error: Error) -> Error {
    match restore(values) {
        None => error,
        Some(held) => error.hint(held.left()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, restore, written};

    /// `cpuset.cpus` of version 2: a write of no bytes reaches nobody.
    #[test]
    fn what_was_empty_is_emptied_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = ("cpuset.cpus", dir.path().join("cpuset.cpus"));
        std::fs::write(&path, "3").unwrap();
        let held = Held { dir: dir.path().to_owned(), file: file.to_owned(), key: "default".to_owned(), value: String::new() };
        assert!(restore(vec![held]).is_none());
        assert_eq!(std::fs::read_to_string(path).unwrap(), "\n");
    }

    #[test]
    fn a_file_of_several_lines_is_put_back_line_by_line() {
        for (file, key, text, line) in [
            ("io.max", "8:0", "8:0 rbps=1 wbps=max riops=max wiops=max", "8:0 rbps=1 wbps=max riops=max wiops=max"),
            ("io.max", "8:16", "8:0 rbps=1 wbps=max riops=max wiops=max", "8:16 rbps=max wbps=max riops=max wiops=max"),
            ("io.weight", "default", "default 100\n8:0 50", "default 100"),
            ("io.weight", "8:16", "default 100\n8:0 50", "8:16 default"),
            ("blkio.throttle.read_bps_device", "8:0", "8:16 7\n8:0 9", "8:0 9"),
            ("blkio.throttle.read_bps_device", "8:0", "", "8:0 0"),
            ("net_prio.ifpriomap", "eth1", "lo 1\neth1 5\neth11 6", "eth1 5"),
            ("memory.oom_control", "default", "oom_kill_disable 1\nunder_oom 0\noom_kill 3", "1"),
            ("cpu.max", "1000", "max 100000", "max 100000"),
            ("pids.max", "default", "max", "max"),
        ] {
            assert_eq!(written(file, key, text), line, "{file} {key}");
        }
    }
}
