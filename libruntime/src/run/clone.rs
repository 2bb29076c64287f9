//! The clone, and all that has to be there before it: the child allocates nothing.

use super::agent;
use super::broker::BrokerProcess;
use super::child::{Child, Start, States};
use super::container::Container;
use super::launch::{Launch, failed, setup};
use super::relay::{Inner, Relay};
use super::said::Said;
use super::{door, idmap, netdevice, node, relay};
use crate::cgroup::{Cgroup, Entry};
use crate::plan::Plan;
use crate::plan::op::{ChildHook, HookKind, Op, ParentOp};
use crate::state::Reserved;
use crate::sys::process::{self, Cloned, Pid, Strings};
use crate::sys::{Errno, cred, file, landlock, signal};
use crate::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};

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
    /// Of standard streams.
    relay: Option<Relay>,
}

impl<'a> Launch<'a> {
    /// Everything up to and including the clone.
    pub(super) fn start(&self, mask: signal::Set, cgroup: Option<&Cgroup>) -> Result<Container> {
        let clone = |op: &ParentOp| if let ParentOp::Clone(flags) = op { Some(*flags) } else { None };
        let namespaces = self.plan.parent.iter().find_map(|step| clone(&step.op)).unwrap_or(0);
        let (doors, early) = (door::open(&self.plan.parent)?, door::early(&self.plan.parent));
        netdevice::look(&self.plan.parent)?;
        // Born in a cgroup is only who has the parent's rights.
        let init = self.joined.filter(|joined| !joined.placed).map(|joined| joined.init);
        let entered = cgroup.filter(|_| self.plan.child.iter().any(|step| step.op == Op::EnterCgroup));
        let mut entry = entered.map_or(Ok(Entry::default()), |c| c.open(init, !door::is_between(&doors, &early)))?;
        let unified = entry.unified.take();
        let (ours, child) = self.prepare(mask, entry)?;
        let groups = self.drop_groups()?;
        let cloned = door::clone(&doors, &early, namespaces, unified.as_ref().map(AsFd::as_fd));
        if matches!(cloned, Ok(Cloned::Child)) {
            self.go_on_as(child, (ours, unified))
        }
        let restored = groups.map_or(Ok(()), |groups| cred::set_groups(&groups));
        let Cloned::Parent(pid, pidfd) = cloned.map_err(|e| door::failed(e, (&doors, &early), namespaces, unified.is_some()))?
        else {
            process::exit(1)
        };
        let Child { faults: fault_writer, states, agent, .. } = child;
        let told =
            restored.map_err(|e| setup("restore the supplementary groups", e).at("config.json: process.user.additionalGids"));
        let mut container = Container::new(pid, pidfd, ours.gate, ours.faults, fault_writer, ours.ended);
        container.introduction = agent.and_then(|agent| agent.message);
        container.broker = ours.broker;
        container.said = ours.said;
        container.relay = ours.relay;
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
        let (relay, streams) = match self.relayed.is_empty() {
            true => (None, Inner::default()),
            false => relay::open(self.relayed).map(|(relay, inner)| (Some(relay), inner)).map_err(sockets)?,
        };
        let child = Child {
            ended: says,
            streams,
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
        Ok((Ends { gate, faults, ended: hears, said, broker, relay }, child))
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
}

fn for_hooks(errno: Errno) -> Error {
    setup("write the state for hooks", errno).at("config.json: hooks")
}
