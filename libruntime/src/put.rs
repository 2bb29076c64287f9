//! A file that is written whole or not at all, and a line at the end of one; `std::fs::write` writes to whatever lies there.

use crate::sys::file::{Resolve, cwd, open_in};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How often a name is cleared that somebody else takes again.
const TRIES: usize = 16;

/// Makes a file, whole or not at all, in place of what has that name, which is neither opened nor followed. Until then it has no name at
/// all (open(2), O_TMPFILE): who is killed leaves nothing.
pub fn whole(file: &Path, text: &[u8], mode: u32) -> Result<()> {
    let dir = dir_of(file);
    match OpenOptions::new().write(true).mode(mode).custom_flags(libc::O_TMPFILE).open(dir) {
        Ok(mut new) => new.write_all(text).and_then(|()| name(&new, file)),
        // NFS, FUSE, an overlay before Linux 6.1.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => beside(file, text, mode),
        Err(e) => Err(e),
    }
}

fn dir_of(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// link(2) replaces nothing. Who goes on putting something there wants no file of ours.
fn name(new: &File, file: &Path) -> Result<()> {
    let unnamed = format!("/proc/self/fd/{}", new.as_raw_fd());
    let link = || linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, file, AtFlags::AT_SYMLINK_FOLLOW).map_err(Error::from);
    for _ in 1..TRIES {
        match link() {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => gone(fs::remove_file(file))?,
            done => return done,
        }
    }
    link()
}

/// Under a name that nobody can foresee, then renamed.
fn beside(file: &Path, text: &[u8], mode: u32) -> Result<()> {
    let new = file.with_file_name(format!(".codexrun-{:016x}", RandomState::new().hash_one(())));
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new);
    let done = made.and_then(|mut made| made.write_all(text)).and_then(|()| fs::rename(&new, file));
    // What cannot be removed was never there.
    done.inspect_err(|_| fs::remove_file(&new).unwrap_or(()))
}

/// A removal, of what somebody else may have removed before.
fn gone(removed: Result<()>) -> Result<()> {
    removed.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// Appends to a file, which is made if it is missing. It is no symbolic link, which a sandbox could have made where it writes, but in /dev
/// and /proc (`/dev/stderr`), and a FIFO keeps nobody waiting. `no_links`: nor does a link lie on the way; engines' ways have some (/var/run).
///
/// # Errors
/// ELOOP: it is a link. ENXIO: nobody reads the FIFO.
pub fn line(file: &Path, text: &str, no_links: bool) -> Result<()> {
    let append = |file: &Path, flags: i32| {
        let flags = libc::O_NONBLOCK | flags;
        OpenOptions::new().append(true).create(true).custom_flags(flags).open(file)?.write_all(text.as_bytes())
    };
    match (["/dev", "/proc"].iter().any(|kernels| file.starts_with(kernels)), file.file_name()) {
        (true, _) => append(file, 0),
        (false, Some(name)) if no_links => {
            let dir = CString::new(dir_of(file).as_os_str().as_bytes())?;
            let dir = open_in(cwd(), &dir, libc::O_PATH | libc::O_DIRECTORY, Resolve::HostNoLinks)?;
            append(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name), libc::O_NOFOLLOW)
        }
        (false, _) => append(file, libc::O_NOFOLLOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::read;

    #[test]
    fn a_line_is_appended_and_by_no_link() {
        for no_links in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (log, mine, fifo) = (dir.path().join("log"), dir.path().join("mine"), dir.path().join("fifo"));
            let append = |file: &Path, line: &str| super::line(file, line, no_links);
            append(&log, "a\n").and_then(|()| append(&log, "b\n")).unwrap();
            assert_eq!(read(&log, 9).unwrap(), b"a\nb\n");
            std::fs::rename(&log, &mine).and_then(|()| std::os::unix::fs::symlink(&mine, &log)).unwrap();
            assert_eq!(append(&log, "c\n").unwrap_err().raw_os_error(), Some(libc::ELOOP));
            assert_eq!(read(&mine, 9).unwrap(), b"a\nb\n");
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert_eq!(append(&fifo, "d\n").unwrap_err().raw_os_error(), Some(libc::ENXIO));
            append(Path::new("/dev/fd/1"), "").unwrap();
            std::os::unix::fs::symlink(dir.path(), dir.path().join("way")).unwrap();
            let by_a_link = append(&dir.path().join("way/mine"), "e\n");
            assert_eq!(by_a_link.map_err(|e| e.raw_os_error()), if no_links { Err(Some(libc::ELOOP)) } else { Ok(()) });
        }
    }

    #[test]
    fn a_file_is_put_in_place_of_a_link_a_fifo_and_a_file_and_nothing_lies_beside_it() {
        for way in [whole, beside] {
            let dir = tempfile::tempdir().unwrap();
            let (file, precious) = (dir.path().join("p"), dir.path().join("precious"));
            let mode = nix::sys::stat::Mode::S_IRWXU;
            let made: [&dyn Fn(); 3] = [
                &|| std::os::unix::fs::symlink(&precious, &file).unwrap(),
                &|| nix::unistd::mkfifo(&file, mode).unwrap(),
                &|| fs::write(&file, "old and longer").unwrap(),
            ];
            fs::write(&precious, "kept").unwrap();
            for make in made {
                make();
                way(&file, b"new", 0o600).unwrap();
                assert_eq!((fs::read(&file).unwrap(), fs::read(&precious).unwrap()), (b"new".to_vec(), b"kept".to_vec()));
                assert!(fs::symlink_metadata(&file).unwrap().is_file());
                fs::remove_file(&file).unwrap();
            }
            fs::create_dir(&file).unwrap();
            way(&file, b"new", 0o600).unwrap_err();
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_file_has_no_name_before_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let new = OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        name(&new, &dir.path().join("p")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
