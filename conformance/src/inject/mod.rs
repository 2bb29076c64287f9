//! Every system call of a launch fails once, with each errno that it may give, and every process of codexrun gets a signal at each
//! of its calls. Each time one of two things is true: the payload ran with everything that it was to have, or it did not run and
//! one sentence says why. Afterwards nothing is left.

mod aftermath;
mod asked;
mod container;
pub mod course;
mod errno;
mod fallback;
pub mod judge;
mod material;
mod omission;
mod outlet;
mod places;
mod step;
mod story;
mod subject;
mod testimony;
pub mod tracer;

use crate::oci::{busybox, turn::Turn};
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::{Column, Kind};
use crate::scene::Stage;
use crate::worker::Share;
use course::{Course, Ground, Trial};
use judge::Judge;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::str::FromStr;
use tracer::{Blow, Call, End, Tracer};

/// Every `of`-th trial, from the `nth` on: a rotating part of a long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    nth: usize,
    of: usize,
}

impl FromStr for Part {
    type Err = String;

    /// `K/N`, K counted from 0 and taken modulo N; a single number is all of it.
    fn from_str(text: &str) -> Result<Part, String> {
        let parsed = text.split_once('/').and_then(|(k, n)| Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
        match parsed {
            Some((nth, of)) if of > 0 => Ok(Part { nth: nth % of, of }),
            _ => Err(format!("`{text}` is not a part like 3/20")),
        }
    }
}

impl Part {
    /// Whether the `n`-th of many is in it.
    pub fn has(self, n: usize) -> bool {
        n % self.of == self.nth
    }

    /// A smaller one where trials are dear: of so many times as many one, another one each time that all of the others had their day.
    fn of_dear(self) -> Part {
        match self.of {
            1 => self,
            of => Part { nth: self.nth + of * (today() / of % DEAR), of: of * DEAR },
        }
    }
}

/// How many times fewer trials a dear course has.
const DEAR: usize = 8;

/// Days since 1970.
fn today() -> usize {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() as usize / 86400)
}

/// How the launches are hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Failures,
    Refusals,
    Signals,
    Omissions,
}

const HARMS: [Harm; 4] = [Harm::Failures, Harm::Refusals, Harm::Signals, Harm::Omissions];

const SIGNALS: [Signal; 3] = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT];

/// A sample of the others: one of these at every third call.
const RARER: [Blow; 7] = [
    Blow::Group(Signal::SIGINT),
    Blow::Signal(Signal::SIGHUP),
    Blow::Group(Signal::SIGTERM),
    Blow::Signal(Signal::SIGQUIT),
    Blow::Group(Signal::SIGKILL),
    Blow::Group(Signal::SIGHUP),
    Blow::Group(Signal::SIGQUIT),
];
const EVERY: usize = 3;

/// The rows, as they are printed.
pub fn rows() -> Vec<String> {
    course::ALL.iter().flat_map(|c| HARMS.map(|k| row(*c, k))).collect()
}

/// What is played by a suite of its own: each course of each column, of which something is wanted. The longest come first.
pub fn shares<'c>(columns: &'c [Column], wanted: &dyn Fn(&str, &str) -> bool) -> Vec<Share<'c>> {
    let mut courses = course::ALL;
    courses.sort_by_key(|course| !course.is_sandbox());
    let all = courses.iter().flat_map(|course| columns.iter().map(move |column| (*course, column)));
    let played = all.filter(|(course, column)| HARMS.iter().any(|kind| wanted(&row(*course, *kind), &column.name())));
    played.map(|(course, column)| (column, rows_of(course))).collect()
}

fn rows_of(course: Course) -> String {
    format!("inject: {}: ", course.name())
}

fn row(course: Course, kind: Harm) -> String {
    let what = match kind {
        Harm::Failures => "each call fails",
        Harm::Refusals => "each call is refused throughout",
        Harm::Signals => "each moment is hit by a signal",
        Harm::Omissions => "each call that is left out is missed",
    };
    rows_of(course) + what
}

/// Plays one column; only codexrun's have anything to play.
pub fn run_one(stage: &Stage, column: &Column, part: Part, wanted: &dyn Fn(&str) -> bool) {
    for course in course::ALL {
        for kind in HARMS {
            let row = row(course, kind);
            if wanted(&row) {
                crate::told::say(&row, one(stage, column, course, kind, part));
            }
        }
    }
}

fn one(stage: &Stage, column: &Column, course: Course, kind: Harm, part: Part) -> Verdict {
    if column.runtime.kind != Kind::Codexrun {
        return skip("the calls of codexrun are what is made to fail");
    }
    if !nix::unistd::Uid::effective().is_root() {
        return skip("ptrace(2) of processes that are not dumpable needs root");
    }
    if !course.is_for_all() && !column.actor.is_root() {
        return skip("an ordinary user has a user namespace, which needs a mount namespace; asked as root");
    }
    if let Some(why) = omission::untried(course).filter(|_| kind == Harm::Omissions) {
        return skip(why);
    }
    let busybox = busybox(stage)?;
    let (dir, tag) = stage.place("inject")?;
    let turn = Turn::new(column, dir.clone(), tag, &busybox)?;
    let verdict = strikes(&turn, course, kind, part);
    fs::remove_dir_all(&dir)?;
    verdict
}

fn strikes(turn: &Turn, course: Course, kind: Harm, part: Part) -> Verdict {
    let end = if kind == Harm::Signals { End::Term } else { End::Payload };
    let all = |_| if course.is_dear() { part.of_dear() } else { part };
    let tally = struck(&Ground::new(turn, course, end)?, kind, end, all)?;
    eprintln!("inject: {}: {}: {tally}", turn.column.name(), row(course, kind));
    tally.verdict(row(course, kind))
}

