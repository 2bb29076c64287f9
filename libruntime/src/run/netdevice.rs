//! Moves network devices of the host into the container's network namespace (config-linux.md, "Network Devices"), and back when there
//! is no container in the end.

use super::launch;
use super::launch::setup;
use super::netlink::{Address, Route};
use crate::plan::ParentStep;
use crate::plan::op::{NetDevice, ParentOp};
use crate::sys::process::{self, Pid};
use crate::sys::{Errno, Result as SysResult, file, namespace};
use crate::{Error, Result};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Before anything is made or moved: a move costs a device its routes, also when it is undone.
pub(super) fn look(steps: &[ParentStep]) -> Result<()> {
    let asked = steps.iter().filter_map(|s| if let ParentOp::NetDevice(device) = &s.op { Some((s, device)) } else { None });
    let mut asked = asked.peekable();
    if asked.peek().is_none() {
        return Ok(());
    }
    let there = Route::open().and_then(|route| route.devices()).map_err(|e| setup("look at the network devices", e))?;
    let missing = asked.filter(|(_, device)| there.iter().all(|one| one.name != device.host));
    Error::all(missing.map(|(step, _)| failed(step, Errno::ENODEV)))
}

/// The container's network namespace, which lives as long as this, and what was moved there.
pub(super) struct Abroad {
    namespace: OwnedFd,
    route: Route,
    moved: Vec<Moved>,
}

/// A device, by its number there and by all that it was here.
struct Moved {
    index: u32,
    name: Vec<u8>,
    up: bool,
    addresses: Vec<Address>,
}

/// Into the network namespace of the process.
pub(super) fn move_in(step: &ParentStep, pid: Pid, abroad: &mut Option<Abroad>, device: &NetDevice) -> Result<()> {
    let there = match abroad {
        Some(there) => Ok(there),
        None => Abroad::of(pid).map(|there| abroad.insert(there)),
    };
    there.and_then(|there| there.take(device)).map_err(|errno| failed(step, errno))
}

/// Undoes it, for whatever can be undone.
pub(super) fn back(abroad: Option<Abroad>) -> Result<()> {
    abroad.map_or(Ok(()), Abroad::give_back).map_err(|e| setup("move the network devices back", e))
}

fn failed(step: &ParentStep, errno: Errno) -> Error {
    let error = launch::failed(step, errno);
    match errno {
        Errno::ENODEV => error.hint("there is no network device of this name"),
        Errno::EEXIST => error.hint("a device of this name is in the container already"),
        Errno::EINVAL => error.hint("some devices (lo, tunnels) cannot be moved"),
        _ => error,
    }
}

impl Abroad {
    fn of(pid: Pid) -> SysResult<Self> {
        let path = CString::new(format!("/proc/{pid}/ns/net")).map_err(|_| Errno::EINVAL)?;
        let namespace = file::open_at(file::cwd(), &path, libc::O_RDONLY)?;
        Ok(Abroad { route: route_in(namespace.as_fd())?, namespace, moved: Vec::new() })
    }

    /// Its addresses do not come along by themselves, and it arrives down. It may get another index, and with `%d` a name that only the
    /// kernel knows: it is the one that was not there before.
    fn take(&mut self, device: &NetDevice) -> SysResult<()> {
        let (here, before) = (Route::open()?, self.route.devices()?);
        let one = here.devices()?.into_iter().find(|one| one.name == device.host).ok_or(Errno::ENODEV)?;
        let addresses = here.addresses(one.index)?;
        if before.iter().any(|other| other.name == device.inside) {
            return Err(Errno::EEXIST);
        }
        here.send_away(one.index, self.namespace.as_fd(), &device.inside)?;
        let arrived = self.route.devices()?.into_iter().find(|new| before.iter().all(|other| other.index != new.index));
        let index = arrived.ok_or(Errno::ENODEV)?.index;
        let given = addresses.iter().try_for_each(|address| self.route.add(index, address)).and_then(|()| self.route.up(index));
        self.moved.push(Moved { index, name: one.name, up: one.up, addresses });
        given
    }

    /// Every one, whatever becomes of the others.
    fn give_back(self) -> SysResult<()> {
        let here = Route::open()?;
        let home = file::open_at(file::cwd(), c"/proc/self/ns/net", libc::O_RDONLY)?;
        let one = |device: &Moved| {
            self.route.send_away(device.index, home.as_fd(), &device.name)?;
            let arrived = here.devices()?.into_iter().find(|one| one.name == device.name).ok_or(Errno::ENODEV)?;
            device.addresses.iter().try_for_each(|address| here.add(arrived.index, address))?;
            if device.up { here.up(arrived.index) } else { Ok(()) }
        };
        self.moved.iter().map(one).fold(Ok(()), Result::and)
    }
}

/// Such a socket speaks of the namespace in which it was made. That is done by a process of its own: hooks must still see the host's
/// network, and so must we.
fn route_in(namespace: BorrowedFd) -> SysResult<Route> {
    let (ours, theirs) = file::socketpair()?;
    process::apart(0, || {
        namespace::join(namespace, libc::CLONE_NEWNET as u64)?;
        file::send_fd(theirs.as_fd(), Route::open()?.as_fd(), 0)
    })?;
    file::receive_fd(ours.as_fd(), 0)?.map(Route::from).ok_or(Errno::ECHILD)
}
