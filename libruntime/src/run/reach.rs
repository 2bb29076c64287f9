//! Sources of binds that the root of the container's user namespace could not reach, in a directory of somebody else's: each is copied by a
//! process that has our rights and the container's mounts. There, what the host has locked stays locked (mount_namespaces(7)).

use super::idmap;
use super::launch::failed;
use crate::Result;
use crate::plan::ParentStep;
use crate::plan::op::Source;
use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result as SysResult, file, namespace};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

/// To the container's process, which waits for it.
pub(super) fn send(step: &ParentStep, pid: Pid, gate: BorrowedFd, source: &Source) -> Result<()> {
    process::apart(0, || copy(pid, gate, source)).map_err(|e| failed(step, e))
}

fn copy(pid: Pid, gate: BorrowedFd, source: &Source) -> SysResult<()> {
    let path = CString::new(format!("/proc/{pid}/ns/mnt")).map_err(|_| Errno::EINVAL)?;
    let mounts = file::open_at(file::cwd(), &path, libc::O_RDONLY)?;
    namespace::join(mounts.as_fd(), libc::CLONE_NEWNS as u64)?;
    file::send_fd(gate, idmap::copy(source)?.as_fd(), 0)
}
