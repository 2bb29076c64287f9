//! The outside of the columns: starts them, two at a time, ends those that take too long, and cleans up on Ctrl-C too.

use super::case::nest;
use super::place::Place;
use super::{Engine, is_referee, obstacle};
use crate::args::Args;
use crate::report::{Report, Verdict, fail, skip};
use crate::told::heard;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Columns at once: much of a column's time is waiting, so one more than a small machine has processors.
const AT_ONCE: usize = 3;
/// Many times what a column needs.
const LIMIT: Duration = Duration::from_secs(600);
const ENDS: &str = "engine: the column ends by itself";
/// The runtime whose failures say what a machine cannot do.
const MEASURE: &str = "runc";

/// What a column is before it runs.
struct Column {
    name: String,
    words: Vec<String>,
}

struct Running {
    name: String,
    child: Child,
    out: File,
    end: Instant,
}

struct Ended {
    name: String,
    verdicts: Vec<(String, Verdict)>,
}

/// Runs every engine on every runtime and judges: see [`excuses`].
pub fn run(args: &Args, engines: &[&Engine], runtimes: &[PathBuf], codexrun: &Path) -> Result<Report, String> {
    let mut report = Report::default();
    if let Some(reason) = obstacle() {
        engines.iter().for_each(|e| report.add(super::STARTS, e.word, "", skip(&reason)));
        return Ok(report);
    }
    let interrupts = interrupts().map_err(|e| format!("signalfd: {e}"))?;
    let place = Place::new().map_err(|e| format!("the place of the engines: {e}"))?;
    let columns = columns(&place, args, engines, runtimes, codexrun).map_err(|e| format!("runtimes: {e}"))?;
    let order: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let ended = all(&place, columns.into(), &interrupts)?;
    for row in super::all_rows(engines).iter().map(String::as_str).chain([ENDS]) {
        for name in &order {
            let verdicts = ended.iter().filter(|e| e.name == *name).flat_map(|e| &e.verdicts);
            verdicts.filter(|(r, _)| r == row).for_each(|(_, verdict)| report.add(row, name, "", verdict.clone()));
        }
    }
    excuses(&mut report, runtimes);
    Ok(report)
}

fn columns(
    place: &Place,
    args: &Args,
    engines: &[&Engine],
    runtimes: &[PathBuf],
    codexrun: &Path,
) -> std::io::Result<Vec<Column>> {
    let codexrun = place.program(runtimes.len(), codexrun)?;
    let programs: Vec<PathBuf> = runtimes.iter().enumerate().map(|(n, r)| place.program(n, r)).collect::<Result<_, _>>()?;
    let pairs = engines.iter().flat_map(|e| programs.iter().map(move |p| (e, p)));
    Ok(pairs.map(|(engine, program)| column(args, engine.word, program, &codexrun)).collect())
}

fn column(args: &Args, engine: &str, program: &Path, codexrun: &Path) -> Column {
    let (runtime, codexrun) = (program.display().to_string(), codexrun.display().to_string());
    let mut words = ["--engine", engine, "--runtime", &runtime, "--codexrun", &codexrun].map(str::to_string).to_vec();
    for (option, value) in [("--filter", &args.filter), ("--user", &args.user)] {
        words.extend(value.iter().flat_map(|v| [option.to_string(), v.clone()]));
    }
    words.extend(args.verbose.then(|| "-v".to_string()));
    Column { name: format!("{engine}/{}", label(program)), words }
}

fn label(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into()
}

/// Takes the signals that would end us, so that we can clean up first.
fn interrupts() -> nix::Result<SignalFd> {
    let set: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

fn all(place: &Place, mut waiting: VecDeque<Column>, interrupts: &SignalFd) -> Result<Vec<Ended>, String> {
    let mut running: Vec<Running> = Vec::new();
    let mut ended = Vec::new();
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < AT_ONCE
            && let Some(column) = waiting.pop_front()
        {
            running.push(start(place, column).map_err(|e| format!("a column: {e}"))?);
        }
        if let Ok(Some(signal)) = interrupts.read_signal() {
            return Err(format!("ended by signal {}", signal.ssi_signo));
        }
        let mut still = Vec::new();
        for mut column in running {
            match column.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => ended.push(column.collect(Some(status))),
                None if Instant::now() > column.end => ended.push(column.collect(None)),
                None => still.push(column),
            }
        }
        running = still;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(ended)
}

