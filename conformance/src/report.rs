//! What the cells of the matrix say, and how they are printed.

use crate::launch::Ran;
use std::collections::BTreeMap;

/// Why a cell is not `ok`.
#[derive(Debug, Clone)]
pub enum No {
    /// The runtime did something else than it should.
    Fail {
        /// As one would type it.
        command: String,
        /// What should have happened.
        expected: String,
        /// What happened.
        got: String,
    },
    /// The same of a referee: shown, and no reason for the suite to fail.
    Differs {
        /// As one would type it.
        command: String,
        /// What the specification or an engine wants.
        expected: String,
        /// What happened.
        got: String,
    },
    /// It cannot be asked here.
    Skip(String),
}

impl No {
    /// What a failure is when another runtime than ours was only asked for comparison.
    pub fn of_a_referee(self) -> No {
        match self {
            No::Fail { command, expected, got } => No::Differs { command, expected, got },
            No::Differs { .. } | No::Skip(_) => self,
        }
    }
}

/// A cell: done, or why not.
pub type Verdict = Result<(), No>;

/// A failure with its three lines.
pub fn fail<T>(command: impl ToString, expected: impl ToString, got: impl ToString) -> Result<T, No> {
    Err(No::Fail { command: command.to_string(), expected: expected.to_string(), got: got.to_string() })
}

/// A cell that cannot be asked.
pub fn skip<T>(reason: impl ToString) -> Result<T, No> {
    Err(No::Skip(reason.to_string()))
}

/// Asks once more what failed, and says so: a machine that was busy for a moment is no fault of a runtime. What fails twice has failed.
pub fn asked(what: &str, ask: impl Fn() -> Verdict) -> Verdict {
    let first = ask();
    let Err(No::Fail { command, got, .. }) = &first else { return first };
    let second = ask();
    if second.is_ok() {
        eprintln!("conformance: asked again, and well: {what}\n  command:  {command}\n  first:    {got}");
    }
    second
}

impl From<std::io::Error> for No {
    /// The suite's own trouble is a failure: a case that could not be set up has proved nothing.
    fn from(e: std::io::Error) -> Self {
        No::Fail { command: "(the suite itself)".into(), expected: "no error".into(), got: e.to_string() }
    }
}

impl Ran {
    /// Fails unless `holds`, and says what the command did.
    pub fn must(&self, expected: &str, holds: bool) -> Verdict {
        if holds && !self.timed_out && self.left.is_empty() { Ok(()) } else { fail(&self.line, expected, self.summary()) }
    }

    /// The exit code, the time-out, what stayed, and the ends of both outputs.
    pub fn summary(&self) -> String {
        let mut text = format!("exit {}", self.code);
        if self.timed_out {
            text += ", killed after the time limit";
        }
        if !self.left.is_empty() {
            text += &format!(", left running: {}", self.left.join("; "));
        }
        for (name, stream) in [("stdout", &self.out), ("stderr", &self.err)] {
            if !stream.trim().is_empty() {
                text += &format!("\n{name}: {}", tail(stream.trim()));
            }
        }
        text
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n  ")
}

/// All cells, in the order they came.
#[derive(Default)]
pub struct Report {
    cells: Vec<Cell>,
}

struct Cell {
    row: String,
    column: String,
    /// The policy, for rows that are asked under several.
    under: String,
    verdict: Verdict,
    /// Why a failure does not count.
    excuse: Option<String>,
}

impl Report {
    /// Adds a cell.
    pub fn add(&mut self, row: &str, column: &str, under: &str, verdict: Verdict) {
        self.cells.push(Cell { row: row.into(), column: column.into(), under: under.into(), verdict, excuse: None });
    }

    /// Failures that are shown and do not count: those of the row and column that `which` picks.
    pub fn excuse(&mut self, why: &str, which: impl Fn(&str, &str) -> bool) {
        let failed = self.cells.iter_mut().filter(|c| c.counts());
        failed.filter(|c| which(&c.row, &c.column)).for_each(|c| c.excuse = Some(why.into()));
    }

