//! `codexrun sandbox`: a policy → a process, with nothing on disk between the two.

use crate::environment::Environment;
use crate::make::{Make, absolute, keep_policy};
use crate::report::Failure;
use clap::Args;
use libruntime::Error;
use libruntime::policy::view::Disk;
use libruntime::run::{self, Options};
use std::path::PathBuf;

/// Run a command under a policy
///
/// What an agent harness puts before every command. The environment is the caller's; the exit code is the command's own,
/// 128 + the signal that ended it, 127 if it was not found, 126 if it could not be executed, and 1 if codexrun refused.
#[derive(Debug, Args)]
pub struct Sandbox {
    /// read-only, workspace-write, danger-full-access, a file (JSON or TOML), or `-`
    #[arg(long, value_name = "POLICY", default_value = "workspace-write")]
    policy: String,
    /// Also write the bundle to this directory
    #[arg(long, value_name = "DIR")]
    keep_bundle: Option<PathBuf>,
    #[command(flatten)]
    pub make: Make,
}

impl Sandbox {
    pub fn run(&self) -> Result<u8, Failure> {
        if self.make.command.is_empty() {
            return Err(Error::new("no command given").hint("`codexrun sandbox -- CMD…`").into());
        }
        let (bundle, policy) = self.make.bundle_of(&self.policy, &Disk::new(), Environment::inherited(), false)?;
        let kept = self.keep_bundle.as_deref().map(absolute).transpose()?;
        if let Some(dir) = &kept {
            bundle.write(dir)?;
            keep_policy(&policy, dir)?;
        }
        run::close_inherited(0)?;
        Ok(run::run(&bundle, &options(kept))?)
    }
}

/// In the foreground, and not recorded: it ends with the caller.
fn options(bundle_dir: Option<PathBuf>) -> Options {
    Options { bundle_dir, ..Options::default() }
}
