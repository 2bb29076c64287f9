//! `exec`: one more process in a running container.

use super::relay::Relayed;
use super::{Options, alone, broker, launch, own, receiver, stdio};
use crate::bundle::Bundle;
use crate::cgroup::{Below, Cgroup};
use crate::error::Sources;
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::state::{ContainerId, Record, Status, Store};
use crate::sys::{Errno, file};
use crate::{Error, Result, annotation};
use oci_spec::runtime::Process;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// How the process is run.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// The file that says what it is, for sentences to name.
    pub file: Option<PathBuf>,
    /// Members of it, each with the option that says what it is.
    pub given: Vec<(&'static str, &'static str)>,
    /// Return when it has started.
    pub detach: bool,
    /// Gets its process id.
    pub pid_file: Option<PathBuf>,
    /// A Unix socket that gets a pidfd of it.
    pub pidfd_socket: Option<PathBuf>,
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
    let source = record.source();
    let sources = Sources { config: Some(&source), process: exec.file.as_deref(), options: &exec.given };
    let named = |error: Error| error.of(sources);
    let errors = |errors: Vec<Error>| meanwhile(&record, errors.into_iter().map(named).collect());
    join(&record, process, exec).map_err(errors)
}

/// What goes wrong because the container has ended meanwhile is told as that, whichever step comes upon it: its processes, namespaces and
/// broker go one after another, its first process last.
fn meanwhile(record: &Record, mut errors: Vec<Error>) -> Vec<Error> {
    let ends = || match record.observe() {
        Ok((Status::Stopped, _)) => true,
        Ok((_, Some(first))) => file::poll_for(first.as_fd(), SOON) == Ok(true),
        Ok((_, None)) | Err(_) => false,
    };
    match errors.pop() {
        // Of a program there is a word only where there is a container to look for it.
        Some(only) if errors.is_empty() && only.what != STOPPED && !matches!(only.code, 126 | 127) && ends() => {
            vec![Error { code: only.code, ..Error::new(STOPPED).cause(only) }]
        }
        last => errors.into_iter().chain(last).collect(),
    }
}

/// Milliseconds that a container needs to end when its broker has.
const SOON: i32 = 100;

/// Into a container that runs now.
fn join(
    record: &Record,
    process: impl FnOnce(Option<&Process>) -> Result<Process, Vec<Error>>,
    exec: &Exec,
) -> Result<u8, Vec<Error>> {
    let one = |e| vec![e];
    let found = Found::of(record, exec).map_err(one)?;
    let spec = &found.bundle.spec;
    let process = process(spec.process().as_ref())?;
    let host = Host::probe(spec, Some(&process)).map_err(one)?;
    let exposed = own::is_exposed().map_err(one)?;
    let plan = |pin| found.plan(process.clone(), &host, pin);
    // Either the program is kept, and our own file is out of reach; or that file cannot be written to, for which we begin anew. Only the
    // process itself can tell whether its program can be kept.
    let pinned = plan(exposed)?;
    let relayed = stdio::permitted(&pinned).map_err(one)?;
    if exposed && !pinned.pins() {
        own::read_only_self().map_err(one)?;
    }
    match found.run(&pinned, relayed).map_err(one)? {
        Some(code) => Ok(code),
        None => {
            own::read_only_self().map_err(one)?;
            found.run(&plan(false)?, relayed).map(Option::unwrap_or_default).map_err(one)
        }
    }
}

/// The door, when somebody is behind it. Whether there is, is not to be guessed: without a broker the process has no socket of the host's.
fn open_door(door: PathBuf) -> Result<Option<PathBuf>> {
    match broker::knock(&door) {
        Ok(_) => Ok(Some(door)),
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
        Err(errno) => {
            let place = format!("config.json: annotations[{}]", annotation::UNIX_SOCKETS);
            Err(launch::setup("ask whether the container's broker of Unix sockets is there", errno).at(place))
        }
    }
}

/// A container that runs, and how it is joined.
struct Found<'a> {
    record: &'a Record,
    bundle: Bundle,
    options: Options,
    /// A process of it that can be looked into.
    target: OwnedFd,
    root: Option<OwnedFd>,
    below: Option<Cgroup>,
    /// Where its broker of Unix sockets is reached.
    door: Option<PathBuf>,
}

