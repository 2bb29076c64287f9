//! What is printed: the table or its JSON, and the verdicts on the targets.

use serde_json::{Value, json};
use std::path::Path;

use crate::contender::{FLOOR, OURS, Shape};
use crate::elf;
use crate::measure::Row;
use crate::stats::{median, quantile, ratio};

/// All that one identity measured.
pub struct Report {
    /// `root` or a name.
    pub identity: String,
    /// What ran.
    pub rows: Vec<Row>,
    /// What did not: shape, name, reason.
    pub skipped: Vec<(Shape, String, String)>,
}

/// A target and how it went.
pub struct Verdict {
    /// The target, with the figure.
    pub text: String,
    /// None: could not be judged.
    pub passed: Option<bool>,
}

const SHAPES: [Shape; 2] = [Shape::Sandbox, Shape::Run];
/// The most that any process may hold.
const PEAK_KIB: i64 = 4096;

const LEGEND: &str = "\
wall: spawn to reaped, ms   x peer, x floor: median of the ratios of neighbouring runs
peak: largest process of the tree, payload included, KiB (wait4 ru_maxrss)   own: the same without the payload (VmHWM)
calls: system calls of all processes up to the payload's execve / in total (strace -f)   mounts: what the payload sees";

impl Report {
    fn row(&self, shape: Shape, name: &str) -> Option<&Row> {
        self.rows
            .iter()
            .find(|r| r.contender.shape == shape && r.contender.name == name)
    }

    fn ratio(&self, row: &Row, name: &str) -> Option<f64> {
        Some(ratio(&row.wall, &self.row(row.contender.shape, name)?.wall))
    }

    /// The table, for people.
    pub fn table(&self) -> String {
        let mut lines = vec![format!("== as {} ==", self.identity)];
        for shape in SHAPES {
            lines.push(format!("\n{} (peer: {})", shape.name(), shape.peer()));
            lines.push(format!(
                "  {:<32}{:>8}{:>8}{:>8}{:>9}{:>8}{:>8}{:>12}{:>8}",
                "", "median", "p99", "x peer", "x floor", "peak", "own", "calls", "mounts"
            ));
            lines.extend(
                self.rows
                    .iter()
                    .filter(|r| r.contender.shape == shape)
                    .map(|r| self.line(r)),
            );
            let skipped = self.skipped.iter().filter(|s| s.0 == shape);
            lines.extend(skipped.map(|(_, name, why)| format!("  {name:<32}skipped: {why}")));
        }
        lines.join("\n")
    }

    fn line(&self, row: &Row) -> String {
        let times = |name| {
            self.ratio(row, name)
                .map_or("-".into(), |r| format!("{r:.2}"))
        };
        let calls = row
            .calls
            .map_or("-".into(), |c| format!("{}/{}", c.before, c.total));
        format!(
            "  {:<32}{:>8.2}{:>8.2}{:>8}{:>9}{:>8}{:>8}{:>12}{:>8}",
            row.contender.name,
            median(&row.wall),
            quantile(&row.wall, 0.99),
            times(row.contender.shape.peer()),
            times(FLOOR),
            row.peak,
            row.own,
            calls,
            row.mounts
        )
    }

    /// The same for programs.
    pub fn json(&self, verdicts: &[Verdict]) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|r| self.json_row(r)).collect();
        let skipped: Vec<Value> = self
            .skipped
            .iter()
            .map(|(s, name, why)| json!({"shape": s.name(), "name": name, "reason": why}))
            .collect();
        let verdicts: Vec<Value> = verdicts
            .iter()
            .map(|v| json!({"target": v.text, "passed": v.passed}))
            .collect();
        json!({"identity": self.identity, "rows": rows, "skipped": skipped, "verdicts": verdicts})
    }

    fn json_row(&self, row: &Row) -> Value {
        json!({
            "shape": row.contender.shape.name(), "name": row.contender.name, "runs": row.wall.len(),
            "median_ms": median(&row.wall), "p99_ms": quantile(&row.wall, 0.99),
            "ratio_peer": self.ratio(row, row.contender.shape.peer()), "ratio_floor": self.ratio(row, FLOOR),
            "peak_kib": row.peak, "own_kib": row.own, "mounts": row.mounts,
            "calls_before_payload": row.calls.map(|c| c.before), "calls_total": row.calls.map(|c| c.total),
        })
    }

    /// Every target of the issue, judged.
    pub fn verdicts(&self, codexrun: Option<&Path>) -> Vec<Verdict> {
        let mut verdicts: Vec<Verdict> = SHAPES
            .iter()
            .flat_map(|s| [self.time(*s), self.memory(*s)])
            .collect();
        verdicts.push(is_static(codexrun));
        verdicts
    }

    fn time(&self, shape: Shape) -> Verdict {
        let figure = self
            .row(shape, OURS)
            .and_then(|r| self.ratio(r, shape.peer()));
        let target = format!(
            "{}: at most {} of {}",
            shape.name(),
            shape.target(),
            shape.peer()
        );
        judge(
            target,
            figure.map(|f| (format!("{f:.2}"), f <= shape.target())),
        )
    }

    fn memory(&self, shape: Shape) -> Verdict {
        let figure = self.row(shape, OURS).map(|r| r.peak);
        judge(
            format!("{}: peak below {PEAK_KIB} KiB", shape.name()),
            figure.map(|f| (f.to_string(), f < PEAK_KIB)),
        )
    }
}

fn is_static(codexrun: Option<&Path>) -> Verdict {
    let answer = codexrun.map(elf::is_static).and_then(Result::ok);
    judge(
        "the binary is static".into(),
        answer.map(|is| (if is { "yes" } else { "no" }.into(), is)),
    )
}

fn judge(target: String, figure: Option<(String, bool)>) -> Verdict {
    match figure {
        Some((figure, passed)) => Verdict {
            text: format!("{target}: {figure}"),
            passed: Some(passed),
        },
        None => Verdict {
            text: format!("{target}: not measured"),
            passed: None,
        },
    }
}

/// One line per verdict and the sum; true if none failed.
pub fn conclude(verdicts: &[Verdict]) -> (String, bool) {
    let count = |of| verdicts.iter().filter(|v| v.passed == of).count();
    let word = |v: &Verdict| match v.passed {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "skip",
    };
    let mut lines: Vec<String> = verdicts
        .iter()
        .map(|v| format!("{}  {}", word(v), v.text))
        .collect();
    let failed = count(Some(false));
    lines.push(format!(
        "{} passed, {failed} failed, {} skipped",
        count(Some(true)),
        count(None)
    ));
    (lines.join("\n"), failed == 0)
}

/// What the columns mean.
pub fn legend() -> &'static str {
    LEGEND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_peer_is_a_skip_and_no_failure() {
        let report = Report {
            identity: "root".into(),
            rows: Vec::new(),
            skipped: Vec::new(),
        };
        let (text, good) = conclude(&report.verdicts(None));
        assert!(
            good && text.ends_with("0 passed, 0 failed, 5 skipped"),
            "{text}"
        );
    }
}
