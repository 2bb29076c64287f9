//! What a launch is kept short of: limits, cgroups, namespaces of the suite's own.

use super::Place;
use crate::launch::{Launch, Running, text};
use crate::oci::container::until;
use crate::report::No;
use std::fs;
use std::path::{Path, PathBuf};

/// How a launch is kept short.
#[derive(Clone, Copy)]
pub(super) enum Means {
    /// A soft limit, by prlimit(1).
    Limit(&'static str),
    /// A cgroup of the suite's own, version 1: controller and file.
    Cgroup(&'static str, &'static str),
    /// A user namespace that may have so many of a kind.
    Namespaces(&'static str),
    /// A mount namespace that has as many mounts as it may; any level above 0 is without it.
    Mounts,
}

/// Fills a mount namespace, as `fs.mount-max` is the host's: trees of ever more mounts, of two of the size before, and what is left over
/// with ever smaller ones.
const FULL: &str = r#"
mkdir "$0" && mount -t tmpfs none "$0" && mkdir "$0/0" "$0/more" && mount -t tmpfs none "$0/0" && n=0 || exit 1
while mkdir "$0/$((n + 1))" && mount -t tmpfs none "$0/$((n + 1))"; do
  at=$0/$((n + 1))
  mkdir "$at/a" "$at/b" && mount --rbind "$0/$n" "$at/a" && mount --rbind "$0/$n" "$at/b" || break
  n=$((n + 1))
done 2>/dev/null
while [ $n -ge 0 ]; do
  while mount --rbind "$0/$n" "$0/more"; do :; done
  n=$((n - 1))
done 2>/dev/null
mount -t tmpfs none "$0/more" 2>/dev/null || { echo full; exec sleep 1000; }
"#;

/// The means at hand; a cgroup and a namespace go when this is dropped.
pub(super) struct Want<'a> {
    place: &'a Place<'a>,
    means: Means,
    cgroup: Option<PathBuf>,
    /// Has the full mount namespace.
    holder: Option<Running>,
}

impl<'a> Want<'a> {
    pub fn new(place: &'a Place, means: Means) -> Result<Want<'a>, No> {
        let (mut cgroup, mut holder) = (None, None);
        match means {
            Means::Cgroup(controller, _) => {
                cgroup = Some(Path::new("/sys/fs/cgroup").join(controller).join(place.turn.tag.replace("test", "want")));
            }
            Means::Mounts => holder = Some(full(place)?),
            Means::Limit(_) | Means::Namespaces(_) => {}
        }
        cgroup.as_ref().map_or(Ok(()), fs::create_dir)?;
        Ok(Want { place, means, cgroup, holder })
    }

    pub fn name(&self) -> &'static str {
        match self.means {
            Means::Limit(name) | Means::Namespaces(name) | Means::Cgroup(_, name) => name,
            Means::Mounts => "fs.mount-max",
        }
    }

    /// The launch, kept short of all but `level`.
    pub fn put(&self, launch: Launch, level: u64) -> Launch {
        let actor = &self.place.turn.column.actor;
        let (uid, gid) = (actor.uid, actor.gid);
        let before = match self.means {
            Means::Limit(name) => vec!["prlimit".into(), format!("--{name}={level}:")],
            Means::Cgroup(_, file) => {
                let dir = self.cgroup.clone().unwrap_or_default().display().to_string();
                let script = format!(
                    "echo {level} > {dir}/{file} && echo 0 > {dir}/tasks && exec setpriv --reuid {uid} --regid {gid} --clear-groups -- \"$@\""
                );
                vec!["/bin/sh".into(), "-c".into(), script, "sh".into()]
            }
            Means::Namespaces(kind) => {
                let script = format!("echo {level} > /proc/sys/user/max_{kind}_namespaces && exec \"$@\"");
                ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", &script, "sh"].map(str::to_string).to_vec()
            }
            Means::Mounts if level > 0 => return launch,
            Means::Mounts => {
                let holder = self.holder.as_ref().map_or(0, |holder| holder.pid().as_raw());
                let dir = launch.dir.display();
                let script = format!("cd {dir} && exec setpriv --reuid {uid} --regid {gid} --clear-groups -- \"$@\"");
                let target = format!("--target={holder}");
                ["nsenter", &target, "--mount", "--", "/bin/sh", "-c", &script, "sh"].map(str::to_string).to_vec()
            }
        };
        let keeps_root = matches!(self.means, Means::Cgroup(..) | Means::Mounts);
        Launch { argv: [before, launch.argv].concat(), keeps_root, ..launch }
    }
}

/// Who holds a mount namespace with no room.
fn full(place: &Place) -> Result<Running, No> {
    let dir = place.turn.dir.join("mounts").display().to_string();
    let argv = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", FULL, &dir];
    let holder = Launch { keeps_root: true, ..Launch::new(&argv, &place.turn.dir) }.start(&place.turn.column.actor)?;
    let out = holder.output()?;
    until(|| text(&out).is_ok_and(|said| said == "full\n"))?;
    Ok(holder)
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        // What stays is found by the look at what is left.
        self.cgroup.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}
