//! `codexrun list`: every container of this state root.

use crate::grammar::{Format, Global};
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::error::plain;
use libruntime::state::{OciState, Record};

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

    fn text(&self, states: &[OciState]) -> String {
        match self.format {
            _ if self.quiet => states.iter().map(|state| format!("{}\n", state.id)).collect(),
            Format::Json => format!("{}\n", OciState::array(states)),
            Format::Table => table(states.iter().map(row)),
        }
    }
}

fn split(all: Vec<libruntime::Result<Record>>) -> (Vec<OciState>, Vec<libruntime::Error>) {
    let (mut states, mut garbled) = (Vec::new(), Vec::new());
    for one in all {
        match one.and_then(|record| record.oci_state()) {
            Ok(state) => states.push(state),
            Err(e) => garbled.push(e),
        }
    }
    (states, garbled)
}

fn row(state: &OciState) -> [String; 6] {
    let bundle = state.bundle.to_string_lossy();
    [state.id.as_str(), &state.pid.to_string(), &state.status, &bundle, &state.created, &state.owner].map(plain)
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

    fn state() -> OciState {
        OciState {
            oci_version: "1.0.2".into(),
            id: "a".parse().unwrap(),
            pid: 7,
            status: "running".into(),
            bundle: "/b\nc\u{1b}[2J".into(),
            rootfs: "/r".into(),
            created: "then".into(),
            annotations: [("k".into(), "v".into())].into(),
            owner: "root".into(),
        }
    }

    #[test]
    fn a_bundle_by_any_name_has_one_line() {
        assert_eq!(row(&state()), ["a", "7", "running", "/b\\nc\\u{1b}[2J", "then", "root"]);
    }

    #[test]
    fn fields_stand_in_runcs_order() {
        let list = List { format: Format::Json, quiet: false };
        let one = "{\"ociVersion\":\"1.0.2\",\"id\":\"a\",\"pid\":7,\"status\":\"running\",\"bundle\":\"/b\\nc\\u001b[2J\",\
                   \"rootfs\":\"/r\",\"created\":\"then\",\"annotations\":{\"k\":\"v\"},\"owner\":\"root\"}";
        assert_eq!(list.text(&[state(), state()]), format!("[{one},{one}]\n"));
        assert_eq!(list.text(&[]), "null\n");
        assert!(state().json(true).starts_with("{\n  \"ociVersion\": \"1.0.2\",\n  \"id\": \"a\",\n  \"pid\": 7,\n"));
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
