//! Who we are: ids, groups, capabilities, credentials(7).

use super::{Result, done};

/// getresuid(2)'s effective id.
pub fn euid() -> u32 {
    // SAFETY: takes no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub fn egid() -> u32 {
    // SAFETY: takes no arguments, cannot fail.
    unsafe { libc::getegid() }
}

// The raw calls: glibc's wrappers signal every thread, and after a clone there is only this one.

/// setresuid(2), all three ids.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// setresgid(2), all three ids.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
}

/// setgroups(2).
pub fn set_groups(gids: &[u32]) -> Result<()> {
    // SAFETY: the buffer is live and as long as said.
    done(unsafe { libc::syscall(libc::SYS_setgroups, gids.len(), gids.as_ptr()) })
}

/// getgroups(2).
pub fn groups() -> Result<Vec<u32>> {
    // SAFETY: a size of 0 asks for the number only.
    let n = super::check(unsafe { libc::getgroups(0, std::ptr::null_mut()) }.into())?;
    let mut gids = vec![0; n as usize];
    // SAFETY: the buffer is live and has room for as many as were counted; there is one thread, so the number still holds.
    let n = super::check(unsafe { libc::getgroups(gids.len() as libc::c_int, gids.as_mut_ptr()) }.into())?;
    gids.truncate(n as usize);
    Ok(gids)
}

/// Three capability sets, bit n for capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// May cross execve(2).
    pub inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// capset(2).
pub fn set_capabilities(caps: Capabilities) -> Result<()> {
    let half = |shift: u32| Half {
        effective: (caps.effective >> shift) as u32,
        permitted: (caps.permitted >> shift) as u32,
        inheritable: (caps.inheritable >> shift) as u32,
    };
    let (header, data) = (Header { version: VERSION_3, pid: 0 }, [half(0), half(32)]);
    // SAFETY: version 3 takes two data elements, and both structures live.
    done(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
}

/// capget(2) of this process.
pub fn capabilities() -> Result<Capabilities> {
    let (header, mut data) = (Header { version: VERSION_3, pid: 0 }, [Half::default(); 2]);
    // SAFETY: version 3 fills two data elements, and both structures live.
    done(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    let join = |f: fn(&Half) -> u32| u64::from(f(&data[0])) | u64::from(f(&data[1])) << 32;
    Ok(Capabilities { effective: join(|h| h.effective), permitted: join(|h| h.permitted), inheritable: join(|h| h.inheritable) })
}
