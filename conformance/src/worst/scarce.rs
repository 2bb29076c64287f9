//! Launches with ever less of something, from far too little to enough.

use super::{Case, Place};
use crate::inject::course::{ALL, Course, Ground};
use crate::inject::judge::Judge;
use crate::inject::tracer::End;
use crate::launch::Launch;
use crate::report::{No, Verdict, fail, skip};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    ("descriptors", |p| each(p, &ALL, Means::Limit("nofile"), (3..=26).chain([1024]))),
    ("address space", |p| each(p, &ALL, Means::Limit("as"), address_space(p)?)),
    ("processes", |p| each(p, &ALL, Means::Cgroup("pids", "pids.max"), (1..=9).chain([1000]))),
    ("memory", |p| each(p, &ALL, Means::Cgroup("memory", "memory.limit_in_bytes"), memory())),
    // Standard error is a file too.
    ("file size", |p| each(p, &ALL, Means::Limit("fsize"), [300, 1000, 3000, 1 << 30])),
    ("threads", threads),
    ("mounts", mounts),
    ("namespaces", |p| NAMESPACES.iter().try_for_each(|kind| each(p, &[Course::Sandbox], Means::Namespaces(kind), [0, 1, 1000]))),
];

/// user_namespaces(7): in /proc/sys/user, for each user namespace by itself.
const NAMESPACES: &[&str] = &["user", "mnt", "pid", "ipc", "uts", "net"];

const MIB: u64 = 1 << 20;

/// From what codexrun needs to begin at all.
fn address_space(place: &Place) -> Result<impl Iterator<Item = u64>, No> {
    let program = place.turn.column.runtime.path.display().to_string();
    let begins = |limit: &u64| {
        let argv = ["prlimit", &format!("--as={limit}:"), &program, "--version"];
        Launch::new(&argv, &place.turn.dir).run(&place.turn.column.actor).is_ok_and(|ran| ran.code == 0)
    };
    let first = (16..).map(|n| n * MIB / 16).find(begins).unwrap_or(MIB);
    Ok((0..12).map(move |n| first + n * MIB / 64).chain([4096 * MIB]))
}

/// One MiB is too little for anybody.
fn memory() -> impl Iterator<Item = u64> {
    (1..9).map(|n| n * MIB).chain([1024 * MIB])
}

/// A search for denied names asks for helpers, and does without.
fn threads(place: &Place) -> Verdict {
    let (want, dir) = (Want::new(place, Means::Cgroup("pids", "pids.max"))?, place.turn.dir.join("tree"));
    (0..100).try_for_each(|n| fs::create_dir_all(dir.join(n.to_string())))?;
    let glob = json!({"path": {"type": "glob_pattern", "pattern": "codex-project-roots://**/*.env"}, "access": "deny"});
    let root = json!({"path": {"type": "special", "value": {"kind": "root"}}, "access": "read"});
    let policy =
        json!({"type": "managed", "network": "restricted", "file_system": {"type": "restricted", "entries": [root, glob]}});
    let file = place.turn.dir.join("policy.json");
    fs::write(&file, policy.to_string())?;
    place.turn.column.actor.own(&place.turn.dir)?;
    let [file, cwd, bundle] = [&file, &dir, &place.turn.dir.join("bundle")].map(|path| path.display().to_string());
    fs::create_dir(&bundle)?;
    place.turn.column.actor.own(bundle.as_ref())?;
    let launch = place.turn.launch(&["spec", "--from-policy", &file, "--cwd", &cwd, "--bundle", &bundle, "--", "/bin/true"]);
    let ran = want.put(launch, 1).run(&place.turn.column.actor)?;
    ran.must("a bundle", ran.code == 0 && Path::new(&bundle).join("config.json").exists())
}

/// `fs.mount-max` is the host's, so the mounts are made: in a namespace of its own a tree is bound into itself until the kernel refuses.
const MOUNTS: &str =
    "mkdir $0 && mount -t tmpfs none $0 && mkdir $0/a || exit 7; while mount --rbind $0 $0/a 2>/dev/null; do :; done; \"$@\"";

