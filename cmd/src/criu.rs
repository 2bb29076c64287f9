//! The flags that `checkpoint` and `restore` share: what criu is told in both directions.

use crate::grammar::Global;
use crate::make::absolute;
use clap::{Args, ValueEnum};
use libruntime::Result;
use libruntime::run::criu::{self, Cgroups};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Criu {
    /// The directory of the checkpoint's files [default: ./checkpoint]
    #[arg(long, value_name = "DIR")]
    image_path: Option<PathBuf>,
    /// The directory of criu's log and statistics [default: that of the files]
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// TCP connections too
    #[arg(long)]
    tcp_established: bool,
    /// Unix sockets whose other end is outside too
    #[arg(long)]
    ext_unix_sk: bool,
    /// A session or a terminal from outside too
    #[arg(long)]
    shell_job: bool,
    /// File locks too
    #[arg(long)]
    file_locks: bool,
    /// Remove memory from older files that newer ones hold
    #[arg(long)]
    auto_dedup: bool,
    /// Bring memory when it is asked for
    #[arg(long)]
    lazy_pages: bool,
    /// What criu does about cgroups: it makes what is missing, sets limits as they were, refuses what is there, or nothing
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    manage_cgroups_mode: Mode,
    /// Make a namespace of this kind, and leave it empty
    #[arg(long, value_name = "KIND", value_enum)]
    empty_ns: Vec<Empty>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Mode {
    #[default]
    Soft,
    Full,
    Strict,
    Ignore,
}

/// The only one that criu knows.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Empty {
    Network,
}

impl Criu {
    pub fn options(&self, global: &Global) -> Result<criu::Criu> {
        Ok(criu::Criu {
            program: global.criu.clone(),
            images: absolute(self.image_path.as_deref().unwrap_or(Path::new("checkpoint")))?,
            work: self.work_path.as_deref().map(absolute).transpose()?,
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            empty_network: !self.empty_ns.is_empty(),
            cgroups: match self.manage_cgroups_mode {
                Mode::Soft => Cgroups::Soft,
                Mode::Full => Cgroups::Full,
                Mode::Strict => Cgroups::Strict,
                Mode::Ignore => Cgroups::Ignore,
            },
        })
    }
}
