//! `kill`: a signal to a container's first process, or to everybody in it.

use crate::cgroup::Cgroup;
use crate::state::{ContainerId, Record, Signal, Status, Store};
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::{Errno, Result as SysResult};
use crate::{Error, Result};
use nix::unistd::Pid;
use std::os::fd::AsFd;

/// Signals the first process of a container, or with `all` every process in it. SIGKILL of the first process of a container that
/// shares its pid namespace with others reaches everybody in any case: nobody else would end them.
///
/// # Errors
/// It does not exist; without `all`, it does not run (`container not running`).
pub fn kill(store: &Store, id: &ContainerId, signal: Signal, all: bool) -> Result<()> {
    let record = store.load(id)?;
    let own = record.cgroup.as_ref().filter(|cgroup| cgroup.is_own());
    match (all, record.status()) {
        // Who outlives the first process is in its cgroup. Engines ask this of containers that have ended, and expect no error.
        (true, Status::Stopped | Status::Creating) => own.map_or(Ok(()), |cgroup| cgroup.kill_all(signal.number())),
        (true, _) => everybody(&record, own, signal),
        (false, _) => {
            record.kill(signal)?;
            let others = signal == Signal::KILL && !record.own_pids;
            own.filter(|_| others).map_or(Ok(()), |cgroup| cgroup.kill_all(signal.number()))
        }
    }
}

fn everybody(record: &Record, own: Option<&Cgroup>, signal: Signal) -> Result<()> {
    match own {
        Some(cgroup) => cgroup.kill_all(signal.number()),
        // With it the kernel ends everybody else in its pid namespace.
        None if signal == Signal::KILL && record.own_pids => record.kill(signal),
        None => record.members()?.into_iter().try_for_each(|pid| match one(record, pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(e) => Err(Error::new(format!("cannot signal process {pid} of container `{}`", record.id)).cause(e.desc())),
        }),
    }
}

/// Only if it is still of the container once its descriptor is open: its number may be a stranger's by now.
fn one(record: &Record, pid: i32, signal: Signal) -> SysResult<()> {
    let process = pidfd_open(Pid::from_raw(pid))?;
    match record.members() {
        Ok(now) if now.contains(&pid) => pidfd_send_signal(process.as_fd(), signal.number()),
        _ => Err(Errno::ESRCH),
    }
}
