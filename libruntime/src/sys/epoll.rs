//! epoll(7), level-triggered.

use super::{Result, again, check, done, owned};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// What is waited for, or has come: EPOLL*.
pub type Events = u32;

/// One epoll instance.
pub struct Epoll(OwnedFd);

/// Room for what one wait returns.
pub struct Batch(Vec<libc::epoll_event>);

impl Batch {
    /// At most so many events at a time.
    pub fn of(size: usize) -> Self {
        Batch(vec![libc::epoll_event { events: 0, u64: 0 }; size])
    }
}

impl Epoll {
    /// epoll_create1(2), close-on-exec.
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointers.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into()).map(Epoll)
    }

    /// EPOLL_CTL_ADD: `token` is what a wait says of it.
    pub fn add(&self, fd: BorrowedFd, events: Events, token: u64) -> Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// EPOLL_CTL_MOD.
    pub fn change(&self, fd: BorrowedFd, events: Events, token: u64) -> Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// EPOLL_CTL_DEL: also errors and hang-ups are told no more.
    pub fn remove(&self, fd: BorrowedFd) -> Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(&self, operation: i32, fd: BorrowedFd, events: Events, token: u64) -> Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` is a live struct epoll_event.
        done(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) }.into())
    }

    /// epoll_wait(2), for ever: (token, events) of what is ready.
    pub fn wait(&self, batch: &mut Batch) -> Result<Vec<(u64, Events)>> {
        let (at, room) = (batch.0.as_mut_ptr(), batch.0.len() as i32);
        // SAFETY: the buffer is live, writable and has room for as many events as said.
        let n = again(|| check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), at, room, -1) }.into()))?;
        Ok(batch.0[..n as usize].iter().map(|event| (event.u64, event.events)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::file;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_ready_is_told_by_its_token_until_it_is_removed() {
        let (epoll, (out, into)) = (Epoll::new().unwrap(), file::pipe().unwrap());
        epoll.add(out.as_fd(), libc::EPOLLIN as Events, 7).unwrap();
        epoll.add(into.as_fd(), 0, 8).unwrap();
        file::write_all(into.as_fd(), b"x").unwrap();
        assert_eq!(epoll.wait(&mut Batch::of(4)).unwrap(), [(7, libc::EPOLLIN as Events)]);
        epoll.remove(out.as_fd()).unwrap();
        epoll.change(into.as_fd(), libc::EPOLLOUT as Events, 9).unwrap();
        assert_eq!(epoll.wait(&mut Batch::of(4)).unwrap(), [(9, libc::EPOLLOUT as Events)]);
    }
}
