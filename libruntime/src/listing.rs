//! A directory, whole. Neither opendir(3) nor readdir(3) is made again when a signal comes between, as it may where a process answers for
//! the file system (fuse(4)), and who has stopped in the middle cannot go on.

use std::fs::{self, DirEntry};
use std::io::{ErrorKind, Result};
use std::path::Path;

/// Its entries, in no order.
pub fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    again(|| fs::read_dir(dir)?.collect())
}

/// Makes a call again that a signal has interrupted (EINTR, signal(7)).
pub fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_interrupted_is_made_again_and_nothing_else_is() {
        let mut answers = [Err(ErrorKind::Interrupted.into()), Ok(1), Ok(2)].into_iter();
        assert_eq!(again(|| answers.next().unwrap()).unwrap(), 1);
        let mut answers = [Err(ErrorKind::NotFound.into()), Ok(1)].into_iter();
        assert_eq!(again(|| answers.next().unwrap()).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
