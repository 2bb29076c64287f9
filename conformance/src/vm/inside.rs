//! The suite inside the machine: two processes for each runtime, whose verdicts are passed on, line by line, as they come.

use crate::actor::Actor;
use crate::args::Args;
use crate::engine::supervise::say;
use crate::launch;
use crate::oci;
use crate::runtime::{Column, Runtime};
use crate::scene::Stage;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Tells the suite that it is in the machine: `inside`, or a worker's number and its runtime.
pub const INSIDE: &str = "CODEXRUN_CONFORMANCE_VM";
const PROGRAMS: &str = "/opt";
const RUNTIMES: &[&str] = &["codexrun", "runc", "crun"];

/// How many processes share the cases of a runtime.
pub const WORKERS: usize = 2;

/// The supervisor, or one worker: `N PATH`.
pub fn run(args: &Args, word: &str) -> Result<(), String> {
    launch::adopt_orphans().map_err(|e| format!("prctl(PR_SET_CHILD_SUBREAPER): {e}"))?;
    match word.split_once(' ').map(|(n, path)| (n.parse(), Path::new(path))) {
        Some((Ok(n), path)) => worker(args, n, path),
        _ => supervise(),
    }
}

/// All at once: a case mostly waits.
fn supervise() -> Result<(), String> {
    let there = RUNTIMES.iter().map(|name| Path::new(PROGRAMS).join(name)).filter(|path| path.is_file());
    let tasks: Vec<(PathBuf, usize)> = there.flat_map(|path| (0..WORKERS).map(move |n| (path.clone(), n))).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = tasks.iter().map(|(path, n)| scope.spawn(|| forward(path, *n))).collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| "a worker".to_string())?.map_err(|e| e.to_string()))
    })
}

/// A line is one write(2), so that none is torn.
fn forward(runtime: &Path, n: usize) -> io::Result<()> {
    let name = runtime.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut us = Command::new(std::env::current_exe()?);
    us.args(std::env::args().skip(1))
        .env(INSIDE, format!("{n} {}", runtime.display()))
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
fn worker(args: &Args, n: usize, runtime: &Path) -> Result<(), String> {
    let root = Actor { label: "root", name: "root".into(), uid: 0, gid: 0, home: "/root".into() };
    let codexrun = Path::new(PROGRAMS).join("codexrun");
    let column = Column { runtime: Runtime::oci(runtime, &codexrun), actor: root };
    let stage = Stage::sharing(Path::new(PROGRAMS)).map_err(|e| format!("/var/tmp: {e}"))?;
    let wanted = super::all().filter(|must| args.wants(must.name, &column.runtime.label));
    for must in wanted.skip(n).step_by(WORKERS) {
        let begin = Instant::now();
        let verdict = oci::one(&stage, &column, must);
        eprintln!("{:>6} ms {}: {}", begin.elapsed().as_millis(), column.runtime.label, must.name);
        say(must.name, verdict);
    }
    Ok(())
}
