//! What confines a container and criu does not make anew by itself; done, and looked at, before its processes go on.

use super::super::launch::setup;
use super::refuse;
use crate::Result;
use crate::plan::Plan;
use crate::plan::op::Op;
use crate::proc_status::ProcStatus;
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::pidfd::pidfd_open;
use crate::sys::process::{self, Pid};
use crate::sys::{Result as SysResult, file, namespace};
use std::os::fd::{AsFd, BorrowedFd};

/// Whether there is anything to do.
pub(super) fn is_wanted(plan: &Plan) -> bool {
    no_new_privs(plan) || root(plan).is_some()
}

/// `first` is the container's first process. Whatever fails, nobody of it goes on.
pub(super) fn confine(plan: &Plan, first: Pid) -> Result<()> {
    let confined = privileges(plan, first).and_then(|()| match root(plan) {
        Some(attrs) => attributes(first, &attrs).map_err(|e| setup("make the container's root read-only again", e)),
        None => Ok(()),
    });
    if confined.is_err() {
        process::kill(first, libc::SIGKILL).map_err(|e| setup("end the restored container", e))?;
    }
    confined
}

fn no_new_privs(plan: &Plan) -> bool {
    plan.child.iter().any(|step| step.op == Op::NoNewPrivs)
}

/// `root.readonly`: the root's mount is the one that criu does not give its attributes back.
fn root(plan: &Plan) -> Option<MountAttr> {
    plan.child.iter().find_map(|step| match &step.op {
        Op::RootAttr { attr: attrs, .. } if attrs.set & attr::RDONLY != 0 => Some(*attrs),
        _ => None,
    })
}

/// The files may be of a criu that did not write it down.
fn privileges(plan: &Plan, first: Pid) -> Result<()> {
    let given = ProcStatus::of(first).is_ok_and(|status| status.field("NoNewPrivs") == Some("1"));
    match no_new_privs(plan) && !given {
        true => Err(refuse::no_new_privileges("criu has restored the container without it, and it was ended")),
        false => Ok(()),
    }
}

/// By a process that joins the container's mount namespace, which is not ours to enter.
fn attributes(first: Pid, attrs: &MountAttr) -> SysResult<()> {
    let target = pidfd_open(nix::unistd::Pid::from_raw(first))?;
    process::apart(0, || inside(target.as_fd(), attrs))
}

/// setns(2): with the mount namespace comes its root.
fn inside(target: BorrowedFd, attrs: &MountAttr) -> SysResult<()> {
    namespace::join(target, libc::CLONE_NEWNS as u64)?;
    let root = file::open_at(file::cwd(), c"/", libc::O_PATH | libc::O_DIRECTORY)?;
    mount::setattr(root.as_fd(), 0, attrs)
}
