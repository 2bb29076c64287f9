//! Where the container's mounts lie: their places with links followed, in a container that runs and in a root that is to be restored,
//! where criu wants every mount point to be there.

use super::super::launch::setup;
use super::super::op::walk::{Last, walk};
use super::external::{Placed, Put, What, deepest};
use crate::plan::place::{At, c_path};
use crate::sys::file::{self, Resolve};
use crate::{Error, Result};
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The places in the root that `/proc/PID/root` is.
pub(super) fn of_process<'a>(pid: i32, puts: &[Put<'a>]) -> Result<Vec<Placed<'a>>> {
    let root = c_path(&PathBuf::from(format!("/proc/{pid}/root")))?;
    let root = file::open_at(file::cwd(), &root, libc::O_PATH).map_err(|e| setup("open the container's root", e))?;
    Ok(puts.iter().map(|put| Placed { path: seen(root.as_fd(), put), what: put.what }).collect())
}

/// What cannot be opened is where the plan says.
fn seen(root: BorrowedFd, put: &Put) -> PathBuf {
    let found = file::open_in(root, &put.at.path, libc::O_PATH, Resolve::InRoot).ok().and_then(|at| name(&at));
    with_node(found.unwrap_or_else(|| as_path(&put.at.path)), put)
}

fn with_node(at: PathBuf, put: &Put) -> PathBuf {
    put.node.map_or(at.clone(), |node| at.join(OsStr::from_bytes(node.to_bytes())))
}

/// Makes what is missing in the root, and in the sources of binds; what lies in a file system of the container's own criu makes. With
/// each place the source of a bind.
pub(super) fn make<'a>(root: &Path, puts: &[Put<'a>]) -> Result<Vec<(Placed<'a>, Option<PathBuf>)>> {
    // As the plan says them, to find what lies over what.
    let said: Vec<Placed> = puts.iter().map(|put| Placed { path: as_path(&put.at.path), what: put.what }).collect();
    let mut all: Vec<(Placed, Option<PathBuf>)> = Vec::new();
    for (put, wanted) in puts.iter().zip(&said) {
        let source = source(put.what)?;
        let dir = put.node.is_none() && source.as_ref().is_none_or(|source| source.is_dir());
        let over = deepest(&said[..all.len()], &wanted.path);
        let over = over.and_then(|over| said[..all.len()].iter().rposition(|other| other == over));
        let ground = match over.and_then(|i| all.get(i).zip(said.get(i))) {
            None => Some(Ground { dir: root, said: Path::new("/"), real: Path::new("/") }),
            Some(((real, Some(dir)), said)) => Some(Ground { dir, said: &said.path, real: &real.path }),
            Some(((_, None), _)) => None,
        };
        let path = match ground.filter(|_| put.what != What::Mask) {
            Some(ground) => ground.make(put.at, &wanted.path, dir)?,
            None => wanted.path.clone(),
        };
        all.push((Placed { path: with_node(path, put), what: put.what }, source));
    }
    Ok(all)
}

/// A directory of the host in which a mount point lies, and where it is in the container: as the plan says it, and with links followed.
struct Ground<'a> {
    dir: &'a Path,
    said: &'a Path,
    real: &'a Path,
}

impl Ground<'_> {
    fn make(&self, at: &At, wanted: &Path, dir: bool) -> Result<PathBuf> {
        let Some(below) = wanted.strip_prefix(self.said).ok().filter(|below| *below != Path::new("")) else {
            return Ok(self.real.to_owned());
        };
        let cannot = |e| setup(&format!("make the mount point `{}` in `{}`", wanted.display(), self.dir.display()), e);
        let open = file::open_at(file::cwd(), &c_path(self.dir)?, libc::O_PATH | libc::O_DIRECTORY).map_err(cannot)?;
        let last = if dir { Last::Dir } else { Last::File };
        let made = walk(open.as_fd(), &c_path(&Path::new("/").join(below))?, at.resolve, last).map_err(cannot)?;
        let found = name(&made).zip(name(&open)).and_then(|(made, open)| Some(self.real.join(made.strip_prefix(open).ok()?)));
        Ok(found.unwrap_or_else(|| wanted.to_owned()))
    }
}

/// With links followed, so that mounts below it are found.
fn source(what: What) -> Result<Option<PathBuf>> {
    let What::Bind(first, other) = what else { return Ok(None) };
    let all = [Some(first), other].into_iter().flatten().map(as_path);
    let found = all.map(|path| path.canonicalize().map_err(|e| (path, e)));
    let found = found.reduce(Result::or);
    let missing = |(path, e): (PathBuf, std::io::Error)| Error::new(format!("cannot bind `{}`", path.display())).cause(e);
    found.transpose().map_err(missing)
}

/// As the kernel names what a descriptor refers to (proc_pid_fd(5)).
fn name(fd: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()
}

fn as_path(path: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn at(path: &str) -> At {
        At::new(Path::new(path), Resolve::InRoot, false).unwrap()
    }

    #[test]
    fn missing_mount_points_are_made_where_their_links_lead() {
        let dir = tempfile::tempdir().unwrap();
        let (root, source) = (dir.path().join("root"), dir.path().join("source"));
        fs::create_dir_all(root.join("real")).unwrap();
        fs::create_dir(&source).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/real", root.join("link")).unwrap();
        let (source_name, file) = (c_path(&source).unwrap(), c_path(&dir.path().join("file")).unwrap());
        let places = [at("/link/data"), at("/link/data/file"), at("/tmp"), at("/tmp/inner"), at("/tmp/mask")];
        let bind = |name| What::Bind(name, None);
        let whats = [bind(&*source_name), bind(&*file), What::Own, What::Own, What::Mask];
        let puts: Vec<Put> = places.iter().zip(whats).map(|(at, what)| Put { at, node: None, what }).collect();
        let made = make(&root, &puts).unwrap();
        let paths: Vec<_> = made.iter().map(|(placed, _)| placed.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/real/data", "/real/data/file", "/tmp", "/tmp/inner", "/tmp/mask"]);
        assert!(root.join("real/data").is_dir() && root.join("tmp").is_dir() && !root.join("tmp/inner").exists());
        assert!(source.join("file").is_file() && !root.join("real/data/file").exists());
        assert_eq!(made[0].1, Some(source.canonicalize().unwrap()));
    }
}
