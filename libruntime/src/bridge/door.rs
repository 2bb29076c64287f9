//! Where the two hooks meet: a Unix socket whose name follows from the container's id and bundle, which both are told. It lies on the
//! host's /dev/shm, where no sandbox looks unless its policy names that directory, since each has a /dev of its own, and is gone before the container starts.

use super::{failed, say};
use crate::proc_status::ProcStatus;
use crate::run::fault::describe;
use crate::sys::{Errno, Result as SysResult, again, file, process, socket};
use crate::{Error, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DIR: &str = "/dev/shm";
/// With what the name begins.
const NAME: &str = "codexrun-bridge-";
/// A door that nobody answers at may be one that is just being made.
const YOUNG: Duration = Duration::from_secs(60);

/// What a hook needs of the OCI state (runtime.md, "State").
#[derive(Deserialize)]
pub(crate) struct State {
    id: String,
    #[serde(default)]
    bundle: String,
    /// The container's first process; 0 or its number inside where the container's hooks are told.
    #[serde(default)]
    pub pid: i32,
}

impl State {
    pub fn read(text: &str) -> Result<State> {
        // Serde would take an array of its fields too.
        let object: serde_json::Result<serde_json::Map<_, _>> = serde_json::from_str(text);
        let state = object.and_then(|object| State::deserialize(serde_json::Value::Object(object)));
        state.map_err(|e| Error::new("no OCI state on standard input").cause(e))
    }

    /// Its bridge's.
    pub fn name(&self) -> String {
        let hash = Sha256::digest(format!("{}\0{}", self.id, self.bundle));
        hash.iter().take(8).fold(String::from(NAME), |mut name, byte| {
            let _ = write!(name, "{byte:02x}"); // writing to a String cannot fail
            name
        })
    }

    fn door(&self) -> PathBuf {
        PathBuf::from(DIR).join(self.name())
    }
}

/// The socket, which only its owner may connect to.
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

/// The container's side.
pub(super) fn knock(state: &State) -> Result<UnixStream> {
    let path = state.door();
    connect(&path).map_err(|e| {
        // Who performs connect(2) for an outer sandbox does so for its own network alone.
        let outer = e == Errno::EPERM;
        let error = Error::new(format!("no bridge at `{}`", path.display())).cause(describe(e));
        error.hint(match outer {
            true => "codexrun runs inside a sandbox of codexrun's, in which no other has a bridge: no proxy, no port, no names",
            false => "the `createRuntime` hook of this bundle starts it",
        })
    })
}

/// std makes a connect(2) that a signal has interrupted not again.
fn connect(path: &Path) -> SysResult<UnixStream> {
    again(|| UnixStream::connect(path).map_err(|e| e.raw_os_error().map_or(Errno::EINVAL, Errno::from_raw)))
}

impl Door {
    pub fn open(state: &State) -> Result<Door> {
        sweep();
        let path = state.door();
        let old = process::umask(0o177);
        let listener = match UnixListener::bind(&path) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && stale(&path) => {
                fs::remove_file(&path).and_then(|()| UnixListener::bind(&path))
            }
            bound => bound,
        };
        process::umask(old);
        let listener = listener.map_err(|e| {
            let what = "proxies, ports and names come in by a bridge, whose socket is made there, out of sight of sandboxes";
            Error::new(format!("cannot make `{}`", path.display()))
                .cause(e)
                .hint(format!("{what}: `{DIR}` must be writable for the caller"))
        })?;
        Ok(Door { listener, path })
    }

    /// Who comes from the container; `None` when that has ended first. In either case nobody finds the door any more.
    pub fn guest(self, container: BorrowedFd, init: i32) -> Result<Option<UnixStream>> {
        let guest = self.wait(container, init);
        // Only a name: without us nobody answers there.
        let _ = fs::remove_file(&self.path);
        guest
    }

    fn wait(&self, container: BorrowedFd, init: i32) -> Result<Option<UnixStream>> {
        loop {
            let ready = file::poll([Some(container), Some(self.listener.as_fd())]).map_err(|e| failed("wait", e))?;
            if ready[0] {
                return Ok(None);
            }
            let (guest, _) = self.listener.accept().map_err(|e| Error::new("cannot accept the container").cause(e))?;
            // Another container of the same user must not be taken for ours.
            match socket::peer(guest.as_fd()).map_err(io::Error::from).and_then(|(peer, _)| descends(peer, init)) {
                Ok(true) => return Ok(Some(guest)),
                Ok(false) => {}
                Err(e) => return say(guest, Err(Error::new("cannot learn whether it is the container who knocks").cause(e))),
            }
        }
    }
}

