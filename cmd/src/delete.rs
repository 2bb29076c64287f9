//! `codexrun delete`: forgets a container.

use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;
use libruntime::run;

/// Remove what is kept of a stopped container
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill it first if it runs; be content if there is none
    #[arg(short, long)]
    force: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Delete {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        run::delete(&global.store()?, &self.id.parse()?, self.force)?;
        Ok(0)
    }
}
