//! codexrun's own file (CVE-2019-5736). A container that swaps a program for `#!/proc/self/exe` between our look at it and execve(2)
//! makes us run inside of it, where its root finds our file in /proc/PID/exe and could write to it once we have ended. Where that cannot
//! be ruled out (`op/pin.rs` does, for programs that need no interpreter) we run from a read-only copy of the mount that the file is on,
//! which is nowhere attached and which nobody inside can make writable; an ordinary user, who may copy no mount, from a sealed copy of
//! the file in memory.

use super::fault::describe;
use crate::namespace::is_new;
use crate::sys::mount::{self, MountAttr};
use crate::sys::process::{self, Strings};
use crate::sys::{Errno, Result as SysResult, cred, file};
use crate::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// What /proc links to the file that is running.
const EXE: &std::ffi::CStr = c"/proc/self/exe";

/// Whether our file could be written to by who has come by a descriptor of it: its owner's containers' root is its owner, and root's may
/// write to any, unless the mount that it is on is read-only or it has no name that anybody could execute later.
///
/// # Errors
/// It cannot be looked at.
pub(super) fn is_exposed() -> Result<bool> {
    let exposed = || {
        let own = file::open_at(file::cwd(), EXE, libc::O_PATH)?;
        let (user, stat) = (cred::euid(), file::stat(own.as_fd())?);
        if user != 0 && stat.owner.0 != user && stat.mode & 0o022 == 0 {
            return Ok(false);
        }
        match stat.links == 0 || file::is_read_only(own.as_fd())? {
            true => name().map(|()| false),
            false => Ok(true),
        }
    };
    exposed().map_err(unprotected)
}

/// Begins anew, as the same process with the same words, from a file that cannot be written to; returns when it is, or need not be. For a
/// program that is going to run something in a container.
///
/// # Errors
/// The file cannot be protected.
pub fn read_only_self() -> Result<()> {
    if !is_exposed()? {
        return Ok(());
    }
    Err(unprotected(begin_anew()))
}

fn unprotected(errno: Errno) -> Error {
    Error::new("cannot protect codexrun's own file").cause(describe(errno))
}

/// As [`read_only_self`], before a container of `spec` is made. In a pid namespace of its own nobody is there who could open our file
/// if a shared script made us run as the container's process: then it costs nothing.
///
/// # Errors
/// As there.
pub fn read_only_self_among_others(spec: &Spec) -> Result<()> {
    if is_new(spec, LinuxNamespaceType::Pid) { Ok(()) } else { read_only_self() }
}

/// By which it is known where it has no name.
pub(super) fn identity() -> Result<(u64, u64)> {
    let own = std::fs::metadata("/proc/self/exe");
    own.map(|own| (own.dev(), own.ino())).map_err(|e| Error::new("cannot look at codexrun's own file").cause(e))
}

/// Returns only when it failed.
fn begin_anew() -> Errno {
    let again = || {
        let copy = copy()?;
        let path = CString::new(format!("/proc/self/fd/{}", copy.as_raw_fd())).map_err(|_| Errno::EINVAL)?;
        let string = |bytes: &OsStr| CString::new(bytes.as_bytes()).map_err(|_| Errno::EINVAL);
        let args = std::env::args_os().map(|word| string(&word)).collect::<SysResult<Vec<_>>>()?;
        let pair = |(mut name, value): (std::ffi::OsString, _)| {
            name.push("=");
            name.push::<std::ffi::OsString>(value);
            string(&name)
        };
        let env = std::env::vars_os().map(pair).collect::<SysResult<Vec<_>>>()?;
        Ok(process::exec(&path, &Strings::new(&args), &Strings::new(&env)))
    };
    again().unwrap_or_else(|e| e)
}

/// Of the process: execve(2) has called it by the number of a descriptor.
fn name() -> SysResult<()> {
    let comm = file::open_at(file::cwd(), c"/proc/self/comm", libc::O_WRONLY)?;
    file::write_once(comm.as_fd(), b"codexrun")
}

fn copy() -> SysResult<OwnedFd> {
    let copy = match mount::clone_path(EXE, 0, true) {
        // It takes CAP_SYS_ADMIN in the user namespace that the mount namespace belongs to.
        Err(Errno::EPERM) => return in_memory(),
        copy => copy?,
    };
    mount::setattr(copy.as_fd(), 0, &MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() })?;
    Ok(copy)
}

fn in_memory() -> SysResult<OwnedFd> {
    let (own, copy) = (file::open_at(file::cwd(), EXE, libc::O_RDONLY)?, file::sealable(c"codexrun")?);
    while file::send(copy.as_fd(), own.as_fd(), u64::MAX)? > 0 {}
    file::seal(copy.as_fd())?;
    Ok(copy)
}
