//! `codexrun run`: a bundle on disk → a process.

use crate::grammar::Global;
use crate::make::absolute;
use crate::report::Failure;
use clap::Args;
use libruntime::bundle::{Bundle, CONFIG};
use libruntime::run::{self, Options};
use libruntime::state::ContainerId;
use libruntime::{Error, Result};
use std::path::{Path, PathBuf};

/// Run a bundle
///
/// `run BUNDLE`, or `run [-b BUNDLE] ID` as runc has it. Which one is meant follows from one rule: a directory that holds
/// a config.json is a bundle, anything else is an id. After `--bundle` it is always an id. A container with an id is
/// recorded while it lives (`list`, `state`, `kill`, `delete`). The exit code is the command's own, or 128 + the signal
/// that ended it.
#[derive(Debug, Args)]
pub struct Run {
    /// A directory that holds a config.json, or the id of the container
    #[arg(value_name = "BUNDLE|ID")]
    what: String,
    /// The bundle, when an id is given [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Write the process id of the container's first process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Leave the container running and return
    #[arg(short, long)]
    detach: bool,
    /// Pass on descriptors 3 to 2 + N
    #[arg(long, value_name = "N", default_value_t)]
    preserve_fds: u32,
    /// Send the terminal's master to this Unix socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Refused: without pivot_root the container could leave its root
    #[arg(long, hide = true)]
    no_pivot: bool,
}

impl Run {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        if self.no_pivot {
            return Err(Error::new("`--no-pivot` is refused: without pivot_root(2) a container can leave its root").into());
        }
        let (dir, id) = self.target()?;
        if self.detach && id.is_none() {
            let hint = format!("`codexrun run --detach --bundle {} ID`", dir.display());
            return Err(Error::new("`--detach` needs an id to find the container by").hint(hint).into());
        }
        let dir = absolute(&dir)?;
        let bundle = Bundle::read(&dir)?;
        Ok(run::run(&bundle, &self.options(id, dir, global)?)?)
    }

    /// The one rule.
    fn target(&self) -> Result<(PathBuf, Option<ContainerId>)> {
        let id = |what: &str| what.parse::<ContainerId>().map(Some);
        match &self.bundle {
            Some(dir) => Ok((dir.clone(), id(&self.what)?)),
            None if Path::new(&self.what).join(CONFIG).exists() => Ok((PathBuf::from(&self.what), None)),
            None => {
                let hint = "a directory that holds a `config.json` is a bundle, anything else is an id";
                Ok((PathBuf::from("."), id(&self.what).map_err(|e| e.hint(hint))?))
            }
        }
    }

    fn options(&self, id: Option<ContainerId>, bundle: PathBuf, global: &Global) -> Result<Options> {
        Ok(Options {
            // Without an id there is nothing to record it under.
            store: id.is_some().then(|| global.store()).transpose()?,
            id,
            detach: self.detach,
            pid_file: self.pid_file.clone(),
            preserve_fds: self.preserve_fds,
            bundle_dir: Some(bundle),
            console_socket: self.console_socket.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(what: &str, bundle: Option<&Path>) -> Result<(PathBuf, Option<String>)> {
        let run = Run {
            what: what.into(),
            bundle: bundle.map(Path::to_owned),
            pid_file: None,
            detach: false,
            preserve_fds: 0,
            console_socket: None,
            no_pivot: false,
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
