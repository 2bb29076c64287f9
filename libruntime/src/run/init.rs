//! PID 1 of a sandbox: runs the command as its child, forwards signals to it, reaps, and with its own end ends the rest.

use crate::sys::process::{self, Cloned, Ended, Pid};
use crate::sys::{Result, file, signal};

/// Forks. The command's process returns and goes on with the list; PID 1 never does.
pub(super) fn fork() -> Result<()> {
    match process::clone(0)? {
        Cloned::Child => Ok(()),
        Cloned::Parent(command, _) => init(command),
    }
}

/// No descriptor of the host or of the caller stays open in PID 1: not even standard output, which would keep a reader waiting.
fn init(command: Pid) -> ! {
    if file::close_all_but([-1; 4]).is_err() {
        process::exit(1);
    }
    // With PID 1 the kernel ends whatever else still runs in the namespace (pid_namespaces(7)).
    process::exit(attend(command).map_or(1, |ended| ended.code().into()))
}

/// Forwards every signal to the command's process group and reaps whatever ends, until the command does.
fn attend(command: Pid) -> Option<Ended> {
    // All are blocked since before the clone, so none that was sent meanwhile is lost.
    let all = signal::Set::all_but(&[]);
    loop {
        match signal::wait(&all) {
            Ok(libc::SIGCHLD) => {
                if let Some(ended) = reap(command) {
                    return Some(ended);
                }
            }
            Ok(signal) => forward(command, signal),
            Err(_) => return None,
        }
    }
}

/// To the group once the command leads one (setsid comes right after the fork), else to the command.
fn forward(command: Pid, signal: i32) {
    if process::kill(-command, signal).is_err() {
        let _ = process::kill(command, signal);
    }
}

fn reap(command: Pid) -> Option<Ended> {
    let mut found = None;
    while let Ok(Some((pid, ended))) = process::wait(-1, libc::WNOHANG) {
        if pid == command {
            found = Some(ended);
        }
    }
    found
}
