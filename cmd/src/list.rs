//! `codexrun list`: every container of this state root.

use crate::grammar::{Format, Global};
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::error::plain;
use libruntime::state::Record;
use serde_json::Value;

/// List containers
#[derive(Debug, Args)]
pub struct List {
    /// A table, or an array of OCI states
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Print the ids only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: [&str; 6] = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];

impl List {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let (states, garbled) = split(global.store()?.list()?);
        output::print(&self.text(&states))?;
        // The good ones are shown; the others are named, and the command says that something is wrong.
        if garbled.is_empty() { Ok(0) } else { Err(garbled.into()) }
    }

    fn text(&self, states: &[Value]) -> String {
        match self.format {
            _ if self.quiet => states.iter().map(|state| format!("{}\n", word(&state["id"]))).collect(),
            Format::Json => format!("{}\n", json(states)),
            Format::Table => table(states.iter().map(row)),
        }
    }
}

/// `null` for none, as runc's callers are used to.
fn json(states: &[Value]) -> Value {
    match states {
        [] => Value::Null,
        states => Value::from(states),
    }
}

fn split(all: Vec<libruntime::Result<Record>>) -> (Vec<Value>, Vec<libruntime::Error>) {
    let (mut states, mut garbled) = (Vec::new(), Vec::new());
    for one in all {
        match one.and_then(|record| record.oci_state()) {
            Ok(state) => states.push(state),
            Err(e) => garbled.push(e),
        }
    }
    (states, garbled)
}

fn row(state: &Value) -> [String; 6] {
    ["id", "pid", "status", "bundle", "created", "owner"].map(|key| plain(&word(&state[key])))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// runc's form: a column is at least 12 wide, with three spaces behind its longest word.
fn table(rows: impl Iterator<Item = [String; 6]>) -> String {
    let rows: Vec<_> = std::iter::once(COLUMNS.map(String::from)).chain(rows).collect();
    let longest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(|column| (longest(column) + 3).max(12));
    let line = |[cells @ .., last]: &[String; 6]| {
        let cells: String = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{cells}{last}\n")
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_by_any_name_has_one_line() {
        let state = serde_json::json!({"id": "a", "bundle": "/b\nc\u{1b}[2J"});
        assert_eq!(row(&state)[3], "/b\\nc\\u{1b}[2J");
    }

    #[test]
    fn columns_are_as_wide_as_runcs() {
        let row = ["a-long-name", "7", "running", "/b", "then", "root"].map(String::from);
        let text = table([row].into_iter());
        let head = "ID            PID         STATUS      BUNDLE      CREATED     OWNER\n";
        assert_eq!(text, format!("{head}a-long-name   7           running     /b          then        root\n"));
        assert_eq!(table(std::iter::empty()), "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    }
}
