//! `codexrun completion` and `codexrun man`: what is made of the grammar for shells and for man(1).

use crate::grammar::Cli;
use crate::output;
use crate::report::Failure;
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;
use clap_mangen::Man as Page;
use libruntime::Error;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct Completion {
    /// For which; e.g. `codexrun completion bash > /usr/share/bash-completion/completions/codexrun`
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub fn run(&self) -> Result<u8, Failure> {
        let generator = match self.shell {
            Shell::Bash => Generator::Bash,
            Shell::Zsh => Generator::Zsh,
            Shell::Fish => Generator::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(generator, &mut Cli::command(), "codexrun", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}

/// Print a manual page, of codexrun or of one verb
#[derive(Debug, Args)]
pub struct Man {
    /// The verb; e.g. `codexrun man run | man -l -`
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

impl Man {
    pub fn run(&self) -> Result<u8, Failure> {
        let mut all = Cli::command();
        all.build();
        let command = match &self.verb {
            Some(name) => {
                let known = all.find_subcommand(name).cloned();
                let found = known.ok_or_else(|| Error::new(format!("there is no verb `{}`", name.escape_debug())))?;
                // The page is found as `man codexrun-run`, as git and runc have it.
                found.display_name(format!("codexrun-{name}"))
            }
            None => all,
        };
        let mut page = Vec::new();
        let rendered = Page::new(command).section("8").render(&mut page);
        rendered.map_err(|e| Error::new("cannot make the manual page").cause(e))?;
        output::print(&String::from_utf8_lossy(&page))
    }
}
