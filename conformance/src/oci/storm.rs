//! The storm: many containers at once, and the runtime itself killed at random moments. Afterwards every id is either known
//! to `state` or gone, and when all are deleted nothing of them is left.

use super::bundle::without_namespace;
use super::turn::Turn;
use super::{busybox, host_mounts, nothing_left};
use crate::dice::Dice;
use crate::launch::{Ran, while_orphans_are_collected};
use crate::report::{No, Verdict, fail};
use crate::runtime::Column;
use crate::scene::Stage;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How many lives are under way at once.
const IN_FLIGHT: usize = 16;
/// One call in so many is killed.
const ONE_IN: u64 = 3;
/// One life in so many is without a mount namespace.
const ONE_HERE_IN: u64 = 4;
/// A killed call lives so long at most: about what it would need.
const LATEST: Duration = Duration::from_millis(60);

/// A storm's name in the report.
pub const ROW: &str = "storm: nothing is left and no id is lost";

/// What all lives share.
struct Storm<'a> {
    column: &'a Column,
    dir: PathBuf,
    tag: String,
    busybox: PathBuf,
    seed: u64,
    calls: AtomicU32,
    killed: AtomicU32,
    faults: Mutex<Vec<String>>,
}

/// `count` lives, of which each depends on the seed and its own number alone.
pub fn run(stage: &Stage, column: &Column, count: u32, seed: u64) -> Verdict {
    let ((dir, tag), started, mounts) = (stage.place("storm")?, Instant::now(), host_mounts());
    fs::create_dir_all(dir.join("tmp"))?;
    let storm = Storm {
        column,
        dir: dir.clone(),
        tag: tag.clone(),
        busybox: busybox(stage)?,
        seed,
        calls: AtomicU32::new(0),
        killed: AtomicU32::new(0),
        faults: Mutex::default(),
    };
    let turn = Turn::new(column, dir.clone(), tag, &storm.busybox)?;
    storm.rage(count);
    let left = nothing_left(&turn, &mounts).and_then(|()| empty(&[dir.join("state"), dir.join("tmp"), dir.join("run")]));
    let (calls, killed) = (storm.calls.load(Ordering::Relaxed), storm.killed.load(Ordering::Relaxed));
    let name = column.name();
    eprintln!("storm: {name}: seed {seed}, {count} containers, {calls} calls, {killed} killed, {:.1?}", started.elapsed());
    fs::remove_dir_all(&dir)?;
    let faults = storm.faults.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if faults.is_empty() { left } else { fail(format!("--storm {count} --seed {seed}"), "no id is lost", faults.join("\n")) }
}

/// Directories of ours in which a runtime may have left something.
fn empty(dirs: &[PathBuf]) -> Verdict {
    let entries = dirs.iter().flat_map(|d| fs::read_dir(d).into_iter().flatten().flatten());
    let left: Vec<String> = entries.map(|e| e.path().display().to_string()).collect();
    if left.is_empty() { Ok(()) } else { fail("(after the storm)", "no file is left", left.join("; ")) }
}

impl Storm<'_> {
    fn rage(&self, count: u32) {
        let next = AtomicU32::new(0);
        let live = || {
            while let Some(n) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count) {
                self.note(n, self.life(n));
            }
        };
        while_orphans_are_collected(|| {
            std::thread::scope(|scope| (0..IN_FLIGHT).for_each(|_| drop(scope.spawn(live))));
        });
    }

    fn note(&self, n: u32, verdict: Verdict) {
        if let Err(No::Fail { command, expected, got }) = verdict {
            let mut faults = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            faults.push(format!("life {n}: {command}: expected {expected}, got {got}"));
        }
    }

    fn life(&self, n: u32) -> Verdict {
        let dir = self.dir.join(n.to_string());
        fs::create_dir(&dir)?;
        let mut turn = Turn::new(self.column, dir, format!("{}-{n}", self.tag), &self.busybox)?;
        turn.state = self.dir.join("state");
        let mut life = Life { storm: self, turn: &turn, id: turn.fresh(), dice: Dice::nth(self.seed, n) };
        let config = life.config();
        let lived = life.live(&turn.bundle(&config)?);
        let deleted = life.delete();
        lived.and(deleted)
    }
}

