//! Who runs: every contender as data, with its command line and whom it is compared to.

use std::ffi::OsString;
use std::io::Result;
use std::path::{Path, PathBuf};

use crate::place::Place;
use crate::shape::{self, Base, words};
use crate::sys;

/// One row of the table.
pub struct Contender {
    /// What is run.
    pub shape: Shape,
    /// By whom.
    pub name: &'static str,
    /// The measured command line.
    pub argv: Vec<OsString>,
    /// The same with a payload that shows its mounts and waits.
    pub probe: Vec<OsString>,
    /// Where both start.
    pub cwd: PathBuf,
    /// Names it may leave on the host; removed between rounds, so that each finds them missing.
    pub placeholders: Vec<PathBuf>,
}

/// The two things that are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A policy over the host's root.
    Sandbox,
    /// A minimal busybox bundle.
    Run,
}

impl Shape {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Sandbox => "sandbox --policy workspace-write",
            Shape::Run => "run, minimal bundle",
        }
    }

    /// Whom the others are compared to.
    pub fn peer(self) -> &'static str {
        match self {
            Shape::Sandbox => EQUAL,
            Shape::Run => BARE_CRUN,
        }
    }

    /// The most that codexrun may take of the peer's time.
    pub fn target(self) -> f64 {
        match self {
            Shape::Sandbox => 0.7,
            Shape::Run => 0.5,
        }
    }
}

/// Our own name in the table.
pub const OURS: &str = "codexrun";
/// The lower bound's name.
pub const FLOOR: &str = "floor";
const EQUAL: &str = "bwrap, same mounts";
/// The bundle asks for no cgroup, so crun's own cgroup is left out where we are judged: the harder comparison.
const BARE_CRUN: &str = "crun, no cgroup";

const QUIET: &str = "/bin/true";
/// Shows its mounts, then waits to be looked at.
const PROBE: &str = "/bin/cat /proc/self/mountinfo -";

/// All that can be named; whether each can run is seen when it is tried.
pub fn all(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Vec<Contender>> {
    let mut all = sandboxes(place, codexrun, floor);
    all.extend(runs(place, codexrun, floor)?);
    Ok(all)
}

fn sandboxes(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Vec<Contender> {
    let cwd = place.at("repo");
    let same = shape::workspace_write(&cwd, Base::PerDirectory);
    let whole = shape::workspace_write(&cwd, Base::Whole);
    let sandbox = |name, program: &Path, options: Vec<OsString>| Contender {
        shape: Shape::Sandbox,
        name,
        argv: [vec![program.into()], options.clone(), words(QUIET)].concat(),
        probe: [vec![program.into()], options, words(PROBE)].concat(),
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

fn runs(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Vec<Contender>> {
    let on = Bundles::new(place)?;
    let ours = codexrun.map(|path| on.run(OURS, |bundle| vec![path.into(), "run".into(), bundle.into()]));
    let mut all = Vec::from_iter(ours);
    all.push(on.run("crun", |bundle| on.oci("crun", "", bundle)));
    all.push(on.run(BARE_CRUN, |bundle| on.oci("crun", "--cgroup-manager disabled", bundle)));
    all.push(on.run("runc", |bundle| on.oci("runc", "", bundle)));
    all.push(on.bare(floor));
    Ok(all)
}

/// One root file system, a bundle of it per payload.
struct Bundles {
    cwd: PathBuf,
    state: PathBuf,
    rootfs: PathBuf,
    quiet: PathBuf,
    probe: PathBuf,
}

impl Bundles {
    fn new(place: &Place) -> Result<Bundles> {
        let rootfs = place.rootfs()?;
        let quiet = place.bundle("bundle-quiet", &rootfs, QUIET)?;
        let probe = place.bundle("bundle-probe", &rootfs, PROBE)?;
        Ok(Bundles { cwd: place.at("repo"), state: place.at("state"), rootfs, quiet, probe })
    }

    fn run(&self, name: &'static str, line: impl Fn(&Path) -> Vec<OsString>) -> Contender {
        let (argv, probe) = (line(&self.quiet), line(&self.probe));
        Contender { shape: Shape::Run, name, argv, probe, cwd: self.cwd.clone(), placeholders: Vec::new() }
    }

    fn oci(&self, runtime: &str, options: &str, bundle: &Path) -> Vec<OsString> {
        let mut line = words(runtime);
        line.extend(["--root".into(), self.state.join(runtime).into()]);
        line.extend(words(options));
        line.extend(["run".into(), "--bundle".into(), bundle.into(), "codexrun-bench".into()]);
        line
    }

    fn bare(&self, floor: &Path) -> Contender {
        let line = |payload| [vec![floor.into()], floor_run(&self.rootfs, sys::uid()), words(payload)].concat();
        let mut bare = self.run(FLOOR, |_| line(QUIET));
        bare.probe = line(PROBE);
        bare
    }
}

fn floor_run(rootfs: &Path, uid: u32) -> Vec<OsString> {
    let mut line = words("mnt pid ipc uts");
    if uid != 0 {
        line.extend(words(&format!("user map 0 {uid}")));
    }
    line.extend(words("hostname bench rootfs"));
    line.push(rootfs.into());
    line.extend(words("mount proc proc 14 -"));
    line.extend(words(shape::FLOOR_DEV));
    line.extend(words(if uid == 0 { shape::FLOOR_MADE_NODES } else { shape::FLOOR_BOUND_NODES }));
    line.extend(words("dir dev/shm mount tmpfs dev/shm 14 mode=1777"));
    line.extend(words(if uid == 0 { "mount sysfs sys 15 -" } else { "ro /sys sys" }));
    line.extend(words("pivot cd / --"));
    line
}
