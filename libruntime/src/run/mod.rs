//! Plan → process: the parent's column, the child's loop, init, the keeper of placeholders.

mod child;
mod door;
pub mod fault;
mod hook;
mod idmap;
mod init;
pub mod keeper;
mod launch;
mod op;
mod terminal;

use crate::bundle::{Bundle, Rootfs};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::state::{ContainerId, Store};
use crate::sys::file;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

pub use keeper::sweep;

/// How a bundle is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Its name; also what hooks are told.
    pub id: Option<ContainerId>,
    /// Where it is recorded, when it has a name.
    pub store: Option<Store>,
    /// Return when the process has started.
    pub detach: bool,
    /// Gets the process id of the container's first process.
    pub pid_file: Option<PathBuf>,
    /// Descriptors from 3 on that the process keeps.
    pub preserve_fds: u32,
    /// The bundle's directory, absolute; none for a bundle that exists only in memory.
    pub bundle_dir: Option<PathBuf>,
    /// A Unix socket that gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
}

/// Runs a bundle; the exit code of its process (128+n for signal n), or 0 when detached.
///
/// The caller must be single-threaded (clone3(2) copies only the calling thread), and its signal mask and umask are its own again on return.
///
/// # Errors
/// Every reason for which the spec is refused; or the one step that failed, in which case nothing of the container is left.
pub fn run(bundle: &Bundle, options: &Options) -> Result<u8, Vec<Error>> {
    single_threaded().and_then(|()| no_directory_as_stdio()).map_err(|e| vec![e])?;
    let host = Host::probe();
    let record = options.store.is_some() || options.pid_file.is_some();
    let plan_options = plan::Options {
        detach: options.detach,
        record,
        preserve_fds: options.preserve_fds,
        bundle_dir: options.bundle_dir.clone(),
    };
    let plan = Plan::new(bundle, &host, &plan_options)?;
    plan.warnings.iter().for_each(|what| Error::new(what).warn());
    if plan.terminal && options.detach && options.console_socket.is_none() {
        let error = Error::new("a detached process cannot have this terminal").at("config.json: process.terminal");
        return Err(vec![error.hint("give `--console-socket`, or set `process.terminal` to false")]);
    }
    let reserved = match (&options.store, &options.id) {
        (Some(store), Some(id)) => Some(store.reserve(id).map_err(|e| vec![e])?),
        _ => None,
    };
    let launch = launch::Launch { plan: &plan, bundle, options, reserved: reserved.as_ref() };
    let ended = launch.run();
    if let Some(reserved) = reserved.filter(|_| ended.is_err() || !options.detach) {
        reserved.remove().map_err(|e| vec![e])?;
    }
    ended.map_err(|e| vec![e])
}

/// A lock that another thread holds at the clone stays locked in the child for ever; so a caller with threads is told.
fn single_threaded() -> Result<()> {
    let threads = std::fs::metadata("/proc/self/task").map_or(3, |m| std::os::unix::fs::MetadataExt::nlink(&m));
    if threads > 3 {
        return Err(Error::new("the calling process has more than one thread").hint("start `codexrun` as a process of its own"));
    }
    Ok(())
}

/// Through a directory of the host that the command inherits, every path below it is reached past all mounts (CVE-2024-21626).
fn no_directory_as_stdio() -> Result<()> {
    let names = [("standard input", file::stdin()), ("standard output", file::stdout()), ("standard error", file::stderr())];
    for (name, fd) in names {
        if file::stat(fd).is_ok_and(|stat| stat.is_dir()) {
            let what = format!("{name} is a directory, which would lead out of the container past every mount");
            return Err(Error::new(what).hint("redirect it to a file, a pipe or /dev/null"));
        }
    }
    Ok(())
}

/// What hooks and records call the root: the bundle's directory for a root that is in memory.
fn rootfs_dir<'a>(bundle: &'a Bundle, dir: &'a Path) -> &'a Path {
    match &bundle.rootfs {
        Rootfs::Dir(path) => path,
        Rootfs::Skeleton(_) => dir,
    }
}
