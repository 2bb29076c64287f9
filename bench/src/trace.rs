//! Counts system calls with strace, in all processes of a contender.

use crate::contender::Contender;
use std::path::Path;
use std::process::{Command, Stdio};

/// System calls of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Those begun before the payload's own first instruction, its execve included.
    pub before: usize,
    /// All, the payload's own included.
    pub total: usize,
}

/// Runs `contender` once under strace; None if there is no strace or it may not trace.
pub fn count(contender: &Contender, scratch: &Path) -> Option<Calls> {
    let log = scratch.join("strace");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-s", "0", "-e", "signal=none", "-o"]).arg(&log).args(&contender.argv);
    traced.current_dir(&contender.cwd).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    traced.status().ok().filter(|s| s.success())?;
    Some(read(&std::fs::read_to_string(&log).ok()?))
}

/// The last execve that succeeded is the payload's: nothing here runs a program after it.
fn read(log: &str) -> Calls {
    let (mut total, mut before) = (0, 0);
    for line in log.lines() {
        let call = line.split_once(' ').map_or("", |(_pid, call)| call.trim_start());
        if is_call(call) {
            total += 1;
        }
        let name = call.strip_prefix("<... ").unwrap_or(call);
        if name.starts_with("execve") && call.ends_with("= 0") {
            // Calls of other processes may lie between the halves of a split line; they too came before.
            before = total;
        }
    }
    Calls { before, total }
}

/// Not a resumed half, not a signal (`---`), not an end (`+++`).
fn is_call(text: &str) -> bool {
    let name = text.split('(').next().unwrap_or_default();
    text.contains('(') && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_count_once_and_signals_not_at_all() {
        let log = "7 execve(\"\", [], 0x7ffe) = 0\n7 clone3({}, 88) = 8\n8 execve(\"\"..., [] <unfinished ...>\n\
                   7 wait4(8,  <unfinished ...>\n8 <... execve resumed>) = 0\n8 brk(NULL) = 0x1\n8 +++ exited with 0 +++\n\
                   7 <... wait4 resumed>) = 8\n7 --- SIGCHLD {} ---\n7 exit_group(0) = ?\n";
        assert_eq!(read(log), Calls { before: 4, total: 6 });
    }

    #[test]
    fn a_failed_execve_is_not_the_payload() {
        let log = "7 execve(\"\", [], 0x7ffe) = 0\n7 brk(NULL) = 0x1\n7 execve(\"\", [], 0x7ffe) = -1 ENOENT (No such file)\n";
        assert_eq!(read(log), Calls { before: 1, total: 3 });
    }
}
