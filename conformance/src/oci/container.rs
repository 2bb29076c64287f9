//! A container under test. It is deleted by force when the case lets go of it.

use super::turn::Turn;
use crate::launch::{Ran, text};
use crate::report::{No, Verdict, fail};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a container has to do what it was asked for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that `create` was called for.
pub struct Container<'t> {
    turn: &'t Turn<'t>,
    /// Its id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// How `create` ended.
    pub made: Ran,
    /// The file that it was told to write its pid to.
    pub pid_file: PathBuf,
    out: File,
    exit: Cell<Option<i32>>,
}

impl<'t> Container<'t> {
    /// `create [options] --bundle --pid-file ID`.
    pub fn create(turn: &'t Turn<'t>, bundle: PathBuf, options: &[&str]) -> Result<Container<'t>, No> {
        let (id, pid_file) = (turn.fresh(), bundle.join("pid"));
        let (dir, file) = (bundle.display().to_string(), pid_file.display().to_string());
        let words = [&["create"], options, &["--bundle", &dir, "--pid-file", &file, &id]].concat();
        let (made, out) = turn.call_with_output(&words)?;
        Ok(Container { turn, id, bundle, made, pid_file, out, exit: Cell::new(None) })
    }

    /// `start`, which must succeed.
    pub fn start(&self) -> Verdict {
        self.turn.succeeds(&["start", &self.id]).map(drop)
    }

    /// `kill`, which must succeed.
    pub fn kill(&self, signal: &str) -> Verdict {
        self.turn.succeeds(&["kill", &self.id, signal]).map(drop)
    }

    /// `delete`, which must succeed.
    pub fn delete(&self) -> Verdict {
        self.turn.succeeds(&["delete", &self.id]).map(drop)
    }

    /// Killed, and dead.
    pub fn stopped(&self) -> Verdict {
        self.kill("KILL")?;
        self.ended().map(drop)
    }

    /// What `state` prints.
    pub fn state(&self) -> Result<Value, No> {
        let ran = self.turn.succeeds(&["state", &self.id])?;
        serde_json::from_str(&ran.out).or_else(|e| fail(&ran.line, "JSON", format!("{e}: {}", ran.out)))
    }

    /// `state` says so, now.
    pub fn is(&self, status: &str) -> Verdict {
        let state = self.state()?;
        if state["status"] == status { Ok(()) } else { fail(format!("state {}", self.id), status, &state["status"]) }
    }

    /// The pid that the runtime wrote.
    pub fn pid(&self) -> Result<i32, No> {
        let text = std::fs::read_to_string(&self.pid_file)?;
        text.trim().parse().or_else(|_| fail(&self.made.line, "a number in the pid file", text))
    }

    /// What the payload has printed so far.
    pub fn text(&self) -> String {
        text(&self.out).unwrap_or_else(|e| e.to_string())
    }

    /// Waits until the payload has printed this.
    pub fn says(&self, expected: &str) -> Verdict {
        let said = || self.text().contains(expected);
        until(said).or_else(|_| fail(&self.made.line, format!("{expected:?} on stdout"), format!("{:?}", self.text())))
    }

    /// Waits for the end of the container's process and collects it: we are its subreaper. Its exit code, 128+n for a
    /// signal.
    pub fn ended(&self) -> Result<i32, No> {
        let pid = Pid::from_raw(self.pid()?);
        let dead = || self.exit.get().is_some() || self.collect(pid);
        until(dead).or_else(|_| fail(&self.made.line, "the container's process ends", "it is still there"))?;
        Ok(self.exit.get().unwrap_or(-1))
    }

    fn collect(&self, pid: Pid) -> bool {
        let code = match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            Err(Errno::ECHILD) if !dead_or_gone(pid.as_raw()) => return false,
            Err(Errno::ECHILD) => -1,
            _ => return false,
        };
        self.exit.set(Some(code));
        true
    }

    /// Something that the kernel says of the container's process: `ns/uts`, `cgroup`, `status`.
    pub fn proc(&self, name: &str) -> Result<String, No> {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.pid()?));
        let link = std::fs::read_link(&path).map(|p| p.display().to_string());
        Ok(link.or_else(|_| std::fs::read_to_string(&path))?)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // The look at what is left, after the case, is the judge of this.
        let _ = self.turn.call(&["delete", "--force", &self.id]);
    }
}

/// Whether a process has ended, collected by its parent or not.
pub fn dead_or_gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Polls until something holds.
pub fn until(holds: impl Fn() -> bool) -> Verdict {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > end {
            return fail("(waiting)", "within 10 s", "not yet");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
