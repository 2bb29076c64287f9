//! The `codexrun` command: words in, words and an exit code out. Every decision is libruntime's.
#![cfg_attr(not(test), no_main)]

#[cfg(feature = "alloc-trap")]
mod alloc_trap;
mod argv;
mod completion;
mod create;
mod delete;
#[cfg(not(test))]
mod entry;
mod environment;
mod events;
mod exec;
mod features;
mod grammar;
mod kill;
mod list;
mod make;
mod output;
mod pause;
mod plan;
mod ps;
mod quantity;
mod report;
mod run;
mod sandbox;
mod spec;
mod start;
mod state;
mod sweep;
mod update;

use clap::{CommandFactory, FromArgMatches};
use grammar::{Cli, Global, Verb};
use libruntime::features::NEWEST;
use report::Failure;

/// The exit code.
#[cfg_attr(test, expect(dead_code, reason = "the test harness has a `main` of its own"))]
fn start() -> u8 {
    let mut grammar = Cli::command();
    let line = argv::normalise(std::env::args_os(), &grammar);
    let parsed = grammar.try_get_matches_from_mut(&line.words).and_then(|matches| Cli::from_arg_matches(&matches));
    let code = match parsed {
        Ok(cli) => match dispatch(&cli) {
            Ok(code) => return code,
            Err(failure) => failure.report(&cli.global),
        },
        Err(e) if report::is_help(&e) => return report::help(&e),
        Err(e) => report::mistake(&e).report(&Global::of_a_mistake(&line.words)),
    };
    // So that nobody takes our own failure for an exit code of the command.
    if line.verb.as_deref() == Some("exec") { 255 } else { code }
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    if cli.version {
        return version();
    }
    if matches!(cli.verb, Some(Verb::Create(_) | Verb::Run(_) | Verb::Exec(_))) {
        libruntime::run::read_only_self()?;
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
        Verb::Ps(verb) => verb.run(&cli.global),
        Verb::Pause(verb) => verb.run(&cli.global),
        Verb::Resume(verb) => verb.run(&cli.global),
        Verb::Update(verb) => verb.run(&cli.global),
        Verb::Events(verb) => verb.run(&cli.global),
        Verb::Kill(verb) => verb.run(&cli.global),
        Verb::Delete(verb) => verb.run(&cli.global),
        Verb::Features(verb) => verb.run(),
        Verb::Completion(verb) => verb.run(),
        Verb::Man(verb) => verb.run(),
        Verb::Sweep(verb) => verb.run(),
    }
}

/// In the form that docker and podman parse.
fn version() -> Result<u8, Failure> {
    let commit = option_env!("CODEXRUN_COMMIT").unwrap_or("unknown");
    let version = env!("CARGO_PKG_VERSION");
    output::print(&format!("codexrun version {version}\ncommit: {commit}\nspec: {NEWEST}\n"))
}
