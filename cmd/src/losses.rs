//! `codexrun losses`: what of a bundle another runtime, or this host, would not enforce.

use crate::output;
use crate::report::{Failure, warn};
use clap::Args;
use libruntime::bundle::Bundle;
use libruntime::host::Host;
use libruntime::losses::{Loss, Other, here, losses, unlisted};
use libruntime::{Error, Result, plan};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The exit code when something is lost.
const LOST: u8 = 3;

/// List what a runtime, or this host, would not enforce of a bundle
///
/// One loss a line: the place in config.json, what is asked there, what happens instead. A runtime is asked for its version and its
/// `features`; what is known of runc and crun besides is added. Exit code: 0 no losses, 3 some, 1 codexrun failed.
#[derive(Debug, Args)]
pub struct Losses {
    /// A directory that holds a config.json
    #[arg(value_name = "BUNDLE", default_value = ".")]
    bundle: PathBuf,
    /// runc, crun, or the path of a runtime
    #[arg(long, value_name = "RUNTIME", required_unless_present = "host")]
    runtime: Option<PathBuf>,
    /// What codexrun would refuse, or pass over with a warning, on this host
    #[arg(long)]
    host: bool,
}

impl Losses {
    pub fn run(&self) -> Result<u8, Failure> {
        let bundle = Bundle::read(&self.bundle)?;
        let mut all = match &self.runtime {
            Some(program) => Runtime::ask(program)?.losses(&bundle),
            None => Vec::new(),
        };
        if self.host {
            all.extend(here(&bundle, &Host::probe_for(&bundle.spec, &plan::Options::default())?));
        }
        output::print(&listed(&all))?;
        Ok(if all.is_empty() { 0 } else { LOST })
    }
}

/// One loss a line.
pub fn listed(losses: &[Loss]) -> String {
    match losses {
        [] => "no losses\n".into(),
        all => all.iter().map(|loss| format!("{loss}\n")).collect(),
    }
}

/// What a runtime says of itself.
struct Runtime {
    /// The first word of `--version`.
    name: String,
    features: Option<Value>,
}

impl Runtime {
    fn ask(program: &PathBuf) -> Result<Runtime> {
        let run = |word: &str| Command::new(program).arg(word).stdin(Stdio::null()).output();
        let known = ["runc", "crun"].into_iter().find(|name| program.as_os_str() == *name);
        let version = match (run("--version"), known) {
            (Ok(output), _) => String::from_utf8_lossy(&output.stdout).into_owned(),
            // Known without being there.
            (Err(e), Some(name)) => {
                warn(&format!("`{name}` cannot be asked for its features: {e}"));
                name.into()
            }
            (Err(e), None) => return Err(Error::new(format!("cannot run `{}`", program.display())).cause(e)),
        };
        let name = version.split_whitespace().next().unwrap_or_default().to_owned();
        // Before runc 1.1 and crun 1.9 there was no such verb.
        let features = run("features").ok().filter(|output| output.status.success());
        Ok(Runtime { name, features: features.and_then(|output| serde_json::from_slice(&output.stdout).ok()) })
    }

    fn losses(&self, bundle: &Bundle) -> Vec<Loss> {
        let own = match self.name.as_str() {
            "codexrun" => Vec::new(),
            "runc" => losses(&bundle.spec, Other::Runc),
            "crun" => losses(&bundle.spec, Other::Crun),
            _ => losses(&bundle.spec, Other::Any),
        };
        let unlisted = self.features.iter().flat_map(|features| unlisted(&bundle.spec, features));
        own.into_iter().chain(unlisted).collect()
    }
}
