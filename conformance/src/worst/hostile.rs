//! A payload that attacks (`probe hostile`), while it is ended, while others start beside it, and while somebody comes in.

use super::want::{Means, Want};
use super::{Case, Place};
use crate::launch::{GRACE, Ran, orphans_end, while_orphans_are_collected};
use crate::oci::bundle;
use crate::oci::container::Container;
use crate::report::{No, Verdict, fail};
use crate::scene::{difference, snapshot};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("swaps names", |p| all(p, "swaps")),
    ("puts FIFOs where files were", |p| all(p, "makes FIFOs")),
    ("locks whatever it can open", |p| all(p, "locks")),
    ("forks without end", |p| all(p, "forks")),
    ("blocks every signal", |p| all(p, "is deaf")),
    ("stops itself and its group", |p| all(p, "stops")),
    ("kills whomever it sees", |p| all(p, "kills")),
    ("is not dumpable", |p| all(p, "hides")),
    ("fills the workspace", |p| all(p, "fills")),
    ("mounts over everything", |p| all(p, "mounts")),
    ("leaves its terminal for another", |p| all(p, "leaves its terminal")),
    ("reaches what is outside where it may, and changes it", reaches),
];

/// How long a command of codexrun's may take beside it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may rage undisturbed.
const RAGE: Duration = Duration::from_millis(150);
/// Where a container has what is to stay as it is.
const OUTSIDE: &str = "/outside";
/// How many processes it may have.
const PIDS: u64 = 64;

fn all(place: &Place, way: &str) -> Verdict {
    let want = Want::new(place, Means::Cgroup("pids", "pids.max"))?;
    sandbox(place, way, &want)?;
    container(place, way)?;
    terminal(place, way)
}

/// Within its time, and not with a panic.
fn in_time(ran: &Ran, begun: Instant) -> Verdict {
    let took = begun.elapsed();
    ran.must(&format!("an end within {PATIENCE:?}, not after {took:?}"), took < PATIENCE && !ran.err.contains("panicked"))
}

fn outside(place: &Place) -> Result<PathBuf, No> {
    let dir = place.turn.dir.join("outside");
    fs::create_dir_all(dir.join("inner"))?;
    for name in ["file", "inner/file"] {
        fs::write(dir.join(name), "outside\n")?;
    }
    // Nothing but codexrun is to keep whoever rages from it.
    place.turn.column.actor.own(&dir)?;
    Ok(dir)
}

/// What lies outside, as the payload of a bundle can see it.
fn shown(config: &mut Value, outside: &Path, options: [&str; 2]) {
    let mount = json!({"destination": OUTSIDE, "type": "bind", "source": outside, "options": options});
    bundle::push(&mut config["mounts"], mount);
    bundle::push(&mut config["process"]["env"], json!(format!("OUTSIDE={OUTSIDE}")));
}

/// The attack is one: where it may, it changes what must be unchanged elsewhere.
fn reaches(place: &Place) -> Verdict {
    let (turn, outside) = (&place.turn, outside(place)?);
    let before = snapshot(&outside);
    let mut config = raging(place, "makes FIFOs")?;
    shown(&mut config, &outside, ["rbind", "rw"]);
    let container = Container::create(turn, written(place, &config)?, &[])?;
    turn.succeeds(&["start", &container.id])?;
    container.says("ready")?;
    let ended = while_orphans_are_collected(|| turn.call(&["delete", "--force", &container.id]))?;
    ended.must("a host that is changed", ended.code == 0 && difference(&before, &snapshot(&outside)).is_some())
}

/// A workspace with something to lose, on a file system that may be filled.
fn workspace(place: &Place) -> Result<super::full::Small, No> {
    let small = super::full::Small::mount(place, &place.turn.dir.join("workspace"), "size=2m")?;
    fs::create_dir(small.at().join(".git"))?;
    fs::create_dir(small.at().join("sub"))?;
    for name in ["plain", "secret", "sub/inner", ".git/config"] {
        fs::write(small.at().join(name), "text\n")?;
    }
    place.turn.column.actor.own(small.at())?;
    Ok(small)
}

