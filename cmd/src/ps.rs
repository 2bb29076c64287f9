//! `codexrun ps`: the processes of a container.

use crate::grammar::{Format, Global};
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::{Error, Result};
use std::ffi::OsString;
use std::process::Command;

/// List the processes of a container
///
/// A table is what the host's ps(1) says, called with PS_OPTION… or `-ef`, less the processes of others. JSON is an array of process
/// ids. Both number processes as the host does.
#[derive(Debug, Args)]
pub struct Ps {
    /// A table, or an array of process ids
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// For ps(1) [default: -ef]
    #[arg(value_name = "PS_OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

impl Ps {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let pids = global.store()?.load(&self.id.parse()?)?.members()?;
        match self.format {
            Format::Json => output::print(&format!("{}\n", serde_json::Value::from(pids))),
            Format::Table => output::print(&of_these(&ps(&self.options)?, &pids)?),
        }
    }
}

fn ps(options: &[OsString]) -> Result<String> {
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef")
    } else {
        ps.args(options)
    };
    let output = ps.output().map_err(|e| Error::new("cannot execute ps(1)").cause(e).hint("`--format json` does without it"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Error::new("ps(1) refuses").cause(String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The head line, and the lines that speak of one of `pids`.
fn of_these(table: &str, pids: &[i32]) -> Result<String> {
    let (head, lines) = table.split_once('\n').unwrap_or((table, ""));
    let column = head.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::new("what ps(1) prints with these options has no column `PID`"))?;
    let pid = |line: &str| line.split_whitespace().nth(column)?.parse::<i32>().ok();
    let own = lines.lines().filter(|line| pid(line).is_some_and(|pid| pids.contains(&pid)));
    Ok(std::iter::once(head).chain(own).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_container_are_shown() {
        let table = "UID   PID  PPID CMD\nroot    1     0 init 7\nroot    7     1 sh\n7       8     7 x\n";
        assert_eq!(of_these(table, &[7, 9]).unwrap(), "UID   PID  PPID CMD\nroot    7     1 sh\n");
        assert!(of_these("CMD\nsh\n", &[7]).unwrap_err().to_string().contains("no column `PID`"));
    }
}
