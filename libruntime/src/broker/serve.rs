//! Who is heard: whoever has a filter with a listener of ours, and who brings another one (`exec`).

use super::call::Call;
use super::{Office, WORD};
use crate::sys::file::{self, State};
use crate::sys::{Errno, Result, notify, signal};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::rc::Rc;

/// What is listened to.
enum Seat {
    /// The listener of a filter.
    Filter(Rc<OwnedFd>),
    /// Where processes of `exec` come in.
    Door(UnixListener),
    /// One that has come in, and has no filter yet.
    Guest(OwnedFd),
}

impl Seat {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Seat::Filter(listener) => listener.as_fd(),
            Seat::Door(door) => door.as_fd(),
            Seat::Guest(guest) => guest.as_fd(),
        }
    }
}

impl Office {
    /// Until the last that has a filter is gone.
    pub(super) fn serve(&self, listener: OwnedFd, door: Option<UnixListener>) -> Result<()> {
        let mut seats: Vec<Seat> = door.into_iter().map(Seat::Door).chain([Seat::Filter(Rc::new(listener))]).collect();
        while seats.iter().any(|seat| matches!(seat, Seat::Filter(_))) {
            let all: Vec<BorrowedFd> = [self.ended.as_fd()].into_iter().chain(seats.iter().map(Seat::descriptor)).collect();
            let states = file::states(&all)?;
            if states[0] == State::Input {
                signal::next(self.ended.as_fd())?;
                self.bury()?;
            }
            for (seat, state) in std::mem::take(&mut seats).into_iter().zip(&states[1..]) {
                match state {
                    State::Open => seats.push(seat),
                    State::Input => seats.extend(self.hear(seat)?),
                    State::End => {}
                }
            }
        }
        Ok(())
    }

    /// What there is to listen to afterwards.
    fn hear(&self, seat: Seat) -> Result<Vec<Seat>> {
        match seat {
            Seat::Filter(listener) => {
                match notify::receive(listener.as_fd()) {
                    Ok(asked) => self.answer(&Call { listener: &listener, asked })?,
                    // Its caller was killed, before it could be told.
                    Err(Errno::ENOENT | Errno::EINTR) => {}
                    Err(errno) => return Err(errno),
                }
                Ok(vec![Seat::Filter(listener)])
            }
            Seat::Door(door) => match door.accept() {
                Ok((guest, _)) => Ok(vec![Seat::Guest(guest.into()), Seat::Door(door)]),
                // Whoever was there has gone.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                    Ok(vec![Seat::Door(door)])
                }
                // No descriptors are left: an open door would be knocked at without end.
                Err(_) => Ok(Vec::new()),
            },
            Seat::Guest(guest) => Ok(seated(guest.as_fd()).map(|listener| Seat::Filter(Rc::new(listener))).into_iter().collect()),
        }
    }
}

/// The listener that somebody brings, who is told that he may go on. Whoever brings none, or goes, is none of ours to fail for.
pub(crate) fn seated(guest: BorrowedFd) -> Option<OwnedFd> {
    let listener = file::receive_fd(guest, WORD).ok()??;
    // ENOTTY, EINVAL: it is none.
    notify::still_waits(listener.as_fd(), 0).ok()?;
    file::tell(guest, &0i32.to_ne_bytes()).ok()?;
    Some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn who_brings_something_else_than_a_listener_is_shown_out() {
        let (guest, ours) = file::socketpair().unwrap();
        file::send_fd(guest.as_fd(), File::open("/dev/null").unwrap().as_fd(), b'b').unwrap();
        assert!(seated(ours.as_fd()).is_none());
        drop(guest);
        assert!(seated(ours.as_fd()).is_none());
    }
}
