//! A cell as one line of JSON: what a suite that plays a column tells the suite that has started it.

use crate::report::{No, Verdict, fail, skip};
use serde_json::{Value, json};

/// A cell of the column.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its row.
    pub row: String,
    /// The policy, for rows that are asked under several.
    pub under: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// Tells a verdict.
pub fn say(row: &str, verdict: Verdict) {
    say_under(row, "", verdict);
}

/// Tells the verdict of a row that is asked under several policies.
pub fn say_under(row: &str, under: &str, verdict: Verdict) {
    println!("{}", line(row, under, verdict));
}

fn line(row: &str, under: &str, verdict: Verdict) -> Value {
    let mut line = json!({"row": row, "under": under, "referee": matches!(verdict, Err(No::Differs { .. }))});
    match verdict {
        Ok(()) => {}
        Err(No::Skip(reason)) => line["skip"] = reason.into(),
        Err(No::Fail { command, expected, got } | No::Differs { command, expected, got }) => {
            (line["command"], line["expected"], line["got"]) = (command.into(), expected.into(), got.into());
        }
    }
    line
}

/// The opposite of [`say_under`]; none for a line that is none of ours.
pub fn heard(line: &str) -> Option<Told> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value[key].as_str().map(str::to_string);
    let verdict = match (text("skip"), text("command")) {
        (Some(reason), _) => skip(reason),
        (None, Some(command)) => fail(command, text("expected")?, text("got")?),
        (None, None) => Ok(()),
    };
    let verdict = if value["referee"] == true { verdict.map_err(No::of_a_referee) } else { verdict };
    Some(Told { row: text("row")?, under: text("under").unwrap_or_default(), verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_survives_the_pipe() {
        let failed = || No::Fail { command: "c".into(), expected: "e".into(), got: "g\n\"h\"".into() };
        for verdict in [Ok(()), skip("s"), Err(failed()), Err(failed().of_a_referee())] {
            let told = heard(&line("r", "u", verdict.clone()).to_string()).unwrap();
            assert_eq!((told.row.as_str(), told.under.as_str()), ("r", "u"));
            assert_eq!(format!("{:?}", told.verdict), format!("{verdict:?}"));
        }
        assert!(heard("no JSON").is_none() && heard("{}").is_none());
    }
}
