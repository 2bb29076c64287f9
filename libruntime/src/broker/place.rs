//! A path of a caller's, as that caller would find it.

use super::errno;
use crate::mountinfo;
use crate::sys::file::{self, Resolve};
use crate::sys::process::Pid;
use crate::sys::{Errno, Result, inode};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

const DIR: i32 = libc::O_PATH | libc::O_DIRECTORY;

/// Finds `path` in the root, or from the working directory, of a thread. Magic links are not followed: they would be ours.
pub(super) fn find(thread: Pid, path: &[u8]) -> Result<OwnedFd> {
    let root = of(thread, "root", DIR)?;
    let c = |path: &[u8]| CString::new(path).map_err(|_| Errno::EINVAL);
    if path.starts_with(b"/") {
        return file::open_in(root.as_fd(), &c(path)?, libc::O_PATH, Resolve::InRoot);
    }
    match file::open_in(of(thread, "cwd", DIR)?.as_fd(), &c(path)?, libc::O_PATH, Resolve::Beneath) {
        // `..`, or a link to the root. That the directory may have moved meanwhile does no harm: the caller could name the whole path.
        Err(Errno::EXDEV) => {
            let cwd = std::fs::read_link(format!("/proc/{thread}/cwd")).map_err(errno)?;
            let whole = [cwd.into_os_string().into_encoded_bytes().as_slice(), b"/", path].concat();
            file::open_in(root.as_fd(), &c(&whole)?, libc::O_PATH, Resolve::InRoot)
        }
        found => found,
    }
}

/// What the kernel calls it: its path in the mount namespace in which it was found.
pub(super) fn name(place: BorrowedFd) -> Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd())).map_err(errno)
}

/// The number of a file as the kernel's listing of sockets has it: that of its file system, which stat(2) of btrfs does not tell, and 32
/// bits of the inode's.
pub(super) fn number(thread: Pid, place: BorrowedFd) -> Result<(u32, u32)> {
    let mount = inode::mount(place)?;
    let text = std::fs::read(format!("/proc/{thread}/mountinfo")).map_err(errno)?;
    let mounts = mountinfo::parse(&text);
    let (major, minor) = mounts.iter().find(|one| u64::from(one.id) == mount).ok_or(Errno::ECONNREFUSED)?.device;
    // MKDEV of the kernel's include/linux/kdev_t.h.
    Ok((major << 20 | minor, file::stat(place)?.id.1 as u32))
}

fn of(thread: Pid, what: &str, flags: i32) -> Result<OwnedFd> {
    let path = CString::new(format!("/proc/{thread}/{what}")).map_err(|_| Errno::EINVAL)?;
    file::open_at(file::cwd(), &path, flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_is_found_as_the_thread_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "").unwrap();
        symlink(&file, dir.path().join("l")).unwrap();
        let us = std::process::id() as Pid;
        let id = |path: &[u8]| find(us, path).and_then(|fd| file::stat(fd.as_fd())).map(|stat| stat.id);
        let here = std::env::current_dir().unwrap();
        let up = "../".repeat(here.components().count() - 1);
        let expected =
            file::stat(file::open_at(file::cwd(), &CString::new(file.to_str().unwrap()).unwrap(), libc::O_PATH).unwrap().as_fd());
        let expected = Ok(expected.unwrap().id);
        assert_eq!(id(file.to_str().unwrap().as_bytes()), expected);
        assert_eq!(id(dir.path().join("l").to_str().unwrap().as_bytes()), expected);
        let relative = format!("{up}{}", file.to_str().unwrap().trim_start_matches('/'));
        assert_eq!(id(relative.as_bytes()), expected);
        assert_eq!(id(b"no/such"), Err(Errno::ENOENT));
        assert_eq!(id(b"/proc/self/exe"), Err(Errno::ELOOP));
    }
}
