//! What containers can leave behind: processes, mounts, cgroups, the runtime's state.

use super::cli::PATIENCE;
use super::hierarchy::{Hierarchy, below};
use super::inside::Site;
use crate::launch::processes;
use crate::report::{Verdict, fail};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// All of it at one moment, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look(BTreeSet<String>);

/// Mounts that engines keep for themselves: podman's store and its directory of network namespaces, docker's own network.
const ENGINES_OWN: &[&str] = &["/run/netns", "/store/overlay", "/exec/netns/default"];

impl Look {
    /// Now.
    pub fn now(site: &Site) -> Look {
        let all = running().into_iter().chain(mounts()).chain(cgroups()).chain(records(site));
        Look(all.collect())
    }

    /// Fails when there is more than before; waits a while for what is about to go.
    pub fn compare(&self, site: &Site) -> Verdict {
        let end = Instant::now() + PATIENCE / 3;
        loop {
            let more: Vec<String> = Look::now(site).0.difference(&self.0).cloned().collect();
            if more.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return fail("(after the containers)", "what was there before", more.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Everything in the column's PID namespace but its PID 1 and us.
fn running() -> Vec<String> {
    let ours = [Pid::from_raw(1), Pid::this()];
    let all = processes().into_iter().filter(|(pid, _, _)| !ours.contains(pid));
    all.map(|(_, _, name)| format!("process {name}")).collect()
}

fn mounts() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|l| l.split(' ').nth(4));
    points.filter(|p| !ENGINES_OWN.iter().any(|own| p.ends_with(own))).map(|p| format!("mount {p}")).collect()
}

/// Groups of containers: those right below the top are the engines' own, as `docker` or `libpod_parent`.
fn cgroups() -> Vec<String> {
    let tops = Hierarchy::all().unwrap_or_default().into_iter().map(|h| h.at);
    let deep = |top: &Path| {
        let all = below(top).into_iter();
        all.filter(|g| g.strip_prefix(top).is_ok_and(|g| g.components().count() > 1)).collect::<Vec<_>>()
    };
    tops.flat_map(|t| deep(&t)).filter(|g| !engines_own(g)).map(|g| format!("cgroup {}", g.display())).collect()
}

/// podman's monitor, and the parents of its pods, which it leaves in hierarchies that it does not know.
fn engines_own(group: &Path) -> bool {
    let leaf = group.file_name().unwrap_or_default().to_string_lossy();
    leaf == "conmon" || group.parent().is_some_and(|p| p.ends_with("libpod_parent")) && !leaf.starts_with("libpod-")
}

/// What the runtime keeps about containers, wherever the engines let it.
fn records(site: &Site) -> Vec<String> {
    let name = site.runtime_name();
    let roots = [
        PathBuf::from("/run").join(&name),
        site.login().join(&name),
        site.dir.join("exec/runtime-runc/moby"),
        site.dir.join("runtime/default"),
    ];
    let entries = roots.iter().filter_map(|r| std::fs::read_dir(r).ok()).flatten().flatten();
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    dirs.map(|e| format!("state {}", e.path().display())).collect()
}
