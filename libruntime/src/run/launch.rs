//! The parent, from first to last: it leaves nothing of a container behind that did not come up.

use super::attend::{OURS, attend};
use super::container::Container;
use super::fault::{self, Fault, Heard};
use super::interrupt::{Interrupt, before_start};
use super::relay::Relayed;
use super::streams::Streams;
use super::{Options, died, hook, look, netdevice, oci_state};
use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::host::namespaces;
use crate::plan::hook::Hook;
use crate::plan::op::{HookKind, Op, ParentOp};
use crate::plan::resctrl::Group;
use crate::plan::{ParentStep, Plan};
use crate::resctrl::Resctrl;
use crate::state::Reserved;
use crate::sys::process::Pid;
use crate::sys::{Errno, Result as SysResult, file, signal};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// One launch of one plan.
pub(super) struct Launch<'a> {
    pub plan: &'a Plan,
    pub bundle: &'a Bundle,
    pub options: &'a Options,
    pub reserved: Option<&'a Reserved>,
    /// The container that is joined.
    pub joined: Option<Joined<'a>>,
    /// The process waits for `start`.
    pub park: bool,
    /// Its resctrl group, to be made; of one that is joined, there.
    pub resctrl: Option<Resctrl>,
    /// Streams of the caller's of which the process has only the bytes.
    pub relayed: Relayed,
}

/// A container that runs already.
#[derive(Clone, Copy)]
pub(super) struct Joined<'a> {
    /// Its first process.
    pub init: Pid,
    /// A process of it that can be looked into.
    pub process: BorrowedFd<'a>,
    /// Its root, if no mount namespace has it.
    pub root: Option<BorrowedFd<'a>>,
    /// Its cgroup.
    pub cgroup: Option<&'a Cgroup>,
    /// The caller has named it: where that cannot be entered, no other will do.
    pub placed: bool,
    /// The cgroup of the whole container, by which it is paused.
    pub whole: Option<&'a Cgroup>,
    /// Where its broker of Unix sockets is reached.
    pub door: Option<&'a Path>,
}

impl<'a> Launch<'a> {
    /// The whole life of the process; its exit code, or 0 when it goes on without us. `None`: nothing has been run, as the program cannot
    /// be kept ([`Op::Pin`]).
    pub fn run(&self) -> Result<Option<u8>> {
        undisturbed(|blocked, caller| {
            // Who goes on without us has them for longer.
            let _streams = (!self.park && !self.options.detach).then(Streams::now);
            self.with_cgroup(blocked, caller)
        })
    }

    /// In its cgroup, which is made and limited before there is a process to limit, and goes when the container does.
    fn with_cgroup(&self, blocked: &signal::Set, caller: signal::Set) -> Result<Option<u8>> {
        // While its name is still its own.
        let own = self.poststop_hooks().and_then(|_| std::env::current_exe().ok());
        let mut made = self.make_cgroup().map_err(|e| look::around(self.plan, e))?;
        self.make_resctrl().map_err(|e| without(made.as_ref(), e))?;
        let cgroup = made.as_ref().or(self.joined.and_then(|joined| joined.cgroup));
        let started = self.start(caller, cgroup);
        let mut container = match started {
            Ok(container) => container,
            Err(e) => return Err(without(made.as_ref(), look::around(self.plan, e))),
        };
        let interrupt = Interrupt::default();
        let up = self.bring_up(&mut container, &mut made, &interrupt);
        let up = up.map_err(|e| interrupt.explain(e));
        // Who was sent it too has perhaps told a fault of it.
        let stopped = up.as_ref().err().and_then(|_| interrupt.came()).and_then(before_start);
        let ended = match up {
            // It waits for `start`.
            Ok(()) if self.park => return Ok(Some(0)),
            Ok(()) if self.options.detach => self.started(&mut container, &interrupt),
            Ok(()) => self.started(&mut container, &interrupt).and_then(|()| attend(&mut container, blocked, self.plan)),
            Err(e) => Err(e),
        };
        if ended.is_ok() && self.options.detach {
            // Everybody else looks after it.
            return Ok(Some(0));
        }
        let cgroup = made.as_ref().or(self.joined.and_then(|joined| joined.cgroup));
        let code = match self.finish(&mut container, ended, cgroup) {
            Ok(code) => {
                if let Some(kills) = made.as_ref().map(Cgroup::oom_kills).filter(|kills| *kills > 0) {
                    self.options.warn(starved(kills));
                }
                if self.options.keep {
                    // `delete` does the rest, poststop hooks too.
                    return Ok(code);
                }
                made.as_ref().map_or(Ok(()), Cgroup::remove).map(|()| code)
            }
            Err(e) => Err(without(made.as_ref(), stopped.unwrap_or(e))),
        };
        self.poststop(container.pid, interrupt, own.as_deref());
        code
    }

