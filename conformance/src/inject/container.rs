//! A container that somebody joins: whatever becomes of who joins, afterwards it is what it was, and nobody is in it but payloads.

use super::course::patiently;
use super::testimony;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// As it was before somebody joined.
pub struct Container {
    first: PathBuf,
    was: Vec<String>,
    processes: BTreeSet<PathBuf>,
}

/// Files of /proc/PID in which it shows what has been done to a process.
const TOLD: [&str; 6] = ["mountinfo", "limits", "cgroup", "oom_score_adj", "uid_map", "timens_offsets"];

/// What of /proc/PID/status stays as it is.
const LASTING: &[&str] = &[
    "State",
    "Uid",
    "Gid",
    "Groups",
    "Cap",
    "NoNewPrivs",
    "Seccomp",
    "SigPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "ShdPnd",
    "Umask",
    "TracerPid",
    "NSpid",
];

/// What waits after a testimony, or in place of one.
const WAITS: &str = "sleep\u{0}1000\u{0}";

/// The process whose pid is in a file, as soon as it waits for its start.
pub fn waiting(pid_file: &Path) -> io::Result<Pid> {
    let pid = fs::read_to_string(pid_file)?;
    patiently(|| is_at_rest(&Path::new("/proc").join(&pid)));
    pid.parse().map(Pid::from_raw).map_err(io::Error::other)
}

fn is_at_rest(process: &Path) -> bool {
    fs::read_to_string(process.join("status")).is_ok_and(|status| status.contains("\nState:\tS "))
}

impl Container {
    /// Of the first process whose pid is in a file, as soon as it has nothing more to do.
    pub fn of(pid_file: &Path) -> io::Result<Container> {
        let first = Path::new("/proc").join(fs::read_to_string(pid_file)?);
        patiently(|| is_at_rest(&first) && processes(&first).iter().any(|process| command(process).ends_with(WAITS)));
        Ok(Container { was: facts(&first), processes: processes(&first), first })
    }

    /// Those that have joined it and are there still.
    pub fn guests(&self) -> Vec<PathBuf> {
        processes(&self.first).difference(&self.processes).cloned().collect()
    }

    /// What is other than it was.
    pub fn change(&self) -> Option<String> {
        let stays = |process: &PathBuf| !command(process).ends_with(WAITS) && !command(process).contains(testimony::BEGIN);
        let others = || self.guests().into_iter().filter(stays).collect::<Vec<_>>();
        patiently(|| facts(&self.first) == self.was && others().is_empty());
        let now = facts(&self.first);
        let other = self.was.iter().find(|fact| !now.contains(fact)).map(|fact| format!("has no `{fact}` any more"));
        let other = other.or_else(|| now.iter().find(|fact| !self.was.contains(fact)).map(|fact| format!("has `{fact}`")));
        let still = || others().first().map(|process| format!("is joined still by {} `{}`", process.display(), command(process)));
        other.or_else(still).map(|what| format!("the container {what}"))
    }
}

fn facts(first: &Path) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(first.join(name)).unwrap_or_default();
    let lines = |name: &str| read(name).lines().map(|line| format!("{name}: {line}")).collect::<Vec<_>>();
    let status = lines("status").into_iter();
    let lasting = status
        .filter(|line| LASTING.iter().any(|field| line.strip_prefix("status: ").is_some_and(|line| line.starts_with(field))));
    let links = ["cwd", "root", "exe"].map(|name| (name.to_string(), first.join(name)));
    let below = ["ns", "fd"].map(|dir| fs::read_dir(first.join(dir)).into_iter().flatten().flatten());
    let below = below.into_iter().flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let led = links.into_iter().chain(below).map(|(name, path)| format!("{name} → {:?}", fs::read_link(path).ok()));
    lasting.chain(TOLD.iter().flat_map(|name| lines(name))).chain(led).collect()
}

/// Everybody in its pid namespace.
fn processes(first: &Path) -> BTreeSet<PathBuf> {
    // Of who has ended, and nobody has waited for yet, the program is gone.
    let space = |process: &Path| fs::read_link(process.join("exe")).and_then(|_| fs::read_link(process.join("ns/pid"))).ok();
    let Some(own) = space(first) else { return BTreeSet::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let is_process =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()));
    entries.filter(is_process).filter(|process| space(process).as_ref() == Some(&own)).collect()
}

fn command(process: &Path) -> String {
    fs::read(process.join("cmdline")).map(|line| String::from_utf8_lossy(&line).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_is_done_to_a_first_process_shows_and_who_is_gone_is_no_guest() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleeps = Command::new("sleep").arg("1000").spawn().unwrap();
        let file = dir.path().join("pid");
        fs::write(&file, sleeps.id().to_string()).unwrap();
        let container = Container::of(&file).unwrap();
        assert!(container.was.iter().any(|fact| fact.starts_with("limits: Max core file size")));
        let limit = || facts(&container.first) != container.was;
        assert!(!limit());
        let done = Command::new("prlimit").args([&format!("--pid={}", sleeps.id()), "--nofile=99:99"]).status().unwrap();
        assert!(done.success() && limit());
        sleeps.kill().unwrap();
        sleeps.wait().unwrap();
        assert!(container.guests().is_empty());
    }
}
