//! What the parent holds of a container while it is brought up and followed: its process, its socket, its keeper.

use super::broker::BrokerProcess;
use super::fault::Fault;
use super::interrupt::Interrupt;
use super::launch::setup;
use super::netdevice::Abroad;
use super::relay::Relay;
use super::said::Said;
use super::{fault, keeper};
use crate::plan::op::Sync;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::process::{self, Ended, Pid};
use crate::sys::{Errno, Result as SysResult, file};
use crate::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// How many milliseconds lie between two looks at who does not die.
const PAUSE: i32 = 50;

/// What the parent holds while the container lives.
pub(super) struct Container {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub gate: OwnedFd,
    pub faults: OwnedFd,
    /// Only until the keeper has been forked: the pipe must end with the last who can fail.
    pub fault_writer: Option<OwnedFd>,
    /// For the keeper.
    pub ended: Option<OwnedFd>,
    pub keeper: Option<KeeperProcess>,
    pub master: Option<OwnedFd>,
    /// Its standard streams that are Unix sockets of the caller's.
    pub relay: Option<Relay>,
    /// Who answers for its Unix sockets.
    pub broker: BrokerProcess,
    /// What the seccomp agent is told, to be written.
    pub introduction: Option<OwnedFd>,
    /// What hooks of the bridge say inside.
    pub said: Option<Said>,
    /// Network devices of the host that are its own until it has ended.
    pub abroad: Option<Abroad>,
    /// It has ended while it was waited for.
    pub gone: bool,
    /// Its startContainer hooks have ended.
    pub hooked: bool,
    /// The fault that has been read.
    pub fault: Option<Fault>,
}

pub(super) struct KeeperProcess {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub paths: Vec<PathBuf>,
    pub ended: bool,
}

impl KeeperProcess {
    /// SIGCHLD: a keeper that ends before the container has failed, or was killed; its names are then ours to remove.
    pub fn failed(&mut self) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        let Ok(Some((_, how))) = process::wait(self.pid, libc::WNOHANG) else { return Ok(()) };
        self.ended = true;
        match how {
            // Init has told it that the sandbox has ended, a moment before we hear of it.
            Ended::Exited(0 | keeper::LEFT) => Ok(()),
            // Without one the placeholders' locks are gone, and with them the protection.
            // 1: it has said what before.
            Ended::Exited(errno @ 2..) => {
                let what = Error::new("the keeper of placeholders cannot wait for the sandbox's end");
                Err(what.at(fault::place_of_keeper()).cause(fault::describe(Errno::from_raw(errno))))
            }
            _ => Err(Error::new(format!("the keeper of placeholders was ended ({how:?})")).at(fault::place_of_keeper())),
        }
    }
}

/// Who has joined, by its message.
///
/// # Errors
/// EPIPE: there is none. EPROTO: it is another one.
pub fn sibling(message: &[u8]) -> SysResult<Pid> {
    match message {
        [] => Err(Errno::EPIPE),
        [word, pid @ ..] if *word == Sync::Joined as u8 => {
            pid.try_into().map(Pid::from_ne_bytes).ok().filter(|pid| *pid > 0).ok_or(Errno::EPROTO)
        }
        _ => Err(Errno::EPROTO),
    }
}

impl Container {
    /// As it is right after the clone.
    pub fn new(pid: Pid, pidfd: OwnedFd, gate: OwnedFd, faults: OwnedFd, fault_writer: OwnedFd, ended: Option<OwnedFd>) -> Self {
        let fault_writer = Some(fault_writer);
        let (keeper, master, relay, introduction, broker) = (None, None, None, None, BrokerProcess::None);
        let (said, abroad, gone, hooked) = (None, None, false, false);
        Container {
            pid,
            pidfd,
            gate,
            faults,
            fault_writer,
            ended,
            keeper,
            master,
            relay,
            broker,
            introduction,
            said,
            abroad,
            gone,
            hooked,
            fault: None,
        }
    }

