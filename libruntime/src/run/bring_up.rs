//! The parent's column after the clone.

use super::agent;
use super::container::{Container, KeeperProcess};
use super::interrupt::Interrupt;
use super::keeper::Keeper;
use super::launch::{Launch, failed, setup};
use super::{console, hook, maps, netdevice, reach, rootfs_dir, terminal};
use crate::cgroup::Cgroup;
use crate::plan::op::{Op, ParentOp};
use crate::state::{Record, Reserved};
use crate::sys::pidfd::pidfd_open;
use crate::sys::process::{self, Cloned, Pid};
use crate::sys::{Errno, Result as SysResult, file};
use crate::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

impl Launch<'_> {
    /// The parent's column after the clone.
    pub(super) fn bring_up(&self, container: &mut Container, cgroup: &mut Option<Cgroup>, interrupt: &Interrupt) -> Result<()> {
        for step in &self.plan.parent {
            match &step.op {
                ParentOp::Cgroup(plan) => {
                    if let Some(unit) = &plan.unit {
                        *cgroup = Some(Cgroup::start(plan, unit, container.pid)?);
                    }
                }
                ParentOp::DropGroups | ParentOp::Join(_) | ParentOp::IdMap(_) | ParentOp::Clone(_) => {}
                ParentOp::Streams { .. } | ParentOp::OomScore(_) | ParentOp::Undumpable => {}
                ParentOp::Node(_) | ParentOp::Agent(_) | ParentOp::Resctrl(_) | ParentOp::Ruleset { .. } => {}
                ParentOp::EnterResctrl => self.resctrl.as_ref().map_or(Ok(()), |group| group.enter(container.pid))?,
                ParentOp::Introduce => {
                    let message = container.introduction.take();
                    message.map_or(Ok(()), |message| agent::introduce(self, &message, container.pid))?;
                }
                ParentOp::Broker(plan) => {
                    let door = self.reserved.map(Reserved::door);
                    container.broker.begin(container.pid, plan, door.as_deref()).map_err(|e| failed(step, e))?;
                }
                ParentOp::WriteMaps { uid, gid, helper } => maps::write(step, container.pid, uid, gid, *helper, interrupt)?,
                ParentOp::Reach(source) => reach::send(step, container, source, interrupt)?,
                ParentOp::NetDevice(device) => netdevice::move_in(step, container.pid, &mut container.abroad, device)?,
                ParentOp::Keeper { placeholders, cgroup: kept } => {
                    let cgroup = cgroup.as_ref().filter(|_| *kept);
                    self.keep(container, placeholders, cgroup).map_err(|e| failed(step, e))?;
                }
                ParentOp::Wait(sync) => {
                    let heard = container.expect(*sync, interrupt);
                    container.hear(heard).map_err(|e| container.blame(failed(step, e)))?;
                }
                ParentOp::Tell(sync) => {
                    let told = container.tell(*sync);
                    container.hear(told).map_err(|e| failed(step, e))?;
                }
                ParentOp::Hooks(kind, hooks) => {
                    let state = self.state(kind.status(), container.pid);
                    hook::run_all(&step.origin, hooks, &self.hooks_of(&state), interrupt)?;
                }
                ParentOp::Attach => {
                    self.joined.and_then(|joined| joined.cgroup).map_or(Ok(()), |cgroup| cgroup.attach(container.pid))?;
                }
                ParentOp::Joined => {
                    let joined = container.joined(interrupt);
                    container.hear(joined).map_err(|e| failed(step, e))?;
                }
                ParentOp::Terminal => self.terminal(container, interrupt)?,
                ParentOp::Record => {
                    self.record(container.pid, cgroup.as_ref())?;
                    if let Some(path) = &self.options.pidfd_socket {
                        console::send_pidfd(path, container.pidfd.as_fd(), self.joined.is_some(), interrupt)?;
                    }
                }
            }
        }
        container.fault_writer = None;
        // In the foreground they are passed on from here on.
        if self.options.detach { interrupt.none() } else { Ok(()) }
    }

    fn keep(&self, container: &mut Container, paths: &[std::path::PathBuf], cgroup: Option<&Cgroup>) -> SysResult<()> {
        let copy = |fd: &OwnedFd| file::duplicate(fd.as_fd());
        let faults = copy(container.fault_writer.as_ref().ok_or(Errno::EBADF)?)?;
        let keeper = Keeper {
            paths,
            container: copy(&container.pidfd)?,
            gate: copy(&container.gate)?,
            faults,
            ended: container.ended.take(),
            codexrun: pidfd_open(nix::unistd::Pid::this())?,
            dies_together: self.plan.child.iter().any(|step| step.op == Op::DieWithParent),
            cgroup,
        };
        match process::clone(0)? {
            Cloned::Child => keeper.run(),
            Cloned::Parent(pid, pidfd) => {
                container.keeper = Some(KeeperProcess { pid, pidfd, paths: paths.to_vec(), ended: false });
            }
        }
        Ok(())
    }

    /// Its master has come from the child, who waits.
    fn terminal(&self, container: &mut Container, interrupt: &Interrupt) -> Result<()> {
        let master = container.master.take().ok_or_else(|| setup("receive the terminal", Errno::EPROTO).at(terminal::PLACE))?;
        match &self.options.console_socket {
            Some(path) => console::send(path, master.as_fd(), interrupt),
            None => {
                terminal::prepare(master.as_fd()).map_err(|e| setup("prepare the terminal", e).at(terminal::PLACE))?;
                container.master = Some(master);
                Ok(())
            }
        }
    }

    pub(super) fn record(&self, pid: Pid, cgroup: Option<&Cgroup>) -> Result<()> {
        if let Some(reserved) = self.reserved {
            reserved.save(&self.new_record(Some(pid), cgroup)?)?;
        }
        self.options.pid_file.as_deref().map_or(Ok(()), |file| write_pid(file, pid))
    }

    /// Without a pid of a container that is being made.
    pub(super) fn new_record(&self, pid: Option<Pid>, cgroup: Option<&Cgroup>) -> Result<Record> {
        let id = self.options.id.clone().ok_or_else(|| Error::new("a container without an id cannot be recorded"))?;
        let dir = self.options.bundle_dir.as_deref().unwrap_or(Path::new("/"));
        let record = Record::new(id, pid, dir, rootfs_dir(self.bundle, dir), &self.bundle.spec)?;
        Ok(Record {
            cgroup: cgroup.cloned(),
            resctrl: self.resctrl.clone(),
            ..record.with_options(&self.options.plan(self.park))
        })
    }
}

/// Digits and nothing else (engines parse it with Atoi), whole or not at all.
fn write_pid(file: &Path, pid: Pid) -> Result<()> {
    let put = crate::put::whole(file, pid.to_string().as_bytes(), 0o666);
    put.map_err(|e| Error::new(format!("cannot write the pid file `{}`", file.display())).cause(e))
}
