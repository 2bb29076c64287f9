//! The `codexrun` command: words in, words and an exit code out. Every decision is libruntime's.
#![cfg_attr(not(test), no_main)]

#[cfg(feature = "alloc-trap")]
mod alloc_trap;
mod create;
mod delete;
#[cfg(not(test))]
mod entry;
mod environment;
mod exec;
mod grammar;
mod kill;
mod list;
mod make;
mod output;
mod plan;
mod report;
mod run;
mod sandbox;
mod spec;
mod start;
mod state;
mod sweep;

use clap::Parser;
use grammar::{Cli, Verb};
use report::Failure;

/// The newest version of the runtime specification whose fields are known.
const SPEC: &str = "1.2.1";

/// The exit code.
#[cfg_attr(test, expect(dead_code, reason = "the test harness has a `main` of its own"))]
fn start() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return report::usage(&e),
    };
    dispatch(&cli).unwrap_or_else(|failure| failure.report(&cli.global))
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    if cli.version {
        return version();
    }
    match cli.verb.as_ref().ok_or_else(grammar::no_verb)? {
        Verb::Spec(verb) => verb.run(),
        Verb::Create(verb) => verb.run(&cli.global),
        Verb::Start(verb) => verb.run(&cli.global),
        Verb::Exec(verb) => verb.run(&cli.global),
        Verb::Run(verb) => verb.run(&cli.global),
        Verb::Sandbox(verb) => verb.run(),
        Verb::Plan(verb) => verb.run(),
        Verb::State(verb) => verb.run(&cli.global),
        Verb::List(verb) => verb.run(&cli.global),
        Verb::Kill(verb) => verb.run(&cli.global),
        Verb::Delete(verb) => verb.run(&cli.global),
        Verb::Sweep(verb) => verb.run(),
    }
}

/// In the form that docker and podman parse.
fn version() -> Result<u8, Failure> {
    let commit = option_env!("CODEXRUN_COMMIT").unwrap_or("unknown");
    let version = env!("CARGO_PKG_VERSION");
    output::print(&format!("codexrun version {version}\ncommit: {commit}\nspec: {SPEC}\n"))
}
