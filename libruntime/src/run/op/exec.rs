//! The last operation: execve(2).

use super::super::child::Child;
use super::place::PATH;
use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result, process};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The program is there, and what its `#!` line or its PT_INTERP names is not.
pub const NO_INTERPRETER: Errno = Errno::ELIBACC;

/// As execvp(3): the first candidate that is there; one that may not be executed is remembered, and the search goes on.
pub(super) fn exec(candidates: &[std::ffi::CString], child: &Child) -> Errno {
    let mut error = Errno::ENOENT;
    for path in candidates {
        if leads_to_us(path, child.own) {
            return Errno::ELOOP;
        }
        match process::exec(path, &child.args, &child.env) {
            // execve(2): of an interpreter that is not there it says the same.
            Errno::ENOENT if exists(path) => return NO_INTERPRETER,
            // Of a name that is one path; of $PATH it is no entry.
            Errno::ENOTDIR if candidates.len() == 1 => error = Errno::ENOTDIR,
            Errno::ENOENT | Errno::ENOTDIR => {}
            // A directory of $PATH that cannot be searched holds nothing; a file that is there is what was meant.
            Errno::EACCES if candidates.len() == 1 || exists(path) => error = Errno::EACCES,
            Errno::EACCES => {}
            other => return other,
        }
    }
    error
}

/// What [`exec`] would do, as far as it can be said beforehand: which program it is, or why there is none that may be executed.
pub(super) fn find(candidates: &[std::ffi::CString]) -> Result<&CStr> {
    let mut error = Errno::ENOENT;
    for path in candidates {
        let program = match file::open_at(file::cwd(), path, PATH) {
            Ok(program) => program,
            Err(Errno::ENOENT | Errno::ENOTDIR) if candidates.len() > 1 => continue,
            // A directory of $PATH that cannot be searched holds nothing.
            Err(Errno::EACCES) if candidates.len() > 1 => continue,
            Err(errno) => return Err(errno),
        };
        match file::executable(path) {
            // A filter is older than faccessat2(2), of Linux 5.8, and refuses the question: execve(2) will tell.
            Ok(()) | Err(Errno::EPERM | Errno::ENOSYS) if file::stat(program.as_fd())?.is_file() => return Ok(path),
            Ok(()) | Err(Errno::EACCES | Errno::EPERM | Errno::ENOSYS) => error = Errno::EACCES,
            Err(errno) => return Err(errno),
        }
    }
    Err(error)
}

fn exists(path: &CStr) -> bool {
    file::open_at(file::cwd(), path, PATH).is_ok()
}

