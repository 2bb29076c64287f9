//! Spec + host → [`Plan`]: the ordered list of kernel operations, complete before the first of them. Pure: never looks at
//! the disk, never calls the kernel.

mod alone;
mod broker;
pub mod cgroup;
mod check;
mod chroot;
mod device;
#[cfg(test)]
mod every;
mod exec;
mod filled;
pub mod hook;
mod identity;
mod idmap;
mod join;
mod keeper;
mod kernels;
pub mod label;
mod landlock;
mod mask;
mod mount;
mod namespace;
mod netdevice;
pub mod op;
pub mod options;
pub mod order;
pub mod place;
pub(crate) mod process;
mod reach;
pub mod resctrl;
pub(crate) mod schedule;
mod seccomp;
mod show;
mod sysctl;
#[cfg(test)]
mod tests;
mod time;
mod undone;

use crate::bundle::{Bundle, CONFIG, Rootfs};
use crate::error::Sources;
use crate::host::Host;
use crate::sys::file::Resolve;
use crate::{Error, annotation};
use oci_spec::runtime::{LinuxIdMapping, Process, Spec};
use op::{Op, ParentOp, Sync, UnixStreams};
use order::Stage;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a launch will do, in order: the parent's column and the child's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Outside of the container.
    pub parent: Vec<ParentStep>,
    /// Inside, from the first instruction after clone3(2) to execve(2).
    pub child: Vec<Step>,
    /// Whether PID 1 is codexrun's init.
    pub init: bool,
    /// Whether the process has a terminal.
    pub terminal: bool,
    /// System call names of `linux.seccomp` that no architecture of it knows; the filter says nothing of them.
    pub warnings: Vec<String>,
    /// Hooks after the process has started, and after it has ended.
    pub after: Vec<ParentStep>,
    /// What a process that joins (`exec`) has besides, when it is the container's own one but for its command.
    pub joining: Vec<Step>,
    /// Seconds after which the container is killed by whoever waits for it.
    pub wall: Option<u64>,
}

/// An operation of the child and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub stage: Stage,
    /// What.
    pub op: Op,
    /// Where in config.json, e.g. `mounts[3]`.
    pub origin: String,
}

/// An operation of the parent and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentStep {
    /// What.
    pub op: ParentOp,
    /// Where in config.json.
    pub origin: String,
}

/// A hundred years: more is a mistake.
const WALL_MAX: u64 = 100 * 366 * 86400;

/// What the command line adds to the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The container outlives the command (`create`, `run --detach`).
    pub detach: bool,
    /// The process waits for `start` (`create`).
    pub park: bool,
    /// The container is recorded in the state directory before its process starts.
    pub record: bool,
    /// Descriptors from 3 on that the process keeps.
    pub preserve_fds: u32,
    /// Variables that the process gets above its own, which tell it of listening sockets among them (sd_listen_fds(3)).
    #[serde(default)]
    pub listen: Vec<String>,
    /// The container's name, for its cgroup when the spec has no path for it.
    pub id: Option<String>,
    /// No cgroup is made, and none of its limits can be had (`--cgroup-manager disabled`).
    pub no_cgroup: bool,
    /// The cgroup is a unit of systemd's (`--systemd-cgroup`, `--cgroup-manager systemd`).
    #[serde(default)]
    pub systemd: bool,
    /// Relative sources of binds are relative to it.
    pub bundle_dir: Option<PathBuf>,
    /// The file that was read in place of the bundle's config.json.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// The file that holds a process which joins.
    #[serde(skip)]
    pub process: Option<PathBuf>,
    /// Members of `process`, each with the option that was given in its place.
    #[serde(skip)]
    pub given: Vec<(&'static str, &'static str)>,
    /// A cgroup in which nothing is limited is gone without when the caller may make none (`--rootless`).
    pub may_lack_cgroup: bool,
    /// The caller's session keyring stays the process's (`--no-new-keyring`).
    pub keep_keyring: bool,
    /// Others could write to codexrun's own file if they had a descriptor of it: its program is to be kept ([`Op::Pin`]), if it can be.
    #[serde(default)]
    pub pin: bool,
    /// Of a container that is joined: its broker of Unix sockets is there, and answers for one process more.
    #[serde(default)]
    pub broker: bool,
}