struct Life<'a> {
    storm: &'a Storm<'a>,
    turn: &'a Turn<'a>,
    id: String,
    dice: Dice,
}

impl Life<'_> {
    /// Some of root's stay in the runtime's mount namespace. With runc and crun the mounts of such a one stay there too, for ever.
    fn config(&mut self) -> Value {
        let (mut config, column) = (self.turn.sleeper(), self.turn.column);
        if self.dice.roll(ONE_HERE_IN) == 0 && column.runtime.is_codexrun() && column.actor.is_root() {
            without_namespace(&mut config, "mount");
        }
        config
    }

    /// Whatever is killed on the way: once `create` has said yes, the id is known.
    fn live(&mut self, bundle: &Path) -> Verdict {
        let (id, bundle) = (self.id.clone(), bundle.display().to_string());
        if !self.done(&["create", "--bundle", &bundle, &id])? {
            return Ok(());
        }
        self.known()?;
        let started = self.done(&["start", &id])?;
        let status = self.known()?;
        if started && status != "running" {
            return fail(format!("state {id} after start"), "running", status);
        }
        for words in [&["exec", id.as_str(), "/bin/true"][..], &["exec", "--detach", &id, "/bin/sleep", "1000"]] {
            // In a container that a killed `start` has left there may be nothing to join.
            if started {
                self.done(words).map(drop)?
            } else {
                self.call(words).map(drop)?
            }
            self.known()?;
        }
        self.call(&["kill", &id, "KILL"])?;
        self.known()?;
        self.call(&["delete", &id]).map(drop)
    }

    /// By force, as an engine that cleans up; then nobody knows the id.
    fn delete(&self) -> Verdict {
        let ran = self.turn.call(&["delete", "--force", &self.id])?;
        ran.must("exit 0", ran.code == 0)?;
        self.turn.unknown(&self.id)
    }

    fn known(&self) -> Result<String, No> {
        let ran = self.turn.succeeds(&["state", &self.id])?;
        let state: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        match state["status"].as_str() {
            Some(status) if ["created", "running", "stopped"].contains(&status) => Ok(status.into()),
            _ => fail(&ran.line, "a status", ran.summary()),
        }
    }

    /// A call that succeeds unless it is killed: whether it was not.
    fn done(&mut self, words: &[&str]) -> Result<bool, No> {
        let Some(ran) = self.call(words)? else {
            return Ok(false);
        };
        ran.must("exit 0", ran.code == 0).map(|()| true)
    }

    /// A call, or none to speak of when it was killed before its end.
    fn call(&mut self, words: &[&str]) -> Result<Option<Ran>, No> {
        let mut launch = self.turn.launch(words);
        launch.env.push(("TMPDIR".into(), self.storm.dir.join("tmp").display().to_string()));
        self.storm.calls.fetch_add(1, Ordering::Relaxed);
        let running = launch.start(&self.turn.column.actor)?;
        let doomed = self.dice.roll(ONE_IN) == 0;
        if doomed {
            // Half of them early: that is when files, processes and mounts are made.
            let latest = LATEST / if self.dice.roll(2) == 0 { 8 } else { 1 };
            let micros = self.dice.roll(latest.as_micros() as u64);
            std::thread::sleep(Duration::from_micros(micros));
            running.signal(Signal::SIGKILL);
        }
        let ran = running.finish_beside_others()?;
        if ran.timed_out {
            return fail(&ran.line, "an end", ran.summary());
        }
        let struck = doomed && ran.code == 137;
        self.storm.killed.fetch_add(struck.into(), Ordering::Relaxed);
        Ok((!struck).then_some(ran))
    }
}
