//! What a bundle permits, on this host, before anything runs: for each path what the kernel will say, and by which mount and which
//! entry of the policy. Pure over [`Look`]; the mounts are those of the same [`Plan`] that a launch walks.
//!
//! Not seen: what a file system decides by itself (NFS, FUSE), security modules, and what changes between the question and the launch.

mod answer;
mod because;
mod build;
mod diff;
mod facts;
mod json;
mod look;
mod mount;
mod name;
mod node;
mod right;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod wall;

pub use answer::{Answer, Shown, Verdict};
pub use because::{Because, word};
pub use diff::{Difference, diff};
pub use facts::{Facts, Whose as Namespace};
pub use look::{Disk, Look};
pub use mount::HostMount;
pub use node::{Grant, Kind, Node, Whose};

use crate::Result;
use crate::bundle::Bundle;
use crate::host::Host;
use crate::plan::Plan;
use crate::policy::compile::Said;
use oci_spec::runtime::Spec;
use right::Who;
use std::path::{Path, PathBuf};
use table::Table;
use wall::Wall;

/// A bundle as its process will see it.
pub struct Explained<'a> {
    table: Table<'a>,
    who: Who,
    wall: Option<Wall>,
    /// The host's Unix sockets that may be connected to, where somebody looks.
    granted: Option<Vec<PathBuf>>,
    cwd: PathBuf,
    /// What the policy says, when it is known.
    said: Option<Vec<Said>>,
    mounts: Vec<PathBuf>,
    /// What is masked, made read-only, or a device that is asked for.
    others: Vec<PathBuf>,
}

impl<'a> Explained<'a> {
    /// Puts the mounts together; an error is what a launch would fail at.
    pub fn new(bundle: &Bundle, plan: &Plan, host: &Host, look: &'a dyn Look, said: Option<Vec<Said>>) -> Result<Explained<'a>> {
        let (mut table, who) = (Table::new(look), Who::of(bundle, plan, host, look));
        build::build(&mut table, plan, &who.launcher(bundle, plan, host), &who.caller(host))?;
        let cwd = bundle.spec.process().as_ref().map_or("/".into(), |process| process.cwd().clone());
        let mut mounts: Vec<PathBuf> = bundle.spec.mounts().iter().flatten().map(|mount| mount.destination().clone()).collect();
        let wall = Wall::of(plan, &table);
        if plan.makes_no_mounts() {
            // There the rules are what decides.
            mounts.extend(wall.iter().flat_map(|wall| wall.places.clone()));
        }
        mounts.push("/".into());
        mounts.sort();
        mounts.dedup();
        let granted = facts::granted(plan);
        Ok(Explained { table, who, wall, granted, cwd, said, mounts, others: others(&bundle.spec) })
    }

    /// What may be done with a path; a relative one begins at the process's working directory.
    pub fn path(&self, path: &Path) -> Answer {
        let asker = answer::Asker { table: &self.table, who: &self.who, granted: self.granted.as_deref() };
        let mut answer = asker.ask(&self.cwd.join(path).components().collect::<PathBuf>());
        if let Some(wall) = &self.wall {
            wall.confine(&self.table, &self.who, &mut answer);
        }
        if let Some((said, mount)) = self.said.as_ref().zip(answer.mount.as_ref()) {
            answer.because = Some(because::because(said, &answer.at, mount.read_only));
        }
        answer
    }

    /// Where config.json mounts something: what an account of the whole begins with.
    pub fn mounts(&self) -> &[PathBuf] {
        &self.mounts
    }

    /// Every place of which the bundle or the policy says something.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let said = self.said.iter().flatten().map(|said| said.path.as_path());
        self.mounts.iter().chain(&self.others).map(PathBuf::as_path).chain(said)
    }
}

fn others(spec: &Spec) -> Vec<PathBuf> {
    let Some(linux) = spec.linux() else { return Vec::new() };
    let covered = linux.masked_paths().iter().chain(linux.readonly_paths()).flatten().map(PathBuf::from);
    covered.chain(linux.devices().iter().flatten().map(|device| device.path().clone())).collect()
}
