//! Which cgroup hierarchies there are, where they are mounted, and where in them the caller is. Found in mountinfo, never by the
//! name of a directory: engines make plain directories below `/sys/fs/cgroup`.

use crate::mountinfo::{self, Mount};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The cgroup hierarchies of this machine, as the caller sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// One for each hierarchy that is mounted where it can be reached; version 1 first, in the order of /proc/self/cgroup.
    pub hierarchies: Vec<Hierarchy>,
    /// The caller is in a user namespace, whose root may neither make devices nor load a program that speaks of them.
    pub user_namespace: bool,
    /// The cgroup below which systemd has its units, from the root of the hierarchy; asked only by who wants one. An ordinary user asks
    /// the user's systemd.
    pub systemd: Option<crate::Result<PathBuf>>,
}

/// The two interfaces, cgroups(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// One hierarchy for each controller, or for a few.
    V1,
    /// The unified hierarchy.
    V2,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// `memory`; `cpu`, `cpuacct`; `name=systemd` for one without controllers.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// The directory of the caller's own cgroup.
    pub own: PathBuf,
}

impl Cgroups {
    /// Reads /proc/self/{mountinfo,cgroup}, and of a v2 hierarchy the list of controllers.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn probe() -> Result<Self> {
        let controllers = |mount: &Path| read(&mount.join("cgroup.controllers"));
        let (mountinfo, cgroup) = (bytes(Path::new("/proc/self/mountinfo"))?, read(Path::new("/proc/self/cgroup"))?);
        let user_namespace = !super::in_initial_user_namespace()?;
        Ok(Cgroups { hierarchies: hierarchies(&mountinfo, &cgroup, controllers)?, user_namespace, systemd: None })
    }

    /// The controllers of a cgroup that the caller could make for a process of its own.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn delegated(&self) -> Result<Vec<String>> {
        let all: Result<Vec<Vec<String>>> = self.hierarchies.iter().map(Hierarchy::delegated).collect();
        Ok(all?.concat())
    }

    /// A machine with cgroup v2 and nothing else, for listings that must not depend on the machine.
    pub fn recorded() -> Self {
        let controllers = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"].map(str::to_owned).to_vec();
        let mount = PathBuf::from("/sys/fs/cgroup");
        let own = mount.join("user.slice/session.scope");
        Cgroups {
            hierarchies: vec![Hierarchy { version: Version::V2, controllers, mount, own }],
            user_namespace: false,
            systemd: Some(Ok(PathBuf::from("/"))),
        }
    }
}

impl Hierarchy {
    fn delegated(&self) -> Result<Vec<String>> {
        let may = |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok();
        match self.version {
            Version::V1 if may(&self.own) => Ok(self.controllers.clone()),
            Version::V1 => Ok(Vec::new()),
            Version::V2 => {
                // Beside the caller's own: a cgroup with processes has no children with controllers.
                let base = self.own.parent().filter(|_| self.own != self.mount).unwrap_or(&self.mount);
                let words = |name: &str| -> Result<Vec<String>> {
                    Ok(read(&base.join(name))?.split_ascii_whitespace().map(str::to_owned).collect())
                };
                let control = base.join("cgroup.subtree_control");
                let free = base == self.mount || words("cgroup.procs")?.is_empty();
                match may(base) && may(&base.join("cgroup.procs")) {
                    true if free && may(&control) => words("cgroup.controllers"),
                    true => words("cgroup.subtree_control"),
                    false => Ok(Vec::new()),
                }
            }
        }
    }
}

/// Empty when there is no such file.
pub(super) fn read(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?).map_err(|_| Error::new(format!("{} is not UTF-8", path.display())))
}

/// The same of a file that has names in it.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    Ok(super::told(path, crate::text::read(path, u64::MAX))?.unwrap_or_default())
}

