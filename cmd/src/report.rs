//! How a failure is said: on stderr a line per reason, each beginning with `codexrun: error: `, and in the log one record.

use crate::grammar::{Global, LogFormat};
use clap::error::{ContextKind, ErrorKind};
use libruntime::Error;
use libruntime::error::say;
use libruntime::put;
use libruntime::state::rfc3339;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Every reason why a command failed; never empty.
#[derive(Debug)]
pub struct Failure(Vec<Error>);

/// Told with the last reason: it is none of its own.
fn unlogged(log: &Path, e: &std::io::Error) -> String {
    format!("the log `{}` cannot be written: {e}", log.display())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure(error.each())
    }
}

impl From<Vec<Error>> for Failure {
    fn from(errors: Vec<Error>) -> Failure {
        Failure(errors.into_iter().flat_map(Error::each).collect())
    }
}

/// Reasons that are told: more than anybody reads, and less than fills a terminal's memory.
const TOLD: usize = 1000;

impl Failure {
    /// Says it, and gives the code to leave with. `no_links`: none leads to the log, as a sandbox may have made one.
    pub fn report(&self, global: &Global, no_links: bool) -> u8 {
        let log = |file: &PathBuf| put::line(file, &self.record(global.log_format), no_links).err().map(|e| unlogged(file, &e));
        let unlogged = global.log.as_ref().and_then(log);
        let mut told: Vec<Error> = self.0.iter().take(TOLD).cloned().collect();
        if let Some(more @ 1..) = self.0.len().checked_sub(TOLD) {
            told.push(Error::new(format!("{more} more reasons")));
        }
        if let (Some(last), Some(unlogged)) = (told.last_mut(), unlogged) {
            last.hint = Some(last.hint.take().map_or(unlogged.clone(), |hint| format!("{hint}; {unlogged}")));
        }
        told.iter().for_each(Error::tell);
        self.code()
    }

    /// The one that is not 1, if there is one: 126 and 127 tell more.
    fn code(&self) -> u8 {
        self.0.iter().map(|e| e.code).find(|&code| code != 1).unwrap_or(1)
    }

    /// One record whatever the number of reasons: podman reads the whole file as one JSON object.
    fn record(&self, format: LogFormat) -> String {
        let msg = self.0.iter().map(Error::to_string).collect::<Vec<_>>().join("; ");
        let time = rfc3339(SystemTime::now());
        match format {
            LogFormat::Json => format!("{}\n", serde_json::json!({ "level": "error", "msg": msg, "time": time })),
            LogFormat::Text => format!("time=\"{time}\" level=error msg={msg:?}\n"),
        }
    }
}

/// Something the user should know, though the command goes on.
pub fn warn(text: &str) {
    Error::new(text).warn();
}

/// What was found out on the way.
pub fn note(text: &str) {
    say(text);
}

/// Whether clap was asked for help, rather than given nonsense.
pub fn is_help(e: &clap::Error) -> bool {
    e.kind() == ErrorKind::DisplayHelp
}

/// A command line that the grammar does not know; whether it asks for help.
pub fn mistake(e: &clap::Error, help: bool) -> Failure {
    let text = e.to_string();
    let error = match e.get(ContextKind::InvalidSubcommand) {
        // runc's words.
        Some(name) if help => Error::new(format!("No help topic for '{name}'")).cause(one_line(&text)),
        _ => Error::new(one_line(&text)),
    };
    match (e.kind(), text.lines().find_map(|line| line.strip_prefix("Usage: "))) {
        (ErrorKind::MissingRequiredArgument, Some(usage)) => error.hint(format!("`{usage}`")).into(),
        (ErrorKind::InvalidSubcommand, _) => error.hint("`codexrun --help` lists the commands").into(),
        _ => error.into(),
    }
}

/// `error: A` / `tip: B` / `Usage: …` → `A (tip: B)`. The tip that a mistyped option be passed as a value is left out: it would be executed.
fn one_line(text: &str) -> String {
    let said = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut all = String::new();
    for line in said.filter(|line| !line.is_empty() && !line.starts_with("tip: to pass ")) {
        let aside = line.strip_prefix('[').and_then(|values| values.strip_suffix(']'));
        match (line.strip_prefix("error: "), aside.or_else(|| line.starts_with("tip:").then_some(line))) {
            (Some(what), _) => all.push_str(what),
            (None, Some(aside)) => all.push_str(&format!(" ({aside})")),
            (None, None) => all.push_str(&format!(" {line}")),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::Cli;
    use clap::Parser;

    fn said(line: &[&str]) -> String {
        let all = [&["codexrun"], line].concat();
        one_line(&Cli::try_parse_from(all).unwrap_err().to_string())
    }

    #[test]
    fn a_mistake_is_one_line() {
        let wrong = said(&["delete", "--forse", "a"]);
        assert!(wrong.starts_with("unexpected argument '--forse' found (tip: ") && wrong.contains("'--force'"), "{wrong}");
        let missing = said(&["kill"]);
        assert_eq!(missing, "the following required arguments were not provided: <ID>");
        let hint = mistake(&Cli::try_parse_from(["codexrun", "kill"]).unwrap_err(), false).0[0].hint.clone();
        assert!(hint.unwrap().starts_with("`codexrun kill "));
        let topic = |help| mistake(&Cli::try_parse_from(["codexrun", "foo", "-h"]).unwrap_err(), help).0[0].to_string();
        assert!(topic(true).starts_with("No help topic for 'foo': unrecognized subcommand 'foo'"), "{}", topic(true));
        assert!(topic(false).starts_with("unrecognized subcommand 'foo'"), "{}", topic(false));
        let value = said(&["--log-format", "x", "list"]);
        assert_eq!(value, "invalid value 'x' for '--log-format <FORMAT>' (possible values: text, json)");
        let tips = said(&["sandbox", "--polcy", "read-only"]);
        assert!(tips.contains("'--policy'") && !tips.contains("-- --polcy"), "{tips}");
    }

    #[test]
    fn several_reasons_are_one_record() {
        let failure = Failure(vec![Error::new("a \"b\""), Error::new("c").code(127)]);
        let json: serde_json::Value = serde_json::from_str(&failure.record(LogFormat::Json)).unwrap();
        assert_eq!(json["level"], "error");
        assert_eq!(json["msg"], "a \"b\"; c");
        assert!(failure.record(LogFormat::Text).ends_with(" level=error msg=\"a \\\"b\\\"; c\"\n"));
        assert_eq!(failure.code(), 127);
    }
}
