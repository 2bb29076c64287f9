//! The launches that are struck at: one per verb, with everything in play that a bundle can ask for.

use super::aftermath::{self, Next};
use super::asked;
use super::container::{self, Container};
use super::material::{self, TRIED_BY_POLICY, WORKSPACE};
use super::outlet::{self, Outlet};
use super::places::Places;
use super::step::Listing;
use super::story::Story;
use super::testimony;
use super::tracer::{Blow, Call, End, Traced, Tracer};
use crate::launch::{Launch, text};
use crate::mounted::Mounted;
use crate::oci::console::Socket;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A verb under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// A policy with denied, missing and protected paths.
    Sandbox,
    /// The same policy, with namespaces if they can be had.
    Auto,
    /// The same policy, with Landlock and a filter in place of namespaces.
    Alone,
    /// The same files, with a domain and ports of the host's and its own: a proxy and a bridge.
    Outlet,
    /// A bundle with all that [`everything`] asks for.
    Run,
    /// The same bundle in the runtime's own mount namespace, as far as it can be had there; root's alone.
    RunHere,
    /// The same with a terminal, whose bytes go to the caller's output.
    RunTerminal,
    /// The same bundle, started undisturbed afterwards.
    Create,
    /// The same with a terminal, whose master goes to a socket.
    CreateTerminal,
    /// The same bundle, created undisturbed before.
    Start,
    /// Into a container of the same bundle that runs.
    Exec,
    /// The same with a terminal of its own.
    ExecTerminal,
    /// The same, not waited for.
    ExecDetached,
    /// Of a container that has stopped.
    Delete,
    /// A policy's bundle: placeholders and their keeper, the broker, init.
    PolicyRun,
    /// The same, not waited for.
    PolicyDetached,
    /// The same, started undisturbed afterwards.
    PolicyCreate,
    /// Into a container of it that runs.
    PolicyExec,
    /// Of one that runs, by force.
    PolicyDelete,
}

/// All of them.
pub const ALL: [Course; 19] = [
    Course::Sandbox,
    Course::Auto,
    Course::Alone,
    Course::Outlet,
    Course::Run,
    Course::RunHere,
    Course::RunTerminal,
    Course::Create,
    Course::CreateTerminal,
    Course::Start,
    Course::Exec,
    Course::ExecTerminal,
    Course::ExecDetached,
    Course::Delete,
    Course::PolicyRun,
    Course::PolicyDetached,
    Course::PolicyCreate,
    Course::PolicyExec,
    Course::PolicyDelete,
];

/// What a policy's bundle is launched by.
const OF_POLICIES: [Course; 5] =
    [Course::PolicyRun, Course::PolicyDetached, Course::PolicyCreate, Course::PolicyExec, Course::PolicyDelete];

