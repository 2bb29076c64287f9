//! The id maps of the container, written from outside: by ourselves where we may, else by the programs that hand out what
//! /etc/subuid and /etc/subgid grant.

use super::interrupt::Interrupt;
use super::said::Said;
use super::{fault, granted, launch};
use crate::plan::ParentStep;
use crate::sys::pidfd::pidfd_open;
use crate::sys::process::Pid;
use crate::{Error, Result};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};

/// `lines` are as uid_map and gid_map take them.
pub(super) fn write(step: &ParentStep, pid: Pid, uid: &str, gid: &str, helper: bool, interrupt: &Interrupt) -> Result<()> {
    let at = |error: Error, list: &str| error.at(format!("config.json: linux.{list}"));
    if !helper {
        return launch::write_maps(pid, uid, gid).map_err(|e| {
            Error::new(format!("cannot {}", step.op)).at(format!("config.json: {}", step.origin)).cause(fault::describe(e))
        });
    }
    // The groups first: newgidmap(1) may have to deny setgroups(2) before.
    let lists = [("newgidmap", "/etc/subgid", gid, "gidMappings"), ("newuidmap", "/etc/subuid", uid, "uidMappings")];
    for (program, grants, lines, list) in lists {
        if let Some(refusal) = help(program, grants, pid, lines, interrupt).map_err(|e| at(e, list))? {
            let lacking = granted::lacking(uid, gid);
            let is_told = lacking.iter().any(|one| one.place.as_ref().is_some_and(|place| place.contains(list)));
            return Error::all((!is_told).then(|| at(refusal, list)).into_iter().chain(lacking));
        }
    }
    Ok(())
}

/// newuidmap(1), newgidmap(1), and what it says when it refuses.
fn help(program: &str, grants: &str, pid: Pid, lines: &str, interrupt: &Interrupt) -> Result<Option<Error>> {
    let cannot = |e: io::Error| Error::new(format!("cannot run `{program}`")).cause(e);
    let said = Said::new().map_err(|e| cannot(e.into()))?;
    let mut command = Command::new(program);
    command.arg(pid.to_string()).args(lines.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(said.again().map_err(|e| cannot(e.into()))?).spawn().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::new(format!("`{program}` is not installed, and an ordinary user needs it for these ids"))
            .hint("it comes with Debian's `uidmap`, elsewhere with `shadow-utils`"),
        _ => cannot(e),
    })?;
    if ended(child, interrupt).map_err(cannot)?.success() {
        return Ok(None);
    }
    let said = said.text().unwrap_or_default();
    let said = said.strip_prefix(program).map_or(said.as_str(), |rest| rest.trim_start_matches(':').trim());
    let refusal = Error::new(format!("`{program}` does not map these ids")).cause(said);
    Ok(Some(refusal.hint(format!("{grants} says which ids the user may have"))))
}

/// It asks whatever has the host's accounts, which may be far away; a signal ends the wait, and it. Though it is setuid it has the
/// caller's real user id, which is enough to kill it (kill(2)).
fn ended(mut child: Child, interrupt: &Interrupt) -> io::Result<ExitStatus> {
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let waited = pidfd_open(pid).and_then(|pidfd| interrupt.or_wait(Some(pidfd.as_fd()), -1));
    if waited.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    waited.map_err(io::Error::from).map(|_| status)
}
