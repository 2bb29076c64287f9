//! Follows a container in the foreground: forwards signals to it and relays its terminal, until it ends.

use super::broker::BrokerProcess;
use super::container::{Container, KeeperProcess};
use super::interrupt;
use super::job::Job;
use super::launch::setup;
use super::relay;
use super::terminal::{self, Relay};
use crate::annotation;
use crate::plan::Plan;
use crate::plan::op::Op;
use crate::sys::file::Ready;
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::{Errno, event, file, signal};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Signals that stay what they are: what is left of job control ([`Job`]) acts on codexrun as on any program, and faults of its own must show.
pub(super) const OURS: &[i32] = &[
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGCONT,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// The exit code of timeout(1).
const TIMED_OUT: u8 = 124;

/// Follows the container to its end, or for as long as its plan says, and forwards signals to it.
pub(super) fn attend(container: &mut Container, blocked: &signal::Set, plan: &Plan) -> Result<()> {
    let Container { pid, pidfd, master, keeper, broker, faults, relay, .. } = container;
    let timer = plan.wall.map(event::timer).transpose().map_err(|e| setup("set a timer", e))?;
    let starting = may_linger(plan).then(|| faults.as_fd());
    follow(
        pidfd.as_fd(),
        master.take(),
        blocked,
        timer.as_ref().map(AsFd::as_fd),
        &mut Company { job: Job::of(plan, *pid), keeper: keeper.as_mut(), broker, starting, relay: relay.as_mut() },
    )
}

/// Whether its process may be kept from executing for longer than a moment: by its hooks, or in a container that is paused.
fn may_linger(plan: &Plan) -> bool {
    plan.child.iter().any(|step| matches!(step.op, Op::Hook(_) | Op::Join(_) | Op::JoinRoot))
}

/// Other processes of a container that are ours to look after.
pub(super) struct Company<'a> {
    pub job: Job,
    pub keeper: Option<&'a mut KeeperProcess>,
    pub broker: &'a mut BrokerProcess,
    /// Where a process that may linger before it executes tells its fault. It hears no signal until it has executed.
    pub starting: Option<BorrowedFd<'a>>,
    /// Its standard streams that are Unix sockets of the caller's.
    pub relay: Option<&'a mut relay::Relay>,
}

impl Company<'_> {
    /// Fails if this signal ends a start.
    fn hear(&self, number: i32) -> Result<()> {
        let (Some(starting), Some(stopped)) = (self.starting, interrupt::before_start(number)) else { return Ok(()) };
        match file::poll_for(starting, 0).map_err(|e| setup("look whether the process has started", e))? {
            true => Ok(()),
            false => Err(stopped),
        }
    }

    /// Of children it hears by SIGCHLD; the container's process has a descriptor of its own.
    fn listens_to(&self, blocked: &signal::Set) -> signal::Set {
        let children = self.keeper.is_some() || !matches!(self.broker, BrokerProcess::None);
        if children { *blocked } else { blocked.without(libc::SIGCHLD) }
    }

    /// One of them has changed.
    fn look(&mut self) -> Result<()> {
        self.broker.look();
        self.keeper.as_mut().map_or(Ok(()), |keeper| keeper.failed())
    }
}

/// Follows a first process to its end.
pub(super) fn follow(
    first: BorrowedFd,
    master: Option<OwnedFd>,
    blocked: &signal::Set,
    timer: Option<BorrowedFd>,
    company: &mut Company,
) -> Result<()> {
    let signals = signal::signalfd(&company.listens_to(blocked)).map_err(|e| setup("listen for signals", e))?;
    let mut relay = master.map(Relay::new).transpose().map_err(not_relayed)?;
    let mut asked = false;
    loop {
        let [output, input] = relay.as_ref().map_or([None, None], Relay::awaits);
        let read = |fd| (fd, Ready::In);
        let [asked_for, door] = company.broker.bells().map(|bell| bell.map(read));
        let mut fds = [None; 7 + relay::POLLED];
        fds[..7].copy_from_slice(&[
            Some(read(first)),
            Some(read(signals.as_fd())),
            output,
            input,
            timer.map(read),
            asked_for,
            door,
        ]);
        if let Some(relay) = &company.relay {
            fds[7..].copy_from_slice(&relay.awaits());
        }
        let polled = file::poll_for_each(fds, -1).map_err(|e| setup("follow the container", e))?;
        let [ended, signal, output, input, late, call, visit, streams @ ..] = polled;
        if ended {
            let last = relay.map_or(Ok(()), |relay| relay.last_words(signals.as_fd(), asked));
            return last.map_err(not_relayed);
        }
        if late {
            let place = format!("config.json: annotations[{}]", annotation::WALL_TIME);
            return Err(Error::new("the time is over, and the container was killed").at(place).code(TIMED_OUT));
        }
        if signal {
            asked |= signal::asks_to_end(forward(first, &signals, blocked, relay.as_ref(), company)?);
        }
        if let Some(relay) = &mut company.relay {
            relay.pass(&streams);
            if asked {
                relay.hurry();
            }
        }
        if call || visit {
            company.broker.called();
        }
        if let Some(relay) = &mut relay {
            relay.pass(output, input).map_err(not_relayed)?;
        }
    }
}

fn not_relayed(errno: Errno) -> Error {
    setup("relay the terminal", errno).at(terminal::PLACE)
}

/// Which one it was.
fn forward(
    first: BorrowedFd,
    signals: &OwnedFd,
    blocked: &signal::Set,
    relay: Option<&Relay>,
    company: &mut Company,
) -> Result<i32> {
    let number = signal::next(signals.as_fd()).map_err(|e| setup("read a signal", e))?;
    company.hear(number)?;
    // A container that has just ended needs no signal.
    let send = |number| pidfd_send_signal(first, number).unwrap_or(());
    match (number, relay) {
        (libc::SIGCHLD, _) => company.look()?,
        (libc::SIGTSTP, _) => company.job.stand_still(blocked)?,
        (libc::SIGWINCH, Some(relay)) => relay.resize(),
        // It was the relay's, that nobody reads what the container says.
        (libc::SIGPIPE, Some(_)) => {}
        // It was about a file of our own, which has failed.
        (signal::FILE_TOO_LARGE, _) => {}
        _ => send(number),
    }
    if signal::asks_to_end(number) {
        // Who stands still, and be it by its own hand, hears it only when it goes on.
        send(libc::SIGCONT);
    }
    Ok(number)
}
