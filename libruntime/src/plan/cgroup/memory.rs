//! `linux.resources.memory`.

use super::table::{Controller, Table, given, max};
use crate::host::cgroup::Version;
use oci_spec::runtime::{LinuxMemory, LinuxResources};

const MEMORY: Controller = Controller("memory", "memory");

pub(super) fn limits(t: &mut Table, r: &LinuxResources) {
    let Some(memory) = r.memory() else { return };
    let Some((at, version)) = t.home_of(&MEMORY, &fields(memory, t.update)) else { return };
    if let Some(kernel) = t.limit("memory.kernel", memory.kernel()).filter(|kernel| *kernel > 0) {
        // Since Linux 5.16 its file takes no limit, or takes it and does nothing.
        t.refuse("memory.kernel", format!("Linux limits no kernel memory to {kernel} by itself: `memory.limit` includes it"));
    }
    match version {
        Version::V1 => v1(t, memory, at),
        Version::V2 => v2(t, memory, at),
    }
}

/// The fields that mean something.
fn fields(m: &LinuxMemory, update: bool) -> Vec<&'static str> {
    let fields = [
        (given(m.limit()).is_some(), "memory.limit"),
        (given(m.swap()).is_some(), "memory.swap"),
        (given(m.reservation()).is_some(), "memory.reservation"),
        (given(m.kernel()).is_some(), "memory.kernel"),
        (given(m.kernel_tcp()).is_some(), "memory.kernelTCP"),
        (m.swappiness().is_some(), "memory.swappiness"),
        (m.disable_oom_killer().is_some_and(|disable| disable || update), "memory.disableOOMKiller"),
        (m.use_hierarchy().is_some(), "memory.useHierarchy"),
    ];
    fields.iter().filter(|(present, _)| *present).map(|(_, name)| *name).collect()
}

fn v1(t: &mut Table, m: &LinuxMemory, at: usize) {
    let (limit, swap) = (t.limit("memory.limit", m.limit()), t.limit("memory.swap", m.swap()));
    if let Some(limit) = limit {
        // The limit may not pass the sum with swap: when both rise, the sum has to rise first.
        t.put(at, "memory.limit", "memory.limit_in_bytes", limit).again = true;
    }
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (limit, swap)
        && swap < limit
    {
        t.refuse("memory.swap", BELOW);
    }
    match (limit, swap) {
        // Memory without a limit is not limited by the sum either; without swap accounting there is no sum.
        (Some(-1), None) => t.put(at, "memory.limit", "memory.memsw.limit_in_bytes", -1).may_miss = true,
        (_, Some(swap)) => t.put(at, "memory.swap", "memory.memsw.limit_in_bytes", swap).may_miss = swap == -1,
        (_, None) => {}
    }
    if let Some(reservation) = t.limit("memory.reservation", m.reservation()) {
        t.put(at, "memory.reservation", "memory.soft_limit_in_bytes", reservation);
    }
    if let Some(tcp) = t.limit("memory.kernelTCP", m.kernel_tcp()) {
        t.put(at, "memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", tcp).may_miss = tcp == -1;
    }
    match m.swappiness() {
        Some(value) if value > 100 => t.refuse("memory.swappiness", format!("{value} is not from 0 to 100")),
        Some(value) => drop(t.put(at, "memory.swappiness", "memory.swappiness", value)),
        None => {}
    }
    if let Some(disable) = m.disable_oom_killer().filter(|disable| *disable || t.update) {
        t.put(at, "memory.disableOOMKiller", "memory.oom_control", u8::from(disable));
    }
    if let Some(hierarchy) = m.use_hierarchy() {
        t.put(at, "memory.useHierarchy", "memory.use_hierarchy", u8::from(hierarchy));
    }
}

fn v2(t: &mut Table, m: &LinuxMemory, at: usize) {
    let (limit, sum) = (t.limit("memory.limit", m.limit()), t.limit("memory.swap", m.swap()));
    match swap(limit, sum) {
        Ok(Some(value)) => {
            let nothing_to_limit = matches!(value.as_str(), "max" | "0");
            t.put(at, "memory.swap", "memory.swap.max", value).may_miss = nothing_to_limit;
        }
        Ok(None) => {}
        Err(what) => t.refuse("memory.swap", what),
    }
    if let Some(limit) = limit {
        let check = m.check_before_update() == Some(true) && limit > 0;
        t.put(at, "memory.limit", "memory.max", max(limit)).above = check.then(|| "memory.current".to_owned());
    }
    if let Some(reservation) = t.limit("memory.reservation", m.reservation()) {
        t.put(at, "memory.reservation", "memory.low", max(reservation));
    }
    let impossible = [
        (
            t.limit("memory.kernelTCP", m.kernel_tcp()).is_some_and(|tcp| tcp > 0),
            "memory.kernelTCP",
            "cgroup version 2 has no limit of TCP's memory",
        ),
        (m.swappiness().is_some(), "memory.swappiness", "cgroup version 2 has no swappiness"),
        (m.disable_oom_killer() == Some(true), "memory.disableOOMKiller", "cgroup version 2 cannot disable the OOM killer"),
        (m.use_hierarchy() == Some(false), "memory.useHierarchy", "cgroup version 2 is always hierarchical"),
    ];
    impossible.iter().filter(|(asked, _, _)| *asked).for_each(|(_, field, why)| t.refuse(field, *why));
}

const BELOW: &str = "is the sum of memory and swap, and below `memory.limit`";

/// The spec's value is memory and swap together, version 2's is swap alone.
fn swap(limit: Option<i64>, swap: Option<i64>) -> Result<Option<String>, &'static str> {
    match (limit, swap) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (None | Some(-1), Some(_)) => Err("is the sum of memory and swap: it needs `memory.limit`"),
        (Some(limit), Some(swap)) if swap < limit => Err(BELOW),
        (Some(limit), Some(swap)) => Ok(Some((swap - limit).to_string())),
    }
}
