//! `linux.devices`, and the default devices and links of `/dev` (config-linux.md, "Devices"; runtime-linux.md, "Dev symbolic
//! links").

use super::Draft;
use super::op::{Device, Op};
use super::order::Stage;
use super::place::{At, c_path, c_string};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType as Type, Spec};
use std::path::Path;

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
    let mounts = || spec.mounts().iter().flatten();
    // A `/dev` that is bound from the host is the host's: nothing may be made in it.
    let is_bind = |m: &&oci_spec::runtime::Mount| {
        m.options().iter().flatten().any(|o| o == "bind" || o == "rbind") || m.typ().as_deref() == Some("bind")
    };
    let dev = Path::new("/dev");
    if mounts().any(|m| m.destination().components().eq(dev.components()) && is_bind(&m)) {
        return;
    }
    let asked = spec.linux().as_ref().and_then(|l| l.devices().as_deref()).unwrap_or_default();
    for (i, device) in asked.iter().enumerate() {
        asked_for(draft, &format!("linux.devices[{i}]"), device);
    }
    let Some(at) = draft.at("linux.devices", dev) else { return };
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
    console(draft, spec);
}

fn asked_for(draft: &mut Draft, place: &str, asked: &LinuxDevice) {
    let which = which(draft, place, asked);
    let path = asked.path();
    let (Some((kind, device)), Some(at)) = (which, draft.at(&format!("{place}.path"), path)) else { return };
    let Some(source) = draft.take(place, c_path(path)) else { return };
    if at.is_root() {
        return draft.refuse(format!("{place}.path"), "`/` is no place for a device");
    }
    let (mode, uid, gid) = (asked.file_mode().unwrap_or(0o666) & 0o7777, asked.uid(), asked.gid());
    // A pipe is no device.
    let bound = binds(draft) && kind != libc::S_IFIFO;
    let said = [("fileMode", asked.file_mode().is_some()), ("uid", uid.is_some()), ("gid", gid.is_some())];
    for (name, _) in said.iter().filter(|(_, said)| bound && *said) {
        let why = "has no effect: the host's node is bound, as none can be made here, and keeps its mode and its owner";
        draft.warnings.push(format!("config.json: {place}.{name} {why}"));
    }
    let owner = (uid.unwrap_or(0), gid.unwrap_or(0));
    let device = Device { at, kind, device, mode, owner, source: bound.then_some(source) };
    draft.step(Stage::Devices, Op::Device(device), place);
}

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
    let number = |n: i64| u32::try_from(n).ok();
    match (number(asked.major()), number(asked.minor())) {
        (Some(major), Some(minor)) if major < 1 << 12 && minor < 1 << 20 => Some((kind, libc::makedev(major, minor))),
        _ => {
            draft.refuse(place, format!("{}:{} is no device number", asked.major(), asked.minor()));
            None
        }
    }
}

/// In a user namespace mknod(2) refuses devices, and without CAP_MKNOD too: the host's node is bound instead.
fn binds(draft: &Draft) -> bool {
    draft.spaces.own(libc::CLONE_NEWUSER) || !draft.host.mknod
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
