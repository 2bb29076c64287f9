//! `checkpoint`: criu writes the processes of a running container into files.

use super::super::delete::{self, ended};
use super::super::interrupt::Interrupt;
use super::super::launch::undisturbed;
use super::super::start::plan_again;
use super::command::{self, DUMP_LOG, Found};
use super::{Criu, descriptors, external, log, make_dir, namespace, program, refuse, target};
use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::error::Sources;
use crate::mountinfo::{self, Mount};
use crate::plan::Plan;
use crate::state::{ContainerId, Record, Status, Store, absent};
use crate::{Error, Result};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a container is checkpointed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// What `restore` is told too.
    pub criu: Criu,
    /// The container goes on.
    pub leave_running: bool,
    /// Only its memory, while it goes on: the next checkpoint writes what has changed since.
    pub pre_dump: bool,
    /// The images of the checkpoint before, relative to the directory of the images.
    pub parent: Option<PathBuf>,
    /// Memory goes to a server of pages: address and port.
    pub page_server: Option<(String, u16)>,
    /// A descriptor that gets a byte when the server of lazy pages is ready.
    pub status_fd: Option<i32>,
}

/// Checkpoints a running container. Unless it goes on it has ended then, and is forgotten, as with runc.
///
/// # Errors
/// criu is not installed; the container does not exist, or does not run; every reason for which criu could not bring it back; or what
/// criu says, in which case the container goes on.
pub fn checkpoint(store: &Store, id: &ContainerId, options: &Checkpoint) -> Result<(), Vec<Error>> {
    let one = |e| vec![e];
    let program = program::find(options.criu.program.as_deref()).map_err(one)?;
    let record = store.load(id).map_err(one)?;
    running(&record).map_err(one)?;
    let process = record.first_process().map_err(one)?;
    let bundle = Bundle::recorded(&record.config(), record.rootfs.clone()).map_err(one)?;
    let plan = plan_again(&record, &bundle)?;
    let file = record.source();
    let named = |error: Error| error.of(Sources::config(Some(&file)));
    refuse::unfit(&bundle.spec, &plan).map_err(|errors| errors.into_iter().map(named).collect::<Vec<_>>())?;
    program::version(&program).and_then(|version| refuse::too_old(version, &plan)).map_err(|e| one(named(e)))?;
    // A criu that is left alone goes on, and one that is ended leaves the container half frozen: no signal comes in between.
    let whole = undisturbed(|_, _| {
        dump(&program, &record, &bundle, &plan, options)?;
        if options.leave_running || options.pre_dump {
            return Ok(());
        }
        ended(process.as_fd(), &record)?;
        match delete::remove(store, id, false, Some(&Interrupt::default())) {
            // Who ran it in the foreground has seen it end, and has removed it.
            Err(e) if e == absent() => Ok(()),
            done => done,
        }
    });
    whole.map_err(one)
}

/// runc's words.
fn running(record: &Record) -> Result<()> {
    match record.status()? {
        Status::Running | Status::Paused => Ok(()),
        status => Err(Error::new(format!("Container cannot be checkpointed in {status} state"))),
    }
}

fn dump(program: &Path, record: &Record, bundle: &Bundle, plan: &Plan, options: &Checkpoint) -> Result<()> {
    make_dir(&options.criu.images)?;
    options.criu.work.as_deref().map_or(Ok(()), make_dir)?;
    let mut found = Found { root: record.rootfs.clone().into(), ..Found::default() };
    found.freezer = record.cgroup.as_ref().and_then(Cgroup::freezer_dir).map(PathBuf::into_os_string);
    namespace::dump(&bundle.spec, &mut found)?;
    if !options.pre_dump {
        let mounts = mounts(record.pid)?;
        let stdio = descriptors::of(record.pid, &mounts);
        found.external.extend(external::dumped(&target::of_process(record.pid, &external::puts(plan))?, &mounts));
        found.external.extend(descriptors::external(&stdio));
        descriptors::save(&options.criu.images, &stdio)?;
    }
    run(program, options, &command::dump(options, &found, record.pid))
}

fn run(program: &Path, options: &Checkpoint, words: &[std::ffi::OsString]) -> Result<()> {
    let mut criu = Command::new(program);
    criu.args(words).env("PATH", program::path()).stdin(Stdio::null()).stdout(Stdio::null());
    let output = criu.output().map_err(|e| Error::new(format!("cannot run `{}`", program.display())).cause(e))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(log::failure("criu cannot checkpoint the container", &options.criu.log(DUMP_LOG), &said))
        }
    }
}

/// The mounts that a process sees.
fn mounts(pid: i32) -> Result<Vec<Mount>> {
    let text = std::fs::read(format!("/proc/{pid}/mountinfo"));
    let text = text.map_err(|e| Error::new("cannot read the container's mounts").cause(e))?;
    Ok(mountinfo::parse(&text))
}
