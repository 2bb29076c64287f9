//! `codexrun start`: lets the process of a created container go.

use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;
use libruntime::run;

/// Start the process of a created container
#[derive(Debug, Args)]
pub struct Start {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Start {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        run::start(&global.store()?, &self.id.parse()?)?;
        Ok(0)
    }
}
