//! Directories and limits.

use super::{Cgroup, file};
use crate::host::cgroup::Version;
use crate::plan::cgroup::{Devices, Group, Plan, Write};
use crate::sys::{Errno, bpf};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

pub(super) fn create(plan: &Plan) -> Result<Option<Cgroup>> {
    plan.groups.iter().for_each(|group| super::stale::remove_beside(&group.dir()));
    let mut cgroup = Cgroup { lenient: plan.is_lenient(), ..Cgroup::default() };
    let mut missing = Vec::new();
    for (i, group) in plan.groups.iter().enumerate() {
        match directory(group, &mut cgroup.made) {
            Ok(()) => cgroup.groups.push(group.clone()),
            Err(e) if may_lack(plan, i, &e) => {}
            Err(e) => missing.extend(not_made(plan, i, &e)),
        }
    }
    let done = Error::all(missing).and_then(|()| not_frozen(&cgroup)).and_then(|()| limit(plan));
    match done {
        Ok(()) if cgroup.groups.is_empty() => Ok(None),
        Ok(()) => Ok(Some(cgroup)),
        Err(e) => match cgroup.remove() {
            Ok(()) => Err(e),
            Err(left) => Err(e.hint(left.to_string())),
        },
    }
}

/// What enters a frozen cgroup never starts; a new one is frozen by one above it.
fn not_frozen(cgroup: &Cgroup) -> Result<()> {
    let frozen = |group: &&Group| match group.version {
        Version::V1 => {
            let freezer = group.controllers.iter().any(|name| name == "freezer");
            freezer && file::line(&group.dir(), "freezer.state").is_ok_and(|state| state != "THAWED")
        }
        Version::V2 => file::read(&group.dir(), "cgroup.events").is_ok_and(|text| file::keyed(&text, "frozen") == Some(1)),
    };
    match cgroup.groups.iter().find(frozen) {
        Some(group) => {
            let what = format!("container's cgroup unexpectedly frozen: `{}`", group.dir().display());
            Err(Error::new(what).at("config.json: linux.cgroupsPath"))
        }
        None => Ok(()),
    }
}

fn is_limited(plan: &Plan, group: usize) -> bool {
    plan.writes.iter().any(|w| w.group == group) || plan.devices.as_ref().is_some_and(|d| d.group == group)
}

/// The caller may not make this one, and nothing is limited by it.
fn may_lack(plan: &Plan, group: usize, error: &io::Error) -> bool {
    let refused = matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT));
    plan.tolerant && !is_limited(plan, group) && refused
}

/// By each field that needs it and that the caller could do without, if he may make none; by the first where there is only no room. Where none
/// needs it, by what asks for a cgroup at all.
fn not_made(plan: &Plan, group: usize, error: &io::Error) -> Vec<Error> {
    let fields = plan.writes.iter().filter(|write| write.group == group).map(|write| &write.origin);
    let origins: Vec<&String> = fields.chain(plan.devices.iter().filter(|d| d.group == group).map(|_| &plan.origin)).collect();
    let origins = if origins.is_empty() { vec![&plan.origin] } else { origins };
    let needed = is_limited(plan, group) || plan.devices.is_some() || plan.unit.is_some();
    let forbidden = matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EROFS));
    origins
        .into_iter()
        .take(if forbidden { usize::MAX } else { 1 })
        .map(|origin| not_made_for(origin, &plan.groups[group], needed, error))
        .collect()
}

fn not_made_for(origin: &str, group: &Group, needed: bool, error: &io::Error) -> Error {
    let what = format!("cannot make the cgroup `{}`", group.dir().display());
    let made = Error::new(what).at(format!("config.json: {origin}")).cause(described(error));
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            let needs = "this needs root, or a cgroup that was delegated to this user (cgroups(7))";
            made.hint(if needed { needs.to_owned() } else { format!("{needs}; `--rootless true` goes without it") })
        }
        Some(libc::EROFS) => made.hint("the cgroup file system is mounted read-only, as inside another container"),
        _ => made,
    }
}