    /// What is about to be made is recorded first: whoever kills us then leaves nothing that `delete` does not find.
    pub(super) fn make_cgroup(&self) -> Result<Option<Cgroup>> {
        let plan = |op: &'a ParentOp| if let ParentOp::Cgroup(plan) = op { Some(plan) } else { None };
        let plan = self.plan.parent.iter().find_map(|step| plan(&step.op));
        if let Some(reserved) = self.reserved.filter(|_| plan.is_some() || self.resctrl.is_some()) {
            reserved.save(&self.new_record(None, plan.map(Cgroup::foresee).as_ref())?)?;
        }
        // systemd makes none without a process in it.
        let made = plan.filter(|plan| plan.unit.is_none()).map_or(Ok(None), Cgroup::create)?;
        if let Some((dir, one)) = made.as_ref().and_then(Cgroup::company) {
            self.options.warn(shared(&dir, &one));
        }
        Ok(made)
    }

    fn make_resctrl(&self) -> Result<()> {
        match (&self.resctrl, resctrl_group(self.plan)) {
            (Some(resctrl), Some(group)) => resctrl.create(group),
            _ => Ok(()),
        }
    }

    /// Runs the `poststart` hooks once the process has executed. In the foreground, without any, there is nothing to wait for.
    fn started(&self, container: &mut Container, interrupt: &Interrupt) -> Result<()> {
        let wanted = |step: &&ParentStep| matches!(step.op, ParentOp::Hooks(HookKind::Poststart, _));
        let step = self.plan.after.iter().find(wanted);
        if step.is_some() || self.options.detach {
            self.executed(container, interrupt).map_err(|e| interrupt.explain(e))?;
        }
        match step.map(|step| (&step.op, &step.origin)) {
            Some((ParentOp::Hooks(_, hooks), origin)) => {
                hook::run_all(origin, hooks, &self.hooks_of(&self.state("running", container.pid)), interrupt)
            }
            _ => Ok(()),
        }
    }

    /// Waits until the process has executed: nobody who could fail has the pipe open any more.
    fn executed(&self, container: &mut Container, interrupt: &Interrupt) -> Result<()> {
        let cannot = |e| setup("wait for the start", e);
        loop {
            let keeper = container.keeper.as_ref().map(|keeper| keeper.pidfd.as_fd());
            let said = interrupt.or_either([Some(container.faults.as_fd()), keeper], -1).map_err(cannot)?;
            if let ([false, _], Some(keeper)) = (said, &mut container.keeper) {
                keeper.failed()?;
            }
            match Heard::receive(container.faults.as_fd()).map_err(cannot)? {
                Heard::Fault(fault) => {
                    container.fault = Some(fault);
                    // It looks for others, and leaves by itself.
                    if fault.is_early(self.plan) {
                        interrupt.or_wait(Some(container.pidfd.as_fd()), -1).map_err(cannot)?;
                    }
                    return Err(fault.explain(self.plan));
                }
                Heard::Hooked => container.hooked = true,
                Heard::End if self.is_in_its_hooks(container) => return Err(died::in_a_hook()),
                Heard::End => return Ok(()),
            }
        }
    }

    /// Whether it has not told yet that they have ended.
    fn is_in_its_hooks(&self, container: &Container) -> bool {
        !container.hooked && self.plan.child.iter().any(|step| step.op == Op::Hooked)
    }