impl<'a> Found<'a> {
    fn of(record: &'a Record, exec: &Exec) -> Result<Self> {
        let target = record.joinable(running(record, exec.ignore_paused)?)?;
        let door = if record.annotations.contains_key(annotation::UNIX_SOCKETS) { open_door(record.door())? } else { None };
        let options = Options {
            id: Some(record.id.clone()),
            detach: exec.detach,
            pid_file: exec.pid_file.clone(),
            pidfd_socket: exec.pidfd_socket.clone(),
            console_socket: exec.console_socket.clone(),
            preserve_fds: exec.preserve_fds,
            bundle_dir: Some(record.bundle.clone()),
            config: Some(record.source()),
            process: exec.file.clone(),
            given: exec.given.clone(),
            ..Options::default()
        };
        Ok(Found {
            bundle: Bundle::recorded(&record.config(), record.rootfs.clone())?,
            options,
            target,
            root: record.root()?,
            below: below(record, &exec.cgroups)?,
            door,
            record,
        })
    }

    fn plan(&self, process: Process, host: &Host, pin: bool) -> Result<Plan, Vec<Error>> {
        let cgroup = self.record.cgroup.as_ref();
        let systemd = cgroup.is_some_and(|cgroup| cgroup.unit.as_ref().is_some_and(|unit| unit.user));
        let (no_cgroup, broker) = (cgroup.is_none(), self.door.is_some());
        // The program is looked for, and the pid file written, before it runs.
        let options = plan::Options { no_cgroup, systemd, record: true, pin, broker, ..self.options.plan(false) };
        Plan::exec(&self.bundle, process, host, &options)
    }

    fn run(&self, plan: &Plan, relayed: Relayed) -> Result<Option<u8>> {
        let Found { record, bundle, options, .. } = self;
        receiver(plan, options)?;
        let joined = launch::Joined {
            init: record.pid,
            process: self.target.as_fd(),
            root: self.root.as_ref().map(AsFd::as_fd),
            cgroup: self.below.as_ref().or(record.cgroup.as_ref()),
            placed: self.below.is_some(),
            whole: record.cgroup.as_ref(),
            door: self.door.as_deref(),
        };
        let resctrl = record.resctrl.clone();
        launch::Launch { plan, bundle, options, reserved: None, joined: Some(joined), park: false, resctrl, relayed }.run()
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
        (Status::Running | Status::Stopped, _) => Err(Error::new(STOPPED)),
    }
}

const STOPPED: &str = "cannot exec in a stopped container";

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn a_broker_that_cannot_be_asked_for_is_not_one_that_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let door = dir.path().join("door");
        assert_eq!(open_door(door.clone()).unwrap(), None, "it never was");
        let listener = std::os::unix::net::UnixListener::bind(&door).unwrap();
        assert_eq!(open_door(door.clone()).unwrap(), Some(door.clone()));
        drop(listener);
        assert_eq!(open_door(door.clone()).unwrap(), None, "it has ended");
        let said = open_door(door.join("door")).unwrap_err().to_string();
        assert!(said.contains("annotations[dev.codexrun.unix-sockets]") && said.contains("ENOTDIR"), "{said}");
    }

    #[test]
    fn what_goes_wrong_as_the_container_ends_is_told_as_its_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (id, pid) = ("a".parse().unwrap(), i32::try_from(child.id()).unwrap());
        let record = Record::new(id, Some(pid), Path::new("/b"), Path::new("/b/rootfs"), &Spec::default()).unwrap();
        let said = |errors: &[&str]| {
            let errors = errors.iter().map(|what| Error::new(*what)).collect();
            meanwhile(&record, errors).iter().map(Error::to_string).collect::<Vec<_>>()
        };
        let knock = "cannot reach the broker: ECONNREFUSED";
        assert_eq!(said(&[knock]), [knock], "it runs");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(said(&[knock]), [format!("{STOPPED}: {knock}")]);
        assert_eq!(said(&[STOPPED]), [STOPPED]);
        assert_eq!(said(&["a", "b"]), ["a", "b"], "a refused process has its reasons");
    }
}
