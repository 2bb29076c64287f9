//! `codexrun plan`: what `run` would do, without doing it.

use crate::environment::Environment;
use crate::make::Make;
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::Bundle;
use libruntime::host::Host;
use libruntime::policy::view::Disk;
use libruntime::{Error, plan};
use std::path::PathBuf;

/// Print the kernel operations that running a bundle or a policy would perform
///
/// In order, each with its origin in config.json. Nothing is changed.
#[derive(Debug, Args)]
pub struct Plan {
    /// A directory that holds a config.json
    #[arg(value_name = "BUNDLE", default_value = ".", conflicts_with = "policy")]
    bundle: PathBuf,
    /// Plan this policy as `sandbox` would run it, instead of a bundle
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    #[command(flatten)]
    make: Make,
}

impl Plan {
    pub fn run(&self) -> Result<u8, Failure> {
        let plan = plan::Plan::new(&self.bundle()?, &Host::probe(), &plan::Options::default())?;
        output::print(&plan.to_string())
    }

    fn bundle(&self) -> Result<Bundle, Failure> {
        match &self.policy {
            Some(policy) => self.make.bundle(policy, &Disk::new(), Environment::inherited(), false),
            None if self.make.is_given() => {
                Err(Error::new("`--cwd`, `--identity`, `--proc`, `--env` and a command need `--policy`").into())
            }
            None => Ok(Bundle::read(&self.bundle)?),
        }
    }
}
