//! What happens amid a restore: `prestart` and `createRuntime` hooks run when criu has made the namespaces and nothing is in them yet,
//! and the last word is ours before the processes go on. criu then executes a program and waits for it (`--action-script`); ours is a
//! script in memory that asks us, by pipes, and hands on our answer.

use super::super::interrupt::Interrupt;
use super::super::launch::setup;
use crate::sys::{Errno, file};
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The script, and our ends of its pipes. The other ends stay open too: the script opens them by name.
pub(super) struct Script {
    text: OwnedFd,
    questions: OwnedFd,
    answers: OwnedFd,
    _theirs: [OwnedFd; 2],
}

const WELL: &[u8] = b"well\n";
const ILL: &[u8] = b"ill\n";

impl Script {
    pub fn new() -> Result<Script> {
        let cannot = |e| setup("prepare the hooks", e);
        let (questions, asks) = file::pipe().map_err(cannot)?;
        let (hears, answers) = file::pipe().map_err(cannot)?;
        let memory = file::memory(c"hooks").map_err(cannot)?;
        let text = text(&ours(&asks), &ours(&hears));
        file::write_all(memory.as_fd(), text.as_bytes()).map_err(cannot)?;
        // A file that somebody may write to cannot be executed (ETXTBSY).
        let text = File::open(ours(&memory)).map_err(|e| Error::new("cannot prepare the hooks").cause(e))?;
        Ok(Script { text: text.into(), questions, answers, _theirs: [asks, hears] })
    }

    /// What criu is told.
    pub fn path(&self) -> OsString {
        ours(&self.text).into()
    }

    /// Reads the question and hands on the answer, if that can be done.
    fn answer(&self, answer: &mut impl FnMut(Moment, i32) -> Result<()>) -> Result<Result<()>> {
        let mut buffer = [0; 64];
        let n = file::read(self.questions.as_fd(), &mut buffer).map_err(cannot)?;
        let answered = question(&buffer[..n]).and_then(|(moment, pid)| answer(moment, pid));
        file::write_all(self.answers.as_fd(), if answered.is_ok() { WELL } else { ILL }).map_err(cannot)?;
        Ok(answered)
    }
}

/// Answers when criu asks, if it was told to, at a moment and with the number of the container's first process; returns when criu has
/// ended. The first failure is what comes of it.
///
/// # Errors
/// That failure; or a signal came, or criu cannot be answered: then it goes on.
pub(super) fn serve(
    script: Option<&Script>,
    criu: BorrowedFd,
    interrupt: &Interrupt,
    mut answer: impl FnMut(Moment, i32) -> Result<()>,
) -> Result<()> {
    let mut failed = Ok(());
    loop {
        let questions = script.map(|script| script.questions.as_fd());
        match (interrupt.or_either([Some(criu), questions], -1).map_err(cannot)?, script) {
            ([_, true], Some(script)) => failed = failed.and(script.answer(&mut answer)?),
            ([true, _], _) => return failed,
            _ => {}
        }
    }
}

fn cannot(errno: Errno) -> Error {
    setup("wait for criu", errno)
}

/// When criu asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The namespaces are there, and nothing is in them.
    Namespaces,
    /// The processes are there, and stand still.
    Processes,
}

#[cfg(fuzzing)]
impl Moment {
    pub(crate) fn word(self) -> &'static str {
        MOMENTS.iter().find(|(_, moment)| *moment == self).map_or("", |(word, _)| word)
    }
}

/// criu's words for them.
const MOMENTS: &[(&str, Moment)] = &[("setup-namespaces", Moment::Namespaces), ("pre-resume", Moment::Processes)];

/// As any process finds it, while we live.
fn ours(fd: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd())
}

/// One line. A number that is none of a process's would be a process group to kill(2), or everybody.
pub(crate) fn question(text: &[u8]) -> Result<(Moment, i32)> {
    let words = std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix('\n')?.split_once(' '));
    let understood = words.and_then(|(word, pid)| {
        let (_, moment) = MOMENTS.iter().find(|(name, _)| *name == word)?;
        Some((*moment, pid.parse().ok().filter(|number| *number > 0 && pid.starts_with(|c: char| c.is_ascii_digit()))?))
    });
    understood.ok_or_else(|| Error::new("criu does not say which process it has made"))
}

fn text(asks: &str, hears: &str) -> String {
    let wanted = MOMENTS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("|");
    format!(
        "#!/bin/sh\ncase $CRTOOLS_SCRIPT_ACTION in {wanted}) ;; *) exit 0 ;; esac\n\
         echo \"$CRTOOLS_SCRIPT_ACTION $CRTOOLS_INIT_PID\" >{asks}\nread -r said <{hears}\ntest \"$said\" = well\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pidfd::pidfd_open;
    use std::process::Command;

    /// Whether the script was content, and what it asked for.
    fn play(action: &str, answer: Result<()>) -> (bool, Vec<(Moment, i32)>, Result<()>) {
        let script = Script::new().unwrap();
        let mut command = Command::new(script.path());
        let mut child = command.env("CRTOOLS_SCRIPT_ACTION", action).env("CRTOOLS_INIT_PID", "77").spawn().unwrap();
        let pidfd = pidfd_open(nix::unistd::Pid::from_raw(child.id().cast_signed())).unwrap();
        let mut asked = Vec::new();
        let served = serve(Some(&script), pidfd.as_fd(), &Interrupt::default(), |moment, pid| {
            asked.push((moment, pid));
            answer.clone()
        });
        (child.wait().unwrap().success(), asked, served)
    }

    /// kill(2) of -1 would be of everybody.
    #[test]
    fn a_question_is_one_whole_line_about_one_process() {
        assert_eq!(question(b"pre-resume 77\n"), Ok((Moment::Processes, 77)));
        for garbled in [
            "pre-resume -1\n",
            "pre-resume 0\n",
            "pre-resume +7\n",
            "pre-resume 77",
            "pre-resume  77\n",
            " pre-resume 77\n",
            "post-resume 77\n",
            "pre-resume\n",
            "",
        ] {
            assert!(question(garbled.as_bytes()).is_err(), "{garbled:?}");
        }
    }

    #[test]
    fn hooks_run_once_the_namespaces_are_there_and_their_failure_stops_criu() {
        assert_eq!(play("pre-restore", Ok(())), (true, vec![], Ok(())));
        assert_eq!(play("pre-resume", Ok(())), (true, vec![(Moment::Processes, 77)], Ok(())));
        let ill = Error::new("ill");
        assert_eq!(play("setup-namespaces", Err(ill.clone())), (false, vec![(Moment::Namespaces, 77)], Err(ill)));
    }
}