/// What of the host is bound does not fit any more.
fn mounts(place: &Place) -> Verdict {
    let turn = &place.turn;
    if !turn.column.actor.is_root() {
        return skip("mounts of the host are made by root");
    }
    let script = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", MOUNTS];
    let dir = turn.dir.join("mounts").display().to_string();
    let sandbox = turn.launch(&["sandbox", "--policy", "read-only", "--", "/bin/echo", "ran"]);
    let argv = [&script.map(str::to_string)[..], &[dir], &sandbox.argv].concat();
    let ran = Launch { argv, ..sandbox }.run(&turn.column.actor)?;
    let said = ran.err.starts_with("codexrun: error: ") && ran.err.lines().count() == 1 && ran.err.contains("No space left");
    ran.must("exit 1, and a sentence that says ENOSPC", ran.code == 1 && ran.out.is_empty() && said)
}

/// How a launch is kept short.
#[derive(Clone, Copy)]
pub(super) enum Means {
    /// A soft limit, by prlimit(1).
    Limit(&'static str),
    /// A cgroup of the suite's own, version 1: controller and file.
    Cgroup(&'static str, &'static str),
    /// A user namespace that may have so many of a kind.
    Namespaces(&'static str),
}

/// Every course that the user can have and that costs little, at every level; at the last, which is plenty, it must be done.
fn each(place: &Place, courses: &[Course], means: Means, levels: impl IntoIterator<Item = u64>) -> Verdict {
    let levels: Vec<u64> = levels.into_iter().collect();
    let want = Want::new(place, means)?;
    let root = place.turn.column.actor.is_root();
    let played = courses.iter().filter(|course| !course.is_dear() && (course.is_for_all() || root));
    let faults: Vec<String> =
        played.map(|course| sweep(place, *course, &want, &levels)).collect::<Result<Vec<_>, No>>()?.concat();
    if faults.is_empty() { Ok(()) } else { fail(want.name(), "all or nothing, and nothing left", faults.join("\n")) }
}

fn sweep(place: &Place, course: Course, want: &Want, levels: &[u64]) -> Result<Vec<String>, No> {
    let ground = Ground::new(&place.turn, course, End::Payload)?;
    let (plenty, scarce) = levels.split_last().map_or((u64::MAX, levels), |(last, others)| (*last, others));
    let judge = Judge::new(course, ground.untraced(|launch| want.put(launch, plenty))?)?;
    let (mut ran, mut faults) = (0, Vec::new());
    for level in scarce {
        let trial = ground.untraced(|launch| want.put(launch, *level))?;
        ran += usize::from(trial.traced.code == 0);
        faults.extend(judge.fault_in_want(&trial).map(|what| format!("{}, {} {level}: {what}", course.name(), want.name())));
    }
    let (column, name) = (place.turn.column.name(), want.name());
    eprintln!("worst: {column}: {}, {name}: {} launches, {ran} done, {} faults", course.name(), scarce.len(), faults.len());
    Ok(faults)
}

/// The means at hand; a cgroup goes when this is dropped.
pub(super) struct Want<'a> {
    place: &'a Place<'a>,
    means: Means,
    cgroup: Option<PathBuf>,
}

impl<'a> Want<'a> {
    pub fn new(place: &'a Place, means: Means) -> Result<Want<'a>, No> {
        let cgroup = match means {
            Means::Cgroup(controller, _) => {
                Some(Path::new("/sys/fs/cgroup").join(controller).join(place.turn.tag.replace("test", "want")))
            }
            Means::Limit(_) | Means::Namespaces(_) => None,
        };
        cgroup.as_ref().map_or(Ok(()), fs::create_dir)?;
        Ok(Want { place, means, cgroup })
    }

    fn name(&self) -> &'static str {
        match self.means {
            Means::Limit(name) | Means::Namespaces(name) | Means::Cgroup(_, name) => name,
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
        };
        let keeps_root = matches!(self.means, Means::Cgroup(..));
        Launch { argv: [before, launch.argv].concat(), keeps_root, ..launch }
    }
}

impl Drop for Want<'_> {
    fn drop(&mut self) {
        // What stays is found by the look at what is left.
        self.cgroup.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}
