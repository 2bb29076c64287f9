//! How the kernel treats a process: scheduler, I/O priority, CPUs, memory nodes, personality.

use super::{Result, done};

/// `struct sched_attr`, version 0.
#[repr(C)]
struct Attr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    deadline: [u64; 3],
}

/// sched_setattr(2) of this process; `deadline` is runtime, deadline and period in nanoseconds.
pub fn set_scheduler(policy: u32, flags: u64, nice: i32, priority: u32, [runtime, deadline, period]: [u64; 3]) -> Result<()> {
    let attr = Attr { size: size_of::<Attr>() as u32, policy, flags, nice, priority, deadline: [runtime, deadline, period] };
    // SAFETY: `attr` is a live struct sched_attr that says its size.
    done(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) })
}

/// ioprio_set(2) of this process: class and level as IOPRIO_PRIO_VALUE has them.
pub fn set_io_priority(value: u32) -> Result<()> {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: takes no pointers.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) })
}

/// sched_setaffinity(2) of this process: bit n is CPU n.
pub fn set_affinity(cpus: &[u64]) -> Result<()> {
    // SAFETY: the buffer is live and as long as said.
    done(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(cpus), cpus.as_ptr()) })
}

/// set_mempolicy(2): MPOL_* and its flags; bit n is node n.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let empty = nodes.iter().all(|bits| *bits == 0);
    // The kernel reads one bit less than it is told.
    let (pointer, bits) = if empty { (std::ptr::null(), 0) } else { (nodes.as_ptr(), size_of_val(nodes) * 8 + 1) };
    // SAFETY: the buffer is live and has as many bits as said, or is null and has none.
    done(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })
}

/// personality(2).
pub fn set_personality(persona: u32) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::personality(persona.into()) }.into())
}
