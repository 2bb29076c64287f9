//! `codexrun kill`: a signal to a container's first process, or to everybody in it.

use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;
use libruntime::run;

/// Send a signal to a container
#[derive(Debug, Args)]
pub struct Kill {
    /// To every process in it; content if it has ended
    #[arg(short, long)]
    all: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
    /// A name with or without SIG, or a number
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    signal: String,
}

impl Kill {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let (id, signal) = (self.id.parse()?, self.signal.parse()?);
        run::kill(&global.store()?, &id, signal, self.all)?;
        Ok(0)
    }
}