/// Makes what is missing between base and leaf. Somebody may remove a level meanwhile, as its own parent: then it is begun anew.
fn directory(group: &Group, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let levels = group.levels();
    // In version 1 nothing has to be done to those above, which mostly are there.
    let last = levels.len().saturating_sub(1);
    for attempt in 0.. {
        let from = if attempt == 0 && group.version == Version::V1 { last } else { 0 };
        match levels[from..].iter().try_for_each(|level| one_level(group, level, made)) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) && attempt < 10 && group.base.is_dir() => {}
            done => return done,
        }
    }
    Ok(())
}

fn one_level(group: &Group, level: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    let parent = level.parent().unwrap_or(&group.base);
    if group.version == Version::V2 {
        enable(group, parent);
    }
    match fs::create_dir(level) {
        Ok(()) if !made.iter().any(|dir| dir == level) => made.push(level.to_owned()),
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        Ok(()) | Err(_) => {}
    }
    if group.version == Version::V1 && group.controllers.iter().any(|name| name == "cpuset") {
        for name in ["cpuset.cpus", "cpuset.mems"] {
            inherit(group, level, name)?;
        }
    }
    Ok(())
}

/// Every controller down to the group, as far as the caller may: systemd hands down only those that it knows.
pub(super) fn enable_all(group: &Group) {
    let levels = group.levels();
    levels.iter().filter_map(|level| level.parent()).for_each(|parent| enable(group, parent));
}

/// Gives the children of a version 2 cgroup what controllers there are. One that cannot be had is found missing when it is needed:
/// its files are not there.
fn enable(group: &Group, parent: &Path) {
    let enabled = file::line(parent, "cgroup.subtree_control").unwrap_or_default();
    let missing: Vec<String> =
        group.controllers.iter().filter(|name| !enabled.split(' ').any(|e| e == *name)).map(|name| format!("+{name}")).collect();
    if missing.is_empty() {
        return;
    }
    match file::write(parent, "cgroup.subtree_control", &missing.join(" ")) {
        // It holds processes. One by one it would take the threaded controllers, and its children then no process at all (cgroups(7),
        // "domain invalid").
        Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
        // All or nothing is the kernel's rule for one write.
        Err(_) => missing.iter().map(|name| file::write(parent, "cgroup.subtree_control", name)).for_each(drop),
        Ok(()) => {}
    }
}

/// cpusets of version 1 begin empty, and a process may enter none that is: what the nearest one above has, which is returned.
fn inherit(group: &Group, level: &Path, name: &str) -> io::Result<String> {
    let own = file::line(level, name)?;
    match level.parent().filter(|_| own.is_empty() && level != group.base) {
        None => Ok(own),
        Some(parent) => {
            let above = inherit(group, parent, name)?;
            file::write(level, name, &above).map(|()| above)
        }
    }
}

pub(super) fn limit(plan: &Plan) -> Result<()> {
    if let Some(devices) = &plan.devices {
        attach(devices, &plan.groups[devices.group])?;
    }
    write_all(&plan.groups, &plan.writes)?;
    let v2 = plan.groups.iter().filter(|group| group.version == Version::V2);
    plan.owner.map_or(Ok(()), |uid| v2.map(Group::dir).try_for_each(|dir| give(&dir, uid)))
}

/// Writes them in order; what the kernel refuses because of a value that comes later is tried again at the end. One that is refused keeps
/// none of the others from being tried: all of those are told. Want of memory or of descriptors, or of the cgroup itself, is about none of
/// them, and is told once.
pub(super) fn write_all(groups: &[Group], writes: &[Write]) -> Result<()> {
    let mut queue: VecDeque<(&Write, bool)> = writes.iter().map(|write| (write, write.again)).collect();
    let (mut last, mut errors) = (file::Last::default(), Vec::new());
    while let Some((write, again)) = queue.pop_front() {
        match put(groups, write, &mut last) {
            Ok(()) => {}
            Err(e) if again && e.raw_os_error() == Some(libc::EINVAL) => queue.push_back((write, false)),
            Err(e) => {
                errors.push(not_written(groups, write, &e));
                let wants = matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM));
                if wants || has_gone(&groups[write.group], &e) {
                    break;
                }
            }
        }
    }
    Error::all(errors)
}

fn put(groups: &[Group], write: &Write, last: &mut file::Last) -> io::Result<()> {
    let dir = groups[write.group].dir();
    let mut missing = io::Error::from_raw_os_error(libc::ENOENT);
    for (name, value) in &write.choices {
        below_usage(&dir, write, value)?;
        match last.write(&dir, name, value) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => missing = e,
            done => return done,
        }
    }
    if write.may_miss { Ok(()) } else { Err(missing) }
}

