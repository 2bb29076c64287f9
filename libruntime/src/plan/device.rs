//! `linux.devices`, and the default devices and links of `/dev` (config-linux.md, "Devices"; runtime-linux.md, "Dev symbolic
//! links").

use super::op::{By, Device, Node, Op, ParentOp};
use super::order::Stage;
use super::place::{At, c_path, c_string};
use super::{Draft, ParentStep, check, kernels, options};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType as Type, LinuxIdMapping, Spec};
use std::collections::HashSet;
use std::ffi::CString;
use std::path::{Component, Path, PathBuf};

/// capabilities(7).
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Name, major, minor.
const NODES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let asked = spec.linux().as_ref().and_then(|l| l.devices().as_deref()).unwrap_or_default();
    let hosts = is_hosts(spec);
    let there = |device: &LinuxDevice| hosts && device.path().starts_with(DEV);
    let devices: HashSet<&Path> = asked.iter().map(|device| device.path().as_path()).collect();
    for (i, device) in asked.iter().enumerate() {
        if let Err(why) = reachable(device.path(), &devices, hosts) {
            draft.refuse(format!("linux.devices[{i}].path"), why);
            continue;
        }
        asked_for(draft, &format!("linux.devices[{i}]"), device, there(device));
    }
    for (i, why) in check::rivals(asked, |device| device.path().components().collect::<PathBuf>().display().to_string()) {
        draft.refuse(format!("linux.devices[{i}].path"), why);
    }
    if !hosts {
        defaults(draft, asked);
    } else if asked.iter().any(|d| there(d) && (d.file_mode().is_some() || d.uid().is_some() || d.gid().is_some())) {
        // Once: an engine names every device of the host.
        let what = "fileMode, uid and gid have no effect below `/dev`, which is a bind: its nodes keep their modes and owners";
        draft.warnings.push(format!("config.json: linux.devices: {what}"));
    }
    console(draft, spec);
}

/// Not by way of another name, which would be taken for another place, nor below what is no directory.
fn reachable(path: &Path, devices: &HashSet<&Path>, hosts: bool) -> Result<(), String> {
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(format!("`{}` has `..` in it", path.display()));
    }
    let is_default = |at: &Path| {
        let mut names = NODES.iter().map(|(name, ..)| name).chain(LINKS.iter().map(|(name, _)| name));
        !hosts && at.strip_prefix(DEV).is_ok_and(|rest| names.any(|name| rest == Path::new(name)))
    };
    match path.ancestors().skip(1).find(|at| devices.contains(at) || is_default(at)) {
        Some(at) => Err(format!("`{}` lies below `{}`, which is no directory", path.display(), at.display())),
        None => Ok(()),
    }
}

const DEV: &str = "/dev";

/// Whether `/dev` is bound from the host in the end: nothing may be made in it, and what is asked for must be there.
fn is_hosts(spec: &Spec) -> bool {
    kernels::last_at(spec, DEV.as_bytes()).is_some_and(options::is_bind)
}

/// What every container has (config-linux.md, "Default Devices"), where the same is not asked for in another way.
fn defaults(draft: &mut Draft, asked: &[LinuxDevice]) {
    let Some(at) = draft.at("linux.devices", Path::new(DEV)) else { return };
    draft.step(Stage::Devices, Op::OpenDev(at), "default devices");
    for (name, major, minor) in NODES {
        let path = format!("/dev/{name}");
        if asked.iter().any(|device| device.path() == Path::new(&path)) {
            continue;
        }
        let (Ok(name), Ok(source)) = (c_string(name.as_bytes()), c_string(path.as_bytes())) else { continue };
        let op =
            if binds(draft) { Op::BindNode { name, source } } else { Op::Node { name, device: libc::makedev(*major, *minor) } };
        draft.step(Stage::Devices, op, "default devices");
    }
    for (name, target) in LINKS {
        if let (Ok(name), Ok(target)) = (c_string(name.as_bytes()), c_string(target.as_bytes())) {
            draft.step(Stage::Devices, Op::Link { name, target }, "default devices");
        }
    }
}

