//! How a process gets into a cgroup.
//!
//! Moving another process, or a whole one, waits for a grace period of RCU, some 10 ms that nothing else in a launch comes near
//! (cgroup_attach_lock in the kernel). A thread that moves itself does not, nor does a process that is born there. So the files are
//! opened here, with the rights of the parent, and a new process of one thread writes to those of version 1 by itself.

use super::{Cgroup, file, tree};
use crate::host::cgroup::Version;
use crate::plan::cgroup::Group;
use crate::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The open ways into a cgroup, for a process that is about to be made.
#[derive(Debug, Default)]
pub struct Entry {
    /// Each takes a `0` from the process itself, while it has one thread.
    pub files: Vec<Option<OwnedFd>>,
    /// The version 2 directory, for clone3(2) with CLONE_INTO_CGROUP.
    pub unified: Option<OwnedFd>,
    /// Who is refused with EACCES or EPERM stays outside.
    pub lenient: bool,
}

impl Cgroup {
    /// Opens the ways in. `init` is the first process of a container that is joined: where that has divided its version 2 cgroup, which
    /// may then hold no process itself, the way leads to where `init` is. Without `born` the process enters version 2 by a file, too.
    pub fn open(&self, init: Option<i32>, born: bool) -> Result<Entry> {
        let mut entry = Entry { lenient: self.lenient, ..Entry::default() };
        for group in &self.groups {
            let dir = match group.version {
                Version::V1 => group.dir(),
                Version::V2 => undivided(group.dir(), init),
            };
            let (path, unified) = match group.version {
                Version::V1 => (dir.join("tasks"), false),
                // A directory may be refused after it was opened, which then nobody could forgive.
                Version::V2 if born && !self.lenient => (dir, true),
                Version::V2 => (dir.join("cgroup.procs"), false),
            };
            let opened = if unified { File::open(&path) } else { OpenOptions::new().write(true).open(&path) };
            match opened {
                Ok(opened) if unified => entry.unified = Some(opened.into()),
                Ok(opened) => entry.files.push(Some(opened.into())),
                Err(e) if self.may_stay_outside(&e) => {}
                Err(e) => return Err(not_opened(group, &e)),
            }
        }
        Ok(entry)
    }

    /// Moves a process into it, with all its threads.
    pub fn enter(&self, pid: i32) -> Result<()> {
        self.groups.iter().try_for_each(|group| match file::write(&group.dir(), "cgroup.procs", &pid.to_string()) {
            Err(e) if self.may_stay_outside(&e) => Ok(()),
            done => done.map_err(|e| not_entered(group, pid, &e)),
        })
    }

    fn may_stay_outside(&self, error: &io::Error) -> bool {
        self.lenient && matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
    }
}

/// cgroups(7), "No internal processes".
fn undivided(dir: PathBuf, init: Option<i32>) -> PathBuf {
    let divided = |dir: &Path| file::line(dir, "cgroup.subtree_control").is_ok_and(|controllers| !controllers.is_empty());
    let holds = |init| tree::find(&dir, |place| Ok(file::holds_at(place.dir, init).then(|| place.path()))).ok().flatten();
    let inside = init.filter(|_| divided(&dir)).and_then(holds);
    inside.unwrap_or(dir)
}

/// What is missing has runc's words.
fn not_opened(group: &Group, cause: &io::Error) -> Error {
    let dir = group.dir();
    let error = Error::new(format!("cannot enter the cgroup `{}`", dir.display())).at("config.json: linux.cgroupsPath");
    match cause.kind() {
        io::ErrorKind::NotFound => {
            error.cause(format!("adding pid 0 to {}: no such file or directory", dir.join("cgroup.procs").display()))
        }
        _ => error.cause(cause),
    }
}

fn not_entered(group: &Group, pid: i32, cause: &io::Error) -> Error {
    let error = Error::new(format!("cannot move process {pid} into the cgroup `{}`", group.dir().display()));
    let error = error.at("config.json: linux.cgroupsPath").cause(cause);
    match cause.raw_os_error() {
        Some(libc::ENOSPC) => error.hint("its cpuset has no CPU or no memory node"),
        Some(libc::EBUSY) => error.hint("a cgroup with controllers for its children may hold no process"),
        Some(libc::EAGAIN) => error.hint("the limit of processes is reached"),
        _ => error,
    }
}
