//! `codexrun kill`: a signal to a container's first process.

use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;

/// Send a signal to a container
#[derive(Debug, Args)]
pub struct Kill {
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
        global.store()?.load(&id)?.kill(signal)?;
        Ok(0)
    }
}
