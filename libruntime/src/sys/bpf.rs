//! bpf(2): programs that decide about devices for a cgroup of version 2.

use super::{Result, check, done, owned};
use crate::bpf::device::Insn;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// The first fields of the kernel's `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// Those for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// BPF_PROG_LOAD of a program of type BPF_PROG_TYPE_CGROUP_DEVICE; needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd> {
    let load = Load {
        program_type: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: ptr::null::<u8>() as u64,
    };
    // SAFETY: `load` is live and of the size given; what it points to outlives the call, which copies and verifies it.
    owned(check(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) })?)
}

/// BPF_PROG_ATTACH beside the programs that are there already: all of them must say yes.
pub fn attach_device_program(cgroup: BorrowedFd, program: BorrowedFd) -> Result<()> {
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` is live and of the size given; it holds no pointers.
    done(unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) })
}