    /// What is in the pipe of a process that has ended: its fault, and those that it has found after it.
    fn last_faults(&self, container: &mut Container) -> Vec<Fault> {
        let mut faults = Vec::from_iter(container.fault.take());
        if file::set_nonblocking(container.faults.as_fd()).is_err() {
            return faults;
        }
        while let Ok(heard) = Heard::receive(container.faults.as_fd()) {
            match heard {
                Heard::Fault(fault) if faults.is_empty() || fault.stands_alone(self.plan) => faults.push(fault),
                Heard::Fault(_) => {}
                Heard::Hooked => container.hooked = true,
                Heard::End => break,
            }
        }
        faults
    }

    /// [`Launch::outcome`]; of a container that did not run, the host has its network devices back.
    fn finish(&self, container: &mut Container, followed: Result<()>, cgroup: Option<&Cgroup>) -> Result<Option<u8>> {
        let (outcome, abroad) = (self.outcome(container, followed, cgroup), container.abroad.take());
        match outcome {
            Ok(None) => netdevice::back(abroad).map(|()| None),
            Ok(code) => Ok(code),
            Err(e) => Err(left(netdevice::back(abroad), e)),
        }
    }

    /// The container has ended, or has to: its exit code, or the fault that explains why it never ran.
    fn outcome(&self, container: &mut Container, followed: Result<()>, cgroup: Option<&Cgroup>) -> Result<Option<u8>> {
        let paused = || self.joined.and_then(|joined| joined.whole).is_some_and(|cgroup| cgroup.is_frozen() == Ok(true));
        let ended = container.end(followed.is_err(), paused);
        let delivered = container.last_words(followed.is_err());
        container.end_keeper();
        container.broker.end().map_err(|e| setup("end the broker of Unix sockets", e))?;
        container.fault_writer = None;
        // A fault says more than the parent's own impression of it.
        match self.last_faults(container).as_slice() {
            [fault, ..] if fault.is_of_a_path(self.plan) => return Ok(None),
            [fault, others @ ..] => {
                return Err(look::ahead(self.plan, *fault, others, container.heard(fault.explain(self.plan))));
            }
            [] => followed.and(delivered).map_err(|e| match (container.gone, &ended) {
                (true, Ok(how)) => {
                    let kills = cgroup.map_or(0, Cgroup::oom_kills_ever);
                    let shared = self.joined.is_some() || cgroup.is_some_and(|cgroup| cgroup.oom_kills() == 0);
                    died::explain(*how, self.plan, kills, shared)
                }
                _ => e,
            })?,
        }
        if self.is_in_its_hooks(container) {
            return Err(died::in_a_hook());
        }
        Ok(Some(ended.map_err(|e| setup("wait for the container", e))?.code()))
    }

    /// runtime.md: a failure is a warning, and the remaining hooks run all the same. What ended the launch hurries them; what came later was
    /// for the container.
    pub(super) fn poststop(&self, pid: Pid, interrupt: Interrupt, own: Option<&Path>) {
        let Some(hooks) = self.poststop_hooks() else { return };
        let hurry = if interrupt.came().is_some() { interrupt } else { Interrupt::from_now_on() };
        hook::run_poststop(hooks, &self.hooks_of(&self.state("stopped", pid)), Some(&hurry), own);
    }

    fn poststop_hooks(&self) -> Option<&'a Vec<Hook>> {
        let hooks =
            |step: &'a ParentStep| if let ParentOp::Hooks(HookKind::Poststop, hooks) = &step.op { Some(hooks) } else { None };
        self.plan.after.iter().find_map(hooks)
    }

    /// What was read as config.json.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.options.file()
    }

    /// For whom hooks run that read this.
    pub(super) fn hooks_of<'b>(&'b self, state: &'b str) -> hook::Of<'b> {
        hook::Of { config: self.config(), bundle: self.options.bundle_dir.as_deref(), state }
    }

    pub(super) fn state(&self, status: &str, pid: Pid) -> String {
        self.state_of(status, pid).to_string()
    }

    pub(super) fn state_of(&self, status: &str, pid: Pid) -> serde_json::Value {
        let dir = self.options.bundle_dir.as_deref().unwrap_or(Path::new("/"));
        oci_state(&self.bundle.spec, &self.options.name(), status, pid, dir)
    }
}