/// Removes what bridges have left that were killed before their container came; with an id that is new each time nobody takes them over.
fn sweep() {
    for door in fs::read_dir(DIR).into_iter().flatten().flatten() {
        if door.file_name().as_encoded_bytes().starts_with(NAME.as_bytes())
            && door.metadata().is_ok_and(|of| old(&of))
            && stale(&door.path())
        {
            // Whoever else makes doors sweeps too.
            let _ = fs::remove_file(door.path());
        }
    }
}

fn old(door: &fs::Metadata) -> bool {
    let age = door.modified().ok().and_then(|made| made.elapsed().ok());
    age.is_some_and(|age| age > YOUNG)
}

/// A name of our own whose bridge was killed. Another user's socket may keep us waiting.
fn stale(path: &Path) -> bool {
    let own = |of: fs::Metadata| of.file_type().is_socket() && of.uid() == nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(own) && connect(path).is_err_and(|e| e == Errno::ECONNREFUSED)
}

/// A runtime runs a hook by a process or two in between.
const GENERATIONS: usize = 4;

fn descends(mut pid: i32, from: i32) -> io::Result<bool> {
    for _ in 0..GENERATIONS {
        match parent(pid)? {
            _ if pid == from => return Ok(true),
            Some(up) => pid = up,
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// `None` of who has gone.
fn parent(pid: i32) -> io::Result<Option<i32>> {
    match ProcStatus::of(pid) {
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        status => Ok(status?.field("PPid").and_then(|pid| pid.parse().ok())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: &str) -> State {
        State::read(&format!(r#"{{"ociVersion": "1.0", "id": "{id}", "bundle": "/b", "pid": 1, "root": "r"}}"#)).unwrap()
    }

    #[test]
    fn both_hooks_find_the_same_door_and_no_other_containers() {
        assert_eq!(state("a").door(), State::read(r#"{"id": "a", "bundle": "/b", "status": "creating"}"#).unwrap().door());
        assert_ne!(state("a").door(), state("b").door());
        assert!(State::read("{}").is_err() && State::read(r#"["an id"]"#).is_err());
    }

    #[test]
    fn a_door_of_a_dead_bridge_is_taken_over_and_a_live_one_is_not() {
        let state = state(&format!("door-test-{}", std::process::id()));
        let door = Door::open(&state).unwrap();
        let path = door.path.clone();
        assert!(Door::open(&state).is_err(), "somebody listens");
        drop(door);
        assert!(path.exists(), "as SIGKILL leaves it");
        let door = Door::open(&state).unwrap();
        let (over, _) = file::pipe().unwrap();
        assert!(door.guest(over.as_fd(), 0).unwrap().is_none());
        assert!(!path.exists());
    }

    #[test]
    fn what_was_left_behind_is_swept_when_it_is_old() {
        let path = |name: &str| PathBuf::from(DIR).join(format!("{NAME}sweep-test-{name}-{}", std::process::id()));
        let (left, young, live) = (path("left"), path("young"), path("live"));
        let _living = UnixListener::bind(&live).unwrap();
        drop((UnixListener::bind(&left).unwrap(), UnixListener::bind(&young).unwrap()));
        for door in [&left, &live] {
            assert!(std::process::Command::new("touch").args(["-d", "2 minutes ago"]).arg(door).status().unwrap().success());
        }
        sweep();
        assert_eq!([&left, &young, &live].map(|door| door.exists()), [false, true, true]);
        [young, live].iter().for_each(|door| fs::remove_file(door).unwrap());
    }

    #[test]
    fn a_stranger_is_no_descendant() {
        let us = std::process::id() as i32;
        let up = parent(us).unwrap().unwrap();
        assert!(descends(us, us).unwrap() && descends(us, up).unwrap() && !descends(up, us).unwrap());
        assert!(!descends(i32::MAX, us).unwrap(), "it has gone");
    }
}
