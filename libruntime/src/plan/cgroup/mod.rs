//! `linux.cgroupsPath` and `linux.resources`: which directories are made in which hierarchy, and what is written there, in order.
//!
//! * `cgroupsPath` with a leading `/` lies below the mount point of each hierarchy. Without one it lies below the caller's own
//!   cgroup; on version 2 beside it, as a cgroup that holds processes may not have children with controllers. Absent, it is the
//!   container's id.
//! * The systemd driver has rules of its own ([`mod@unit`]).
//! * Zero leaves a value as it is and -1 takes a limit away, as the engines mean it; a field for which the host has no controller is
//!   refused by name.
//! * Without `resources.devices` a container that asks for a cgroup may use the default devices and no others, as with runc.
//! * `resources.devices` is judged in any case. It has no effect for an ordinary user and in a user namespace, where no device can be made
//!   anyway (runc and crun do the same), and says so.

mod cpu;
mod device;
mod io;
mod memory;
pub(super) mod mount;
mod show;
mod table;
#[cfg(test)]
pub(super) mod tests;
pub mod unit;

pub use table::{Change, limits};

use super::op::{Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, Options, ParentStep, schedule};
use crate::bpf::device::Insn;
use crate::host::cgroup::{Cgroups, Hierarchy, Version};
use crate::namespace::is_new;
use crate::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Spec};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
pub use unit::Unit;

/// The container's cgroup, before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// One directory in each hierarchy.
    pub groups: Vec<Group>,
    /// What is written there, in order, before the container's first process enters.
    pub writes: Vec<Write>,
    /// The program that decides about devices on version 2.
    pub devices: Option<Devices>,
    /// A hierarchy in which nothing is limited, and whose directory the caller may not make, is left alone.
    pub tolerant: bool,
    /// The user who gets the version 2 directory: it is mounted writable in a cgroup namespace of the container's own.
    pub owner: Option<u32>,
    /// Where in config.json the path comes from.
    pub origin: String,
    /// The unit of systemd's whose cgroup it is: made when there is a process to put into it, so after the clone.
    pub unit: Option<Unit>,
}

/// The container's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The hierarchy's interface.
    pub version: Version,
    /// The hierarchy's controllers.
    pub controllers: Vec<String>,
    /// A directory that is there: the mount point, or the caller's own cgroup.
    pub base: PathBuf,
    /// Below it; each directory that is missing is made.
    pub path: PathBuf,
}

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Index into the groups.
    pub group: usize,
    /// File and value; the first file that exists gets its value.
    pub choices: Vec<(String, String)>,
    /// Where in config.json.
    pub origin: String,
    /// No such file: the value says what is so without it.
    pub may_miss: bool,
    /// Refused with EINVAL, it is tried again after the rest: two values of which neither may pass the other.
    pub again: bool,
    /// Refused when it is not above what this file says (`checkBeforeUpdate`).
    pub above: Option<String>,
}

/// The program of a version 2 cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    /// Index into the groups.
    pub group: usize,
    /// For bpf(2).
    pub program: Vec<Insn>,
}

impl Group {
    /// The container's directory.
    pub fn dir(&self) -> PathBuf {
        self.base.join(&self.path)
    }

    /// Every directory between the base and the container's, shallow first, the container's last.
    pub fn levels(&self) -> Vec<PathBuf> {
        let mut levels: Vec<PathBuf> = self.path.ancestors().filter(|p| *p != Path::new("")).map(|p| self.base.join(p)).collect();
        levels.reverse();
        levels
    }

    fn new(hierarchy: &Hierarchy, path: &Path) -> Group {
        let beside = |own: &Path| own.parent().filter(|_| own != hierarchy.mount).map(Path::to_owned);
        let base = match (path.strip_prefix("/"), hierarchy.version) {
            (Ok(_), _) => hierarchy.mount.clone(),
            (Err(_), Version::V1) => hierarchy.own.clone(),
            (Err(_), Version::V2) => beside(&hierarchy.own).unwrap_or_else(|| hierarchy.mount.clone()),
        };
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        Group { version: hierarchy.version, controllers: hierarchy.controllers.clone(), base, path }
    }
}

