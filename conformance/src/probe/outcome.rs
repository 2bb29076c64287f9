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
        Err(Fail::Errno(errno)) => (errno_name(*errno), String::new()),
        Err(Fail::Word(word, detail)) => (word.clone(), detail.clone()),
    }
}

const ERRNOS: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::EBADF, "EBADF"),
    (libc::ECHILD, "ECHILD"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::EXDEV, "EXDEV"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENOTTY, "ENOTTY"),
    (libc::ETXTBSY, "ETXTBSY"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::ELOOP, "ELOOP"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ENOTEMPTY, "ENOTEMPTY"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EPROTONOSUPPORT, "EPROTONOSUPPORT"),
    (libc::ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
    (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::ENETUNREACH, "ENETUNREACH"),
    (libc::EHOSTUNREACH, "EHOSTUNREACH"),
    (libc::EISCONN, "EISCONN"),
    (libc::ENOTCONN, "ENOTCONN"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
    (libc::ECONNREFUSED, "ECONNREFUSED"),
    (libc::ECONNRESET, "ECONNRESET"),
];

fn errno_name(errno: i32) -> String {
    match ERRNOS.iter().find(|(n, _)| *n == errno) {
        Some((_, name)) => (*name).into(),
        None => format!("E{errno}"),
    }
}