    /// The row and column of every failure, whether it counts or not.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cells.iter().filter(|c| c.failed()).map(|c| (c.row.as_str(), c.column.as_str()))
    }

    /// Whether any cell failed.
    pub fn failed(&self) -> bool {
        self.cells.iter().any(Cell::counts)
    }

    fn count(&self, pick: impl Fn(&Verdict) -> bool) -> usize {
        self.cells.iter().filter(|c| pick(&c.verdict)).count()
    }

    /// The matrix, the reasons of every skip, every failure, and the last line.
    pub fn print(&self, verbose: bool) {
        self.print_matrix(verbose);
        self.print_skips();
        self.print_failures();
        self.print_differences(verbose);
        let passed = self.count(Result::is_ok);
        let failed = self.cells.iter().filter(|c| c.counts()).count();
        self.print_excuses();
        let skipped = self.count(|v| matches!(v, Err(No::Skip(_))));
        println!("{passed} passed, {failed} failed, {skipped} skipped");
    }

    fn print_matrix(&self, verbose: bool) {
        let name = |c: &Cell| {
            if verbose && !c.under.is_empty() { format!("{} [{}]", c.row, c.under) } else { c.row.clone() }
        };
        let columns = unique(self.cells.iter().map(|c| c.column.clone()));
        let mut rows: BTreeMap<String, BTreeMap<&str, Tally>> = BTreeMap::new();
        for cell in &self.cells {
            rows.entry(name(cell)).or_default().entry(&cell.column).or_default().add(&cell.verdict);
        }
        let width = rows.keys().map(|r| r.chars().count()).max().unwrap_or(0);
        let line = |first: &str, rest: Vec<String>| {
            let cells: Vec<String> = rest.iter().zip(&columns).map(|(r, c)| format!("{r:<w$}", w = c.len().max(7))).collect();
            println!("{}", format!("{first:<width$}  {}", cells.join("  ")).trim_end());
        };
        line("", columns.clone());
        for row in unique(self.cells.iter().map(name)) {
            let cells = columns.iter().map(|c| rows[&row].get(c.as_str()).map(Tally::word).unwrap_or_default());
            line(&row, cells.collect());
        }
    }

    fn print_skips(&self) {
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for cell in &self.cells {
            if let Err(No::Skip(reason)) = &cell.verdict {
                reasons.entry(reason).or_default().push(format!("{} ({})", cell.row, cell.column));
            }
        }
        for (reason, cells) in reasons {
            let cells = unique(cells.into_iter());
            let shown = cells.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = if cells.len() > 3 { format!(" and {} more", cells.len() - 3) } else { String::new() };
            println!("\nskip: {reason}\n  {shown}{more}");
        }
        println!();
    }

    fn print_excuses(&self) {
        for why in unique(self.cells.iter().filter_map(|c| c.excuse.clone())) {
            let count = self.cells.iter().filter(|c| c.excuse.as_ref() == Some(&why)).count();
            println!("not counted: {count} FAIL, because {why}");
        }
    }

    /// One paragraph per failure; rows that failed for one and the same reason (no bundle, no answer) share it.
    fn print_failures(&self) {
        let mut same: Vec<(&Cell, Vec<&str>)> = Vec::new();
        for cell in self.cells.iter().filter(|c| matches!(c.verdict, Err(No::Fail { .. }))) {
            match same.iter_mut().find(|(first, _)| first.fails_like(cell)) {
                Some((_, rows)) => rows.push(&cell.row),
                None => same.push((cell, vec![&cell.row])),
            }
        }
        same.iter().for_each(|(cell, rows)| cell.print_failure(rows));
    }
}

