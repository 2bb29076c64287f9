//! How a policy and a command become a running sandbox: directly by `codexrun sandbox`, or as a bundle under any OCI
//! runtime, with what each runtime needs on this machine.

use crate::actor::Actor;
use crate::launch::{Launch, Ran, Running};
use crate::report::{No, fail, skip};
use crate::scene::Scene;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a runtime is, as far as launching it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `codexrun sandbox`: policy in, no bundle on disk.
    Sandbox,
    /// `codexrun run`.
    Codexrun,
    /// `runc run`.
    Runc,
    /// `crun run`.
    Crun,
    /// Anything else that has runc's command line.
    Other,
}

/// One way to launch.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// First half of a column's name.
    pub label: String,
    /// The executable.
    pub path: PathBuf,
    /// Its peculiarities.
    pub kind: Kind,
    /// The codexrun that makes the bundles.
    pub codexrun: PathBuf,
}

/// A runtime and the user who calls it: a column of the matrix.
#[derive(Debug, Clone)]
pub struct Column {
    /// The runtime.
    pub runtime: Runtime,
    /// The caller.
    pub actor: Actor,
}

/// What is to run under which policy.
#[derive(Debug, Clone)]
pub struct Job {
    /// A preset or a file.
    pub policy: String,
    /// The workspace.
    pub cwd: PathBuf,
    /// The command.
    pub argv: Vec<String>,
    /// Environment of the launcher.
    pub env: Vec<(String, String)>,
    /// What the command reads.
    pub stdin: String,
    /// Options of `sandbox` and `spec`.
    pub options: Vec<String>,
    /// Whether descriptors 7 and 9 of the launcher are open on things of the host.
    pub leak: bool,
    /// A Unix socket of the host's, a connection to which is the command's standard input.
    pub handed: Option<PathBuf>,
}

impl Job {
    /// A command under a policy, in the scene's workspace.
    pub fn new(policy: impl ToString, scene: &Scene, argv: &[&str]) -> Job {
        let argv = argv.iter().map(|a| a.to_string()).collect();
        Job {
            policy: policy.to_string(),
            cwd: scene.w(),
            argv,
            env: vec![],
            stdin: String::new(),
            options: vec![],
            leak: false,
            handed: None,
        }
    }

    /// A shell script under a policy.
    pub fn sh(policy: impl ToString, scene: &Scene, script: &str) -> Job {
        Job::new(policy, scene, &["/bin/sh", "-c", script])
    }
}

impl Runtime {
    /// Recognises a runtime by the name of its file.
    pub fn oci(path: &Path, codexrun: &Path) -> Runtime {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_string();
        let kind = match name.as_str() {
            "codexrun" => Kind::Codexrun,
            "runc" => Kind::Runc,
            "crun" => Kind::Crun,
            _ => Kind::Other,
        };
        let label = if kind == Kind::Codexrun { "run".into() } else { name };
        Runtime { label, path: path.into(), kind, codexrun: codexrun.into() }
    }

    /// `codexrun sandbox`.
    pub fn sandbox(codexrun: &Path) -> Runtime {
        Runtime { label: "sandbox".into(), path: codexrun.into(), kind: Kind::Sandbox, codexrun: codexrun.into() }
    }

    /// Whether the runtime reads codexrun's annotations.
    pub fn is_codexrun(&self) -> bool {
        matches!(self.kind, Kind::Sandbox | Kind::Codexrun)
    }
}

/// What runc 1.1.5 says when two of its starts meet while each copies its own binary.
const OWN_FAULTS: &[&str] = &["could not ensure we are a cloned binary"];

