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
use std::path::PathBuf;
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
];

/// How long a command of codexrun's may take beside it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may rage undisturbed.
const RAGE: Duration = Duration::from_millis(150);
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
    fs::write(dir.join("file"), "outside\n")?;
    Ok(dir)
}

/// A workspace with something to lose, on a file system that may be filled.
fn workspace(place: &Place) -> Result<super::full::Small, No> {
    let small = super::full::Small::mount(place, &place.turn.dir.join("workspace"), "size=2m")?;
    fs::create_dir(small.at.join(".git"))?;
    fs::create_dir(small.at.join("sub"))?;
    for name in ["plain", "secret", "sub/inner", ".git/config"] {
        fs::write(small.at.join(name), "text\n")?;
    }
    place.turn.column.actor.own(&small.at)?;
    Ok(small)
}

fn sandbox(place: &Place, way: &str, want: &Want) -> Verdict {
    let (turn, outside, small) = (&place.turn, outside(place)?, workspace(place)?);
    let (before, git) = (snapshot(&outside), snapshot(&small.at.join(".git")));
    let (cwd, probe) = (small.at.display().to_string(), place.probe.display().to_string());
    let rage = ["sandbox", "--policy", "workspace-write", "--cwd", &cwd, "--", &probe, "hostile", way];
    let mut launch = turn.launch(&rage);
    launch.env.push(("STATE".into(), turn.state.display().to_string()));
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
    let changed = difference(&before, &snapshot(&outside)).or_else(|| difference(&git, &snapshot(&small.at.join(".git"))));
    let held: Vec<&str> = [".codex", ".agents"].into_iter().filter(|name| small.at.join(name).exists()).collect();
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
    for words in [
        &["exec", &container.id, "/bin/true"][..],
        &["exec", &container.id, "/probe", "hostile", "none"],
        &["exec", "--detach", &container.id, "/probe", "hostile", way],
        &["exec", "--user", "1", &container.id, "/bin/true"],
        &["state", &container.id],
        &["list"],
        &["ps", &container.id],
    ] {
        let begun = Instant::now();
        let ran = turn.call(words)?;
        in_time(&ran, begun)?;
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
    let ran = second.finish_beside_others()?;
    in_time(&ran, begun)?;
    ran.must("no end of its own", ran.code != 0)?;
    let ran = running.finish_beside_others()?;
    in_time(&ran, begun)?;
    ran.must("the end by a signal", ran.code > 128)?;
    let left = orphans_end(GRACE);
    turn.unknown(&id)?;
    let what = difference(&before, &snapshot(&outside)).into_iter().chain(left).collect::<Vec<_>>();
    if what.is_empty() { Ok(()) } else { fail(&ran.line, "the host is unchanged", what.join("; ")) }
}
