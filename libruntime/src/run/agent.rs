//! The parent's part for a seccomp agent (config-linux.md, "The Container Process State"): connects to it, and writes what the child
//! tells it. The child does the telling itself: it may load its filter long after we have gone (`create`).

use super::broker::BrokerProcess;
use super::launch::{self, Launch, setup};
use super::{broker, fault};
use crate::broker::{Grants, WORD};
use crate::plan::ParentStep;
use crate::plan::op::{self, Begins, ParentOp};
use crate::sys::process::Pid;
use crate::sys::{Errno, file, socket};
use crate::{Error, Result};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What the child must not make itself.
pub(super) struct Agent {
    /// The connection.
    pub socket: OwnedFd,
    /// What is to be sent, in memory, shared with the parent, who writes it; none if it is known.
    pub message: Option<OwnedFd>,
    /// It, or room for it.
    pub text: Vec<u8>,
    /// For the thread that sends it.
    pub stack: Vec<u8>,
    /// Namespaces for who gets it, opened by then.
    pub space: Option<OwnedFd>,
    /// It says whether it is there.
    pub answers: bool,
}

/// Bytes of that stack.
const STACK: usize = 64 * 1024;
/// An agent that does not accept, or does not read, is an error, and not a container that never starts.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connects, if the plan says so.
pub(super) fn connect(launch: &Launch) -> Result<Option<Agent>> {
    let Some((agent, origin)) = planned(&launch.plan.parent) else { return Ok(None) };
    let socket = socket::unix(&agent.path, Some(PATIENCE)).map_err(|e| not_connected(agent, origin, e))?;
    let message = file::memory(c"seccomp agent").map_err(|e| not_written(origin, e))?;
    let text = vec![0; text(launch, agent, Pid::MAX).len()];
    Ok(Some(Agent { socket, message: Some(message), text, stack: vec![0; STACK], space: None, answers: false }))
}

/// A socket that is not there. Who listens at one that is there would hear of it.
pub(super) fn missing(steps: &[ParentStep]) -> Option<Error> {
    let (agent, origin) = planned(steps)?;
    let missing = agent.path.metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    missing.then(|| not_connected(agent, origin, Errno::ENOENT))
}

fn not_connected(agent: &op::Agent, origin: &str, errno: Errno) -> Error {
    let what = format!("failed to connect with seccomp agent at `{}`", agent.path.display());
    Error::new(what)
        .at(format!("config.json: {origin}"))
        .cause(fault::describe(errno))
        .hint("it must listen there before the container is made")
}

/// The child's way to the broker, if the plan has one, and what one that is yet to begin is made of.
pub(super) fn to_broker(launch: &Launch) -> Result<Option<(Agent, BrokerProcess)>> {
    let mut steps = launch.plan.parent.iter();
    let found = steps.find_map(|step| if let ParentOp::Broker(plan) = &step.op { Some((step, plan)) } else { None });
    let Some((step, plan)) = found else { return Ok(None) };
    let (socket, process) = match launch.joined.and_then(|joined| joined.door) {
        Some(door) => {
            let not_reached =
                |e| setup("reach the container's broker of Unix sockets", e).at(format!("config.json: {}", step.origin));
            let socket = broker::knock(door).map_err(not_reached)?;
            (socket, BrokerProcess::None)
        }
        None => {
            let (socket, brokers) = file::socketpair().map_err(|e| launch::failed(step, e))?;
            let grants = Grants::pin(&plan.grants, plan.ports.as_deref()).map_err(|e| launch::failed(step, e))?;
            let grants = grants.noted_in(launch.options.book.clone());
            (socket, BrokerProcess::Planned(brokers, ManuallyDrop::new(grants)))
        }
    };
    // Nobody waits for one that begins later.
    let answers = plan.begins != Begins::WhenAsked;
    Ok(Some((Agent { socket, message: None, text: vec![WORD], stack: vec![0; STACK], space: None, answers }, process)))
}

/// Writes what the agent is told of the process.
pub(super) fn introduce(launch: &Launch, message: &OwnedFd, pid: Pid) -> Result<()> {
    let Some((agent, origin)) = planned(&launch.plan.parent) else { return Ok(()) };
    let text = text(launch, agent, pid);
    file::write_all(message.as_fd(), text.as_bytes()).map_err(|e| not_written(origin, e))
}

fn not_written(origin: &str, errno: Errno) -> Error {
    setup("write what the seccomp agent is told", errno).at(format!("config.json: {origin}"))
}

fn planned(steps: &[ParentStep]) -> Option<(&op::Agent, &str)> {
    steps.iter().find_map(|step| if let ParentOp::Agent(agent) = &step.op { Some((agent, step.origin.as_str())) } else { None })
}

/// The container process state.
fn text(launch: &Launch, agent: &op::Agent, pid: Pid) -> String {
    let first = launch.joined.map_or(pid, |joined| joined.init);
    let mut state = serde_json::json!({
        "ociVersion": launch.bundle.spec.version(), "fds": ["seccompFd"], "pid": pid, "state": launch.state_of(agent.status, first),
    });
    if let Some(metadata) = &agent.metadata {
        state["metadata"] = metadata.as_str().into();
    }
    state.to_string()
}
