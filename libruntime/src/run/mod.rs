//! Plan → process: the parent's column, the child's loop, init, the keeper of placeholders.

mod agent;
mod attend;
mod bring_up;
mod broker;
mod child;
mod clone;
mod console;
pub(crate) mod container;
pub mod criu;
mod delete;
pub(crate) mod died;
pub(crate) mod door;
mod exec;
pub mod fault;
mod granted;
pub(crate) mod hook;
mod idmap;
mod init;
mod interrupt;
mod job;
pub mod keeper;
mod kill;
mod launch;
mod look;
mod maps;
mod netdevice;
pub(crate) mod netlink;
mod node;
pub(crate) mod op;
mod own;
mod reach;
mod read;
mod readings;
mod relay;
mod said;
mod start;
mod stdio;
mod streams;
mod terminal;

use crate::bundle::{self, Bundle, Rootfs};
use crate::cgroup::UNNAMED;
use crate::error::Sources;
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::resctrl::Resctrl;
use crate::state::{ContainerId, Reserved, Store};
use crate::sys::file;
use crate::{Error, Result};
use oci_spec::runtime::Spec;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use delete::delete;
pub use exec::{Exec, exec};
pub use keeper::sweep;
pub use kill::kill;
pub use own::{read_only_self, read_only_self_among_others};
pub use read::read;
pub use start::start;

/// How a bundle is run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Its name; also what hooks are told.
    pub id: Option<ContainerId>,
    /// Where it is recorded, when it has a name.
    pub store: Option<Store>,
    /// Return when the process has started.
    pub detach: bool,
    /// What is recorded of it stays when it has ended, for [`delete`] to remove.
    pub keep: bool,
    /// Gets the process id of the container's first process.
    pub pid_file: Option<PathBuf>,
    /// A Unix socket that gets a pidfd of that process.
    pub pidfd_socket: Option<PathBuf>,
    /// Descriptors from 3 on that the process keeps.
    pub preserve_fds: u32,
    /// What it is told of those that are listening sockets (sd_listen_fds(3)), as variables of its environment.
    pub listen: Vec<String>,
    /// The bundle's directory, absolute; none for a bundle that exists only in memory.
    pub bundle_dir: Option<PathBuf>,
    /// The file that was read in place of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// The file that holds a process which joins.
    pub process: Option<PathBuf>,
    /// Members of that, each with the option that was given in its place.
    pub given: Vec<(&'static str, &'static str)>,
    /// A Unix socket that gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// The caller's session keyring stays the process's.
    pub keep_keyring: bool,
    /// No cgroup is made, whatever the spec says.
    pub no_cgroup: bool,
    /// The cgroup is a unit of systemd's.
    pub systemd: bool,
    /// A cgroup in which nothing is limited is gone without when the caller may make none.
    pub may_lack_cgroup: bool,
    /// A file of a proxy's, to which the broker writes who connects.
    pub book: Option<Arc<File>>,
}

impl Options {
    /// The id, or one that no other container has meanwhile: every hook is told the same.
    fn name(&self) -> String {
        self.id.as_ref().map_or_else(|| format!("{UNNAMED}{}", std::process::id()), ToString::to_string)
    }

    /// What was read as config.json.
    fn file(&self) -> Option<PathBuf> {
        bundle::file(self.bundle_dir.as_deref(), self.config.as_deref())
    }

    /// By what the user has given.
    fn named(&self, errors: Vec<Error>) -> Vec<Error> {
        let file = self.file();
        let sources = Sources { config: file.as_deref(), process: self.process.as_deref(), options: &self.given };
        errors.into_iter().map(|error| error.of(sources)).collect()
    }

    fn warn(&self, warning: Error) {
        warning.of(Sources::config(self.file().as_deref())).warn();
    }

    /// What the plan needs to know of it.
    fn plan(&self, park: bool) -> plan::Options {
        plan::Options {
            detach: self.detach,
            park,
            record: self.store.is_some() || self.pid_file.is_some() || self.pidfd_socket.is_some(),
            preserve_fds: self.preserve_fds,
            listen: self.listen.clone(),
            id: Some(self.name()),
            bundle_dir: self.bundle_dir.clone(),
            config: self.config.clone(),
            process: self.process.clone(),
            given: self.given.clone(),
            no_cgroup: self.no_cgroup,
            systemd: self.systemd,
            may_lack_cgroup: self.may_lack_cgroup,
            keep_keyring: self.keep_keyring,
            pin: false,
            broker: false,
        }
    }
}

/// Runs a bundle; the exit code of its process (128+n for signal n), or 0 when detached.
///
/// The caller must be single-threaded (clone3(2) copies only the calling thread), and its signal mask and umask are its own again on return.
///
/// # Errors
/// Every reason for which the spec is refused; or the one step that failed, in which case nothing of the container is left.
pub fn run(bundle: &Bundle, options: &Options) -> Result<u8, Vec<Error>> {
    make(bundle, options, false)
}

fn make(bundle: &Bundle, options: &Options, park: bool) -> Result<u8, Vec<Error>> {
    launched(bundle, options, park).map_err(|errors| options.named(errors))
}

