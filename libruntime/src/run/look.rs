//! What else is wrong, after a launch has failed: faults of this host that a look shows, so that they need not be found one launch after
//! another. A launch that goes well never comes here.

use super::fault::{Column, Fault};
use super::{agent, door, idmap, netdevice};
use crate::Error;
use crate::plan::op::{By, Follow, NewFs, Op, ParentOp, Root};
use crate::plan::{ParentStep, Plan};
use crate::sys::{Errno, cred, mount, process};
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Before there was a process: everything that is to be opened, moved or bound.
pub(super) fn around(plan: &Plan, error: Error) -> Error {
    let devices = netdevice::look(&plan.parent).err().map_or(Vec::new(), Error::each);
    let early = plan.parent.iter().filter_map(|step| sources(plan, step));
    error.and(door::faults(&plan.parent)).and(devices).and(early).and(agent::missing(&plan.parent)).and(steps(plan, 0, &[]))
}

/// After a step of the child: those that it has not come to, and what it has found of them.
pub(super) fn ahead(plan: &Plan, fault: Fault, found: &[Fault], error: Error) -> Error {
    // Where the program is looked for everything else is there; and of that engines read one line.
    match fault.column {
        Column::Child if error.code == 1 => lacking(plan, fault, error).and(steps(plan, usize::from(fault.step) + 1, found)),
        Column::Child | Column::Keeper => error,
    }
}

fn steps(plan: &Plan, from: usize, found: &[Fault]) -> Vec<Error> {
    let refused = |(at, step): (usize, &crate::plan::Step)| {
        let at = u16::try_from(at).ok()?;
        let seen = || Some(Fault { column: Column::Child, step: at, errno: refusal(plan, &step.op)? as i32 });
        let fault = found.iter().find(|fault| fault.step == at).copied().or_else(seen)?;
        Some(lacking(plan, fault, fault.explain(plan)))
    };
    plan.child.iter().enumerate().skip(from).filter_map(refused).collect()
}

/// What the kernel would say to it, as far as that can be told from outside of the container.
fn refusal(plan: &Plan, op: &Op) -> Option<Errno> {
    match op {
        Op::Bind(bind) if bind.prepared.is_none() => missing(plan, &bind.source, bind.follow),
        Op::Device(device) => match &device.by {
            By::Host(source) => missing(plan, source, Follow::All),
            By::Mknod | By::Itself | By::Parent(_) => None,
        },
        Op::Mount(fs) => {
            let unknown = mount::fsopen(&fs.fstype).err().filter(|errno| *errno == Errno::ENODEV);
            unknown.or_else(|| layers(fs).iter().find_map(|dir| missing(plan, dir, Follow::All)))
        }
        Op::Rlimit { resource, hard, .. } => {
            let (_, ours) = process::getrlimit(*resource).ok()?;
            let free = cred::capabilities().ok()?.effective & CAP_SYS_RESOURCE != 0;
            let files = || fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse().ok();
            let most = if *resource == libc::RLIMIT_NOFILE { files() } else { None };
            (!may_have(*hard, ours, free, most)).then_some(Errno::EPERM)
        }
        _ => None,
    }
}

const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// setrlimit(2): whoever is free to raise limits, nobody has more descriptors than `most`.
fn may_have(hard: u64, ours: u64, free: bool, most: Option<u64>) -> bool {
    (free || hard <= ours) && most.is_none_or(|most| hard <= most)
}

/// The error of a step; of an overlay it names what is not there, as the kernel does not say which of its directories it is.
fn lacking(plan: &Plan, fault: Fault, error: Error) -> Error {
    let layers = match fault.of_the_child(plan).map(|step| &step.op) {
        Some(Op::Mount(fs)) => layers(fs),
        _ => Vec::new(),
    };
    let lost = layers.iter().filter(|dir| missing(plan, dir, Follow::All).is_some());
    let lost: Vec<String> = lost.map(|dir| format!("`{}`", dir.to_string_lossy())).collect();
    if lost.is_empty() { error } else { error.hint(format!("there is no {}", lost.join(", "))) }
}