/// CVE-2019-5736: `/proc/self/exe`, as the command or as the interpreter of a script or of an ELF file, is codexrun's own file on the
/// host, through a mount that the container's is not: it could be changed from inside. As deep as the kernel follows scripts.
pub(super) fn leads_to_us(path: &CStr, own: (u64, u64)) -> bool {
    let mut head = [0; HEAD];
    let mut copy;
    let mut next = path;
    for _ in 0..6 {
        let mut found = [0; 256];
        let read = match open(next, libc::O_RDONLY | libc::O_NONBLOCK, own) {
            Ok(script) => {
                file::read(script.as_fd(), &mut head).inspect(|read| elf_interpreter(script.as_fd(), &head[..*read], &mut found))
            }
            Err(Errno::ELOOP) => return true,
            // Executable but not readable: a program, or a script whose interpreter could not read it either.
            Err(_) => open(next, PATH, own).map(|_| 0),
        };
        let read = match read {
            Ok(read) => read,
            Err(e) => return e == Errno::ELOOP,
        };
        match interpreter(&head[..read.min(LINE)]) {
            Some(interpreter) => found[..interpreter.len()].copy_from_slice(interpreter),
            None if found[0] == 0 => return false,
            None => {}
        }
        copy = found;
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

/// As much of a `#!` line as the kernel looks at (BINPRM_BUF_SIZE), less its end.
const LINE: usize = 255;
/// What is read of a file at first: of most ELF files the program headers too, and the name of the interpreter.
const HEAD: usize = 1024;

/// What stands behind `#!`, as the kernel cuts it.
pub fn interpreter(text: &[u8]) -> Option<&[u8]> {
    let line = text.strip_prefix(b"#!")?.split(|b| *b == b'\n' || *b == 0).next()?;
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    line.split(blank).find(|word| !word.is_empty())
}

/// Where an ELF file of 32 or 64 bits says what it needs, elf(5): of the file the offset of the program headers (and its width), their
/// number, the size of each; of a header the offset and size of its segment.
struct Elf {
    width: usize,
    headers: usize,
    count: usize,
    header: usize,
    offset: usize,
    size: usize,
}

const ELF: [Elf; 2] = [
    Elf { width: 4, headers: 28, count: 44, header: 32, offset: 4, size: 16 },
    Elf { width: 8, headers: 32, count: 56, header: 56, offset: 8, size: 32 },
];

const PT_INTERP: u64 = 3;
/// The kernel reads no more than 64 KiB of program headers.
const MOST: u64 = 65536 / 32;

/// The PT_INTERP of an ELF file, which the kernel opens while /proc/self/exe is still ours. Puts nothing where there is none.
pub fn elf_interpreter(file: BorrowedFd, head: &[u8], path: &mut [u8; 256]) {
    let Some(elf) = head.strip_prefix(b"\x7fELF").and_then(|rest| ELF.get(usize::from(*rest.first()?).wrapping_sub(1))) else {
        return;
    };
    let (first, count) = (number(head, elf.headers, elf.width), number(head, elf.count, 2).min(MOST));
    let mut header = [0; 56];
    for n in 0..count {
        let at = first.wrapping_add(n * elf.header as u64);
        if read_at(file, head, &mut header[..elf.header], at) != Ok(elf.header) {
            return;
        }
        if number(&header, 0, 4) == PT_INTERP {
            let size = number(&header, elf.size, elf.width).min(path.len() as u64) as usize;
            // What cannot be read is not what the kernel would take.
            if read_at(file, head, &mut path[..size], number(&header, elf.offset, elf.width)) != Ok(size) {
                *path = [0; 256];
            }
            return;
        }
    }
}

/// From what has been read already, when it is there.
fn read_at(file: BorrowedFd, head: &[u8], bytes: &mut [u8], at: u64) -> Result<usize> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    match head.get(start..start.saturating_add(bytes.len())) {
        Some(known) => {
            bytes.copy_from_slice(known);
            Ok(bytes.len())
        }
        None => file::read_at(file, bytes, at),
    }
}

/// A number of `width` bytes in this machine's order; 0 when it is not there.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut all = [0; 8];
    if let Some(found) = bytes.get(at..at + width) {
        all[..width].copy_from_slice(found);
    }
    u64::from_le_bytes(all)
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
        for (name, interpreter) in [("elf", "/proc/self/exe\0"), ("ordinary elf", "/bin/true\0"), ("broken elf", "")] {
            // Of 64 bits, with one program header behind the file's own.
            let mut elf = [0_u8; 120];
            elf[..5].copy_from_slice(b"\x7fELF\x02");
            (elf[32], elf[56], elf[64]) = (64, 1, 3);
            (elf[72], elf[96]) = (120, interpreter.len() as u8);
            std::fs::write(dir.path().join(name), [&elf, interpreter.as_bytes()].concat()).unwrap();
        }
        for (path, ours) in [(c"/bin/sh", false), (c"/proc/self/exe", true), (c"/nonexistent", false), (c"/etc", false)] {
            assert_eq!(leads_to_us(path, NOBODY), ours, "{path:?}");
        }
        for ours in ["direct", "nested", "link", "elf"] {
            assert!(leads_to_us(&at(ours), NOBODY), "{ours}");
        }
        for other in ["plain", "ordinary elf", "broken elf"] {
            assert!(!leads_to_us(&at(other), NOBODY), "{other}");
        }
    }
}
