//! `process.user` and `process.capabilities`: who the process is and what it may do.

use super::namespace::Maps;
use super::op::{Op, ParentOp};
use super::order::Stage;
use super::{Draft, ParentStep, annotation_of, device};
use crate::annotation::KEEP_GROUPS;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxIdMapping, Process, Spec};

/// What is asked for and cannot be given comes back as warnings.
pub(super) fn plan(draft: &mut Draft, spec: &Spec, maps: &Maps) -> Vec<String> {
    let Some(process) = spec.process() else { return Vec::new() };
    let mut sets = Sets::of(process);
    let warnings = sets.reduce(grantable(draft));
    let gids = groups(draft, spec, process);
    match maps {
        Maps::Caller => {}
        Maps::Itself(uid, gid) | Maps::Nested(uid, gid) => mapped(draft, process, gids, *uid, *gid),
        Maps::None | Maps::Parent | Maps::Foreign => set_ids(draft, process, gids, &sets, *maps == Maps::Foreign),
    }
    if matches!(maps, Maps::Nested(..)) && sets.any() {
        // The mounts and namespaces belong to the outer user namespace: there the process has no power to use.
        draft.refuse(
            "process.capabilities",
            "would have no effect: the user's own id is mapped to itself; map it to 0 (`--identity root`)",
        );
    }
    if *maps == Maps::Parent || !draft.maps.0.is_empty() && *maps == Maps::Foreign {
        unmapped(draft, spec, process);
    }
    capabilities(draft, &sets, *maps != Maps::Caller || super::alone::drops_bounding(draft));
    match process.user().umask() {
        Some(umask) if umask > 0o777 => draft.refuse("process.user.umask", format!("{umask} is above 511 (octal 777)")),
        Some(umask) => draft.step(Stage::Umask, Op::Umask(umask), "process.user.umask"),
        // Who joins has the caller's all along.
        None if draft.joins => {}
        None => draft.step(Stage::Umask, Op::UmaskOfCaller, "process.user.umask"),
    }
    if process.no_new_privileges() == Some(true) {
        draft.step(Stage::NoNewPrivs, Op::NoNewPrivs, "process.noNewPrivileges");
    }
    warnings
}

/// A user namespace gives every capability the kernel knows; without one there are only the caller's.
fn grantable(draft: &Draft) -> u64 {
    let known = u64::MAX >> (63 - draft.host.last_capability.min(63));
    if draft.spaces.own(libc::CLONE_NEWUSER) { known } else { known & draft.host.permitted }
}

/// Whether the caller's supplementary groups are to be the process's.
fn keeps_groups(spec: &Spec) -> bool {
    annotation_of(spec, KEEP_GROUPS).is_some_and(|value| value != "0")
}

/// Before the clone: inside, setgroups(2) is forbidden by the group map, or by the lack of the right to it.
pub(super) fn drop_groups(draft: &mut Draft, spec: &Spec) {
    if draft.host.setgroups && !keeps_groups(spec) {
        draft.before.insert(0, ParentStep { op: ParentOp::DropGroups, origin: "process.user.additionalGids".to_owned() });
    }
}

/// The groups to set; none where the caller's stay.
fn groups(draft: &mut Draft, spec: &Spec, process: &Process) -> Option<Vec<u32>> {
    let gids = process.user().additional_gids().clone().unwrap_or_default();
    if !keeps_groups(spec) {
        return Some(gids);
    }
    if !gids.is_empty() {
        let why = format!("has no effect: annotations[{KEEP_GROUPS}] keeps the groups of the caller in its place");
        draft.warnings.push(format!("config.json: process.user.additionalGids {why}"));
    }
    None
}

/// One id is mapped, so the process is it already.
fn mapped(draft: &mut Draft, process: &Process, gids: Option<Vec<u32>>, uid: u32, gid: u32) {
    let user = process.user();
    for (place, wanted, only) in [("process.user.uid", user.uid(), uid), ("process.user.gid", user.gid(), gid)] {
        if wanted != only {
            draft.refuse(place, format!("{wanted} is not mapped; the only id of the user namespace is {only}"));
        }
    }
    if gids.is_some_and(|gids| !gids.is_empty()) {
        draft.refuse("process.user.additionalGids", "cannot be set: only one group is mapped, which setgroups(2) then refuses");
    }
}

