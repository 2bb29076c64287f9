//! The checks, a subject per file. Most are the same sentence for podman as root, rootless podman and docker, whose command
//! lines agree; what only one of them knows stands in a file of its own.

pub mod bud;
pub mod ctr;
pub mod exec;
pub mod hook;
pub mod join;
pub mod life;
pub mod limit;
pub mod look;
pub mod nest;
pub mod pod;
pub mod right;
pub mod signal;
pub mod start;
pub mod stream;
pub mod tty;
pub mod volume;

use super::Name;
use super::cli::{Cli, until};
use super::hierarchy::Hierarchy;
use super::image;
use super::inside::Site;
use crate::launch::Ran;
use crate::report::{No, Verdict, fail, skip};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;

/// Checks of one subject.
pub struct Group {
    /// Stands before each row.
    pub name: &'static str,
    /// In their order.
    pub checks: &'static [Check],
}

impl Group {
    /// As it is printed.
    pub fn row(&self, check: &Check) -> String {
        format!("{}: {}", self.name, check.name)
    }
}

/// One check: a sentence that must be true.
pub struct Check {
    /// The sentence.
    pub name: &'static str,
    /// Who is asked.
    pub on: On,
    /// How.
    pub run: fn(&Play) -> Verdict,
}

/// Which engines a check is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All that share the group.
    Every,
    /// Those that may write cgroups: not an ordinary user's.
    Rights,
    /// podman as root and rootless.
    Podmans,
    /// podman as root.
    Podman,
    /// podman rootless.
    Rootless,
    /// docker.
    Docker,
}

impl On {
    /// Whether the row exists for this engine.
    pub fn concerns(self, engine: Name) -> bool {
        match self {
            On::Every | On::Rights => true,
            On::Podmans => matches!(engine, Name::Podman | Name::Rootless),
            On::Podman => engine == Name::Podman,
            On::Rootless => engine == Name::Rootless,
            On::Docker => engine == Name::Docker,
        }
    }
}

/// A row of a table.
pub const fn check(name: &'static str, on: On, run: fn(&Play) -> Verdict) -> Check {
    Check { name, on, run }
}

/// What a check plays with: an engine that is ready.
pub struct Play<'a> {
    /// Where.
    pub site: &'a Site,
    /// Which engine.
    pub engine: Name,
    /// Its command line.
    pub cli: Cli,
    made: RefCell<Vec<String>>,
    next: Cell<u32>,
}

impl<'a> Play<'a> {
    /// For all checks of a column.
    pub fn new(site: &'a Site, engine: Name, cli: Cli) -> Play<'a> {
        Play { site, engine, cli, made: RefCell::default(), next: Cell::new(0) }
    }

    /// The check's own verdict; and its containers must let themselves be removed.
    pub fn verdict(&self, check: &Check) -> Verdict {
        if check.on == On::Rights && self.engine == Name::Rootless {
            return skip("an ordinary user has no rights on cgroup v1");
        }
        let verdict = (check.run)(self);
        let removed = self.made.take().iter().try_for_each(|name| self.remove(name));
        verdict.and(removed)
    }

    fn remove(&self, name: &str) -> Verdict {
        match self.engine {
            Name::Containerd => ctr::remove(self, name),
            Name::Docker => self.cli.run(&["rm", "-f", name])?.code_is(0),
            Name::Build => self.cli.run(&["rm", name])?.code_is(0),
            Name::Podman | Name::Rootless => self.cli.run(&["rm", "-f", "-i", "-t", "0", name])?.code_is(0),
        }
    }

    /// A new name; what has it is removed after the check.
    pub fn name(&self) -> String {
        let name = self.number("c");
        self.made.borrow_mut().push(name.clone());
        name
    }

    /// A new name that nobody removes.
    pub fn number(&self, prefix: &str) -> String {
        self.next.set(self.next.get() + 1);
        format!("{prefix}{:02}", self.next.get())
    }

    /// `run --rm`, to its end.
    pub fn run(&self, options: &[&str], command: &[&str]) -> Result<Ran, No> {
        self.cli.run(&words(&["run", "--rm"], options, command))
    }

    /// The same with a shell script.
    pub fn sh(&self, options: &[&str], script: &str) -> Result<Ran, No> {
        self.run(options, &["sh", "-c", script])
    }

    /// What a script says must be this.
    pub fn says(&self, options: &[&str], script: &str, expected: &str) -> Verdict {
        let ran = self.sh(options, script)?;
        ran.must(&format!("exit 0, {expected:?}"), ran.code == 0 && ran.out.trim_end() == expected)
    }

    /// `run -d` of a script; its name.
    pub fn background(&self, options: &[&str], script: &str) -> Result<String, No> {
        let name = self.name();
        let ran = self.cli.run(&words(&["run", "-d", "--name", &name], options, &["sh", "-c", script]))?;
        ran.code_is(0)?;
        Ok(name)
    }

    /// One that does nothing.
    pub fn idle(&self, options: &[&str]) -> Result<String, No> {
        self.background(options, IDLE)
    }

    /// One that has said `ready`.
    pub fn ready(&self, options: &[&str], script: &str) -> Result<String, No> {
        let name = self.background(options, script)?;
        until("the container says it is ready", "true", || {
            Ok(self.cli.run(&["logs", &name])?.out.contains("ready").to_string())
        })?;
        Ok(name)
    }

    /// `exec` of a script.
    pub fn exec(&self, options: &[&str], name: &str, script: &str) -> Result<Ran, No> {
        self.cli.run(&[&["exec"], options, &[name, "sh", "-c", script]].concat())
    }

    /// One field of `inspect`.
    pub fn inspect(&self, name: &str, field: &str) -> Result<String, No> {
        self.cli.said(&["inspect", "--format", &format!("{{{{{field}}}}}"), name])
    }

    /// Waits until a field of `inspect` has a value.
    pub fn becomes(&self, name: &str, field: &str, expected: &str) -> Verdict {
        until(&format!("{field} of {name}"), expected, || self.inspect(name, field))
    }

    /// A file of the cgroup that the container's first process is in.
    pub fn group_file(&self, name: &str, controller: &str, file: &str) -> Result<String, No> {
        group_file(&self.inspect(name, ".State.Pid")?, controller, file)
    }
}

/// A file of a process' cgroup, as it is seen from the column.
pub fn group_file(pid: &str, controller: &str, file: &str) -> Result<String, No> {
    let hierarchies = Hierarchy::of(&PathBuf::from(format!("/proc/{pid}/cgroup")))?;
    let Some(hierarchy) = hierarchies.iter().find(|h| h.has(controller)) else {
        return skip(format!("this machine has no controller `{controller}`"));
    };
    let path = hierarchy.own.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end().into()),
        Err(e) => fail(path.display(), "a cgroup file", e),
    }
}

/// The script of [`Play::idle`]; an end at SIGTERM makes the removal quick.
const IDLE: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";

/// Head, options, image, command. Without a network of its own a container starts faster.
fn words<'w>(head: &[&'w str], options: &[&'w str], command: &[&'w str]) -> Vec<&'w str> {
    let networked = options.iter().any(|o| ["--network", "--pod"].iter().any(|n| o.starts_with(n)));
    let network: &[&str] = if networked { &[] } else { &["--network=none"] };
    [head, network, options, &[image::NAME], command].concat()
}