fn hierarchies(mountinfo: &[u8], cgroup: &str, v2_controllers: impl Fn(&Path) -> Result<String>) -> Result<Vec<Hierarchy>> {
    let mounts = mountinfo::parse(mountinfo);
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
        let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        let serves = |mount: &&Mount| mount.serves(&names) && mount.is_visible(&mounts);
        // A mount of the whole hierarchy shows every cgroup; one of a part of it (in a container) only what lies below.
        let of = mounts.iter().filter(serves).min_by_key(|m| (m.root.components().count(), m.point.components().count()));
        let Some(mount) = of else { continue };
        let version = if names.is_empty() { Version::V2 } else { Version::V1 };
        let controllers = match version {
            Version::V1 => names.iter().map(|name| (*name).to_owned()).collect(),
            Version::V2 => v2_controllers(&mount.point)?.split_ascii_whitespace().map(str::to_owned).collect(),
        };
        found.push(Hierarchy { version, controllers, mount: mount.point.clone(), own: mount.directory(Path::new(path)) });
    }
    found.sort_by_key(|hierarchy| hierarchy.version == Version::V2);
    Ok(found)
}

impl Mount {
    /// Whether it is the hierarchy of exactly these controllers; none is version 2.
    fn serves(&self, names: &[&str]) -> bool {
        match names {
            [] => self.fstype == "cgroup2",
            names => {
                self.fstype == "cgroup" && names.iter().all(|name| self.system_options.split(',').any(|option| option == *name))
            }
        }
    }

    /// The directory of a cgroup that /proc/self/cgroup names; the mount point itself when this mount does not show it.
    fn directory(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.root) {
            Ok(below) if !escapes(below) => self.point.join(below).components().collect(),
            _ => self.point.clone(),
        }
    }
}

fn escapes(path: &Path) -> bool {
    path.components().any(|c| c == std::path::Component::ParentDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
23 1 8:1 / / rw - ext4 /dev/x rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const OWN: &str = "9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/u\n";

    fn of(mountinfo: &str) -> Vec<(Version, String, String, String)> {
        let all = hierarchies(mountinfo.as_bytes(), OWN, |_| Ok("hugetlb\n".to_owned())).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        all.iter().map(|h| (h.version, h.controllers.join(","), text(&h.mount), text(&h.own))).collect()
    }

    fn row(version: Version, controllers: &str, mount: &str, own: &str) -> (Version, String, String, String) {
        (version, controllers.to_owned(), format!("/sys/fs/cgroup{mount}"), format!("/sys/fs/cgroup{own}"))
    }

    #[test]
    fn a_hybrid_machine_has_each_hierarchy_once_and_knows_where_the_caller_is() {
        let want = [
            row(Version::V1, "name=systemd", "/systemd", "/systemd"),
            row(Version::V1, "memory", "/memory", "/memory/a/b"),
            row(Version::V1, "cpu,cpuacct", "/cpu,cpuacct", "/cpu,cpuacct"),
            row(Version::V2, "hugetlb", "/unified", "/unified/u"),
        ];
        assert_eq!(of(HYBRID), want);
    }

    #[test]
    fn what_lies_below_a_later_mount_is_not_there() {
        let v2 = format!("{HYBRID}99 31 0:38 / /sys/fs/cgroup rw - cgroup2 none rw\n");
        assert_eq!(of(&v2), [row(Version::V2, "hugetlb", "", "/u")]);
        let bare = format!("{HYBRID}99 31 0:50 / /sys/fs/cgroup rw - tmpfs none rw\n");
        assert_eq!(of(&bare), []);
    }

    #[test]
    fn a_mount_of_a_part_of_a_hierarchy_shows_only_what_is_below() {
        let part = |root: &str| HYBRID.replace("0:32 / ", &format!("0:32 {root} "));
        assert_eq!(of(&part("/a"))[1].3, "/sys/fs/cgroup/memory/b");
        assert_eq!(of(&part("/z"))[1].3, "/sys/fs/cgroup/memory");
        assert_eq!(of(&part("/.."))[1].3, "/sys/fs/cgroup/memory");
    }
}
