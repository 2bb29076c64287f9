//! What std cannot do. The only `unsafe` of this binary.
#![allow(unsafe_code)]

use nix::sys::ptrace;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// PTRACE_TRACEME (ptrace(2)): the command stops when it has executed.
pub fn traced(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and execve this is one system call; nothing is allocated.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) }
}
