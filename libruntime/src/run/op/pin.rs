//! The program, kept by its directory (CVE-2019-5736). Executed by its path, it could be swapped for `/proc/self/exe`, or for a script of
//! that interpreter, after every look at it: codexrun's own file on the host would run inside, where root could write to it later.

use super::super::child::Child;
use super::exec::{NO_INTERPRETER, find};
use super::place::{self, DIR};
use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result, process};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

/// As many links as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;
const PATH: usize = libc::PATH_MAX as usize;

/// A file that is no link, in a directory that was reached without a magic link. What lies there when it is executed may be another
/// file by then, but still one of the container's.
pub(in super::super) struct Program {
    dir: OwnedFd,
    /// NUL-terminated.
    name: [u8; 256],
}

pub(super) fn pin(candidates: &[CString], child: &mut Child) -> Result<()> {
    let path = find(candidates)?;
    let kept = native(path).and_then(|()| locate(path)).map_err(|errno| match errno {
        // A filter older than openat2(2), of Linux 5.6.
        Errno::EPERM | Errno::ENOSYS => Errno::ENOEXEC,
        errno => errno,
    });
    child.program = Some(kept?);
    Ok(())
}

/// execveat(2). The process is called by the file's own name, not by that of a link to it (`busybox`, not `sh`): on a path as execve(2)
/// takes it, the kernel would follow any link.
pub(super) fn exec(program: &Program, child: &Child) -> Errno {
    let name = CStr::from_bytes_until_nul(&program.name).unwrap_or_default();
    match process::exec_at(program.dir.as_fd(), name, &child.args, &child.env) {
        Errno::ENOENT if file::open_at(program.dir.as_fd(), name, place::PATH | libc::O_NOFOLLOW).is_ok() => NO_INTERPRETER,
        errno => errno,
    }
}

/// ENOEXEC unless the kernel executes it by itself, or it cannot be told. A guess, so that what takes an interpreter is not tried in vain.
fn native(path: &CStr) -> Result<()> {
    let file = match file::open_in(file::cwd(), path, libc::O_RDONLY | libc::O_NONBLOCK, Resolve::NoMagicLinks) {
        Err(Errno::EACCES) => return Err(Errno::ENOEXEC),
        file => file?,
    };
    let mut header = [0; 20];
    file::read(file.as_fd(), &mut header)?;
    if is_native(&header) { Ok(()) } else { Err(Errno::ENOEXEC) }
}

/// elf(5): magic number, 64 bits, and `e_machine` as codexrun's own; both natives are little-endian.
fn is_native(header: &[u8; 20]) -> bool {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    header.starts_with(b"\x7fELF\x02\x01") && header[18..] == machine.to_le_bytes()
}

/// Follows the links at the end of a path one by one; those in the middle the kernel follows.
fn locate(path: &CStr) -> Result<Program> {
    let mut text = [0; PATH];
    let mut length = path.count_bytes();
    text.get_mut(..length).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(path.to_bytes());
    let mut dir: Option<OwnedFd> = None;
    for _ in 0..=LINKS {
        let (parent, last) = split(&text[..length]);
        if let Some(parent) = CStr::from_bytes_until_nul(&parent).ok().filter(|parent| !parent.is_empty()) {
            let at = dir.as_ref().map_or(file::cwd(), AsFd::as_fd);
            dir = Some(file::open_in(at, parent, DIR, Resolve::NoMagicLinks)?);
        }
        let mut name = [0; 256];
        name.get_mut(..last.len()).filter(|_| last.len() < 256).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(last);
        let in_dir = dir.as_ref().ok_or(Errno::ENOENT)?.as_fd();
        let link = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::ENAMETOOLONG)?;
        match file::read_link_at(in_dir, link, &mut text[..PATH - 1]) {
            Err(Errno::EINVAL) => return Ok(Program { dir: dir.ok_or(Errno::ENOENT)?, name }),
            read => length = read?,
        }
    }
    Err(Errno::ELOOP)
}

/// Up to the last slash, NUL-terminated, and what comes after it.
fn split(path: &[u8]) -> ([u8; PATH], &[u8]) {
    let at = path.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    let mut parent = [0; PATH];
    parent[..at].copy_from_slice(&path[..at]);
    (parent, &path[at..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_to_a_directory_and_a_name_in_it() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| CString::new(root.path().join(name).as_os_str().as_bytes()).unwrap();
        let found = |name: &str| locate(&at(name)).map(|program| (file::stat(program.dir.as_fd()).unwrap().id, program.name));
        std::fs::create_dir_all(root.path().join("deep/bin")).unwrap();
        std::fs::write(root.path().join("deep/bin/busybox"), "").unwrap();
        for (link, to) in [("deep/bin/sh", "busybox"), ("bin", "deep/bin"), ("out", "bin/../bin/sh"), ("circle", "circle")] {
            symlink(to, root.path().join(link)).unwrap();
        }
        symlink(root.path().join("out"), root.path().join("absolute")).unwrap();
        let (dir, name) = found("deep/bin/busybox").unwrap();
        assert!(name.starts_with(b"busybox\0"));
        for path in ["deep/bin/sh", "bin/sh", "bin/busybox", "out", "absolute"] {
            assert_eq!(found(path).unwrap(), (dir, name), "{path}");
        }
        assert_eq!(found("circle").unwrap_err(), Errno::ELOOP);
        assert_eq!(found("bin/nosuch").unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn only_what_the_kernel_executes_by_itself_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let script = CString::new(root.path().join("script").as_os_str().as_bytes()).unwrap();
        std::fs::write(root.path().join("script"), "#!/bin/sh\n").unwrap();
        assert_eq!(native(&script), Err(Errno::ENOEXEC));
        assert_eq!(native(c"/proc/self/exe"), Err(Errno::ELOOP));
        assert_eq!(native(c"/bin/sh"), Ok(()));
        let mut foreign = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x16\0";
        assert!(!is_native(&foreign));
        foreign[4] = 1;
        assert!(!is_native(&foreign));
    }
}
