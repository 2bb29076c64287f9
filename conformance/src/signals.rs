//! What the commands of the cases inherit of signals: none is ignored, whoever has started the suite.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::Once;

/// Catches what is ignored, by doing nothing. execve(2) keeps a signal ignored, and makes one that was caught what it is by default: so
/// nohup(1) and the background of a shell end here, and the suite itself is as deaf as it was told to be.
pub fn heard_below() {
    static DONE: Once = Once::new();
    DONE.call_once(|| Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)).for_each(catch_if_ignored));
}

#[allow(unsafe_code)]
fn catch_if_ignored(signal: Signal) {
    extern "C" fn nothing(_: i32) {}
    let caught = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler touches nothing.
    let before = unsafe { sigaction(signal, &caught) };
    if let Ok(before) = before
        && !matches!(before.handler(), SigHandler::SigIgn)
    {
        // SAFETY: what was there is there again.
        let _ = unsafe { sigaction(signal, &before) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn what_the_suite_was_told_to_ignore_ends_a_command() {
        let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        let ended = || {
            let kill = std::process::Command::new("/bin/sh").args(["-c", "kill -USR2 $$"]).status();
            kill.unwrap().signal()
        };
        #[allow(unsafe_code)]
        // SAFETY: nothing is called.
        unsafe { sigaction(Signal::SIGUSR2, &ignored) }.unwrap();
        assert_eq!(ended(), None);
        catch_if_ignored(Signal::SIGUSR2);
        assert_eq!(ended(), Some(libc::SIGUSR2));
    }
}
