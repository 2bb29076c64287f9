//! What is printed: the table or its JSON, and the verdicts on the targets.

use serde_json::{Value, json};
use std::path::Path;

use crate::contender::{FLOOR, OURS, Shape};
use crate::elf;
use crate::measure::Row;
use crate::memory::Memory;
use crate::stats::{median, quantile, ratio};
use crate::trace::Calls;

/// All that one identity measured.
pub struct Report {
    /// `root` or a name.
    pub identity: String,
    /// Kernel, load, rounds, writable roots.
    pub setting: String,
    /// What ran.
    pub rows: Vec<Row>,
    /// What did not: shape, name, reason.
    pub skipped: Vec<(Shape, String, String)>,
    /// Memory over many containers, or why there is no figure; None if nobody asked.
    pub memory: Option<Result<Memory, Outcome>>,
}

/// A target and how it went.
pub struct Verdict {
    /// What is asked.
    pub target: String,
    /// What came out.
    pub outcome: Outcome,
}

/// How a target went, each with its figure or its reason.
#[derive(Clone)]
pub enum Outcome {
    /// Reached.
    Passed(String),
    /// Missed.
    Failed(String),
    /// Could not be judged.
    Skipped(String),
}

/// The most that any process may hold.
const PEAK_KIB: i64 = 4096;

const LEGEND: &str = "\
wall: spawn to reaped, ms, the sum over the runtime's own commands   x peer, x floor: median of the ratios of neighbouring runs
peak: largest process of the tree, payload included, KiB (wait4 ru_maxrss)   own: the same without the payload (VmHWM)
calls: system calls of all processes up to the payload's execve / in total (strace -f)   mounts: what the payload sees";

impl Report {
    /// The row of that name.
    pub fn row(&self, shape: Shape, name: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.contender.shape == shape && r.contender.name == name)
    }

    fn ratio(&self, row: &Row, name: &str) -> Option<f64> {
        Some(ratio(&row.wall, &self.row(row.contender.shape, name)?.wall))
    }

    /// The table, for people.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("as {}; {}", self.identity, self.setting)];
        for shape in Shape::ALL {
            lines.push(format!("\n{} (peer: {})", shape.name(), shape.peer()));
            lines.push(format!(
                "  {:<32}{:>8}{:>8}{:>8}{:>9}{:>8}{:>8}{:>12}{:>8}",
                "", "median", "p99", "x peer", "x floor", "peak", "own", "calls", "mounts"
            ));
            lines.extend(self.rows.iter().filter(|r| r.contender.shape == shape).map(|r| self.line(r)));
            let skipped = self.skipped.iter().filter(|s| s.0 == shape);
            lines.extend(skipped.map(|(_, name, why)| format!("  {name:<32}skipped: {why}")));
        }
        lines.join("\n")
    }

    fn line(&self, row: &Row) -> String {
        let times = |name| self.ratio(row, name).map_or("-".into(), |r| format!("{r:.2}"));
        let calls = row.calls.map_or("-".into(), |c| format!("{}/{}", c.before, c.total));
        let (own, mounts) = row.probed.as_ref().map_or(("-".into(), "-".into()), |p| (p.own.to_string(), p.mounts.to_string()));
        format!(
            "  {:<32}{:>8.2}{:>8.2}{:>8}{:>9}{:>8}{:>8}{:>12}{:>8}",
            row.contender.name,
            median(&row.wall),
            quantile(&row.wall, 0.99),
            times(row.contender.shape.peer()),
            times(FLOOR),
            row.peak,
            own,
            calls,
            mounts
        )
    }

    /// The same for programs.
    pub fn json(&self, verdicts: &[Verdict]) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|r| self.json_row(r)).collect();
        let skipped: Vec<Value> =
            self.skipped.iter().map(|(s, name, why)| json!({"shape": s.name(), "name": name, "reason": why})).collect();
        let verdicts: Vec<Value> = verdicts.iter().map(json_verdict).collect();
        let memory = self.memory.as_ref().and_then(|m| m.as_ref().ok()).map(json_memory);
        json!({
            "identity": self.identity, "setting": self.setting, "rows": rows, "skipped": skipped, "memory": memory,
            "verdicts": verdicts,
        })
    }

    fn json_row(&self, row: &Row) -> Value {
        json!({
            "shape": row.contender.shape.name(), "name": row.contender.name, "runs": row.wall.len(),
            "median_ms": median(&row.wall), "p99_ms": quantile(&row.wall, 0.99),
            "ratio_peer": self.ratio(row, row.contender.shape.peer()), "ratio_floor": self.ratio(row, FLOOR),
            "peak_kib": row.peak, "own_kib": row.probed.as_ref().map(|p| p.own), "mounts": row.probed.as_ref().map(|p| p.mounts),
            "calls_before_payload": row.calls.map(|c| c.before), "calls_total": row.calls.map(|c| c.total),
        })
    }

    /// Every target, judged.
    pub fn verdicts(&self, codexrun: Option<&Path>) -> Vec<Verdict> {
        let of_shape = |shape| [Some(self.time(shape)), self.calls(shape), Some(self.peak(shape))].into_iter().flatten();
        let mut verdicts: Vec<Verdict> = Shape::ALL.into_iter().flat_map(of_shape).collect();
        verdicts.extend(self.flatness());
        verdicts.push(Verdict { target: "the binary is static".into(), outcome: codexrun.map_or(Outcome::absent(), linkage) });
        verdicts
    }

    /// Memory over many containers, judged, if it was measured.
    pub fn flatness(&self) -> Option<Verdict> {
        let outcome = match self.memory.as_ref()? {
            Ok(memory) => Outcome::of(memory.is_flat(), memory.said()),
            Err(outcome) => outcome.clone(),
        };
        let containers = self.memory.as_ref()?.as_ref().map_or(String::new(), |m| format!(" over {} containers", m.containers));
        Some(Verdict { target: format!("flat memory{containers}"), outcome })
    }

    fn time(&self, shape: Shape) -> Verdict {
        let outcome = match (self.row(shape, OURS), self.row(shape, shape.peer())) {
            (None, _) => self.why_not(shape),
            (_, None) => Outcome::Skipped(format!("{} did not run", shape.peer())),
            (Some(ours), Some(peer)) => {
                let figure = ratio(&ours.wall, &peer.wall);
                Outcome::of(figure <= shape.time_target(), format!("{figure:.2}"))
            }
        };
        Verdict { target: format!("{}: at most {} of the time of {}", shape.name(), shape.time_target(), shape.peer()), outcome }
    }

    fn calls(&self, shape: Shape) -> Option<Verdict> {
        let part = shape.calls_target()?;
        let outcome = match (self.row(shape, OURS), self.row(shape, shape.peer())) {
            (None, _) => self.why_not(shape),
            (_, None) => Outcome::Skipped(format!("{} did not run", shape.peer())),
            (Some(ours), Some(peer)) => share(ours.calls, peer.calls, part),
        };
        Some(Verdict { target: format!("{}: at most 1/{part} of the system calls of {}", shape.name(), shape.peer()), outcome })
    }

    fn peak(&self, shape: Shape) -> Verdict {
        let outcome = match self.row(shape, OURS) {
            Some(ours) => Outcome::of(ours.peak < PEAK_KIB, format!("{} KiB", ours.peak)),
            None => self.why_not(shape),
        };
        Verdict { target: format!("{}: peak below {PEAK_KIB} KiB", shape.name()), outcome }
    }

    /// Ours was there and failed, which is a miss, or was not there at all.
    pub fn why_not(&self, shape: Shape) -> Outcome {
        match self.skipped.iter().find(|(s, name, _)| *s == shape && name == OURS) {
            Some((_, _, why)) => Outcome::Failed(format!("did not run: {why}")),
            None => Outcome::absent(),
        }
    }
}

