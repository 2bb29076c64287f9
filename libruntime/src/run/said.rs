//! What a program of ours, or one that works for us, says on its standard error. It is kept in memory to become the cause of the one
//! sentence that is told, instead of a sentence of its own.

use crate::sys::{Result as SysResult, file};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

/// Its beginning is enough.
const TOLD: usize = 16 * 1024;

/// The memory that takes it, shared with whoever has a copy of the descriptor.
pub(super) struct Said(OwnedFd);

impl Said {
    pub fn new() -> SysResult<Said> {
        file::memory(c"said").map(Said)
    }

    /// The same memory.
    pub fn again(&self) -> SysResult<Said> {
        file::duplicate(self.0.as_fd()).map(Said)
    }

    /// What was said so far, without codexrun's own beginning of a sentence; `None`: nothing.
    pub fn text(&self) -> Option<String> {
        let mut bytes = [0; TOLD];
        // Who cannot be heard has said nothing: it is told that he has failed.
        let n = file::read_at(self.0.as_fd(), &mut bytes, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..n]);
        let text = text.trim();
        let text = text.strip_prefix("codexrun: error: ").unwrap_or(text);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl AsFd for Said {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Said> for Stdio {
    fn from(said: Said) -> Stdio {
        said.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_loses_its_beginning_and_silence_is_none() {
        let said = Said::new().unwrap();
        assert_eq!(said.text(), None);
        file::write_all(said.again().unwrap().as_fd(), b"codexrun: error: no room: ENOSPC\n").unwrap();
        assert_eq!(said.text().as_deref(), Some("no room: ENOSPC"));
    }
}
