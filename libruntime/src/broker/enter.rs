//! Takes the sandbox's place: its groups, its user namespace and the network namespace of its Unix sockets; of power nothing but the right
//! to look into its processes.

use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result, cred, file, namespace};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// pidfd_getfd(2), process_vm_readv(2) and /proc/PID/{root,cwd} of processes that are no descendants, or have made themselves
/// undumpable.
const CAP_SYS_PTRACE: u64 = 1 << 19;

/// Becomes as `process` is, which has loaded its filter and waits. It has the ids that we have: the plan has seen to that.
pub(super) fn enter(process: Pid, own_network: bool) -> Result<()> {
    let open = |name: &str| -> Result<OwnedFd> {
        let path = CString::new(format!("/proc/{process}/ns/{name}")).map_err(|_| Errno::EINVAL)?;
        file::open_at(file::cwd(), &path, libc::O_RDONLY)
    };
    take_groups(process)?;
    let (user, net) = (open("user")?, open("net")?);
    if own_network {
        // What it has of its own belongs to the user namespace that mounted, perhaps not to the one that it is in.
        namespace::join(namespace::owner(net.as_fd())?.as_fd(), libc::CLONE_NEWUSER as u64)?;
        namespace::join(net.as_fd(), libc::CLONE_NEWNET as u64)?;
    } else {
        namespace::join(user.as_fd(), libc::CLONE_NEWUSER as u64)?;
        process::unshare(libc::CLONE_NEWNET as u64)?;
    }
    let power = cred::Capabilities { effective: CAP_SYS_PTRACE, permitted: CAP_SYS_PTRACE, inheritable: 0 };
    cred::set_capabilities(power)?;
    process::set_no_new_privs()?;
    process::set_undumpable()
}

/// Root's supplementary groups are not the sandbox's; an ordinary user's are, and could not be given up.
fn take_groups(of: Pid) -> Result<()> {
    let status = std::fs::read_to_string(format!("/proc/{of}/status"));
    let status = status.map_err(|e| e.raw_os_error().map_or(Errno::EPROTO, Errno::from_raw))?;
    let mut theirs = groups(&status).ok_or(Errno::EPROTO)?;
    let mut ours = cred::groups()?;
    theirs.sort_unstable();
    ours.sort_unstable();
    if ours == theirs { Ok(()) } else { cred::set_groups(&theirs) }
}

fn groups(status: &str) -> Option<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"))?;
    line.split_ascii_whitespace().map(|gid| gid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_the_line() {
        assert_eq!(groups("Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"), Some(vec![4, 24, 1000]));
        assert_eq!(groups("Groups:\t \n"), Some(vec![]));
        assert_eq!((groups("Name:\tx\n"), groups("Groups:\t4 x\n")), (None, None));
    }
}