fn launched(bundle: &Bundle, options: &Options, park: bool) -> Result<u8, Vec<Error>> {
    alone().map_err(|e| vec![e])?;
    let plan = planned(bundle, &options.plan(park))?;
    let relayed = stdio::permitted(&plan).map_err(|e| vec![e])?;
    if !park {
        warn(&plan, options.file().as_deref());
    }
    receiver(&plan, options).map_err(|e| vec![e])?;
    let resctrl = launch::resctrl_group(&plan).map(Resctrl::foresee).transpose().map_err(|e| vec![e])?;
    let reserved = match (&options.store, &options.id) {
        (Some(store), Some(id)) => Some(reserve(store, id, bundle).map_err(|e| vec![e])?),
        _ => None,
    };
    let reserves = reserved.as_ref();
    let launch = launch::Launch { plan: &plan, bundle, options, reserved: reserves, joined: None, park, resctrl, relayed };
    let mut ended = launch.run();
    if ended.is_err() || !(options.detach || options.keep) {
        let removed = launch.resctrl.as_ref().map_or(Ok(()), Resctrl::remove);
        ended = ended.and_then(|code| removed.map(|()| code));
        reserved.map_or(Ok(()), Reserved::remove).map_err(|e| vec![e])?;
    }
    // Only `exec` keeps its program.
    ended.map(Option::unwrap_or_default).map_err(|e| vec![e])
}

/// Says what of the bundle in whose `config` it stands has no effect. Most of it names its place.
pub fn warn(plan: &Plan, config: Option<&Path>) {
    for what in &plan.warnings {
        let warning = what.strip_prefix("config.json: ").map(|what| Error::new(what).at("config.json"));
        warning.unwrap_or_else(|| Error::new(what)).of(Sources::config(config)).warn();
    }
}

/// Makes a container whose process waits for [`start`]. `options` must have an id and a store. Unlike [`run`] it mentions no warnings:
/// standard error is the container's, and an engine keeps it in the container's log; [`Plan::warnings`] has them.
///
/// # Errors
/// As [`run`].
pub fn create(bundle: &Bundle, options: &Options) -> Result<(), Vec<Error>> {
    make(bundle, &Options { detach: true, ..options.clone() }, true).map(drop)
}

/// The plan of a bundle on this machine, as it is now.
fn planned(bundle: &Bundle, options: &plan::Options) -> Result<Plan, Vec<Error>> {
    let host = Host::probe_for(&bundle.spec, options).map_err(|e| vec![e])?;
    Plan::new(bundle, &host, options)
}

/// A terminal needs somebody who has its master.
fn receiver(plan: &Plan, options: &Options) -> Result<()> {
    if plan.terminal && options.detach && options.console_socket.is_none() {
        let error = Error::new("a detached process cannot have this terminal").at("config.json: process.terminal");
        return Err(error.hint("give `--console-socket`, or set `process.terminal` to false"));
    }
    if !plan.terminal && options.console_socket.is_some() {
        return Err(
            Error::new("`--console-socket` is given, but the process has no terminal").hint("`process.terminal` asks for one")
        );
    }
    Ok(())
}

fn reserve(store: &Store, id: &ContainerId, bundle: &Bundle) -> Result<Reserved> {
    let reserved = store.reserve(id)?;
    match reserved.keep_config(&bundle.spec) {
        Ok(()) => Ok(reserved),
        // The disk may be full: the name must not stay taken by what never was.
        Err(e) => reserved.remove().and(Err(e)),
    }
}

/// Closes every descriptor from 3 + `preserve` on, so that neither hooks nor a path through /proc reach what the caller left open
/// (CVE-2024-21626). For a process that has opened nothing yet but what it was given.
pub fn close_inherited(preserve: u32) -> Result<()> {
    file::close_from(preserve.saturating_add(3))
        .map_err(|e| Error::new("cannot close inherited descriptors").cause(fault::describe(e)))
}

/// The OCI state, as hooks read it (runtime.md, "State").
fn oci_state(spec: &Spec, id: &str, status: &str, pid: i32, bundle: &Path) -> serde_json::Value {
    serde_json::json!({
        "ociVersion": spec.version(), "id": id, "status": status, "pid": pid, "bundle": bundle,
        "annotations": spec.annotations().clone().unwrap_or_default(),
    })
}

/// What must be true of us before there is a process that inherits from us.
fn alone() -> Result<()> {
    single_threaded().and_then(|()| stdio::no_directory())
}

/// A lock that another thread holds at the clone stays locked in the child for ever; so a caller with threads is told.
fn single_threaded() -> Result<()> {
    let threads = || std::fs::metadata("/proc/self/task").map_or(3, |m| std::os::unix::fs::MetadataExt::nlink(&m));
    // A thread that was joined stands there a moment longer: pthread_join(3) returns before the kernel has forgotten it.
    for _ in 0..200 {
        if threads() <= 3 {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    if threads() > 3 {
        return Err(Error::new("the calling process has more than one thread").hint("start `codexrun` as a process of its own"));
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
