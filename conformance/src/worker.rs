//! Columns side by side: each is played by a suite of its own, with its own mount namespace and its own orphans, and tells
//! its verdicts in lines of JSON.

use crate::report::{Report, fail};
use crate::runtime::Column;
use crate::told::{Told, heard};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const COLUMN: &str = "CODEXRUN_CONFORMANCE_COLUMN";
const ROWS: &str = "CODEXRUN_CONFORMANCE_ROWS";
const PROGRAMS: &str = "CODEXRUN_CONFORMANCE_PROGRAMS";

/// What a suite was started for by another suite.
pub struct Task {
    /// The column, by its name.
    pub column: String,
    /// How its rows begin.
    pub rows: String,
    /// Where the programs are.
    pub programs: PathBuf,
}

/// Of this suite, when another one has started it.
pub fn task() -> Option<Task> {
    let word = |name| std::env::var(name).ok();
    Some(Task { column: word(COLUMN)?, rows: word(ROWS)?, programs: std::env::var_os(PROGRAMS)?.into() })
}

/// What is played by one suite: of a column the rows that begin so.
pub type Share<'c> = (&'c Column, String);

/// The columns, each as a whole.
pub fn whole(columns: &[Column]) -> Vec<Share<'_>> {
    columns.iter().map(|column| (column, String::new())).collect()
}

/// Plays all shares, `at_once` of them, and reports them in their order.
pub fn play(programs: &Path, shares: &[Share], at_once: usize, report: &mut Report) {
    let (next, told) = (Mutex::new(0..shares.len()), Mutex::new(vec![Vec::new(); shares.len()]));
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(shares.len()) {
            scope.spawn(|| {
                // Taken by a function: the lock is free again before the share is played.
                let take = || locked(&next).next();
                while let Some(n) = take() {
                    let cells = told_by(programs, &shares[n]);
                    locked(&told)[n] = cells;
                }
            });
        }
    });
    for ((column, _), cells) in shares.iter().zip(locked(&told).drain(..)) {
        cells.into_iter().for_each(|told| report.add(&told.row, &column.name(), &told.under, told.verdict));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn told_by(programs: &Path, (column, rows): &Share) -> Vec<Told> {
    let name = column.name();
    eprintln!("conformance: {}", format!("{name} {rows}").trim_end());
    let output = command(programs, &name, rows).and_then(|mut c| c.stderr(Stdio::inherit()).output());
    let broken = |what: String| {
        let verdict = fail(format!("column {name}"), "its verdicts", what);
        vec![Told { row: "(the suite itself)".into(), under: String::new(), verdict }]
    };
    match output {
        Ok(output) if output.status.success() => {
            let lines: Option<Vec<Told>> = String::from_utf8_lossy(&output.stdout).lines().map(heard).collect();
            lines.unwrap_or_else(|| broken("a line that is none of ours".into()))
        }
        Ok(output) => broken(output.status.to_string()),
        Err(e) => broken(e.to_string()),
    }
}

/// A copy of this program: where it was started from may lie below /tmp, which is another one by now.
fn own_program(programs: &Path) -> std::io::Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = locked(&ONE_AT_A_TIME);
    let copy = programs.join("conformance");
    if !copy.exists() {
        std::fs::copy("/proc/self/exe", &copy)?;
        std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(copy)
}

/// This program again, with the same words. Root gives it a mount namespace of its own.
fn command(programs: &Path, column: &str, rows: &str) -> std::io::Result<Command> {
    let us = own_program(programs)?;
    let mut command = if nix::unistd::Uid::effective().is_root() {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]).arg(us);
        unshare
    } else {
        Command::new(us)
    };
    command.args(std::env::args().skip(1)).env(COLUMN, column).env(ROWS, rows).env(PROGRAMS, programs);
    Ok(command)
}
