//! What else is wrong, after a launch has failed: faults of this host that a look shows, so that they need not be found one launch after
//! another. A launch that goes well never comes here.

use super::fault::{Column, Fault};
use super::{agent, door, idmap, netdevice};
use crate::Error;
use crate::plan::op::{By, Follow, Op, ParentOp, Root};
use crate::plan::{ParentStep, Plan};
use crate::sys::{Errno, cred, mount, process};
use std::ffi::{CStr, OsStr};
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
        Column::Child if error.code == 1 => error.and(steps(plan, usize::from(fault.step) + 1, found)),
        Column::Child | Column::Keeper => error,
    }
}

fn steps(plan: &Plan, from: usize, found: &[Fault]) -> Vec<Error> {
    let refused = |(at, step): (usize, &crate::plan::Step)| {
        let at = u16::try_from(at).ok()?;
        let seen = || Some(Fault { column: Column::Child, step: at, errno: refusal(plan, &step.op)? as i32 });
        Some(found.iter().find(|fault| fault.step == at).copied().or_else(seen)?.explain(plan))
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
        Op::Mount(fs) => mount::fsopen(&fs.fstype).err().filter(|errno| *errno == Errno::ENODEV),
        Op::Rlimit { resource, hard, .. } => {
            let (_, ours) = process::getrlimit(*resource).ok()?;
            let free = cred::capabilities().ok()?.effective & CAP_SYS_RESOURCE != 0;
            (*hard > ours && !free).then_some(Errno::EPERM)
        }
        _ => None,
    }
}

const CAP_SYS_RESOURCE: u64 = 1 << 24;

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