fn asked_for(draft: &mut Draft, place: &str, asked: &LinuxDevice, there: bool) {
    let which = which(draft, place, asked);
    let path = asked.path();
    let (Some((kind, device)), Some(at)) = (which, draft.at(&format!("{place}.path"), path)) else { return };
    let Some(source) = draft.take(place, c_path(path)) else { return };
    if at.is_root() {
        return draft.refuse(format!("{place}.path"), "`/` is no place for a device");
    }
    let mode = mode(draft, place, asked, kind);
    for (name, id) in [("uid", asked.uid()), ("gid", asked.gid())] {
        if id == Some(u32::MAX) {
            draft.refuse(format!("{place}.{name}"), "4294967295 is nobody's id: chown(2) would leave the owner as it is");
        }
    }
    let owner = (asked.uid().unwrap_or(0), asked.gid().unwrap_or(0));
    let node = Node { kind, device, mode, owner };
    // A pipe is no device.
    let by = if there {
        By::Itself
    } else if kind != libc::S_IFIFO && binds(draft) {
        bound(draft, place, asked, &node, source)
    } else {
        By::Mknod
    };
    if by == By::Mknod {
        refuse_nobody(draft, place, owner);
    }
    draft.step(Stage::Devices, Op::Device(Device { at, kind, device, mode, owner, by }), place);
}

/// An owner that the user namespace has not: chown(2) refuses him.
fn refuse_nobody(draft: &mut Draft, place: &str, owner: (u32, u32)) {
    let maps = [("uid", owner.0, &draft.maps.0), ("gid", owner.1, &draft.maps.1)];
    let lacks =
        |(_, id, list): &(&str, u32, &Vec<LinuxIdMapping>)| *id != u32::MAX && !list.is_empty() && outside(list, *id).is_none();
    let lacking: Vec<_> = maps.into_iter().filter(lacks).map(|(name, id, _)| (name, id)).collect();
    for (name, id) in lacking {
        draft.refuse(format!("{place}.{name}"), format!("{id} is not mapped in the user namespace"));
    }
}

/// The bits of its permissions. Engines copy the type of a node along, which has to be this one; others mean nothing, and chown(2) clears
/// those of set-user-ID and set-group-ID.
fn mode(draft: &mut Draft, place: &str, asked: &LinuxDevice, kind: u32) -> u32 {
    let mode = asked.file_mode().unwrap_or(0o666);
    let typ = mode & libc::S_IFMT;
    if typ != 0 && typ != kind {
        draft.refuse(format!("{place}.fileMode"), format!("0{mode:o} says another type of file than `type`"));
    } else if mode & !(libc::S_IFMT | PERMISSIONS) != 0 {
        let more = mode & !(libc::S_IFMT | PERMISSIONS);
        draft.warnings.push(format!("config.json: {place}.fileMode: bits that no device has, 0{more:o}, have no effect"));
    }
    mode & PERMISSIONS
}

const PERMISSIONS: u32 = 0o1777;

/// As mknod(2) takes them: the kind, and makedev(3).
fn which(draft: &mut Draft, place: &str, asked: &LinuxDevice) -> Option<(u32, u64)> {
    let kind = match asked.typ() {
        Type::C | Type::U => libc::S_IFCHR,
        Type::B => libc::S_IFBLK,
        Type::P => return Some((libc::S_IFIFO, 0)),
        Type::A => {
            draft.refuse(format!("{place}.type"), "`a` is no type of a device node");
            return None;
        }
    };
    match number(asked.major(), asked.minor()) {
        Some(number) => Some((kind, number)),
        None => {
            draft.refuse(place, format!("{}:{} is no device number", asked.major(), asked.minor()));
            None
        }
    }
}

