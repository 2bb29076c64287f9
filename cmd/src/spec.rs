//! `codexrun spec`: writes a bundle.

use crate::environment::Environment;
use crate::losses::{Runtime, listed};
use crate::make::{Make, keep_policy};
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::{Bundle, ROOTFS, Rootfs};
use libruntime::losses::{Loss, Other, losses};
use libruntime::policy::Policy;
use libruntime::policy::view::{Disk, Recorded, View};
use libruntime::template::{self, Runner};
use libruntime::{Error, Result};
use std::path::{Path, PathBuf};

/// Write a bundle: from a policy, or a default config.json to edit
///
/// With `--from-policy`, writes config.json and a skeleton `rootfs/`; the same policy, directory, host and command give
/// the same bytes. Without it, writes what `runc spec` writes. Nothing is overwritten.
#[derive(Debug, Args)]
pub struct Spec {
    /// read-only, workspace-write, danger-full-access, a file (JSON or TOML), or `-`
    #[arg(long = "from-policy", value_name = "POLICY")]
    policy: Option<String>,
    /// Where to write
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// The default config.json for an ordinary user
    #[arg(long, conflicts_with = "policy")]
    rootless: bool,
    /// Give the command a terminal
    #[arg(long, requires = "policy")]
    terminal: bool,
    /// Compile for the host that this file describes
    #[arg(long, value_name = "FILE", requires = "policy")]
    view: Option<PathBuf>,
    /// Also print what this runtime would not enforce, one loss a line: runc or crun, as known, or a path, which is asked and tried
    #[arg(long, value_name = "RUNTIME")]
    portable_to: Option<PathBuf>,
    #[command(flatten)]
    make: Make,
}

impl Spec {
    pub fn run(&self) -> Result<u8, Failure> {
        let (bundle, policy) = match &self.policy {
            Some(policy) => self.compiled(policy).map(|(bundle, policy)| (bundle, Some(policy)))?,
            None => (self.template()?, None),
        };
        // Before anything is written: with a runtime that cannot be asked there is no bundle.
        let lost = self.portable_to.as_deref().map(|runtime| lost(&bundle, runtime)).transpose()?;
        bundle.write(&self.bundle)?;
        policy.map_or(Ok(()), |policy| keep_policy(&policy, &self.bundle))?;
        lost.map_or(Ok(0), |lost| output::print(&listed(&lost)))
    }

    fn compiled(&self, policy: &str) -> Result<(Bundle, Policy), Failure> {
        let view = self.host()?;
        let env = Environment::fixed(&*view, self.terminal)?;
        self.make.bundle_of(policy, &*view, env, self.terminal)
    }

    fn host(&self) -> Result<Box<dyn View>> {
        Ok(match &self.view {
            Some(file) => Box::new(Recorded::load(file)?),
            None => Box::new(Disk::new()),
        })
    }

    fn template(&self) -> Result<Bundle> {
        if self.make.is_given() {
            return Err(Error::new(
                "`--cwd`, `--identity`, `--proc`, `--env`, the network's flags and a command need `--from-policy`",
            ));
        }
        let (uid, gid) = Disk::new().ids();
        let runner = if self.rootless { Runner::Rootless { uid, gid } } else { Runner::Root };
        // Like runc, it leaves the root file system to the user.
        Ok(Bundle { spec: template::spec(runner)?, rootfs: Rootfs::Dir(ROOTFS.into()), unknown: Vec::new() })
    }
}

/// The same everywhere for the two names.
fn lost(bundle: &Bundle, runtime: &Path) -> Result<Vec<Loss>> {
    match runtime.to_str() {
        Some("runc") => Ok(losses(&bundle.spec, Other::Runc)),
        Some("crun") => Ok(losses(&bundle.spec, Other::Crun)),
        _ => Runtime::ask(runtime)?.losses(bundle),
    }
}
