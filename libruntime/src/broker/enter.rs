//! Takes the sandbox's place: its groups, its user namespace and the network namespace of its Unix sockets; of power nothing but the right
//! to look into its processes. Where that is, a process of ours in there has lent; its groups are looked up by a number that is still its
//! own, as nobody has waited for it yet.

use super::errno;
use crate::proc_status::ProcStatus;
use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result, cred, namespace};
use std::os::fd::{AsFd, OwnedFd};

/// pidfd_getfd(2), process_vm_readv(2) and /proc/PID/{root,cwd} of processes that are no descendants, or have made themselves
/// undumpable.
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// Who and where a process of the sandbox is.
pub(super) struct Sandbox {
    /// In order.
    groups: Vec<u32>,
    /// Its network namespace if that is its own, else its user namespace.
    space: OwnedFd,
    own_network: bool,
}

impl Sandbox {
    /// As `process` is, which has lent `space`.
    pub fn of(process: Pid, space: OwnedFd, own_network: bool) -> Result<Sandbox> {
        let status = ProcStatus::of(process).map_err(errno)?;
        let mut groups = groups(&status).ok_or(Errno::EPROTO)?;
        groups.sort_unstable();
        Ok(Sandbox { groups, space, own_network })
    }

    /// Becomes as that process is. It has the ids that we have: the plan has seen to that.
    pub fn enter(self) -> Result<()> {
        self.take_groups()?;
        let space = self.space.as_fd();
        if self.own_network {
            // What it has of its own belongs to the user namespace that mounted, perhaps not to the one that it is in.
            namespace::join(namespace::owner(space)?.as_fd(), libc::CLONE_NEWUSER as u64)?;
            namespace::join(space, libc::CLONE_NEWNET as u64)?;
        } else {
            namespace::join(space, libc::CLONE_NEWUSER as u64)?;
            process::unshare(libc::CLONE_NEWNET as u64)?;
        }
        let power = cred::Capabilities { effective: CAP_SYS_PTRACE, permitted: CAP_SYS_PTRACE, inheritable: 0 };
        cred::set_capabilities(power)?;
        process::set_no_new_privs()?;
        process::set_undumpable()
    }

    /// Root's supplementary groups are not the sandbox's; an ordinary user's are, and could not be given up.
    fn take_groups(&self) -> Result<()> {
        let mut ours = cred::groups()?;
        ours.sort_unstable();
        if ours == self.groups { Ok(()) } else { cred::set_groups(&self.groups) }
    }
}

fn groups(status: &ProcStatus) -> Option<Vec<u32>> {
    status.field("Groups")?.split_ascii_whitespace().map(|gid| gid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_the_line() {
        let groups = |text: &str| groups(&ProcStatus(text.into()));
        assert_eq!(groups("Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"), Some(vec![4, 24, 1000]));
        assert_eq!(groups("Groups:\t \n"), Some(vec![]));
        assert_eq!((groups("Name:\tx\n"), groups("Groups:\t4 x\n")), (None, None));
    }
}
