//! The cases beside the policy matrix, a group per file. A case gets a column, plays one or more launches, and judges.

mod attack;
mod build;
mod choice;
mod cli;
mod end;
mod fault;
mod fetch;
mod form;
mod git;
mod glob;
mod landlock;
mod names;
mod network;
mod placeholder;
mod program;
mod proxy;
mod signal;
mod state;
mod unix;

use crate::launch::Ran;
use crate::matrix::gone;
use crate::report::{No, Verdict, asked, fail, skip};
use crate::runtime::{Column, Job, Kind};
use crate::scene::{Scene, Stage};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Which columns a case is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All.
    Every,
    /// `codexrun sandbox` and `codexrun run`: no other runtime promises it.
    Codexrun,
    /// `codexrun sandbox` alone: it is about the command line, or about the policy, not about the runtime.
    Sandbox,
    /// Those with a bundle and a state.
    Bundle,
}

/// One case.
pub struct Case {
    name: &'static str,
    on: On,
    /// Of `sandbox`, beside those of the case's own.
    options: &'static [&'static str],
    run: fn(&Play) -> Verdict,
}

const fn case(name: &'static str, on: On, run: fn(&Play) -> Verdict) -> Case {
    Case { name, on, options: &[], run }
}

/// The same with a network of a proxy that nobody needs.
const fn proxied(name: &'static str, run: fn(&Play) -> Verdict) -> Case {
    Case { options: &["--allow-domain", "nobody.example"], ..case(name, On::Sandbox, run) }
}

const GROUPS: &[(&str, &[Case])] = &[
    ("exit", end::CASES),
    ("signals", signal::CASES),
    ("placeholders", placeholder::CASES),
    ("policies", form::CASES),
    ("denied patterns", glob::CASES),
    ("choices", choice::CASES),
    ("faults of others", fault::CASES),
    ("git", git::CASES),
    ("landlock", landlock::CASES),
    ("network", network::CASES),
    ("unix sockets", unix::CASES),
    ("names", names::CASES),
    ("own proxy", proxy::CASES),
    ("fetches", fetch::CASES),
    ("attacks", attack::CASES),
    ("builds", build::CASES),
    ("programs", program::CASES),
    ("command line", cli::CASES),
    ("state", state::CASES),
];

/// The rows, as they are printed.
pub fn rows() -> Vec<String> {
    GROUPS.iter().flat_map(|(group, cases)| cases.iter().map(move |c| format!("{group}: {}", c.name))).collect()
}

/// Plays one column.
pub fn run_one(stage: &Stage, column: &Column, wanted: &dyn Fn(&str) -> bool) {
    for (group, cases) in GROUPS {
        for case in *cases {
            let row = format!("{group}: {}", case.name);
            if wanted(&row) {
                crate::told::say(&row, asked(&row, || one(stage, column, case)));
            }
        }
    }
}

fn one(stage: &Stage, column: &Column, case: &Case) -> Verdict {
    if let Some(reason) = column.obstacle() {
        return skip(reason);
    }
    let kind = column.runtime.kind;
    match case.on {
        On::Codexrun if !column.runtime.is_codexrun() => skip("only codexrun promises it"),
        On::Sandbox if kind != Kind::Sandbox => skip("about `codexrun sandbox` and `spec`, asked in the sandbox columns"),
        On::Bundle if kind == Kind::Sandbox => skip("`codexrun sandbox` has no bundle and no state"),
        _ => played(&Play { column, scene: stage.scene(&column.actor)?, options: case.options, there: slash_tmp() }, case),
    }
}

/// The case's own verdict; and whatever it was about, /tmp must be as it was.
fn played(play: &Play, case: &Case) -> Verdict {
    let verdict = (case.run)(play);
    let new: Vec<PathBuf> = slash_tmp().into_iter().filter(|p| !play.there.contains(p)).collect();
    let clean = gone(&new, "(after the case)");
    verdict.and(clean)
}

/// The protected names that /tmp has.
fn slash_tmp() -> Vec<PathBuf> {
    let names = [".git", ".agents", ".codex"].map(|n| Path::new("/tmp").join(n));
    names.into_iter().filter(|p| p.exists()).collect()
}

/// What a case plays with.
pub struct Play<'a> {
    /// Who runs what.
    pub column: &'a Column,
    /// Where.
    pub scene: Scene,
    /// Of the case, for [`Play::write`].
    pub options: &'static [&'static str],
    /// Protected names that /tmp had before the case: somebody else's.
    pub there: Vec<PathBuf>,
}

impl Play<'_> {
    /// A shell script under a policy, to its end.
    fn sh(&self, policy: impl ToString, script: &str) -> Result<Ran, No> {
        self.column.run(&self.scene, &Job::sh(policy, &self.scene, script))
    }

    /// The same under workspace-write.
    fn write(&self, script: &str) -> Result<Ran, No> {
        self.with(self.options, script)
    }

    /// The same with options of `sandbox` and `spec`.
    fn with(&self, options: &[&str], script: &str) -> Result<Ran, No> {
        let options = options.iter().map(|word| word.to_string()).collect();
        self.column.run(&self.scene, &Job { options, ..Job::sh(WRITE, &self.scene, script) })
    }

    /// codexrun itself, as the column's user.
    fn codexrun(&self, words: &[&str]) -> Result<Ran, No> {
        let exe = self.column.runtime.codexrun.display().to_string();
        let argv: Vec<&str> = std::iter::once(exe.as_str()).chain(words.iter().copied()).collect();
        Ok(crate::launch::Launch::new(&argv, &self.scene.w()).run(&self.column.actor)?)
    }

    /// A directory that belongs to the column's user, with its parents.
    fn dir(&self, path: &Path) -> Result<(), No> {
        std::fs::create_dir_all(path)?;
        Ok(self.column.actor.own(&self.scene.dir)?)
    }
}

/// The policy of most cases.
const WRITE: &str = "workspace-write";

/// Waits for a file that the command makes when it is ready.
fn appears(path: &Path) -> Verdict {
    until(&format!("{} appears", path.display()), || path.exists())
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) -> Verdict {
    let end = Instant::now() + Duration::from_secs(5);
    while !holds() {
        if Instant::now() > end {
            return fail("(waiting for the command)", what, "not within 5 s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A text of the host must be what it was.
fn unchanged(path: &Path, text: &str) -> Verdict {
    let now = std::fs::read_to_string(path).unwrap_or_else(|e| e.to_string());
    if now == text { Ok(()) } else { fail(path.display(), format!("{text:?}"), format!("{now:?}")) }
}
