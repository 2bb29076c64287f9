//! `HOME`, as the container's own /etc/passwd has it. The file is the image's: it is read as bytes, and whatever it is, it says no
//! more than one word.

use super::super::child::Child;
use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd};

/// A longer line is nobody's.
const LINE: usize = 4096;

/// What lies behind is not looked at: the file may be a hole without end.
const LIMIT: usize = 16 << 20;

/// Adds `HOME` to the environment.
pub(super) fn add(uid: u32, child: &mut Child) -> Result<()> {
    let mut line = [0; LINE];
    let home = match passwd() {
        Ok(passwd) => find(passwd.as_fd(), uid, &mut line)?,
        Err(_) => None,
    };
    match child.env.add(&[b"HOME=", home.unwrap_or(b"/")]) {
        Err(Errno::ENAMETOOLONG) => child.env.add(&[b"HOME=/"]),
        done => done,
    }
}

/// A pipe or a device of that name says nothing.
fn passwd() -> Result<std::os::fd::OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let passwd = file::open_in(file::cwd(), c"/etc/passwd", flags, Resolve::NoMagicLinks)?;
    if file::stat(passwd.as_fd())?.is_file() { Ok(passwd) } else { Err(Errno::EINVAL) }
}

/// The home of the first line with this uid; `line` is where that line is left.
fn find<'a>(passwd: BorrowedFd, uid: u32, line: &'a mut [u8; LINE]) -> Result<Option<&'a [u8]>> {
    let (mut chunk, mut len) = ([0; LINE], 0);
    for _ in 0..LIMIT / LINE {
        let read = file::read(passwd, &mut chunk)?;
        // A last line may lack its end.
        let text = if read == 0 { &b"\n"[..] } else { &chunk[..read] };
        for byte in text {
            if *byte != b'\n' {
                line[len.min(LINE - 1)] = *byte;
                len += 1;
            } else if len < LINE && home(&line[..len], uid).is_some() {
                return Ok(home(&line[..len], uid));
            } else {
                len = 0;
            }
        }
        if read == 0 {
            break;
        }
    }
    Ok(None)
}

/// passwd(5): name, password, uid, gid, comment, home, shell. An empty home is none.
pub fn home(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|byte| *byte == b':');
    let number = std::str::from_utf8(fields.nth(2)?).ok()?.parse::<u32>().ok()?;
    fields.nth(2).filter(|home| number == uid && !home.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_that_uid_says_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let long = "x".repeat(2 * LINE);
        let text = format!(
            "root:x:0:0:root:/root:/bin/sh\n{long}:x:7:7::/long:\nno line\n\na:x:7:7::/a:\nb:x:7:7::/b:\nc:x:8:8:::\nd:x:9:9::/d"
        );
        std::fs::write(&path, text).unwrap();
        for (uid, wanted) in [(0, Some("/root")), (7, Some("/a")), (8, None), (9, Some("/d")), (1, None)] {
            let file = std::fs::File::open(&path).unwrap();
            assert_eq!(find(file.as_fd(), uid, &mut [0; LINE]).unwrap(), wanted.map(str::as_bytes), "{uid}");
        }
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        assert_eq!(find(file.as_fd(), 0, &mut [0; LINE]).unwrap(), None);
        assert_eq!(std::io::Seek::stream_position(&mut file).unwrap(), LIMIT as u64);
    }
}
