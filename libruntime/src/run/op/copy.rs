//! `tmpcopyup`: a fresh tmpfs gets a copy of what it is going to cover.

use super::place::PATH;
use crate::sys::file::{self, Stat};
use crate::sys::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Deeper trees than an image has; each level takes a buffer of the stack.
const DEPTH: usize = 128;
const BUFFER: usize = 4096;

/// Copies what is in `from` into `to`; names, not what links lead to. Of itself `to` has the mode and the owner of `from`, but for what
/// `is_said` by these options of a tmpfs.
pub(super) fn tree(from: BorrowedFd, to: BorrowedFd, is_said: impl Fn(&CStr) -> bool) -> Result<()> {
    let (covered, own) = (file::stat(from)?, file::stat(to)?);
    let from = file::open_at(from, c".", libc::O_RDONLY | libc::O_DIRECTORY)?;
    entries(from.as_fd(), to, DEPTH)?;
    let uid = if is_said(c"uid") { own.owner.0 } else { covered.owner.0 };
    let gid = if is_said(c"gid") { own.owner.1 } else { covered.owner.1 };
    file::chown_at(to, c".", (uid, gid))?;
    let mode = if is_said(c"mode") { own.mode } else { covered.mode };
    file::chmod_at(to, c".", mode & 0o7777)
}

fn entries(from: BorrowedFd, to: BorrowedFd, depth: usize) -> Result<()> {
    let depth = depth.checked_sub(1).ok_or(Errno::ELOOP)?;
    let mut buffer = [0; BUFFER];
    loop {
        let filled = file::entries(from, &mut buffer)?;
        if filled == 0 {
            return Ok(());
        }
        let mut rest = buffer.get(..filled).ok_or(Errno::EIO)?;
        while let Some((name, next)) = first(rest) {
            if name != c"." && name != c".." {
                entry(from, to, name, depth)?;
            }
            rest = next;
        }
    }
}

/// `struct linux_dirent64`: 8 bytes inode, 8 offset, 2 length, 1 type, the name.
pub fn first(entries: &[u8]) -> Option<(&CStr, &[u8])> {
    let len = usize::from(u16::from_ne_bytes([*entries.get(16)?, *entries.get(17)?]));
    let name = CStr::from_bytes_until_nul(entries.get(19..len)?).ok()?;
    Some((name, entries.get(len..)?))
}

fn entry(from: BorrowedFd, to: BorrowedFd, name: &CStr, depth: usize) -> Result<()> {
    let found = file::open_at(from, name, PATH | libc::O_NOFOLLOW)?;
    let stat = file::stat(found.as_fd())?;
    match stat.mode & libc::S_IFMT {
        libc::S_IFDIR => {
            file::mkdir_at(to, name, 0o700)?;
            let [from, to] =
                [from, to].map(|dir| file::open_at(dir, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW));
            entries(from?.as_fd(), to?.as_fd(), depth)?;
        }
        libc::S_IFREG => content(from, to, name)?,
        libc::S_IFLNK => return link(found, to, name, &stat),
        // A socket without its server is nothing.
        libc::S_IFSOCK => return Ok(()),
        _ => file::mknod_at(to, name, stat.mode, stat.device)?,
    }
    // The owner first: chown(2) clears the set-user-ID bit.
    file::chown_at(to, name, stat.owner)?;
    file::chmod_at(to, name, stat.mode & 0o7777)
}

fn content(from: BorrowedFd, to: BorrowedFd, name: &CStr) -> Result<()> {
    let from = file::open_at(from, name, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK)?;
    let to = file::create_at(to, name, 0o600)?;
    let (mut at, size) = (0, file::stat(from.as_fd())?.size);
    // A hole of terabytes takes no memory there, and none here.
    while let Some(extent) = file::extent(from.as_fd(), at)? {
        file::seek(from.as_fd(), extent.start)?;
        file::seek(to.as_fd(), extent.start)?;
        at = extent.start;
        while at < extent.end {
            match file::send(to.as_fd(), from.as_fd(), extent.end - at)? {
                0 => return Ok(()),
                sent => at += sent,
            }
        }
    }
    file::set_size(to.as_fd(), size)
}

fn link(link: OwnedFd, to: BorrowedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let mut text = [0; BUFFER];
    let len = file::read_link(link.as_fd(), &mut text[..BUFFER - 1])?;
    let text = CStr::from_bytes_until_nul(text.get(..=len).ok_or(Errno::ENAMETOOLONG)?).map_err(|_| Errno::ENAMETOOLONG)?;
    file::symlink_at(text, to, name)?;
    file::chown_at(to, name, stat.owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_is_copied_with_its_modes_and_links_and_links_are_not_followed() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| from.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/f"), vec![7; 100_000]).unwrap();
        std::fs::set_permissions(at("a/b/f"), PermissionsExt::from_mode(0o4711)).unwrap();
        std::fs::set_permissions(at("a"), PermissionsExt::from_mode(0o500)).unwrap();
        symlink("/etc", at("l")).unwrap();
        (0..500).for_each(|n| std::fs::write(at(&format!("many-{n}")), "").unwrap());
        let [f, t] = [&from, &to].map(|dir| std::fs::File::open(dir.path()).unwrap());
        std::fs::File::create(at("sparse")).and_then(|sparse| sparse.set_len(1 << 43)).unwrap();
        std::os::unix::fs::FileExt::write_at(&std::fs::File::options().write(true).open(at("sparse")).unwrap(), b"x", 1 << 42)
            .unwrap();
        tree(f.as_fd(), t.as_fd(), |_| false).unwrap();
        let at = |name: &str| to.path().join(name);
        assert_eq!(std::fs::read(at("a/b/f")).unwrap(), vec![7; 100_000]);
        let mode = |name: &str| at(name).symlink_metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("a/b/f"), mode("a")), (0o4711, 0o500));
        assert_eq!(std::fs::read_link(at("l")).unwrap(), std::path::Path::new("/etc"));
        assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 503);
        let sparse = at("sparse").metadata().unwrap();
        assert!(sparse.len() == 1 << 43 && std::os::unix::fs::MetadataExt::blocks(&sparse) < 64, "{sparse:?}");
    }
}
