//! `start`: opens the way for a process that `create` left waiting.

use super::fault::Fault;
use super::{hook, oci_state};
use crate::bundle::Bundle;
use crate::host::Host;
use crate::plan::{self, Plan};
use crate::state::{ContainerId, Record, Reserved, Status, Store, Waiting};
use crate::sys::file;
use crate::{Error, Result};
use std::os::fd::AsFd;

/// Starts a created container; returns when its process has executed.
///
/// # Errors
/// It does not exist, or is not `created`; or its process could not be executed, in which case it is stopped.
pub fn start(store: &Store, id: &ContainerId) -> Result<()> {
    // Held to the end: of two that start it at once the second finds it running.
    let held = store.hold(id)?.ok_or_else(absent)?;
    let record = store.load(id)?;
    let waiting = match record.startable() {
        (_, Some(waiting)) => waiting,
        (Status::Running | Status::Paused, None) => return Err(Error::new("cannot start an already running container")),
        (Status::Creating, None) => {
            return Err(
                Error::new("cannot start a container that was not made to the end").hint("`codexrun delete --force` removes it")
            );
        }
        (Status::Created | Status::Stopped, None) => return Err(Error::new("cannot start a container that has stopped")),
    };
    match go(waiting)? {
        Some(fault) => Err(failed(&record, &held, fault)),
        None => {
            poststart(&record);
            Ok(())
        }
    }
}

/// Nothing has this name.
pub(super) fn absent() -> Error {
    Error::new("container does not exist")
}

/// Sends the byte, and waits until the process has executed, or says why it has not.
fn go(waiting: Waiting) -> Result<Option<Fault>> {
    let cannot = |e| super::launch::setup("start the container's process", e);
    file::write_all(waiting.gate.as_fd(), b"s").map_err(cannot)?;
    // As long as it has the other end open, there is something to wait for.
    file::poll([Some(waiting.faults.as_fd())]).map_err(cannot)?;
    Fault::receive(waiting.faults.as_fd()).map_err(cannot)
}

/// runtime.md, "Lifecycle": what cannot be started is stopped, and its poststop hooks run; `delete` does not run them again.
fn failed(record: &Record, held: &Reserved, fault: Fault) -> Error {
    // It has said its last word, and is on its way out.
    if let Ok(process) = record.first_process()
        && let Err(e) = super::delete::ended(process.as_fd(), record)
    {
        e.warn();
    }
    let bundle = Bundle::recorded(&record.config(), record.rootfs.clone());
    let Ok(bundle) = bundle else { return Error::new("the container's process could not be executed") };
    poststop(record, &bundle);
    if let Err(e) = held.save(&Record { late_hooks: false, ..record.clone() }) {
        e.warn();
    }
    match plan_again(record, &bundle) {
        Some(plan) => fault.explain(&plan),
        None => Error::new("the container's process could not be executed"),
    }
}

/// The same plan as at `create`: what it depends on was recorded.
fn plan_again(record: &Record, bundle: &Bundle) -> Option<Plan> {
    let options: plan::Options = serde_json::from_value(record.options.clone()).ok()?;
    Plan::new(bundle, &Host::probe_for(&bundle.spec, &options), &options).ok()
}

/// runtime.md: a failure is a warning.
fn poststart(record: &Record) {
    if !record.late_hooks {
        return;
    }
    match Bundle::recorded(&record.config(), record.rootfs.clone()) {
        Ok(bundle) => {
            let hooks = plan::hook::late(&bundle.spec, plan::op::HookKind::Poststart);
            let state = oci_state(&bundle.spec, record.id.as_str(), "running", record.pid, &record.bundle);
            hook::run_each("hooks.poststart", &hooks, &state).iter().for_each(Error::warn);
        }
        Err(e) => e.warn(),
    }
}

/// Of a container that is stopped.
pub(super) fn poststop(record: &Record, bundle: &Bundle) {
    let hooks = plan::hook::late(&bundle.spec, plan::op::HookKind::Poststop);
    let state = oci_state(&bundle.spec, record.id.as_str(), "stopped", 0, &record.bundle);
    hook::run_each("hooks.poststop", &hooks, &state).iter().for_each(Error::warn);
}