fn start(place: &Place, column: Column) -> std::io::Result<Running> {
    eprintln!("conformance: {}", column.name);
    let out = tempfile::tempfile()?;
    let child = place.start(&column.name, &column.words, out.try_clone()?)?;
    Ok(Running { name: column.name, child, out, end: Instant::now() + LIMIT })
}

impl Running {
    /// What it has said; and that it has not ended well, when it has not.
    fn collect(mut self, status: Option<ExitStatus>) -> Ended {
        let mut text = String::new();
        let read = self.out.rewind().and_then(|()| self.out.read_to_string(&mut text));
        let mut verdicts: Vec<(String, Verdict)> = text.lines().filter_map(heard).map(|told| (told.row, told.verdict)).collect();
        let well = status.is_some_and(|s| s.success()) && read.is_ok();
        if !well {
            let how = status.map_or_else(|| format!("killed after {LIMIT:?}"), |s| s.to_string());
            let last = verdicts.last().map_or("nothing".into(), |(row, _)| row.clone());
            verdicts.push((ENDS.into(), fail(&self.name, "exit 0", format!("{how}; the last row was: {last}"))));
        }
        Ended { name: self.name.clone(), verdicts }
    }
}

impl Drop for Running {
    /// `unshare` ends PID 1 of the column with itself, and PID 1 everything else.
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Failures of the referees do not count, nor those that runc shares: they show what this machine cannot do. Without runc in
/// the run, every failure of the others counts, and always those of a codexrun that runs inside, whoever runs the container.
fn excuses(report: &mut Report, runtimes: &[PathBuf]) {
    for referee in runtimes.iter().filter(|r| is_referee(r)) {
        let name = label(referee);
        report.excuse(&format!("{name} is a referee, its failures do not fail the run"), |row, column| {
            column.ends_with(&format!("/{name}")) && !is_ours(row)
        });
    }
    let same: Vec<(String, String)> = report.failures().map(|(row, column)| (row.into(), column.into())).collect();
    report.excuse("runc fails in it too on this machine", |row, column| {
        let engine = column.split('/').next().unwrap_or_default();
        same.iter().any(|(r, c)| r == row && *c == format!("{engine}/{MEASURE}")) && !is_ours(row)
    });
}

fn is_ours(row: &str) -> bool {
    row.starts_with(nest::GROUP.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cells: &[(&str, &str, bool)]) -> Report {
        let mut report = Report::default();
        cells.iter().for_each(|(row, column, ok)| report.add(row, column, "", if *ok { Ok(()) } else { fail("c", "e", "g") }));
        excuses(&mut report, &["/x/codexrun", "/usr/sbin/runc", "/usr/bin/crun"].map(PathBuf::from));
        report
    }

    #[test]
    fn only_what_passes_with_runc_fails_the_run() {
        let shared = [("a", "docker/codexrun", false), ("a", "docker/runc", false)];
        assert!(!report(&shared).failed());
        let own = [("a", "docker/codexrun", false), ("a", "docker/runc", true), ("a", "podman/runc", false)];
        assert!(report(&own).failed());
        let alone = [("a", "docker/codexrun", false), ("a", "docker/crun", false)];
        assert!(report(&alone).failed());
        assert!(!report(&[("a", "docker/codexrun", true), ("a", "docker/crun", false)]).failed());
        assert!(report(&[("nested sandbox: a", "docker/codexrun", false), ("nested sandbox: a", "docker/runc", false)]).failed());
        assert!(report(&[("nested sandbox: a", "docker/runc", false)]).failed());
    }
}
