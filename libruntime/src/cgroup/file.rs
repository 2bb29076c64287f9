//! Reading and writing the files of a cgroup.

use super::tree;
use crate::host::cgroup::Version;
use crate::listing::again;
use crate::plan::cgroup::Group;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use oci_spec::runtime::LinuxResources;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Result, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// One write(2). Not `fs::write`, which would try to create what is missing.
pub(super) fn write(dir: &Path, file: &str, value: &str) -> Result<()> {
    Last::default().write(dir, file, value)
}

/// The file that was written to last stays open: rules about devices are many.
#[derive(Default)]
pub(super) struct Last(Option<(PathBuf, File)>);

impl Last {
    /// As [`write()`].
    pub fn write(&mut self, dir: &Path, file: &str, value: &str) -> Result<()> {
        let path = dir.join(file);
        let open = match self.0.take() {
            Some((last, open)) if last == path => open,
            _ => OpenOptions::new().write(true).open(&path)?,
        };
        let (_, open) = self.0.insert((path, open));
        match again(|| open.write(value.as_bytes()))? {
            n if n == value.len() => Ok(()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }
}

/// A file of one line, in one read(2); without the newline.
pub(super) fn line(dir: &Path, file: &str) -> Result<String> {
    let mut bytes = [0; 4096];
    let mut file = File::open(dir.join(file))?;
    let n = again(|| file.read(&mut bytes))?;
    Ok(String::from_utf8_lossy(&bytes[..n]).trim_end().to_owned())
}

/// The text of a file without its last newline.
pub(super) fn read(dir: &Path, file: &str) -> Result<String> {
    fs::read_to_string(dir.join(file)).map(|text| text.trim_end().to_owned())
}

/// The number in a file; `None` when there is no such file or it holds something else (`max`).
pub(super) fn number(dir: &Path, file: &str) -> Option<u64> {
    read(dir, file).ok()?.parse().ok()
}

/// The value behind a key of a flat keyed file such as memory.stat.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A file of a directory that is open.
fn open_at(dir: BorrowedFd, file: &str, flags: OFlag) -> Result<File> {
    Ok(openat(dir, file, flags | OFlag::O_CLOEXEC, Mode::empty())?.into())
}

/// As [`write()`], of a directory that is open.
pub(super) fn write_at(dir: BorrowedFd, file: &str, value: &str) -> Result<()> {
    open_at(dir, file, OFlag::O_WRONLY)?.write_all(value.as_bytes())
}

fn processes(dir: BorrowedFd) -> Result<String> {
    let mut text = String::new();
    open_at(dir, "cgroup.procs", OFlag::O_RDONLY)?.read_to_string(&mut text).map(|_| text)
}

/// Whether a process is in the directory itself.
pub(super) fn holds(dir: &Path, pid: i32) -> bool {
    read(dir, "cgroup.procs").is_ok_and(|all| all.lines().any(|line| line == pid.to_string()))
}

/// As [`holds()`], of a directory that is open.
pub(super) fn holds_at(dir: BorrowedFd, pid: i32) -> bool {
    processes(dir).is_ok_and(|all| all.lines().any(|line| line == pid.to_string()))
}

/// Every process in the directory and in those below; none when it is gone.
pub(super) fn pids(dir: &Path) -> crate::Result<Vec<i32>> {
    let mut all = Vec::new();
    let walked = tree::find(dir, |place| {
        match processes(place.dir) {
            Ok(text) => all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => {}
            // A threaded cgroup has no list of processes; theirs stand in the domain above it (cgroups(7)).
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
        Ok(None::<()>)
    });
    walked.map_err(|e| crate::Error::new(format!("cannot read the processes of the cgroup `{}`", dir.display())).cause(e))?;
    all.sort_unstable();
    all.dedup();
    // 0: a process of another pid namespace, which has no number here.
    all.retain(|pid| *pid > 0);
    Ok(all)
}

/// Version 2 has one file for quota and period: each of them alone leaves the other as it is. A quota alone would do so by itself, but
/// systemd would not know which period it is of.
pub(super) fn with_current_quota(groups: &[Group], resources: &LinuxResources) -> LinuxResources {
    let mut resources = resources.clone();
    let has_cpu = |g: &&Group| g.version == Version::V2 && g.controllers.iter().any(|name| name == "cpu");
    let Some(group) = groups.iter().find(has_cpu) else { return resources };
    let current = read(&group.dir(), "cpu.max").unwrap_or_default();
    let Some((quota, period)) = current.split_once(' ') else { return resources };
    let mut last = period.to_owned();
    if let Some(cpu) = resources.cpu_mut() {
        match (cpu.quota().is_some_and(|quota| quota != 0), cpu.period().filter(|period| *period != 0)) {
            (true, None) => drop(cpu.set_period(period.parse().ok())),
            (false, Some(_)) => drop(cpu.set_quota(quota.parse().ok())),
            (_, _) => {}
        }
        last = cpu.period().filter(|period| *period != 0).map_or(last, |period| period.to_string());
    }
    if let Some(value) = resources.unified_mut().as_mut().and_then(|unified| unified.get_mut("cpu.max"))
        && value.split_whitespace().count() == 1
    {
        *value = format!("{} {last}", value.trim());
    }
    resources
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_quota_and_a_period_alone_leave_the_other_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.max"), "25000 50000\n").unwrap();
        let group =
            Group { version: Version::V2, controllers: vec!["cpu".into()], base: dir.path().to_owned(), path: PathBuf::new() };
        let now = |resources: Value| {
            let resources = with_current_quota(std::slice::from_ref(&group), &serde_json::from_value(resources).unwrap());
            let cpu = resources.cpu().clone().unwrap_or_default();
            (cpu.quota(), cpu.period(), resources.unified().as_ref().map(|unified| unified["cpu.max"].clone()))
        };
        let unified = |value: &str| json!({"unified": {"cpu.max": value}, "cpu": {"shares": 2}});
        for (resources, wanted) in [
            (json!({"cpu": {"quota": 40000}}), (Some(40000), Some(50000), None)),
            (json!({"cpu": {"quota": -1}}), (Some(-1), Some(50000), None)),
            (json!({"cpu": {"quota": -1, "period": 0}}), (Some(-1), Some(50000), None)),
            (json!({"cpu": {"period": 70000}}), (Some(25000), Some(70000), None)),
            (json!({"cpu": {"quota": 0, "period": 0}}), (Some(0), Some(0), None)),
            (json!({"cpu": {"quota": 1, "period": 2}}), (Some(1), Some(2), None)),
            (unified(" 40000"), (None, None, Some("40000 50000".into()))),
            (unified("1 2"), (None, None, Some("1 2".into()))),
        ] {
            assert_eq!(now(resources.clone()), wanted, "{resources}");
        }
    }
}
