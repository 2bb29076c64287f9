//! Which processes belong to a container: those of its cgroup; without one, the first one's descendants, and whoever shares a pid
//! namespace with one of them.

use super::{Record, Status};
use crate::proc_status::ProcStatus;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

impl Record {
    /// Every process of the container as the caller's pid namespace numbers it, ascending; of one that has stopped, none.
    ///
    /// # Errors
    /// Its processes cannot be told from others, as its pid namespace is not its own.
    pub fn members(&self) -> Result<Vec<i32>> {
        if let Some(cgroup) = self.cgroup.as_ref().filter(|cgroup| cgroup.is_own()) {
            return cgroup.pids();
        }
        let first = is_first(self.pid);
        let all = processes();
        // Looked at last: if our process lives now, what was seen before was its own.
        if self.status()? == Status::Stopped {
            return Ok(Vec::new());
        }
        if !first {
            let what = format!("container `{}` has neither a cgroup nor a pid namespace of its own", self.id);
            return Err(Error::new(what).hint("its processes cannot be told from others"));
        }
        Ok(family(&all, self.pid))
    }
}

/// Whether it is PID 1 of a namespace below the caller's.
fn is_first(pid: i32) -> bool {
    matches!(numbers(pid)[..], [_, .., 1])
}

/// The number that a process has in its own pid namespace; `None` if there is no such process.
pub fn innermost_pid(pid: i32) -> Option<i32> {
    numbers(pid).last().copied()
}

/// `NSpid` (proc_pid_status(5)): one number for each namespace from the caller's down to the process's own.
fn numbers(pid: i32) -> Vec<i32> {
    let Ok(status) = ProcStatus::of(pid) else { return Vec::new() };
    let numbers = status.field("NSpid").unwrap_or_default();
    numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// A process as /proc shows it.
struct Seen {
    pid: i32,
    parent: i32,
    /// None when the caller may not look: then it is known by its parent alone.
    namespace: Option<PathBuf>,
}

/// The first process, everybody below it, and whoever came in from outside (`exec`): the namespaces of members are the container's or
/// below it, and nobody else is in them.
fn family(all: &[Seen], first: i32) -> Vec<i32> {
    let mut pids = BTreeSet::from([first]);
    loop {
        let before = pids.len();
        let members = all.iter().filter(|seen| pids.contains(&seen.pid));
        let namespaces: BTreeSet<PathBuf> = members.filter_map(|seen| seen.namespace.clone()).collect();
        let inside = |seen: &&Seen| seen.namespace.as_ref().is_some_and(|namespace| namespaces.contains(namespace));
        let more: Vec<i32> = all.iter().filter(|s| pids.contains(&s.parent) || inside(s)).map(|seen| seen.pid).collect();
        pids.extend(more);
        if pids.len() == before {
            return pids.into_iter().collect();
        }
    }
}

/// Zombies are left out, as a cgroup leaves them out: they run no more.
fn processes() -> Vec<Seen> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| seen(&name)).collect()
}

fn seen(name: &str) -> Option<Seen> {
    let pid = name.parse().ok()?;
    let stat = super::process::Stat::of(pid).ok()?.filter(|stat| stat.alive)?;
    Some(Seen { pid, parent: stat.parent, namespace: pid_namespace(name) })
}

/// `pid:[4026531836]`, which names the namespace as long as somebody is in it.
fn pid_namespace(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/pid")).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, sleeper};
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn the_family_is_who_descends_from_the_first_or_shares_a_namespace_with_it() {
        let seen = |pid, parent, namespace: &str| Seen { pid, parent, namespace: Some(namespace.into()) };
        let hidden = |pid, parent| Seen { pid, parent, namespace: None };
        let all = [
            hidden(5, 1), // the first, which nobody may look at
            hidden(6, 5),
            seen(20, 10, "nested"),
            seen(10, 5, "box"),
            seen(7, 1, "box"), // came in from outside
            seen(30, 7, "deeper"),
            seen(1, 0, "host"),
            seen(9, 1, "host"),
            hidden(8, 1),
        ];
        assert_eq!(family(&all, 5), [5, 6, 7, 10, 20, 30]);
    }

    /// A container whose payload did so had no members any more, and could not be told from others.
    #[test]
    fn a_process_may_call_itself_what_it_likes() {
        let script = "printf '\\377) S 1' >/proc/$$/comm; echo; read word";
        let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(innermost_pid(pid), Some(pid));
        assert_eq!(seen(&pid.to_string()).unwrap().parent, i32::try_from(std::process::id()).unwrap());
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_container_in_our_own_pid_namespace_cannot_be_told_apart() {
        let mut child = sleeper();
        let record = record("a", &child);
        let said = record.members().unwrap_err().to_string();
        assert!(said.starts_with("container `a` has neither a cgroup nor a pid namespace of its own"), "{said}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(record.members(), Ok(Vec::new()));
    }
}
