//! A daemon: started in the background with its output in a file, ready when it answers, stopped by its pid.

use super::cli::{Cli, PATIENCE, holds};
use crate::report::{No, Verdict, fail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running daemon.
pub struct Daemon {
    child: Child,
    line: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until `ask` gets an answer through `cli`.
    pub fn start(words: &[&str], log: PathBuf, cli: &Cli, ask: &[&str]) -> Result<Daemon, No> {
        let out = File::create(&log)?;
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let mut daemon = Daemon { child: command.spawn()?, line: words.join(" "), log };
        let end = Instant::now() + PATIENCE;
        while cli.run(ask)?.code != 0 {
            if Instant::now() > end || !matches!(daemon.child.try_wait(), Ok(None)) {
                return fail(&daemon.line, "an answer", daemon.last_words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(mut self) -> Verdict {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                return fail(&self.line, "an end after SIGTERM", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// Ends a process that is no child of ours, by the file that has its pid.
pub fn end_by_file(file: &Path) -> Verdict {
    let pid = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    let Some(pid) = pid.filter(|p| *p > 1) else {
        return fail(file.display(), "a pid", "none");
    };
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    holds("the process is gone", || !Path::new(&format!("/proc/{pid}")).exists())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
