//! `exec`: one more process in a running container.

use super::{Options, alone, broker, launch, own, receiver, stdio};
use crate::bundle::Bundle;
use crate::cgroup::{Below, Cgroup};
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::state::{ContainerId, Record, Status, Store};
use crate::{Error, Result, annotation};
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// How the process is run.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Return when it has started.
    pub detach: bool,
    /// Gets its process id.
    pub pid_file: Option<PathBuf>,
    /// A Unix socket that gets the master of its terminal.
    pub console_socket: Option<PathBuf>,
    /// Descriptors from 3 on that it keeps.
    pub preserve_fds: u32,
    /// In a paused container too, where it waits until that is resumed.
    pub ignore_paused: bool,
    /// Cgroups below the container's that it is put into.
    pub cgroups: Vec<Below>,
}

/// Runs what `process` makes of the container's own process in the container; its exit code, or 0 when detached.
///
/// # Errors
/// There is no such container, or it does not run; every reason for which the process is refused; or the step that failed.
pub fn exec(
    store: &Store,
    id: &ContainerId,
    process: impl FnOnce(Option<&Process>) -> Result<Process, Vec<Error>>,
    exec: &Exec,
) -> Result<u8, Vec<Error>> {
    let one = |e| vec![e];
    alone().map_err(one)?;
    let record = store.load(id).map_err(one)?;
    let first = running(&record, exec.ignore_paused).map_err(one)?;
    let target = record.joinable(first).map_err(one)?;
    let root = record.root().map_err(one)?;
    let below = below(&record, &exec.cgroups).map_err(one)?;
    let bundle = Bundle::recorded(&record.config(), record.rootfs.clone()).map_err(one)?;
    let process = process(bundle.spec.process().as_ref())?;
    stdio::sockets(&bundle.spec, Some(&process)).map_err(one)?;
    let options = Options {
        id: Some(id.clone()),
        detach: exec.detach,
        pid_file: exec.pid_file.clone(),
        console_socket: exec.console_socket.clone(),
        preserve_fds: exec.preserve_fds,
        bundle_dir: Some(record.bundle.clone()),
        ..Options::default()
    };
    let host = Host::probe(&bundle.spec, Some(&process)).map_err(one)?;
    let exposed = own::is_exposed().map_err(one)?;
    let door = record.door();
    let broker = record.annotations.contains_key(annotation::UNIX_SOCKETS) && broker::knock(&door).is_ok();
    let plan = |pin| {
        let no_cgroup = record.cgroup.is_none();
        let systemd = record.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.as_ref().is_some_and(|unit| unit.user));
        // The program is looked for, and the pid file written, before it runs.
        Plan::exec(
            &bundle,
            process.clone(),
            &host,
            &plan::Options { no_cgroup, systemd, record: true, pin, broker, ..options.plan(false) },
        )
    };
    let joined = launch::Joined {
        init: record.pid,
        process: target.as_fd(),
        root: root.as_ref().map(AsFd::as_fd),
        cgroup: below.as_ref().or(record.cgroup.as_ref()),
        placed: below.is_some(),
        whole: record.cgroup.as_ref(),
        door: broker.then_some(&door),
    };
    let run = |plan: &Plan| {
        receiver(plan, &options)?;
        let resctrl = record.resctrl.clone();
        launch::Launch { plan, bundle: &bundle, options: &options, reserved: None, joined: Some(joined), park: false, resctrl }
            .run()
    };
    // Either the program is kept, and our own file is out of reach; or that file cannot be written to, for which we begin anew. Only the
    // process itself can tell whether its program can be kept.
    let pinned = plan(exposed)?;
    if exposed && !pinned.pins() {
        own::read_only_self().map_err(one)?;
    }
    match run(&pinned).map_err(one)? {
        Some(code) => Ok(code),
        None => {
            own::read_only_self().map_err(one)?;
            run(&plan(false)?).map(Option::unwrap_or_default).map_err(one)
        }
    }
}

fn below(record: &Record, places: &[Below]) -> Result<Option<Cgroup>> {
    if places.is_empty() {
        return Ok(None);
    }
    let cgroup = record.cgroup.as_ref().ok_or_else(|| Error::new("`--cgroup`: the container has no cgroup of its own"))?;
    cgroup.below(places).map(Some)
}

/// Its first process.
fn running(record: &Record, ignore_paused: bool) -> Result<OwnedFd> {
    match record.observe()? {
        (Status::Running, Some(first)) => Ok(first),
        (Status::Paused, Some(first)) if ignore_paused => Ok(first),
        (Status::Paused, _) => {
            Err(Error::new("cannot exec in a paused container").hint("`codexrun resume` lets it go on; or `--ignore-paused`"))
        }
        (Status::Creating | Status::Created, _) => {
            Err(Error::new("cannot exec in a container that was not started").hint("`codexrun start` starts it"))
        }
        (Status::Running | Status::Stopped, _) => Err(Error::new("cannot exec in a stopped container")),
    }
}
