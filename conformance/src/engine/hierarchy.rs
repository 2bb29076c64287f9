//! The cgroup hierarchies of a process: what each is called, where it is mounted, and where in it the process is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// `memory`, `cpu,cpuacct`, `name=systemd`; empty for the cgroup2 one. See cgroups(7).
    pub controllers: String,
    /// Its mount point.
    pub at: PathBuf,
    /// The directory of the process in it.
    pub own: PathBuf,
}

impl Hierarchy {
    /// Those of this process that are mounted somewhere.
    pub fn all() -> io::Result<Vec<Hierarchy>> {
        Hierarchy::of(Path::new("/proc/self/cgroup"))
    }

    /// Those that a `/proc/PID/cgroup` names.
    pub fn of(file: &Path) -> io::Result<Vec<Hierarchy>> {
        Ok(parse(&std::fs::read_to_string(file)?, &std::fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Whether this is the cgroup2 hierarchy.
    pub fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Whether it has this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.split(',').any(|c| c == controller)
    }
}

fn parse(groups: &str, mounts: &str) -> Vec<Hierarchy> {
    groups.lines().filter_map(|line| one(line, mounts)).collect()
}

/// `4:memory:/a/b`, looked up among the mounts.
fn one(line: &str, mounts: &str) -> Option<Hierarchy> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let (root, at) = mounts.lines().rev().find_map(|m| mount_of(m, controllers))?;
    let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
    Some(Hierarchy { controllers: controllers.into(), at: at.into(), own: Path::new(at).join(below) })
}

/// The root and the mount point of a line of mountinfo, when it is this hierarchy's.
fn mount_of<'a>(line: &'a str, controllers: &str) -> Option<(&'a str, &'a str)> {
    let (head, tail) = line.split_once(" - ")?;
    let (kind, options) = (tail.split(' ').next()?, tail.rsplit(' ').next()?);
    let same = match controllers {
        "" => kind == "cgroup2",
        names => kind == "cgroup" && names.split(',').all(|c| options.split(',').any(|o| o == c)),
    };
    let mut fields = head.split(' ').skip(3);
    same.then(|| Some((fields.next()?, fields.next()?)))?
}

/// Makes a cgroup that processes can be put into.
pub fn make(group: &Path) -> io::Result<()> {
    std::fs::create_dir(group)?;
    // A v1 cpuset is born empty, and takes no process until it has processors and memory nodes: cpuset(7).
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = group.parent().unwrap_or(group).join(file);
        if above.is_file() && group.join("cpuset.sched_load_balance").is_file() {
            std::fs::write(group.join(file), std::fs::read(above)?)?;
        }
    }
    Ok(())
}

/// Every cgroup below one, the deepest first.
pub fn below(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path());
    dirs.flat_map(|d| below(&d).into_iter().chain([d])).collect()
}

/// Removes a cgroup and all below, once their processes are gone; gives up after five seconds.
pub fn remove(group: &Path) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while group.exists() {
        below(group).iter().for_each(|g| drop(std::fs::remove_dir(g)));
        if std::fs::remove_dir(group).is_err() && Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
40 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:33 /docker/x /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
42 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
43 31 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn a_hierarchy_is_found_by_its_controllers_and_its_mount_root() {
        let found = parse("4:memory:/a/b\n3:cpu,cpuacct:/docker/x/y\n2:name=systemd:/\n1:net_cls:/\n0::/u\n", MOUNTS);
        let own: Vec<&str> = found.iter().filter_map(|h| h.own.to_str()).collect();
        assert_eq!(
            own,
            ["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/cpu,cpuacct/y", "/sys/fs/cgroup/systemd/", "/sys/fs/cgroup/unified/u"]
        );
        assert!(found[3].is_unified() && found[1].has("cpuacct"));
    }
}
