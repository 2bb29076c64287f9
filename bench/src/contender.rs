//! Who runs: every contender as data, with its command line and whom it is compared to.

use std::ffi::OsString;
use std::io::Result;
use std::path::{Path, PathBuf};

use crate::place::{Payload, Place};
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

/// All that can be named; whether each can run is seen when it is tried.
pub fn all(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Vec<Contender>> {
    let mut all = sandboxes(place, codexrun, floor);
    all.extend(runs(place, codexrun, floor)?);
    Ok(all)
}

fn sandboxes(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Vec<Contender> {
    let cwd = place.at("repo");
    let (same, whole) = (
        shape::workspace_write(&cwd, Base::PerDirectory),
        shape::workspace_write(&cwd, Base::Whole),
    );
    let sandbox = |name, program: &Path, options: Vec<OsString>| Contender {
        shape: Shape::Sandbox,
        name,
        argv: [vec![program.into()], options.clone(), words("/bin/true")].concat(),
        probe: [
            vec![program.into()],
            options,
            words("/bin/cat /proc/self/mountinfo -"),
        ]
        .concat(),
        cwd: cwd.clone(),
        placeholders: shape::placeholders(&same),
    };
    let bwrap = Path::new("bwrap");
    codexrun
        .map(|path| sandbox(OURS, path, words("sandbox --policy workspace-write --")))
        .into_iter()
        .chain([
            sandbox(EQUAL, bwrap, shape::bwrap(&same)),
            sandbox(
                "bwrap, as Codex: one bind of /",
                bwrap,
                shape::bwrap(&whole),
            ),
            sandbox(FLOOR, floor, shape::floor(&same, &cwd, sys::uid())),
        ])
        .collect()
}

fn runs(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Vec<Contender>> {
    let rootfs = place.rootfs()?;
    let (bundle, probe) = (
        place.bundle(&rootfs, Payload::True)?,
        place.bundle(&rootfs, Payload::Probe)?,
    );
    let (cwd, state) = (place.at("repo"), place.at("state"));
    let run = |name, argv, probe| Contender {
        shape: Shape::Run,
        name,
        argv,
        probe,
        cwd: cwd.clone(),
        placeholders: Vec::new(),
    };
    let oci = |name: &'static str, options: &str| {
        let line = |bundle: &Path| {
            let mut line = words(name);
            line.extend(["--root".into(), state.join(name).into()]);
            line.extend(words(options));
            line.extend([bundle.into(), "codexrun-bench".into()]);
            line
        };
        (line(&bundle), line(&probe))
    };
    let ours = |path: &Path, bundle: &Path| vec![path.into(), "run".into(), bundle.into()];
    let bare = |payload: &str| {
        [
            vec![floor.into()],
            floor_run(&rootfs, sys::uid()),
            words(payload),
        ]
        .concat()
    };
    let (crun, runc) = (oci("crun", "run --bundle"), oci("runc", "run --bundle"));
    let uncontrolled = oci("crun", "--cgroup-manager disabled run --bundle");
    Ok(codexrun
        .map(|path| run(OURS, ours(path, &bundle), ours(path, &probe)))
        .into_iter()
        .chain([
            run("crun", crun.0, crun.1),
            run(BARE_CRUN, uncontrolled.0, uncontrolled.1),
            run("runc", runc.0, runc.1),
            run(
                FLOOR,
                bare("/bin/true"),
                bare("/bin/cat /proc/self/mountinfo -"),
            ),
        ])
        .collect())
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
    line.extend(words(if uid == 0 {
        shape::FLOOR_MADE_NODES
    } else {
        shape::FLOOR_BOUND_NODES
    }));
    line.extend(words("dir dev/shm mount tmpfs dev/shm 14 mode=1777"));
    line.extend(words(if uid == 0 {
        "mount sysfs sys 15 -"
    } else {
        "ro /sys sys"
    }));
    line.extend(words("pivot cd / --"));
    line
}