fn sandbox(place: &Place, way: &str, want: &Want) -> Verdict {
    let (turn, outside, small) = (&place.turn, outside(place)?, workspace(place)?);
    let (before, git) = (snapshot(&outside), snapshot(&small.at().join(".git")));
    let (cwd, probe) = (small.at().display().to_string(), place.probe.display().to_string());
    let rage = ["sandbox", "--policy", "workspace-write", "--cwd", &cwd, "--", &probe, "hostile", way];
    let mut launch = turn.launch(&rage);
    launch.env.push(("STATE".into(), turn.state.display().to_string()));
    launch.env.push(("OUTSIDE".into(), outside.display().to_string()));
    let running = want.put(launch, PIDS).start(&turn.column.actor)?;
    let out = running.output()?;
    let ready = || crate::launch::text(&out).is_ok_and(|said| said.contains("ready"));
    crate::oci::container::until(ready)?;
    sleep(RAGE);
    let beside = beside(place, &cwd);
    let begun = Instant::now();
    running.signal(Signal::SIGTERM);
    sleep(RAGE);
    running.signal(Signal::SIGKILL);
    let ran = running.finish_beside_others()?;
    beside?;
    in_time(&ran, begun)?;
    let left = orphans_end(GRACE);
    let changed = difference(&before, &snapshot(&outside)).or_else(|| difference(&git, &snapshot(&small.at().join(".git"))));
    let held: Vec<&str> = [".codex", ".agents"].into_iter().filter(|name| small.at().join(name).exists()).collect();
    let what = changed.into_iter().chain(left).chain(held.iter().map(|name| format!("{name} stays"))).collect::<Vec<_>>();
    if what.is_empty() { Ok(()) } else { fail(&ran.line, "the host is unchanged", what.join("; ")) }
}

/// Others start in the same workspace: each whole, or not at all and with a sentence.
fn beside(place: &Place, cwd: &str) -> Verdict {
    for _ in 0..3 {
        let begun = Instant::now();
        let ran = place.turn.call(&["sandbox", "--policy", "workspace-write", "--cwd", cwd, "--", "/bin/echo", "whole"])?;
        in_time(&ran, begun)?;
        let refused = ran.code != 0 && ran.out.is_empty() && ran.err.starts_with("codexrun: error: ");
        ran.must("all, or a sentence", refused || ran.code == 0 && ran.out == "whole\n")?;
    }
    Ok(())
}

/// A bundle whose payload rages, on a file system that may be filled.
fn raging(place: &Place, way: &str) -> Result<Value, No> {
    let turn = &place.turn;
    let mut config = turn.config(&["/probe", "hostile", way]);
    if turn.column.actor.is_root() {
        config["linux"]["resources"] = json!({"pids": {"limit": PIDS}});
    } else {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": PIDS, "hard": PIDS}]);
    }
    let tmp = json!({"destination": "/work", "type": "tmpfs", "source": "tmpfs", "options": ["size=2m", "mode=1777"]});
    bundle::push(&mut config["mounts"], tmp);
    config["process"]["cwd"] = json!("/work");
    Ok(config)
}

fn written(place: &Place, config: &Value) -> Result<PathBuf, No> {
    let dir = place.turn.bundle(config)?;
    fs::copy(&place.probe, dir.join("rootfs/probe"))?;
    place.turn.column.actor.own(&dir)?;
    Ok(dir)
}

