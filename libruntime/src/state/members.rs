//! Which processes belong to a container that has no cgroup: those of its pid namespace, and their descendants.

use super::Record;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

impl Record {
    /// Every process of the container as the caller's pid namespace numbers it, ascending.
    ///
    /// # Errors
    /// `container not running`; or its processes cannot be told from others, as it shares the caller's pid namespace.
    pub fn members(&self) -> Result<Vec<i32>> {
        let namespace = pid_namespace(&self.pid.to_string());
        // Looked at after the namespace was: if our process lives now, the namespace was its own.
        if self.status() == super::Status::Stopped {
            return Err(Error::new("container not running"));
        }
        let namespace =
            namespace.ok_or_else(|| Error::new(format!("cannot look at the pid namespace of process {}", self.pid)))?;
        if pid_namespace("self").as_ref() == Some(&namespace) {
            let what = format!("container `{}` has neither a cgroup nor a pid namespace of its own", self.id);
            return Err(Error::new(what).hint("its processes cannot be told from others"));
        }
        Ok(family(&processes(), &namespace))
    }
}

/// A process as /proc shows it.
struct Seen {
    pid: i32,
    parent: i32,
    /// None when the caller may not look.
    namespace: Option<PathBuf>,
}

/// A process may have made a pid namespace below the container's; then its parent is in the container, or its parent's parent.
fn family(all: &[Seen], namespace: &PathBuf) -> Vec<i32> {
    let own = all.iter().filter(|seen| seen.namespace.as_ref() == Some(namespace));
    let mut pids: BTreeSet<i32> = own.map(|seen| seen.pid).collect();
    loop {
        let before = pids.len();
        let children: Vec<i32> = all.iter().filter(|seen| pids.contains(&seen.parent)).map(|seen| seen.pid).collect();
        pids.extend(children);
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
    let stat = super::process::Stat::of(pid).filter(|stat| stat.alive)?;
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

    #[test]
    fn the_family_is_the_namespace_and_all_below() {
        let seen = |pid, parent, namespace: &str| Seen { pid, parent, namespace: Some(namespace.into()) };
        let stranger = Seen { pid: 8, parent: 1, namespace: None };
        let all = [
            seen(1, 0, "host"),
            seen(20, 10, "nested"),
            seen(10, 5, "box"),
            seen(5, 1, "box"),
            seen(30, 20, "nested"),
            seen(7, 1, "box"),
            stranger,
        ];
        assert_eq!(family(&all, &"box".into()), [5, 7, 10, 20, 30]);
    }

    #[test]
    fn a_container_in_our_own_pid_namespace_cannot_be_told_apart() {
        let mut child = sleeper();
        let record = record("a", &child);
        let said = record.members().unwrap_err().to_string();
        assert!(said.starts_with("container `a` has neither a cgroup nor a pid namespace of its own"), "{said}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(record.members().unwrap_err().to_string(), "container not running");
    }
}