impl Course {
    /// As a row calls it.
    pub fn name(self) -> &'static str {
        match self {
            Course::Sandbox => "sandbox",
            Course::Auto => "sandbox with namespaces if there are any",
            Course::Alone => "sandbox without namespaces",
            Course::Outlet => "sandbox with a proxy",
            Course::Run => "run",
            Course::RunHere => "run without a mount namespace",
            Course::RunTerminal => "run with a terminal",
            Course::Create => "create",
            Course::CreateTerminal => "create with a terminal",
            Course::Start => "start",
            Course::Exec => "exec",
            Course::ExecTerminal => "exec with a terminal",
            Course::ExecDetached => "exec that is not waited for",
            Course::Delete => "delete",
            Course::PolicyRun => "run of a policy's bundle",
            Course::PolicyDetached => "run of a policy's bundle that is not waited for",
            Course::PolicyCreate => "create of a policy's bundle",
            Course::PolicyExec => "exec into a policy's container",
            Course::PolicyDelete => "delete by force of a policy's container",
        }
    }

    /// Whether its bundle is one that `spec --from-policy` has made.
    pub fn is_of_policy(self) -> bool {
        OF_POLICIES.contains(&self)
    }

    /// Whether it removes a container, and has no payload.
    pub fn deletes(self) -> bool {
        matches!(self, Course::Delete | Course::PolicyDelete)
    }

    /// Whether it ends before its payload begins.
    pub fn creates(self) -> bool {
        matches!(self, Course::Create | Course::CreateTerminal | Course::PolicyCreate)
    }

    /// Whether its own process stays until the payload has ended.
    pub fn waits(self) -> bool {
        let runs = matches!(self, Course::Run | Course::RunHere | Course::RunTerminal | Course::PolicyRun);
        runs || matches!(self, Course::Exec | Course::ExecTerminal | Course::PolicyExec) || self.is_sandbox()
    }

    /// Whether it begins a container's process, by itself or with the `start` that follows.
    pub fn starts(self) -> bool {
        !self.is_sandbox() && !self.joins() && !self.deletes()
    }

    /// Whether it is made of a policy, and has no name.
    pub fn is_sandbox(self) -> bool {
        matches!(self, Course::Sandbox | Course::Auto | Course::Alone | Course::Outlet)
    }

    /// Whether other processes of codexrun's than the first do something for it beside the plan.
    pub fn is_tried_apart(self) -> bool {
        matches!(self, Course::Auto | Course::Outlet)
    }

    /// Whether a trial takes many times longer than others do, or most of it is another course's too, so that fewer must be enough.
    pub fn is_dear(self) -> bool {
        self == Course::Outlet || self.is_of_policy()
    }

    /// Whether an ordinary user can have it: another mount namespace comes with the user namespace.
    pub fn is_for_all(self) -> bool {
        self != Course::RunHere
    }

    /// Whether nobody waits for its payload.
    pub fn is_detached(self) -> bool {
        matches!(self, Course::ExecDetached | Course::PolicyDetached)
    }

    /// Whether what it has begun goes on when it is killed: it is not its own. Who has lost his terminal does not.
    pub fn is_outlived(self) -> bool {
        let by_joining = matches!(self, Course::Exec | Course::ExecDetached | Course::PolicyExec);
        by_joining || self.starts() && !self.waits()
    }

    /// Whether it joins a container that runs.
    pub fn joins(self) -> bool {
        matches!(self, Course::Exec | Course::ExecTerminal | Course::ExecDetached | Course::PolicyExec)
    }

    /// Whether it is told to write the pid of its process to a file.
    fn tells_pid(self) -> bool {
        matches!(self, Course::Run | Course::Create | Course::ExecDetached | Course::PolicyDetached)
    }
}

/// Where a course is run again and again.
pub struct Ground<'t> {
    turn: &'t Turn<'t>,
    course: Course,
    bundle: PathBuf,
    /// One whose program ends at once.
    plain: String,
    id: String,
    /// For masters of terminals and listeners of filters: they stay in its queue until the trial is over.
    socket: Socket,
    /// A listener of the host's that no policy grants.
    shut: Socket,
    /// Of the course that has one.
    outlet: Option<Outlet>,
    _peer: Mounted,
}

/// One repetition, and all that can be said about it.
pub struct Trial {
    /// What the tracer saw.
    pub traced: Traced,
    /// What the payload said; none: it did not run.
    pub said: Option<Vec<String>>,
    /// What a look around found; the next codexrun command has run by then.
    pub left: Option<String>,
    /// How often each of the late hooks has run by then.
    pub late: [usize; 2],
}

