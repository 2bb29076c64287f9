//! `delete`: undoes what `create` did, and forgets the container.

use super::interrupt::Interrupt;
use super::start::poststop;
use crate::bundle::{Bundle, CONFIG};
use crate::cgroup::{self, Cgroup};
use crate::plan;
use crate::plan::op::ParentOp;
use crate::resctrl::Resctrl;
use crate::state::{ContainerId, Record, Reserved, Signal, Status, Store, absent};
use crate::sys::file;
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// How long a killed process may take to end, in milliseconds.
const PATIENCE: i32 = 10_000;
/// And before it is looked after where somebody may have frozen it.
const MOMENT: i32 = 200;

/// Removes a stopped container, or, as runc does, one that was never started; `force` kills a running one first, and is content
/// if there is none.
///
/// # Errors
/// It does not exist, runs, or its record is garbled (each without `force`); or it cannot be ended or removed.
pub fn delete(store: &Store, id: &ContainerId, force: bool) -> Result<()> {
    remove(store, id, force, None)
}

/// The same for who has shut signals out: one hurries the poststop hooks.
pub(super) fn remove(store: &Store, id: &ContainerId, force: bool, interrupt: Option<&Interrupt>) -> Result<()> {
    // Who is still making it has hold of it, and comes first.
    let ended = match known(store, id, force)? {
        Some(record) if record.status()? != Status::Creating => Some(record),
        _ => None,
    };
    if let Some(record) = &ended {
        stop(record, force)?;
    }
    let held = if force { store.hold_to_remove(id)? } else { store.hold(id)? };
    let Some(held) = held else { return Ok(()) };
    // Whoever held it until now may have made it to the end, or another one of this name: it must not run on, unknown.
    let record = match store.load(id) {
        Err(e) if !force => return Err(e),
        Err(e) if e != absent() => {
            unknown(&held, id, e)?;
            None
        }
        loaded => loaded.ok(),
    };
    if let Some(record) = record.as_ref().filter(|record| ended.as_ref() != Some(record)) {
        stop(record, force)?;
    }
    forget(record.as_ref(), held, interrupt)
}

fn known(store: &Store, id: &ContainerId, force: bool) -> Result<Option<Record>> {
    match store.load(id) {
        Ok(record) => Ok(Some(record)),
        Err(e) if !force => Err(e),
        Err(_) => Ok(None),
    }
}

/// Its record names no process, and neither does the copy. Its cgroup is the one that its config.json asks for; whether that was made for
/// it, and everybody in there is the container's, nobody knows any more.
fn unknown(held: &Reserved, id: &ContainerId, garbled: Error) -> Result<()> {
    match cgroup(held, id).and_then(|plan| Cgroup::remove_empty(&plan)) {
        Some(busy) => {
            let what = format!("the record is garbled, and the container may go on in the cgroup `{}`", busy.display());
            Err(Error::new(what).at(format!("container {id}")).hint("end the processes there, and delete it again"))
        }
        None => {
            garbled.hint("processes of the container may go on").warn();
            Ok(())
        }
    }
}

/// The plan of its cgroup, if that can still be told.
fn cgroup(held: &Reserved, id: &ContainerId) -> Option<plan::cgroup::Plan> {
    let bundle = Bundle::recorded(&held.file(CONFIG), "/".into()).ok()?;
    let path = bundle.spec.linux().as_ref()?.cgroups_path().as_deref().map(|path| path.as_os_str().as_bytes());
    // The form that systemd's have (runc, "systemd cgroup driver").
    let systemd = path.is_some_and(|path| path.iter().filter(|byte| **byte == b':').count() == 2);
    let options =
        plan::Options { id: Some(id.to_string()), record: true, park: true, detach: true, systemd, ..Default::default() };
    let plan = super::planned(&bundle, &options).ok()?;
    plan.parent.into_iter().find_map(|step| if let ParentOp::Cgroup(plan) = step.op { Some(plan) } else { None })
}

/// Ends a container that is held, and forgets it.
pub(super) fn destroy(record: &Record, held: Reserved, interrupt: &Interrupt) -> Result<()> {
    stop(record, true)?;
    forget(Some(record), held, Some(interrupt))
}

