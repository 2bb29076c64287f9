//! Makes the missing part of a path inside the root, also behind links that lead to what is missing: component by component, each
//! opened by openat2(2) from the root's descriptor, so that no link and no racing rename leads out (CVE-2021-30465, CVE-2024-45310).

use super::place::{DIR, PATH, exists_is_fine, touch};
use crate::sys::file::{self, Resolve};
use crate::sys::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// PATH_MAX, the most that a path can have.
const MAX: usize = 4096;
/// As many links as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// What becomes of the last component when it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Last {
    Dir,
    File,
    /// It is left alone: only its directory is wanted.
    Left,
}

/// Bytes with room to grow, without an allocation.
struct Text {
    bytes: [u8; MAX],
    len: usize,
}

impl Text {
    fn new(text: &[u8]) -> Result<Self> {
        let mut new = Text { bytes: [0; MAX], len: 0 };
        new.push(text)?;
        Ok(new)
    }

    fn push(&mut self, text: &[u8]) -> Result<()> {
        // One byte stays for the NUL.
        let room =
            self.bytes.get_mut(self.len..MAX - 1).and_then(|rest| rest.get_mut(..text.len())).ok_or(Errno::ENAMETOOLONG)?;
        room.copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }

    fn cut(&mut self, len: usize) {
        self.bytes[len..self.len].fill(0);
        self.len = len;
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn c(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::EINVAL)
    }
}

/// The way so far and the way to go. `done` holds no links, so that `..` is its parent.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    resolve: Resolve,
    done: Text,
    todo: Text,
    links: usize,
}

/// Goes to `path`; with [`Last::Left`] to its directory, following every link but the last component.
pub(in crate::run) fn walk(root: BorrowedFd, path: &CStr, resolve: Resolve, last: Last) -> Result<OwnedFd> {
    let mut walk = Walk { root, resolve, done: Text::new(b"/")?, todo: Text::new(path.to_bytes())?, links: 0 };
    while let Some((start, end)) = walk.next() {
        let is_last = walk.todo.text()[end..].iter().all(|b| *b == b'/');
        if is_last && last == Last::Left {
            break;
        }
        walk.step(start, end, if is_last { last } else { Last::Dir })?;
    }
    file::open_in(root, walk.done.c()?, PATH, resolve)
}

