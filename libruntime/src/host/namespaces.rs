//! Whether the caller may make the namespaces of a sandbox here, and if not, which switch would change it.

use crate::proc_status::ProcStatus;
use crate::sys::mount::{self, attr};
use crate::sys::{Errno, Result, ask, cred, file, inode, lsm, namespace, process};
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
    let (maps, all) =
        (own_maps(), libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWNET | libc::CLONE_NEWUTS);
    let attempt = || attempt(&maps, all).and_then(|()| mount::set_propagation(mount::RECURSIVE, PRIVATE));
    let new_proc = || if is_permitted(new_proc)? { Ok(()) } else { Err(Errno::EPERM) };
    let nested = keeps && (cred::euid(), cred::egid()) != (0, 0);
    let nest = || if nested { process::unshare(libc::CLONE_NEWUSER as u64) } else { Ok(()) };
    let reach = match is_permitted(|| attempt().and_then(|()| nest())) {
        Ok(false) => Ok(Reach::Nothing),
        Ok(true) => is_permitted(|| attempt().and_then(|()| new_proc()))
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

/// The caller's own id, in a user namespace.
fn own_maps() -> [CString; 2] {
    [cred::euid(), cred::egid()].map(|id| CString::new(format!("{id} {id} 1\n")).unwrap_or_default())
}

/// A user namespace, and the `others` in it: the limits of /proc/sys/user are for each kind.
fn attempt([uid, gid]: &[CString; 2], others: i32) -> Result<()> {
    process::unshare((libc::CLONE_NEWUSER | others) as u64)?;
    write(c"/proc/self/setgroups", b"deny")?;
    write(c"/proc/self/uid_map", uid.to_bytes())?;
    write(c"/proc/self/gid_map", gid.to_bytes())
}

fn write(path: &CStr, bytes: &[u8]) -> Result<()> {
    file::write_once(file::open_at(file::cwd(), path, libc::O_WRONLY)?.as_fd(), bytes)
}

/// A switch of this machine, the value that forbids user namespaces to who is not root, and the remedy.
struct Switch {
    file: &'static str,
    forbids: fn(&str) -> bool,
    remedy: &'static str,
}

const SWITCHES: &[Switch] = &[
    Switch {
        file: "/proc/sys/kernel/unprivileged_userns_clone",
        forbids: |value| value == "0",
        remedy: "kernel.unprivileged_userns_clone is 0: `sysctl kernel.unprivileged_userns_clone=1` permits user namespaces",
    },
    Switch {
        file: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        forbids: |value| value != "0",
        remedy: "kernel.apparmor_restrict_unprivileged_userns is on: an AppArmor profile for codexrun with the rule `userns,` permits it user \
                 namespaces, and `sysctl kernel.apparmor_restrict_unprivileged_userns=0` everybody",
    },
];

/// What a filter around codexrun refuses of what a launch asks of the kernel, if it is that which hinders: not every filter is.
fn filter() -> Option<String> {
    let status = ProcStatus(crate::text::lossy("/proc/self/status".as_ref()).ok()?);
    if status.field("Seccomp") != Some("2") {
        return None;
    }
    let refused: Vec<&str> = ask::CALLS.iter().filter(|call| is_filtered(call)).map(|call| call.name).collect();
    (!refused.is_empty()).then(|| {
        format!(
            "codexrun runs under a seccomp filter, of an outer container or sandbox (codexrun's own lifts it by `allow_syscalls` namespaces and mounts), \
             which refuses {}: it must permit unshare(2) and clone(2) with CLONE_NEWUSER, and mount(2) (docker, podman: `--security-opt \
             seccomp=FILE`, or `unconfined`)",
            refused.join(", ")
        )
    })
}

/// In a process of its own, as a filter may kill. Who gets no process has not been told anything.
fn is_filtered(call: &ask::Call) -> bool {
    match process::apart(0, || call.ask()) {
        Err(errno) => errno != call.kernels && !matches!(errno, Errno::EAGAIN | Errno::ENOMEM),
        Ok(()) => true,
    }
}

/// A kind of /proc/sys/user/max_KIND_namespaces; its flag; and how many of it a sandbox has.
const LIMITS: [(&str, i32, u64); 6] = [
    ("user", libc::CLONE_NEWUSER, 2),
    ("mnt", libc::CLONE_NEWNS, 1),
    ("pid", libc::CLONE_NEWPID, 1),
    ("ipc", libc::CLONE_NEWIPC, 1),
    ("net", libc::CLONE_NEWNET, 1),
    ("uts", libc::CLONE_NEWUTS, 1),
];

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
    let short = LIMITS.iter().find_map(|(kind, _, needs)| Some((kind, value(kind).filter(|value| value < needs)?)));
    if let Some((kind, value)) = short {
        return format!(
            "user.max_{kind}_namespaces is {value}: `sysctl user.max_{kind}_namespaces=10000` permits those of a sandbox"
        );
    }
    let Some(kind) = exhausted() else {
        return "as many namespaces were there as /proc/sys/user permits, here or in an outer user namespace; there are fewer again".into();
    };
    let here = value(kind).map_or_else(String::new, |value| format!(" ({value})"));
    let nested = if ["user", "pid"].contains(&kind) { ", or 32 are nested" } else { "" };
    format!(
        "no {kind} namespace is left of user.max_{kind}_namespaces, here{here} or in an outer user namespace{nested}: where it is too low \
         `sysctl user.max_{kind}_namespaces=10000` permits those of a sandbox"
    )
}

