//! Sockets of the host that the policy grants, kept from before the sandbox's first instruction: what is put in their place later is
//! something else.

use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All that is granted.
#[derive(Default)]
pub struct Grants {
    sockets: Vec<Grant>,
    /// TCP ports; none: all.
    ports: Option<Vec<u16>>,
    /// Where it is written who connects.
    book: Option<Arc<File>>,
}

impl Grants {
    /// Those of these paths that there are, and these ports.
    pub fn pin(paths: &[PathBuf], ports: Option<&[u16]>) -> Result<Grants> {
        let pinned = paths.iter().map(|path| Grant::pin(path)).collect::<Result<Vec<_>>>()?;
        Ok(Grants { sockets: pinned.into_iter().flatten().collect(), ports: ports.map(<[u16]>::to_vec), book: None })
    }

    /// The same, and who connects is written to this file, for the proxy that has made it.
    pub fn noted_in(self, book: Option<Arc<File>>) -> Grants {
        Grants { book, ..self }
    }

    pub(super) fn book(&self) -> Option<&File> {
        self.book.as_deref()
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let book = self.book.iter().map(|book| book.as_raw_fd());
        self.sockets.iter().map(|grant| grant.place.as_raw_fd()).chain(book)
    }

    /// Whether one of them is this socket, or a directory above it. `name` is its path, as the kernel tells it.
    pub(super) fn cover(&self, socket: BorrowedFd, name: &Path) -> Result<bool> {
        self.sockets.iter().try_fold(false, |covered, grant| Ok(covered || grant.covers(socket, name)?))
    }

    /// Whether a stream may be connected to this address, as Landlock judges it: what is no address of IP is not its affair (AF_UNSPEC
    /// dissolves a connection).
    pub(super) fn reach(&self, address: &[u8]) -> bool {
        let (Some(ports), [a, b, high, low, ..]) = (&self.ports, address) else { return true };
        let of_ip = [libc::AF_INET, libc::AF_INET6].contains(&i32::from(libc::sa_family_t::from_ne_bytes([*a, *b])));
        !of_ip || ports.contains(&u16::from_be_bytes([*high, *low]))
    }
}

/// A socket, or a directory of sockets.
struct Grant {
    /// Held, so that its number stays its own.
    place: OwnedFd,
    dir: bool,
}

/// A tree that is deeper has been made to keep us busy.
const DEEPEST: usize = 128;

impl Grant {
    /// `None`: there is nothing of that name, and so nothing is granted.
    fn pin(path: &Path) -> Result<Option<Grant>> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        let place = match file::open_in(file::cwd(), &path, libc::O_PATH, Resolve::HostNoLinks) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP) => return Ok(None),
            opened => opened?,
        };
        let dir = file::stat(place.as_fd())?.is_dir();
        Ok(Some(Grant { place, dir }))
    }

    /// Whether this socket is the one, or lies below the directory. `name` is its path, as the kernel tells it.
    fn covers(&self, socket: BorrowedFd, name: &Path) -> Result<bool> {
        let id = file::stat(socket)?.id;
        match self.dir {
            false => Ok(file::stat(self.place.as_fd())?.id == id),
            true => Ok(self.is_above(id, name)),
        }
    }

    /// Whether the end of the name leads to it from the directory, outside: a mount that the sandbox has made below it is not there.
    fn is_above(&self, id: (u64, u64), name: &Path) -> bool {
        let names: Vec<&OsStr> = name.iter().collect();
        (1..names.len()).rev().take(DEEPEST).any(|from| {
            let end: PathBuf = names[from..].iter().collect();
            let found = CString::new(end.into_os_string().into_vec()).map_err(|_| Errno::EINVAL).and_then(|end| {
                let found = file::open_in(self.place.as_fd(), &end, libc::O_PATH, Resolve::NoLinks)?;
                file::stat(found.as_fd())
            });
            found.is_ok_and(|found| found.id == id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_stream_is_connected_to_the_ports_that_are_named() {
        let to = |family: i32, port: u16| [(family as u16).to_ne_bytes(), port.to_be_bytes(), [127, 0], [0, 1]].concat();
        let (all, some) = (Grants::default(), Grants::pin(&[], Some(&[443])).unwrap());
        for family in [libc::AF_INET, libc::AF_INET6] {
            assert!(some.reach(&to(family, 443)) && !some.reach(&to(family, 80)) && all.reach(&to(family, 80)));
        }
        assert!(some.reach(&to(libc::AF_UNSPEC, 80)) && some.reach(&[2, 0, 0]), "the kernel's to refuse");
    }

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
            grant.covers(open(at).as_fd(), at).unwrap()
        };
        assert!(covered(&names[0], &names[0]) && !covered(&names[0], &names[1]));
        assert!(covered(&below, &names[0]) && covered(dir.path(), &names[1]) && !covered(&below, Path::new("/dev/null")));
        let elsewhere = Path::new("/b/one");
        let grant = Grant::pin(&below).unwrap().unwrap();
        assert_eq!(
            grant.covers(open(&names[0]).as_fd(), elsewhere),
            Ok(true),
            "by the end of another path to the same directory"
        );
        assert_eq!(grant.covers(open(Path::new("/dev/null")).as_fd(), &names[0]), Ok(false), "what is mounted over it inside");
        let grant = Grant::pin(&names[0]).unwrap().unwrap();
        std::fs::rename(&names[1], &names[0]).unwrap();
        assert_eq!(grant.covers(open(&names[0]).as_fd(), &names[0]), Ok(false), "another socket of that name");
        assert!(Grant::pin(&below.join("none")).unwrap().is_none());
    }
}
