//! Facts of this machine and of the calling process, probed once, so that the plan need not look.

pub mod cgroup;
mod datagrams;
mod locked;
mod mounts;
pub mod namespaces;
mod reach;
pub mod resctrl;
mod ways;

use crate::sys::{Errno, cred, landlock, mount, notify, process};
use crate::systemd::Manager;
use crate::{Error, Result, annotation, plan};
use cgroup::Cgroups;
use oci_spec::runtime::{Process, Spec};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use ways::ways;

/// What the plan depends on besides the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The caller's effective user id.
    pub uid: u32,
    /// The caller's effective group id.
    pub gid: u32,
    /// Whether the caller may write id maps of more than itself and set its groups (CAP_SETUID and CAP_SETGID).
    pub privileged: bool,
    /// Whether setgroups(2) is permitted; not in a user namespace whose group map was written without the right to.
    pub setgroups: bool,
    /// What the caller may do itself, bit n for capability n; outside of a new user namespace nobody gets more.
    pub permitted: u64,
    /// What the caller passes on to programs that ask for it (capabilities(7)).
    pub inheritable: u64,
    /// Whether mknod(2) of a device is permitted: with CAP_MKNOD of the initial user namespace.
    pub mknod: bool,
    /// The highest capability this kernel knows, /proc/sys/kernel/cap_last_cap.
    pub last_capability: u32,
    /// Bytes of a page of memory.
    pub page: usize,
    /// Bytes that the caller lets a stack be; looked for only when a process has so much to say that it may not fit on one.
    pub stack: u64,
    /// Seconds that CLOCK_MONOTONIC and CLOCK_BOOTTIME stand at.
    pub clocks: [i64; 2],
    /// open_tree_attr(2), Linux 6.15, looked for only when a spec binds a tree; otherwise open_tree(2) and mount_setattr(2), with the
    /// same effect.
    pub open_tree_attr: bool,
    /// A mount may be attached to a tree that is attached nowhere (Linux 6.15; CAP_SYS_ADMIN); looked for only when a spec has no mount
    /// namespace.
    pub trees: bool,
    /// Somebody may answer for a filter's calls (Linux 5.19, and nothing that forbids it); looked for only when a spec wants it.
    pub listener: bool,
    /// Unix sockets that a spec grants, and that are of datagrams, for which it does not ask.
    pub datagrams: BTreeSet<PathBuf>,
    /// Sources of binds that the caller can reach, and the root of the spec's user namespace cannot.
    pub out_of_reach: BTreeSet<PathBuf>,
    /// What the sources of binds have that the container cannot take off; looked for only when a spec wants it taken off.
    pub locked: locked::Locked,
    /// AppArmor is on; looked for only when there is a label to apply, as are the next two.
    pub apparmor: bool,
    /// SELinux is on.
    pub selinux: bool,
    /// The version of Landlock's interface, 0 without one; asked for only when there are rules.
    pub landlock: u32,
    /// The architecture that seccomp programs are made for.
    pub native: crate::bpf::Native,
    /// The cgroup hierarchies; looked for only when a spec needs them.
    pub cgroups: Option<Cgroups>,
    /// The nodes that have memory; looked for only when a spec names some, and unknown where the kernel does not tell.
    pub nodes: Option<plan::op::Nodes>,
    /// The CPUs that there can be; looked for only when a process names some, and unknown where the kernel does not tell.
    pub cpus: Option<plan::op::Nodes>,
    /// The resctrl file system; looked for only when a spec needs it.
    pub resctrl: Option<resctrl::Resctrl>,
}

/// Whether the caller is in the initial user namespace; another one's uid_map could look the same. Without a /proc it counts as the initial.
///
/// # Errors
/// The kernel does not tell.
pub fn in_initial_user_namespace() -> Result<bool> {
    is_initial("/proc/self/ns/user", 0xEFFF_FFFD)
}

/// Whether the caller is in the initial time namespace, in which no clock is ahead; as it is on a kernel without such.
///
/// # Errors
/// The kernel does not tell.
pub fn in_initial_time_namespace() -> Result<bool> {
    is_initial("/proc/self/ns/time", 0xEFFF_FFFA)
}

/// The number of an initial namespace is fixed (PROC_USER_INIT_INO, PROC_TIME_INIT_INO of the kernel's include/linux/proc_ns.h), and no
/// other has it.
fn is_initial(path: &str, number: u64) -> Result<bool> {
    let namespace = told(Path::new(path), std::fs::metadata(path))?;
    Ok(namespace.is_none_or(|namespace| namespace.ino() == number))
}

