//! Starts criu for a restore: in the container's cgroup, so that whatever it makes is limited and counted, and in a mount namespace of
//! its own, in which the root is a mount, as criu wants it; with criu's end that is gone.

use super::super::fault;
use super::namespace;
use super::program::path;
use crate::cgroup::{Cgroup, Entry};
use crate::plan::place::{c_path, c_string};
use crate::sys::mount::{self, RECURSIVE};
use crate::sys::process::{self, Cloned, Pid, Strings};
use crate::sys::{Errno, Result as SysResult, file, signal};
use crate::{Error, Result};
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is started, and how.
pub(super) struct Spawn<'a> {
    pub program: &'a Path,
    pub words: &'a [OsString],
    pub cgroup: Option<&'a Cgroup>,
    /// The container's root directory.
    pub root: &'a Path,
    /// The caller's session keyring stays the processes', of which criu knows nothing.
    pub keep_keyring: bool,
    /// Descriptors that criu inherits, besides standard input, output and error.
    pub inherited: &'a [OwnedFd],
    /// The caller's signal mask.
    pub mask: signal::Set,
}

/// The first of what the new process does that failed; the number crosses a pipe.
const STEPS: &[&str] = &[
    "enter the cgroup",
    "make a mount namespace",
    "mount the root",
    "make a session keyring",
    "pass on descriptors",
    "run criu",
];
const PRIVATE: u64 = 1 << 18;

impl Spawn<'_> {
    /// criu, once it runs.
    pub fn start(&self) -> Result<(Pid, OwnedFd)> {
        let (program, root) = (c_path(self.program)?, c_path(self.root)?);
        let (args, env) = (self.args(&program)?, environment()?);
        let (args, env) = (Strings::new(&args), Strings::new(&env));
        let (hears, says) = file::pipe().map_err(|e| failed("make a pipe", e))?;
        let entry = self.cgroup.map_or(Ok(Entry::default()), |cgroup| cgroup.open(None, true))?;
        match process::clone_into(0, entry.unified.as_ref().map(AsFd::as_fd)).map_err(|e| failed("start criu", e))? {
            Cloned::Child => {
                process::become_child();
                let (step, errno) = self.become_criu(&entry, &root, &program, &args, &env);
                let [a, b, c, d] = (errno as i32).to_ne_bytes();
                // Who cannot even say so is seen to end.
                let said = file::write_all(says.as_fd(), &[step, a, b, c, d]);
                process::exit(if said.is_ok() { 1 } else { 2 })
            }
            Cloned::Parent(pid, pidfd) => {
                drop(says);
                match began(&hears) {
                    Ok(()) => Ok((pid, pidfd)),
                    Err(e) => process::wait(pid, 0).map_err(|e| failed("wait for criu", e)).and(Err(e)),
                }
            }
        }
    }

    fn args(&self, program: &CStr) -> Result<Vec<CString>> {
        let words = self.words.iter().map(|word| c_string(word.as_bytes()));
        std::iter::once(Ok(program.to_owned())).chain(words).collect()
    }

    /// Allocates nothing; comes back only with a failure.
    fn become_criu(&self, entry: &Entry, root: &CStr, program: &CStr, args: &Strings, env: &Strings) -> (u8, Errno) {
        let done = [
            &|| enter(entry),
            &|| process::unshare(libc::CLONE_NEWNS as u64).and_then(|()| mount::set_propagation(RECURSIVE, PRIVATE)),
            &|| over_itself(root),
            &|| if self.keep_keyring { Ok(()) } else { process::join_new_keyring() },
            &|| namespace::pass_on(self.inherited).and_then(|()| signal::set_mask(&self.mask).map(drop)),
        ] as [&dyn Fn() -> SysResult<()>; 5];
        for (step, perform) in (0..).zip(done) {
            if let Err(errno) = perform() {
                return (step, errno);
            }
        }
        (5, process::exec(program, args, env))
    }
}

fn enter(entry: &Entry) -> SysResult<()> {
    entry.files.iter().flatten().try_for_each(|file| match file::write_once(file.as_fd(), b"0") {
        Err(Errno::EACCES | Errno::EPERM) if entry.lenient => Ok(()),
        done => done,
    })
}

/// criu(8), `--root`: the root must be a mount, and its parent not be covered.
fn over_itself(root: &CStr) -> SysResult<()> {
    let copy = mount::clone_path(root, RECURSIVE, true)?;
    let target = file::open_at(file::cwd(), root, libc::O_PATH | libc::O_DIRECTORY)?;
    mount::attach(copy.as_fd(), target.as_fd())
}

/// The pipe ends without a word when criu is executed.
fn began(hears: &OwnedFd) -> Result<()> {
    let mut said = [0; 5];
    let read = file::read(hears.as_fd(), &mut said).map_err(|e| failed("wait for criu", e))?;
    word(&said[..read])
}

pub(crate) fn word(said: &[u8]) -> Result<()> {
    match *said {
        [] => Ok(()),
        [step, a, b, c, d] if usize::from(step) < STEPS.len() => {
            Err(failed(STEPS[usize::from(step)], Errno::from_raw(i32::from_ne_bytes([a, b, c, d]))))
        }
        _ => Err(failed("start criu", Errno::EPROTO)),
    }
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::new(format!("cannot {what}, to restore the container")).cause(fault::describe(errno))
}

/// The caller's; criu runs `tar`, `ip` and others by `$PATH`.
fn environment() -> Result<Vec<CString>> {
    let others = std::env::vars_os().filter(|(name, _)| name != "PATH");
    let all = others.chain([("PATH".into(), path())]);
    all.map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_executed_is_said() {
        let (reads, writes) = file::pipe().unwrap();
        file::write_all(writes.as_fd(), &[&[5][..], &libc::ENOENT.to_ne_bytes()].concat()).unwrap();
        let said = began(&reads).unwrap_err().to_string();
        assert!(said.starts_with("cannot run criu, to restore the container: ENOENT"), "{said}");
        drop(writes);
        began(&reads).unwrap();
        for garbled in [&[5][..], &[5, 2, 0, 0], &[77, 2, 0, 0, 0]] {
            let said = word(garbled).unwrap_err().to_string();
            assert!(said.starts_with("cannot start criu, to restore the container: EPROTO"), "{said}");
        }
    }
}