impl Plan {
    /// Nothing is limited, and the caller may be one who may make no cgroup.
    pub fn is_lenient(&self) -> bool {
        self.tolerant && self.writes.is_empty() && self.devices.is_none()
    }

    /// The directories that may be made; to be remembered before they are, so that a runtime that is killed leaves none behind.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.groups.iter().map(Group::dir).collect()
    }
}

/// Whether a container of this spec has a cgroup: when it asks for one, when one is mounted in it, and, for a container that may be
/// killed by its name, when only a cgroup can tell which processes are its own.
pub fn is_wanted(spec: &Spec, options: &Options) -> bool {
    mount::is_in(spec) || is_made(spec, options)
}

fn is_made(spec: &Spec, options: &Options) -> bool {
    !options.no_cgroup
        && (options.systemd || is_asked(spec) || mount::is_in(spec) || (options.record && !is_new(spec, LinuxNamespaceType::Pid)))
}

fn is_asked(spec: &Spec) -> bool {
    let linux = spec.linux().as_ref();
    let path = linux.and_then(|l| l.cgroups_path().as_ref()).is_some_and(|p| !p.as_os_str().is_empty());
    path || resources(spec).is_some_and(|r| *r != LinuxResources::default())
}

fn resources(spec: &Spec) -> Option<&LinuxResources> {
    spec.linux().as_ref()?.resources().as_ref()
}

/// Plans the cgroup and how the child gets into it; what the spec says without effect.
pub(super) fn plan(draft: &mut Draft, spec: &Spec) -> Vec<String> {
    if !is_made(spec, draft.options) {
        return refuse_limits(draft, spec).into_iter().collect();
    }
    let none = Cgroups::default();
    let host = draft.host;
    let cgroups = host.cgroups.as_ref().unwrap_or(&none);
    let given = spec.linux().as_ref().and_then(|l| l.cgroups_path().as_deref()).filter(|p| !p.as_os_str().is_empty());
    let id = draft.options.id.as_deref().unwrap_or("codexrun");
    let rootless = host.uid != 0 || cgroups.user_namespace;
    let below = |path: &Path| cgroups.hierarchies.iter().map(|h| Group::new(h, path)).collect();
    let placed = match draft.options.systemd {
        true => unit::place(cgroups, given, id, rootless).map(|(unit, group)| (Some(unit), vec![group])),
        false => clean(given.unwrap_or(Path::new(id))).map(|path| (None, below(&path))),
    };
    // What is wrong with the rest does not depend on the place.
    let anywhere = || (draft.options.systemd.then(Unit::default), below(Path::new(id)));
    let (mut unit, groups) = draft.take("linux.cgroupsPath", placed).unwrap_or_else(anywhere);
    let (mut change, mut errors) = limits(resources(spec), &groups, false);
    let rules = device::judge(resources(spec), &mut errors);
    let devices = match rootless {
        true => {
            let why = "only root of the initial user namespace can confine devices";
            change.warnings.extend(device::unenforced(device::beyond_the_usual(resources(spec)), why));
            None
        }
        false if is_asked(spec) || unit.is_some() => device::plan(rules, &groups, &mut change, &mut errors),
        false => None,
    };
    let Change { writes, mut warnings } = change;
    draft.errors.extend(errors);
    if let Some(unit) = &mut unit {
        unit.properties.extend(unit::limits(&writes));
        warnings.extend(unit::fleeting(&writes));
        draft.errors.extend(unit::unknown(&writes));
        draft.errors.extend(unit::annotated(unit, spec));
    }
    if let Some(bytes) = groups.iter().map(|group| group.dir().as_os_str().len()).find(|bytes| *bytes > LONGEST) {
        draft.refuse("linux.cgroupsPath", format!("makes a path of {bytes} bytes; {LONGEST} are the most"));
    }
    if groups.is_empty() {
        // Of systemd that has been said.
        if given.is_some() && !draft.options.may_lack_cgroup && !draft.options.systemd {
            draft.refuse("linux.cgroupsPath", "no cgroup hierarchy is mounted on this host");
        }
        return warnings;
    }
    let origin = if given.is_some() || !is_asked(spec) { "linux.cgroupsPath" } else { "linux.resources" }.to_owned();
    // Who names a place, or asks for systemd, has it in any case.
    let tolerant = unit.is_none() && (given.is_none() || draft.options.may_lack_cgroup);
    let moved = unit.is_some();
    let plan = Plan { groups, writes, devices, tolerant, owner: mount::owner(spec), origin: origin.clone(), unit };
    let step = |op| ParentStep { op, origin: origin.clone() };
    if moved {
        // First of what is done with the process: it is still its maker's user, the only one whose processes a user's systemd moves.
        drop(draft.parent.splice(0..0, [step(ParentOp::Cgroup(plan)), step(ParentOp::Tell(Sync::Cgroup))]));
        draft.step(Stage::Unit, Op::Wait(Sync::Cgroup), origin);
    } else {
        draft.before.insert(0, step(ParentOp::Cgroup(plan)));
        draft.step(Stage::Cgroup, Op::EnterCgroup, origin);
    }
    // A sandbox keeps to the CPUs of who began it.
    if draft.options.record {
        schedule::all_cpus(draft);
    }
    warnings
}