/// While it is started, with a hook that goes on beside it; while others come in, and it comes in itself; while it is ended.
fn container(place: &Place, way: &str) -> Verdict {
    let (turn, outside) = (&place.turn, outside(place)?);
    let before = snapshot(&outside);
    let mut config = raging(place, way)?;
    shown(&mut config, &outside, ["rbind", "rro"]);
    let hook = json!([{"path": "/bin/sleep", "args": ["sleep", "0.1"]}]);
    config["hooks"] = json!({"poststart": hook, "poststop": hook});
    let container = Container::create(turn, written(place, &config)?, &[])?;
    container.made.must("create exits 0", container.made.code == 0)?;
    let begun = Instant::now();
    let started = turn.call(&["start", &container.id])?;
    started.must("exit 0", started.code == 0)?;
    in_time(&started, begun)?;
    container.says("ready")?;
    sleep(RAGE);
    for (code, words) in [
        (0, &["exec", &container.id, "/bin/true"][..]),
        // No such way.
        (2, &["exec", &container.id, "/probe", "hostile", "none"]),
        (0, &["exec", "--detach", &container.id, "/probe", "hostile", way]),
        (0, &["exec", "--user", "1", &container.id, "/bin/true"]),
        (0, &["state", &container.id]),
        (0, &["list"]),
        (0, &["ps", &container.id]),
    ] {
        let begun = Instant::now();
        let ran = turn.call(words)?;
        in_time(&ran, begun)?;
        // It may have been killed in there.
        let good = ran.code == code || ran.code > 128 || ran.err.starts_with("codexrun: error: ");
        ran.must("all, or a sentence", good)?;
    }
    let begun = Instant::now();
    turn.call(&["kill", &container.id, "TERM"])?;
    let ended = while_orphans_are_collected(|| turn.call(&["delete", "--force", &container.id]))?;
    ended.must("exit 0", ended.code == 0)?;
    in_time(&ended, begun)?;
    turn.unknown(&container.id)?;
    difference(&before, &snapshot(&outside)).map_or(Ok(()), |what| fail(&ended.line, "the host is unchanged", what))
}

/// The same with a terminal, which codexrun relays meanwhile: SIGTERM of codexrun's own, then the end of the container.
fn terminal(place: &Place, way: &str) -> Verdict {
    let (turn, outside) = (&place.turn, outside(place)?);
    let before = snapshot(&outside);
    let mut config = raging(place, way)?;
    shown(&mut config, &outside, ["rbind", "rro"]);
    config["process"]["terminal"] = json!(true);
    let (dir, id) = (written(place, &config)?.display().to_string(), turn.fresh());
    let running = turn.launch(&["run", "--bundle", &dir, &id]).start(&turn.column.actor)?;
    let out = running.output()?;
    crate::oci::container::until(|| crate::launch::text(&out).is_ok_and(|said| said.contains("ready")))?;
    sleep(RAGE);
    let begun = Instant::now();
    let ran = turn.call(&["exec", "--tty", &id, "/bin/true"])?;
    in_time(&ran, begun)?;
    // One more that rages, on a terminal of its own; it ends with the container.
    let second = turn.launch(&["exec", "--tty", &id, "/probe", "hostile", way]).start(&turn.column.actor)?;
    sleep(RAGE);
    let begun = Instant::now();
    second.signal(Signal::SIGTERM);
    running.signal(Signal::SIGTERM);
    sleep(RAGE);
    // It may have ended by SIGTERM, and is forgotten then.
    turn.call(&["kill", &id, "KILL"])?;
    // Whom the second one leaves is in the container, whose first process ends after him.
    let ran = while_orphans_are_collected(|| second.finish_beside_others())?;
    in_time(&ran, begun)?;
    ran.must("no end of its own", ran.code != 0)?;
    let ran = while_orphans_are_collected(|| running.finish_beside_others())?;
    in_time(&ran, begun)?;
    ran.must("the end by a signal", ran.code > 128)?;
    let left = orphans_end(GRACE);
    turn.unknown(&id)?;
    let what = difference(&before, &snapshot(&outside)).into_iter().chain(left).collect::<Vec<_>>();
    if what.is_empty() { Ok(()) } else { fail(&ran.line, "the host is unchanged", what.join("; ")) }
}