/// Ids that the user namespace has not: setuid(2), setgid(2) and setgroups(2) refuse them.
fn unmapped(draft: &mut Draft, spec: &Spec, process: &Process) {
    let Some(linux) = spec.linux() else { return };
    let lacks = |list: &Option<Vec<LinuxIdMapping>>, id: u32| {
        list.as_ref().is_some_and(|list| !list.is_empty() && device::outside(list, id).is_none())
    };
    let (user, gids) = (process.user(), linux.gid_mappings());
    let groups = user.additional_gids().iter().flatten().enumerate().filter(|_| !keeps_groups(spec));
    let groups = groups.map(|(i, gid)| (format!("process.user.additionalGids[{i}]"), *gid, gids));
    let own = [("process.user.uid", user.uid(), linux.uid_mappings()), ("process.user.gid", user.gid(), gids)];
    for (place, id, list) in own.map(|(place, id, list)| (place.to_owned(), id, list)).into_iter().chain(groups) {
        if id != u32::MAX && lacks(list, id) {
            draft.refuse(place, format!("{id} is not mapped in the user namespace"));
        }
    }
}

fn set_ids(draft: &mut Draft, process: &Process, gids: Option<Vec<u32>>, sets: &Sets, joined: bool) {
    let user = process.user();
    // To the kernel, -1 means: leave it as it is.
    for (place, id) in [("process.user.uid", user.uid()), ("process.user.gid", user.gid())] {
        if id == u32::MAX {
            draft.refuse(place, format!("{id} is not an id"));
        }
    }
    if let Some(gids) = gids {
        if gids.len() > MOST_GROUPS {
            draft.refuse("process.user.additionalGids", format!("are {}, and the kernel takes {MOST_GROUPS}", gids.len()));
        }
        for (i, id) in gids.iter().enumerate().filter(|(_, id)| **id == u32::MAX) {
            draft.refuse(format!("process.user.additionalGids[{i}]"), format!("{id} is not an id"));
        }
        let denied_is_fine = (joined || !draft.host.setgroups) && gids.is_empty();
        draft.step(Stage::Ids, Op::Groups { gids, denied_is_fine }, "process.user.additionalGids");
    }
    if user.uid() != 0 && process.terminal() == Some(true) {
        draft.step(Stage::Console, Op::OwnTerminal(user.uid()), "process.user.uid");
    }
    draft.step(Stage::Ids, Op::Gid(user.gid()), "process.user.gid");
    if user.uid() != 0 && sets.any() {
        draft.step(Stage::Ids, Op::KeepCapabilities, "process.capabilities");
    }
    draft.step(Stage::Ids, Op::Uid(user.uid()), "process.user.uid");
}

/// `NGROUPS_MAX` (setgroups(2)).
const MOST_GROUPS: usize = 65_536;

/// The five sets as masks; absent means empty.
#[derive(Default)]
struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    fn of(process: &Process) -> Self {
        let Some(c) = process.capabilities() else { return Sets::default() };
        let set = |f: fn(&LinuxCapabilities) -> &Option<Capabilities>| f(c).iter().flatten().fold(0, |m, c| m | 1 << number(*c));
        Sets {
            bounding: set(LinuxCapabilities::bounding),
            effective: set(LinuxCapabilities::effective),
            permitted: set(LinuxCapabilities::permitted),
            inheritable: set(LinuxCapabilities::inheritable),
            ambient: set(LinuxCapabilities::ambient),
        }
    }

    /// config.md: what "cannot be granted otherwise MUST be logged as a warning", and "SHOULD NOT fail"; runc and crun drop it too. An
    /// ambient capability must be inheritable and permitted (capabilities(7)): `runc spec` itself writes some that are not.
    fn reduce(&mut self, grantable: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut keep = |name: &str, set: &mut u64, of: u64, why: &str| {
            let lost: Vec<String> = names(*set & !of).collect();
            if !lost.is_empty() {
                warnings.push(format!("config.json: process.capabilities.{name}: {} {why}, and are left out", lost.join(", ")));
            }
            *set &= of;
        };
        let here = "cannot be granted here: the kernel does not know them, or the caller does not have them";
        keep("bounding", &mut self.bounding, grantable, here);
        keep("permitted", &mut self.permitted, grantable, here);
        keep("effective", &mut self.effective, grantable, here);
        keep("inheritable", &mut self.inheritable, grantable, here);
        let crossing = self.permitted & self.inheritable;
        // runc's words, which name one at a time.
        warnings.extend(names(self.ambient & !crossing).map(|name| {
            let why = "it is not in both `permitted` and `inheritable`, and is left out";
            format!("config.json: process.capabilities.ambient: can't raise ambient capability {name}: {why}")
        }));
        self.ambient &= crossing;
        warnings
    }

    fn any(&self) -> bool {
        self.effective | self.permitted | self.inheritable | self.ambient != 0
    }
}