/// The kernel has twelve bits for the one and twenty for the other.
pub(super) fn number(major: i64, minor: i64) -> Option<libc::dev_t> {
    let (major, minor) = (u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
    (major < 1 << 12 && minor < 1 << 20).then(|| libc::makedev(major, minor))
}

/// In a user namespace mknod(2) refuses devices, and without CAP_MKNOD too: what is made outside is bound instead.
fn binds(draft: &Draft) -> bool {
    draft.spaces.own(libc::CLONE_NEWUSER) || !draft.host.mknod
}

/// A node of the parent's, who has the power to make one and knows its owner; otherwise the host's.
fn bound(draft: &mut Draft, place: &str, asked: &LinuxDevice, node: &Node, source: CString) -> By {
    // It takes a file system to make it on, too.
    let able =
        draft.host.mknod && draft.host.permitted & CAP_SYS_ADMIN != 0 && draft.spaces.new & libc::CLONE_NEWUSER as u64 != 0;
    let outside = outside(&draft.maps.0, node.owner.0).zip(outside(&draft.maps.1, node.owner.1));
    if let Some(owner) = outside.filter(|_| able) {
        let slot = draft.before.iter().filter(|step| matches!(step.op, ParentOp::Node(_))).count();
        draft.before.push(ParentStep { op: ParentOp::Node(Node { owner, ..node.clone() }), origin: place.to_owned() });
        return By::Parent(slot);
    }
    let said = [("fileMode", asked.file_mode().is_some()), ("uid", asked.uid().is_some()), ("gid", asked.gid().is_some())];
    for (name, _) in said.iter().filter(|(_, said)| *said) {
        let none = if able { "none of an owner that is not mapped can be made" } else { "none can be made here" };
        let why = format!("has no effect: the host's node is bound, as {none}, and keeps its mode and its owner");
        draft.warnings.push(format!("config.json: {place}.{name} {why}"));
    }
    By::Host(source)
}

/// What the host calls an id of the container's.
pub(super) fn outside(list: &[LinuxIdMapping], id: u32) -> Option<u32> {
    let one = |map: &LinuxIdMapping| id.checked_sub(map.container_id()).filter(|n| *n < map.size())?.checked_add(map.host_id());
    list.iter().find_map(one)
}

fn console(draft: &mut Draft, spec: &Spec) {
    if !wants_terminal(spec) {
        return;
    }
    let size = size(draft, spec);
    let has_devpts = spec.mounts().iter().flatten().any(|m| m.typ().as_deref() == Some("devpts"));
    if !has_devpts {
        return draft.refuse("process.terminal", "needs a `devpts` mount on `/dev/pts`");
    }
    let Some(size) = size else { return };
    let place = |path| At::new(Path::new(path), draft.resolve, false);
    if let (Ok(ptmx), Ok(console)) = (place("/dev/pts/ptmx"), place("/dev/console")) {
        draft.step(Stage::Console, Op::Console { ptmx, console, size }, "process.terminal");
        draft.step(Stage::Ready, Op::Stdio, "process.terminal");
    }
}

/// The terminal of a process that joins a container.
pub(super) fn terminal(draft: &mut Draft, spec: &Spec) {
    if wants_terminal(spec)
        && let Some(size) = size(draft, spec)
    {
        draft.step(Stage::Console, Op::Terminal { size }, "process.terminal");
        draft.step(Stage::Ready, Op::Stdio, "process.terminal");
    }
}

fn wants_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().is_some_and(|p| p.terminal() == Some(true))
}

/// Rows and columns, if any are asked for; `None` if they are no size.
fn size(draft: &mut Draft, spec: &Spec) -> Option<Option<(u16, u16)>> {
    let asked = spec.process().as_ref().and_then(|p| p.console_size());
    match asked.map(|s| (u16::try_from(s.height()), u16::try_from(s.width()))) {
        Some((Ok(rows), Ok(columns))) => Some(Some((rows, columns))),
        None => Some(None),
        Some(_) => {
            draft.refuse("process.consoleSize", "is above 65535, the most that a terminal can have");
            None
        }
    }
}
