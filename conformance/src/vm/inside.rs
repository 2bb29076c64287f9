//! The suite inside the machine, first without systemd, then with it: a few processes for each runtime, whose verdicts are passed on, line by line, as they come.

use crate::actor::Actor;
use crate::args::Args;
use crate::launch;
use crate::oci;
use crate::oci::Must;
use crate::runtime::{Column, Runtime};
use crate::scene::Stage;
use crate::told::say;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::OURS;

/// Tells the suite that it is in the machine: `inside`, `systemd`, or a worker: its part and its runtime.
pub const INSIDE: &str = "CODEXRUN_CONFORMANCE_VM";
const PROGRAMS: &str = "/opt";
/// By the names of their files.
pub const RUNTIMES: [&str; 3] = ["codexrun", "runc", "crun"];

/// How many processes share the cases of a runtime that need no systemd.
pub const WORKERS: usize = 2;

/// How many end well when all is well; with systemd there is one for each, and the user's.
pub fn workers(runtimes: &[PathBuf], systemd: bool) -> usize {
    let user = usize::from(runtimes.iter().any(|path| path.ends_with(OURS)));
    runtimes.len() * WORKERS + if systemd { runtimes.len() + user } else { 0 }
}

/// What a worker plays: every [`WORKERS`]th case from one on, or those that need systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Nth(usize),
    Systemd,
    User,
}

impl Part {
    fn word(self) -> String {
        match self {
            Part::Nth(n) => n.to_string(),
            Part::Systemd => "root".into(),
            Part::User => "user".into(),
        }
    }

    fn read(word: &str) -> Option<Part> {
        match word {
            "root" => Some(Part::Systemd),
            "user" => Some(Part::User),
            n => n.parse().ok().map(Part::Nth),
        }
    }

    fn cases(self) -> Vec<&'static Must> {
        match self {
            Part::Nth(n) => super::GROUPS.iter().flat_map(|(_, cases)| cases.iter()).skip(n).step_by(WORKERS).collect(),
            Part::Systemd => super::SYSTEMD.1.iter().collect(),
            Part::User => super::USER.1.iter().collect(),
        }
    }

    fn actor(self) -> Actor {
        match self {
            Part::Nth(_) | Part::Systemd => Actor { label: "root", name: "root".into(), uid: 0, gid: 0, home: "/root".into() },
            Part::User => Actor { label: "user", name: "codexrun-test".into(), uid: 1001, gid: 1001, home: "/tmp".into() },
        }
    }
}

/// The supervisor, or one worker: `N PATH`.
pub fn run(args: &Args, word: &str) -> Result<(), String> {
    launch::adopt_orphans().map_err(|e| format!("prctl(PR_SET_CHILD_SUBREAPER): {e}"))?;
    match word.split_once(' ').map(|(part, path)| (Part::read(part), Path::new(path))) {
        Some((Some(part), path)) => worker(args, part, path),
        _ => supervise(word == "systemd"),
    }
}

/// All at once: a case mostly waits.
fn supervise(systemd: bool) -> Result<(), String> {
    let there = RUNTIMES.iter().map(|name| Path::new(PROGRAMS).join(name)).filter(|path| path.is_file());
    let parts = |path: &Path| -> Vec<Part> {
        match systemd {
            false => (0..WORKERS).map(Part::Nth).collect(),
            true if path.ends_with(OURS) => vec![Part::Systemd, Part::User],
            // Who asks busctl(1) who the user is cannot be asked in a machine that has none.
            true => vec![Part::Systemd],
        }
    };
    let tasks: Vec<(PathBuf, Part)> =
        there.flat_map(|path| parts(&path).into_iter().map(move |part| (path.clone(), part))).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = tasks.iter().map(|(path, part)| scope.spawn(|| forward(path, *part))).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| "a worker".to_string())?.map_err(|e| e.to_string()))
    })
}

/// A line is one write(2), so that none is torn.
fn forward(runtime: &Path, part: Part) -> io::Result<()> {
    let name = runtime.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut us = Command::new(std::env::current_exe()?);
    us.args(std::env::args().skip(1))
        .env(INSIDE, format!("{} {}", part.word(), runtime.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = us.spawn()?;
    let pass_on = |told: &Value| {
        let line = format!("{}\n", json!({"column": name, "told": told}));
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush())
    };
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let line = line?;
        pass_on(&serde_json::from_str(&line).unwrap_or(Value::String(line)))?;
    }
    let ended = if child.wait()?.success() { "ok" } else { "failed" };
    pass_on(&json!({"end": ended}))
}

/// Its share of the cases on one runtime.
fn worker(args: &Args, part: Part, runtime: &Path) -> Result<(), String> {
    if part == Part::User {
        let procs = Path::new(super::systemd::DELEGATED).join("caller/cgroup.procs");
        std::fs::write(&procs, "0").map_err(|e| format!("{}: {e}", procs.display()))?;
    }
    let codexrun = Path::new(PROGRAMS).join("codexrun");
    let column = Column { runtime: Runtime::oci(runtime, &codexrun), actor: part.actor() };
    let stage = Stage::sharing(Path::new(PROGRAMS)).map_err(|e| format!("/var/tmp: {e}"))?;
    for must in part.cases().into_iter().filter(|must| args.wants(must.name, &column.runtime.label)) {
        let begin = Instant::now();
        let verdict = oci::one(&stage, &column, must);
        eprintln!("{:>6} ms {}: {}", begin.elapsed().as_millis(), column.runtime.label, must.name);
        say(must.name, verdict);
    }
    Ok(())
}
