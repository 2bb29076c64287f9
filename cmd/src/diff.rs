//! `codexrun diff`: what one policy or bundle permits and another does not.

use crate::environment::Environment;
use crate::explain::{Planned, Subject};
use crate::make::Make;
use crate::output;
use crate::report::Failure;
use clap::Args;
use libruntime::Error;
use libruntime::bundle::CONFIG;
use libruntime::error::plain;
use libruntime::explain::{Difference, diff};
use libruntime::policy::view::Disk;
use serde_json::{Value, json};
use std::path::Path;

/// Say what B permits that A does not, and the reverse
///
/// Each is a bundle (a directory that holds a config.json) or a policy as `spec` takes it. Paths are compared on this host, at every
/// place that either of them speaks of; system calls, capabilities, namespaces, environment and limits whole. Exit code: 0 the same,
/// 1 they differ, 2 codexrun failed.
#[derive(Debug, Args)]
pub struct Diff {
    /// A bundle or a policy
    #[arg(value_name = "A")]
    a: String,
    /// Another
    #[arg(value_name = "B")]
    b: String,
    /// Print one JSON object: `onlyA` and `onlyB`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    make: Make,
}

impl Diff {
    pub fn run(&self) -> Result<u8, Failure> {
        let (a, b) = (self.read(&self.a)?, self.read(&self.b)?);
        let (in_a, in_b) = (a.explained()?, b.explained()?);
        let (of_a, of_b) = (a.facts(&in_a)?, b.facts(&in_b)?);
        let only_b = diff((&in_a, &of_a), (&in_b, &of_b));
        let only_a = diff((&in_b, &of_b), (&in_a, &of_a));
        output::print(&if self.json {
            format!("{:#}\n", json!({ "onlyA": list(&only_a), "onlyB": list(&only_b) }))
        } else {
            text(&self.b, &self.a, &only_b) + &text(&self.a, &self.b, &only_a)
        })?;
        Ok(u8::from(!only_a.is_empty() || !only_b.is_empty()))
    }

    fn read(&self, what: &str) -> Result<Planned, Failure> {
        if Path::new(what).join(CONFIG).exists() {
            return Subject::read(Path::new(what)).map_err(|e: Error| e.into()).and_then(Subject::planned);
        }
        // The environment of `spec`: the caller's own would only tell of the caller.
        let env = Environment::fixed(&Disk::new(), false)?;
        Subject::compiled(what, &self.make, env)?.planned()
    }
}

fn list(all: &[Difference]) -> Vec<Value> {
    all.iter().map(|one| json!({ "kind": one.kind, "name": one.name, "what": one.what })).collect()
}

fn text(this: &str, other: &str, all: &[Difference]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let line = |one: &Difference| match one.what.is_empty() {
        true => format!("  {} {}", one.kind, one.name),
        false => format!("  {} {}: {}", one.kind, one.name, one.what),
    };
    let lines: String = all.iter().map(|one| format!("{}\n", plain(&line(one)))).collect();
    format!("{} permits, {} does not:\n{lines}", plain(this), plain(other))
}
