//! What is remembered of a container between two calls. Small, written whole or not at all; whether it runs is derived
//! from pid and start time, never remembered.

mod began;
mod control;
mod events;
mod id;
mod members;
pub(crate) mod process;
mod signal;
pub(crate) mod store;
mod time;

pub use events::Event;
pub use id::ContainerId;
pub use members::innermost_pid;
pub use signal::Signal;
pub use store::absent;
pub use store::{Reserved, Store};
pub use time::rfc3339;

use crate::cgroup::Cgroup;
use crate::namespace::{self, is_new};
use crate::resctrl::Resctrl;
use crate::sys::inode::{is_mount_root, unique_mount};
use crate::sys::pidfd::pidfd_send_signal;
use crate::{Error, Result};
use began::Began;
use nix::errno::Errno;
use oci_spec::runtime::{Hook, LinuxNamespaceType, Spec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One container, as `state.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Unique in its [`Store`].
    pub id: ContainerId,
    /// Of the bundle's config.json.
    pub oci_version: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// The container's first process, as this PID namespace numbers it.
    pub pid: i32,
    /// When that process began, in clock ticks since boot (field 22 of `/proc/PID/stat`); tells it from a later process
    /// with the same number.
    pub start_time: u64,
    /// By how many nanoseconds that clock was ahead of the machine's, in the time namespace of who recorded it.
    #[serde(default)]
    pub clock_ahead: i64,
    /// RFC 3339, UTC.
    pub created: String,
    /// Who made it.
    #[serde(default)]
    pub uid: u32,
    /// Of config.json.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The container's root directory on the host.
    pub rootfs: PathBuf,
    /// Its mount namespace, as the link in /proc says it: `mnt:[4026532001]`.
    #[serde(default)]
    pub mount_namespace: PathBuf,
    /// Of a container in the runtime's mount namespace: the unique number of the mount that is its root (statx(2)).
    #[serde(default)]
    pub root_mount: Option<u64>,
    /// Whether config.json has hooks that run after the start or the end.
    #[serde(default)]
    pub late_hooks: bool,
    /// Whether it has hooks that its process runs when it is started.
    #[serde(default)]
    pub start_hooks: bool,
    /// Whether it has a pid namespace of its own: with PID 1 the kernel ends everybody else in it.
    #[serde(default)]
    pub own_pids: bool,
    /// Its cgroup, made or about to be.
    #[serde(default)]
    pub cgroup: Option<Cgroup>,
    /// Its resctrl group, made or about to be.
    #[serde(default)]
    pub resctrl: Option<Resctrl>,
    /// The plan's options, for those who need the same plan again.
    #[serde(default)]
    pub options: Value,
    /// Where it was loaded from.
    #[serde(skip)]
    pub(crate) dir: PathBuf,
}

/// The statuses of runtime.md, and runc's `paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is being made; or whoever made it was killed.
    Creating,
    /// Its first process waits for `start`.
    Created,
    /// Its first process lives.
    Running,
    /// Its first process lives, and stands still.
    Paused,
    /// Its first process is gone, or a zombie.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

impl Record {
    /// The record of a process that has just been started from `bundle`; without a pid, of one that is about to be.
    pub fn new(id: ContainerId, pid: Option<i32>, bundle: &Path, rootfs: &Path, spec: &Spec) -> Result<Record> {
        let ended = |pid: i32| {
            Error::new(format!("cannot read /proc/{pid}/stat: process {pid} ended before it was recorded")).cause(Errno::ENOENT)
        };
        let stat = pid.map(|pid| process::Stat::of(pid)?.ok_or_else(|| ended(pid))).transpose()?;
        let began = Began::read(stat.map_or(0, |stat| stat.start_time))?;
        let pid = pid.unwrap_or(0);
        Ok(Record {
            id,
            oci_version: spec.version().clone(),
            bundle: bundle.to_owned(),
            pid,
            start_time: began.ticks,
            clock_ahead: began.ahead,
            created: rfc3339(std::time::SystemTime::now()),
            uid: crate::sys::cred::euid(),
            annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            rootfs: rootfs.to_owned(),
            mount_namespace: process::mount_namespace(pid)?.unwrap_or_default(),
            root_mount: if has_mounts(spec) { None } else { process::root(pid).and_then(|root| root_mount(&root)).ok() },
            late_hooks: late_hooks(spec),
            start_hooks: spec.hooks().as_ref().is_some_and(|hooks| has(hooks.start_container())),
            own_pids: is_new(spec, LinuxNamespaceType::Pid),
            cgroup: None,
            resctrl: None,
            options: Value::Null,
            dir: PathBuf::new(),
        })
    }

    /// With the options of its plan.
    pub fn with_options(self, options: &impl Serialize) -> Record {
        // A value that cannot be written is as good as none: only sentences depend on it.
        Record { options: serde_json::to_value(options).unwrap_or_default(), ..self }
    }

    /// The config.json that it was made of; later changes of the bundle's have no effect (runtime.md, "Lifecycle").
    pub fn config(&self) -> PathBuf {
        self.dir.join(store::CONFIG)
    }

    /// Where the user finds that: in the bundle, or in the file that was read in place of the bundle's.
    pub fn source(&self) -> PathBuf {
        self.bundle.join(self.options.get("config").and_then(Value::as_str).unwrap_or(crate::bundle::CONFIG))
    }

    /// Where its broker of Unix sockets listens for processes of `exec`, if it has one.
    pub fn door(&self) -> PathBuf {
        self.dir.join(store::DOOR)
    }

    /// A descriptor of the first process, if it lives: what it refers to stays the same whatever becomes of the number.
    pub fn first_process(&self) -> Result<OwnedFd> {
        match self.observe()? {
            (Status::Creating | Status::Stopped, _) | (_, None) => Err(not_running()),
            (_, Some(process)) => Ok(process),
        }
    }

    /// The status, and a descriptor of the first process, which is that one if the status says that it lives.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn observe(&self) -> Result<(Status, Option<OwnedFd>)> {
        let process = process::open(self.pid)?;
        // Looked at after the descriptor was opened: if our process lives now, it is the one the descriptor holds.
        Ok((self.status()?, process))
    }

    /// A descriptor of a process by which the container's namespaces can be joined: `first` is its first one. An ordinary user may not
    /// look into PID 1 when that is codexrun's init; its children are as good, if they are still in the container's mount namespace.
    pub fn joinable(&self, first: OwnedFd) -> Result<OwnedFd> {
        if process::mount_namespace(self.pid)?.is_some() {
            return Ok(first);
        }
        let inside = |pid| Ok(process::mount_namespace(pid)?.is_some_and(|namespace| namespace == self.mount_namespace));
        for child in process::children(self.pid)? {
            // Looked at again after the descriptor was opened: now it is the one that the descriptor holds.
            if inside(child)?
                && let Some(process) = process::open(child)?
                && inside(child)?
            {
                return Ok(process);
            }
        }
        let why = format!("{}, or {}", Errno::EACCES.desc(), Errno::ENOENT.desc());
        Err(Error::new("no process of the container can be looked into, so it cannot be joined").cause(why))
    }

    /// The root of its first process, if no mount namespace has it. Whose that number is by now does not matter: nobody outside of the
    /// container has such a root.
    ///
    /// # Errors
    /// The process has left it.
    pub fn root(&self) -> Result<Option<OwnedFd>> {
        let Some(mount) = self.root_mount else { return Ok(None) };
        let root = process::root(self.pid)?;
        // A directory of that mount may be what the process has made its root since.
        let whole =
            is_mount_root(root.as_fd()).map_err(|e| Error::new("cannot look at the container's root (statx)").cause(e))?;
        match whole && root_mount(&root)? == mount {
            true => Ok(Some(root)),
            false => Err(Error::new("the container's first process has another root by now, which is not to be entered")),
        }
    }

    fn began(&self) -> Began {
        Began { ticks: self.start_time, ahead: self.clock_ahead }
    }

    /// How a created container is started, if it still waits for that.
    fn waiting(&self) -> Result<Option<Waiting>> {
        let path = self.dir.join(store::START);
        match open_fifo(&path, OpenOptions::new().write(true)) {
            Ok(gate) => Ok(gate.map(|gate| Waiting { gate, told: self.dir.join(store::FAULT) })),
            // Nobody reads, so nobody waits; or it was never made, or has gone with the container, or something else is there.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENXIO | libc::ENOENT | libc::EISDIR | libc::ELOOP)) => Ok(None),
            Err(e) => Err(Error::new(format!("cannot open `{}`", path.display())).cause(e)),
        }
    }

    /// Asks the kernel.
    ///
    /// # Errors
    /// It does not tell.
    pub fn status(&self) -> Result<Status> {
        Ok(self.startable()?.0)
    }

    /// The status, and how its process is started when it is [`Status::Created`].
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn startable(&self) -> Result<(Status, Option<Waiting>)> {
        let status = match process::Stat::of(self.pid)? {
            _ if self.pid == 0 => Status::Creating,
            Some(stat) if stat.alive && Began::read(stat.start_time)?.agrees(self.began()) => match self.waiting()? {
                Some(waiting) => return Ok((Status::Created, Some(waiting))),
                None if self.is_frozen()? => Status::Paused,
                None => Status::Running,
            },
            _ => Status::Stopped,
        };
        Ok((status, None))
    }

    /// Whether it stands still.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        self.cgroup.as_ref().map_or(Ok(false), Cgroup::is_frozen)
    }

    /// Whether a signal has stopped its first process.
    pub(crate) fn is_stopped(&self) -> Result<bool> {
        Ok(process::Stat::of(self.pid)?.is_some_and(|stat| stat.stopped))
    }

    /// Signals the first process; never a stranger that was given its number. SIGKILL ends a pause: nothing that stands still dies
    /// (version 1), and nobody who was killed is to go on pausing.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let process = self.first_process()?;
        pidfd_send_signal(process.as_fd(), signal.number()).map_err(|e| match e {
            Errno::ESRCH => not_running(),
            e => Error::new(format!("cannot signal container `{}`", self.id)).cause(e.desc()),
        })?;
        match &self.cgroup {
            Some(cgroup) if signal == Signal::KILL && cgroup.is_frozen()? => cgroup.thaw(),
            _ => Ok(()),
        }
    }

    /// The OCI state, as `codexrun state` prints it.
    ///
    /// # Errors
    /// The kernel does not tell its status.
    pub fn oci_state(&self) -> Result<OciState> {
        let status = self.status()?;
        let pid = match status {
            Status::Created | Status::Running | Status::Paused => self.pid,
            // runc's way of saying that there is none.
            Status::Creating | Status::Stopped => 0,
        };
        Ok(OciState {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            pid,
            status: status.to_string(),
            bundle: self.bundle.clone(),
            rootfs: self.rootfs.clone(),
            created: self.created.clone(),
            annotations: self.annotations.clone(),
            owner: process::name(self.uid),
        })
    }
}