impl Report {
    /// Referees: how many cells, and with `-v` what they did.
    fn print_differences(&self, verbose: bool) {
        let differs: Vec<&Cell> = self.cells.iter().filter(|c| matches!(c.verdict, Err(No::Differs { .. }))).collect();
        if verbose {
            differs.iter().for_each(|cell| cell.print_failure(&[&cell.row]));
        }
        if !differs.is_empty() {
            println!("{} cells of referees differ; -v tells how", differs.len());
        }
    }

    /// What a cell says, if it was asked.
    pub fn word(&self, row: &str, column: &str) -> Option<String> {
        let mut tally = Tally::default();
        let cells = self.cells.iter().filter(|c| c.row == row && c.column == column);
        cells.for_each(|c| tally.add(&c.verdict));
        (!tally.is_empty()).then(|| tally.word())
    }
}

impl Cell {
    fn failed(&self) -> bool {
        matches!(self.verdict, Err(No::Fail { .. }))
    }

    fn counts(&self) -> bool {
        self.failed() && self.excuse.is_none()
    }

    fn fails_like(&self, other: &Cell) -> bool {
        let facts = |c: &Cell| match &c.verdict {
            Err(No::Fail { command, expected, got }) => Some(format!("{command}\n{expected}\n{got}")),
            _ => None,
        };
        self.column == other.column && self.under == other.under && facts(self) == facts(other)
    }

    fn print_failure(&self, rows: &[&str]) {
        let (word, command, expected, got) = match &self.verdict {
            Err(No::Fail { command, expected, got }) => ("FAIL", command, expected, got),
            Err(No::Differs { command, expected, got }) => ("differs", command, expected, got),
            Err(No::Skip(_)) | Ok(()) => return,
        };
        let under = if self.under.is_empty() { String::new() } else { format!(" under {}", self.under) };
        let more = if rows.len() > 1 { format!(" (and {} more rows)", rows.len() - 1) } else { String::new() };
        println!("{word} {}{more} on {}{under}", self.row, self.column);
        println!("  command:  {command}\n  expected: {expected}\n  got:      {}\n", got.replace('\n', "\n            "));
    }
}

fn unique(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    words.filter(|w| seen.insert(w.clone())).collect()
}

/// The cells that share a place in the matrix.
#[derive(Default)]
struct Tally {
    ok: usize,
    failed: usize,
    differs: usize,
    skipped: usize,
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Ok(()) => self.ok += 1,
            Err(No::Fail { .. }) => self.failed += 1,
            Err(No::Differs { .. }) => self.differs += 1,
            Err(No::Skip(_)) => self.skipped += 1,
        }
    }

    fn is_empty(&self) -> bool {
        self.ok + self.failed + self.differs + self.skipped == 0
    }

    fn word(&self) -> String {
        if self.differs > 0 {
            return "differs".into();
        }
        let all = self.ok + self.failed;
        match self.failed {
            0 if all == 0 => "skip".into(),
            0 => "ok".into(),
            _ if all == 1 => "FAIL".into(),
            n => format!("FAIL {n}/{all}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_fails_is_asked_once_more_and_no_oftener() {
        let count = std::cell::Cell::new(0);
        let ask = |well: &dyn Fn(u32) -> bool| {
            count.set(0);
            super::asked("x", || {
                count.set(count.get() + 1);
                if well(count.get()) { Ok(()) } else { super::fail("c", "e", "g") }
            })
        };
        assert!(ask(&|n| n == 1).is_ok() && count.get() == 1);
        assert!(ask(&|n| n == 2).is_ok() && count.get() == 2);
        assert!(ask(&|n| n == 3).is_err() && count.get() == 2);
        assert!(super::asked("x", || super::skip("s")).is_err());
    }

    use super::*;

    #[test]
    fn one_failure_among_policies_names_how_many() {
        let mut tally = Tally::default();
        tally.add(&Ok(()));
        assert_eq!(tally.word(), "ok");
        tally.add(&fail("c", "e", "g"));
        assert_eq!(tally.word(), "FAIL 1/2");
        assert_eq!(Tally { skipped: 1, ..Tally::default() }.word(), "skip");
    }
}
