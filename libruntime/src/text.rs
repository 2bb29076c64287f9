//! A small file, whole. `std::fs::read` asks for the size first and, where there is none to tell (/proc), grows by small steps. And a line
//! at the end of one.

use std::fs::OpenOptions;
use std::io::{Read, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What nearly every file that is read here fits in; what is not used of it is never touched.
const ROOM: usize = 16 * 1024;

/// The first `limit` bytes of the file: open(2), a read(2) or two, close(2). Of a FIFO what is in it: nobody is waited for.
pub fn read(file: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(ROOM);
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file);
    open?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

/// A file of /proc, whole, in which a process has its say: the name that it gives itself may hold any byte.
pub fn lossy(file: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(file, u64::MAX)?).into_owned())
}

/// Appends to a file, which is made if it is missing. It is no symbolic link, which a sandbox could have made where it writes, but in /dev
/// and /proc (`/dev/stderr`), and a FIFO keeps nobody waiting.
///
/// # Errors
/// ELOOP: it is a link. ENXIO: nobody reads the FIFO.
pub fn append(file: &Path, line: &str) -> Result<()> {
    let links = ["/dev", "/proc"].iter().any(|kernels| file.starts_with(kernels));
    let flags = libc::O_NONBLOCK | if links { 0 } else { libc::O_NOFOLLOW };
    OpenOptions::new().append(true).create(true).custom_flags(flags).open(file)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_appended_and_by_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (log, mine, fifo) = (dir.path().join("log"), dir.path().join("mine"), dir.path().join("fifo"));
        append(&log, "a\n").and_then(|()| append(&log, "b\n")).unwrap();
        assert_eq!(read(&log, 9).unwrap(), b"a\nb\n");
        std::fs::rename(&log, &mine).and_then(|()| std::os::unix::fs::symlink(&mine, &log)).unwrap();
        assert_eq!(append(&log, "c\n").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(read(&mine, 9).unwrap(), b"a\nb\n");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(append(&fifo, "d\n").unwrap_err().raw_os_error(), Some(libc::ENXIO));
        append(Path::new("/dev/fd/1"), "").unwrap();
    }

    #[test]
    fn a_file_is_read_to_its_end_or_to_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let long: Vec<u8> = (0..3 * ROOM).map(|n| n as u8).collect();
        std::fs::write(file.path(), &long).unwrap();
        assert_eq!(read(file.path(), u64::MAX).unwrap(), long);
        assert_eq!(read(file.path(), 7).unwrap(), long[..7]);
        let fifo = file.path().with_extension("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&fifo, u64::MAX).unwrap(), Vec::<u8>::new());
        std::fs::remove_file(&fifo).unwrap();
        assert!(!read(Path::new("/proc/self/mountinfo"), u64::MAX).unwrap().is_empty());
    }
}