/// Whether ours is at most one `part`th of the peer's.
fn share(ours: Option<Calls>, peer: Option<Calls>, part: usize) -> Outcome {
    match (ours, peer) {
        (Some(ours), Some(peer)) => Outcome::of(ours.total * part <= peer.total, format!("{} of {}", ours.total, peer.total)),
        (None, Some(_)) => Outcome::Failed("did not run under strace".into()),
        (_, None) => Outcome::Skipped("strace is missing, or may not trace".into()),
    }
}

fn json_verdict(verdict: &Verdict) -> Value {
    let (word, why) = verdict.outcome.parts();
    json!({"target": verdict.target, "outcome": word.to_lowercase(), "figure": why})
}

fn json_memory(memory: &Memory) -> Value {
    json!({"containers": memory.containers, "first_kib": memory.first, "last_kib": memory.last, "left": memory.left})
}

fn linkage(binary: &Path) -> Outcome {
    match elf::is_static(binary) {
        Ok(is) => Outcome::of(is, if is { "yes" } else { "no" }.into()),
        Err(e) => Outcome::Failed(e.to_string()),
    }
}

impl Outcome {
    fn of(passed: bool, figure: String) -> Outcome {
        if passed { Outcome::Passed(figure) } else { Outcome::Failed(figure) }
    }

    fn absent() -> Outcome {
        Outcome::Skipped("no codexrun: build it, or name it by --codexrun".into())
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Outcome::Passed(why) => ("pass", why),
            Outcome::Failed(why) => ("FAIL", why),
            Outcome::Skipped(why) => ("skip", why),
        }
    }
}

/// One line per verdict and the sum; true if none failed.
pub fn conclude(verdicts: &[Verdict]) -> (String, bool) {
    let parts = || verdicts.iter().map(|v| (&v.target, v.outcome.parts()));
    let count = |word| parts().filter(|(_, (w, _))| *w == word).count();
    let mut lines: Vec<String> = parts().map(|(target, (word, why))| format!("{word}  {target}: {why}")).collect();
    lines.push(format!("{} passed, {} failed, {} skipped", count("pass"), count("FAIL"), count("skip")));
    (lines.join("\n"), count("FAIL") == 0)
}

/// What the columns mean.
pub fn legend() -> &'static str {
    LEGEND
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(skipped: Vec<(Shape, String, String)>) -> Report {
        Report { identity: "root".into(), setting: String::new(), rows: Vec::new(), skipped, memory: None }
    }

    #[test]
    fn without_codexrun_nothing_is_judged() {
        let (text, good) = conclude(&report(Vec::new()).verdicts(None));
        assert!(good && text.ends_with("0 passed, 0 failed, 12 skipped"), "{text}");
    }

    #[test]
    fn one_call_more_than_a_third_is_a_miss() {
        let calls = |total| Some(Calls { before: 0, total });
        assert_eq!(share(calls(200), calls(600), 3).parts(), ("pass", "200 of 600"));
        assert_eq!(share(calls(201), calls(602), 3).parts(), ("FAIL", "201 of 602"));
        assert_eq!(share(calls(1), None, 3).parts().0, "skip");
        assert_eq!(share(None, calls(1), 3).parts().0, "FAIL");
    }

    #[test]
    fn a_codexrun_that_does_not_start_is_a_miss() {
        let report = report(vec![(Shape::Run, OURS.into(), "exit status: 1".into())]);
        let (text, good) = conclude(&report.verdicts(None));
        assert!(!good && text.contains("FAIL  run, minimal bundle: peak below 4096 KiB: did not run: exit status: 1"), "{text}");
    }
}
