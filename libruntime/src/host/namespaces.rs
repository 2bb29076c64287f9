//! Whether the caller may make the namespaces of a sandbox here, and if not, which switch would change it.

use crate::proc_status::ProcStatus;
use crate::sys::mount::{self, attr};
use crate::sys::{Errno, Result, cred, file, inode, namespace, process};
use crate::{Error, mountinfo};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

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
/// that a launch asks of its mounts, a /proc, and for who is not root and is to keep its ids (`keeps`) the second user namespace that does.
/// An outer container may permit the one and not the other.
///
/// # Errors
/// What says nothing about it: no memory, no process.
pub fn reach(keeps: bool) -> crate::Result<Reach> {
    let maps = [cred::euid(), cred::egid()].map(|id| CString::new(format!("{id} {id} 1\n")).unwrap_or_default());
    let new_proc = || if is_permitted(new_proc)? { Ok(()) } else { Err(Errno::EPERM) };
    let nested = keeps && (cred::euid(), cred::egid()) != (0, 0);
    let nest = || if nested { process::unshare(libc::CLONE_NEWUSER as u64) } else { Ok(()) };
    let reach = match is_permitted(|| attempt(&maps).and_then(|()| nest())) {
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

/// Kinds of /proc/sys/user/max_KIND_namespaces, and how many of each a sandbox has.
const LIMITS: [(&str, u64); 6] = [("user", 2), ("mnt", 1), ("pid", 1), ("ipc", 1), ("net", 1), ("uts", 1)];

/// What hinders where a user namespace, or what a sandbox has in it, fails with this errno: what the machine tells, and then what is left.
pub fn obstacle(errno: Errno) -> String {
    let remedy = if errno == Errno::ENOSPC { limit() } else { refusal() };
    format!("{remedy}; `--isolation landlock` of `sandbox` and `spec --from-policy` does without")
}

/// Of namespaces(7): each user namespace has limits, and those above it count too.
fn limit() -> String {
    let value = |kind: &str| -> Option<u64> {
        crate::text::lossy(format!("/proc/sys/user/max_{kind}_namespaces").as_ref()).ok()?.trim().parse().ok()
    };
    let short = LIMITS.iter().find_map(|(kind, needs)| Some((kind, value(kind).filter(|value| value < needs)?)));
    match short {
        Some((kind, value)) => {
            format!("user.max_{kind}_namespaces is {value}: `sysctl user.max_{kind}_namespaces=10000` permits those of a sandbox")
        }
        None => {
            "as many namespaces are there as /proc/sys/user permits, here or in an outer user namespace, or 32 are nested".into()
        }
    }
}

const CHROOT: &str = "codexrun runs below a chroot(2), where the kernel makes no user namespaces: who enters the tree by pivot_root(2), as bwrap and \
                      containers do, may make them";

/// What create_user_ns() of the kernel looks at, what is certain first, and a security module when it is nothing else.
fn refusal() -> String {
    let (user, read) = (cred::euid(), |file: &str| crate::text::lossy(file.as_ref()).unwrap_or_default());
    let is_set = |switch: &&Switch| {
        let value = read(switch.file);
        (switch.binds_root || user != 0) && !value.is_empty() && (switch.forbids)(value.trim())
    };
    match SWITCHES.iter().find(is_set) {
        _ if is_chrooted() => CHROOT.into(),
        Some(switch) => switch.remedy.into(),
        None if !maps(&read("/proc/self/uid_map"), user) => {
            format!("the user {user} is not mapped in the user namespace that codexrun runs in, and gets none of its own")
        }
        None => {
            let (modules, label) = (read("/sys/kernel/security/lsm"), read("/proc/self/attr/current"));
            let label = label.trim_end_matches(['\0', '\n']);
            format!("a security module ({}) forbids user namespaces to codexrun, whose label is `{label}`", modules.trim())
        }
    }
}

/// Whether an id is mapped (user_namespaces(7)): lines of first id, first id outside, and how many.
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut words = line.split_whitespace().map(|word| word.parse::<u64>().unwrap_or_default());
        let (first, _, count) = (words.next().unwrap_or_default(), words.next(), words.next().unwrap_or_default());
        (first..first + count).contains(&id.into())
    })
}

/// Whether our root is not that of our mount namespace: no root of a mount at all, or, as far as who asks may know, another one.
fn is_chrooted() -> bool {
    let root = || file::open_at(file::cwd(), c"/", libc::O_PATH);
    let Ok(ours) = root().and_then(|root| Ok((inode::is_mount_root(root.as_fd())?, inode::mount(root.as_fd())?))) else {
        return false;
    };
    let seen = crate::text::read("/proc/1/mountinfo".as_ref(), u64::MAX).unwrap_or_default();
    let elsewhere = |mount: &mountinfo::Mount| u64::from(mount.id) == ours.1 && mount.point != Path::new("/");
    // Who joins its own mount namespace gets its root.
    let moved = || {
        let space = file::open_at(file::cwd(), c"/proc/self/ns/mnt", libc::O_RDONLY)?;
        namespace::join(space.as_fd(), libc::CLONE_NEWNS as u64)?;
        if inode::mount(root()?.as_fd())? == ours.1 { Ok(()) } else { Err(Errno::EXDEV) }
    };
    !ours.0 || mountinfo::parse(&seen).iter().any(elsewhere) || process::apart(0, moved) == Err(Errno::EXDEV)
}

/// Whether an errno of a step that needs a user namespace of its own says that there may be none.
pub fn is_forbidden(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::ENOSPC)
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
        assert!(forbids(0, "0") && !forbids(0, "1"));
        assert!(forbids(1, "1") && !forbids(1, "0"));
        assert!(forbids(2, "Name:\tx\nSeccomp:\t2\n") && !forbids(2, "Seccomp:\t0\nSeccomp_filters:\t0"));
    }

    #[test]
    fn an_id_is_mapped_by_one_of_the_lines() {
        let map = "         0       1000          1\n         5     100000      65536\n";
        assert_eq!([0, 1, 4, 5, 65540, 65541].map(|id| maps(map, id)), [true, false, false, true, true, false]);
        assert!(!maps("", 0));
    }

    #[test]
    fn the_root_of_the_mount_namespace_is_no_chroot() {
        assert!(!is_chrooted());
    }
}
