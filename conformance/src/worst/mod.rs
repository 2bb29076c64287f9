//! The worst of days: a machine that gives out in the middle of a launch, a record that was spoilt, a payload that attacks whatever it
//! can reach. Each time what was asked for is done whole, or it is not done and one sentence says why; it ends in time, and nothing of
//! it is left on the host.

mod bystander;
mod full;
mod hostile;
mod read_only;
mod record;
mod scarce;
mod terminal;
mod want;

use crate::inject::Part;
use crate::oci::{busybox, host_mounts, nothing_left, turn::Turn};
use crate::report::{Verdict, skip};
use crate::runtime::Column;
use crate::scene::Stage;
use std::fs;
use std::path::PathBuf;

/// What a case plays with.
pub struct Place<'a> {
    /// Its directory, its calls of codexrun.
    pub turn: Turn<'a>,
    /// The program that attacks.
    pub probe: PathBuf,
    /// Which of the commands have ever less of something.
    pub part: Part,
}

/// One case: its name and what it does.
type Case = (&'static str, fn(&Place) -> Verdict);

const GROUPS: &[(&str, &[Case])] = &[
    ("the machine gives out", scarce::CASES),
    ("the disk is full", full::CASES),
    ("nothing can be written", read_only::CASES),
    ("a record is not true", record::CASES),
    (HOSTILE, hostile::CASES),
    (HOSTILE, terminal::CASES),
    (HOSTILE, bystander::CASES),
];

const HOSTILE: &str = "a hostile payload";

fn all() -> impl Iterator<Item = (String, &'static Case)> {
    GROUPS.iter().flat_map(|(group, cases)| cases.iter().map(move |case| (format!("{group}: {}", case.0), case)))
}

/// The rows, as they are printed.
pub fn rows() -> Vec<String> {
    all().map(|(row, _)| row).collect()
}

/// Plays one column.
pub fn run_one(stage: &Stage, column: &Column, part: Part, wanted: &dyn Fn(&str) -> bool) {
    for (row, case) in all().filter(|(row, _)| wanted(row)) {
        // What an attack has hit once it has hit.
        let ask = || one(stage, column, part, case);
        crate::told::say(&row, if row.starts_with(HOSTILE) { ask() } else { crate::report::asked(&row, ask) });
    }
}

fn one(stage: &Stage, column: &Column, part: Part, (_, run): &Case) -> Verdict {
    if !nix::unistd::Uid::effective().is_root() {
        return skip("limits, small file systems and cgroups are made by root");
    }
    let (dir, tag) = stage.place("worst")?;
    let turn = Turn::new(column, dir.clone(), tag, &busybox(stage)?)?;
    let mounts = host_mounts();
    let place = Place { turn, probe: stage.probe.clone(), part };
    let verdict = run(&place);
    let clean = nothing_left(&place.turn, &mounts);
    fs::remove_dir_all(&dir)?;
    verdict.and(clean)
}