impl Column {
    /// `runc/user`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.runtime.label, self.actor.label)
    }

    /// Why nothing at all can run in this column here.
    pub fn obstacle(&self) -> Option<String> {
        if !self.actor.may_execute(&self.runtime.path) {
            return Some(format!("{} cannot execute {}", self.actor.name, self.runtime.path.display()));
        }
        if self.runtime.kind == Kind::Crun && hybrid_cgroup().is_some() && !nix::unistd::Uid::effective().is_root() {
            return Some("crun refuses a hybrid cgroup host; started as root, the suite gives it a pure v1 view".into());
        }
        None
    }

    /// Starts a job and waits for it; again when a referee fails by a known fault of its own, before it has run anything.
    pub fn run(&self, scene: &Scene, job: &Job) -> Result<Ran, No> {
        let ran = self.run_once(scene, job)?;
        if self.own_fault(&ran) { self.run_once(scene, job) } else { Ok(ran) }
    }

    /// Whether a referee has failed by a known fault of its own, before it has done anything.
    pub fn own_fault(&self, ran: &Ran) -> bool {
        !self.runtime.is_codexrun() && OWN_FAULTS.iter().any(|text| ran.err.contains(text))
    }

    fn run_once(&self, scene: &Scene, job: &Job) -> Result<Ran, No> {
        match self.prepare(scene, job)? {
            Prepared::Ready(launch, id) => self.finish(scene, &id, launch.start(&self.actor)?),
            Prepared::Refused(ran) => Ok(ran),
        }
    }

    /// Starts a job; a refusal to make the bundle is a failure of the case.
    pub fn start(&self, scene: &Scene, job: &Job) -> Result<Running, No> {
        match self.prepare(scene, job)? {
            Prepared::Ready(launch, _) => Ok(launch.start(&self.actor)?),
            Prepared::Refused(ran) => fail(&ran.line, "a bundle", ran.summary()),
        }
    }

    fn finish(&self, scene: &Scene, id: &str, running: Running) -> Result<Ran, No> {
        let ran = running.finish()?;
        if ran.timed_out && self.runtime.kind != Kind::Sandbox {
            self.verb(scene, &["delete", "--force", id])?;
        }
        Ok(ran)
    }

    /// `codexrun spec` as the caller, then the command line that runs what it wrote.
    fn prepare(&self, scene: &Scene, job: &Job) -> Result<Prepared, No> {
        if self.runtime.kind == Kind::Sandbox {
            let argv = [self.tool("sandbox", "--policy", job), job.argv.clone()].concat();
            return Ok(Prepared::Ready(self.launch(scene, argv, job), String::new()));
        }
        let bundle = scene.bundle(&self.actor)?;
        let made = self.spec(scene, &bundle, job)?;
        if made.code != 0 || made.timed_out {
            return Ok(Prepared::Refused(made));
        }
        let id = fresh_id();
        let bundle = bundle.display().to_string();
        let argv = self.argv(scene, &["run", "--bundle", &bundle, &id]);
        Ok(Prepared::Ready(self.launch(scene, argv, job), id))
    }

    /// Writes a bundle for this column's runtime.
    pub fn spec(&self, scene: &Scene, bundle: &Path, job: &Job) -> Result<Ran, No> {
        let mut argv = self.tool("spec", "--from-policy", job);
        let at = argv.len() - 1;
        let mut options = vec!["--bundle".to_string(), bundle.display().to_string()];
        if self.maps_to_root() {
            options.extend(["--identity".into(), "root".into()]);
        }
        argv.splice(at..at, options);
        argv.extend(job.argv.clone());
        let launch = Launch { argv, env: self.env(scene, job), ..Launch::new(&[], &scene.dir) };
        Ok(launch.run(&self.actor)?)
    }

    /// runc refuses a user namespace in which uid 0 is not mapped.
    pub fn maps_to_root(&self) -> bool {
        !self.actor.is_root() && matches!(self.runtime.kind, Kind::Runc | Kind::Other)
    }

    fn tool(&self, verb: &str, policy: &str, job: &Job) -> Vec<String> {
        let (exe, cwd) = (self.runtime.codexrun.display().to_string(), job.cwd.display().to_string());
        let words = [&exe, verb, policy, &job.policy, "--cwd", &cwd].map(str::to_string);
        [&words[..], &job.options, &["--".into()]].concat()
    }

    /// Another verb of the runtime (`state`, `kill`, `delete`), with this column's state directory.
    pub fn verb(&self, scene: &Scene, words: &[&str]) -> Result<Ran, No> {
        if self.runtime.kind == Kind::Sandbox {
            return skip("`codexrun sandbox` leaves nothing that has a state");
        }
        let job = Job::new("", scene, &[]);
        Ok(self.launch(scene, self.argv(scene, words), &job).run(&self.actor)?)
    }

    /// A verb that is started only: the caller decides how to wait for it.
    pub fn begin(&self, scene: &Scene, words: &[&str]) -> Result<Running, No> {
        let job = Job::new("", scene, &[]);
        Ok(self.launch(scene, self.argv(scene, words), &job).start(&self.actor)?)
    }

    /// A verb within a shell script, as its `"$@"`; root's has mounts of its own, as what it starts may be wrong about them.
    pub fn within(&self, scene: &Scene, script: &str, words: &[&str]) -> Result<Ran, No> {
        let apart: &[&str] = if self.actor.is_root() { &["unshare", "--mount", "--propagation", "private"] } else { &[] };
        let before = [apart, &["/bin/sh", "-c", script, "sh"]].concat();
        let argv = before.into_iter().map(str::to_string).chain(self.argv(scene, words)).collect();
        Ok(self.launch(scene, argv, &Job::new("", scene, &[])).run(&self.actor)?)
    }

    fn argv(&self, scene: &Scene, words: &[&str]) -> Vec<String> {
        let mut argv = vec![self.runtime.path.display().to_string()];
        argv.extend(self.globals(scene));
        argv.extend(words.iter().map(|w| w.to_string()));
        argv
    }

    /// A private state directory; and no cgroup of its own for an ordinary user, who may make none.
    fn globals(&self, scene: &Scene) -> Vec<String> {
        let mut words = vec!["--root".to_string(), scene.state().display().to_string()];
        if self.runtime.kind == Kind::Crun {
            words.push("--cgroup-manager=disabled".into());
        }
        words
    }

    fn env(&self, scene: &Scene, job: &Job) -> Vec<(String, String)> {
        let runtime_dir = ("XDG_RUNTIME_DIR".to_string(), scene.run().display().to_string());
        std::iter::once(runtime_dir).chain(job.env.clone()).collect()
    }

    /// Adds the wrappers: open descriptors, and crun's view of the cgroups.
    fn launch(&self, scene: &Scene, mut argv: Vec<String>, job: &Job) -> Launch {
        if job.leak {
            let secret = scene.out().join("file.txt");
            let script = format!("exec 7<'{}' 9<'{}'; exec \"$0\" \"$@\"", secret.display(), scene.out().display());
            argv.splice(0..0, ["/bin/sh".into(), "-c".into(), script]);
        }
        if let Some(at) = &job.handed {
            let probe = scene.w().join("bin/probe").display().to_string();
            argv.splice(0..0, [probe, "handed".into(), at.display().to_string()]);
        }
        let (argv, keeps_root) = self.in_its_view(argv);
        Launch { argv, env: self.env(scene, job), dir: job.cwd.clone(), stdin: job.stdin.clone(), keeps_root }
    }

    /// The command line as it must be started here, and whether it changes to the user by itself.
    pub fn in_its_view(&self, argv: Vec<String>) -> (Vec<String>, bool) {
        match hybrid_cgroup().filter(|_| self.runtime.kind == Kind::Crun) {
            Some(mount) => ([pure_v1(&mount, &self.actor), argv].concat(), true),
            None => (argv, false),
        }
    }
}

enum Prepared {
    Ready(Launch, String),
    Refused(Ran),
}

/// A private mount namespace without the cgroup2 mount, then the change to the user: crun refuses a host where a
/// cgroup2 mount beside v1 holds controllers.
fn pure_v1(mount: &str, actor: &Actor) -> Vec<String> {
    let (uid, gid) = (actor.uid, actor.gid);
    let script = format!("umount '{mount}' && exec setpriv --reuid {uid} --regid {gid} --clear-groups -- \"$@\"");
    ["unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", &script, "sh"].map(str::to_string).to_vec()
}

/// Where a cgroup2 hierarchy that has controllers is mounted beside v1 ones.
fn hybrid_cgroup() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let of = |kind: &str| {
        let line = text.lines().find(|l| l.split_once(" - ").is_some_and(|(_, tail)| tail.starts_with(kind)))?;
        line.split(' ').nth(4).map(str::to_string)
    };
    of("cgroup ")?;
    let unified = of("cgroup2 ")?;
    let controllers = std::fs::read_to_string(format!("{unified}/cgroup.controllers")).ok()?;
    (!controllers.trim().is_empty()).then_some(unified)
}

/// An id that no other container of this run has, whichever column it is in.
pub fn fresh_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("conformance-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
