//! Device nodes of a container in a user namespace, made before the clone: behind it mknod(2) refuses them, and a node on a file system
//! of that namespace's own cannot be opened. They are made by a process in a mount namespace of its own, on a file system that nobody else
//! has; what is left of both are mounts of single nodes, attached nowhere.

use super::launch::{failed, setup};
use super::op::mounts::fresh;
use crate::plan::ParentStep;
use crate::plan::op::{Node, ParentOp};
use crate::sys::mount::{self, RECURSIVE, attr};
use crate::sys::process::{self, Apart};
use crate::sys::{Errno, Result as SysResult, file};
use crate::{Error, Result};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The nodes, in the order in which [`crate::plan::op::By::Parent`] counts them.
pub(super) fn prepare(steps: &[ParentStep]) -> Result<Vec<Option<OwnedFd>>> {
    let asked = steps.iter().filter_map(|s| if let ParentOp::Node(node) = &s.op { Some((s, node)) } else { None });
    let name = |n: usize| CString::new(n.to_string()).unwrap_or_default();
    let asked: Vec<_> = asked.enumerate().map(|(n, (step, node))| Asked { step, node, name: name(n) }).collect();
    let Some(first) = asked.first() else { return Ok(Vec::new()) };
    let (ours, theirs) = file::socketpair().map_err(|e| setup("make a socket", e))?;
    let maker = Apart::begin(libc::CLONE_NEWNS as u64, || {
        // Who has stopped listening is to be noticed.
        file::close_copy(ours.as_fd())?;
        make(&asked, theirs.as_fd())
    });
    let maker = maker.map_err(|e| failed(first.step, e))?;
    drop(theirs);
    receive(&asked, ours, maker)
}

struct Asked<'a> {
    step: &'a ParentStep,
    node: &'a Node,
    /// On the file system that nobody else has.
    name: CString,
}

fn make(asked: &[Asked], to: BorrowedFd) -> SysResult<()> {
    // What is attached to a shared mount would appear on the host.
    mount::set_propagation(RECURSIVE, libc::MS_PRIVATE)?;
    process::umask(0);
    let place = fresh(c"tmpfs", [(c"source", Some(c"codexrun"))].into_iter(), attr::NOSUID | attr::NOEXEC)?;
    // Before Linux 6.15 nothing is copied that is not attached.
    mount::attach_root(place.as_fd())?;
    for Asked { node, name, .. } in asked {
        file::mknod_at(place.as_fd(), name, node.kind | node.mode, node.device)?;
        file::chown_at(place.as_fd(), name, node.owner)?;
        let node = file::open_at(place.as_fd(), name, libc::O_PATH | libc::O_NOFOLLOW)?;
        file::send_fd(to, mount::clone_fd(node.as_fd(), 0)?.as_fd(), 0)?;
    }
    Ok(())
}

fn receive(asked: &[Asked], from: OwnedFd, maker: Apart) -> Result<Vec<Option<OwnedFd>>> {
    let mut nodes = Vec::new();
    let missing = asked.iter().find_map(|one| match file::receive_fd(from.as_fd(), 0) {
        Ok(Some(node)) => {
            nodes.push(Some(node));
            None
        }
        heard => Some((one.step, heard.err())),
    });
    // Nobody hears the rest.
    drop(from);
    let ended = maker.end();
    match missing {
        None => Ok(nodes),
        Some((step, errno)) => Err(not_made(step, errno.or(ended.err()).unwrap_or(Errno::ECHILD))),
    }
}

fn not_made(step: &ParentStep, errno: Errno) -> Error {
    let error = failed(step, errno);
    match errno {
        Errno::EPERM => error.hint("does a device cgroup around codexrun forbid to make this one?"),
        _ => error,
    }
}
