//! `start`: opens the way for a process that `create` left waiting.

use super::fault::{Fault, Heard};
use super::interrupt::Interrupt;
use super::launch::{setup, undisturbed};
use super::{died, hook, oci_state};
use crate::bundle::Bundle;
use crate::error::Sources;
use crate::plan::op::Sync;
use crate::plan::{self, Plan};
use crate::state::{ContainerId, Record, Reserved, Status, Store, Waiting, absent};
use crate::sys::{Errno, file, signal};
use crate::{Error, Result};
use std::os::fd::AsFd;

/// Starts a created container; returns when its process has executed. A caller that is killed while a hook runs leaves a container that
/// goes on: it is not the caller's.
///
/// # Errors
/// It does not exist, or is not `created`; or its process could not be executed, in which case it is stopped; or SIGTERM or SIGINT came,
/// or a hook failed, and the container is destroyed.
pub fn start(store: &Store, id: &ContainerId) -> Result<()> {
    // A codexrun that runs it in the foreground holds it for as long as it runs. One that is still being made has no record yet.
    if store.load(id).and_then(|record| record.status()).is_ok_and(|status| matches!(status, Status::Running | Status::Paused)) {
        return Err(running());
    }
    // Held to the end: of two that start it at once the second finds it running.
    let held = store.hold(id)?.ok_or_else(absent)?;
    let record = store.load(id)?;
    let waiting = match record.startable()? {
        // It would not hear us, and we would wait for it.
        (_, Some(_)) if record.is_frozen()? => {
            return Err(Error::new("cannot start a paused container").hint("`codexrun resume` lets it go on"));
        }
        (_, Some(_)) if record.is_stopped()? => {
            let hint = format!("`codexrun kill {id} CONT` lets it go on");
            return Err(Error::new("cannot start a container whose process a signal has stopped").hint(hint));
        }
        (_, Some(waiting)) => waiting,
        (Status::Running | Status::Paused, None) => return Err(running()),
        (Status::Creating, None) => {
            return Err(
                Error::new("cannot start a container that was not made to the end").hint("`codexrun delete --force` removes it")
            );
        }
        (Status::Created | Status::Stopped, None) => return Err(Error::new("cannot start a container that has stopped")),
    };
    let file = record.source();
    let done = undisturbed(|_, _| {
        let interrupt = Interrupt::default();
        match go(&record, waiting, &interrupt) {
            Ok(None) => poststart(&record, &interrupt).map_err(|e| destroyed(&record, held, e, &interrupt)),
            Ok(Some(fault)) => Err(failed(&record, held, fault, &interrupt)),
            Err(e) if interrupt.came().is_some() => Err(destroyed(&record, held, interrupt.explain(e), &interrupt)),
            Err(e) => Err(e),
        }
    });
    done.map_err(|e| e.of(Sources::config(Some(&file))))
}

fn running() -> Error {
    Error::new("cannot start an already running container")
}

/// Sends the byte, and waits until the process has executed, or says why it has not.
fn go(record: &Record, waiting: Waiting, interrupt: &Interrupt) -> Result<Option<Fault>> {
    let cannot = |e| setup("start the container's process", e);
    let faults = waiting.faults()?;
    let told = file::write_all(waiting.gate.as_fd(), &[Sync::Start as u8]);
    if told == Err(Errno::EPIPE) {
        // The process died at this moment; that is no end of us by SIGPIPE.
        signal::wait(&signal::Set::of(&[libc::SIGPIPE])).map_err(cannot)?;
    }
    told.map_err(cannot)?;
    let mut hooked = !record.start_hooks;
    loop {
        // As long as it has the other end open, there is something to wait for.
        interrupt.or_wait(Some(faults.as_fd()), -1).map_err(cannot)?;
        match Heard::receive(faults.as_fd()).map_err(cannot)? {
            Heard::Fault(fault) => return Ok(Some(fault)),
            Heard::Hooked => hooked = true,
            Heard::End if hooked => return Ok(None),
            Heard::End => return Err(ended(record, died::in_a_hook())),
        }
    }
}

/// What could not be executed stays, stopped, until it is deleted. A hook that failed ends the container altogether.
fn failed(record: &Record, held: Reserved, fault: Fault, interrupt: &Interrupt) -> Error {
    let unknown = || Error::new("the container's process could not be executed");
    let plan = Bundle::recorded(&record.config(), record.rootfs.clone()).ok().and_then(|bundle| plan_again(record, &bundle).ok());
    let error = plan.as_ref().map_or_else(unknown, |plan| fault.explain(plan));
    match plan.is_some_and(|plan| fault.is_of_a_hook(&plan)) {
        true => destroyed(record, held, error, interrupt),
        false => ended(record, error),
    }
}

/// The error of a process that has said its last word, when it has ended.
fn ended(record: &Record, error: Error) -> Error {
    match record.first_process().and_then(|process| super::delete::ended(process.as_fd(), record)) {
        Err(still) if record.status() != Ok(Status::Stopped) => error.hint(still.to_string()),
        _ => error,
    }
}

/// runtime.md, "Lifecycle": where a hook fails the container is stopped and destroyed, and its poststop hooks run.
fn destroyed(record: &Record, held: Reserved, error: Error, interrupt: &Interrupt) -> Error {
    match super::delete::destroy(record, held, interrupt) {
        Ok(()) => error,
        Err(left) => error.hint(left.to_string()),
    }
}

/// The same plan as at `create`: what it depends on was recorded.
pub(super) fn plan_again(record: &Record, bundle: &Bundle) -> Result<Plan, Vec<Error>> {
    let options = serde_json::from_value::<plan::Options>(record.options.clone());
    let options = options.map_err(|e| vec![Error::new("the options of the container's plan cannot be read").cause(e)])?;
    super::planned(bundle, &options)
}

fn poststart(record: &Record, interrupt: &Interrupt) -> Result<()> {
    if !record.late_hooks {
        return Ok(());
    }
    let bundle = Bundle::recorded(&record.config(), record.rootfs.clone())?;
    let hooks = plan::hook::late(&bundle.spec, plan::op::HookKind::Poststart);
    let state = oci_state(&bundle.spec, record.id.as_str(), "running", record.pid, &record.bundle).to_string();
    hook::run_all("hooks.poststart", &hooks, &of(record, &state), interrupt)
}

/// Of a container that is stopped. Who is asked to end meanwhile hurries them; without an `interrupt` that ends codexrun.
pub(super) fn poststop(record: &Record, bundle: &Bundle, interrupt: Option<&Interrupt>) {
    let hooks = plan::hook::late(&bundle.spec, plan::op::HookKind::Poststop);
    let state = oci_state(&bundle.spec, record.id.as_str(), "stopped", 0, &record.bundle).to_string();
    hook::run_poststop(&hooks, &of(record, &state), interrupt, None);
}

fn of<'a>(record: &'a Record, state: &'a str) -> hook::Of<'a> {
    hook::Of { config: Some(record.source()), bundle: Some(&record.bundle), state }
}
