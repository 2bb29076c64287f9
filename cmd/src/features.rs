//! `codexrun features`: what is implemented, for engines to read.

use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::features::features;

/// Print what is implemented, as an OCI features structure
///
/// JSON as features.md of the runtime specification describes it. What this host lacks is listed all the same.
#[derive(Debug, Args)]
pub struct Features {}

impl Features {
    pub fn run(&self) -> Result<u8, Failure> {
        output::print(&format!("{:#}\n", features()))
    }
}
