//! What Landlock takes away of what mounts and modes permit: rules name files, and hold for all that lies below.

use super::answer::{Answer, Verdict};
use super::node::Kind;
use super::right::Who;
use super::table::{Spot, System, Table};
use super::walk::End;
use crate::landlock::file_rights;
use crate::plan::Plan;
use crate::plan::op::{Op, ParentOp};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The rules of a plan.
pub(super) struct Wall {
    handled: u64,
    origin: String,
    rules: Vec<(System, PathBuf, u64)>,
    /// As they are written.
    pub places: Vec<PathBuf>,
}

// LANDLOCK_ACCESS_FS_*
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;

impl Wall {
    /// None when the plan has no rules.
    pub fn of(plan: &Plan, table: &Table) -> Option<Wall> {
        let made = plan.parent.iter().find_map(|step| match &step.op {
            ParentOp::Ruleset { handled, .. } => Some((handled.files, step.origin.clone())),
            _ => None,
        });
        let (handled, origin) = made?;
        let permits = plan.child.iter().filter_map(|step| if let Op::Permit(permit) = &step.op { Some(permit) } else { None });
        let permits = permits.map(|permit| (PathBuf::from(OsStr::from_bytes(permit.path.to_bytes())), permit.access));
        let permits: Vec<(PathBuf, u64)> = permits.collect();
        let rule = |(path, access): &(PathBuf, u64)| {
            let (system, path) = identity(table, &table.locate(table.root, path));
            (system, path, *access)
        };
        let rules = permits.iter().map(rule).collect();
        Some(Wall { handled, origin, rules, places: permits.into_iter().map(|(path, _)| path).collect() })
    }

    /// What is permitted to a path without links: by rules about it and about all above.
    fn permits(&self, table: &Table, at: &Path) -> u64 {
        let places = at.ancestors().map(|up| identity(table, &table.locate(table.root, up)));
        let about = |(system, path): (System, PathBuf)| {
            let rules = self.rules.iter().filter(move |(of, at, _)| *of == system && *at == path);
            rules.fold(0, |all, (_, _, access)| all | access)
        };
        places.map(about).fold(!self.handled, |all, access| all | access)
    }

    /// Takes from an answer what no rule permits.
    pub fn confine(&self, table: &Table, who: &Who, answer: &mut Answer) {
        let permits = self.permits(table, &answer.at);
        let dir = answer.kind == "directory";
        let Answer { read, write, create, execute, delete, .. } = answer;
        self.refuse(read, permits, if dir { READ_DIR } else { READ_FILE });
        self.refuse(write, permits, if dir { MAKE_REG } else { WRITE_FILE });
        self.refuse(create, permits, MAKE_REG | MAKE_DIR);
        self.refuse(execute, permits, if dir { 0 } else { EXECUTE });
        let Some((parent, name)) = answer.path.parent().zip(answer.path.file_name()) else { return };
        if let End::Found(parent) = table.follow(table.root, Some(who), parent, true) {
            let entry = table.node(&table.below(&parent.spot, Path::new(name)));
            let right = if entry.is_ok_and(|node| node.kind == Kind::Dir) { REMOVE_DIR } else { REMOVE_FILE };
            self.refuse(delete, self.permits(table, &parent.at), right);
        }
    }

    fn refuse(&self, verdict: &mut Verdict, permits: u64, wanted: u64) {
        let lacks = file_rights(wanted & !permits);
        if !lacks.is_empty() && !matches!(verdict, Verdict::No { .. }) {
            let why = format!("Landlock does not permit `{}`", lacks.join("`, `"));
            *verdict = Verdict::No { why, by: Some(self.origin.clone()) };
        }
    }
}

/// The file itself, whichever mount shows it.
fn identity(table: &Table, spot: &Spot) -> (System, PathBuf) {
    (table.mounts[spot.mount].system.clone(), spot.path.clone())
}
