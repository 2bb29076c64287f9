//! `codexrun losses`: what of a bundle another runtime, or this host, would not enforce.

use crate::make::absolute;
use crate::output;
use crate::report::{Failure, note, warn};
use crate::trial::{self, Answer};
use clap::Args;
use libruntime::bundle::Bundle;
use libruntime::error::plain;
use libruntime::host::Host;
use libruntime::losses::{Loss, Other, here, losses, unlisted};
use libruntime::{Error, Result, plan};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The exit code when something is lost.
const LOST: u8 = 3;

/// List what a runtime, or this host, would not enforce of a bundle
///
/// One loss a line: the place in config.json, what is asked there, what happens instead. A runtime is asked for its version and its
/// `features`; what is known of runc and crun besides is added, and what neither answers is tried with small bundles. Exit code: 0 no losses, 3 some, 1 codexrun failed.
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
            Some(program) => Runtime::ask(program)?.losses(&bundle)?,
            None => Vec::new(),
        };
        if self.host {
            let options = plan::Options { bundle_dir: Some(absolute(&self.bundle)?), ..plan::Options::default() };
            all.extend(here(&bundle, &Host::probe_for(&bundle.spec, &options)?, &options));
        }
        output::print(&listed(&all))?;
        Ok(if all.is_empty() { 0 } else { LOST })
    }
}

/// One loss a line.
pub fn listed(losses: &[Loss]) -> String {
    match losses {
        [] => "no losses\n".into(),
        all => all.iter().map(|loss| format!("{}\n", plain(&loss.to_string()))).collect(),
    }
}

/// What a runtime says of itself.
pub struct Runtime {
    program: PathBuf,
    /// The first word of `--version`.
    name: String,
    features: Option<Value>,
    /// It is there.
    runs: bool,
}

impl Runtime {
    /// Asks it; one that is known need not be there.
    pub fn ask(program: &Path) -> Result<Runtime> {
        let known = KNOWN.into_iter().find(|name| program.as_os_str() == *name);
        let version = match (trial::answer(program, "--version"), known) {
            (Ok((_, said)), _) => said,
            (Err(e), Some(name)) => {
                warn(&format!("`{name}` cannot be asked for its features: {e}"));
                return Ok(Runtime { program: program.into(), name: name.into(), features: None, runs: false });
            }
            (Err(e), None) => return Err(Error::new(format!("cannot run `{}`", program.display())).cause(e)),
        };
        let name = version.split_whitespace().next().unwrap_or_default().to_owned();
        // Before runc 1.1 and crun 1.9 there was no such verb.
        let features = trial::answer(program, "features").ok().filter(|(code, _)| *code == Some(0));
        let features = features.and_then(|(_, said)| serde_json::from_str(&said).ok());
        Ok(Runtime { program: program.into(), name, features, runs: true })
    }

    /// What is known of it, what it does not list, and what a trial shows where it lists nothing. The trials are told on stderr.
    pub fn losses(&self, bundle: &Bundle) -> Result<Vec<Loss>> {
        let mut all = match self.name.as_str() {
            "codexrun" => return Ok(unlisted_by(self.features.as_ref(), bundle)),
            "runc" => losses(&bundle.spec, Other::Runc),
            "crun" => losses(&bundle.spec, Other::Crun),
            _ => losses(&bundle.spec, Other::Any),
        };
        all.extend(unlisted_by(self.features.as_ref(), bundle));
        let spec = serde_json::to_value(&bundle.spec).unwrap_or_default();
        let known = KNOWN.contains(&self.name.as_str());
        let doubts = trial::doubts(&spec, self.features.as_ref(), known);
        if !self.runs || doubts.is_empty() {
            return Ok(all);
        }
        if let Some(why) = trial::works(&self.program)? {
            warn(&format!("nothing can be tried: `{}` does not run a plain bundle here: {why}", self.program.display()));
            all.extend(doubts.iter().filter(|_| !known).map(trial::Doubt::untried));
            return Ok(all);
        }
        for doubt in doubts {
            let answer = doubt.settle(&self.program)?;
            note(&format!("tried: {}: {}: {}", doubt.place, doubt.clause, answer.word()));
            // What has been seen counts for more than what was known of another version.
            if answer != Answer::Untold {
                all.retain(|loss| loss.place != doubt.place);
            }
            all.extend(doubt.loss(answer));
        }
        Ok(all)
    }
}

/// Of which more is known than they say.
const KNOWN: [&str; 2] = ["runc", "crun"];

fn unlisted_by(features: Option<&Value>, bundle: &Bundle) -> Vec<Loss> {
    features.map(|features| unlisted(&bundle.spec, features)).unwrap_or_default()
}
