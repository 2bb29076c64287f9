//! Sockets of the host that the policy grants, kept from before the sandbox's first instruction: what is put in their place later is
//! something else.

use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A socket, or a directory of sockets.
pub(super) struct Grant {
    /// Held, so that its number stays its own.
    place: OwnedFd,
    dir: bool,
}

/// A tree that is deeper has been made to keep us busy.
const DEEPEST: usize = 128;

impl Grant {
    /// `None`: there is nothing of that name, and so nothing is granted.
    pub fn pin(path: &Path) -> Result<Option<Grant>> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        let place = match file::open_in(file::cwd(), &path, libc::O_PATH, Resolve::HostNoLinks) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => return Ok(None),
            opened => opened?,
        };
        let dir = file::stat(place.as_fd())?.is_dir();
        Ok(Some(Grant { place, dir }))
    }

    pub fn descriptor(&self) -> RawFd {
        self.place.as_raw_fd()
    }

    /// Whether this socket is the one, or lies below the directory. `dir` finds its directory.
    pub fn covers(&self, socket: BorrowedFd, dir: impl FnOnce() -> Result<OwnedFd>) -> Result<bool> {
        match self.dir {
            false => Ok(file::stat(socket)?.id == self.id()?),
            true => dir().map_or(Ok(false), |dir| self.is_above(dir)),
        }
    }

    fn id(&self) -> Result<(u64, u64)> {
        file::stat(self.place.as_fd()).map(|stat| stat.id)
    }

    /// Whether it is this directory, or above it: by descriptors, as names may change meanwhile.
    fn is_above(&self, mut dir: OwnedFd) -> Result<bool> {
        let mut id = file::stat(dir.as_fd())?.id;
        for _ in 0..DEEPEST {
            if id == self.id()? {
                return Ok(true);
            }
            dir = file::open_at(dir.as_fd(), c"..", libc::O_PATH | libc::O_DIRECTORY)?;
            match file::stat(dir.as_fd())?.id {
                same if same == id => return Ok(false),
                above => id = above,
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_grant_is_of_one_socket_or_of_a_directory_and_outlives_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let names = ["one", "two"].map(|name| below.join(name));
        let _listeners = names.each_ref().map(|name| UnixListener::bind(name).unwrap());
        let open = |path: &Path| {
            let path = CString::new(path.as_os_str().as_bytes()).unwrap();
            file::open_at(file::cwd(), &path, libc::O_PATH).unwrap()
        };
        let covered = |grant: &Path, at: &Path| {
            let grant = Grant::pin(grant).unwrap().unwrap();
            grant.covers(open(at).as_fd(), || Ok(open(at.parent().unwrap()))).unwrap()
        };
        assert!(covered(&names[0], &names[0]) && !covered(&names[0], &names[1]));
        assert!(covered(&below, &names[0]) && covered(dir.path(), &names[1]) && !covered(&below, Path::new("/dev/null")));
        let grant = Grant::pin(&names[0]).unwrap().unwrap();
        std::fs::rename(&names[1], &names[0]).unwrap();
        assert_eq!(grant.covers(open(&names[0]).as_fd(), || Err(Errno::ENOENT)), Ok(false), "another socket of that name");
        assert!(Grant::pin(&below.join("none")).unwrap().is_none());
    }
}
