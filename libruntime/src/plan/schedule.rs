//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.memoryPolicy`, `linux.personality`: how the kernel
//! is to treat the process.

use super::op::{Nodes, Op, Scheduling};
use super::order::Stage;
use super::{Draft, Step};
use oci_spec::runtime::{
    IOPriorityClass as Class, LinuxMemoryPolicy, LinuxPersonalityDomain as Domain, LinuxSchedulerFlag as Flag,
    LinuxSchedulerPolicy as Policy, MemoryPolicyFlagType as MemoryFlag, MemoryPolicyModeType as Mode, Process, Scheduler, Spec,
};

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    if let Some(process) = spec.process() {
        affinity(draft, process);
        if let Some(scheduler) = process.scheduler() {
            self::scheduler(draft, scheduler);
        }
        io_priority(draft, process);
    }
    let Some(linux) = spec.linux() else { return };
    if let Some(policy) = linux.memory_policy() {
        memory_policy(draft, policy);
    }
    if let Some(personality) = linux.personality() {
        if let Some(flag) = personality.flags().iter().flatten().next() {
            draft.refuse("linux.personality.flags", format!("`{flag}` is not known, and the specification has none"));
        }
        let domain = match personality.domain() {
            Domain::PerLinux => 0,
            Domain::PerLinux32 => 8,
        };
        draft.step(Stage::Scheduling, Op::Personality(domain), "linux.personality");
    }
}

/// Where a cgroup is entered its cpuset says which CPUs these are, not what started codexrun: the kernel leaves the caller's affinity as it
/// is (since Linux 6.2 also where it moves a process), and that of an engine's daemon is nobody's wish. runc and crun have come to the same.
pub(super) fn all_cpus(draft: &mut Draft) {
    draft.step(Stage::Cgroup, Op::Affinity(ALL), "linux.cgroupsPath");
}

/// Those that the kernel's cpuset lacks it leaves out.
pub(super) const ALL: Nodes = [u64::MAX; 16];

/// config.md: for a process that joins a container; the first one's CPUs are the cgroup's affair. What no `exec` could do is refused before,
/// and the rest is listed.
fn affinity(draft: &mut Draft, process: &Process) {
    let Some(affinity) = process.exec_cpu_affinity().as_ref() else { return };
    let place = "process.execCPUAffinity";
    for (list, name, stage) in
        [(affinity.initial(), "initial", Stage::Guard), (affinity.cpu_affinity_final(), "final", Stage::Scheduling)]
    {
        let Some(list) = list.as_deref().filter(|list| !list.is_empty()) else { continue };
        let place = format!("{place}.{name}");
        let there = draft.host.cpus;
        let lacking = |cpu: &str| match there.map(|there| last(&there)) {
            Some(last) => format!("there is no CPU {cpu} on this machine, whose last is {last}: the kernel would leave it out"),
            None => format!("CPU {cpu} is above {MOST}, the last that is supported"),
        };
        match set(list) {
            Ok(cpus) => match there.and_then(|there| first_without(&cpus, &there)) {
                Some(cpu) => draft.refuse(place, lacking(&cpu.to_string())),
                None if draft.joins => draft.step(stage, Op::Affinity(cpus), place),
                None => draft.joining.push(Step { stage, op: Op::Affinity(cpus), origin: place }),
            },
            Err(NoSet::Above(cpu)) => draft.refuse(place, lacking(&cpu)),
            Err(NoSet::NoList) => draft.refuse(place, format!("`{}` is not a list of CPUs like `0-3,7`", list.escape_debug())),
        }
    }
}

/// The highest of a set.
fn last(set: &Nodes) -> usize {
    (0..=MOST).rfind(|n| set[n / 64] & 1 << (n % 64) != 0).unwrap_or(0)
}