/// user_namespaces(7), /proc/PID/setgroups; the initial one always permits it.
fn setgroups_allowed() -> Result<bool> {
    Ok(fact("/proc/self/setgroups")?.is_some_and(|word| word.starts_with(b"allow")))
}

/// The nodes that have memory.
const NODES: &str = "/sys/devices/system/node/has_memory";
/// The CPUs that are there, or could be added.
const CPUS: &str = "/sys/devices/system/cpu/possible";

/// What the kernel lists in such a file.
fn listed(file: &str) -> Result<Option<plan::op::Nodes>> {
    let list = fact(file)?.unwrap_or_default();
    let list = String::from_utf8_lossy(&list);
    Ok(Some(list.trim()).filter(|list| !list.is_empty()).and_then(|list| plan::schedule::set(list).ok()))
}

/// What a file of /proc or /sys says; none if this kernel has no such file.
fn fact(path: &str) -> Result<Option<Vec<u8>>> {
    let path = Path::new(path);
    told(path, crate::text::read(path, u64::MAX))
}

/// An answer of the kernel's; none if there is nothing of that name to ask. What it would not say is not taken for a no.
fn told<T>(path: &Path, answer: io::Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(Error::new(format!("cannot read {}", path.display())).cause(e)),
    }
}

/// Whether calls of others can be answered for: an outer filter may refuse what that needs (Docker's does), and Yama the right to look into
/// another process, however powerful one is (ptrace_scope 3, Yama.rst of the kernel).
fn can_answer() -> Result<bool> {
    let yama = fact("/proc/sys/kernel/yama/ptrace_scope")?.is_some_and(|scope| scope.starts_with(b"3"));
    let may = process::takes_seccomp_flags(notify::NEW_LISTENER | notify::WAIT_KILLABLE);
    let may = known(may.and_then(|()| notify::may_look_into(std::process::id())));
    let may = may.map_err(|e| Error::new("cannot learn whether calls may be answered for (seccomp_unotify)").cause(e))?;
    Ok(!yama && may.is_some())
}

/// An answer of the kernel's; none if it, or an outer filter, says in one of the usual ways that there is no such thing. Want of memory or of
/// descriptors says nothing.
fn known<T>(answer: std::result::Result<T, Errno>) -> std::result::Result<Option<T>, Errno> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Errno::EPERM | Errno::EACCES | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn words(process: &Process) -> impl Iterator<Item = &String> {
    process.args().iter().chain(process.env()).flatten()
}

/// The soft limit; none where it does not matter.
fn stack(matters: bool) -> std::result::Result<u64, Errno> {
    if matters { process::getrlimit(libc::RLIMIT_STACK).map(|(soft, _)| soft) } else { Ok(u64::MAX) }
}

const CAP_MKNOD: u64 = 1 << 27;
const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;

impl Host {
    /// Asks the kernel what this process needs, in a container of this spec; needs no privilege and changes nothing.
    ///
    /// # Errors
    /// A question that the kernel does not answer.
    pub fn probe(spec: &Spec, process: Option<&Process>) -> Result<Self> {
        let unknown = |what: &'static str| move |e: Errno| Error::new(format!("cannot learn {what}")).cause(e);
        let own = cred::capabilities().map_err(unknown("what the caller may do (capget)"))?;
        let effective = own.effective;
        let privileged = effective & (CAP_SETUID | CAP_SETGID) == CAP_SETUID | CAP_SETGID;
        let initial = effective != 0 && in_initial_user_namespace()?;
        let labels = plan::label::is_wanted(spec, process);
        let wordy = process.is_some_and(|process| plan::process::weight(words(process)) > plan::process::LEAST_ROOM / 2);
        let ruled = plan::annotation_of(spec, annotation::LANDLOCK).is_some();
        Ok(Host {
            uid: cred::euid(),
            gid: cred::egid(),
            privileged,
            setgroups: privileged && (initial || setgroups_allowed()?),
            permitted: own.permitted,
            inheritable: own.inheritable,
            mknod: effective & CAP_MKNOD != 0 && initial,
            last_capability: process::last_capability().map_err(unknown("the capabilities of this kernel"))?,
            page: process::page_size(),
            stack: stack(wordy).map_err(unknown("the limit of a stack (getrlimit)"))?,
            clocks: process::clocks().map_err(unknown("the time (clock_gettime)"))?,
            open_tree_attr: false,
            trees: false,
            listener: false,
            datagrams: BTreeSet::new(),
            out_of_reach: BTreeSet::new(),
            locked: locked::Locked::new(),
            apparmor: labels && fact("/sys/module/apparmor/parameters/enabled")?.is_some_and(|text| text.starts_with(b"Y")),
            selinux: labels && fact("/sys/fs/selinux/enforce")?.is_some(),
            landlock: if ruled { known(landlock::version()).map_err(unknown("the kernel's Landlock"))?.unwrap_or(0) } else { 0 },
            native: crate::bpf::Native::host(),
            cgroups: None,
            nodes: None,
            cpus: if process.is_some_and(|process| process.exec_cpu_affinity().is_some()) { listed(CPUS)? } else { None },
            resctrl: None,
        })
    }

