//! `codexrun bridge`: what a bundle's `createRuntime`, `createContainer` and `poststop` hooks call, under any runtime, to let the routes through.

use crate::report::Failure;
use clap::Args;
use libruntime::bridge::{self, Route};
use libruntime::{Error, run};

/// Carry connections between the host and a container
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct Bridge {
    /// In the container: hand its namespaces to the bridge
    #[arg(long, conflicts_with = "routes")]
    inside: bool,
    /// When the container has ended: see to the bridge's end
    #[arg(long, conflicts_with_all = ["routes", "inside"])]
    end: bool,
    /// inside:LISTEN=DIAL or outside:LISTEN=DIAL
    #[arg(value_name = "ROUTE", required_unless_present_any = ["inside", "end"])]
    routes: Vec<String>,
}

impl Bridge {
    pub fn run(&self) -> Result<u8, Failure> {
        run::close_inherited(0)?;
        let state = std::io::read_to_string(std::io::stdin()).map_err(|e| Error::new("cannot read the OCI state").cause(e))?;
        if self.inside {
            bridge::hand_over(&state)?;
            return Ok(0);
        }
        if self.end {
            bridge::end(&state)?;
            return Ok(0);
        }
        let routes = self.routes.iter().map(|word| word.parse()).collect::<Result<Vec<Route>, _>>()?;
        bridge::open(&state, &routes)?;
        Ok(0)
    }
}
