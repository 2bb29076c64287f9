//! Namespaces that exist already: what kind a descriptor is of, and joining it (namespaces(7)).

use super::{Result, check, done, owned};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// ioctl_ns(2), NS_GET_NSTYPE: the CLONE_NEW* flag of a namespace's descriptor. ENOTTY: it is no namespace.
pub fn kind(namespace: BorrowedFd) -> Result<u64> {
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_NSTYPE as _) }.into()).map(|flag| flag as u64)
}

/// setns(2): of a namespace's descriptor, `flags` is the CLONE_NEW* flag of its kind; of a pidfd, those of the namespaces of that process
/// to join, all or none.
pub fn join(namespace: BorrowedFd, flags: u64) -> Result<()> {
    // SAFETY: takes no pointers; it only changes what this process refers to.
    done(unsafe { libc::setns(namespace.as_raw_fd(), flags as i32) }.into())
}

/// ioctl_ns(2), NS_GET_USERNS: the user namespace that owns a namespace. EPERM: it is neither ours nor one below ours.
pub fn owner(namespace: BorrowedFd) -> Result<OwnedFd> {
    // SAFETY: the request takes no argument.
    owned(unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_USERNS as _) }.into())
}
