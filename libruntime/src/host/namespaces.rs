//! Whether the caller may make the namespaces of a sandbox here, and if not, which switch would change it.

use crate::Error;
use crate::proc_status::ProcStatus;
use crate::sys::mount::{self, attr};
use crate::sys::process;
use crate::sys::{Errno, Result, cred, file};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

const PRIVATE: u64 = 1 << 18;

/// How much of a sandbox's namespaces the caller gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No user namespace, or none in which anything is mounted.
    Nothing,
    /// Namespaces, but no new /proc: that of an outer container is partly covered, and the kernel does not uncover it (mount_too_revealing).
    OuterProc,
    /// All of them.
    Everything,
}

/// Tries, in a process that ends at once: a user namespace and all that a sandbox may have in it, the caller's own id in it, the first thing
/// that a launch asks of its mounts, and a /proc. An outer container may permit the one and not the other.
///
/// # Errors
/// What says nothing about it: no memory, no process.
pub fn reach() -> crate::Result<Reach> {
    let maps = [cred::euid(), cred::egid()].map(|id| CString::new(format!("{id} {id} 1\n")).unwrap_or_default());
    let new_proc = || if is_permitted(new_proc)? { Ok(()) } else { Err(Errno::EPERM) };
    let reach = match is_permitted(|| attempt(&maps)) {
        Ok(false) => Ok(Reach::Nothing),
        Ok(true) => is_permitted(|| attempt(&maps).and_then(|()| new_proc()))
            .map(|whole| if whole { Reach::Everything } else { Reach::OuterProc }),
        Err(errno) => Err(errno),
    };
    reach.map_err(|errno| Error::new("cannot learn which namespaces can be made here").cause(errno))
}

fn is_permitted(attempt: impl FnOnce() -> Result<()>) -> Result<bool> {
    match process::apart(0, attempt) {
        // `user.max_user_namespaces` and its like.
        Err(Errno::ENOSPC | Errno::EUSERS) => Ok(false),
        done => super::known(done).map(|known| known.is_some()),
    }
}

/// Of the PID namespace that the caller is in; it is mounted nowhere.
fn new_proc() -> Result<()> {
    let fs = mount::fsopen(c"proc")?;
    mount::fscreate(fs.as_fd())?;
    mount::fsmount(fs.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC).map(drop)
}

fn attempt([uid, gid]: &[CString; 2]) -> Result<()> {
    // The limits of /proc/sys/user are for each kind.
    let others = libc::CLONE_NEWIPC | libc::CLONE_NEWNET | libc::CLONE_NEWUTS;
    process::unshare((libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | others) as u64)?;
    write(c"/proc/self/setgroups", b"deny")?;
    write(c"/proc/self/uid_map", uid.to_bytes())?;
    write(c"/proc/self/gid_map", gid.to_bytes())?;
    mount::set_propagation(mount::RECURSIVE, PRIVATE)
}

fn write(path: &CStr, bytes: &[u8]) -> Result<()> {
    file::write_once(file::open_at(file::cwd(), path, libc::O_WRONLY)?.as_fd(), bytes)
}

/// A switch of this machine, the value that forbids user namespaces, and the remedy.
struct Switch {
    file: &'static str,
    forbids: fn(&str) -> bool,
    binds_root: bool,
    remedy: &'static str,
}

const SWITCHES: &[Switch] = &[
    Switch {
        file: "/proc/sys/user/max_user_namespaces",
        forbids: |value| value == "0",
        binds_root: true,
        remedy: "user.max_user_namespaces is 0: `sysctl user.max_user_namespaces=10000` permits user namespaces",
    },
    Switch {
        file: "/proc/sys/kernel/unprivileged_userns_clone",
        forbids: |value| value == "0",
        binds_root: false,
        remedy: "kernel.unprivileged_userns_clone is 0: `sysctl kernel.unprivileged_userns_clone=1` permits user namespaces",
    },
    Switch {
        file: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        forbids: |value| value != "0",
        binds_root: false,
        remedy: "kernel.apparmor_restrict_unprivileged_userns is on: an AppArmor profile for codexrun with the rule `userns,` permits it user \
                 namespaces, and `sysctl kernel.apparmor_restrict_unprivileged_userns=0` everybody",
    },
    Switch {
        file: "/proc/self/status",
        forbids: |status| ProcStatus(status.into()).field("Seccomp") == Some("2"),
        binds_root: true,
        remedy: "codexrun runs under a seccomp filter, of an outer container or sandbox (codexrun's own lifts it by `allow_syscalls` namespaces and mounts): it must permit unshare(2) and clone(2) with \
                 CLONE_NEWUSER, and mount(2) (docker, podman: `--security-opt seccomp=FILE`, or `unconfined`)",
    },
];

/// What hinders, as far as the machine tells.
pub fn obstacle() -> String {
    let root = cred::euid() == 0;
    let found = SWITCHES.iter().filter(|switch| switch.binds_root || !root).find(|switch| {
        let value = crate::text::lossy(switch.file.as_ref());
        value.is_ok_and(|value| (switch.forbids)(value.trim()))
    });
    let remedy = found
        .map_or("a security module, a chroot(2) or a limit of an outer user namespace forbids user namespaces", |s| s.remedy);
    format!("{remedy}; `sandbox --isolation landlock` does without")
}

/// Whether an errno of a step that needs a user namespace of its own says that there may be none.
pub fn is_forbidden(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS) || (errno == Errno::ENOSPC && none_at_all())
}

fn none_at_all() -> bool {
    std::fs::read_to_string(SWITCHES[0].file).is_ok_and(|value| (SWITCHES[0].forbids)(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_memory_says_nothing_of_namespaces() {
        let said = |errno: Option<Errno>| is_permitted(|| errno.map_or(Ok(()), Err));
        assert_eq!([None, Some(Errno::EPERM), Some(Errno::ENOSPC)].map(said), [Ok(true), Ok(false), Ok(false)]);
        assert_eq!(
            [Errno::ENOMEM, Errno::EAGAIN, Errno::EMFILE].map(|e| said(Some(e))),
            [Errno::ENOMEM, Errno::EAGAIN, Errno::EMFILE].map(Err)
        );
    }

    #[test]
    fn a_switch_is_known_by_its_value() {
        let forbids = |n: usize, value: &str| (SWITCHES[n].forbids)(value);
        assert!(forbids(0, "0") && !forbids(0, "96365"));
        assert!(forbids(1, "0") && !forbids(1, "1"));
        assert!(forbids(2, "1") && !forbids(2, "0"));
        assert!(forbids(3, "Name:\tx\nSeccomp:\t2\n") && !forbids(3, "Seccomp:\t0\nSeccomp_filters:\t0"));
    }
}
