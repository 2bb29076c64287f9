//! Who runs: every contender as data, with its command lines and whom it is compared to.

use std::ffi::OsString;
use std::io::Result;
use std::path::{Path, PathBuf};

use crate::oci;
use crate::place::Place;
use crate::shape::{self, Base, words};
use crate::sys;

/// A command line: the program and its arguments.
pub type Line = Vec<OsString>;

/// One row of the table.
pub struct Contender {
    /// What is run.
    pub shape: Shape,
    /// By whom.
    pub name: &'static str,
    /// Run once, before anything is measured; their standard input stays open as long as the bench lives.
    pub set_up: Vec<Line>,
    /// What one round runs and measures, in this order.
    pub steps: Vec<Step>,
    /// Run once, at the end or after a failure, whether or not there is anything left to undo.
    pub clean_up: Vec<Line>,
    /// A payload that shows its mounts and waits; None where no process of the runtime waits with it.
    pub probe: Option<Line>,
    /// Where all of them start.
    pub cwd: PathBuf,
    /// Names it may leave on the host; removed between rounds, so that each finds them missing.
    pub placeholders: Vec<PathBuf>,
}

/// One measured command line.
pub struct Step {
    /// The line.
    pub argv: Line,
    /// The file that tells the payload's process id, if the payload's end has to be awaited before the next step. That wait is
    /// not measured.
    pub payload: Option<PathBuf>,
}

impl Step {
    /// A line behind which there is nothing to wait for.
    pub fn new(argv: Line) -> Step {
        Step { argv, payload: None }
    }
}

/// The things that are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A policy over the host's root.
    Sandbox,
    /// A minimal busybox bundle.
    Run,
    /// The same bundle by `create`, `start` and `delete`.
    Lifecycle,
    /// One more process in a running container of it.
    Exec,
}

impl Shape {
    /// In the order of the table.
    pub const ALL: [Shape; 4] = [Shape::Sandbox, Shape::Run, Shape::Lifecycle, Shape::Exec];

    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Sandbox => "sandbox --policy workspace-write",
            Shape::Run => "run, minimal bundle",
            Shape::Lifecycle => "create + start + delete, minimal bundle",
            Shape::Exec => "exec, minimal bundle",
        }
    }

    /// Whom the others are compared to.
    pub fn peer(self) -> &'static str {
        match self {
            Shape::Sandbox => EQUAL,
            Shape::Run | Shape::Lifecycle | Shape::Exec => oci::BARE_CRUN,
        }
    }

    /// The most that codexrun may take of the peer's time.
    pub fn time_target(self) -> f64 {
        match self {
            Shape::Sandbox => 0.7,
            Shape::Run | Shape::Lifecycle | Shape::Exec => 0.5,
        }
    }

    /// The part of the peer's system calls that codexrun may make: one in so many.
    pub fn calls_target(self) -> Option<usize> {
        match self {
            Shape::Sandbox => None,
            Shape::Run | Shape::Lifecycle | Shape::Exec => Some(3),
        }
    }
}

/// Our own name in the table.
pub const OURS: &str = "codexrun";
/// The lower bound's name.
pub const FLOOR: &str = "floor";
const EQUAL: &str = "bwrap, same mounts";

/// Does nothing.
pub const QUIET: &str = "/bin/true";
/// Shows its mounts, then waits to be looked at.
pub const PROBE: &str = "/bin/cat /proc/self/mountinfo -";

/// All that can be named; whether each can run is seen when it is tried.
pub fn all(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Vec<Contender>> {
    let mut all = sandboxes(place, codexrun, floor);
    all.extend(oci::contenders(place, codexrun, floor)?);
    Ok(all)
}

fn sandboxes(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Vec<Contender> {
    let cwd = place.at("repo");
    let same = shape::workspace_write(&cwd, Base::PerDirectory);
    let whole = shape::workspace_write(&cwd, Base::Whole);
    let sandbox = |name, program: &Path, options: Line| Contender {
        shape: Shape::Sandbox,
        name,
        set_up: Vec::new(),
        steps: vec![Step::new([vec![program.into()], options.clone(), words(QUIET)].concat())],
        clean_up: Vec::new(),
        probe: Some([vec![program.into()], options, words(PROBE)].concat()),
        cwd: cwd.clone(),
        placeholders: shape::placeholders(&same),
    };
    let bwrap = Path::new("bwrap");
    let ours = codexrun.map(|path| sandbox(OURS, path, words("sandbox --policy workspace-write --")));
    let mut all = Vec::from_iter(ours);
    all.push(sandbox(EQUAL, bwrap, shape::bwrap(&same)));
    all.push(sandbox("bwrap, as Codex: one bind of /", bwrap, shape::bwrap(&whole)));
    all.push(sandbox(FLOOR, floor, shape::floor(&same, &cwd, sys::uid())));
    all
}
