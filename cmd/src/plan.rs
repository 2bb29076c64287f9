//! `codexrun plan`: what `run` would do, without doing it.

use crate::environment::Environment;
use crate::grammar::Global;
use crate::make::{Make, absolute};
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::{self, Bundle};
use libruntime::host::Host;
use libruntime::policy::view::{Disk, Recorded, View};
use libruntime::{Error, Result, plan, run};
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
    /// Plan for the host that this file describes: the listing is the same on every machine
    #[arg(long, value_name = "FILE")]
    view: Option<PathBuf>,
    #[command(flatten)]
    make: Make,
}

impl Plan {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let view = self.view.as_deref().map(Recorded::load).transpose()?;
        let bundle = self.bundle(view.as_ref())?;
        let cgroups = global.cgroups();
        let dir = if self.policy.is_none() { Some(absolute(&self.bundle)?) } else { None };
        let options = plan::Options {
            systemd: cgroups.systemd,
            no_cgroup: !cgroups.make,
            bundle_dir: dir.clone(),
            ..plan::Options::default()
        };
        let plan = plan::Plan::new(&bundle, &host(view.as_ref(), &bundle, &options)?, &options)?;
        run::warn(&plan, bundle::file(dir.as_deref(), None).as_deref());
        let ways = if view.is_none() { libruntime::host::ways() } else { Vec::new() };
        let host: String = ways.iter().map(|way| format!("  {way}\n")).collect();
        let title = if host.is_empty() { "" } else { "this host\n" };
        output::print(&format!("{plan}{title}{host}"))
    }

    fn launched(&self, policy: &str, view: &dyn View, env: Environment) -> Result<Bundle, Failure> {
        self.make.launched(policy, view, env).map(|(bundle, _)| bundle)
    }

    fn bundle(&self, view: Option<&Recorded>) -> Result<Bundle, Failure> {
        match (&self.policy, view) {
            (Some(policy), Some(view)) => self.launched(policy, view, Environment::fixed(view, false)?),
            (Some(policy), None) => self.launched(policy, &Disk::new(), Environment::inherited()),
            (None, _) if self.make.is_given() => {
                Err(Error::new("`--cwd`, `--identity`, `--proc`, `--env`, the network's flags and a command need `--policy`")
                    .into())
            }
            (None, _) => Ok(run::read(&self.bundle, None)?),
        }
    }
}

/// With a view, what the view says of the caller, on a kernel that has everything.
fn host(view: Option<&Recorded>, bundle: &Bundle, options: &plan::Options) -> Result<Host, Error> {
    let recorded = view.map(Recorded::ids).map(|(uid, gid)| Host::recorded(uid, gid));
    recorded.map_or_else(|| Host::probe_for(&bundle.spec, options), Ok)
}
