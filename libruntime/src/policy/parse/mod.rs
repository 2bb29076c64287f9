//! Every written form of a policy → [`Policy`]. Reads the text and nothing else of the host: what a path means there is
//! compile's question.

mod choice;
mod config;
mod cursor;
mod domain;
pub(crate) mod faults;
mod filesystem;
mod form;
mod json;
mod legacy;
mod managed;
mod path;
mod permissions;
mod preset;
mod profile;
mod schema;
mod source;
mod split;
#[cfg(test)]
mod tests;
mod toml;

pub use managed::managed;
pub use preset::preset;
pub use schema::schema;

use crate::policy::choice::KEY;
use crate::policy::{FileSystem, Policy};
use crate::{Error, Result};
use cursor::{At, Node};
use source::Source;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A policy is written by people; what is larger than this is not one.
const MAX_BYTES: usize = 1 << 20;
/// Depth of nested values; serde_json keeps the same limit.
const MAX_DEPTH: usize = 128;

/// What `~` and relative workspace roots resolve against.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// The policy's working directory, absolute.
    pub cwd: &'a Path,
    /// The home directory, absolute; without one `~` is refused.
    pub home: Option<&'a Path>,
}

/// The language that a policy is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Any JSON form; its keys say which.
    Json,
    /// Codex's config.toml.
    Toml,
}

/// A policy, and what its reader should be told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What was written.
    pub policy: Policy,
    /// One line each, with its place.
    pub warnings: Vec<String>,
}

/// `text` → policy. `name` is what errors call the file; `-` reads `<stdin>` there.
pub fn parse(name: &str, text: &str, format: Format, base: &Base) -> Result<Parsed> {
    refuse_excess(name, text.len())?;
    let source = Source::new(name, text, format, base);
    let policy = understand(&source, &document(&source)?)?;
    Ok(Parsed { policy, warnings: source.warnings() })
}

fn document(source: &Source) -> Result<Node> {
    match source.format {
        Format::Json => json::read(source),
        Format::Toml => toml::read(source),
    }
}

fn understand(source: &Source, document: &Node) -> Result<Policy> {
    let at = At::document(source, document);
    let mut policy = match source.format {
        Format::Json => form::read(&at)?,
        Format::Toml => config::read(&at).map_err(|e| form::read_as(e, "config.toml"))?,
    };
    if let Some(choices) = at.get(KEY) {
        policy.choices = choice::read(&choices)?.over(&policy.choices);
    }
    if matches!(&policy.file_system, FileSystem::Restricted(r) if r.entries.is_empty()) {
        at.warn("the policy has no entries, so it permits no path");
    }
    Ok(policy)
}

/// What a `--policy` argument names: a preset, a file, or `-`. A preset hides a file of the same name.
pub fn load(arg: &str, base: &Base) -> Result<Parsed> {
    if let Some(policy) = preset(arg) {
        return Ok(Parsed { policy, warnings: Vec::new() });
    }
    let text = text(arg)?;
    parse(arg, &text, format(arg, &text), base)
}

/// As [`load`]; of a text that is no policy every fault is told, not only the first, in the order of the text and at most a hundred.
pub fn check(arg: &str, base: &Base) -> Result<Parsed, Vec<Error>> {
    if preset(arg).is_some() {
        return load(arg, base).map_err(|e| vec![e]);
    }
    let text = text(arg).map_err(|e| vec![e])?;
    faults::parse(arg, &text, format(arg, &text), base)
}

fn text(arg: &str) -> Result<String> {
    if arg.starts_with(':') {
        return Err(Error::new(format!("no preset `{arg}`; expected {}", preset::known(":"))));
    }
    let bytes = bytes(arg, &format!("a preset ({})", preset::known("")))?;
    refuse_excess(arg, bytes.len())?;
    decode(arg, bytes)
}

/// An `AdditionalPermissionProfile`, for [`Policy::widen`]: its text, or the name of a file with it.
pub fn additional(arg: &str, base: &Base) -> Result<Parsed> {
    let (name, bytes) = match arg.trim_start().starts_with('{') {
        true => ("additional profile", arg.as_bytes().to_vec()),
        false => (arg, bytes(arg, "a JSON object").map_err(|e| belongs_to_policy(arg, e))?),
    };
    refuse_excess(name, bytes.len())?;
    let text = decode(name, bytes)?;
    let source = Source::new(name, &text, Format::Json, base);
    let document = json::read(&source)?;
    let at = At::document(&source, &document);
    if let Some(choices) = at.get(KEY) {
        return Err(choices.name().error(format!("`{KEY}` belongs to the policy itself; a command has switches for it")));
    }
    let policy = profile::read_additional(&at)?;
    Ok(Parsed { policy, warnings: source.warnings() })
}

fn refuse_excess(name: &str, length: usize) -> Result<()> {
    if length <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::new(format!("the policy is larger than {MAX_BYTES} bytes")).at(source::place(name, "", 0)))
}

fn belongs_to_policy(arg: &str, error: Error) -> Error {
    if preset(arg).is_some() { error.hint("a preset is a policy of its own: `--policy` takes it") } else { error }
}

/// Of the file that is named; what else the word could be is `expected`.
fn bytes(arg: &str, expected: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than permitted, so that the excess is seen without reading /dev/zero to its end.
    let limit = MAX_BYTES as u64 + 1;
    let read = match arg {
        "-" => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        file => File::open(file).and_then(|f| f.take(limit).read_to_end(&mut bytes)),
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(e) if arg == "-" => Err(Error::new("cannot read the policy from <stdin>").cause(e)),
        Err(e) => Err(Error::new(format!("`{arg}` is neither {expected} nor a readable file")).cause(e)),
    }
}

fn decode(arg: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let good = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        Error::new("the policy is not UTF-8").at(source::place(arg, &good, good.len()))
    })
}

fn format(arg: &str, text: &str) -> Format {
    match Path::new(arg).extension().and_then(|e| e.to_str()) {
        Some("json") => Format::Json,
        Some("toml") => Format::Toml,
        _ if text.trim_start().starts_with('{') => Format::Json,
        _ => Format::Toml,
    }
}