/// Where there will be no cgroup. Of rules about devices only those are refused that are none: engines give them to every container.
fn refuse_limits(draft: &mut Draft, spec: &Spec) -> Option<String> {
    device::judge(resources(spec), &mut draft.errors);
    let mut fields: Vec<String> = limits(resources(spec), &[], false).1.into_iter().filter_map(|e| e.place).collect();
    fields.dedup();
    for field in fields {
        draft.refuse(field, "needs a cgroup, and `--cgroup-manager disabled` forbids one");
    }
    device::unenforced(resources(spec), "that needs a cgroup, and `--cgroup-manager disabled` forbids one")
}

/// The rules about devices in what `update` is told: what is wrong with them, and otherwise that they change nothing.
pub fn left_alone(resources: &LinuxResources) -> (Vec<Error>, Option<String>) {
    let mut errors = Vec::new();
    device::judge(Some(resources), &mut errors);
    let asked = device::beyond_the_usual(Some(resources));
    (errors, device::unenforced(asked, "`update` leaves the rules about devices as they are"))
}

/// `PATH_MAX`, less what its file of processes has to be called.
const LONGEST: usize = 4095 - "/cgroup.procs".len();

/// What mkdir(2) takes there.
fn is_name(name: &[u8]) -> bool {
    name.len() <= 255 && !name.contains(&b'\n') && !name.contains(&0)
}

/// A path of names only: `..` could lead to another container's cgroup, and the root cgroup is nobody's.
fn clean(path: &Path) -> Result<PathBuf> {
    if path.components().any(|c| c == Component::ParentDir) {
        return Err(Error::new(format!("`{}` contains `..`", path.display())));
    }
    let clean: PathBuf = path.components().filter(|c| *c != Component::CurDir).collect();
    if let Some(name) = clean.iter().map(OsStr::as_bytes).find(|name| !is_name(name)) {
        let name = name.escape_ascii();
        return Err(Error::new(format!("`{name}` is no name of a cgroup: it has a newline, a NUL byte, or more than 255 bytes")));
    }
    match clean.file_name() {
        Some(_) => Ok(clean),
        None => Err(Error::new(format!("`{}` is not the path of a cgroup below the root", path.display()))),
    }
}
