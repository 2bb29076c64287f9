//! `codexrun create`: a bundle on disk → a container whose process waits for `start`.

use crate::choose::Isolation;
use crate::grammar::Global;
use crate::isolation;
use crate::listen::Listen;
use crate::make::absolute;
use crate::records::out_of_reach;
use crate::report::Failure;
use clap::builder::RangedI64ValueParser;
use clap::{Args, value_parser};
use libruntime::bundle::Bundle;
use libruntime::run::{self, Options};
use libruntime::{Error, Result};
use std::path::{Path, PathBuf};

/// Make a container whose process waits for `start`
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    new: New,
    /// Its name
    #[arg(value_name = "ID")]
    id: String,
}

/// How many descriptors there may be: the kernel counts them in 31 bits, and the first three are others.
pub fn descriptors() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(..=i64::from(i32::MAX) - 3)
}

/// What `create` and `run` have in common.
#[derive(Debug, Default, Args)]
pub struct New {
    /// The bundle [default: the current directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Read this file in place of the bundle's config.json, as with crun
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write the process id of the container's first process to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Pass on descriptors 3 to 2 + N, or as many behind those of $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t, value_parser = descriptors())]
    pub preserve_fds: u32,
    /// Send the terminal's master to this Unix socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Run only what was made for this isolation; auto: as the bundle was made. Which it is is said
    #[arg(long, value_enum, value_name = "HOW")]
    pub isolation: Option<Isolation>,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Accepted for runc's sake: it is pivot_root(2) all the same, as a container could leave a root of chroot(2)
    #[arg(long, hide = true)]
    pub no_pivot: bool,
}

impl New {
    /// Like the bundle it is found from where the caller is.
    fn config(&self) -> Result<Option<PathBuf>> {
        self.config.as_deref().map(absolute).transpose()
    }

    /// The bundle in `dir`.
    pub fn read(&self, dir: &Path) -> Result<Bundle, Vec<Error>> {
        let bundle = run::read(dir, self.config().map_err(|e| vec![e])?.as_deref())?;
        isolation::must_be(self.isolation, &bundle, dir).map_err(|e| vec![e])?;
        Ok(bundle)
    }

    /// The options of a container that is made of the bundle in `dir`.
    pub fn options(&self, dir: &Path, global: &Global) -> Result<Options> {
        let cgroups = global.cgroups();
        Ok(Options {
            no_cgroup: !cgroups.make,
            systemd: cgroups.systemd,
            may_lack_cgroup: cgroups.may_lack,
            pid_file: self.pid_file.clone(),
            preserve_fds: self.preserve_fds,
            bundle_dir: Some(absolute(dir)?),
            config: self.config()?,
            console_socket: self.console_socket.clone(),
            keep_keyring: self.no_new_keyring,
            ..Options::default()
        })
    }
}

impl Create {
    pub fn run(&self, global: &Global) -> Result<u8, Failure> {
        let id = self.id.parse()?;
        let dir = absolute(self.new.bundle.as_deref().unwrap_or(Path::new(".")))?;
        let bundle = self.new.read(&dir)?;
        run::read_only_self_among_others(&bundle.spec)?;
        let options = Listen::inherited(&bundle.spec)?.before(self.new.options(&dir, global)?);
        run::close_inherited(options.preserve_fds)?;
        let store = global.store()?;
        out_of_reach(&bundle, &store, true)?;
        let options = Options { id: Some(id), store: Some(store), ..options };
        run::create(&bundle, &options)?;
        isolation::say_of(&bundle, self.new.isolation);
        Ok(0)
    }
}
