//! Launches with ever less of something, from far too little to enough.

use super::want::{Means, Want};
use super::{Case, Place};
use crate::inject::course::{ALL, Course, Ground};
use crate::inject::judge::Judge;
use crate::inject::tracer::End;
use crate::launch::{Launch, while_orphans_are_collected};
use crate::oci::bundle;
use crate::report::{No, Verdict, fail, skip};
use serde_json::json;
use std::fs;
use std::path::Path;

pub const CASES: &[Case] = &[
    ("descriptors", |p| each(p, &ALL, Means::Limit("nofile"), (3..=26).chain([1024]))),
    ("address space", |p| each(p, &ALL, Means::Limit("as"), address_space(p)?)),
    ("processes", |p| each(p, &ALL, Means::Cgroup("pids", "pids.max"), (1..=9).chain([1000]))),
    ("memory", |p| each(p, &ALL, Means::Cgroup("memory", "memory.limit_in_bytes"), memory())),
    ("processes of the user", of_the_user),
    // Standard error is a file too.
    ("file size", |p| each(p, &ALL, Means::Limit("fsize"), [300, 1000, 3000, 1 << 30])),
    ("threads", threads),
    ("mounts", |p| each(p, &[Course::Sandbox, Course::Run, Course::Create, Course::Exec], Means::Mounts, [0, 1])),
    ("namespaces", |p| NAMESPACES.iter().try_for_each(|kind| each(p, &[Course::Sandbox], Means::Namespaces(kind), [0, 1, 1000]))),
    ("namespaces: run, create, exec", |p| NAMESPACES.iter().try_for_each(|kind| none_left(p, kind))),
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

/// RLIMIT_NPROC, which counts whatever else the user has.
fn of_the_user(place: &Place) -> Verdict {
    if place.turn.column.actor.is_root() {
        return skip("root's processes are not counted (getrlimit(2))");
    }
    each(place, &ALL, Means::Limit("nproc"), (1..=6).chain([4096]))
}

/// In a user namespace of the caller's a container is made, and then there may be no more of a kind. Each step that goes wrong has an exit
/// code.
const NONE_LEFT: &str = r#"
C="$0 --root $1"
$C create --bundle "$2" a && $C start a || exit 11
echo 0 >"/proc/sys/user/max_$3_namespaces" || exit 12
for verb in run create; do
  $C $verb --bundle "$2" b >"$4" 2>&1
  [ $? = 1 ] && [ "$(wc -l <"$4")" = 1 ] && grep -q '^codexrun: error: .*ENOSPC' "$4" || { cat "$4"; exit 13; }
  $C state b 2>/dev/null && exit 14
done
$C exec a /bin/true || exit 15
$C exec --tty a /bin/true </dev/null || exit 16
$C state a | grep -q '"status": "running"' || exit 17
$C list | grep -q running || exit 18
$C kill a KILL && $C delete --force a || exit 19
"#;

/// Who only joins needs none.
fn none_left(place: &Place, kind: &str) -> Verdict {
    let turn = &place.turn;
    let mut config = turn.sleeper();
    bundle::without_namespace(&mut config, "user");
    ["user", "network"].iter().for_each(|kind| bundle::push(&mut config["linux"]["namespaces"], json!({"type": kind})));
    // Its caller is root there.
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map.clone(), map);
    bundle::remove(&mut config["linux"], "cgroupsPath");
    let [dir, state, said] =
        [turn.bundle(&config)?, turn.state.clone(), turn.trace("said")].map(|path| path.display().to_string());
    let codexrun = turn.column.runtime.path.display().to_string();
    let argv =
        ["unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", NONE_LEFT, &codexrun, &state, &dir, kind, &said];
    let ran = while_orphans_are_collected(|| Launch::new(&argv, &turn.dir).start(&turn.column.actor)?.finish_beside_others())?;
    ran.must(&format!("exit 0 without {kind} namespaces: two refusals, and the rest done"), ran.code == 0)
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

/// Every course that the user can have and that costs little, of this part, at every level; at the last, which is plenty, it must be done.
fn each(place: &Place, courses: &[Course], means: Means, levels: impl IntoIterator<Item = u64>) -> Verdict {
    let levels: Vec<u64> = levels.into_iter().collect();
    let want = Want::new(place, means)?;
    let root = place.turn.column.actor.is_root();
    let had = courses.iter().filter(|course| !course.is_dear() && (course.is_for_all() || root));
    let played = had.enumerate().filter(|(n, _)| place.part.has(*n));
    let faults: Vec<String> =
        played.map(|(_, course)| sweep(place, *course, &want, &levels)).collect::<Result<Vec<_>, No>>()?.concat();
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
        // A payload that was created, or is not waited for, lacks it too, and nobody hears of its end.
        let unheard = (course.creates() || course == Course::ExecDetached) && trial.traced.code == 0 && trial.left.is_none();
        let cut = trial.said.as_ref().is_some_and(|said| said.last().is_none_or(|line| line != "end"));
        if unheard && cut {
            continue;
        }
        faults.extend(judge.fault_in_want(&trial).map(|what| format!("{}, {} {level}: {what}", course.name(), want.name())));
    }
    let (column, name) = (place.turn.column.name(), want.name());
    eprintln!("worst: {column}: {}, {name}: {} launches, {ran} done, {} faults", course.name(), scarce.len(), faults.len());
    Ok(faults)
}
