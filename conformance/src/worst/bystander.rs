//! Containers that have nothing to do with a sandbox: what is recorded of them is out of its reach, although it may read everything and
//! is the same user.

use super::full::Small;
use super::{Case, Place};
use crate::launch::{GRACE, Launch, orphans_end, while_orphans_are_collected};
use crate::report::{No, Verdict, fail};
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("cannot hold the lock of a container that it is not in", locked),
    ("cannot start a container that waits", started),
    ("cannot be where the records will be", planted),
];

/// Where every codexrun of the caller looks, with nobody else's containers in it; root's is a new one for this case.
fn usual(place: &Place) -> Result<(PathBuf, Option<Small>), No> {
    if place.turn.column.actor.is_root() {
        let run = Small::mount(place, Path::new("/run"), "mode=0755")?;
        return Ok(("/run/codexrun".into(), Some(run)));
    }
    Ok((place.turn.dir.join("run/codexrun"), None))
}

/// A call with `root` for its records.
fn call(place: &Place, root: &Path, words: &[&str]) -> Launch {
    let mut launch = place.turn.launch(words);
    let at = launch.argv.iter().position(|word| *word == place.turn.state.display().to_string());
    at.into_iter().for_each(|at| launch.argv[at] = root.display().to_string());
    launch
}

fn done(place: &Place, root: &Path, words: &[&str]) -> Verdict {
    let begun = Instant::now();
    let ran = while_orphans_are_collected(|| call(place, root, words).start(&place.turn.column.actor)?.finish_beside_others())?;
    ran.must("exit 0, within 5 s", ran.code == 0 && begun.elapsed() < Duration::from_secs(5))
}

/// `attack` is made of a container that waits for its start, by a sandbox; then the container is as it was, and can be deleted.
fn attacked(place: &Place, attack: &[&str]) -> Verdict {
    let turn = &place.turn;
    let (root, _run) = usual(place)?;
    let (dir, id) = (turn.bundle(&turn.sleeper())?.display().to_string(), turn.fresh());
    done(place, &root, &["create", "--bundle", &dir, &id])?;
    let words = [&["sandbox", "--policy", "workspace-write", "--cwd", "/var", "--"], attack].concat();
    let mut launch = call(place, &root, &words);
    launch.env.push(("STATE".into(), root.display().to_string()));
    let running = launch.start(&turn.column.actor)?;
    let out = running.output()?;
    let ready = crate::oci::container::until(|| crate::launch::text(&out).is_ok_and(|said| said.contains("ready")));
    sleep(Duration::from_millis(200));
    let state = call(place, &root, &["state", &id]).start(&turn.column.actor)?.finish_beside_others()?;
    let deleted = done(place, &root, &["delete", "--force", &id]);
    running.signal(Signal::SIGKILL);
    let ran = running.finish_beside_others()?;
    orphans_end(GRACE);
    ready.or_else(|_| fail(&ran.line, "the attack", ran.summary()))?;
    let status = serde_json::from_str::<serde_json::Value>(&state.out).unwrap_or_default()["status"].clone();
    state.must("created", status == "created")?;
    deleted.or_else(|no| fail(&ran.line, "the container can be deleted", format!("{no:?}")))
}

fn locked(place: &Place) -> Verdict {
    let probe = place.probe.display().to_string();
    attacked(place, &[&probe, "hostile", "locks"])
}

fn started(place: &Place) -> Verdict {
    attacked(place, &["/bin/sh", "-c", "for gate in $STATE/*/start; do echo s > $gate; done; echo ready; exec sleep 1000"])
}

/// Without XDG_RUNTIME_DIR they are in /dev/shm, and this sandbox has been given the host's.
fn planted(place: &Place) -> Verdict {
    let turn = &place.turn;
    if turn.column.actor.is_root() {
        return crate::report::skip("root's are in /run, where no sandbox can write");
    }
    let uid = turn.column.actor.uid;
    let script = format!("mkdir -p /dev/shm/codexrun-{uid}/planted && echo planted");
    let policy = turn.dir.join("shm.json");
    fs::write(&policy, r#"{"type": "workspace-write", "writable_roots": ["/dev/shm"]}"#)?;
    let policy = policy.display().to_string();
    let mut launch = turn.launch(&["sandbox", "--policy", &policy, "--", "/bin/sh", "-c", &script]);
    launch.env.clear();
    launch.env.push(("TMPDIR".into(), "/tmp".into()));
    let ran = launch.run(&turn.column.actor)?;
    ran.must("nothing is made", ran.code != 0 && ran.out.is_empty())?;
    let there = Path::new("/dev/shm").join(format!("codexrun-{uid}"));
    if there.exists() { fail(&ran.line, "nothing is left", there.display()) } else { Ok(()) }
}
