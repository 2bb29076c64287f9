//! PID 1 of a sandbox: runs the command as its child, forwards signals to it, reaps, and with its own end ends the rest.

use super::child::Child;
use super::fault::{Column, Fault};
use crate::sys::process::{self, Ended, Pid};
use crate::sys::{Result, file, signal};
use std::os::fd::{AsFd, AsRawFd};

/// Starts the command's process, which goes on with the list. It borrows our memory until it executes, and we sleep; PID 1 never
/// comes back.
pub(super) fn fork(child: &mut Child) -> Result<()> {
    // What the terminal sends to its foreground group (Ctrl-C) reaches codexrun, which forwards it: not us a second time.
    process::setsid()?;
    // What is forwarded is blocked since before the clone, so none that was sent meanwhile is lost. SIGCONT was not, and would be ignored.
    signal::set_mask(&signal::Set::all_but(&[]))?;
    let mut stack = std::mem::take(&mut child.stack);
    // The command's process counts on.
    let step = child.step;
    let command = process::clone_shared(&mut stack, go_on, child)?;
    init(child, step, command)
}

fn go_on(child: &mut Child) -> i32 {
    child.step += 1;
    child.walk()
}

/// No descriptor of the host or of the caller stays open in PID 1: not even standard output, which would keep a reader waiting.
fn init(child: &Child, step: u16, command: Pid) -> ! {
    let ended = child.ended.as_ref();
    let faults = child.faults.as_fd();
    let kept = [ended.map_or(-1, |fd| fd.as_raw_fd()), faults.as_raw_fd(), -1, -1];
    // Faults go last, so that there is a way to tell what failed before; that they are closed says that nothing did.
    if let Err(errno) = file::close_all_but(kept).and_then(|()| file::close_copy(faults)) {
        Fault { column: Column::Child, step, errno: errno as i32 }.send(faults);
        process::exit(1);
    }
    let code = attend(command).map_or(1, |ended| ended.code().into());
    if let Some(ended) = ended {
        end_the_rest();
        // A keeper that was killed does not listen.
        let _ = file::write_all(ended.as_fd(), b"e");
    }
    // With PID 1 the kernel ends whatever else still runs in the namespace (pid_namespaces(7)).
    process::exit(code)
}

/// So that the keeper can do its part while the kernel takes the namespaces down.
fn end_the_rest() {
    let _ = process::kill(-1, libc::SIGKILL);
    while let Ok(Some(_)) = process::wait(-1, 0) {}
}

/// Forwards every signal to the command's process group and reaps whatever ends, until the command does.
fn attend(command: Pid) -> Option<Ended> {
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

/// To the group once the command leads one (setsid comes right after the fork), else to the command. When codexrun is stopped everything
/// stands still, until it goes on: also who has left the group could read the terminal.
fn forward(command: Pid, number: i32) {
    let all = match number {
        libc::SIGTSTP => Some(libc::SIGSTOP),
        libc::SIGCONT => Some(libc::SIGCONT),
        _ => None,
    };
    match all {
        // Who has just ended needs none.
        Some(number) => drop(process::kill(-1, number)),
        None => send(command, number),
    }
    if signal::asks_to_end(number) {
        // Who stands still hears it only when it goes on.
        send(command, libc::SIGCONT);
    }
}

fn send(command: Pid, number: i32) {
    if process::kill(-command, number).is_err() {
        let _ = process::kill(command, number);
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