/// The kind of which there can be no more; each is tried in a process of its own.
fn exhausted() -> Option<&'static str> {
    let (user, maps) = (libc::CLONE_NEWUSER, own_maps());
    let one = |flag: i32| process::apart(0, || process::unshare((user | flag) as u64)) == Err(Errno::ENOSPC);
    let nested = || process::apart(0, || attempt(&maps, 0).and_then(|()| process::unshare(user as u64)));
    let short = LIMITS.iter().find(|(_, flag, _)| one(*flag)).map(|(kind, ..)| *kind);
    short.or_else(|| (nested() == Err(Errno::ENOSPC)).then_some("user"))
}

const CHROOT: &str = "codexrun runs below a chroot(2), where the kernel makes no user namespaces: who enters the tree by pivot_root(2), as bwrap and \
                      containers do, may make them";

/// Security modules that are asked about a user namespace (the hook userns_create): name, number (LSM_ID_*).
const MODULES: [(&str, u64); 3] = [("apparmor", 104), ("selinux", 101), ("bpf", 109)];

/// Those of them that the kernel runs. `None`: securityfs is not mounted, and the kernel older than lsm_list_modules(2).
fn asked_modules() -> Option<Vec<&'static str>> {
    let list = crate::text::lossy("/sys/kernel/security/lsm".as_ref()).unwrap_or_default();
    let numbers = if list.is_empty() { Some(lsm::modules().ok()?) } else { None };
    let runs = |(name, number): &(&str, u64)| match &numbers {
        Some(numbers) => numbers.contains(number),
        None => list.trim().split(',').any(|listed| listed == *name),
    };
    Some(MODULES.iter().filter(|module| runs(module)).map(|(name, _)| *name).collect())
}

/// What create_user_ns() of the kernel looks at, what is certain first, and what cannot be seen when it is nothing else.
fn refusal() -> String {
    let (user, read) = (cred::euid(), |file: &str| crate::text::lossy(file.as_ref()).unwrap_or_default());
    let is_set = |switch: &&Switch| {
        let value = read(switch.file);
        user != 0 && !value.is_empty() && (switch.forbids)(value.trim())
    };
    let unmapped = |kind: &str, id: u32| !maps(&read(&format!("/proc/self/{kind}_map")), id);
    let ids = [("user", "uid", user), ("group", "gid", cred::egid())];
    if is_chrooted() {
        return CHROOT.into();
    }
    match SWITCHES.iter().find(is_set).map(|switch| switch.remedy.into()).or_else(filter) {
        Some(remedy) => remedy,
        None => match ids.iter().find(|(_, kind, id)| unmapped(kind, *id)) {
            Some((who, _, id)) => {
                format!("the {who} {id} is not mapped in the user namespace that codexrun runs in, and gets none of its own")
            }
            None => {
                let made = process::apart(0, || process::unshare(libc::CLONE_NEWUSER as u64)).is_ok();
                unseen(asked_modules().as_deref(), &read("/proc/self/attr/current"), made)
            }
        },
    }
}

/// What is left: a chroot(2) to the root of a mount, which only root can see, and a security module, of which `asked` are those that there are,
/// if that is known. Below a chroot(2) not even a user namespace is `made`.
fn unseen(asked: Option<&[&str]>, label: &str, made: bool) -> String {
    let label = match label.trim_end_matches(['\0', '\n']) {
        "" => String::new(),
        label => format!(", whose label is `{label}`"),
    };
    let module = match asked {
        None => Some("of this kernel".into()),
        Some([]) => None,
        Some(asked) => Some(format!("({})", asked.join(" or "))),
    };
    match (module.map(|module| format!("a security module {module} forbids user namespaces to codexrun{label}")), made) {
        (Some(module), true) => module,
        (Some(module), false) => format!("one of two things: {CHROOT}; or {module}"),
        (None, false) => CHROOT.into(),
        (None, true) => "no switch, filter, chroot(2) or security module that codexrun knows of forbids them".into(),
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
    }

    #[test]
    fn the_kernel_refuses_what_is_asked_of_a_filter_before_it_looks_at_a_right() {
        for call in ask::CALLS {
            assert_eq!(process::apart(0, || call.ask()), Err(call.kernels), "{}", call.name);
            let unprivileged = || cred::set_uid(65534).and_then(|()| call.ask());
            if cred::euid() == 0 {
                assert_eq!(process::apart(0, unprivileged), Err(call.kernels), "{}, without power", call.name);
            }
        }
    }

    #[test]
    fn an_id_is_mapped_by_one_of_the_lines() {
        let map = "         0       1000          1\n         5     100000      65536\n";
        assert_eq!([0, 1, 4, 5, 65540, 65541].map(|id| maps(map, id)), [true, false, false, true, true, false]);
        assert!(!maps("", 0));
    }

    #[test]
    fn what_cannot_be_seen_is_told_by_what_it_cannot_be() {
        let of = |asked: &[&str], made: bool| unseen(Some(asked), "unconfined\n", made);
        assert_eq!(of(&[], false), CHROOT);
        let module = "a security module (apparmor or bpf) forbids user namespaces to codexrun, whose label is `unconfined`";
        assert_eq!(of(&["apparmor", "bpf"], true), module);
        assert_eq!(of(&["apparmor", "bpf"], false), format!("one of two things: {CHROOT}; or {module}"));
        let unknown = unseen(None, "", false);
        assert_eq!(
            unknown,
            format!("one of two things: {CHROOT}; or a security module of this kernel forbids user namespaces to codexrun")
        );
        assert!(of(&[], true).starts_with("no switch, filter, chroot(2) or security module"));
    }

    #[test]
    fn where_namespaces_can_be_had_none_is_exhausted() {
        assert_eq!(exhausted(), None);
    }

    #[test]
    fn the_root_of_the_mount_namespace_is_no_chroot() {
        assert!(!is_chrooted());
    }
}
