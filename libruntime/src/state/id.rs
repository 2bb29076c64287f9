//! The name of a container: a directory below the state root, so nothing that could be a path.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// runc's rule: letters, digits, `_`, `+`, `-`, `.`; neither `.` nor `..`; at most 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        let refused = |why: &str| Err(Error::new(format!("invalid container id `{}`", id.escape_debug())).cause(why));
        match id {
            "" => refused("it is empty"),
            "." | ".." => refused("it names a directory"),
            id if id.len() > 1024 => refused("it is longer than 1024 bytes"),
            id if id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b)) => Ok(ContainerId(id.into())),
            _ => refused("only letters, digits, `_`, `+`, `-` and `.` are allowed"),
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(id: String) -> Result<Self> {
        id.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> String {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_plain_name() {
        for good in ["a", "A-b_c.d+1", "...", "-x", &"x".repeat(1024)] {
            assert_eq!(good.parse::<ContainerId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\n", &"x".repeat(1025)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }
}
