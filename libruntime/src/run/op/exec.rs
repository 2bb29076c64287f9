//! The last operation: execve(2).

use super::super::child::Child;
use super::place::PATH;
use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result, process};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// As execvp(3): the first candidate that is there; one that may not be executed is remembered, and the search goes on.
pub(super) fn exec(candidates: &[std::ffi::CString], child: &Child) -> Errno {
    let mut error = Errno::ENOENT;
    for path in candidates {
        if leads_to_us(path, child.own) {
            return Errno::ELOOP;
        }
        match process::exec(path, &child.args, &child.env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // A directory of $PATH that cannot be searched holds nothing; a file that is there is what was meant.
            Errno::EACCES if candidates.len() == 1 || exists(path) => error = Errno::EACCES,
            Errno::EACCES => {}
            other => return other,
        }
    }
    error
}

/// What [`exec`] would do, as far as it can be said beforehand: whether there is a program, and whether it may be executed.
pub(super) fn find(candidates: &[std::ffi::CString]) -> Result<()> {
    let mut error = Errno::ENOENT;
    for path in candidates {
        let Ok(program) = file::open_at(file::cwd(), path, PATH) else {
            continue;
        };
        match file::executable(path) {
            // A filter is older than faccessat2(2), of Linux 5.8, and refuses the question: execve(2) will tell.
            Ok(()) | Err(Errno::EPERM | Errno::ENOSYS) if file::stat(program.as_fd())?.is_file() => return Ok(()),
            Ok(()) | Err(Errno::EACCES | Errno::EPERM | Errno::ENOSYS) => error = Errno::EACCES,
            Err(errno) => return Err(errno),
        }
    }
    Err(error)
}

fn exists(path: &CStr) -> bool {
    file::open_at(file::cwd(), path, PATH).is_ok()
}

/// CVE-2019-5736: `/proc/self/exe`, as the command or as the interpreter of a script, is codexrun's own file on the host, through
/// a mount that the container's is not: it could be changed from inside. As deep as the kernel follows scripts.
pub(super) fn leads_to_us(path: &CStr, own: (u64, u64)) -> bool {
    let mut line = [0; 256];
    let mut copy;
    let mut next = path;
    for _ in 0..6 {
        let read = match open(next, libc::O_RDONLY | libc::O_NONBLOCK, own) {
            Ok(script) => file::read(script.as_fd(), &mut line[..255]),
            Err(Errno::ELOOP) => return true,
            // Executable but not readable: a program, or a script whose interpreter could not read it either.
            Err(_) => open(next, PATH, own).map(|_| 0),
        };
        let read = match read {
            Ok(read) => read,
            Err(e) => return e == Errno::ELOOP,
        };
        let Some(interpreter) = interpreter(&line[..read]) else { return false };
        copy = [0; 256];
        copy[..interpreter.len()].copy_from_slice(interpreter);
        let Ok(name) = CStr::from_bytes_until_nul(&copy) else { return true };
        next = name;
    }
    false
}

/// ELOOP: by a magic link; or our own file, when a filter older than openat2(2), of Linux 5.6, lets us see no more than that.
fn open(path: &CStr, flags: i32, own: (u64, u64)) -> Result<OwnedFd> {
    match file::open_in(file::cwd(), path, flags, Resolve::NoMagicLinks) {
        Err(Errno::EPERM | Errno::ENOSYS) => known(file::open_at(file::cwd(), path, flags)?, own),
        seen => seen,
    }
}

fn known(fd: OwnedFd, own: (u64, u64)) -> Result<OwnedFd> {
    if file::stat(fd.as_fd())?.id == own { Err(Errno::ELOOP) } else { Ok(fd) }
}

/// What stands behind `#!`, as the kernel cuts it.
fn interpreter(text: &[u8]) -> Option<&[u8]> {
    let line = text.strip_prefix(b"#!")?.split(|b| *b == b'\n' || *b == 0).next()?;
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    line.split(blank).find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    const NOBODY: (u64, u64) = (0, 0);

    #[test]
    fn without_openat2_codexruns_own_file_is_known_by_its_inode() {
        let open = |path| file::open_at(file::cwd(), path, PATH).unwrap();
        let own = file::stat(open(c"/proc/self/exe").as_fd()).unwrap().id;
        assert_eq!(known(open(c"/proc/self/exe"), own).unwrap_err(), Errno::ELOOP);
        assert!(known(open(c"/bin/sh"), own).is_ok());
    }

    #[test]
    fn a_command_that_is_codexruns_own_file_is_seen_through() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| CString::new(dir.path().join(name).as_os_str().as_bytes()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("plain", "#!/bin/sh\n");
        write("direct", "#!  /proc/self/exe run\n");
        write("nested", &format!("#!{}/direct\n", dir.path().display()));
        std::os::unix::fs::symlink("/proc/self/exe", dir.path().join("link")).unwrap();
        for (path, ours) in [(c"/bin/sh", false), (c"/proc/self/exe", true), (c"/nonexistent", false), (c"/etc", false)] {
            assert_eq!(leads_to_us(path, NOBODY), ours, "{path:?}");
        }
        for (name, ours) in [("plain", false), ("direct", true), ("nested", true), ("link", true)] {
            assert_eq!(leads_to_us(&at(name), NOBODY), ours, "{name}");
        }
    }
}
