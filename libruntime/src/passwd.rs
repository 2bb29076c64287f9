//! passwd(5) of the host, read as bytes: getpwuid(3) loads NSS modules, which a static binary cannot.

use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

const FILE: &str = "/etc/passwd";

/// What is said of one user.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The login name.
    pub name: OsString,
    /// The home directory; empty where there is none.
    pub home: OsString,
}

/// The first entry with this uid.
///
/// # Errors
/// The file is there and cannot be read: that nobody is in it is not known.
pub fn entry(uid: u32) -> Result<Option<Entry>> {
    let uid = uid.to_string();
    of(FILE.as_ref(), 2, uid.as_bytes())
}

/// The first entry with this login name.
///
/// # Errors
/// As of [`entry`].
pub fn named(name: &OsStr) -> Result<Option<Entry>> {
    of(FILE.as_ref(), 0, name.as_bytes())
}

fn of(file: &Path, field: usize, value: &[u8]) -> Result<Option<Entry>> {
    match crate::text::read(file, u64::MAX) {
        Ok(text) => Ok(by(&text, field, value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::new(format!("cannot read `{}`", file.display())).cause(e)),
    }
}

/// The first line of which this field says this.
pub(crate) fn by(text: &[u8], field: usize, value: &[u8]) -> Option<Entry> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let there = fields.get(field) == Some(&value);
        let field = |n: usize| fields.get(n).map(|field| OsString::from_vec(field.to_vec()));
        there.then_some(Entry { name: field(0)?, home: field(5).unwrap_or_default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &[u8], uid: u32) -> Option<Entry> {
        by(text, 2, uid.to_string().as_bytes())
    }

    #[test]
    fn the_first_line_with_the_uid_counts() {
        let text = b"root:x:0:0:r\xe9al:/root:/bin/sh\n+::::::\nbroken\nu:x:7:7::/home/\xe9:\nv:x:7\n";
        assert_eq!(find(text, 0), Some(Entry { name: "root".into(), home: "/root".into() }));
        assert_eq!(find(text, 7).unwrap().home, OsString::from_vec(b"/home/\xe9".to_vec()));
        assert_eq!(find(b"v:x:7", 7).unwrap().home, "");
        assert_eq!(by(text, 0, b"u"), find(text, 7));
        assert!(find(text, 8).is_none() && find(b"", 0).is_none());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of(&dir.path().join("none"), 2, b"0"), Ok(None));
        assert!(of(dir.path(), 2, b"0").unwrap_err().to_string().starts_with("cannot read"));
    }
}
