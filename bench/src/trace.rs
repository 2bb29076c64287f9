//! Counts system calls with strace, in all processes of a contender.

use crate::contender::{Contender, Step};
use crate::round::{command, round};
use std::io::{PipeReader, Read, Result};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// System calls of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Those begun before the payload's own first instruction, its execve included.
    pub before: usize,
    /// All, the payload's own included.
    pub total: usize,
}

/// Odd, for a median that was seen: who finds what it waits for already there makes fewer calls.
const RUNS: usize = 5;

/// Runs `contender` under strace; None if there is no strace or it may not trace.
pub fn count(contender: &Contender, scratch: &Path) -> Option<Calls> {
    let mut seen = (0..RUNS).map(|_| once(contender, scratch)).collect::<Option<Vec<Calls>>>()?;
    seen.sort_by_key(|calls| calls.total);
    Some(seen[RUNS / 2])
}

fn once(contender: &Contender, scratch: &Path) -> Option<Calls> {
    let mut traces = Vec::new();
    round(contender, |step| {
        let (status, trace) = Trace::run(step, &contender.cwd, scratch.join(format!("strace.{}", traces.len())))?;
        traces.push(trace);
        Ok(status)
    })
    .ok()?;
    let calls: Result<Vec<Calls>> = traces.into_iter().map(Trace::read).collect();
    Some(sum(&contender.steps, &calls.ok()?))
}

/// What strace writes while a step, and whatever that leaves behind, runs.
struct Trace {
    log: PathBuf,
    /// The tracer's standard error: it ends when the tracer does.
    tracer: PipeReader,
}

impl Trace {
    /// `-D`: the tracer is not the parent, so `create` returns although the payload it leaves is still being traced.
    fn run(step: &Step, cwd: &Path, log: PathBuf) -> Result<(ExitStatus, Trace)> {
        let (tracer, stderr) = std::io::pipe()?;
        let mut argv = crate::shape::words("strace -D -f -qq -s 0 -e signal=none -o");
        argv.push(log.clone().into());
        argv.extend_from_slice(&step.argv);
        let status = command(&argv, cwd).stderr(stderr).status()?;
        Ok((status, Trace { log, tracer }))
    }

    fn read(mut self) -> Result<Calls> {
        self.tracer.read_to_end(&mut Vec::new())?;
        Ok(read(&std::fs::read_to_string(&self.log)?))
    }
}

/// The first step's processes include the payload; the calls of all others, up to the one that lets it go, come before it too.
fn sum(steps: &[Step], calls: &[Calls]) -> Calls {
    let release = steps.iter().position(|step| step.payload.is_some()).unwrap_or(0);
    let total = |calls: &[Calls]| calls.iter().map(|c| c.total).sum::<usize>();
    let after = calls.first().map_or(0, |first| first.total - first.before);
    Calls { before: total(&calls[..=release]) - after, total: total(calls) }
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
    fn what_lets_the_payload_go_comes_before_it_and_what_forgets_it_does_not() {
        let calls = [(40, 50), (1, 20), (1, 7)].map(|(before, total)| Calls { before, total });
        let mut steps = [(); 3].map(|()| Step::new(Vec::new()));
        steps[1].payload = Some("pid".into());
        assert_eq!(sum(&steps, &calls), Calls { before: 60, total: 77 });
        assert_eq!(sum(&steps[..1], &calls[..1]), calls[0]);
    }

    #[test]
    fn a_failed_execve_is_not_the_payload() {
        let log = "7 execve(\"\", [], 0x7ffe) = 0\n7 brk(NULL) = 0x1\n7 execve(\"\", [], 0x7ffe) = -1 ENOENT (No such file)\n";
        assert_eq!(read(log), Calls { before: 1, total: 3 });
    }
}
