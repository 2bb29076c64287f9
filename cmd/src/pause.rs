//! `codexrun pause` and `codexrun resume`.

use crate::grammar::Global;
use crate::report::Failure;
use clap::Args;

/// Stop every process of a container, until it is resumed
#[derive(Debug, Args)]
pub struct Pause {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Pause {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        global.store()?.load(&self.id.parse()?)?.pause()?;
        Ok(0)
    }
}

/// Let a paused container go on
#[derive(Debug, Args)]
pub struct Resume {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl Resume {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        global.store()?.load(&self.id.parse()?)?.resume()?;
        Ok(0)
    }
}
