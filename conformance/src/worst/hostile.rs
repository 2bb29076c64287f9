//! A payload that attacks (`probe hostile`), while it is ended, while others start beside it, and while somebody comes in.

use super::scarce::{Means, Want};
use super::{Case, Place};
use crate::launch::{GRACE, Ran, orphans_end};
use crate::oci::bundle;
use crate::oci::container::Container;
use crate::report::{No, Verdict, fail};
use crate::scene::{difference, snapshot};
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("swaps names", |p| both(p, "swaps")),
    ("puts FIFOs where files were", |p| both(p, "makes FIFOs")),
    ("locks whatever it can open", |p| both(p, "locks")),
    ("forks without end", |p| both(p, "forks")),
    ("blocks every signal", |p| both(p, "is deaf")),
    ("stops itself and its group", |p| both(p, "stops")),
    ("kills whomever it sees", |p| both(p, "kills")),
    ("is not dumpable", |p| both(p, "hides")),
    ("fills the workspace", |p| both(p, "fills")),
    ("mounts over everything", |p| both(p, "mounts")),
    ("leaves its terminal for another", |p| both(p, "leaves its terminal")),
];

/// How long a command of codexrun's may take beside it.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may rage undisturbed.
const RAGE: Duration = Duration::from_millis(150);
/// How many processes it may have.
const PIDS: u64 = 64;

fn both(place: &Place, way: &str) -> Verdict {
    let want = Want::new(place, Means::Cgroup("pids", "pids.max"))?;
    sandbox(place, way, &want)?;
    container(place, way)
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

fn container(place: &Place, way: &str) -> Verdict {
    let (turn, outside) = (&place.turn, outside(place)?);
    let before = snapshot(&outside);
    let mut config = turn.config(&["/probe", "hostile", way]);
    if turn.column.actor.is_root() {
        config["linux"]["resources"] = json!({"pids": {"limit": PIDS}});
    } else {
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NPROC", "soft": PIDS, "hard": PIDS}]);
    }
    let tmp = json!({"destination": "/work", "type": "tmpfs", "source": "tmpfs", "options": ["size=2m", "mode=1777"]});
    bundle::push(&mut config["mounts"], tmp);
    config["process"]["cwd"] = json!("/work");
    let dir = turn.bundle(&config)?;
    fs::copy(&place.probe, dir.join("rootfs/probe"))?;
    turn.column.actor.own(&dir)?;
    let container = Container::create(turn, dir, &[])?;
    container.made.must("create exits 0", container.made.code == 0)?;
    container.start()?;
    container.says("ready")?;
    sleep(RAGE);
    for words in [
        &["exec", &container.id, "/bin/true"][..],
        &["exec", &container.id, "/probe", "hostile", "none"],
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
    let ended = turn.call(&["kill", &container.id, "TERM"]).and_then(|_| turn.call(&["delete", "--force", &container.id]))?;
    ended.must("exit 0", ended.code == 0)?;
    in_time(&ended, begun)?;
    turn.unknown(&container.id)?;
    difference(&before, &snapshot(&outside)).map_or(Ok(()), |what| fail(&ended.line, "the host is unchanged", what))
}
