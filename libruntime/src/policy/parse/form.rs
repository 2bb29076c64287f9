//! Which JSON form a policy is written in: its keys say, and every error says which it was taken for.

use super::cursor::At;
use super::{legacy, profile, split};
use crate::policy::Policy;
use crate::policy::choice::KEY;
use crate::{Error, Result};

type Form = (&'static str, fn(&At) -> Result<Policy>);

const LEGACY: Form = ("a legacy sandbox policy", legacy::read);
const PROFILE: Form = ("a permission profile", profile::read);
const UNTAGGED: Form = ("an untagged permission profile", profile::read_untagged);
const PAIR: Form = ("a split policy", split::read_pair);
const ALONE: Form = ("a file system policy", split::read_alone);

pub(super) fn read(at: &At) -> Result<Policy> {
    let (name, read) = recognise(at)?;
    read(at).map_err(|e| read_as(e, name))
}

/// Adds the form to an error, for the reader who meant another one.
pub(super) fn read_as(error: Error, form: &str) -> Error {
    let form = format!("read as {form}");
    let hint = error.hint.as_ref().map_or(form.clone(), |hint| format!("{hint}; {form}"));
    error.hint(hint)
}

fn recognise(at: &At) -> Result<Form> {
    if let Some(tag) = at.get("type") {
        return tagged(&tag);
    }
    let keys = at.items()?;
    if at.get("kind").is_some() || at.get("entries").is_some() {
        return Ok(ALONE);
    }
    if at.get("file_system").is_some() || at.get("network").is_some() {
        return Ok(if is_pair(at) { PAIR } else { UNTAGGED });
    }
    match keys.iter().find(|key| key.name().str != KEY) {
        None => Ok(UNTAGGED),
        Some(key) => Err(key.unknown("a policy", &["type", "file_system", "network", "kind", "entries"])),
    }
}

fn tagged(tag: &At) -> Result<Form> {
    let legacy = legacy::TYPES.iter().map(|(name, _)| (*name, LEGACY));
    let profiles = profile::TYPES.iter().map(|(name, _)| (*name, PROFILE));
    let known: Vec<(&str, Form)> = legacy.chain(profiles).collect();
    tag.word(&known)
}

/// A pair names its network by a word or a mode and its file system by kind; where neither is said, both forms mean the same.
fn is_pair(at: &At) -> bool {
    at.get("network").is_some_and(|n| n.is_text() || n.get("mode").is_some())
        || at.get("file_system").is_some_and(|fs| fs.get("kind").is_some())
}
