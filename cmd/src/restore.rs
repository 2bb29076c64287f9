//! `codexrun restore`: the files of a checkpoint and a bundle → a running container.

use crate::create::New;
use crate::criu::Criu;
use crate::grammar::Global;
use crate::make::absolute;
use crate::report::Failure;
use clap::Args;
use libruntime::run::{self, Options, criu};
use std::path::{Path, PathBuf};

/// Bring a container back from the files of a checkpoint, by criu
///
/// Name, cgroup, mount points and `prestart` and `createRuntime` hooks are those of the bundle; its processes go on where they were.
/// In the foreground the exit code is the command's own, or 128 + the signal that ended it.
#[derive(Debug, Args)]
pub struct Restore {
    #[command(flatten)]
    criu: Criu,
    /// The bundle [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Write the process id of the container's first process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Leave the container running and return
    #[arg(short, long)]
    detach: bool,
    /// For a container with a terminal, which cannot be restored
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// The security module's profile, in place of the one that the processes had
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// The SELinux context of mounts, in place of the one that they had
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
    /// Accepted for runc's sake: it is pivot_root(2) all the same
    #[arg(long, hide = true)]
    no_pivot: bool,
    /// Accepted for runc's sake: codexrun never is a subreaper
    #[arg(long, hide = true)]
    no_subreaper: bool,
    /// Its name
    #[arg(value_name = "ID")]
    id: String,
}

impl Restore {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let new = self.as_of_create();
        let id = self.id.parse()?;
        let dir = absolute(self.bundle.as_deref().unwrap_or(Path::new(".")))?;
        let bundle = run::read(&dir, None)?;
        run::close_inherited(0)?;
        let store = Some(global.store()?);
        let options = Options { id: Some(id), store, detach: self.detach, ..new.options(&dir, global)? };
        let (lsm_profile, lsm_mount_context) = (self.lsm_profile.clone(), self.lsm_mount_context.clone());
        let restore = criu::Restore { criu: self.criu.options(global)?, lsm_profile, lsm_mount_context };
        Ok(criu::restore(&bundle, &options, &restore)?)
    }

    /// As far as it is what `create` takes.
    fn as_of_create(&self) -> New {
        New {
            bundle: self.bundle.clone(),
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            no_pivot: self.no_pivot,
            ..New::default()
        }
    }
}
