//! The next codexrun command about a container whose launch was struck: it is deleted, its id is used again, or it is found and ended like
//! any other; another one for each blow.

use super::course::patiently;
use super::tracer::{Blow, Call};
use crate::launch::{Ran, while_orphans_are_collected};
use crate::oci::turn::Turn;
use crate::report::No;
use serde_json::Value;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// `delete --force`.
    Delete,
    /// `run` of another bundle by the same id.
    Again,
    /// `state`, and what that says can be done.
    Reach,
}

impl Next {
    /// The same one each time.
    pub fn after(strike: Option<(Call, Blow)>) -> Next {
        let number = |blow| match blow {
            Blow::Fails(errno) | Blow::Refused(errno) => errno as usize,
            Blow::Signal(signal) | Blow::Group(signal) => signal as usize,
            Blow::Omitted(_) => 0,
        };
        let sum = strike.map_or(0, |(call, blow)| call.process + call.nth + number(blow));
        [Next::Delete, Next::Again, Next::Reach][sum % 3]
    }

    /// What is wrong with it. `plain` is a bundle whose program ends at once; without `force` a container that has stopped is deleted.
    pub fn come(self, turn: &Turn, id: &str, plain: &str, force: bool) -> Result<Option<String>, No> {
        match self {
            Next::Delete if !force => delete_stopped(turn, id),
            Next::Delete => delete(turn, id),
            Next::Again => again(turn, id, plain),
            Next::Reach => reach(turn, id),
        }
    }
}

/// Not before somebody collects its orphans does a container end.
fn call(turn: &Turn, words: &[&str]) -> Result<Ran, No> {
    while_orphans_are_collected(|| turn.call(words))
}

fn failed(verb: &str, ran: &Ran) -> Result<Option<String>, No> {
    Ok(Some(format!("{verb}: {}", ran.summary())))
}

fn delete(turn: &Turn, id: &str) -> Result<Option<String>, No> {
    let ran = call(turn, &["delete", "--force", id])?;
    if ran.code == 0 { Ok(None) } else { failed("delete --force", &ran) }
}

/// What a first `delete` has left, a second takes away, or nobody knows it any more.
fn delete_stopped(turn: &Turn, id: &str) -> Result<Option<String>, No> {
    let ran = call(turn, &["delete", id])?;
    match ran.code {
        0 => Ok(None),
        _ if ran.err.contains("does not exist") => delete(turn, id),
        _ => failed("delete again", &ran),
    }
}

/// The id is free, or whose it is can be told.
fn again(turn: &Turn, id: &str, plain: &str) -> Result<Option<String>, No> {
    let ran = call(turn, &["run", "--bundle", plain, id])?;
    match ran.code {
        0 => Ok(None),
        _ if ran.err.contains("already exists") && status(&call(turn, &["state", id])?).is_some() => delete(turn, id),
        _ => failed("run again", &ran),
    }
}

/// Nobody knows it, or it can be ended and deleted.
fn reach(turn: &Turn, id: &str) -> Result<Option<String>, No> {
    let state = call(turn, &["state", id])?;
    match status(&state).as_deref() {
        // What nobody knows may have left a directory.
        None if state.err.contains("does not exist") => return delete(turn, id),
        None => return failed("state", &state),
        Some("creating") => return delete(turn, id),
        Some("stopped") => {}
        Some(_) => {
            let killed = call(turn, &["kill", id, "KILL"])?;
            let stopped = || call(turn, &["state", id]).is_ok_and(|state| status(&state).as_deref() == Some("stopped"));
            patiently(stopped);
            if killed.code != 0 && !killed.err.contains("not running") {
                return failed("kill", &killed);
            }
        }
    }
    let ran = call(turn, &["delete", id])?;
    if ran.code == 0 { Ok(None) } else { failed("delete", &ran) }
}

/// What `state` says; none where it fails.
pub fn status(state: &Ran) -> Option<String> {
    let said: Value = serde_json::from_str(&state.out).ok().filter(|_| state.code == 0)?;
    said["status"].as_str().map(str::to_string)
}
