//! `process.user` and `process.capabilities`: who the process is and what it may do.

use super::Draft;
use super::namespace::Maps;
use super::op::Op;
use super::order::Stage;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, Spec};

pub(super) fn plan(draft: &mut Draft, spec: &Spec, maps: &Maps) {
    let Some(process) = spec.process() else { return };
    let sets = Sets::of(process);
    match maps {
        Maps::Itself(uid, gid) | Maps::Nested(uid, gid) => mapped(draft, process, *uid, *gid),
        Maps::None | Maps::Parent => set_ids(draft, process, &sets),
    }
    if matches!(maps, Maps::Nested(..)) && sets.any() {
        // The mounts and namespaces belong to the outer user namespace: there the process has no power to use.
        draft.refuse(
            "process.capabilities",
            "would have no effect: the user's own id is mapped to itself; map it to 0 (`--identity root`)",
        );
    }
    capabilities(draft, &sets);
    let user = process.user();
    let umask = user.umask().unwrap_or(draft.host.umask);
    draft.step(Stage::Umask, Op::Umask(umask), "process.user.umask");
    if process.no_new_privileges() == Some(true) {
        draft.step(Stage::NoNewPrivs, Op::NoNewPrivs, "process.noNewPrivileges");
    }
}

/// One id is mapped, so the process is it already.
fn mapped(draft: &mut Draft, process: &Process, uid: u32, gid: u32) {
    let user = process.user();
    for (place, wanted, only) in [("process.user.uid", user.uid(), uid), ("process.user.gid", user.gid(), gid)] {
        if wanted != only {
            draft.refuse(place, format!("{wanted} is not mapped; the only id of the user namespace is {only}"));
        }
    }
    if user.additional_gids().as_ref().is_some_and(|g| !g.is_empty()) {
        draft.refuse("process.user.additionalGids", "cannot be set: only one group is mapped, which setgroups(2) then refuses");
    }
}

fn set_ids(draft: &mut Draft, process: &Process, sets: &Sets) {
    let user = process.user();
    let groups = user.additional_gids().clone().unwrap_or_default();
    // To the kernel, -1 means: leave it as it is.
    for (place, id) in [("process.user.uid", user.uid()), ("process.user.gid", user.gid())] {
        if id == u32::MAX {
            draft.refuse(place, format!("{id} is not an id"));
        }
    }
    draft.step(Stage::Ids, Op::Groups(groups), "process.user.additionalGids");
    draft.step(Stage::Ids, Op::Gid(user.gid()), "process.user.gid");
    if user.uid() != 0 && sets.any() {
        draft.step(Stage::Ids, Op::KeepCapabilities, "process.capabilities");
    }
    draft.step(Stage::Ids, Op::Uid(user.uid()), "process.user.uid");
}

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

    fn any(&self) -> bool {
        self.effective | self.permitted | self.inheritable | self.ambient != 0
    }
}

fn capabilities(draft: &mut Draft, sets: &Sets) {
    let place = "process.capabilities";
    draft.step(
        Stage::Bounding,
        Op::Bounding { keep: sets.bounding, last: draft.host.last_capability },
        format!("{place}.bounding"),
    );
    let (effective, permitted, inheritable, ambient) = (sets.effective, sets.permitted, sets.inheritable, sets.ambient);
    for (subset, of, name) in [(effective, permitted, "effective"), (ambient, permitted & inheritable, "ambient")] {
        if subset & !of != 0 {
            draft.refuse(format!("{place}.{name}"), "has a capability that `permitted` (for `ambient`: and `inheritable`) lacks");
        }
    }
    draft.step(Stage::Capabilities, Op::Capabilities { effective, permitted, inheritable, ambient }, place);
}

/// Every capability, in the order of the kernel's numbers (capabilities(7)).
pub(super) fn all() -> &'static [Capability] {
    use Capability::*;
    const ORDER: &[Capability] = &[
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
    ];
    ORDER
}

/// The kernel's number of a capability.
fn number(capability: Capability) -> u32 {
    all().iter().position(|c| *c == capability).map_or(63, |n| n as u32)
}