/// Whether a process may open what others have mapped or execute, also if they are not dumpable: ptrace(2), "Ptrace access mode checking",
/// and proc_pid_map_files(5).
pub(super) fn may_look_into_others(process: &Process) -> bool {
    let powers = [Capability::SysPtrace, Capability::SysAdmin, Capability::CheckpointRestore];
    let sets = Sets::of(process);
    powers.into_iter().any(|power| (sets.bounding | sets.permitted) >> number(power) & 1 == 1)
}

/// Whether a process may leave its root for that of its mount namespace (setns(2)).
pub(super) fn may_join_mounts(process: &Process) -> bool {
    let sets = Sets::of(process);
    (sets.bounding | sets.permitted) >> number(Capability::SysAdmin) & 1 == 1
}

fn capabilities(draft: &mut Draft, sets: &Sets, bounding: bool) {
    let place = "process.capabilities";
    if bounding {
        let op = Op::Bounding { keep: sets.bounding, last: draft.host.last_capability };
        draft.step(Stage::Bounding, op, format!("{place}.bounding"));
        // Who has one from before keeps it (capset(2)); in a new user namespace nobody has.
        let before = if draft.spaces.own(libc::CLONE_NEWUSER) { 0 } else { draft.host.inheritable };
        let lost: Vec<String> = names(sets.inheritable & !(sets.bounding | before)).collect();
        if !lost.is_empty() {
            draft.refuse(format!("{place}.inheritable"), format!("has {}, which `bounding` lacks", lost.join(", ")));
        }
    }
    let (effective, permitted, inheritable, ambient) = (sets.effective, sets.permitted, sets.inheritable, sets.ambient);
    if effective & !permitted != 0 {
        draft.refuse(format!("{place}.effective"), "has a capability that `permitted` lacks");
    }
    draft.step(Stage::Capabilities, Op::Capabilities { effective, permitted, inheritable, ambient }, place);
}

/// Every capability, in the order of the kernel's numbers (capabilities(7)).
pub(super) fn all() -> &'static [Capability] {
    ORDER
}

/// The kernel's number of a capability, capabilities(7).
fn number(capability: Capability) -> u32 {
    ORDER.iter().position(|c| *c == capability).map_or(63, |n| n as u32)
}

/// The names of a set.
fn names(set: u64) -> impl Iterator<Item = String> {
    ORDER.iter().enumerate().filter(move |(n, _)| set >> n & 1 == 1).map(|(_, capability)| format!("CAP_{capability}"))
}

const ORDER: &[Capability] = {
    use Capability::*;
    &[
        Chown,
        DacOverride,
        DacReadSearch,
        Fowner,
        Fsetid,
        Kill,
        Setgid,
        Setuid,
        Setpcap,
        LinuxImmutable,
        NetBindService,
        NetBroadcast,
        NetAdmin,
        NetRaw,
        IpcLock,
        IpcOwner,
        SysModule,
        SysRawio,
        SysChroot,
        SysPtrace,
        SysPacct,
        SysAdmin,
        SysBoot,
        SysNice,
        SysResource,
        SysTime,
        SysTtyConfig,
        Mknod,
        Lease,
        AuditWrite,
        AuditControl,
        Setfcap,
        MacOverride,
        MacAdmin,
        Syslog,
        WakeAlarm,
        BlockSuspend,
        AuditRead,
        Perfmon,
        Bpf,
        CheckpointRestore,
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_granted_is_dropped_with_its_name_and_nothing_is_added() {
        let all = 1 << number(Capability::Chown) | 1 << number(Capability::SysResource);
        let mut sets = Sets { bounding: all, effective: all, permitted: all, inheritable: 1, ambient: all };
        let warnings = sets.reduce(!(1 << number(Capability::SysResource)));
        assert_eq!([sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient], [1; 5]);
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings[0].contains("capabilities.bounding: CAP_SYS_RESOURCE cannot be granted here"), "{warnings:?}");
        assert!(
            warnings[3].contains("ambient: can't raise ambient capability CAP_SYS_RESOURCE: it is not in both"),
            "{warnings:?}"
        );
    }
}
