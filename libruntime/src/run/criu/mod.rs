//! `checkpoint` and `restore`, by way of the program criu (criu(8)): it writes the processes of a container into files and makes them
//! anew. What it must be told of a container is said by the plan: which mounts, namespaces and descriptors are not its own.

mod checkpoint;
mod command;
mod confine;
pub(crate) mod descriptors;
mod external;
pub(crate) mod hooks;
pub(crate) mod log;
mod namespace;
mod program;
mod refuse;
mod restore;
pub(crate) mod spawn;
mod stop;
mod target;

pub use checkpoint::{Checkpoint, checkpoint};
pub use restore::{Restore, restore};

use crate::{Error, Result};
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What both directions are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criu {
    /// `criu`, or a path of it.
    pub program: Option<PathBuf>,
    /// The directory of the images, absolute.
    pub images: PathBuf,
    /// The directory of logs and statistics, absolute; that of the images when it is absent.
    pub work: Option<PathBuf>,
    /// TCP connections too.
    pub tcp_established: bool,
    /// Unix sockets whose other end is outside.
    pub ext_unix_sk: bool,
    /// A session or a terminal from outside.
    pub shell_job: bool,
    /// File locks too.
    pub file_locks: bool,
    /// Removes from older images what newer ones hold.
    pub auto_dedup: bool,
    /// Memory comes when it is asked for, from a server of pages.
    pub lazy_pages: bool,
    /// The network namespace is made, and stays empty.
    pub empty_network: bool,
    /// What criu does about cgroups.
    pub cgroups: Cgroups,
}

/// `--manage-cgroups`, criu(8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// What is missing is made; what is there stays as it is.
    #[default]
    Soft,
    /// The limits are as they were, also of what is there.
    Full,
    /// What is there is an error.
    Strict,
    /// Nothing.
    Ignore,
}

impl Cgroups {
    fn word(self) -> &'static str {
        match self {
            Cgroups::Soft => "soft",
            Cgroups::Full => "full",
            Cgroups::Strict => "strict",
            Cgroups::Ignore => "ignore",
        }
    }
}

impl Criu {
    /// Where criu's log is, once it has run.
    fn log(&self, name: &str) -> PathBuf {
        self.work.as_ref().unwrap_or(&self.images).join(name)
    }
}

/// The directory may be there: one container is written and made anew more than once.
fn make_dir(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|e| Error::new(format!("cannot make the directory `{}`", dir.display())).cause(e)),
    }
}