impl<'t> Ground<'t> {
    /// Prepares the files of a course; `end` says how its payload ends.
    pub fn new(turn: &'t Turn<'t>, course: Course, end: End) -> Result<Ground<'t>, No> {
        Ground::of(turn, course, end, material::everything(turn))
    }

    /// The same, with the container in this cgroup, and limited there.
    pub fn in_cgroup(turn: &'t Turn<'t>, course: Course, path: &str) -> Result<Ground<'t>, No> {
        let mut config = material::everything(turn);
        config["linux"]["cgroupsPath"] = json!(path);
        config["linux"]["resources"] = json!({"pids": {"limit": 50}, "memory": {"limit": 67_108_864}});
        Ground::of(turn, course, End::Payload, config)
    }

    fn of(turn: &'t Turn<'t>, course: Course, end: End, mut config: Value) -> Result<Ground<'t>, No> {
        let (socket, shut) = (Socket::new(turn)?, Socket::new(turn)?);
        let outlet = (course == Course::Outlet).then(Outlet::new).transpose()?;
        if course == Course::RunHere {
            material::here(&mut config, turn);
        }
        let script = material::script(course, end);
        config["linux"]["seccomp"]["listenerPath"] = json!(socket.path);
        config["process"]["terminal"] = json!(matches!(course, Course::RunTerminal | Course::CreateTerminal));
        config["process"]["args"] = match course {
            Course::Exec | Course::ExecTerminal | Course::ExecDetached => json!(["/bin/sleep", "1000"]),
            Course::Delete => json!(["/bin/true"]),
            _ => json!(["/bin/sh", "-c", script]),
        };
        fs::write(turn.dir.join("script"), &script)?;
        fs::create_dir_all(turn.dir.join(PIDS))?;
        let peer = material::workspace(turn, course, &socket)?;
        material::connections(turn, [&socket, &shut], outlet.as_ref())?;
        let bundle = if course.is_of_policy() { material::compiled(turn, course, &script)? } else { turn.bundle(&config)? };
        let id = turn.fresh();
        let mut plain = turn.config(&["/bin/true"]);
        plain["linux"]["cgroupsPath"] = config["linux"]["cgroupsPath"].clone();
        let plain = turn.bundle(&plain)?.display().to_string();
        if !course.is_of_policy() {
            material::furnish(&bundle.join("rootfs"))?;
            asked::furnish(&bundle.join("rootfs"), &turn.column.runtime.path.with_file_name("probe"))?;
        }
        turn.column.actor.own(&turn.dir)?;
        Ok(Ground { turn, course, bundle, plain, id, socket, shut, outlet, _peer: peer })
    }

    /// What is run on it.
    pub fn course(&self) -> Course {
        self.course
    }

    /// The steps of its plan; none where no verb lists them: of who joins, and of a proxy.
    pub fn listing(&self) -> Result<Option<Listing>, No> {
        let bundle = self.bundle.display().to_string();
        let launch = match self.course {
            Course::Outlet => return Ok(None),
            course if course.joins() => return Ok(None),
            course if course.is_sandbox() => self.of_policy("plan", "true"),
            _ => self.turn.launch(&["plan", &bundle]),
        };
        let ran = launch.run(&self.turn.column.actor)?;
        ran.must("exit 0", ran.code == 0)?;
        let listing = Listing::of(&ran.out);
        Ok(Some(match self.course {
            course if course.is_sandbox() => listing,
            course if course.creates() => listing.recorded("create"),
            _ => listing.recorded("run"),
        }))
    }

    /// The file of codexrun.
    pub fn program(&self) -> &Path {
        &self.turn.column.runtime.path
    }

    /// Runs the course once.
    pub fn trial(&self, tracer: &Tracer, strike: Option<(Call, Blow)>, end: End) -> Result<Trial, No> {
        let end = if self.course.waits() || self.course.joins() { end } else { End::Payload };
        self.played(Next::after(strike), |launch| {
            // What it starts makes its last steps by itself.
            let created = (self.course == Course::Start).then(|| container::waiting(&self.first())).transpose()?;
            Ok(tracer.run(&launch, &self.turn.column.actor, created, strike, end)?)
        })
    }

    /// Runs the course once, with nobody who traces it, in the surroundings that `change` gives the launch.
    pub fn untraced(&self, change: impl FnOnce(Launch) -> Launch) -> Result<Trial, No> {
        self.played(Next::Delete, |launch| {
            let running = change(launch).start(&self.turn.column.actor)?;
            let out = running.output()?;
            let ran = running.finish_beside_others()?;
            Ok(Traced {
                calls: Vec::new(),
                omissions: Vec::new(),
                requests: HashMap::new(),
                payloads: HashSet::new(),
                subject: None,
                struck: false,
                code: ran.code,
                killed: false,
                begun: false,
                out,
                err: ran.err,
                hung: ran.timed_out,
                stalled: false,
                story: Story::default(),
            })
        })
    }

    fn played(&self, next: Next, play: impl FnOnce(Launch) -> Result<Traced, No>) -> Result<Trial, No> {
        let mounts = crate::oci::host_mounts();
        let before = self.before()?;
        let joined = self.course.joins().then(|| Container::of(&self.first())).transpose()?;
        let places = Places::look(self.turn, self.log());
        let mut traced = play(self.launch()?)?;
        // What the proxy says is in its log, too.
        traced.err = traced.err.split_inclusive('\n').filter(|line| !outlet::is_refusal(line)).collect();
        let pid = self.told_pid(&traced)?;
        let (said, wrong) = self.testimony(&mut traced, before, joined.as_ref())?;
        let wrong = pid.or(wrong).or_else(|| joined.and_then(|container| container.change()));
        let given = format!("descriptors for the agent and the console: {}", self.socket.forget()?);
        self.shut.forget()?;
        let left = self.left(next, &traced, &mounts)?.or(wrong);
        let new = || Some(places.new_ones().join("; ")).filter(|new| !new.is_empty());
        let said = testimony::of(&said).map(|lines| [vec![given], lines].concat());
        let late = asked::LATE.map(|hook| self.turn.mark(hook).lines().count());
        Ok(Trial { said, left: left.or_else(new), traced, late })
    }

    fn launch(&self) -> Result<Launch, No> {
        let (id, dir) = (self.id.as_str(), self.bundle.display().to_string());
        let script = fs::read_to_string(self.turn.dir.join("script"))?;
        let pid = self.pid_file().display().to_string();
        Ok(match self.course {
            Course::Sandbox | Course::Auto | Course::Alone | Course::Outlet => self.sandbox(&script),
            Course::Run => self.turn.launch(&["run", "--bundle", &dir, "--pid-file", &pid, id]),
            Course::RunHere | Course::RunTerminal => self.turn.launch(&["run", "--bundle", &dir, id]),
            Course::Create => self.turn.launch(&["create", "--bundle", &dir, "--pid-file", &pid, id]),
            Course::CreateTerminal => {
                let socket = self.socket.path.display().to_string();
                self.turn.launch(&["create", "--bundle", &dir, "--console-socket", &socket, id])
            }
            Course::Start => self.turn.launch(&["start", id]),
            Course::Exec => self.exec(&[], &script),
            Course::ExecTerminal => self.exec(&["--tty"], &script),
            Course::ExecDetached => self.exec(&["--detach", "--pid-file", &pid], &script),
            Course::Delete => self.turn.launch(&["delete", id]),
            Course::PolicyRun => self.turn.launch(&["run", "--bundle", &dir, id]),
            Course::PolicyDetached => self.turn.launch(&["run", "--detach", "--bundle", &dir, "--pid-file", &pid, id]),
            Course::PolicyCreate => self.turn.launch(&["create", "--bundle", &dir, id]),
            Course::PolicyExec => self.exec(&[], &script),
            Course::PolicyDelete => self.turn.launch(&["delete", "--force", id]),
        })
    }

    fn exec(&self, options: &[&str], script: &str) -> Launch {
        self.turn.launch(&[&["exec"], options, &[&self.id, "/bin/sh", "-c", script]].concat())
    }

    fn sandbox(&self, script: &str) -> Launch {
        self.of_policy("sandbox", script)
    }

    fn of_policy(&self, verb: &str, script: &str) -> Launch {
        let dir = &self.turn.dir;
        let [policy, cwd, asks] = ["policy.json", "workspace", "asks"].map(|name| dir.join(name).display().to_string());
        let mut options = self.outlet.as_ref().map_or(vec![], |outlet| outlet.options(&self.log()));
        if self.course == Course::Auto {
            options.extend(["--isolation", "auto"].map(str::to_string));
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let words = [&[verb, "--policy", &policy, "--cwd", &cwd], &options[..], &["--", "/bin/sh", "-c", script]];
        let mut launch = self.turn.launch(&words.concat());
        let probe = self.turn.column.runtime.path.with_file_name("probe").display().to_string();
        launch.env.extend([("TRIED".into(), TRIED_BY_POLICY.into()), ("ASKS".into(), format!("{probe} {asks}"))]);
        launch
    }

    fn log(&self) -> PathBuf {
        self.turn.dir.join("log")
    }

    fn pid_file(&self) -> PathBuf {
        self.turn.dir.join(PIDS).join("pid")
    }

    /// Where the pid is of the first process of a container that was there before.
    fn first(&self) -> PathBuf {
        self.turn.dir.join("first")
    }

    /// What is wrong with a file of somebody's that was to be replaced by one with the pid: it is whole, and alone.
    fn told_pid(&self, traced: &Traced) -> Result<Option<String>, No> {
        if !self.course.tells_pid() {
            return Ok(None);
        }
        let names: Vec<_> = fs::read_dir(self.turn.dir.join(PIDS))?.flatten().map(|entry| entry.file_name()).collect();
        // Replaced by two calls, it is nobody's between them.
        let text = fs::read_to_string(self.pid_file()).unwrap_or_default();
        let inode = |path: &Path| fs::metadata(path).map(|of| (of.dev(), of.ino())).ok();
        let inside = || inode(&Path::new("/proc").join(&text).join("root/etc/fixed"));
        let good = match traced.code {
            // It waits for its start, unless the blow was its end.
            0 if self.course.creates() => {
                let (inside, there) = (inside(), inode(&self.bundle.join("rootfs/etc/fixed")));
                inside == there || inside.is_none() && traced.struck && text.parse::<u32>().is_ok()
            }
            0 => text.parse::<u32>().is_ok(),
            _ => text.is_empty() || text == NO_PID || text.parse::<u32>().is_ok(),
        };
        let alone = names.len() == usize::from(!text.is_empty());
        Ok((!alone || !good).then(|| format!("a pid file with `{text}`, among {names:?}")))
    }

    /// Whether the process whose pid was told is no more, or a zombie: it says nothing any more.
    fn has_ended(&self) -> bool {
        // The process that `start` lets go was made before.
        let file = if self.course == Course::Start { self.first() } else { self.pid_file() };
        let told = fs::read_to_string(file).ok().and_then(|text| text.parse::<u32>().ok());
        told.is_some_and(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_err())
    }

    /// What has to be there before the traced call: the file that a created container writes to.
    fn before(&self) -> Result<Option<File>, No> {
        fs::write(self.pid_file(), NO_PID)?;
        // What an earlier trial's hooks and payload have said aside.
        for name in [&asked::LATE[..], &[asked::HOOKS, "said"]].concat() {
            fs::write(self.turn.trace(name), "")?;
            fs::set_permissions(self.turn.trace(name), fs::Permissions::from_mode(0o666))?;
        }
        if self.course != Course::Start && !self.course.deletes() && !self.course.joins() {
            return Ok(None);
        }
        let (bundle, pid) = (self.bundle.display().to_string(), self.first().display().to_string());
        let (ran, out) = self.turn.call_with_output(&["create", "--bundle", &bundle, "--pid-file", &pid, &self.id])?;
        ran.must("exit 0", ran.code == 0)?;
        if self.course != Course::Start {
            self.turn.succeeds(&["start", &self.id])?;
        }
        if self.course == Course::Delete {
            patiently(|| self.status().as_deref() == Some("stopped"));
        }
        Ok(Some(out))
    }

    fn status(&self) -> Option<String> {
        self.turn.call(&["state", &self.id]).ok().as_ref().and_then(aftermath::status)
    }

    /// What a payload has said, and what is wrong with a container whose maker was killed.
    fn testimony(
        &self,
        traced: &mut Traced,
        before: Option<File>,
        joined: Option<&Container>,
    ) -> Result<(String, Option<String>), No> {
        let mut wrong = None;
        if self.course.creates() && traced.code == 0 {
            // What went wrong after its end is told by the next call.
            let start = self.turn.call(&["start", &self.id])?;
            (traced.code, traced.err) = (start.code, start.err);
        } else if self.course.creates() && traced.killed {
            wrong = self.started_by_another()?;
        }
        let out = before.as_ref().filter(|_| self.course == Course::Start).unwrap_or(&traced.out);
        let said = || match self.course {
            Course::CreateTerminal => self.turn.mark("said"),
            _ => text(out).unwrap_or_default(),
        };
        let leaves = self.course == Course::Start || self.course.is_detached();
        if (self.course.creates() || leaves) && traced.code == 0 {
            patiently(|| said().ends_with("end\n") || self.has_ended());
        }
        if traced.killed && (self.course.starts() && !self.course.waits()) {
            // It waits still, or goes on without whoever has started it.
            patiently(|| said().ends_with("end\n") || self.status().as_deref() != Some("running"));
        }
        if let Some(container) = joined.filter(|_| traced.killed) {
            patiently(|| said().ends_with("end\n") || container.guests().is_empty());
        }
        Ok((said(), wrong))
    }

    /// Of a container whose `create` was killed: one that is said to be created can be started, and no other.
    fn started_by_another(&self) -> Result<Option<String>, No> {
        let status = self.status();
        let Some(status @ ("created" | "creating")) = status.as_deref() else { return Ok(None) };
        let start = self.turn.call(&["start", &self.id])?;
        let good = if status == "created" { start.code == 0 } else { start.code != 0 && start.err.lines().count() == 1 };
        Ok((!good).then(|| format!("a container that is {status}: {}", start.summary())))
    }

    /// What stays after the next codexrun commands have been given their chance.
    fn left(&self, next: Next, traced: &Traced, mounts: &str) -> Result<Option<String>, No> {
        let known = self.course.deletes() && traced.code == 0 && self.status().is_some();
        let mut wrong = if self.course.is_sandbox() {
            None
        } else {
            next.come(self.turn, &self.id, &self.plain, self.course != Course::Delete)?
        };
        if wrong.is_none() && (self.course.is_sandbox() || self.course.is_of_policy()) {
            wrong = self.next_sandbox()?;
        }
        if wrong.is_some() {
            return Ok(wrong);
        }
        if known {
            return Ok(Some(KNOWN.into()));
        }
        if self.turn.globals.get().contains(&"--systemd-cgroup") {
            // The last word of a scope that is empty is systemd's.
            patiently(|| crate::oci::cgroups(&self.turn.tag).is_empty());
        }
        let over = || self.outlet.as_ref().map_or(Ok(()), |outlet| outlet.is_over(&self.log()));
        let clean = crate::oci::nothing_left(self.turn, mounts).and_then(|()| self.untouched()).and_then(|()| over());
        match clean {
            Ok(()) => Ok(None),
            Err(No::Fail { got, .. }) => Ok(Some(got)),
            Err(other) => Err(other),
        }
    }

    /// A placeholder whose keeper was killed is taken over by the next sandbox, and so is the door of a bridge.
    fn next_sandbox(&self) -> Result<Option<String>, No> {
        let actor = &self.turn.column.actor;
        let doors = self.outlet.as_ref().map_or(vec![], |_| outlet::abandoned(actor));
        if self.untouched().is_ok() && doors.is_empty() {
            return Ok(None);
        }
        outlet::aged(&doors)?;
        let next = self.sandbox("true").run(actor)?;
        let stays = doors.iter().find(|door| door.exists());
        let good = next.code == 0 && next.left.is_empty() && stays.is_none();
        Ok((!good).then(|| format!("the next sandbox: {}; processes: {}; {stays:?}", next.summary(), next.left.join("; "))))
    }

    /// The workspace holds what it held: no placeholder.
    fn untouched(&self) -> Verdict {
        let entries = fs::read_dir(self.turn.dir.join("workspace"))?;
        let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into()).collect();
        names.sort();
        if names == WORKSPACE { Ok(()) } else { fail("(the workspace)", WORKSPACE.join(" "), names.join(" ")) }
    }
}

/// What a payload needs for its testimony many times over, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is left by a `delete` that was told by the kernel that somebody else has deleted it.
pub const KNOWN: &str = "delete: exit 0, and the container is still known";

/// Where a pid file is alone.
const PIDS: &str = "pids";

/// What it says of nobody's before.
const NO_PID: &str = "none";

/// Polls until something holds or has had its time.
pub fn patiently(holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}