impl Plan {
    /// Decides everything, or says everything that is wrong with the spec.
    pub fn new(bundle: &Bundle, host: &Host, options: &Options) -> Result<Plan, Vec<Error>> {
        let spec = &bundle.spec;
        if alone::is_asked(spec) {
            return alone::plan(bundle, host, options);
        }
        let mut draft = Draft::new(bundle, host, options);
        check::spec(&mut draft, bundle);
        let maps = namespace::plan(&mut draft, spec);
        chroot::plan(&mut draft, spec);
        let mut warnings = cgroup::plan(&mut draft, spec);
        resctrl::plan(&mut draft, spec);
        netdevice::plan(&mut draft, spec);
        sysctl::plan(&mut draft, spec);
        mount::plan(&mut draft, spec, &bundle.rootfs);
        device::plan(&mut draft, spec);
        mask::plan(&mut draft, spec);
        warnings.extend(identity::plan(&mut draft, spec, &maps));
        process::plan(&mut draft, spec);
        warnings.extend(unknown(bundle));
        hook::plan(&mut draft, spec);
        let ports = landlock::plan(&mut draft, spec);
        warnings.extend(seccomp::plan(&mut draft, spec, ports));
        draft.finish(spec, warnings)
    }

    /// The plan of one more process in the running container that was made of `bundle`: `process` joins it.
    pub fn exec(bundle: &Bundle, process: Process, host: &Host, options: &Options) -> Result<Plan, Vec<Error>> {
        let mut spec = bundle.spec.clone();
        let first = spec.process().clone();
        spec.set_process(Some(process));
        let bundle = Bundle { spec, rootfs: bundle.rootfs.clone(), unknown: Vec::new() };
        exec::plan(&bundle, first.as_ref(), host, options)
    }

    /// Whether nobody in the container can come by codexrun's own file while it makes this process.
    pub fn pins(&self) -> bool {
        self.child.iter().any(|step| matches!(step.op, Op::Pin(_)))
    }

    /// Whether the process sees the caller's mounts.
    pub fn makes_no_mounts(&self) -> bool {
        !self.child.iter().any(|step| matches!(step.op, Op::Root(_) | Op::Tree(_) | Op::Join(_) | Op::JoinRoot))
    }

    /// The program, for those who prepare its arguments before the clone.
    pub fn program(&self) -> Option<&op::Exec> {
        self.child.iter().find_map(|step| if let Op::Exec(exec) = &step.op { Some(exec) } else { None })
    }
}

/// What config.json says that nobody knows.
fn unknown(bundle: &Bundle) -> impl Iterator<Item = String> {
    bundle.unknown.iter().map(|path| crate::bundle::unknown(path).at("config.json").to_string())
}

/// A plan in the making: steps in any order, and every reason to refuse.
struct Draft<'a> {
    host: &'a Host,
    options: &'a Options,
    child: Vec<Step>,
    /// What comes first of all.
    streams: Option<ParentStep>,
    before: Vec<ParentStep>,
    parent: Vec<ParentStep>,
    after: Vec<ParentStep>,
    joining: Vec<Step>,
    errors: Vec<Error>,
    /// How symbolic links inside the root are treated.
    resolve: Resolve,
    /// The root is made in memory from what the plan says.
    own_root: bool,
    /// Which namespaces are new, and which are joined.
    spaces: join::Spaces,
    init: bool,
    /// The host's mounts stay shared with the host.
    shared: bool,
    /// There is no mount namespace: the root is entered by chroot(2).
    chroots: bool,
    /// How the host's mounts are taken over: MS_PRIVATE, MS_SLAVE or MS_SHARED.
    taken_over: u64,
    /// A bind that says nothing of propagation is private, whatever they are.
    apart: bool,
    /// How many mounts lie over the root.
    layers: usize,
    /// The SELinux context of new file systems.
    mount_label: Option<String>,
    /// What has no effect, and is said.
    warnings: Vec<String>,
    /// The container's id maps, of users and of groups.
    maps: (Vec<LinuxIdMapping>, Vec<LinuxIdMapping>),
    /// It joins a container that is there, and makes none.
    joins: bool,
    /// The program is kept when it has been found.
    pin: bool,
    wall: Option<u64>,
    /// Bytes that are left for [`place::At::weight`].
    room: usize,
}

/// Of a draft that nobody has filled.
const ROOM: usize = 64 << 20;
/// Warnings that are told.
const TOLD: usize = 100;