/// The OCI state (runtime.md, "State") and what runc tells beside it, in runc's order: people look for fields with grep(1).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is the field of the state that is called so")]
pub struct OciState {
    pub oci_version: String,
    pub id: ContainerId,
    pub pid: i32,
    pub status: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    pub annotations: BTreeMap<String, String>,
    pub owner: String,
}

impl OciState {
    /// On one line, or indented.
    pub fn json(&self, indented: bool) -> String {
        json(self, indented)
    }

    /// All of them as an array; `null` for none, as runc's callers are used to.
    pub fn array(all: &[OciState]) -> String {
        json(&(!all.is_empty()).then_some(all), false)
    }
}

/// What was read as JSON can be written.
fn json(of: &impl Serialize, indented: bool) -> String {
    let text = if indented { serde_json::to_string_pretty(of) } else { serde_json::to_string(of) };
    text.unwrap_or_default()
}

/// How `start` reaches a process that waits for it.
#[derive(Debug)]
pub struct Waiting {
    /// A byte opens the way.
    pub gate: OwnedFd,
    told: PathBuf,
}

impl Waiting {
    /// Ends when the process has executed; what comes before is a fault.
    ///
    /// # Errors
    /// The FIFO is not there, or is none that the process has open: whoever waited for its end would wait for ever.
    pub fn faults(&self) -> Result<OwnedFd> {
        let cannot = || {
            let what = format!("cannot open `{}`, where the container's process says why it does not start", self.told.display());
            Error::new(what).hint("`codexrun delete --force` removes the container")
        };
        let open = |options: &mut OpenOptions| match open_fifo(&self.told, options) {
            Ok(fifo) => fifo.ok_or_else(|| cannot().cause("this is no FIFO")),
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Err(cannot().cause(format!("nobody has this open: {e}"))),
            Err(e) => Err(cannot().cause(e)),
        };
        // As long as we read it there is a reader, and the kernel no longer says that there is no other.
        let _somebody = open(OpenOptions::new().write(true))?;
        open(OpenOptions::new().read(true))
    }
}

