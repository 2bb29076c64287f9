//! A call that may wait: by a process of its own, so that the broker need not. It ends when its caller does, and gives up for a signal that
//! its caller has a handler for, as the call itself would.

use super::call::{Answer, Call};
use super::{Office, errno};
use crate::proc_status::ProcStatus;
use crate::sys::notify;
use crate::sys::process::{self, Cloned, Ended, Pid};
use crate::sys::{Errno, Result, signal, socket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

/// Milliseconds between two looks at the caller, at least.
const LOOK: u32 = 20;
/// Processes that may wait at a time.
const MOST: usize = 1024;
/// Bytes that they may hold of messages: neither is counted to the sandbox's cgroup.
const HELD: usize = 32 << 20;
/// The kernel's word to itself, include/linux/errno.h: the handler says whether the call is made again or fails with EINTR. To be said only
/// to a thread that has a signal before it, which comes between the call and its return.
const ERESTARTSYS: i32 = 512;

/// A process that waits, and for which call.
pub(super) struct Waiter {
    process: Pid,
    listener: Rc<OwnedFd>,
    id: u64,
    bytes: usize,
}

/// How long the caller's socket lets a call wait, and what the call says when that is over.
pub(super) struct Limit {
    until: Option<Instant>,
    says: Errno,
}

impl Limit {
    /// SO_SNDTIMEO, from now on.
    pub fn of(socket: BorrowedFd, says: Errno) -> Result<Limit> {
        let until = socket::send_timeout(socket)?.and_then(|limit| Instant::now().checked_add(limit));
        Ok(Limit { until, says })
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// A call with a limit is not made again after a handler (signal(7)).
    fn interrupted(&self) -> i32 {
        if self.until.is_some() { Errno::EINTR as i32 } else { ERESTARTSYS }
    }
}

impl Office {
    /// Does `work` in the background until it no longer says EINTR; of what it does by and by it counts how much is done. `finish` makes of
    /// that what the call returns. `bytes` are held meanwhile. The sandbox's threads are limited by its cgroup, the processes that wait for them are not in it.
    pub(super) fn patiently(
        &self,
        call: &Call,
        bytes: usize,
        limit: &Limit,
        work: impl FnMut(&mut i64) -> Result<i64>,
        finish: impl FnOnce(i64) -> Result<i64>,
    ) -> Result<Answer> {
        self.bury()?;
        let (waiting, held) = self.waiting.borrow().iter().fold((0, 0), |(n, held), waiter| (n + 1, held + waiter.bytes));
        if waiting >= MOST || held + bytes > HELD {
            return Err(Errno::EAGAIN);
        }
        match process::clone(0)? {
            Cloned::Child => {
                let with = match wait(call, LOOK.max(waiting as u32), limit, work) {
                    Ok(None) => process::exit(0),
                    Ok(Some(Ok(done))) => finish(done).map_err(|errno| errno as i32),
                    Ok(Some(Err(number))) => Err(number),
                    Err(errno) => Err(errno as i32),
                };
                process::exit(call.say(with).is_err().into())
            }
            Cloned::Parent(process, _) => {
                let waiter = Waiter { process, listener: Rc::clone(call.listener), id: call.asked.id, bytes };
                self.waiting.borrow_mut().push(waiter);
            }
        }
        Ok(Answer::Given)
    }

    /// Answers for those that have been killed: nobody else would.
    pub(super) fn bury(&self) -> Result<()> {
        while let Ok(Some((ended, how))) = process::wait(-1, libc::WNOHANG) {
            let mut waiting = self.waiting.borrow_mut();
            let Some(at) = waiting.iter().position(|waiter| waiter.process == ended) else { continue };
            let waiter = waiting.swap_remove(at);
            if how != Ended::Exited(0) {
                match notify::answer(waiter.listener.as_fd(), waiter.id, Err(Errno::ENOSYS as i32)) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }
}

/// `None`: the caller is gone. The more wait, the less often each looks.
fn wait(
    call: &Call,
    look: u32,
    limit: &Limit,
    mut work: impl FnMut(&mut i64) -> Result<i64>,
) -> Result<Option<std::result::Result<i64, i32>>> {
    process::set_death_signal(libc::SIGKILL)?;
    signal::interrupt_every(look)?;
    let mut done = 0;
    loop {
        match work(&mut done) {
            Err(Errno::EINTR) if !call.still_waits()? => return Ok(None),
            Err(Errno::EINTR) if !limit.is_over() && !Status::of(call.asked.thread)?.is_interrupted() => {}
            Err(_) if done > 0 => return Ok(Some(Ok(done))),
            Err(Errno::EINTR) if limit.is_over() => return Ok(Some(Err(limit.says as i32))),
            Err(Errno::EINTR) => return Ok(Some(Err(limit.interrupted()))),
            other => return Ok(Some(other.map_err(|errno| errno as i32))),
        }
    }
}

/// A thread and its signals.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Of which process it is.
    pub process: Pid,
    threads: u64,
    /// Bit n for signal n + 1.
    pending: u64,
    pending_for_all: u64,
    blocked: u64,
    caught: u64,
}

impl Status {
    pub fn of(thread: Pid) -> Result<Status> {
        let told = ProcStatus::of(thread).map_err(errno)?;
        Status::from(&told).ok_or(Errno::EPROTO)
    }

    fn from(told: &ProcStatus) -> Option<Status> {
        Some(Status {
            process: told.field("Tgid")?.parse().ok()?,
            threads: told.field("Threads")?.parse().ok()?,
            pending: told.set("SigPnd")?,
            pending_for_all: told.set("ShdPnd")?,
            blocked: told.set("SigBlk")?,
            caught: told.set("SigCgt")?,
        })
    }

    /// Whether a handler of this very thread will run. A signal of the process may be another thread's to handle.
    fn is_interrupted(&self) -> bool {
        let for_all = if self.threads == 1 { self.pending_for_all } else { 0 };
        (self.pending | for_all) & self.caught & !self.blocked != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn who_calls_itself_by_bytes_that_are_no_utf_8_may_connect_too() {
        let script = "printf '\\377' >/proc/$$/comm; echo; read word";
        let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let pid = Pid::try_from(child.id()).unwrap();
        assert_eq!(Status::of(pid).map(|status| status.process), Ok(pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_signal_interrupts_the_thread_that_will_handle_it() {
        let status = |threads: &str, own: &str, all: &str, blocked: &str, caught: &str| {
            let text =
                format!("Tgid:\t7\nThreads:\t{threads}\nSigPnd:\t{own}\nShdPnd:\t{all}\nSigBlk:\t{blocked}\nSigCgt:\t{caught}\n");
            Status::from(&ProcStatus(text)).unwrap().is_interrupted()
        };
        assert!(
            status("1", "2000", "0", "0", "2000")
                && status("9", "2000", "0", "0", "2000")
                && status("1", "0", "2000", "0", "2000")
        );
        assert!(!status("2", "0", "2000", "0", "2000"), "perhaps of another thread");
        assert!(!status("1", "2000", "0", "2000", "2000"), "blocked");
        assert!(!status("1", "2000", "0", "0", "1000"), "no handler");
        assert_eq!(Status::from(&ProcStatus("Tgid:\tx\n".into())), None);
        assert_eq!(Status::of(std::process::id() as Pid).unwrap().process, std::process::id() as Pid);
    }
}
