//! The contenders that run a bundle: OCI runtimes, all by the same command lines, and the floor.

use std::ffi::OsString;
use std::io::Result;
use std::path::{Path, PathBuf};

use crate::contender::{Contender, FLOOR, Line, OURS, PROBE, QUIET, Shape, Step};
use crate::place::Place;
use crate::shape::{self, words};
use crate::sys;

/// The bundle asks for no cgroup, so crun's own cgroup is left out where we are judged: the harder comparison.
pub const BARE_CRUN: &str = "crun, no cgroup";

/// Two containers that live at the same time must not share a name, since runtimes name cgroups by it.
const fn id(shape: Shape) -> &'static str {
    match shape {
        Shape::Sandbox | Shape::Run => "codexrun-bench",
        Shape::Lifecycle => "codexrun-bench-lifecycle",
        Shape::Exec => "codexrun-bench-exec",
    }
}

/// Whom codexrun is compared to: name, program, global options.
const OTHERS: &[(&str, &str, &str)] =
    &[("crun", "crun", ""), (BARE_CRUN, "crun", "--cgroup-manager disabled"), ("runc", "runc", "")];

/// Every shape but the sandbox, by every runtime.
pub fn contenders(place: &Place, codexrun: Option<&Path>, floor: &Path) -> Result<Vec<Contender>> {
    let bundles = Bundles::new(place)?;
    let runtime = |name, program: &Path, options| Runtime { name, program: program.into(), options, bundles: &bundles };
    let mut runtimes = Vec::from_iter(codexrun.map(|path| runtime(OURS, path, "")));
    runtimes.extend(OTHERS.iter().map(|(name, program, options)| runtime(name, Path::new(program), options)));
    let mut all: Vec<Contender> = runtimes.iter().map(Runtime::run).collect();
    all.push(bundles.bare(floor));
    all.extend(runtimes.iter().map(Runtime::lifecycle));
    all.extend(runtimes.iter().map(Runtime::exec));
    Ok(all)
}

/// Where the runtime `name` records the containers of a lifecycle; nothing else is recorded there.
pub fn lifecycle_state(place: &Place, name: &str) -> PathBuf {
    state(&place.at("state"), Shape::Lifecycle, name)
}

fn state(dir: &Path, shape: Shape, name: &str) -> PathBuf {
    dir.join(format!("{shape:?}")).join(name)
}

/// One root file system, a bundle of it per payload.
struct Bundles {
    cwd: PathBuf,
    state: PathBuf,
    rootfs: PathBuf,
    quiet: PathBuf,
    probe: PathBuf,
    standing: PathBuf,
}

impl Bundles {
    fn new(place: &Place) -> Result<Bundles> {
        let rootfs = place.rootfs()?;
        let quiet = place.bundle("bundle-quiet", &rootfs, QUIET)?;
        let probe = place.bundle("bundle-probe", &rootfs, PROBE)?;
        // It ends by itself when nobody has the other end of its standard input any more.
        let standing = place.bundle("bundle-standing", &rootfs, "/bin/cat")?;
        Ok(Bundles { cwd: place.at("repo"), state: place.at("state"), rootfs, quiet, probe, standing })
    }

    fn contender(&self, shape: Shape, name: &'static str, steps: Vec<Step>) -> Contender {
        let (set_up, clean_up, placeholders) = (Vec::new(), Vec::new(), Vec::new());
        Contender { shape, name, set_up, steps, clean_up, probe: None, cwd: self.cwd.clone(), placeholders }
    }

    fn bare(&self, floor: &Path) -> Contender {
        let line = |payload| [vec![floor.into()], floor_run(&self.rootfs, sys::uid()), words(payload)].concat();
        Contender { probe: Some(line(PROBE)), ..self.contender(Shape::Run, FLOOR, vec![Step::new(line(QUIET))]) }
    }
}

/// How one runtime is called.
struct Runtime<'a> {
    name: &'static str,
    program: PathBuf,
    options: &'static str,
    bundles: &'a Bundles,
}

impl Runtime<'_> {
    fn run(&self) -> Contender {
        let line = |bundle: &Path| match self.name {
            // What the others have no word for: a bundle without an id.
            OURS => vec![self.program.clone().into(), "run".into(), bundle.into()],
            _ => self.line(Shape::Run, "run", &["--bundle".as_ref(), bundle]),
        };
        let steps = vec![Step::new(line(&self.bundles.quiet))];
        Contender { probe: Some(line(&self.bundles.probe)), ..self.bundles.contender(Shape::Run, self.name, steps) }
    }

    fn lifecycle(&self) -> Contender {
        let line = |verb, options: &[&Path]| self.line(Shape::Lifecycle, verb, options);
        let pid_file = self.bundles.state.join("payload");
        let create = line("create", &["--bundle".as_ref(), &self.bundles.quiet, "--pid-file".as_ref(), &pid_file]);
        let start = Step { payload: Some(pid_file), ..Step::new(line("start", &[])) };
        let steps = vec![Step::new(create), start, Step::new(line("delete", &[]))];
        let clean_up = vec![line("delete --force", &[])];
        Contender { clean_up, ..self.bundles.contender(Shape::Lifecycle, self.name, steps) }
    }

    fn exec(&self) -> Contender {
        let line = |verb, options: &[&Path]| self.line(Shape::Exec, verb, options);
        let exec = |payload| [line("exec", &[]), words(payload)].concat();
        Contender {
            set_up: vec![line("run --detach", &["--bundle".as_ref(), &self.bundles.standing])],
            clean_up: vec![line("delete --force", &[])],
            probe: Some(exec(PROBE)),
            ..self.bundles.contender(Shape::Exec, self.name, vec![Step::new(exec(QUIET))])
        }
    }

    /// Ends with the id.
    fn line(&self, shape: Shape, verb: &str, options: &[&Path]) -> Line {
        let root: [OsString; 2] = ["--root".into(), state(&self.bundles.state, shape, self.name).into()];
        let options = options.iter().map(OsString::from).collect();
        [vec![self.program.clone().into()], root.into(), words(self.options), words(verb), options, words(id(shape))].concat()
    }
}

fn floor_run(rootfs: &Path, uid: u32) -> Line {
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
