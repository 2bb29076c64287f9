//! Limits → `linux.resources` where the caller may have a cgroup with the controller, else `process.rlimits`, which hold for an ordinary
//! user too but mean less: said when they do.

use super::{Findings, Request};
use crate::Error;
use crate::policy::choice::Limits;
use crate::policy::view::View;
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

/// Microseconds over which a share of the processors is reckoned: the kernel's own default.
const PERIOD: u64 = 100_000;

fn limits<'a>(request: &'a Request) -> &'a Limits {
    &request.policy.choices.limits
}

fn has(request: &Request, controller: &str) -> bool {
    request.controllers.iter().any(|name| name == controller)
}

/// Says what cannot be held here, or holds less than it says.
pub(super) fn judge(request: &Request, view: &dyn View, found: &mut Findings) {
    let limits = limits(request);
    let refuse = |what: &str, why: &str| {
        let hint = "run it below a cgroup of your own: `systemd-run --user --scope -p Delegate=yes codexrun …`";
        Error::new(format!("`limits.{what}` cannot be held: {why}")).hint(hint)
    };
    if limits.cpus.is_some() && !has(request, "cpu") {
        found.errors.push(refuse("cpus", "there is no cgroup with the controller `cpu` that this user may make"));
    }
    // setrlimit(2): RLIMIT_NPROC does not bind the real root.
    if limits.pids.is_some() && !has(request, "pids") && view.ids().0 == 0 {
        found.errors.push(refuse("pids", "root is bound by a cgroup only, and none with the controller `pids` can be made"));
    }
    if limits.memory.is_some() && !has(request, "memory") {
        let what = "`limits.memory` holds for each process by itself, not for all together: \
                    there is no cgroup with the controller `memory` that this user may make";
        found.warnings.push(what.into());
    }
}

/// What the cgroup limits.
pub(super) fn resources(request: &Request) -> Option<LinuxResources> {
    let limits = limits(request);
    let given = |value: Option<u64>, controller| value.filter(|_| has(request, controller)).map(u64::cast_signed);
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    if let Some(pids) = given(limits.pids, "pids") {
        let mut of = LinuxPids::default();
        of.set_limit(pids);
        resources.set_pids(Some(of));
    }
    if let Some(memory) = given(limits.memory, "memory") {
        let mut of = LinuxMemory::default();
        of.set_limit(Some(memory)).set_swap(Some(memory)); // together: no swap beyond it
        resources.set_memory(Some(of));
    }
    if let Some(cpus) = given(limits.cpus, "cpu") {
        let mut of = LinuxCpu::default();
        of.set_quota(Some(cpus.saturating_mul((PERIOD / 1000).cast_signed()))).set_period(Some(PERIOD));
        resources.set_cpu(Some(of));
    }
    let any = resources.pids().is_some() || resources.memory().is_some() || resources.cpu().is_some();
    any.then_some(resources)
}

/// What the process and its children limit themselves by. RLIMIT_NPROC counts the processes of a user namespace, and that is the sandbox.
pub(super) fn rlimits(request: &Request) -> Option<Vec<PosixRlimit>> {
    let limits = limits(request);
    let otherwise = |value: Option<u64>, controller| value.filter(|_| !has(request, controller));
    let all = [
        (PosixRlimitType::RlimitNofile, limits.files),
        (PosixRlimitType::RlimitNproc, otherwise(limits.pids, "pids")),
        // What a process has written to; RLIMIT_AS would count what runtimes only reserve.
        (PosixRlimitType::RlimitData, otherwise(limits.memory, "memory")),
    ];
    let limit = |(typ, value): (PosixRlimitType, Option<u64>)| {
        PosixRlimitBuilder::default().typ(typ).soft(value?).hard(value?).build().ok()
    };
    let all: Vec<PosixRlimit> = all.into_iter().filter_map(limit).collect();
    (!all.is_empty()).then_some(all)
}