impl Walk<'_> {
    /// Where the next component stands in `todo`.
    fn next(&self) -> Option<(usize, usize)> {
        let text = self.todo.text();
        let start = text.iter().position(|b| *b != b'/')?;
        let end = text[start..].iter().position(|b| *b == b'/').map_or(text.len(), |n| start + n);
        Some((start, end))
    }

    fn step(&mut self, start: usize, end: usize, missing: Last) -> Result<()> {
        let before = self.done.len;
        let name = &self.todo.text()[start..end];
        match name {
            b"." => {}
            b".." => self.done.cut(self.done.text().iter().rposition(|b| *b == b'/').map_or(1, |slash| slash.max(1))),
            name => {
                let slash: &[u8] = if before > 1 { b"/" } else { b"" };
                self.done.push(slash)?;
                self.done.push(name)?;
                if let Some(link) = self.open_or_make(before, missing)? {
                    self.done.cut(before);
                    return self.follow(link.as_fd(), end);
                }
            }
        }
        self.forget(end)
    }

    /// A link, when it is one.
    fn open_or_make(&self, parent: usize, missing: Last) -> Result<Option<OwnedFd>> {
        let open = || file::open_in(self.root, self.done.c()?, PATH | libc::O_NOFOLLOW, self.resolve);
        let found = match open() {
            Err(Errno::ENOENT) => self.make(parent, missing).and_then(|()| open()),
            other => other,
        }?;
        let is_link = file::stat(found.as_fd())?.mode & libc::S_IFMT == libc::S_IFLNK;
        if is_link && self.resolve != Resolve::InRoot {
            return Err(Errno::ELOOP);
        }
        Ok(is_link.then_some(found))
    }

    fn make(&self, parent: usize, missing: Last) -> Result<()> {
        let dir = Text::new(&self.done.text()[..parent])?;
        let name = &self.done.text()[parent..];
        let name = Text::new(name.strip_prefix(b"/").unwrap_or(name))?;
        let dir = file::open_in(self.root, dir.c()?, DIR, self.resolve)?;
        match missing {
            Last::Dir => exists_is_fine(file::mkdir_at(dir.as_fd(), name.c()?, 0o755)),
            Last::File => touch(dir.as_fd(), name.c()?),
            Last::Left => Err(Errno::ENOENT),
        }
    }

    /// Puts the link's text in front of what is left.
    fn follow(&mut self, link: BorrowedFd, end: usize) -> Result<()> {
        self.links += 1;
        if self.links > LINKS {
            return Err(Errno::ELOOP);
        }
        let mut buffer = [0; MAX];
        let len = file::read_link(link, &mut buffer)?;
        let mut todo = Text::new(buffer.get(..len).ok_or(Errno::ENAMETOOLONG)?)?;
        if buffer[0] == b'/' {
            self.done.cut(1);
        }
        todo.push(b"/")?;
        todo.push(&self.todo.text()[end..])?;
        self.todo = todo;
        Ok(())
    }

    fn forget(&mut self, end: usize) -> Result<()> {
        self.todo = Text::new(&self.todo.text()[end..])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A directory with a root in it, so that "outside" can be looked at.
    fn scene() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        let root = std::fs::File::open(dir.path().join("root")).unwrap().into();
        (dir, root)
    }

    fn go(root: &OwnedFd, path: &CStr, last: Last) -> Result<OwnedFd> {
        walk(root.as_fd(), path, Resolve::InRoot, last)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn directories_and_a_file_are_made() {
        let (dir, root) = scene();
        go(&root, c"/a/b/c", Last::Dir).unwrap();
        go(&root, c"/a/b/f", Last::File).unwrap();
        assert!(dir.path().join("root/a/b/c").is_dir() && dir.path().join("root/a/b/f").is_file());
    }

    #[test]
    fn what_a_link_leads_to_is_made_inside() {
        let (dir, root) = scene();
        let at = |name: &str| dir.path().join("root").join(name);
        symlink("/outside", at("absolute")).unwrap();
        symlink("../../../outside", at("climbing")).unwrap();
        symlink(dir.path().join("outside"), at("whole")).unwrap();
        symlink("absolute/x/../y", at("chain")).unwrap();
        for path in [c"/absolute/new", c"/climbing/new", c"/whole/new", c"/chain/new"] {
            go(&root, path, Last::File).unwrap();
        }
        assert_eq!(names(&dir.path().join("outside")), [""; 0]);
        assert_eq!(names(&at("outside")), ["new", "x", "y"]);
        assert!(at("outside/y/new").is_file());
        let whole = dir.path().join("outside/new");
        assert!(at(whole.strip_prefix("/").unwrap().to_str().unwrap()).is_file());
    }

    #[test]
    fn a_dangling_link_at_the_end_gets_its_target() {
        let (dir, root) = scene();
        symlink("../run/resolve/stub.conf", dir.path().join("root/resolv.conf")).unwrap();
        go(&root, c"/resolv.conf", Last::File).unwrap();
        assert!(dir.path().join("root/run/resolve/stub.conf").is_file());
    }

    #[test]
    fn the_directory_alone_may_be_wanted() {
        let (dir, root) = scene();
        go(&root, c"/dev/snd/seq", Last::Left).unwrap();
        assert_eq!(names(&dir.path().join("root/dev/snd")), [""; 0]);
    }

    #[test]
    fn circles_and_forbidden_links_end_with_eloop() {
        let (dir, root) = scene();
        symlink("b", dir.path().join("root/a")).unwrap();
        symlink("a", dir.path().join("root/b")).unwrap();
        assert_eq!(go(&root, c"/a/x", Last::Dir).err(), Some(Errno::ELOOP));
        symlink("c", dir.path().join("root/l")).unwrap();
        assert_eq!(walk(root.as_fd(), c"/l/x", Resolve::NoLinks, Last::Dir).err(), Some(Errno::ELOOP));
        assert_eq!(names(&dir.path().join("root")), ["a", "b", "l"]);
    }
}
