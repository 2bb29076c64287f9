//! The grammar of the command line. `--help` comes from here and from the verbs' own files.

use crate::{create, delete, exec, kill, list, plan, run, sandbox, spec, start, state, sweep};
use clap::{Args, Parser, Subcommand, ValueEnum};
use libruntime::Error;
use libruntime::state::Store;
use std::path::PathBuf;

/// Runs an agent's sandbox policy as a standard OCI bundle.
#[derive(Debug, Parser)]
#[command(name = "codexrun", disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    /// Print the version
    #[arg(short, long)]
    pub version: bool,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What may stand before any verb.
#[derive(Debug, Default, Args)]
pub struct Global {
    /// Where the state of containers is kept [default: /run/codexrun for root, else $XDG_RUNTIME_DIR/codexrun, else
    /// /tmp/codexrun-UID]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Append one record to this file when the command fails
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The form of that record
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Accepted for runc's sake: there is nothing more to tell
    #[arg(long)]
    pub debug: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Global {
    /// Where containers are recorded.
    pub fn store(&self) -> Result<Store, Error> {
        match &self.root {
            Some(root) => crate::make::absolute(root).map(Store::at),
            None => Ok(Store::default()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Spec(spec::Spec),
    Create(create::Create),
    Start(start::Start),
    Exec(exec::Exec),
    Run(run::Run),
    Sandbox(sandbox::Sandbox),
    Plan(plan::Plan),
    State(state::State),
    List(list::List),
    Kill(kill::Kill),
    Delete(delete::Delete),
    Sweep(sweep::Sweep),
}

/// The grammar does not demand a verb, because `--version` has none.
pub fn no_verb() -> Error {
    Error::new("no command given").hint("`codexrun --help` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn both_forms_of_a_value_are_accepted() {
        for log in [&["--log", "f"][..], &["--log=f"]] {
            let cli = Cli::try_parse_from([&["codexrun"], log, &["--log-format=json", "list"]].concat()).unwrap();
            assert_eq!(cli.global.log, Some("f".into()));
            assert!(matches!(cli.global.log_format, LogFormat::Json));
        }
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let line = ["codexrun", "sandbox", "--cwd", "/w", "--", "ls", "--help", "--", "-v"];
        let Some(Verb::Sandbox(sandbox)) = Cli::try_parse_from(line).unwrap().verb else { panic!() };
        assert_eq!(sandbox.make.command, ["ls", "--help", "--", "-v"]);
    }
}
