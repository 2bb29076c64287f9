//! The parts of a fresh `/proc` that speak for the whole machine. Root without capabilities still owns those files, and
//! most of them ask for nothing else.

/// Writable to their owner: bound read-only over themselves. A missing one costs nothing.
pub(super) const READONLY: &[&str] = &[
    "/proc/sys",           // sysctl(8) of the host, e.g. kernel.core_pattern: a program run by the host
    "/proc/sysrq-trigger", // reboots the host
    "/proc/irq",           // interrupt affinity
    "/proc/bus",           // PCI configuration space
    "/proc/fs",            // knobs of ext4, xfs, nfsd
    "/proc/acpi",          // wakeup sources
    "/proc/scsi",          // adds and removes devices
    "/proc/dynamic_debug", // switches kernel messages
];

/// Readable to their owner: covered.
pub(super) const MASKED: &[&str] = &[
    "/proc/kcore",         // the memory of the host
    "/proc/keys",          // the caller's keys outside the sandbox
    "/proc/timer_list",    // names of host processes, kernel addresses
    "/proc/sched_debug",   // the same, before Linux 5.13
    "/proc/latency_stats", // where host processes wait
    "/proc/kpagecount",    // who shares which page: side channels
    "/proc/kpageflags",    // the same
    "/proc/kpagecgroup",   // the same
];

pub(super) fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}
