//! A small file, whole. `std::fs::read` asks for the size first and, where there is none to tell (/proc), grows by small steps.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What nearly every file that is read here fits in; what is not used of it is never touched.
const ROOM: usize = 16 * 1024;
/// The largest that anybody gives in earnest are a few hundred KiB.
pub const LIMIT: u64 = 16 << 20;

/// The first `limit` bytes of the file: open(2), a read(2) or two, close(2). Of a FIFO what is in it: nobody is waited for.
pub fn read(file: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(ROOM);
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file);
    open?.take(limit).read_to_end(&mut text)?;
    Ok(text)
}

/// All of what a caller gives, a file or a pipe.
///
/// # Errors
/// It is larger than 16 MiB, which is a mistake or an attack.
pub fn bounded(given: impl Read) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    given.take(LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LIMIT { Err(Error::new(ErrorKind::FileTooLarge, "larger than 16 MiB")) } else { Ok(text) }
}

/// A file of /proc, whole, in which a process has its say: the name that it gives itself may hold any byte.
pub fn lossy(file: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(file, u64::MAX)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_has_no_end_is_not_read_to_its_end() {
        assert_eq!(bounded(std::io::repeat(0)).unwrap_err().to_string(), "larger than 16 MiB");
        assert_eq!(bounded(std::io::repeat(7).take(LIMIT)).unwrap().len() as u64, LIMIT);
    }
}