impl<'a> Draft<'a> {
    fn new(bundle: &Bundle, host: &'a Host, options: &'a Options) -> Self {
        let says = |key, value| annotation_of(&bundle.spec, key) == Some(value);
        let nofollow = says(annotation::RESOLVE, "nofollow");
        Draft {
            host,
            options,
            child: Vec::new(),
            streams: streams(&bundle.spec, options.detach || options.park),
            before: Vec::new(),
            parent: Vec::new(),
            after: Vec::new(),
            joining: Vec::new(),
            errors: Vec::new(),
            resolve: if nofollow { Resolve::NoLinks } else { Resolve::InRoot },
            own_root: matches!(bundle.rootfs, Rootfs::Skeleton(_)),
            spaces: join::Spaces::default(),
            joins: false,
            pin: false,
            wall: None,
            init: says(annotation::INIT, "reaper"),
            shared: false,
            chroots: false,
            taken_over: 0,
            apart: false,
            layers: 0,
            mount_label: None,
            warnings: Vec::new(),
            maps: Default::default(),
            room: ROOM,
        }
    }

    fn step(&mut self, stage: Stage, op: Op, origin: impl Into<String>) {
        self.child.push(Step { stage, op, origin: origin.into() });
    }

    fn refuse(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.errors.push(Error::new(what).at(place));
    }

    /// Takes a value, or notes why there is none.
    fn take<T>(&mut self, place: &str, value: crate::Result<T>) -> Option<T> {
        value.map_err(|e| self.errors.push(e.at(place))).ok()
    }

    fn take_all<T>(&mut self, place: &str, value: crate::Result<T, Vec<Error>>) -> Option<T> {
        value.map_err(|errors| self.errors.extend(errors.into_iter().map(|e| e.at(place)))).ok()
    }

    /// A place inside the container, resolved as the spec's annotation says; without a mount namespace behind no link, as places are
    /// judged by their names then.
    fn at(&mut self, place: &str, path: &std::path::Path) -> Option<place::At> {
        if self.room == 0 {
            return None;
        }
        let resolve = if self.chroots { Resolve::NoLinks } else { self.resolve };
        let at = place::At::new(path, resolve, self.own_root);
        let at = self.take(place, at)?;
        self.room = self.room.saturating_sub(at.weight());
        if self.room == 0 {
            self.refuse(place, "is one of so many deep paths that the plan would not fit in memory");
        }
        Some(at)
    }

    fn finish(mut self, spec: &Spec, warnings: Vec<String>) -> Result<Plan, Vec<Error>> {
        self.lifecycle(spec);
        self.wall_time(spec);
        self.settle(warnings)
    }

    /// The plan, in order, or every reason why there is none.
    fn settle(mut self, warnings: Vec<String>) -> Result<Plan, Vec<Error>> {
        // The child counts its steps, and names one by its number when it fails.
        if self.child.len() > usize::from(u16::MAX) {
            self.errors.push(Error::new(format!("asks for {} steps, and {} are the most", self.child.len(), u16::MAX)));
        }
        if !self.errors.is_empty() {
            return Err(self.located());
        }
        let mut warnings = [std::mem::take(&mut self.warnings), warnings].concat();
        if let Some(more) = warnings.len().checked_sub(TOLD).filter(|more| *more > 0) {
            warnings.truncate(TOLD);
            warnings.push(format!("config.json: {more} more like these"));
        }
        self.child.sort_by_key(|step| step.stage);
        let terminal = self.has_terminal();
        let parent = self.streams.into_iter().chain(self.before).chain(self.parent).collect();
        let Draft { child, init, after, joining, wall, .. } = self;
        Ok(Plan { parent, child, init, terminal, warnings, after, joining, wall })
    }

    /// The errors, with the file in front of the place in it.
    fn located(self) -> Vec<Error> {
        let Options { bundle_dir, config, process, given, .. } = self.options;
        let file = crate::bundle::file(bundle_dir.as_deref(), config.as_deref());
        let sources = Sources { config: file.as_deref(), process: process.as_deref(), options: given };
        let locate = |mut error: Error| {
            let place = error.place.take().map_or(CONFIG.to_owned(), |place| format!("{CONFIG}: {place}"));
            error.at(place).of(sources)
        };
        self.errors.into_iter().map(locate).collect()
    }

