//! Columns side by side: each is played by a suite of its own, with its own mount namespace and its own orphans, and tells
//! its verdicts in lines of JSON.

use crate::report::{No, Report, Verdict, fail};
use crate::runtime::Column;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const COLUMN: &str = "CODEXRUN_CONFORMANCE_COLUMN";
const PROGRAMS: &str = "CODEXRUN_CONFORMANCE_PROGRAMS";

/// What a suite was started for by another suite: one column, with the programs that lie in a directory.
pub fn task() -> Option<(String, PathBuf)> {
    Some((std::env::var(COLUMN).ok()?, std::env::var_os(PROGRAMS)?.into()))
}

/// Plays all columns, as many at once as there are processors, and reports them in their order.
pub fn play(programs: &Path, columns: &[Column], report: &mut Report) {
    let (next, told) = (Mutex::new(0..columns.len()), Mutex::new(vec![Vec::new(); columns.len()]));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(columns.len()) {
            scope.spawn(|| {
                while let Some(n) = locked(&next).next() {
                    let cells = told_by(programs, &columns[n]);
                    locked(&told)[n] = cells;
                }
            });
        }
    });
    for (column, cells) in columns.iter().zip(locked(&told).drain(..)) {
        cells.into_iter().for_each(|(row, verdict)| report.add(&row, &column.name(), "", verdict));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

type Cells = Vec<(String, Verdict)>;

fn told_by(programs: &Path, column: &Column) -> Cells {
    let name = column.name();
    eprintln!("conformance: {name}");
    let output = command(programs, &name).and_then(|mut c| c.stderr(Stdio::inherit()).output());
    let broken = |what: String| vec![("(the suite itself)".into(), fail(format!("column {name}"), "its verdicts", what))];
    match output {
        Ok(output) if output.status.success() => {
            let lines: Option<Cells> = String::from_utf8_lossy(&output.stdout).lines().map(heard).collect();
            lines.unwrap_or_else(|| broken("a line that is none of ours".into()))
        }
        Ok(output) => broken(output.status.to_string()),
        Err(e) => broken(e.to_string()),
    }
}

/// This program again, with the same words. Root gives it a mount namespace of its own.
fn command(programs: &Path, column: &str) -> std::io::Result<Command> {
    let us = std::env::current_exe()?;
    let mut command = if nix::unistd::Uid::effective().is_root() {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]).arg(us);
        unshare
    } else {
        Command::new(us)
    };
    command.args(std::env::args().skip(1)).env(COLUMN, column).env(PROGRAMS, programs);
    Ok(command)
}

/// Tells one verdict.
pub fn tell(row: &str, verdict: &Verdict) {
    let (word, facts) = match verdict {
        Ok(()) => ("ok", vec![]),
        Err(No::Skip(reason)) => ("skip", vec![reason]),
        Err(No::Fail { command, expected, got }) => ("fail", vec![command, expected, got]),
        Err(No::Differs { command, expected, got }) => ("differs", vec![command, expected, got]),
    };
    println!("{}", json!([row, word, facts]));
}

/// The opposite of [`tell`].
pub fn heard(line: &str) -> Option<(String, Verdict)> {
    let told: Value = serde_json::from_str(line).ok()?;
    let fact = |n: usize| told[2][n].as_str().map(str::to_string);
    let verdict = match told[1].as_str()? {
        "ok" => Ok(()),
        "skip" => Err(No::Skip(fact(0)?)),
        "fail" => Err(No::Fail { command: fact(0)?, expected: fact(1)?, got: fact(2)? }),
        "differs" => Err(No::Differs { command: fact(0)?, expected: fact(1)?, got: fact(2)? }),
        _ => return None,
    };
    Some((told[0].as_str()?.into(), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_not_told_is_not_heard() {
        assert!(heard("thread panicked").is_none());
        assert!(heard("[\"row\",\"maybe\",[]]").is_none());
        assert!(matches!(heard("[\"row\",\"skip\",[\"why\"]]"), Some((row, Err(No::Skip(why)))) if row == "row" && why == "why"));
    }
}
