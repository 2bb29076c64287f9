//! The directories below a cgroup. A container with a writable cgroup may have nested them deeper than a path can say, and deeper than there
//! are descriptors: they are gone through by their names alone, one open at a time.

use crate::listing::again;
use nix::dir::{Dir, Type};
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString, OsStr};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// More than a machine has: who makes them faster than we look is not followed for ever.
const MOST: usize = 1 << 20;

/// A directory of the walk.
pub(super) struct Place<'a> {
    pub dir: BorrowedFd<'a>,
    top: &'a Path,
    levels: &'a [Level],
}

/// One that is open, or above the one that is.
struct Level {
    /// Its name in the one above; empty at the top.
    name: CString,
    id: (u64, u64),
    /// What is still to be gone into.
    below: Vec<CString>,
}

impl Place<'_> {
    /// As sentences say it, and who wants to find it again.
    pub fn path(&self) -> PathBuf {
        let names = self.levels.iter().skip(1).map(|level| OsStr::from_bytes(level.name.as_bytes()));
        std::iter::once(self.top.as_os_str()).chain(names).collect()
    }
}

/// Visits the directories below, deepest first, and the directory itself last, until `visit` has something. What vanishes meanwhile is not
/// there.
///
/// # Errors
/// Of `visit`; a directory cannot be opened or listed, or there is no end of them.
pub(super) fn find<T>(top: &Path, mut visit: impl FnMut(&Place) -> Result<Option<T>>) -> Result<Option<T>> {
    walk(top, &mut visit, &mut |_, _| Ok(()))
}

/// Removes it with all that is below it.
pub(super) fn remove(top: &Path) -> Result<()> {
    walk(top, &mut |_| Ok(None::<()>), &mut |above, name| {
        gone(again(|| Ok(unlinkat(above, name, UnlinkatFlags::RemoveDir)?))).map(drop)
    })?;
    gone(std::fs::remove_dir(top)).map(drop)
}

/// `None` of what is not there.
fn gone<T>(done: std::result::Result<T, impl Into<Error>>) -> Result<Option<T>> {
    match done.map_err(Into::into) {
        Ok(value) => Ok(Some(value)),
        // ENODEV is what files of a cgroup say that was removed while they were open.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
        Err(e) => Err(e),
    }
}

fn walk<T>(
    top: &Path,
    visit: &mut dyn FnMut(&Place) -> Result<Option<T>>,
    left: &mut dyn FnMut(BorrowedFd, &CStr) -> Result<()>,
) -> Result<Option<T>> {
    let Some(mut dir) = gone(open(AT_FDCWD, top))? else { return Ok(None) };
    let mut levels = vec![level(&mut dir, CString::default())?];
    let mut seen = 1;
    while let Some(here) = levels.last_mut() {
        if let Some(name) = here.below.pop() {
            let Some(mut child) = gone(open(dir.as_fd(), name.as_c_str()))? else { continue };
            levels.push(level(&mut child, name)?);
            dir = child;
            seen += 1;
            if seen > MOST {
                return Err(Error::other(format!("there are more than {MOST} directories")));
            }
            continue;
        }
        if let Some(found) = visit(&Place { dir: dir.as_fd(), top, levels: &levels })? {
            return Ok(Some(found));
        }
        let (Some(done), Some(above)) = (levels.pop(), levels.last()) else { continue };
        let parent = open(dir.as_fd(), c"..")?;
        if id(&parent)? != above.id {
            return Err(Error::new(ErrorKind::NotFound, "a directory was moved away"));
        }
        left(parent.as_fd(), &done.name)?;
        dir = parent;
    }
    Ok(None)
}

fn open<P: ?Sized + nix::NixPath>(above: impl AsFd, name: &P) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    again(|| Ok(nix::fcntl::openat(&above, name, flags, Mode::empty())?))
}

fn id(dir: &OwnedFd) -> Result<(u64, u64)> {
    let stat = fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn level(dir: &mut OwnedFd, name: CString) -> Result<Level> {
    Ok(Level { name, id: id(dir)?, below: again(|| directories(dir))? })
}

fn directories(dir: &OwnedFd) -> Result<Vec<CString>> {
    // Its own description: the place in the list is that one's.
    let Some(mut listed) = gone(Dir::openat(dir, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()))?
    else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    for entry in listed.iter() {
        let Some(entry) = gone(entry)? else { break };
        let name = entry.file_name();
        if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
            all.push(name.to_owned());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::mkdirat;

    /// So many, one in the other.
    fn nested(top: &Path, name: &str, depth: usize) {
        let mut dir = open(AT_FDCWD, top).unwrap();
        for _ in 0..depth {
            mkdirat(&dir, name, Mode::S_IRWXU).unwrap();
            dir = open(&dir, name).unwrap();
        }
    }

    #[test]
    fn what_is_nested_deeper_than_a_path_can_say_is_found_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("b/c")).unwrap();
        nested(&top, &"x".repeat(250), 40);
        nested(&top.join("b"), "y", 3000);
        let (mut seen, mut deepest) = (0, PathBuf::new());
        let all = find(&top, |place| {
            seen += 1;
            deepest = std::mem::take(&mut deepest).max(place.path());
            Ok(None::<()>)
        });
        assert!(all.unwrap().is_none());
        assert_eq!((seen, deepest), (1 + 2 + 40 + 3000, top.join(vec!["x".repeat(250); 40].join("/"))));
        remove(&top).unwrap();
        assert!(!top.exists());
        remove(&top).unwrap();
    }

    /// The test above once more, by a process that may have a few open.
    #[test]
    fn one_directory_is_open_at_a_time() {
        let name = "cgroup::tree::tests::what_is_nested_deeper_than_a_path_can_say_is_found_and_removed";
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 32 && exec \"$0\" --exact \"$1\""]).arg(std::env::current_exe().unwrap()).arg(name);
        let said = limited.output().unwrap();
        assert!(String::from_utf8_lossy(&said.stdout).contains("1 passed"), "{said:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_listed_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(find(&dir.path().join("file"), |_| Ok(None::<()>)).is_err());
        assert!(find(&dir.path().join("none"), |_| Ok(None::<()>)).unwrap().is_none());
    }
}