    /// Death with the parent, init, and the hand-over before the process starts.
    fn lifecycle(&mut self, spec: &Spec) {
        self.step(Stage::Modes, Op::Umask(0), "root");
        if annotation_of(spec, annotation::DIE_WITH_PARENT) == Some("true") && !self.options.detach {
            let origin = format!("annotations[{}]", annotation::DIE_WITH_PARENT);
            self.step(Stage::Guard, Op::DieWithParent, &origin);
            self.step(Stage::GuardAgain, Op::DieWithParent, origin);
        }
        if self.spaces.new & libc::CLONE_NEWPID as u64 == 0 {
            // Others are in that pid namespace: with the same ids and no fewer capabilities they could open /proc/PID/exe, codexrun's
            // own file on the host (CVE-2019-5736), all the time that the process waits for `start`.
            self.step(Stage::Bounding, Op::Undumpable, "linux.namespaces");
        }
        if self.init {
            let origin = format!("annotations[{}]", annotation::INIT);
            self.step(Stage::Init, Op::Undumpable, &origin);
            self.step(Stage::Init, Op::Init, origin);
        }
        self.hand_over(if self.options.park { "create" } else { "run" });
    }

    /// A time after which somebody kills the container; who only makes it and goes cannot.
    fn wall_time(&mut self, spec: &Spec) {
        let Some(text) = annotation_of(spec, annotation::WALL_TIME) else { return };
        let place = format!("annotations[{}]", annotation::WALL_TIME);
        match text.parse() {
            Ok(1..=WALL_MAX) if self.options.detach => self.refuse(place, "nobody waits for a container that is detached"),
            Ok(seconds @ 1..=WALL_MAX) => self.wall = Some(seconds),
            _ => self.refuse(place, format!("`{text}` is no number of seconds from 1 to {WALL_MAX}")),
        }
    }

    fn has_terminal(&self) -> bool {
        self.child.iter().any(|step| matches!(step.op, Op::Console { .. } | Op::Terminal { .. }))
    }

    /// The process waits until the parent has recorded it and looked after its terminal, and with `create` until somebody starts it.
    fn hand_over(&mut self, origin: &str) {
        let (record, terminal) = (self.options.record, self.has_terminal());
        if !record && !terminal {
            return;
        }
        let find = |step: &Step| if let Op::Exec(exec) = &step.op { Some(exec.candidates.clone()) } else { None };
        if let Some(candidates) = self.child.iter().find_map(find) {
            let op = if self.pin { Op::Pin(candidates) } else { Op::Find(candidates) };
            self.step(Stage::Ready, op, "process.args");
        }
        self.step(Stage::Ready, Op::Tell(Sync::Ready), origin);
        self.step(Stage::Ready, Op::Wait(Sync::Start), origin);
        if self.options.park {
            self.step(Stage::Ready, Op::Park, origin);
        }
        let mut tell = |op, origin: &str| self.parent.push(ParentStep { op, origin: origin.to_owned() });
        tell(ParentOp::Wait(Sync::Ready), origin);
        // Whoever hears that the container is there may expect its terminal.
        if terminal {
            tell(ParentOp::Terminal, "process.terminal");
        }
        if record {
            tell(ParentOp::Record, origin);
        }
        tell(ParentOp::Tell(Sync::Start), origin);
    }
}

/// The caller's streams are judged, unless the process has a terminal of its own in their place.
/// Only in the foreground there is somebody to relay.
fn streams(spec: &Spec, alone: bool) -> Option<ParentStep> {
    let sockets = annotation_of(spec, annotation::STDIO_SOCKETS)?;
    let terminal = spec.process().as_ref().is_some_and(|process| process.terminal().unwrap_or_default());
    let origin = format!("annotations[{}]", annotation::STDIO_SOCKETS);
    let unix = match sockets {
        annotation::STDIO_ANY => UnixStreams::Passed,
        annotation::STDIO_NONE => UnixStreams::Refused,
        _ if alone => UnixStreams::Refused,
        _ => UnixStreams::Relayed,
    };
    (!terminal).then(|| ParentStep { op: ParentOp::Streams { sockets: sockets.to_owned(), unix }, origin })
}

/// The value of one annotation.
pub fn annotation_of<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

/// The names of the capabilities that `process.capabilities` may have, in the order of the kernel's numbers.
pub fn capabilities() -> Vec<String> {
    // The crate's own `Display` leaves `CAP_` out.
    identity::all().iter().map(|capability| format!("CAP_{capability}")).collect()
}

/// Whether the container stays in the runtime's mount namespace.
pub fn stays_in_mount_namespace(spec: &Spec) -> bool {
    chroot::is_asked(spec)
}

/// Whether a whole tree of mounts of the host's is bound.
pub fn binds_a_tree(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().flat_map(options::words).any(|option| option == "rbind")
}

/// How many different empty read-only file systems a plan may ask the child to remember.
pub const fn mount_slots() -> usize {
    mount::SLOTS
}
