//! What the security module of the host is told about the next execve(2).

use super::super::child::Child;
use super::place::DIR;
use crate::plan::op::Label;
use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// The host's, as the container's may be anything: a label that is written to another file is none (CVE-2019-16884,
/// CVE-2019-19921, CVE-2025-52881).
pub(super) fn open_proc(child: &mut Child) -> Result<()> {
    let proc = file::open_at(file::cwd(), c"/proc", DIR)?;
    if file::filesystem(proc.as_fd())? != libc::PROC_SUPER_MAGIC {
        return Err(Errno::ENODEV);
    }
    child.proc = Some(proc);
    Ok(())
}

pub(super) fn say(label: &Label, child: &mut Child) -> Result<()> {
    let proc = child.proc.as_ref().ok_or(Errno::EBADF)?;
    // `thread-self` of this procfs is a link to the calling task, whoever that is by now.
    let write = |path: &CStr, words: &CStr| {
        let attribute = file::open_in(proc.as_fd(), path, libc::O_WRONLY, Resolve::InRoot)?;
        file::write_once(attribute.as_fd(), words.to_bytes())
    };
    match label {
        // Until Linux 5.1 there was one directory for all modules.
        Label::AppArmor(words) => match write(c"thread-self/attr/apparmor/exec", words) {
            Err(Errno::ENOENT) => write(c"thread-self/attr/exec", words),
            other => other,
        },
        Label::SeLinux(words) => write(c"thread-self/attr/exec", words),
    }
}
