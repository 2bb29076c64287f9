//! What a probe saw, in words that a table of expectations can hold.

use std::io;

/// The detail of a success, or why not.
pub type Outcome = Result<String, Fail>;

/// Why a probe did not succeed.
pub enum Fail {
    /// The kernel said so.
    Errno(i32),
    /// Something else: one word for the table, and a detail for the reader.
    Word(String, String),
}

impl From<io::Error> for Fail {
    fn from(e: io::Error) -> Self {
        match e.raw_os_error() {
            Some(errno) => Fail::Errno(errno),
            None => Fail::Word(format!("{:?}", e.kind()), e.to_string()),
        }
    }
}

impl From<i32> for Fail {
    fn from(errno: i32) -> Self {
        Fail::Errno(errno)
    }
}

/// A failure in one word.
pub fn word<T>(word: &str, detail: impl ToString) -> Result<T, Fail> {
    Err(Fail::Word(word.into(), detail.to_string()))
}

/// The two columns of the answer.
pub fn words(outcome: &Outcome) -> (String, String) {
    match outcome {
        Ok(detail) => ("ok".into(), detail.clone()),
        Err(Fail::Errno(errno)) => (format!("{:?}", nix::errno::Errno::from_raw(*errno)), String::new()),
        Err(Fail::Word(word, detail)) => (word.clone(), detail.clone()),
    }
}
