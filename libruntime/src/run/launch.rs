//! The parent: performs its column of the plan, and leaves nothing of a container behind that did not come up.

use super::agent;
use super::attend::{OURS, attend};
use super::broker::BrokerProcess;
use super::child::{Child, Start, States};
use super::container::{Container, KeeperProcess};
use super::fault::{self, Fault};
use super::interrupt::Interrupt;
use super::keeper::Keeper;
use super::said::Said;
use super::{Options, console, door, hook, idmap, maps, netdevice, node, oci_state, reach, rootfs_dir, terminal};
use crate::bundle::Bundle;
use crate::cgroup::{Cgroup, Entry};
use crate::host::namespaces;
use crate::plan::op::{ChildHook, HookKind, Op, ParentOp};
use crate::plan::resctrl::Group;
use crate::plan::{ParentStep, Plan};
use crate::resctrl::Resctrl;
use crate::state::{Record, Reserved};
use crate::sys::pidfd::pidfd_open;
use crate::sys::process::{self, Cloned, Pid, Strings};
use crate::sys::{Errno, Result as SysResult, cred, file, landlock, signal};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

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

/// Bytes of stack for the command's process between its clone and its execve(2).
const STACK: usize = 64 * 1024;

/// The parent's ends of what it shares with the child.
struct Ends {
    gate: OwnedFd,
    faults: OwnedFd,
    /// For the keeper, from init.
    ended: Option<OwnedFd>,
    /// What hooks of the bridge say inside.
    said: Option<Said>,
    /// Not yet begun.
    broker: BrokerProcess,
}

impl<'a> Launch<'a> {
    /// The whole life of the process; its exit code, or 0 when it goes on without us. `None`: nothing has been run, as the program cannot
    /// be kept ([`Op::Pin`]).
    pub fn run(&self) -> Result<Option<u8>> {
        undisturbed(|blocked, caller| self.with_cgroup(blocked, caller))
    }

