//! A connect(2) that may wait: by a process of its own, so that the broker need not. It ends when its caller does, and gives up for a
//! signal that its caller has a handler for, as the call itself would.

use super::errno;
use crate::proc_status::ProcStatus;
use crate::sys::notify::{self, Asked};
use crate::sys::process::{self, Cloned, Pid};
use crate::sys::{Errno, Result, signal, socket};
use std::os::fd::BorrowedFd;

/// Milliseconds between two looks at the caller.
const LOOK: u32 = 20;
/// The kernel's word to itself, include/linux/errno.h: the handler says whether the call is made again or fails with EINTR. To be said only
/// to a thread that has a signal before it, which comes between the call and its return.
const ERESTARTSYS: i32 = 512;

/// Connects, and answers, in the background.
pub(super) fn connect(listener: BorrowedFd, asked: &Asked, socket: BorrowedFd, address: &[u8]) -> Result<()> {
    match process::clone(0)? {
        Cloned::Child => {
            let with = wait(listener, asked, socket, address).unwrap_or_else(|errno| Some(Err(errno as i32)));
            let told = with.map_or(Ok(()), |with| notify::answer(listener, asked.id, with));
            process::exit(told.is_err().into())
        }
        Cloned::Parent(..) => Ok(()),
    }
}

/// `None`: the caller is gone.
fn wait(
    listener: BorrowedFd,
    asked: &Asked,
    socket: BorrowedFd,
    address: &[u8],
) -> Result<Option<std::result::Result<i64, i32>>> {
    process::set_death_signal(libc::SIGKILL)?;
    signal::interrupt_every(LOOK)?;
    signal::set_mask(&signal::Set::all_but(&[libc::SIGALRM]))?;
    loop {
        match socket::connect_as_written(socket, address) {
            Err(Errno::EINTR) if !notify::still_waits(listener, asked.id)? => return Ok(None),
            Err(Errno::EINTR) if Status::of(asked.thread)?.is_interrupted() => return Ok(Some(Err(ERESTARTSYS))),
            Err(Errno::EINTR) => {}
            other => return Ok(Some(other.map(|()| 0).map_err(|errno| errno as i32))),
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
