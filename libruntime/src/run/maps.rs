//! The id maps of the container, written from outside: by ourselves where we may, else by the programs that hand out what
//! /etc/subuid and /etc/subgid grant.

use super::{fault, launch};
use crate::plan::ParentStep;
use crate::sys::process::Pid;
use crate::{Error, Result};
use std::process::{Command, Stdio};

/// `lines` are as uid_map and gid_map take them.
pub(super) fn write(step: &ParentStep, pid: Pid, uid: &str, gid: &str, helper: bool) -> Result<()> {
    let at = |error: Error, list: &str| error.at(format!("config.json: linux.{list}"));
    if !helper {
        return launch::write_maps(pid, uid, gid).map_err(|e| {
            Error::new(format!("cannot {}", step.op)).at(format!("config.json: {}", step.origin)).cause(fault::describe(e))
        });
    }
    // The groups first: newgidmap(1) may have to deny setgroups(2) before.
    help("newgidmap", "/etc/subgid", pid, gid).map_err(|e| at(e, "gidMappings"))?;
    help("newuidmap", "/etc/subuid", pid, uid).map_err(|e| at(e, "uidMappings"))
}

/// newuidmap(1), newgidmap(1).
fn help(program: &str, grants: &str, pid: Pid, lines: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).args(lines.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(format!("`{program}` is not installed, and an ordinary user needs it for these ids"))
                .hint("it comes with Debian's `uidmap`, elsewhere with `shadow-utils`")
        }
        _ => Error::new(format!("cannot run `{program}`")).cause(e),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().strip_prefix(program).map_or(said.trim(), |rest| rest.trim_start_matches(':').trim());
    Err(Error::new(format!("`{program}` does not map these ids"))
        .cause(said)
        .hint(format!("{grants} says which ids the user may have")))
}
