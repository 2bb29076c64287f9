//! A filter with a listener: the agent has the listener's descriptor before the next step begins, and no call is made that the filter
//! could stop. Where it permits the calls that this takes, the process makes them itself; otherwise a thread from before the filter, with
//! the same descriptors, does: a filter is of the thread that loads it.

use super::super::child::Child;
use super::super::fault::{Column, Fault};
use crate::sys::{Errno, Result, file, process, thread};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

/// What the agent gets beside the listener, and how.
struct Letter<'a> {
    socket: BorrowedFd<'a>,
    text: &'a [u8],
    /// Goes along.
    space: Option<BorrowedFd<'a>>,
    /// It answers.
    answers: bool,
}

/// What a thread does it with.
struct Messenger<'a> {
    /// Of the filter, once that is loaded or not to be had. Nobody waits in it: that would be a system call of the one that sets it.
    listener: OnceLock<Result<OwnedFd>>,
    letter: Letter<'a>,
    faults: BorrowedFd<'a>,
    step: u16,
}

/// Through the host's /proc: the container may have none.
pub(super) fn lend(own_network: bool, child: &mut Child) -> Result<()> {
    let agent = child.agent.as_mut().ok_or(Errno::EBADF)?;
    let space = if own_network { c"/proc/self/ns/net" } else { c"/proc/self/ns/user" };
    agent.space = Some(file::open_at(file::cwd(), space, libc::O_RDONLY)?);
    Ok(())
}

pub(super) fn supervised(load: impl FnOnce() -> Result<OwnedFd>, sends: bool, child: &mut Child) -> Result<()> {
    // No memory is given back here, and what is closed `tell` closes.
    let mut agent = ManuallyDrop::new(child.agent.take().ok_or(Errno::EBADF)?);
    let agent = &mut *agent;
    let length = match &agent.message {
        Some(message) => {
            file::seek(message.as_fd(), 0)?;
            file::read(message.as_fd(), &mut agent.text)?
        }
        None => agent.text.len(),
    };
    let text = agent.text.get(..length).ok_or(Errno::EPROTO)?;
    let space = agent.space.as_ref().map(AsFd::as_fd);
    let letter = Letter { socket: agent.socket.as_fd(), text, space, answers: agent.answers };
    if sends {
        return tell(&letter, ManuallyDrop::new(load()?).as_fd());
    }
    let (faults, step) = (child.faults.as_fd(), child.step);
    let messenger = ManuallyDrop::new(Messenger { listener: OnceLock::new(), letter, faults, step });
    match thread::beside(&mut agent.stack, deliver, &*messenger, || messenger.listener.get_or_init(load))? {
        Ok(_) => Ok(()),
        Err(errno) => Err(*errno),
    }
}

/// In the thread. What fails here ends the process: it must not go on, and perhaps cannot say why.
fn deliver(messenger: &Messenger) {
    let listener = loop {
        match messenger.listener.get() {
            None => thread::sleep(Duration::from_micros(20)),
            Some(Ok(listener)) => break listener.as_fd(),
            Some(Err(_)) => return,
        }
    };
    if let Err(errno) = tell(&messenger.letter, listener) {
        Fault { column: Column::Child, step: messenger.step, errno: errno as i32 }.send(messenger.faults);
        process::exit(1);
    }
}

/// One state in one connection, which ends with it.
fn tell(letter: &Letter, listener: BorrowedFd) -> Result<()> {
    let sent = match letter.space {
        Some(space) => file::send_with_fds(letter.socket, [listener, space], letter.text),
        None => file::send_with_fds(letter.socket, [listener], letter.text),
    };
    match sent {
        // Whoever has gone has said why; whoever has not is not to be waited for.
        Err(Errno::EPIPE) if letter.answers => file::hang_up(letter.socket)?,
        sent => sent?,
    }
    if letter.answers {
        answer(letter.socket)?;
    }
    file::hang_up(letter.socket)?;
    file::close_copy(letter.socket)?;
    letter.space.map_or(Ok(()), file::close_copy)?;
    file::close_copy(listener)
}

/// What a broker says when it is there: 0, or the errno why it is not.
fn answer(socket: BorrowedFd) -> Result<()> {
    let mut errno = [0; 4];
    let read = file::read(socket, &mut errno)?;
    word(&errno[..read])
}

pub(crate) fn word(said: &[u8]) -> Result<()> {
    match (said, said.try_into().map(i32::from_ne_bytes)) {
        ([], _) => Err(Errno::EPIPE),
        (_, Ok(0)) => Ok(()),
        (_, Ok(errno @ 1..)) => Err(Errno::from_raw(errno)),
        _ => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_there_only_when_its_whole_word_says_so() {
        assert_eq!(word(&[0; 4]), Ok(()));
        assert_eq!((word(b""), word(&libc::EPERM.to_ne_bytes())), (Err(Errno::EPIPE), Err(Errno::EPERM)));
        for garbled in [&[0][..], &[0; 3], &[0; 5], &(-1_i32).to_ne_bytes()] {
            assert_eq!(word(garbled), Err(Errno::EPROTO));
        }
    }
}
