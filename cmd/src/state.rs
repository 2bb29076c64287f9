//! `codexrun state`: one container, as OCI describes its state.

use crate::grammar::Global;
use crate::output;
use crate::report::Failure;
use clap::Args;

/// Print the state of a container as JSON
#[derive(Debug, Args)]
pub struct State {
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

impl State {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let record = global.store()?.load(&self.id.parse()?)?;
        output::print(&format!("{}\n", record.oci_state()?.json(true)))
    }
}