/// Without waiting for who has the other end; `None` if something else is there.
fn open_fifo(path: &Path, options: &mut OpenOptions) -> io::Result<Option<OwnedFd>> {
    let file = options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    Ok(file.metadata()?.file_type().is_fifo().then(|| file.into()))
}

/// The words that containerd looks for.
fn not_running() -> Error {
    Error::new("container not running")
}

fn has(list: &Option<Vec<Hook>>) -> bool {
    list.as_ref().is_some_and(|hooks| !hooks.is_empty())
}

fn late_hooks(spec: &Spec) -> bool {
    spec.hooks().as_ref().is_some_and(|hooks| has(hooks.poststart()) || has(hooks.poststop()))
}

fn root_mount(root: &OwnedFd) -> Result<u64> {
    unique_mount(root.as_fd()).map_err(|e| Error::new("cannot learn which mount the container's root is (statx)").cause(e))
}

/// Whether config.json names a mount namespace.
fn has_mounts(spec: &Spec) -> bool {
    namespace::all(spec).any(|n| n.typ() == LinuxNamespaceType::Mount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    pub(super) fn sleeper() -> Child {
        Command::new("sleep").arg("60").spawn().unwrap()
    }

    pub(super) fn record(id: &str, child: &Child) -> Record {
        let pid = i32::try_from(child.id()).unwrap();
        Record::new(id.parse().unwrap(), Some(pid), Path::new("/b"), Path::new("/b/rootfs"), &Spec::default()).unwrap()
    }

    #[test]
    fn a_live_process_is_running_and_a_zombie_is_stopped() {
        let mut child = sleeper();
        let record = record("a", &child);
        assert_eq!(record.status().unwrap(), Status::Running);
        child.kill().unwrap();
        while process::Stat::of(record.pid).unwrap().is_some_and(|s| s.alive) {
            std::thread::yield_now();
        }
        assert!(process::Stat::of(record.pid).unwrap().is_some(), "not reaped yet");
        assert_eq!(record.status().unwrap(), Status::Stopped);
        child.wait().unwrap();
        assert_eq!(record.status().unwrap(), Status::Stopped);
        assert_eq!(record.oci_state().unwrap().pid, 0);
    }

    /// Of what else may be in the place of `fault` nobody ever hears the end.
    #[test]
    fn who_waits_for_a_start_hears_of_it_or_it_is_not_begun() {
        let mut child = sleeper();
        let dir = tempfile::tempdir().unwrap();
        let reserved = Store::at(dir.path()).reserve(&"a".parse().unwrap()).unwrap();
        let _ours = reserved.fifos().unwrap();
        let record = Record { dir: dir.path().join("a"), ..record("a", &child) };
        let waiting = || match record.startable().unwrap() {
            (Status::Created, Some(waiting)) => waiting,
            other => panic!("{other:?}"),
        };
        waiting().faults().unwrap();
        let fault = reserved.file(store::FAULT);
        let put: [fn(&Path); 4] = [
            |at| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            |at| std::fs::create_dir(at).unwrap(),
            |at| std::fs::write(at, "").unwrap(),
            |_| {},
        ];
        let whys = ["nobody has this open: No such device", "Is a directory", "this is no FIFO", "No such file or directory"];
        for (put, why) in put.into_iter().zip(whys) {
            std::fs::remove_file(&fault).or_else(|_| std::fs::remove_dir(&fault)).unwrap_or(());
            put(&fault);
            let said = waiting().faults().unwrap_err().to_string();
            let about =
                format!("cannot open `{}`, where the container's process says why it does not start: {why}", fault.display());
            assert!(said.starts_with(&about), "{said}");
        }
        let gate = reserved.file(store::START);
        std::fs::remove_file(&gate).unwrap();
        std::fs::create_dir(&gate).unwrap();
        assert_eq!(record.status().unwrap(), Status::Running);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn kill_reaches_the_process() {
        let mut child = sleeper();
        record("a", &child).kill("USR1".parse().unwrap()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(10));
    }

    #[test]
    fn signal_0_asks_whether_it_is_there() {
        let mut child = sleeper();
        let record = record("a", &child);
        record.kill("0".parse().unwrap()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(record.kill("0".parse().unwrap()).unwrap_err().to_string(), "container not running");
    }

    #[test]
    fn a_reused_pid_is_not_signalled() {
        let mut child = sleeper();
        let mut stale = record("a", &child);
        stale.start_time -= 1;
        assert_eq!(stale.kill(Signal::KILL).unwrap_err().to_string(), "container not running");
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_reaped_process_is_not_running() {
        let mut child = sleeper();
        let record = record("a", &child);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(record.kill(Signal::TERM).unwrap_err().to_string(), "container not running");
    }

    #[test]
    fn a_nonsense_pid_is_never_signalled() {
        let mut child = sleeper();
        let mut record = record("a", &child);
        for pid in [0, -1, 1, i32::MAX] {
            record.pid = pid;
            assert!(record.kill(Signal::KILL).is_err(), "{pid}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
