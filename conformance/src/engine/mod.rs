//! Real engines on an OCI runtime: podman as root and rootless, `podman build`, containerd with `ctr`, dockerd. A check that
//! passes with runc must pass with the runtime under test; runc and crun are referees and never fail the run.

mod build;
mod case;
mod cli;
mod containerd;
mod daemon;
mod docker;
mod hierarchy;
mod image;
mod inside;
mod left;
mod place;
mod podman;
mod rootless;
pub mod supervise;

use crate::actor::Actor;
use crate::args::Args;
use crate::report::{Report, asked, skip};
use case::{Group, Play};
use daemon::Daemon;
use inside::Site;
pub use place::COLUMN;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The engines, by the words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// podman as root.
    Podman,
    /// podman as an ordinary user.
    Rootless,
    /// `podman build` and buildah.
    Build,
    /// containerd, driven by `ctr`.
    Containerd,
    /// dockerd with its own containerd.
    Docker,
}

/// One engine: what it needs, how it is set up, what is asked of it.
pub struct Engine {
    /// Which.
    pub name: Name,
    /// Its first half of a column's name.
    pub word: &'static str,
    /// The programs that must be there.
    pub programs: &'static [&'static str],
    /// Makes it ready: configuration, daemon, image.
    pub start: fn(&Site) -> Result<Started, crate::report::No>,
    /// The checks.
    pub groups: &'static [Group],
}

/// An engine that is ready.
pub struct Started {
    /// How it is called.
    pub cli: cli::Cli,
    /// Its daemon, when it has one.
    pub daemon: Option<Daemon>,
    /// A file with the pid of a process that the engine keeps between calls.
    pub keeps: Option<PathBuf>,
}

/// All engines, in the order of the report.
pub const ENGINES: &[Engine] = &[podman::ENGINE, rootless::ENGINE, build::ENGINE, containerd::ENGINE, docker::ENGINE];

/// The words for `--engine`.
pub fn words() -> Vec<&'static str> {
    ENGINES.iter().map(|e| e.word).collect()
}

const STARTS: &str = "engine: it starts and has the image";
const STOPS: &str = "engine: it stops when it is told to";
const LEAVES: &str = "engine: no process, mount, cgroup or state of a container is left";

/// Every engine that was asked for on every runtime. Without root, or on a machine of another kind, all of it is skipped.
pub fn suite(args: &Args, runtimes: &[PathBuf], codexrun: &Path) -> Result<Report, String> {
    let engines = ENGINES.iter().filter(|e| args.engine.is_empty() || args.engine.iter().any(|w| w == e.word));
    let engines: Vec<&Engine> = engines.collect();
    if args.list {
        engines.iter().for_each(|e| rows(e).for_each(|row| println!("{}: {row}", e.word)));
        return Ok(Report::default());
    }
    supervise::run(args, &engines, runtimes, codexrun)
}

fn rows(engine: &Engine) -> impl Iterator<Item = String> {
    engine.groups.iter().flat_map(|g| g.checks.iter().filter(|c| c.on.concerns(engine.name)).map(move |c| g.row(c)))
}

/// Every row once, in the order of the tables: engines share most of them.
fn all_rows(engines: &[&Engine]) -> Vec<String> {
    let checks = engines.iter().flat_map(|e| e.groups).flat_map(|g| g.checks.iter().map(move |c| g.row(c)));
    let all: Vec<String> = [STARTS.to_string()].into_iter().chain(checks).chain([STOPS, LEAVES].map(String::from)).collect();
    let mut seen = std::collections::HashSet::new();
    all.into_iter().filter(|row| seen.insert(row.clone())).collect()
}

/// Why no engine can run here at all.
fn obstacle() -> Option<String> {
    if !nix::unistd::Uid::effective().is_root() {
        return Some("the engines need root: private mounts, cgroups, networks".into());
    }
    let hierarchies = hierarchy::Hierarchy::all().unwrap_or_default();
    let v1 = hierarchies.iter().any(|h| h.has("memory") || h.has("pids"));
    (!v1).then(|| "the engines are driven on cgroup v1 or hybrid machines only".into())
}

/// The inside of a column: `dir` is its own. Says each verdict as it comes.
pub fn column(args: &Args, dir: PathBuf) -> Result<(), String> {
    let say = &crate::told::say;
    let (Some(word), Some(runtime), Some(codexrun)) = (args.engine.first(), args.runtimes.first(), &args.codexrun) else {
        return Err("a column has one engine, one runtime and a codexrun".into());
    };
    let engine = ENGINES.iter().find(|e| e.word == word).ok_or(format!("no engine `{word}`"))?;
    if let Some(missing) = engine.programs.iter().find(|p| crate::on_path(p).is_none()) {
        say(STARTS, skip(format!("`{missing}` is not installed (scripts/packages engines)")));
        return Ok(());
    }
    let site = Site::new(dir, runtime.clone(), codexrun.clone(), Actor::all(args.user.as_deref())?)?;
    let before = left::Look::now(&site);
    match (engine.start)(&site) {
        Ok(started) => play(engine, &site, started, args),
        Err(no) => say(STARTS, Err(no)),
    }
    say(LEAVES, before.compare(&site));
    Ok(())
}

fn play(engine: &Engine, site: &Site, started: Started, args: &Args) {
    let say = &crate::told::say;
    say(STARTS, Ok(()));
    let play = Play::new(site, engine.name, started.cli);
    for group in engine.groups {
        for check in group.checks {
            let row = group.row(check);
            if args.filter.as_ref().is_none_or(|f| row.contains(f.as_str())) && check.on.concerns(engine.name) {
                let begin = Instant::now();
                say(&row, asked(&row, || play.verdict(check)));
                if args.verbose {
                    eprintln!("conformance: {:>6} ms {}: {row}", begin.elapsed().as_millis(), engine.word);
                }
            }
        }
    }
    if let Some(daemon) = started.daemon {
        say(STOPS, daemon.stop());
    }
    if let Some(file) = started.keeps {
        say(STOPS, daemon::end_by_file(&file));
    }
}

/// Whether a runtime only shows what this machine permits.
fn is_referee(runtime: &Path) -> bool {
    runtime.file_name().is_some_and(|n| n == "runc" || n == "crun")
}