/// A few failures in a cgroup at `path`, of another course each day and of each other ones the next time; for where a launch takes seconds.
pub fn a_few(turn: &Turn, path: &str) -> Verdict {
    const COURSES: [Course; 3] = [Course::Create, Course::Start, Course::Delete];
    const FEW: usize = 3;
    let course = COURSES[today() % COURSES.len()];
    let few = |all: usize| {
        let of = all.div_ceil(FEW).max(1);
        Part { nth: today() / COURSES.len() % of, of }
    };
    let tally = struck(&Ground::in_cgroup(turn, course, path)?, Harm::Failures, End::Payload, few)?;
    eprintln!("inject: {}: {}: {tally}", turn.column.name(), course.name());
    tally.verdict(row(course, Harm::Failures))
}

/// What came of a course that was struck at again and again.
struct Tally {
    calls: usize,
    all: usize,
    tried: usize,
    /// Never struck, however often the launch was made again.
    missed: usize,
    faults: Vec<String>,
}

impl Tally {
    fn verdict(self, row: String) -> Verdict {
        if self.faults.is_empty() { Ok(()) } else { fail(row, "all or nothing, and nothing left", self.faults.join("\n")) }
    }
}

/// How often a launch is made that does not come by the call which is to be struck at: it may go one way or another, as processes meet.
const TRIES: usize = 5;

/// As `scripts/robustness` reads it.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { calls, all, tried, missed, faults } = self;
        write!(f, "{calls} calls, {tried} of {all} trials, {missed} never struck, {} faults", faults.len())
    }
}

/// Strikes at a part of what there is to strike at, which `part` chooses by its size.
fn struck(ground: &Ground, kind: Harm, end: End, part: impl Fn(usize) -> Part) -> Result<Tally, No> {
    let (tracer, thorough) = (Tracer::new(ground.program())?, Tracer::new(ground.program())?.thorough());
    let judge = Judge::new(ground.course(), ground.trial(&tracer, None, end)?)?.knowing(ground.listing()?);
    let mut unknown: Vec<&str> =
        judge.calls().iter().filter(|call| errno::plausible(call.nr).is_none()).map(|call| story::name(call.nr)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        return fail(ground.course().name(), "every call has its errnos (errno.rs)", unknown.join(", "));
    }
    let all = blows(&judge, kind);
    let part = part(all.len());
    let mut tally = Tally { calls: judge.calls().len(), all: all.len(), tried: 0, missed: 0, faults: Vec::new() };
    for (call, blow) in all.iter().skip(part.nth).step_by(part.of) {
        let (trial, fault) = tried(ground, &tracer, &judge, (*call, *blow), end)?;
        tally.tried += 1;
        tally.missed += usize::from(!trial.traced.struck);
        if let Some(what) = fault {
            // Once is enough, also if it never comes again: what happened to a payload by chance has happened.
            let again = ground.trial(&thorough, Some((*call, *blow)), end);
            let (comes, story) = match &again {
                Ok(again) => {
                    (judge.fault(*call, *blow, again).unwrap_or("nothing is wrong".into()), again.traced.story.to_string())
                }
                Err(no) => (format!("cannot be tried: {no:?}"), String::new()),
            };
            let first = &trial.traced.story;
            tally.faults.push(format!(
                "{}: {what}\n{first}a second time, with all that happened: {comes}\n{story}",
                judge::blow(call, blow)
            ));
            if again.is_err() {
                // Nothing can be tried beside what was left.
                break;
            }
        }
    }
    Ok(tally)
}

/// A launch that was struck, or the last that was not; and what is wrong with it, which one that was not struck may have, too.
fn tried(ground: &Ground, tracer: &Tracer, judge: &Judge, strike: (Call, Blow), end: End) -> Result<(Trial, Option<String>), No> {
    let once = || ground.trial(tracer, Some(strike), end).map(|trial| (judge.fault(strike.0, strike.1, &trial), trial));
    let (mut fault, mut trial) = once()?;
    for _ in 1..TRIES {
        if trial.traced.struck || fault.is_some() {
            break;
        }
        (fault, trial) = once()?;
    }
    Ok((trial, fault))
}

fn blows(judge: &Judge, kind: Harm) -> Vec<(Call, Blow)> {
    let calls = judge.calls();
    match kind {
        Harm::Failures => {
            let fails =
                |call: Call| judge.plausible(call).unwrap_or_default().into_iter().map(move |errno| (call, Blow::Fails(errno)));
            calls.iter().copied().flat_map(fails).collect()
        }
        Harm::Signals => {
            let rarer = |at: usize| at.is_multiple_of(EVERY).then(|| RARER[at / EVERY % RARER.len()]);
            let blows = |at: usize| SIGNALS.map(Blow::Signal).into_iter().chain(rarer(at));
            calls.iter().enumerate().flat_map(|(at, call)| blows(at).map(|blow| (*call, blow))).collect()
        }
        Harm::Omissions => judge.omissions().map(|omission| (omission.call, Blow::Omitted(omission.said))).collect(),
        Harm::Refusals => {
            let mut seen = HashSet::new();
            let first = calls.iter().filter(|call| fallback::is_refusable(call.nr) && seen.insert(call.nr));
            first.flat_map(|call| fallback::REFUSALS.map(|errno| (*call, Blow::Refused(errno)))).collect()
        }
    }
}