    /// What came of a word with the child: whether it has ended, killed perhaps with a word of ours unread, shows here.
    pub fn hear<T>(&mut self, spoken: SysResult<T>) -> SysResult<T> {
        self.gone = matches!(spoken, Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ESRCH));
        spoken
    }

    /// Waits for the child's byte; the terminal may come first.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET: the child has ended. ECHILD: the keeper has, for whose word the child may wait.
    pub fn expect(&mut self, sync: Sync, interrupt: &Interrupt) -> SysResult<()> {
        loop {
            let keeper = self.keeper.as_ref().map(|keeper| keeper.pidfd.as_fd());
            if let [false, _] = interrupt.or_either([Some(self.gate.as_fd()), keeper], -1)? {
                return Err(Errno::ECHILD);
            }
            match file::receive(self.gate.as_fd())? {
                Some((byte, Some(fd))) if byte == Sync::Console as u8 => self.master = Some(fd),
                Some((byte, None)) if byte == sync as u8 => return Ok(()),
                Some(_) => return Err(Errno::EPROTO),
                None => return Err(Errno::EPIPE),
            }
        }
    }

    /// Sends the child the byte that it waits for.
    ///
    /// # Errors
    /// EPIPE, ECONNRESET: the child has ended.
    pub fn tell(&self, sync: Sync) -> SysResult<()> {
        file::tell(self.gate.as_fd(), &[sync as u8])
    }

    /// The process that joined a pid namespace: a sibling of the one that we made, which has done its part.
    ///
    /// # Errors
    /// EPIPE, ESRCH: one of the two has ended.
    pub fn joined(&mut self, interrupt: &Interrupt) -> SysResult<()> {
        if let [false, _] = interrupt.or_either([Some(self.gate.as_fd()), Some(self.pidfd.as_fd())], -1)? {
            // It was killed before it could tell.
            return Err(Errno::ESRCH);
        }
        let mut message = [0; 5];
        let length = file::read(self.gate.as_fd(), &mut message)?;
        let pid = sibling(&message[..length])?;
        let pidfd = pidfd_open(nix::unistd::Pid::from_raw(pid))?;
        process::wait(self.pid, 0)?;
        (self.pid, self.pidfd) = (pid, pidfd);
        Ok(())
    }

    /// What the keeper died of, if that is why the child cannot be waited for.
    pub fn blame(&mut self, error: Error) -> Error {
        let Some(why) = self.keeper.as_mut().and_then(|keeper| keeper.failed().err()) else { return error };
        self.gone = false;
        why
    }

    /// The error of a hook of the bridge that failed, which has said why.
    pub fn heard(&self, error: Error) -> Error {
        match self.said.as_ref().and_then(Said::text).filter(|_| error.cause.is_none()) {
            Some(why) => error.cause(why),
            None => error,
        }
    }

    /// Its end; `kill` brings it about.
    ///
    /// # Errors
    /// ETIME: it has been killed and is `paused` (version 1), so that it dies only when it is resumed.
    pub fn end(&self, kill: bool, paused: impl Fn() -> bool) -> SysResult<Ended> {
        if kill {
            // ESRCH: it has ended by itself.
            let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
            while !file::poll_for(self.pidfd.as_fd(), PAUSE)? {
                if paused() {
                    return Err(Errno::ETIME);
                }
            }
        }
        process::wait(self.pid, 0)?.map(|(_, ended)| ended).ok_or(Errno::ECHILD)
    }

    /// It has ended: what it has said is delivered, but for who has no time.
    pub fn last_words(&mut self, hurried: bool) -> Result<()> {
        let Some(mut relay) = self.relay.take() else { return Ok(()) };
        if hurried {
            relay.hurry();
        }
        relay.last_words().map_err(|e| setup("relay what the process has said", e))
    }

    /// The keeper sees the end by itself; what one that was killed or could not has left is removed here.
    pub fn end_keeper(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        if keeper.ended || !matches!(process::wait(keeper.pid, 0), Ok(Some((_, Ended::Exited(0))))) {
            for (path, errno) in keeper::release_all(&keeper.paths) {
                let what = Error::new(format!("the placeholder `{}` stays", path.display())).at(fault::place_of_keeper());
                what.cause(fault::describe(errno)).hint("the next sandbox there takes it away").warn();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_message_names_who_has_joined() {
        let message = |word: u8, pid: i32| [&[word][..], &pid.to_ne_bytes()].concat();
        assert_eq!(sibling(&message(b'j', 7)), Ok(7));
        assert_eq!(sibling(b""), Err(Errno::EPIPE));
        for garbled in [message(b'j', 0), message(b'j', -1), message(b'k', 7), message(b'j', 7)[..4].to_vec(), vec![b'j']] {
            assert_eq!(sibling(&garbled), Err(Errno::EPROTO), "{garbled:?}");
        }
    }
}
