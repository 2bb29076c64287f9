//! The `codexrun` command: words in, words and an exit code out. Every decision is libruntime's.
#![cfg_attr(not(test), no_main)]

#[cfg(feature = "alloc-trap")]
mod alloc_trap;
mod argv;
mod bridge;
mod checkpoint;
mod choose;
mod completion;
mod create;
mod criu;
mod delete;
mod diff;
#[cfg(not(test))]
mod entry;
mod environment;
mod events;
mod exec;
mod explain;
mod features;
mod filter;
mod grammar;
mod isolation;
mod kill;
mod list;
mod listen;
mod losses;
mod make;
mod memory;
mod network;
mod output;
mod pause;
mod plan;
mod policy;
mod ps;
mod quantity;
mod ready;
mod records;
mod report;
mod restore;
mod run;
mod sandbox;
mod spec;
mod start;
mod state;
mod sweep;
mod trial;
mod update;

use grammar::{Cli, Global, Top, Verb};
use libruntime::features::NEWEST;
use report::Failure;

/// The exit code.
#[cfg_attr(test, expect(dead_code, reason = "the test harness has a `main` of its own"))]
fn start() -> u8 {
    let words: Vec<_> = std::env::args_os().collect();
    let (line, parsed) = grammar::read(&words);
    let code = match line.verb.as_deref() {
        Some("exec") => Some(255), // so that nobody takes our own failure for an exit code of the command
        Some("diff") => Some(2),   // as diff(1): 1 is an answer
        _ => None,
    };
    let sandbox = line.verb.as_deref() == Some("sandbox");
    memory::fails_with(code.unwrap_or(1));
    let (done, global) = match parsed {
        Ok(cli) => (dispatch(&cli), cli.top.global),
        Err(e) => {
            let help = || words.iter().any(|word| word == "-h" || word == "--help");
            let done = if report::is_help(&e) { output::print(&e.to_string()) } else { Err(report::mistake(&e, help())) };
            (done, Global::of_a_mistake(&line.words))
        }
    };
    done.unwrap_or_else(|failure| {
        let own = failure.report(&global, sandbox);
        code.unwrap_or(own)
    })
}

fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let Top { version, global } = &cli.top;
    if *version {
        return self::version();
    }
    match cli.verb.as_ref().ok_or_else(grammar::no_verb)? {
        Verb::Spec(verb) => verb.run(),
        Verb::Create(verb) => verb.run(global),
        Verb::Start(verb) => verb.run(global),
        Verb::Exec(verb) => verb.run(global),
        Verb::Run(verb) => verb.run(global),
        Verb::Sandbox(verb) => verb.run(),
        Verb::Plan(verb) => verb.run(global),
        Verb::Explain(verb) => verb.run(),
        Verb::Policy(verb) => verb.run(),
        Verb::Diff(verb) => verb.run(),
        Verb::Losses(verb) => verb.run(),
        Verb::State(verb) => verb.run(global),
        Verb::List(verb) => verb.run(global),
        Verb::Ps(verb) => verb.run(global),
        Verb::Pause(verb) => verb.run(global),
        Verb::Resume(verb) => verb.run(global),
        Verb::Update(verb) => verb.run(global),
        Verb::Events(verb) => verb.run(global),
        Verb::Checkpoint(verb) => verb.run(global),
        Verb::Restore(verb) => verb.run(global),
        Verb::Kill(verb) => verb.run(global),
        Verb::Delete(verb) => verb.run(global),
        Verb::Features(verb) => verb.run(),
        Verb::Completion(verb) => verb.run(),
        Verb::Man(verb) => verb.run(),
        Verb::Sweep(verb) => verb.run(),
        Verb::Bridge(verb) => verb.run(),
    }
}

/// In the form that docker and podman parse.
fn version() -> Result<u8, Failure> {
    let commit = option_env!("CODEXRUN_COMMIT").unwrap_or("unknown");
    let version = env!("CARGO_PKG_VERSION");
    output::print(&format!("codexrun version {version}\ncommit: {commit}\nspec: {NEWEST}\n"))
}