/// The directories of an overlay, but for those that are named from where codexrun is, as nobody names them.
fn layers(fs: &NewFs) -> Vec<CString> {
    const ONE: [&CStr; 4] = [c"lowerdir+", c"datadir+", c"upperdir", c"workdir"];
    let mut all = Vec::new();
    for (key, value) in fs.parameters.iter().filter(|_| fs.fstype.as_c_str() == c"overlay") {
        match value {
            Some(dirs) if key.as_c_str() == c"lowerdir" => all.extend(split(dirs.to_bytes())),
            Some(dir) if ONE.contains(&key.as_c_str()) => all.push(dir.clone()),
            _ => {}
        }
    }
    all.retain(|dir| dir.to_bytes().starts_with(b"/"));
    all
}

/// At each colon that no backslash is before (overlayfs.rst of the kernel).
fn split(dirs: &[u8]) -> Vec<CString> {
    let (mut all, mut bytes) = (vec![Vec::new()], dirs.iter());
    while let Some(byte) = bytes.next() {
        let last = all.len() - 1;
        match byte {
            b':' => all.push(Vec::new()),
            b'\\' => all[last].extend(bytes.next()),
            byte => all[last].push(*byte),
        }
    }
    all.into_iter().filter_map(|dir| CString::new(dir).ok()).collect()
}

/// What is copied before the clone, or for the child.
fn sources(plan: &Plan, step: &ParentStep) -> Option<Error> {
    match &step.op {
        ParentOp::IdMap(map) => missing(plan, &map.source.path, map.source.follow).map(|errno| idmap::failed(map, step, errno)),
        ParentOp::Reach(source) => missing(plan, &source.path, source.follow).map(|errno| super::reach::not_copied(step, errno)),
        _ => None,
    }
}

/// Whether there is no such path on the host. Of one in the container's root, or in a mount namespace that is joined, nothing can be told
/// from here.
fn missing(plan: &Plan, source: &CStr, follow: Follow) -> Option<Errno> {
    let path = |path: &CStr| Path::new(OsStr::from_bytes(path.to_bytes())).to_owned();
    let root = plan.child.iter().find_map(|step| match &step.op {
        Op::Root(Root::Dir(dir)) | Op::Tree(Root::Dir(dir)) => Some(path(dir)),
        _ => None,
    });
    let mounts = libc::CLONE_NEWNS as u64;
    let elsewhere = plan.parent.iter().any(|step| matches!(&step.op, ParentOp::Join(join) if join.flag == mounts));
    let source = path(source);
    // Which codexrun would have made, had it come so far.
    let own = plan.parent.iter().any(|step| match &step.op {
        ParentOp::Cgroup(cgroup) => cgroup.groups.iter().any(|group| source.starts_with(group.dir())),
        _ => false,
    });
    if elsewhere || own || root.is_some_and(|root| source.starts_with(root)) {
        return None;
    }
    let there = if follow == Follow::All { fs::metadata(source) } else { fs::symlink_metadata(source) };
    there.err()?.raw_os_error().map(Errno::from_raw).filter(|errno| matches!(errno, Errno::ENOENT | Errno::ENOTDIR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_split_where_the_kernel_splits_them() {
        let split = |dirs: &[u8]| split(dirs).into_iter().map(|dir| dir.into_string().unwrap()).collect::<Vec<_>>();
        assert_eq!(split(b"/a:/b\\:c::/d\\\\"), ["/a", "/b:c", "", "/d\\"]);
    }

    #[test]
    fn nobody_has_more_descriptors_than_the_machine_gives_to_anybody() {
        for (hard, ours, free, most, may) in [
            (5, 9, false, None, true),
            (9, 5, false, None, false),
            (9, 5, true, None, true),
            (9, 5, true, Some(8), false),
            (9, 9, false, Some(8), false),
            (8, 5, true, Some(8), true),
        ] {
            assert_eq!(may_have(hard, ours, free, most), may, "{hard} {ours} {free} {most:?}");
        }
    }
}
