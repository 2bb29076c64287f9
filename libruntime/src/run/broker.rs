//! The parent's part for the broker of Unix sockets: where we stay with the container it is cloned when it is first asked, as most
//! programs never ask it.

use super::fault;
use crate::Error;
use crate::broker::{Broker, Vacant};
use crate::plan::op;
use crate::sys::file::{self, State};
use crate::sys::process::{self, Cloned, Ended, Pid};
use crate::sys::{Errno, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The broker of one container.
#[derive(Default)]
pub(super) enum BrokerProcess {
    /// There is none, or no more.
    #[default]
    None,
    /// The child's way to it, before there is a filter.
    Planned(OwnedFd),
    /// Before there is a filter, or just after.
    Awaited(Broker),
    /// Nobody has asked it.
    Vacant(Vacant),
    Running(Pid),
}

impl BrokerProcess {
    /// At the launch, which it is part of.
    pub fn fork(&mut self, process: Pid, plan: &op::Broker) -> Result<()> {
        let broker = self.planned(process, plan)?;
        match process::clone(0)? {
            Cloned::Child => broker.live(),
            Cloned::Parent(pid, _) => *self = BrokerProcess::Running(pid),
        }
        Ok(())
    }

    /// For whoever looks after it to tell it that it is called.
    pub fn postpone(&mut self, process: Pid, plan: &op::Broker) -> Result<()> {
        *self = BrokerProcess::Awaited(self.planned(process, plan)?);
        Ok(())
    }

    fn planned(&mut self, process: Pid, plan: &op::Broker) -> Result<Broker> {
        let BrokerProcess::Planned(socket) = std::mem::take(self) else { return Err(Errno::EBADF) };
        Ok(Broker { socket, process, grants: plan.grants.clone(), own_network: plan.own_network })
    }

    /// Where it is called: by the child with its filter, then by the first who asks.
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        match self {
            BrokerProcess::Awaited(broker) => Some(broker.socket.as_fd()),
            BrokerProcess::Vacant(vacant) => Some(vacant.listener()),
            BrokerProcess::None | BrokerProcess::Planned(_) | BrokerProcess::Running(_) => None,
        }
    }

    /// It is called, or nobody is left who could.
    pub fn called(&mut self) {
        match std::mem::take(self) {
            // What fails here the child is told, and tells.
            BrokerProcess::Awaited(broker) => {
                *self = broker.postpone().ok().flatten().map_or(BrokerProcess::None, BrokerProcess::Vacant);
            }
            BrokerProcess::Vacant(vacant) => self.begin(vacant),
            other => *self = other,
        }
    }

    /// A broker that cannot begin leaves calls without an answer, and the rest of the sandbox as it is.
    fn begin(&mut self, vacant: Vacant) {
        let cloned = match file::state(vacant.listener(), 0) {
            Ok(State::Input) => process::clone(0),
            // Its caller was killed meanwhile.
            Ok(State::Open) => return *self = BrokerProcess::Vacant(vacant),
            Ok(State::End) => return,
            Err(errno) => Err(errno),
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
