//! Id-mapped mounts, made before the clone: mapping a mount takes power over its file system (mount_setattr(2)), which a container
//! in a user namespace does not have.

use super::fault;
use super::op::mounts::clone_of;
use crate::plan::ParentStep;
use crate::plan::op::{IdMap, ParentOp, Source};
use crate::sys::mount::{self, MountAttr, attr, recursive};
use crate::sys::process::{self, Cloned};
use crate::sys::{Errno, Result as SysResult, file};
use crate::{Error, Result};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The mounts, in the order in which [`crate::plan::op::Prepared::Mapped`] counts them.
pub(super) fn prepare(steps: &[ParentStep]) -> Result<Vec<Option<OwnedFd>>> {
    let maps = steps.iter().filter_map(|s| if let ParentOp::IdMap(map) = &s.op { Some((map, s)) } else { None });
    let mapped = |(map, step)| {
        let namespace = namespace(map).map_err(|e| not_mapped(map, step, e))?;
        one(map, namespace.as_fd()).map(Some).map_err(|e| failed(map, step, e))
    };
    maps.map(mapped).collect()
}

fn namespace(map: &IdMap) -> SysResult<OwnedFd> {
    match &map.namespace {
        Some(path) => file::open_at(file::cwd(), path, libc::O_RDONLY),
        None => user_namespace(&map.uid, &map.gid),
    }
}

fn one(map: &IdMap, namespace: BorrowedFd) -> SysResult<OwnedFd> {
    let copy = copy(&map.source)?;
    let attr = MountAttr { set: attr::IDMAP, userns: namespace.as_raw_fd() as u64, ..MountAttr::default() };
    mount::setattr(copy.as_fd(), recursive(map.recursive), &attr)?;
    Ok(copy)
}

/// A mount of the host's, attached nowhere.
pub(super) fn copy(source: &Source) -> SysResult<OwnedFd> {
    let tree = recursive(source.tree);
    let copy = clone_of(&source.path, source.follow, tree)?;
    // Made where the host's mounts are still shared: as its peer it would carry the container's mounts there.
    if source.propagation != 0 {
        let apart = MountAttr { propagation: source.propagation, ..MountAttr::default() };
        mount::setattr(copy.as_fd(), tree, &apart)?;
    }
    Ok(copy)
}

/// A user namespace that lives by its descriptor alone.
fn user_namespace(uid: &str, gid: &str) -> SysResult<OwnedFd> {
    let (hears, ours) = file::pipe()?;
    match process::clone(libc::CLONE_NEWUSER as u64)? {
        Cloned::Child => {
            drop(ours);
            // Until it is killed, or codexrun was.
            process::exit(file::read(hears.as_fd(), &mut [0]).is_err().into())
        }
        Cloned::Parent(pid, _) => {
            let path = CString::new(format!("/proc/{pid}/ns/user")).map_err(|_| Errno::EINVAL)?;
            let mapped = super::launch::write_maps(pid, uid, gid);
            let opened = mapped.and_then(|()| file::open_at(file::cwd(), &path, libc::O_RDONLY));
            let killed = process::kill(pid, libc::SIGKILL).and_then(|()| process::wait(pid, 0).map(drop));
            killed.and(opened)
        }
    }
}

/// Without the mappings: there may be hundreds.
fn sentence(map: &IdMap, step: &ParentStep, errno: Errno) -> Error {
    let what = format!("cannot id-map `{}`", map.source.path.to_string_lossy());
    Error::new(what).at(format!("config.json: {}", step.origin)).cause(fault::describe(errno))
}

fn not_mapped(map: &IdMap, step: &ParentStep, errno: Errno) -> Error {
    let error = sentence(map, step, errno);
    match errno {
        Errno::EINVAL => error.hint("340 mappings are the most, and none may be empty, overlap another or end above 4294967294"),
        _ => error,
    }
}

pub(super) fn failed(map: &IdMap, step: &ParentStep, errno: Errno) -> Error {
    let error = sentence(map, step, errno);
    match errno {
        Errno::EINVAL => error.hint("not every file system can be id-mapped, and none twice"),
        Errno::ENOENT => error.hint("the source does not exist on the host"),
        Errno::EPERM => error.hint("this needs CAP_SYS_ADMIN in the user namespace that the file system belongs to"),
        _ => error,
    }
}