fn scheduler(draft: &mut Draft, scheduler: &Scheduler) {
    let place = "process.scheduler";
    let policy = match scheduler.policy() {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    };
    if policy == 4 {
        draft.refuse(
            format!("{place}.policy"),
            "SCHED_ISO is a name that Linux keeps for a policy which it does not have (sched(7))",
        );
    }
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| flags | bit(*flag));
    let nice = scheduler.nice().unwrap_or(0);
    let priority = scheduler.priority().unwrap_or(0);
    let deadline = [scheduler.runtime(), scheduler.deadline(), scheduler.period()].map(|n| n.unwrap_or(0));
    if !(-20..=19).contains(&nice) {
        draft.refuse(format!("{place}.nice"), format!("{nice} is not between -20 and 19"));
    }
    // The kernel keeps it with these two alone (`fair_policy`), and says nothing.
    if nice != 0 && !matches!(policy, 0 | 3) {
        let what = "has no effect: it is for SCHED_OTHER and SCHED_BATCH, and another policy drops it";
        draft.warnings.push(format!("config.json: {place}.nice: {what}"));
    }
    for (i, flag) in scheduler.flags().iter().flatten().enumerate() {
        let why = match flag {
            Flag::SchedFlagReclaim | Flag::SchedFlagDLOverrun if policy != 6 => "is for SCHED_DEADLINE: another policy drops it",
            Flag::SchedFlagUtilClampMin | Flag::SchedFlagUtilClampMax => {
                "needs a value, and the specification has no field for it"
            }
            Flag::SchedFlagKeepPolicy if policy != 0 => "keeps the policy that codexrun runs under, and drops this one",
            Flag::SchedFlagKeepParams if nice != 0 => "keeps the nice value that codexrun runs with, and drops this one",
            _ => continue,
        };
        draft.refuse(format!("{place}.flags[{i}]"), why);
    }
    let wanted = if matches!(policy, 1 | 2) { 1..=99 } else { 0..=0 };
    if !wanted.contains(&priority) {
        let what = format!("{priority} is not between {} and {}, which the policy takes", wanted.start(), wanted.end());
        draft.refuse(format!("{place}.priority"), what);
    }
    if policy != 6 && deadline != [0; 3] {
        draft.refuse(place, "`runtime`, `deadline` and `period` are for SCHED_DEADLINE");
    }
    if policy == 6 {
        self::deadline(draft, place, deadline);
    }
    let op = Scheduling { policy, flags, nice, priority: priority.unsigned_abs(), deadline };
    draft.step(Stage::Scheduling, Op::Scheduler(op), place);
}

/// What is judged of the three before there is any task (`__checkparam_dl` of the kernel); a period of 0 is the deadline.
fn deadline(draft: &mut Draft, place: &str, [runtime, deadline, period]: [u64; 3]) {
    if runtime < LEAST_RUNTIME {
        draft.refuse(format!("{place}.runtime"), format!("{runtime} ns are below {LEAST_RUNTIME}, the least"));
    }
    if runtime > deadline || period != 0 && deadline > period {
        let three = format!("`runtime`, `deadline` and `period` are {runtime}, {deadline} and {period}");
        draft.refuse(place, format!("{three}: none may be above the next (sched(7))"));
    }
}

/// `1 << DL_SCALE`.
const LEAST_RUNTIME: u64 = 1024;

/// SCHED_FLAG_* of sched_setattr(2).
fn bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(draft: &mut Draft, process: &Process) {
    let Some(wanted) = process.io_priority() else { return };
    let class = match wanted.class() {
        Class::IoprioClassRt => 1,
        Class::IoprioClassBe => 2,
        Class::IoprioClassIdle => 3,
    };
    match u32::try_from(wanted.priority()) {
        Ok(level @ 0..=7) => draft.step(Stage::Scheduling, Op::IoPriority(class << 13 | level), "process.ioPriority"),
        _ => draft.refuse("process.ioPriority.priority", format!("{} is not between 0 and 7", wanted.priority())),
    }
}

/// MPOL_F_RELATIVE_NODES.
const RELATIVE: u32 = 1 << 14;
/// It and MPOL_F_STATIC_NODES, of which set_mempolicy(2) takes one.
const BOTH: u32 = RELATIVE | 1 << 15;
/// MPOL_F_NUMA_BALANCING.
const BALANCING: u32 = 1 << 13;

