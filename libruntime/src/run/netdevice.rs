//! Moves network devices of the host into the container's network namespace (config-linux.md, "Network Devices").

use super::fault;
use super::netlink::Route;
use crate::plan::ParentStep;
use crate::plan::op::NetDevice;
use crate::sys::process::{self, Cloned, Ended, Pid};
use crate::sys::{Errno, Result as SysResult, file, namespace};
use crate::{Error, Result};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Into the network namespace of the process.
pub(super) fn move_in(step: &ParentStep, pid: Pid, device: &NetDevice) -> Result<()> {
    let moved = namespace_of(pid).and_then(|namespace| in_helper(namespace.as_fd(), device));
    moved.map_err(|errno| {
        let place = format!("config.json: {}", step.origin);
        let error = Error::new(format!("cannot {}", step.op)).at(place).cause(fault::describe(errno));
        match errno {
            Errno::ENODEV => error.hint("there is no network device of this name"),
            Errno::EEXIST => error.hint("a device of this name is in the container already"),
            Errno::EINVAL => error.hint("some devices (lo, tunnels) cannot be moved"),
            _ => error,
        }
    })
}

fn namespace_of(pid: Pid) -> SysResult<OwnedFd> {
    let path = CString::new(format!("/proc/{pid}/ns/net")).map_err(|_| Errno::EINVAL)?;
    file::open_at(file::cwd(), &path, libc::O_RDONLY)
}

/// In a process of its own: hooks must still see the host's network, and so must we.
fn in_helper(namespace: BorrowedFd, device: &NetDevice) -> SysResult<()> {
    match process::clone(0)? {
        Cloned::Child => process::exit(passed(namespace, device).map_or_else(|errno| errno as i32, |()| 0)),
        Cloned::Parent(helper, _) => match process::wait(helper, 0)? {
            Some((_, Ended::Exited(0))) => Ok(()),
            Some((_, Ended::Exited(errno))) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        },
    }
}

/// Its addresses do not come along by themselves, and it arrives down. It may get another index, and with `%d` a name that only the
/// kernel knows: it is the one that was not there before.
fn passed(container: BorrowedFd, device: &NetDevice) -> SysResult<()> {
    let here = Route::open()?;
    let (index, _) = here.devices()?.into_iter().find(|(_, name)| *name == device.host).ok_or(Errno::ENODEV)?;
    let addresses = here.addresses(index)?;
    namespace::join(container, libc::CLONE_NEWNET as u64)?;
    let there = Route::open()?;
    let before = there.devices()?;
    if before.iter().any(|(_, name)| *name == device.inside) {
        return Err(Errno::EEXIST);
    }
    here.send_away(index, container, &device.inside)?;
    let arrived = there.devices()?.into_iter().find(|(index, _)| before.iter().all(|(other, _)| other != index));
    let (index, _) = arrived.ok_or(Errno::ENODEV)?;
    addresses.iter().try_for_each(|address| there.add(index, address))?;
    there.up(index)
}