    /// In its cgroup, which is made and limited before there is a process to limit, and goes when the container does.
    fn with_cgroup(&self, blocked: &signal::Set, caller: signal::Set) -> Result<Option<u8>> {
        let mut made = self.make_cgroup()?;
        self.make_resctrl().map_err(|e| without(made.as_ref(), e))?;
        let cgroup = made.as_ref().or(self.joined.and_then(|joined| joined.cgroup));
        let started = self.start(caller, cgroup);
        let mut container = match started {
            Ok(container) => container,
            Err(e) => return Err(without(made.as_ref(), e)),
        };
        let interrupt = Interrupt::default();
        let up = self.bring_up(&mut container, &mut made, &interrupt);
        let ended = match up.map_err(|e| interrupt.explain(e)) {
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
        let code = match self.finish(&mut container, ended) {
            Ok(code) => {
                if let Some(kills) = made.as_ref().map(Cgroup::oom_kills).filter(|kills| *kills > 0) {
                    starved(kills);
                }
                if self.options.keep {
                    // `delete` does the rest, poststop hooks too.
                    return Ok(code);
                }
                made.as_ref().map_or(Ok(()), Cgroup::remove).map(|()| code)
            }
            Err(e) => Err(without(made.as_ref(), e)),
        };
        self.poststop(container.pid, interrupt);
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
        plan.filter(|plan| plan.unit.is_none()).map_or(Ok(None), Cgroup::create)
    }

    fn make_resctrl(&self) -> Result<()> {
        match (&self.resctrl, resctrl_group(self.plan)) {
            (Some(resctrl), Some(group)) => resctrl.create(group),
            _ => Ok(()),
        }
    }

    /// Everything up to and including the clone.
    fn start(&self, mask: signal::Set, cgroup: Option<&Cgroup>) -> Result<Container> {
        let clone = |op: &ParentOp| if let ParentOp::Clone(flags) = op { Some(*flags) } else { None };
        let namespaces = self.plan.parent.iter().find_map(|step| clone(&step.op)).unwrap_or(0);
        let doors = door::open(&self.plan.parent)?;
        netdevice::look(&self.plan.parent)?;
        // Born in a cgroup is only who has the parent's rights.
        let init = self.joined.filter(|joined| !joined.placed).map(|joined| joined.init);
        let entered = cgroup.filter(|_| self.plan.child.iter().any(|step| step.op == Op::EnterCgroup));
        let mut entry = entered.map_or(Ok(Entry::default()), |c| c.open(init, doors.is_empty()))?;
        let unified = entry.unified.take();
        let (ours, child) = self.prepare(mask, entry)?;
        let groups = self.drop_groups()?;
        let cloned = door::clone(&doors, namespaces, unified.as_ref().map(AsFd::as_fd));
        if matches!(cloned, Ok(Cloned::Child)) {
            self.go_on_as(child, (ours, unified))
        }
        let restored = groups.map_or(Ok(()), |groups| cred::set_groups(&groups));
        let Cloned::Parent(pid, pidfd) = cloned.map_err(|e| door::failed(e, &doors, namespaces, unified.is_some()))? else {
            process::exit(1)
        };
        let Child { faults: fault_writer, states, agent, .. } = child;
        let told =
            restored.map_err(|e| setup("restore the supplementary groups", e).at("config.json: process.user.additionalGids"));
        let mut container = Container::new(pid, pidfd, ours.gate, ours.faults, fault_writer, ours.ended);
        container.introduction = agent.and_then(|agent| agent.message);
        container.broker = ours.broker;
        container.said = ours.said;
        match told.and_then(|()| self.tell_states(&states, pid)) {
            Ok(()) => Ok(container),
            Err(e) => {
                let ended = container.end(true, || false).map_err(|e| setup("end the container", e));
                ended.and(Err(e))
            }
        }
    }

    /// The child's part. Nothing that owns memory is dropped from here on.
    fn go_on_as(&self, mut child: Child, parents: (Ends, Option<OwnedFd>)) -> ! {
        process::become_child();
        // An end of the parent's that stayed open here would hide its death from us.
        drop(parents);
        if let Some(lock) = self.reserved.map(Reserved::lock)
            && file::close_copy(lock).is_err()
        {
            process::exit(1);
        }
        child.walk()
    }

    /// What the child must not allocate, and the ends of it that the parent keeps.
    fn prepare(&self, mask: signal::Set, entry: Entry) -> Result<(Ends, Child<'a>)> {
        let plan: &'a Plan = self.plan;
        let missing = || Error::new("there is nothing to run").at("config.json: process.args");
        let program = plan.program().ok_or_else(missing)?;
        let hooks: Vec<&ChildHook> =
            plan.child.iter().filter_map(|s| if let Op::Hook(hook) = &s.op { Some(hook) } else { None }).collect();
        let state = |kind| match hooks.iter().any(|hook| hook.kind == kind) {
            true => file::memory(c"state").map(Some).map_err(for_hooks),
            false => Ok(None),
        };
        let sockets = |e| setup("make a socket", e);
        let (gate, child_gate) = file::socketpair().map_err(sockets)?;
        let (faults, fault_writer) = file::pipe().map_err(sockets)?;
        let (hears, says) =
            if plan.init { file::pipe().map(|(r, w)| (Some(r), Some(w))).map_err(sockets)? } else { (None, None) };
        let (agent, broker) = match agent::to_broker(self)? {
            Some((agent, broker)) => (Some(agent), broker),
            None => (agent::connect(self)?, BrokerProcess::None),
        };
        let (args, env) = (Strings::new(&program.args), Strings::with_room(&program.env, libc::PATH_MAX as usize));
        let own = super::own::identity()?;
        let said = hooks.iter().any(|hook| hook.is_bridge()).then(Said::new).transpose().map_err(for_hooks)?;
        let child = Child {
            ended: says,
            said: said.as_ref().map(Said::again).transpose().map_err(for_hooks)?,
            states: States { creating: state(HookKind::CreateContainer)?, created: state(HookKind::StartContainer)? },
            hooks: hooks.iter().map(|hook| (Strings::new(&hook.args), hook.env.as_deref().map(Strings::new))).collect(),
            start: if self.park {
                self.reserved.map(Reserved::fifos).transpose()?.map(|(gate, faults)| Start { gate, faults })
            } else {
                None
            },
            agent,
            ruleset: self.ruleset()?,
            target: self.joined.map(|joined| joined.process),
            target_root: self.joined.and_then(|joined| joined.root),
            // Touched only by the command's process, a few pages of it.
            stack: vec![0; if plan.init { STACK } else { 0 }],
            mapped: idmap::prepare(&plan.parent)?,
            nodes: node::prepare(&plan.parent)?,
            sent: plan.child.iter().filter(|step| matches!(step.op, Op::Receive(_))).map(|_| None).collect(),
            cgroup: entry.files,
            may_stay_outside: entry.lenient,
            ..Child::new(plan, child_gate, fault_writer, mask, args, env, own)
        };
        Ok((Ends { gate, faults, ended: hears, said, broker }, child))
    }

    /// What hooks inside the container read: only now is the pid known.
    fn tell_states(&self, states: &States, pid: Pid) -> Result<()> {
        if states.creating.is_none() && states.created.is_none() {
            return Ok(());
        }
        // runtime.md, "State": for hooks in the container's namespaces it is the pid that the container sees.
        let inside = crate::state::innermost_pid(pid).unwrap_or(pid);
        for (state, status) in [(&states.creating, "creating"), (&states.created, "created")] {
            if let Some(state) = state {
                let text = self.state(status, inside);
                file::write_all(state.as_fd(), text.as_bytes()).map_err(for_hooks)?;
            }
        }
        Ok(())
    }

    /// The Landlock ruleset, without the places that there are only inside.
    fn ruleset(&self) -> Result<Option<OwnedFd>> {
        for step in &self.plan.parent {
            let ParentOp::Ruleset { handled, ports } = &step.op else { continue };
            let made = landlock::create(handled).and_then(|ruleset| {
                ports
                    .iter()
                    .try_for_each(|(port, access)| landlock::allow_port(ruleset.as_fd(), *port, *access))
                    .map(|()| ruleset)
            });
            return made.map(Some).map_err(|e| failed(step, e));
        }
        Ok(None)
    }

    /// Gives up the supplementary groups, for the child to inherit none; what the caller had.
    fn drop_groups(&self) -> Result<Option<Vec<u32>>> {
        let Some(step) = self.plan.parent.iter().find(|step| step.op == ParentOp::DropGroups) else { return Ok(None) };
        let groups = cred::groups().map_err(|e| failed(step, e))?;
        cred::set_groups(&[]).map_err(|e| failed(step, e))?;
        Ok(Some(groups))
    }

    /// The parent's column after the clone.
    fn bring_up(&self, container: &mut Container, cgroup: &mut Option<Cgroup>, interrupt: &Interrupt) -> Result<()> {
        for step in &self.plan.parent {
            match &step.op {
                ParentOp::Cgroup(plan) => {
                    if let Some(unit) = &plan.unit {
                        *cgroup = Some(Cgroup::start(plan, unit, container.pid)?);
                    }
                }
                ParentOp::DropGroups | ParentOp::Join(_) | ParentOp::IdMap(_) | ParentOp::Clone(_) => {}
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
                ParentOp::Reach(source) => reach::send(step, container.pid, container.gate.as_fd(), source)?,
                ParentOp::NetDevice(device) => netdevice::move_in(step, container.pid, &mut container.abroad, device)?,
                ParentOp::Keeper { placeholders, cgroup: kept } => {
                    let cgroup = cgroup.as_ref().filter(|_| *kept);
                    self.keep(container, placeholders, cgroup).map_err(|e| failed(step, e))?;
                }
                ParentOp::Wait(sync) => {
                    container.expect(*sync, interrupt).map_err(|e| container.blame(failed(step, e)))?;
                }
                ParentOp::Tell(sync) => file::tell(container.gate.as_fd(), &[*sync as u8]).map_err(|e| failed(step, e))?,
                ParentOp::Hooks(kind, hooks) => {
                    hook::run_all(&step.origin, hooks, &self.state(kind.status(), container.pid), Some(interrupt))?;
                }
                ParentOp::Attach => {
                    self.joined.and_then(|joined| joined.cgroup).map_or(Ok(()), |cgroup| cgroup.attach(container.pid))?;
                }
                ParentOp::Joined => container.joined(interrupt).map_err(|e| failed(step, e))?,
                ParentOp::Terminal => self.terminal(container, interrupt)?,
                ParentOp::Record => self.record(container.pid, cgroup.as_ref())?,
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

    /// Runs the `poststart` hooks once the process has executed. In the foreground, without any, there is nothing to wait for.
    fn started(&self, container: &mut Container, interrupt: &Interrupt) -> Result<()> {
        let wanted = |step: &&ParentStep| matches!(step.op, ParentOp::Hooks(HookKind::Poststart, _));
        let step = self.plan.after.iter().find(wanted);
        if step.is_some() || self.options.detach {
            self.executed(container, interrupt).map_err(|e| interrupt.explain(e))?;
        }
        match step.map(|step| (&step.op, &step.origin)) {
            Some((ParentOp::Hooks(_, hooks), origin)) => {
                hook::run_all(origin, hooks, &self.state("running", container.pid), Some(interrupt))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the process has executed: nobody who could fail has the pipe open any more.
    fn executed(&self, container: &mut Container, interrupt: &Interrupt) -> Result<()> {
        let keeper = container.keeper.as_ref().map(|keeper| keeper.pidfd.as_fd());
        let said = interrupt.or_either([Some(container.faults.as_fd()), keeper], -1);
        let said = said.map_err(|e| setup("wait for the start", e))?;
        if let ([false, _], Some(keeper)) = (said, &mut container.keeper) {
            keeper.failed()?;
        }
        match Fault::receive(container.faults.as_fd()).map_err(|e| setup("wait for the start", e))? {
            Some(fault) => Err(fault.explain(self.plan)),
            None => Ok(()),
        }
    }

    /// [`Launch::outcome`]; of a container that did not run, the host has its network devices back.
    fn finish(&self, container: &mut Container, followed: Result<()>) -> Result<Option<u8>> {
        let (outcome, abroad) = (self.outcome(container, followed), container.abroad.take());
        match outcome {
            Ok(None) => netdevice::back(abroad).map(|()| None),
            Ok(code) => Ok(code),
            Err(e) => Err(left(netdevice::back(abroad), e)),
        }
    }

    /// The container has ended, or has to: its exit code, or the fault that explains why it never ran.
    fn outcome(&self, container: &mut Container, followed: Result<()>) -> Result<Option<u8>> {
        let paused = || self.joined.and_then(|joined| joined.whole).is_some_and(|cgroup| cgroup.is_frozen() == Ok(true));
        let ended = container.end(followed.is_err(), paused);
        container.end_keeper();
        container.broker.end().map_err(|e| setup("end the broker of Unix sockets", e))?;
        container.fault_writer = None;
        // A fault says more than the parent's own impression of it.
        let fault = file::set_nonblocking(container.faults.as_fd()).and_then(|()| Fault::receive(container.faults.as_fd()));
        match fault {
            Ok(Some(fault)) if fault.is_of_a_path(self.plan) => return Ok(None),
            Ok(Some(fault)) => return Err(container.heard(fault.explain(self.plan))),
            Ok(None) | Err(_) => followed?,
        }
        Ok(Some(ended.map_err(|e| setup("wait for the container", e))?.code()))
    }

    pub(super) fn record(&self, pid: Pid, cgroup: Option<&Cgroup>) -> Result<()> {
        if let Some(reserved) = self.reserved {
            reserved.save(&self.new_record(Some(pid), cgroup)?)?;
        }
        self.options.pid_file.as_deref().map_or(Ok(()), |file| write_pid(file, pid))
    }

    /// Without a pid of a container that is being made.
    fn new_record(&self, pid: Option<Pid>, cgroup: Option<&Cgroup>) -> Result<Record> {
        let id = self.options.id.clone().ok_or_else(|| Error::new("a container without an id cannot be recorded"))?;
        let dir = self.options.bundle_dir.as_deref().unwrap_or(Path::new("/"));
        let record = Record::new(id, pid, dir, rootfs_dir(self.bundle, dir), &self.bundle.spec)?;
        Ok(Record {
            cgroup: cgroup.cloned(),
            resctrl: self.resctrl.clone(),
            ..record.with_options(&self.options.plan(self.park))
        })
    }

    /// Its master has come from the child, who waits.
    fn terminal(&self, container: &mut Container, interrupt: &Interrupt) -> Result<()> {
        let master = container.master.take().ok_or_else(|| setup("receive the terminal", Errno::EPROTO).at(terminal::PLACE))?;
        match &self.options.console_socket {
            Some(path) => console::send(path, master.as_fd(), interrupt),
            None => {
                terminal::prepare(master.as_fd());
                container.master = Some(master);
                Ok(())
            }
        }
    }

    /// runtime.md: a failure is a warning, and the remaining hooks run all the same. What ended the launch hurries them; what came later was
    /// for the container.
    pub(super) fn poststop(&self, pid: Pid, interrupt: Interrupt) {
        let hooks =
            |step: &'a ParentStep| if let ParentOp::Hooks(HookKind::Poststop, hooks) = &step.op { Some(hooks) } else { None };
        let Some(hooks) = self.plan.after.iter().find_map(hooks) else { return };
        let hurry = if interrupt.came().is_some() { interrupt } else { Interrupt::from_now_on() };
        hook::run_poststop(hooks, &self.state("stopped", pid), Some(&hurry));
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
fn starved(kills: u64) {
    let what = format!("the kernel ended {kills} process(es) of the container, which wanted more memory than it may have");
    Error::new(what).at("config.json: linux.resources.memory.limit").warn();
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

/// Digits and nothing else (engines parse it with Atoi), whole or not at all.
fn write_pid(file: &Path, pid: Pid) -> Result<()> {
    let put = crate::text::put(file, pid.to_string().as_bytes(), 0o666);
    put.map_err(|e| Error::new(format!("cannot write the pid file `{}`", file.display())).cause(e))
}

/// A failure of the parent's own, before or beside the plan.
pub(super) fn setup(what: &str, errno: Errno) -> Error {
    Error::new(format!("cannot {what}")).cause(fault::describe(errno))
}

fn for_hooks(errno: Errno) -> Error {
    setup("write the state for hooks", errno).at("config.json: hooks")
}

pub(super) fn failed(step: &ParentStep, errno: Errno) -> Error {
    Error::new(format!("cannot {}", step.op)).at(format!("config.json: {}", step.origin)).cause(fault::describe(errno))
}

pub(super) fn not_cloned(errno: Errno, flags: u64) -> Error {
    let error = Error::new("cannot make the namespaces").at("config.json: linux.namespaces").cause(fault::describe(errno));
    let user = flags & libc::CLONE_NEWUSER as u64 != 0;
    match errno {
        errno if user && namespaces::is_forbidden(errno) => error.hint(namespaces::obstacle()),
        Errno::EPERM => error.hint("this needs CAP_SYS_ADMIN, or a user namespace in linux.namespaces"),
        Errno::ENOSPC => error.hint("a limit of /proc/sys/user is reached, or user namespaces are nested too deep"),
        Errno::EINVAL => error.hint("this kernel lacks one of the namespaces"),
        _ => error,
    }
}
