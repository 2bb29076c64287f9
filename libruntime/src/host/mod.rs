//! Facts of this machine and of the calling process, probed once, so that the plan need not look.

pub mod cgroup;
pub mod resctrl;

use crate::plan;
use crate::sys::{cred, mount, process};
use cgroup::Cgroups;
use oci_spec::runtime::Spec;
use std::os::unix::fs::MetadataExt;

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
    /// Whether mknod(2) of a device is permitted: with CAP_MKNOD of the initial user namespace.
    pub mknod: bool,
    /// The highest capability this kernel knows, /proc/sys/kernel/cap_last_cap.
    pub last_capability: u32,
    /// open_tree_attr(2), Linux 6.15, looked for only when a spec binds a tree; otherwise open_tree(2) and mount_setattr(2), with the
    /// same effect.
    pub open_tree_attr: bool,
    /// AppArmor is on.
    pub apparmor: bool,
    /// SELinux is on.
    pub selinux: bool,
    /// The architecture that seccomp programs are made for.
    pub native: crate::bpf::Native,
    /// The cgroup hierarchies; looked for only when a spec needs them.
    pub cgroups: Option<Cgroups>,
    /// The resctrl file system; looked for only when a spec needs it.
    pub resctrl: Option<resctrl::Resctrl>,
}

/// Whether the caller is in the initial user namespace. The number of that one is fixed (PROC_USER_INIT_INO of the kernel's
/// include/linux/proc_ns.h), and no other has it; another one's uid_map could look the same. Without a /proc it counts as the initial.
pub fn in_initial_user_namespace() -> bool {
    std::fs::metadata("/proc/self/ns/user").map_or(true, |namespace| namespace.ino() == 0xEFFF_FFFD)
}

/// user_namespaces(7), /proc/PID/setgroups; the initial one always permits it.
fn setgroups_allowed() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "allow")
}

const CAP_MKNOD: u64 = 1 << 27;
const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;

impl Host {
    /// Asks the kernel; needs no privilege and changes nothing.
    pub fn probe() -> Self {
        let own = cred::capabilities().unwrap_or_default();
        let effective = own.effective;
        let privileged = effective & (CAP_SETUID | CAP_SETGID) == CAP_SETUID | CAP_SETGID;
        let initial = effective != 0 && in_initial_user_namespace();
        Host {
            uid: cred::euid(),
            gid: cred::egid(),
            privileged,
            setgroups: privileged && (initial || setgroups_allowed()),
            permitted: own.permitted,
            mknod: effective & CAP_MKNOD != 0 && initial,
            last_capability: process::last_capability(),
            open_tree_attr: false,
            apparmor: std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y")),
            selinux: std::path::Path::new("/sys/fs/selinux/enforce").exists(),
            native: crate::bpf::Native::host(),
            cgroups: None,
            resctrl: None,
        }
    }

    /// [`Host::probe`], and what this spec needs besides.
    pub fn probe_for(spec: &Spec, options: &plan::Options) -> Self {
        let cgroups = plan::cgroup::is_wanted(spec, options).then(Cgroups::probe);
        let open_tree_attr = plan::binds_a_tree(spec) && mount::has_open_tree_attr();
        let resctrl = plan::resctrl::is_wanted(spec).then(resctrl::Resctrl::probe).flatten();
        Host { cgroups, resctrl, open_tree_attr, ..Host::probe() }
    }

    /// A fixed host (an ordinary user of a recent kernel), for listings that must not depend on the machine.
    pub fn recorded(uid: u32, gid: u32) -> Self {
        Host {
            uid,
            gid,
            privileged: uid == 0,
            setgroups: uid == 0,
            permitted: (1 << 41) - 1,
            mknod: uid == 0,
            last_capability: 40,
            open_tree_attr: true,
            apparmor: false,
            selinux: false,
            native: crate::bpf::Native::X86_64,
            cgroups: Some(Cgroups::recorded()),
            resctrl: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn the_initial_user_namespace_is_known_by_its_number() {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        assert_eq!(super::in_initial_user_namespace(), map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
        let mut unshare = Command::new("unshare");
        let other = unshare.args(["--user", "--map-root-user", "readlink", "/proc/self/ns/user"]).output().unwrap().stdout;
        assert!(!String::from_utf8(other).unwrap().contains(&0xEFFF_FFFD_u32.to_string()));
    }
}