    /// [`Host::probe`], and what a container of this spec needs besides.
    ///
    /// # Errors
    /// As there.
    pub fn probe_for(spec: &Spec, options: &plan::Options) -> Result<Self> {
        let mut cgroups = plan::cgroup::is_wanted(spec, options).then(Cgroups::probe).transpose()?;
        if let Some(cgroups) = cgroups.as_mut().filter(|_| options.systemd) {
            let user = cred::euid() != 0 || cgroups.user_namespace;
            cgroups.systemd = Some(Manager::connect(user).and_then(|mut manager| manager.root()));
        }
        let open_tree_attr = plan::binds_a_tree(spec) && mount::has_open_tree_attr();
        let resctrl = plan::resctrl::is_wanted(spec).then(resctrl::Resctrl::probe).transpose()?.flatten();
        let listener = plan::annotation_of(spec, annotation::UNIX_SOCKETS).is_some() && can_answer()?;
        let trees = plan::stays_in_mount_namespace(spec) && mounts::can_be_attached_nowhere()?;
        let named = spec.linux().as_ref().and_then(|l| l.memory_policy().as_ref()).and_then(|policy| policy.nodes().as_ref());
        let nodes = named.map_or(Ok(None), |_| listed(NODES))?;
        let host = Host::probe(spec, spec.process().as_ref())?;
        let out_of_reach = if host.privileged { reach::beyond(spec, options.bundle_dir.as_deref()) } else { BTreeSet::new() };
        let locked = locked::attributes(spec, options.bundle_dir.as_deref(), in_initial_user_namespace)?;
        let datagrams = datagrams::granted(spec);
        Ok(Host { cgroups, nodes, locked, resctrl, open_tree_attr, trees, listener, datagrams, out_of_reach, ..host })
    }

    /// A fixed host (an ordinary user of a recent kernel), for listings that must not depend on the machine.
    pub fn recorded(uid: u32, gid: u32) -> Self {
        Host {
            uid,
            gid,
            privileged: uid == 0,
            setgroups: uid == 0,
            permitted: (1 << 41) - 1,
            inheritable: 0,
            mknod: uid == 0,
            last_capability: 40,
            page: 4096,
            stack: 8 << 20,
            clocks: [86_400; 2],
            open_tree_attr: true,
            trees: true,
            listener: true,
            datagrams: BTreeSet::new(),
            out_of_reach: BTreeSet::new(),
            locked: locked::Locked::new(),
            apparmor: false,
            selinux: false,
            landlock: crate::landlock::NEWEST,
            native: crate::bpf::Native::X86_64,
            cgroups: Some(Cgroups::recorded()),
            nodes: None,
            cpus: None,
            resctrl: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Errno;
    use std::process::Command;

    #[test]
    fn only_the_ways_to_say_no_are_a_no() {
        assert_eq!(super::known::<()>(Err(Errno::EPERM)), Ok(None));
        assert_eq!(super::known::<()>(Err(Errno::ENOMEM)), Err(Errno::ENOMEM));
    }

    #[test]
    fn the_initial_user_namespace_is_known_by_its_number() {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        assert_eq!(super::in_initial_user_namespace().unwrap(), map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
        let mut unshare = Command::new("unshare");
        let other = unshare.args(["--user", "--map-root-user", "readlink", "/proc/self/ns/user"]).output().unwrap().stdout;
        assert!(!String::from_utf8(other).unwrap().contains(&0xEFFF_FFFD_u32.to_string()));
    }
}
