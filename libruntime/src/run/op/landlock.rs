//! Landlock, behind the mounts: rules name inodes, and many of those that the process meets are made on the way here.

use super::super::child::Child;
use crate::plan::op::Permit;
use crate::sys::{Errno, Result, file, landlock};
use std::os::fd::{AsFd, BorrowedFd};

fn ruleset<'a>(child: &'a Child) -> Result<BorrowedFd<'a>> {
    child.ruleset.as_ref().map(AsFd::as_fd).ok_or(Errno::EBADF)
}

/// Whether it is a directory only the kernel's answer tells: EINVAL is a right of directories to what is none.
pub(super) fn permit(permit: &Permit, child: &Child) -> Result<()> {
    let place = match file::open_in(file::cwd(), &permit.path, libc::O_PATH, permit.resolve) {
        // A mode keeps us from it, and the command, which has no more power, too: there is nothing to permit.
        Err(Errno::EACCES) => return Ok(()),
        place => place?,
    };
    match landlock::allow_beneath(ruleset(child)?, place.as_fd(), permit.access) {
        Err(Errno::EINVAL) if permit.of_a_file == 0 => Ok(()),
        Err(Errno::EINVAL) => landlock::allow_beneath(ruleset(child)?, place.as_fd(), permit.of_a_file),
        added => added,
    }
}

/// The ruleset is closed by execve(2).
pub(super) fn restrict(child: &Child) -> Result<()> {
    landlock::restrict_self(ruleset(child)?)
}