/// `checkBeforeUpdate`: version 2 would rather kill than refuse a limit below what is in use; version 1 says EBUSY.
fn below_usage(dir: &Path, write: &Write, value: &str) -> io::Result<()> {
    let Some(usage) = write.above.as_ref().and_then(|name| file::number(dir, name)) else { return Ok(()) };
    match value.parse::<u64>() {
        Ok(limit) if limit <= usage => Err(io::Error::from_raw_os_error(libc::EBUSY)),
        _ => Ok(()),
    }
}

/// Whether it was the cgroup that was not there.
fn has_gone(group: &Group, error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
        && group.dir().symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// As all else is described: by the errno's name.
fn described(error: &io::Error) -> String {
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.map_or_else(|| error.to_string(), |errno| format!("{errno:?} ({})", errno.desc()))
}

fn not_written(groups: &[Group], write: &Write, error: &io::Error) -> Error {
    let group = &groups[write.group];
    let made = Error::new(format!("cannot {write} in `{}`", group.dir().display())).cause(described(error));
    let made = made.at(format!("config.json: {}", write.origin));
    let file = write.choices.first().map(|(file, _)| file.as_str()).unwrap_or_default();
    let controller = file.split('.').next().unwrap_or_default();
    match error.raw_os_error() {
        Some(libc::ENOENT)
            if group.version == Version::V2
                && file::read(&group.dir(), "cgroup.controllers").is_ok_and(|c| !c.split(' ').any(|name| name == controller)) =>
        {
            made.hint(format!(
                "the controller `{controller}` cannot be enabled there: the cgroup above it holds processes, or does not have it"
            ))
        }
        Some(libc::ENOENT) if has_gone(group, error) => made.hint("somebody has removed that cgroup"),
        Some(libc::ENOENT) => made.hint("this kernel has no such limit"),
        Some(libc::EBUSY) => made.hint("more than that is in use"),
        Some(libc::EINVAL) if file == "memory.memsw.limit_in_bytes" => {
            made.hint("it counts memory too: it may not be below `limit`, and without one a new cgroup has no limit")
        }
        Some(libc::EINVAL | libc::ERANGE | libc::EOVERFLOW) if file == "cpuset.cpus" || file == "cpuset.mems" => {
            let (what, list) = match file {
                "cpuset.cpus" => ("CPUs", "/sys/devices/system/cpu/possible"),
                _ => ("memory nodes", "/sys/devices/system/node/has_memory"),
            };
            match fs::read_to_string(list) {
                Ok(there) => made.hint(format!("this machine has the {what} {}", there.trim())),
                Err(_) => made,
            }
        }
        Some(libc::EACCES | libc::EPERM) => made.hint("the cgroup above it permits no more, or this user may not change it"),
        _ => made,
    }
}

fn attach(devices: &Devices, group: &Group) -> Result<()> {
    let failed = |call: &str, e: io::Error| {
        let error = Error::new("cannot confine devices").at("config.json: linux.resources.devices").cause(format!("{call}: {e}"));
        if e.raw_os_error() == Some(libc::EPERM) { error.hint("this needs CAP_BPF, or CAP_SYS_ADMIN") } else { error }
    };
    let dir = fs::File::open(group.dir()).map_err(|e| failed("open", e))?;
    let program = bpf::load_device_program(&devices.program).map_err(|e| failed("BPF_PROG_LOAD", e.into()))?;
    bpf::attach_device_program(dir.as_fd(), program.as_fd()).map_err(|e| failed("BPF_PROG_ATTACH", e.into()))
}

/// config-linux.md, "Cgroup ownership": the directory, and what /sys/kernel/cgroup/delegate lists.
fn give(dir: &Path, uid: u32) -> Result<()> {
    const ALWAYS: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";
    let failed =
        |e| Error::new(format!("cannot give the cgroup `{}` to user {uid}", dir.display())).cause(e).at("config.json: mounts");
    chown(dir, Some(uid), None).map_err(failed)?;
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| ALWAYS.to_owned());
    for name in list.lines() {
        match chown(dir.join(name), Some(uid), None) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    }
    Ok(())
}