fn forget(record: Option<&Record>, held: Reserved, interrupt: Option<&Interrupt>) -> Result<()> {
    if let Some(record) = record.filter(|record| record.late_hooks) {
        match Bundle::recorded(&record.config(), record.rootfs.clone()) {
            Ok(bundle) => poststop(record, &bundle, interrupt),
            Err(e) => e.hint("the container's poststop hooks do not run").warn(),
        }
    }
    held.remove()
}

/// Ends everybody in it: with PID 1 of a pid namespace of its own the kernel does, else its cgroup says who they are.
fn stop(record: &Record, force: bool) -> Result<()> {
    match record.status()? {
        status @ (Status::Running | Status::Paused) if !force => {
            return Err(Error::new(format!("cannot delete container {} that is not stopped: {status}", record.id)));
        }
        Status::Running | Status::Paused | Status::Created => kill(record)?,
        Status::Creating | Status::Stopped => {}
    }
    record.cgroup.as_ref().map_or(Ok(()), Cgroup::remove)?;
    record.resctrl.as_ref().map_or(Ok(()), Resctrl::remove)
}

fn kill(record: &Record) -> Result<()> {
    let process = match record.first_process() {
        // Ended by itself meanwhile.
        Err(_) if record.status()? == Status::Stopped => return Ok(()),
        process => process?,
    };
    match record.kill(Signal::KILL) {
        Err(_) if record.status()? == Status::Stopped => return Ok(()),
        killed => killed?,
    }
    if gone(process.as_fd(), MOMENT)? {
        return Ok(());
    }
    let released = record.members().and_then(|pids| cgroup::release(&pids));
    ended(process.as_fd(), record).map_err(|e| match released {
        Ok(()) => e,
        Err(why) => e.cause(why),
    })
}

fn gone(process: BorrowedFd, milliseconds: i32) -> Result<bool> {
    file::poll_for(process, milliseconds).map_err(|e| super::launch::setup("wait for the container's end", e))
}

/// Waits until the first process of a container that must end has ended.
pub(super) fn ended(process: BorrowedFd, record: &Record) -> Result<()> {
    match gone(process, PATIENCE)? {
        true => Ok(()),
        false => Err(Error::new(format!("container {} is still running 10 seconds after it was to end", record.id))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;
    use std::path::Path;
    use std::process::{Child, Command};

    fn running(store: &Store) -> (ContainerId, Child) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id: ContainerId = "a".parse().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let record = Record::new(id.clone(), Some(pid), Path::new("/b"), Path::new("/b/rootfs"), &Spec::default()).unwrap();
        store.reserve(&id).unwrap().save(&record).unwrap();
        (id, child)
    }

    #[test]
    fn a_running_container_is_deleted_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let (id, mut child) = running(&store);
        let said = |force| delete(&store, &id, force).unwrap_err().to_string();
        assert_eq!(said(false), "cannot delete container a that is not stopped: running");
        delete(&store, &id, true).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(said(false).starts_with("container does not exist"));
        delete(&store, &id, true).unwrap();
    }

    /// Every byte flipped and every length: nobody else is signalled, and by force the name is free again. Of a record whose copy is as bad
    /// nobody knows the process.
    #[test]
    fn a_record_that_was_changed_anywhere_reaches_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let (id, mut child) = running(&store);
        let record = store.load(&id).unwrap();
        let files = ["state.json", "state.json.copy"].map(|name| dir.path().join("a").join(name));
        let whole = std::fs::read(&files[0]).unwrap();
        let flipped = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
        for text in (0..whole.len()).flat_map(|at| [flipped(at), whole[..at].to_vec()]) {
            files.iter().for_each(|file| std::fs::write(file, &text).unwrap());
            // What it is sent does nothing to a process that does not ask for it.
            let killed = super::super::kill(&store, &id, "CONT".parse().unwrap(), false);
            let known = store.load(&id).is_ok_and(|found| (found.pid, found.start_time) == (record.pid, record.start_time));
            assert_eq!(killed.is_ok(), known, "{}", String::from_utf8_lossy(&text));
        }
        delete(&store, &id, false).unwrap_err();
        delete(&store, &id, true).unwrap();
        store.reserve(&id).unwrap();
        assert_eq!(child.try_wait().unwrap(), None, "it goes on, and the warning has said so");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_stopped_container_is_deleted_and_its_name_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path());
        let (id, mut child) = running(&store);
        child.kill().unwrap();
        child.wait().unwrap();
        delete(&store, &id, false).unwrap();
        store.reserve(&id).unwrap();
    }
}
