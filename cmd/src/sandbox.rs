//! `codexrun sandbox`: a policy → a process, with nothing on disk between the two.

use crate::environment::Environment;
use crate::filter::Filter;
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
    filter: Filter,
    #[command(flatten)]
    pub make: Make,
}

impl Sandbox {
    pub fn run(&self) -> Result<u8, Failure> {
        if self.make.command.is_empty() {
            return Err(Error::new("no command given").hint("`codexrun sandbox -- CMD…`").into());
        }
        let disk = Disk::new();
        let parsed = self.make.parse(&self.policy, &disk)?;
        run::close_inherited(0)?;
        let keeper = self.filter.start(self.make.own_domains(&parsed.policy))?;
        let mut env = Environment::inherited();
        if let Some(keeper) = &keeper {
            env.go_by(&keeper.proxy);
        }
        let (bundle, policy) = self.make.compile(&self.policy, parsed, &disk, env, false)?;
        let kept = self.keep_bundle.as_deref().map(absolute).transpose()?;
        if let Some(dir) = &kept {
            bundle.write(dir)?;
            keep_policy(&policy, dir)?;
        }
        Ok(run::run(&bundle, &options(kept))?)
    }
}

/// In the foreground, and not recorded: it ends with the caller.
fn options(bundle_dir: Option<PathBuf>) -> Options {
    Options { bundle_dir, ..Options::default() }
}
