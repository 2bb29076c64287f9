//! Signal masks, signalfd(2) and waiting for signals.

use super::{Errno, Result, again, check, done, owned};
use std::os::fd::{BorrowedFd, OwnedFd};

/// SIGXFSZ, with EFBIG of the write(2) that asked for too much (setrlimit(2), RLIMIT_FSIZE).
pub const FILE_TOO_LARGE: i32 = libc::SIGXFSZ;

/// A set of signals.
#[derive(Clone, Copy)]
pub struct Set(libc::sigset_t);

impl Set {
    /// These alone.
    pub fn of(signals: &[i32]) -> Self {
        // SAFETY: `sigset_t` is plain data; the calls write only into it.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::sigemptyset(&raw mut set) };
        for signal in signals {
            // SAFETY: as above.
            unsafe { libc::sigaddset(&raw mut set, *signal) };
        }
        Set(set)
    }

    /// Every signal but these.
    pub fn all_but(signals: &[i32]) -> Self {
        // SAFETY: `sigset_t` is plain data; the calls write only into it.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::sigfillset(&raw mut set) };
        for signal in signals {
            // SAFETY: as above.
            unsafe { libc::sigdelset(&raw mut set, *signal) };
        }
        Set(set)
    }

    /// The others of them.
    pub fn without(mut self, signal: i32) -> Self {
        // SAFETY: the call writes only into the set, which is live.
        unsafe { libc::sigdelset(&raw mut self.0, signal) };
        self
    }
}

/// Blocks exactly `set`; the mask that was in force before.
pub fn set_mask(set: &Set) -> Result<Set> {
    let mut old = *set;
    // SAFETY: both sets are live.
    done(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set.0, &raw mut old.0) }.into())?;
    Ok(old)
}

/// Sets the disposition of `signal` to the default.
pub fn set_default(signal: i32) -> Result<()> {
    // SAFETY: SIG_DFL installs no handler.
    if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR { Err(Errno::last()) } else { Ok(()) }
}

/// Whether `signal` is ignored.
pub fn is_ignored(signal: i32) -> Result<bool> {
    // SAFETY: `struct sigaction` is plain data, valid when zeroed.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is changed, and `action` is live.
    done(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) }.into())?;
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// A handler that does nothing: the call that brings the signal about fails, and does not end us without a word. execve(2) puts back the
/// default; a signal that is ignored stays so.
pub fn survive(signal: i32) -> Result<()> {
    // SAFETY: `struct sigaction` is plain data, valid when zeroed.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags) = (nothing as extern "C" fn(libc::c_int) as usize, libc::SA_RESTART);
    let mut before = action;
    // SAFETY: both are live, and the handler touches nothing.
    done(unsafe { libc::sigaction(signal, &raw const action, &raw mut before) }.into())?;
    if before.sa_sigaction != libc::SIG_IGN {
        return Ok(());
    }
    // SAFETY: `before` is live, and as the kernel has told it.
    done(unsafe { libc::sigaction(signal, &raw const before, std::ptr::null_mut()) }.into())
}

extern "C" fn nothing(_: libc::c_int) {}

/// SIGALRM every so many milliseconds (0: no more), for no other reason than that a call which waits returns with EINTR. How many they were
/// before.
pub fn interrupt_every(milliseconds: u32) -> Result<u32> {
    // SAFETY: `struct sigaction` is plain data, valid when zeroed: no flags, so nothing is restarted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
    // SAFETY: `action` is live, and its handler touches nothing.
    done(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) }.into())?;
    let every = libc::timeval { tv_sec: (milliseconds / 1000).into(), tv_usec: (milliseconds % 1000 * 1000).into() };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    let mut before = timer;
    // SAFETY: both are live structs itimerval.
    done(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, &raw mut before) }.into())?;
    Ok((before.it_interval.tv_sec * 1000 + before.it_interval.tv_usec / 1000) as u32)
}

/// signalfd(2) for `set`, which must be blocked.
pub fn signalfd(set: &Set) -> Result<OwnedFd> {
    // SAFETY: the set is live.
    owned(unsafe { libc::signalfd(-1, &raw const set.0, libc::SFD_CLOEXEC) }.into())
}

/// The number of the next signal of a signalfd.
pub fn next(fd: BorrowedFd) -> Result<i32> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    super::file::read(fd, &mut info)?;
    Ok(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
}

/// Whether a signal is one by which a program is asked to end.
pub fn asks_to_end(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGQUIT)
}

/// sigwaitinfo(2): the next signal of `set`, which must be blocked.
pub fn wait(set: &Set) -> Result<i32> {
    // SAFETY: the set is live; no siginfo is asked for.
    again(|| check(unsafe { libc::sigwaitinfo(&raw const set.0, std::ptr::null_mut()) }.into())).map(|signal| signal as i32)
}
