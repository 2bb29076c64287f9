//! `codexrun run`: a bundle on disk → a process.

use crate::create::New;
use crate::grammar::Global;
use crate::isolation;
use crate::listen::Listen;
use crate::make::absolute;
use crate::records::out_of_reach;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::CONFIG;
use libruntime::run::{self, Options};
use libruntime::state::ContainerId;
use libruntime::{Error, Result};
use std::path::{Path, PathBuf};

/// Run a bundle
///
/// `run BUNDLE`, or `run [-b BUNDLE] ID` as runc has it. Which one is meant follows from one rule: a directory that holds
/// a config.json is a bundle, anything else is an id. After `--bundle` or `--config` it is always an id. A container with an id is
/// recorded while it lives (`list`, `state`, `kill`, `delete`). The exit code is the command's own, or 128 + the signal
/// that ended it.
#[derive(Debug, Args)]
pub struct Run {
    /// A directory that holds a config.json, or the id of the container
    #[arg(value_name = "BUNDLE|ID")]
    what: String,
    #[command(flatten)]
    new: New,
    /// Leave the container running and return
    #[arg(short, long)]
    detach: bool,
    /// Keep what is recorded of the container when it has ended, until `delete`
    #[arg(long)]
    keep: bool,
    /// Accepted for runc's sake: codexrun never is a subreaper
    #[arg(long, hide = true)]
    no_subreaper: bool,
}

impl Run {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let (dir, id) = self.target()?;
        if let Some(option) = self.lasting().filter(|_| id.is_none()) {
            let hint = format!("`codexrun run {option} --bundle {} ID`", dir.display());
            return Err(Error::new(format!("`{option}` needs an id to find the container by")).hint(hint).into());
        }
        let dir = absolute(&dir)?;
        let bundle = self.new.read(&dir).map_err(|faults| self.taken_for_an_id(faults, &dir))?;
        run::read_only_self_among_others(&bundle.spec)?;
        let options = Listen::inherited(&bundle.spec)?.before(self.new.options(&dir, global)?);
        run::close_inherited(options.preserve_fds)?;
        let store = global.store()?;
        out_of_reach(&bundle, &dir, &store, id.is_some())?;
        // Without an id there is nothing to record it under.
        let store = id.is_some().then_some(store);
        let options = Options { id, store, detach: self.detach, keep: self.keep, ..options };
        isolation::say_of(&bundle, self.new.isolation);
        Ok(run::run(&bundle, &options)?)
    }

    /// The option by which the container outlives this command.
    fn lasting(&self) -> Option<&'static str> {
        [(self.detach, "--detach"), (self.keep, "--keep")].into_iter().find_map(|(given, option)| given.then_some(option))
    }

    /// The one rule.
    fn target(&self) -> Result<(PathBuf, Option<ContainerId>)> {
        let id = |what: &str| what.parse::<ContainerId>().map(Some);
        match &self.new.bundle {
            Some(dir) => Ok((dir.clone(), id(&self.what)?)),
            None if self.new.config.is_some() => {
                let hint = "after `--config` it is always an id; `--bundle DIR` names the bundle";
                Ok((PathBuf::from("."), id(&self.what).map_err(|e| e.hint(hint))?))
            }
            None if Path::new(&self.what).join(CONFIG).exists() => Ok((PathBuf::from(&self.what), None)),
            None => {
                let hint = "a directory that holds a `config.json` is a bundle, anything else is an id";
                Ok((PathBuf::from("."), id(&self.what).map_err(|e| e.hint(hint))?))
            }
        }
    }

    /// A mistyped directory is an id by the one rule.
    fn taken_for_an_id(&self, faults: Vec<Error>, dir: &Path) -> Vec<Error> {
        if self.new.bundle.is_some() || self.new.config.is_some() || dir.join(CONFIG).exists() {
            return faults;
        }
        let hint = format!("`{}` holds no `{CONFIG}` either, so it is an id: of a container of the current directory", self.what);
        faults.into_iter().map(|fault| fault.hint(hint.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(what: &str, bundle: Option<&Path>) -> Result<(PathBuf, Option<String>)> {
        let run = Run {
            what: what.into(),
            new: New { bundle: bundle.map(Path::to_owned), ..New::default() },
            detach: false,
            keep: false,
            no_subreaper: false,
        };
        run.target().map(|(dir, id)| (dir, id.map(String::from)))
    }

    #[test]
    fn a_directory_with_a_config_json_is_a_bundle_and_anything_else_an_id() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_str().unwrap();
        assert!(target(at, None).unwrap_err().to_string().contains("anything else is an id"));
        std::fs::write(dir.path().join(CONFIG), "").unwrap();
        assert_eq!(target(at, None).unwrap(), (dir.path().into(), None));
        assert_eq!(target("box", None).unwrap(), (".".into(), Some("box".into())));
        assert_eq!(target("box", Some(dir.path())).unwrap(), (dir.path().into(), Some("box".into())));
        assert!(target(at, Some(dir.path())).is_err());
    }
}
