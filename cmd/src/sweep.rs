//! `codexrun sweep`: what a bundle's `poststop` hook calls, under any runtime, to remove placeholders from the host.

use crate::report::Failure;
use clap::Args;
use libruntime::run;
use std::path::PathBuf;

/// Remove placeholders that a runtime left on the host
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct Sweep {
    /// Absolute paths
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

impl Sweep {
    pub fn run(&self) -> Result<u8, Failure> {
        run::sweep(&self.paths)?;
        Ok(0)
    }
}
