//! The first steps of `exec`: into the namespaces of a container that runs.

use super::super::child::Child;
use super::device::{hand_over, other_end};
use crate::plan::op::Sync;
use crate::sys::file::{self, Resolve};
use crate::sys::process::{self, Cloned};
use crate::sys::{Errno, Result, namespace};
use std::os::fd::AsFd;

/// The root and the working directory become those of the mount namespace (setns(2)).
pub(super) fn join(child: &Child, flags: u64) -> Result<()> {
    namespace::join(child.target.ok_or(Errno::EBADF)?, flags)
}

/// Only a child lives in the joined pid namespace. It is made a child of codexrun itself, which engines expect to inherit it from.
pub(super) fn descend(child: &Child) -> Result<()> {
    let Cloned::Parent(pid, _) = process::clone_sibling(0)? else { return Ok(()) };
    let mut message = [Sync::Joined as u8; 5];
    message[1..].copy_from_slice(&pid.to_ne_bytes());
    file::write_all(child.gate.as_fd(), &message)?;
    process::exit(0)
}

/// The container may have put anything on `/dev/pts`: only a devpts(5) gives a terminal whose other end is what it seems
/// (CVE-2025-52565).
pub(super) fn terminal(child: &mut Child, size: Option<(u16, u16)>) -> Result<()> {
    let devpts = file::open_in(file::cwd(), c"/dev/pts", libc::O_PATH | libc::O_DIRECTORY, Resolve::NoMagicLinks)?;
    if file::filesystem(devpts.as_fd())? != libc::DEVPTS_SUPER_MAGIC {
        return Err(Errno::ENOTTY);
    }
    let master = file::open_at(devpts.as_fd(), c"ptmx", libc::O_RDWR | libc::O_NOCTTY | libc::O_NOFOLLOW)?;
    let peer = other_end(master.as_fd(), size)?;
    hand_over(child, master.as_fd(), peer)
}
