//! The parent's part for the broker of Unix sockets: where we stay with the container it is cloned when it is first asked, as most
//! programs never ask it.

use super::fault;
use super::interrupt::Interrupt;
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

    /// Waits until the child has loaded its filter, or has died.
    pub fn postpone(&mut self, process: Pid, plan: &op::Broker, interrupt: &Interrupt) -> Result<()> {
        let broker = self.planned(process, plan)?;
        interrupt.or_wait(Some(broker.socket.as_fd()), -1)?;
        *self = broker.postpone()?.map_or(BrokerProcess::None, BrokerProcess::Vacant);
        Ok(())
    }

    fn planned<'a>(&mut self, process: Pid, plan: &'a op::Broker) -> Result<Broker<'a>> {
        let BrokerProcess::Planned(socket) = std::mem::take(self) else { return Err(Errno::EBADF) };
        Ok(Broker { socket, process, grants: &plan.grants, own_network: plan.own_network })
    }

    /// Where the first call is heard of.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        if let BrokerProcess::Vacant(vacant) = self { Some(vacant.listener()) } else { None }
    }

    /// A call, or the last that has the filter is gone. A broker that cannot begin leaves calls without an answer, and the rest of the
    /// sandbox as it is.
    pub fn begin(&mut self) {
        let BrokerProcess::Vacant(vacant) = std::mem::take(self) else { return };
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