fn memory_policy(draft: &mut Draft, policy: &LinuxMemoryPolicy) {
    let mode = match policy.mode() {
        Mode::MpolDefault => 0,
        Mode::MpolPreferred => 1,
        Mode::MpolBind => 2,
        Mode::MpolInterleave => 3,
        Mode::MpolLocal => 4,
        Mode::MpolPreferredMany => 5,
        Mode::MpolWeightedInterleave => 6,
    };
    let flag = |flag: &MemoryFlag| match flag {
        MemoryFlag::MpolFNumaBalancing => BALANCING,
        MemoryFlag::MpolFRelativeNodes => 1 << 14,
        MemoryFlag::MpolFStaticNodes => 1 << 15,
    };
    let flags = policy.flags().iter().flatten().map(flag).fold(0, |flags, flag| flags | flag);
    if flags & BOTH == BOTH {
        draft.refuse("linux.memoryPolicy.flags", "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other");
    }
    if flags & BALANCING != 0 && !matches!(mode, 0 | 2 | 5) {
        draft.refuse(
            "linux.memoryPolicy.flags",
            "MPOL_F_NUMA_BALANCING is for MPOL_BIND, and since Linux 6.10 for MPOL_PREFERRED_MANY",
        );
    }
    if mode == 0 && flags != 0 {
        draft.refuse("linux.memoryPolicy.flags", "have no effect with MPOL_DEFAULT");
    }
    let list = policy.nodes().as_deref().unwrap_or_default();
    if flags & BOTH != 0 && (mode == 4 || mode == 1 && list.is_empty()) {
        draft.refuse(
            "linux.memoryPolicy.flags",
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES are about nodes, and there are none",
        );
    }
    let place = "linux.memoryPolicy";
    let nodes = match set(list) {
        Ok(nodes) => nodes,
        Err(NoSet::NoList) => {
            return draft
                .refuse(format!("{place}.nodes"), format!("`{}` is not a list of nodes like `0-3,7`", list.escape_debug()));
        }
        Err(NoSet::Above(node)) => {
            return draft.refuse(format!("{place}.nodes"), format!("node {node} is above {MOST}, the last that is supported"));
        }
    };
    // Relative ones are counted among those that may be used, round and round.
    let lacking = draft.host.nodes.filter(|_| flags & RELATIVE == 0).and_then(|there| first_without(&nodes, &there));
    if let Some(node) = lacking {
        draft.refuse(
            format!("{place}.nodes"),
            format!("node {node} has no memory on this machine: the kernel would leave it out"),
        );
    }
    match (mode, list.is_empty()) {
        (0 | 4, false) => draft.refuse(format!("{place}.nodes"), "must be empty for MPOL_DEFAULT and MPOL_LOCAL"),
        (2 | 3 | 5 | 6, true) => draft.refuse(format!("{place}.nodes"), "is missing: the mode needs nodes"),
        _ => draft.step(Stage::Scheduling, Op::MemoryPolicy { mode: mode | flags, nodes }, place),
    }
}

/// The first of one set that the other lacks.
fn first_without(set: &Nodes, other: &Nodes) -> Option<usize> {
    (0..set.len() * 64).find(|n| set[n / 64] & !other[n / 64] & 1 << (n % 64) != 0)
}

/// The highest number in a set.
const MOST: usize = 64 * size_of::<Nodes>() / size_of::<u64>() - 1;

/// Why a text is no set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoSet {
    /// It is no list.
    NoList,
    /// This number is above what is supported.
    Above(String),
}

/// `0-3,7` as bits (cpuset(7), "List format").
pub(crate) fn set(list: &str) -> Result<Nodes, NoSet> {
    let mut bits = Nodes::default();
    let mut above = None;
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let numbers = [first, last].map(number);
        let ([Some(from), Some(to)], true) = (numbers, numbers[0] <= numbers[1]) else { return Err(NoSet::NoList) };
        if to > MOST {
            above.get_or_insert(NoSet::Above(last.to_owned()));
        }
        (from..=to.min(MOST)).for_each(|n| bits[n / 64] |= 1 << (n % 64));
    }
    above.map_or(Ok(bits), Err)
}

/// Of any length: what is too large for a number is a number all the same.
fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::{NoSet, set};

    #[test]
    fn lists_are_sets() {
        let bits = |list: &str| set(list).map(|bits| bits[..2].to_vec());
        assert_eq!(bits("0-3,7"), Ok(vec![0x8f, 0]));
        assert_eq!(bits("63-64"), Ok(vec![1 << 63, 1]));
        assert_eq!(bits(""), Ok(vec![0, 0]));
        for wrong in ["3-1", "a", "1-", "-1", "+1", "9999-1", "1024,x"] {
            assert_eq!(set(wrong), Err(NoSet::NoList), "{wrong}");
        }
        for above in ["1024", "99999999", "99999999999999999999999"] {
            for list in [above.to_owned(), format!("0-{above}"), format!("1,{above},2048")] {
                assert_eq!(set(&list), Err(NoSet::Above(above.to_owned())), "{list}");
            }
        }
    }
}