/// Does what no signal but [`OURS`] interrupts; it is told the mask of that time, and the caller's.
pub(super) fn undisturbed<T>(work: impl FnOnce(&signal::Set, signal::Set) -> Result<T>) -> Result<T> {
    let blocked = signal::Set::all_but(OURS);
    let caller = signal::set_mask(&blocked).map_err(|e| setup("block signals", e))?;
    // Ignored by the caller, it would keep us from learning how the container ended.
    let reset = signal::set_default(libc::SIGCHLD).map_err(|e| setup("reset SIGCHLD", e));
    let done = reset.and_then(|()| work(&blocked, caller));
    // What has been started is not undone for it, nor is what went wrong.
    signal::set_mask(&caller).map_err(|e| setup("restore signals", e)).map_or_else(|e| e.warn(), drop);
    done
}

/// What the plan says of `linux.intelRdt`.
pub(super) fn resctrl_group(plan: &Plan) -> Option<&Group> {
    plan.parent.iter().find_map(|step| if let ParentOp::Resctrl(group) = &step.op { Some(group) } else { None })
}

/// The exit code alone, 137, could be anybody's SIGKILL.
fn shared(cgroup: &Path, one: &str) -> Error {
    let what = format!("the cgroup `{}` has processes of others, one is {one}", cgroup.display());
    let why = "they have one set of limits, and who made it freezes and ends all that are in it";
    Error::new(what).cause(why).at("config.json: linux.cgroupsPath").hint("give each container its own")
}

fn starved(kills: u64) -> Error {
    let what = format!("the kernel ended {kills} process(es) of the container, which wanted more memory than it may have");
    Error::new(what).at("config.json: linux.resources.memory.limit")
}

/// The error; what is left of the cgroup is said with it.
pub(super) fn without(cgroup: Option<&Cgroup>, error: Error) -> Error {
    left(cgroup.map_or(Ok(()), Cgroup::remove), error)
}

/// The error, and why something could not be undone after it.
fn left(undone: Result<()>, error: Error) -> Error {
    match undone {
        Ok(()) => error,
        Err(left) => Error { cause: Some(error.cause.map_or(left.to_string(), |cause| format!("{cause}; {left}"))), ..error },
    }
}

pub(super) fn write_maps(pid: Pid, uid: &str, gid: &str) -> SysResult<()> {
    for (name, lines) in [("uid_map", uid), ("gid_map", gid)] {
        std::fs::write(format!("/proc/{pid}/{name}"), lines)
            .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?;
    }
    Ok(())
}

/// A failure of the parent's own, before or beside the plan.
pub(super) fn setup(what: &str, errno: Errno) -> Error {
    Error::new(format!("cannot {what}")).cause(fault::describe(errno))
}

pub(super) fn failed(step: &ParentStep, errno: Errno) -> Error {
    Error::new(format!("cannot {}", step.op)).at(format!("config.json: {}", step.origin)).cause(fault::describe(errno))
}

pub(super) fn not_cloned(errno: Errno, flags: u64) -> Error {
    let error = Error::new("cannot make the namespaces").at("config.json: linux.namespaces").cause(fault::describe(errno));
    let user = flags & libc::CLONE_NEWUSER as u64 != 0;
    match errno {
        errno if user && namespaces::is_forbidden(errno) => error.hint(namespaces::obstacle(errno)),
        Errno::EPERM => error.hint("this needs CAP_SYS_ADMIN, or a user namespace in linux.namespaces"),
        Errno::ENOSPC => error.hint("a limit of /proc/sys/user is reached, or user namespaces are nested too deep"),
        Errno::EINVAL => error.hint("this kernel lacks one of the namespaces"),
        _ => error,
    }
}
