//! The parent's part for the broker of Unix sockets: where we stay with the container it is cloned when it is first asked, as most
//! programs never ask it.

use super::fault;
use crate::Error;
use crate::broker::{Broker, Grants, Vacant};
use crate::plan::op::{self, Begins};
use crate::sys::file::{self, State};
use crate::sys::process::{self, Cloned, Ended, Pid};
use crate::sys::{Errno, Result, socket};
use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

/// How long a broker may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(10);

/// The broker of one container.
#[derive(Default)]
pub(super) enum BrokerProcess {
    /// There is none, or no more.
    #[default]
    None,
    /// The end of the child's way to it, and what is granted, from before there is a child. That one drops this, and gives no memory back.
    Planned(OwnedFd, ManuallyDrop<Grants>),
    /// Before there is a filter, or just after.
    Awaited(Broker),
    /// Nobody has asked it.
    Vacant(Vacant),
    Running(Pid),
}

impl BrokerProcess {
    /// At the launch, which it is part of; or for whoever looks after it to tell it that it is called. Processes of `exec` come by `door`.
    pub fn begin(&mut self, process: Pid, plan: &op::Broker, door: Option<&Path>) -> Result<()> {
        if plan.begins == Begins::Before {
            return Ok(());
        }
        let BrokerProcess::Planned(socket, grants) = std::mem::take(self) else { return Err(Errno::EBADF) };
        let (grants, own_network) = (ManuallyDrop::into_inner(grants), plan.own_network);
        let door = door.map(make).transpose()?;
        let broker = Broker { socket, process, grants, own_network, door };
        if plan.begins == Begins::WhenAsked {
            *self = BrokerProcess::Awaited(broker);
            return Ok(());
        }
        match process::clone(0)? {
            Cloned::Child => broker.live(),
            Cloned::Parent(pid, _) => *self = BrokerProcess::Running(pid),
        }
        Ok(())
    }

    /// Where it is called: by the child with its filter, then by the first who asks, or by a process of `exec`.
    pub fn bells(&self) -> [Option<BorrowedFd<'_>>; 2] {
        match self {
            BrokerProcess::Awaited(broker) => [Some(broker.socket.as_fd()), None],
            BrokerProcess::Vacant(vacant) => [Some(vacant.listener()), vacant.door()],
            BrokerProcess::None | BrokerProcess::Planned(..) | BrokerProcess::Running(_) => [None, None],
        }
    }

    /// It is called, or nobody is left who could.
    pub fn called(&mut self) {
        match std::mem::take(self) {
            BrokerProcess::Awaited(broker) => match broker.postpone() {
                Ok(vacant) => *self = vacant.map_or(BrokerProcess::None, BrokerProcess::Vacant),
                Err(errno) => warn("cannot be reached", errno),
            },
            BrokerProcess::Vacant(vacant) => self.occupy(vacant),
            other => *self = other,
        }
    }

    /// A broker that cannot begin leaves calls without an answer, and the rest of the sandbox as it is.
    fn occupy(&mut self, vacant: Vacant) {
        let visited = vacant.door().map_or(Ok(false), |door| file::poll_for(door, 0));
        let cloned = match (file::state(vacant.listener(), 0), visited) {
            (Ok(State::End), _) => return,
            (Ok(State::Input), _) | (Ok(State::Open), Ok(true)) => process::clone(0),
            // Its caller was killed meanwhile.
            (Ok(State::Open), Ok(false)) => return *self = BrokerProcess::Vacant(vacant),
            (Err(errno), _) | (_, Err(errno)) => Err(errno),
        };
        match cloned {
            Ok(Cloned::Child) => vacant.live(),
            Ok(Cloned::Parent(pid, _)) => *self = BrokerProcess::Running(pid),
            Err(errno) => warn("cannot be forked", errno),
        }
    }

    /// SIGCHLD: it ends before the container when the last that has the filter does, or when it fails.
    pub fn look(&mut self) {
        if let BrokerProcess::Running(pid) = *self
            && let Ok(Some((_, how))) = process::wait(pid, libc::WNOHANG)
        {
            *self = BrokerProcess::None;
            judge(how);
        }
    }

    /// It would end by itself, as nobody is left whom it could answer; so that nothing is left when we go, it is not waited for.
    pub fn end(&mut self) -> Result<()> {
        let BrokerProcess::Running(broker) = std::mem::take(self) else { return Ok(()) };
        process::kill(broker, libc::SIGKILL)?;
        if let Some((_, how)) = process::wait(broker, 0)? {
            judge(how);
        }
        Ok(())
    }
}

/// Makes a door. Its directory is its owner's alone.
fn make(door: &Path) -> Result<UnixListener> {
    through(door, |path| {
        let made = UnixListener::bind(path).and_then(|door| door.set_nonblocking(true).map(|()| door));
        made.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
    })
}

/// A connection to the broker behind a door. ENOENT: there never was one; ECONNREFUSED: it has ended.
pub(super) fn knock(door: &Path) -> Result<OwnedFd> {
    through(door, |path| socket::unix(path, Some(PATIENCE)))
}

/// By way of its directory: an address is shorter than a path may be.
fn through<T>(door: &Path, call: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let (Some(dir), Some(name)) = (door.parent(), door.file_name()) else { return Err(Errno::EINVAL) };
    let dir = CString::new(dir.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let dir = file::open_at(file::cwd(), &dir, libc::O_PATH | libc::O_DIRECTORY)?;
    call(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

/// Killed it was by us, or by somebody who knows.
fn judge(how: Ended) {
    if let Ended::Exited(errno @ 1..) = how {
        warn("has failed", Errno::from_raw(errno));
    }
}

fn warn(what: &str, errno: Errno) {
    let error = Error::new(format!("the broker of Unix sockets {what}: connect(2) in the sandbox is ENOSYS"));
    error.cause(fault::describe(errno)).warn();
}
