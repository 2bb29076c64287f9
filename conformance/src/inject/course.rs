//! The launches that are struck at: one per verb, with everything in play that a bundle can ask for.

use super::testimony;
use super::tracer::{Blow, Call, End, Traced, Tracer};
use crate::launch::{GRACE, Launch, text, while_orphans_are_collected};
use crate::oci::bundle;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A verb under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// A policy with denied, missing and protected paths.
    Sandbox,
    /// A bundle with all that [`everything`] asks for.
    Run,
    /// The same bundle, started undisturbed afterwards.
    Create,
    /// The same bundle, created undisturbed before.
    Start,
    /// Into a container of the same bundle that runs.
    Exec,
    /// Of a container that has stopped.
    Delete,
}

/// All of them.
pub const ALL: [Course; 6] = [Course::Sandbox, Course::Run, Course::Create, Course::Start, Course::Exec, Course::Delete];

impl Course {
    /// As a row calls it.
    pub fn name(self) -> &'static str {
        match self {
            Course::Sandbox => "sandbox",
            Course::Run => "run",
            Course::Create => "create",
            Course::Start => "start",
            Course::Exec => "exec",
            Course::Delete => "delete",
        }
    }
}

/// Where a course is run again and again.
pub struct Ground<'t> {
    turn: &'t Turn<'t>,
    course: Course,
    bundle: PathBuf,
    id: String,
    /// What the host looks like in between.
    mounts: String,
}

/// One repetition, and all that can be said about it.
pub struct Trial {
    /// What the tracer saw.
    pub traced: Traced,
    /// What the payload said; none: it did not run.
    pub said: Option<Vec<String>>,
    /// What `delete --force` and a look around found; the next codexrun command has run by then.
    pub left: Option<String>,
}

impl<'t> Ground<'t> {
    /// Prepares the files of a course; `end` says how its payload ends.
    pub fn new(turn: &'t Turn<'t>, course: Course, end: End) -> Result<Ground<'t>, No> {
        let mut config = everything(turn);
        let (first, last) = if end == End::Term { LIVES_ON } else { ("", "") };
        let script = [first, testimony::SCRIPT, last].concat();
        config["process"]["args"] = match course {
            Course::Exec => json!(["/bin/sleep", "1000"]),
            Course::Delete => json!(["/bin/true"]),
            _ => json!(["/bin/sh", "-c", script]),
        };
        fs::write(turn.dir.join("script"), script)?;
        workspace(turn)?;
        let (bundle, id) = (turn.bundle(&config)?, turn.fresh());
        furnish(&bundle.join("rootfs"))?;
        turn.column.actor.own(&turn.dir)?;
        Ok(Ground { turn, course, bundle, id, mounts: crate::oci::host_mounts() })
    }

    /// Runs the course once.
    pub fn trial(&self, tracer: &Tracer, strike: Option<(Call, Blow)>, end: End) -> Result<Trial, No> {
        let before = self.before()?;
        let end = if matches!(self.course, Course::Sandbox | Course::Run | Course::Exec) { end } else { End::Payload };
        let mut traced = tracer.run(&self.launch()?, &self.turn.column.actor, strike, end)?;
        let said = self.testimony(&mut traced, before)?;
        Ok(Trial { said: testimony::of(&said), left: self.left(&traced)?, traced })
    }

    fn launch(&self) -> Result<Launch, No> {
        let (id, dir) = (self.id.as_str(), self.bundle.display().to_string());
        let script = fs::read_to_string(self.turn.dir.join("script"))?;
        Ok(match self.course {
            Course::Sandbox => self.sandbox(&script),
            Course::Run => self.turn.launch(&["run", "--bundle", &dir, id]),
            Course::Create => self.turn.launch(&["create", "--bundle", &dir, id]),
            Course::Start => self.turn.launch(&["start", id]),
            Course::Exec => self.turn.launch(&["exec", "--env", &format!("TRIED={TRIED}"), id, "/bin/sh", "-c", &script]),
            Course::Delete => self.turn.launch(&["delete", id]),
        })
    }

    fn sandbox(&self, script: &str) -> Launch {
        let (policy, workspace) = (self.turn.dir.join("policy.json"), self.turn.dir.join("workspace"));
        let (policy, cwd) = (policy.display().to_string(), workspace.display().to_string());
        let mut launch = self.turn.launch(&["sandbox", "--policy", &policy, "--cwd", &cwd, "--", "/bin/sh", "-c", script]);
        let tried = ["secret", "plain", ".git/config", ".codex/config.toml", "/etc/passwd"].join(" ");
        launch.env.push(("TRIED".into(), tried));
        launch
    }

    /// What has to be there before the traced call: the file that a created container writes to.
    fn before(&self) -> Result<Option<File>, No> {
        if !matches!(self.course, Course::Start | Course::Exec | Course::Delete) {
            return Ok(None);
        }
        let (ran, out) = self.turn.call_with_output(&["create", "--bundle", &self.bundle.display().to_string(), &self.id])?;
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
        let ran = self.turn.call(&["state", &self.id]).ok()?;
        let state: Value = serde_json::from_str(&ran.out).ok()?;
        state["status"].as_str().map(str::to_string)
    }

    fn testimony(&self, traced: &mut Traced, before: Option<File>) -> Result<String, No> {
        if self.course == Course::Create && traced.code == 0 {
            // What went wrong after its end is told by the next call.
            let start = self.turn.call(&["start", &self.id])?;
            (traced.code, traced.err) = (start.code, start.err);
        }
        let out = before.as_ref().filter(|_| self.course == Course::Start).unwrap_or(&traced.out);
        let said = || text(out).unwrap_or_default();
        if matches!(self.course, Course::Create | Course::Start) && traced.code == 0 {
            patiently(|| said().ends_with("end\n"));
        }
        Ok(said())
    }

    /// What stays after the next codexrun commands have been given their chance.
    fn left(&self, traced: &Traced) -> Result<Option<String>, No> {
        let known = self.course == Course::Delete && traced.code == 0 && self.status().is_some();
        if self.course != Course::Sandbox {
            let ran = while_orphans_are_collected(|| self.turn.call(&["delete", "--force", &self.id]))?;
            if ran.code != 0 {
                return Ok(Some(format!("delete --force: {}", ran.summary())));
            }
        } else if self.untouched().is_err() {
            // A placeholder whose keeper was killed is taken over by the next sandbox.
            let next = self.sandbox("true").run(&self.turn.column.actor)?;
            if next.code != 0 || !next.left.is_empty() {
                return Ok(Some(format!("the next sandbox: {}; processes: {}", next.summary(), next.left.join("; "))));
            }
        }
        if known {
            return Ok(Some("delete: exit 0, and the container is still known".into()));
        }
        let clean = crate::oci::nothing_left(self.turn, &self.mounts).and_then(|()| self.untouched());
        match clean {
            Ok(()) => Ok(None),
            Err(No::Fail { got, .. }) => Ok(Some(got)),
            Err(other) => Err(other),
        }
    }

    /// The workspace holds what it held: no placeholder.
    fn untouched(&self) -> Verdict {
        let entries = fs::read_dir(self.turn.dir.join("workspace"))?;
        let mut names: Vec<String> = entries.flatten().map(|e| e.file_name().to_string_lossy().into()).collect();
        names.sort();
        if names == WORKSPACE { Ok(()) } else { fail("(the workspace)", WORKSPACE.join(" "), names.join(" ")) }
    }
}

/// Polls until something holds or has had its time.
fn patiently(holds: impl Fn() -> bool) {
    let end = Instant::now() + GRACE;
    while !holds() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Before and after its testimony: a payload that only SIGTERM ends, PID 1 or not.
const LIVES_ON: (&str, &str) = ("trap 'exit 0' TERM\n", "sleep 1000 & wait");

/// What the payload of a bundle tries to read and write.
const TRIED: &str = "/etc/mark /etc/hidden /etc/fixed /ro/file /trace/file /tmp/file";

const WORKSPACE: [&str; 3] = [".git", "plain", "secret"];

/// The directories of the host's that a course opens.
fn workspace(turn: &Turn) -> Verdict {
    fs::create_dir_all(turn.dir.join("ro"))?;
    for (file, text) in [("ro/file", "fixed\n"), ("trace/file", "open\n")] {
        fs::write(turn.dir.join(file), text)?;
    }
    let dir = turn.dir.join("workspace");
    fs::create_dir_all(dir.join(".git"))?;
    for (name, text) in [(".git/config", "[core]\n"), ("plain", "plain\n"), ("secret", "secret\n")] {
        fs::write(dir.join(name), text)?;
    }
    let special = |kind: &str, access: &str| json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access});
    let policy = json!({"type": "managed", "network": "restricted", "file_system": {"type": "restricted", "entries": [
        special("root", "read"),
        special("project_roots", "write"),
        {"path": {"type": "path", "path": dir.join("secret")}, "access": "deny"},
    ]}});
    fs::write(turn.dir.join("policy.json"), policy.to_string())?;
    Ok(())
}

/// A configuration that has a bit of everything: hooks, masks, read-only paths, binds, seccomp, limits, a cgroup.
fn everything(turn: &Turn) -> Value {
    let mut config = turn.traced("");
    bundle::push(&mut config["process"]["env"], json!(format!("TRIED={TRIED}")));
    config["process"]["noNewPrivileges"] = json!(true);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 123}]);
    config["process"]["oomScoreAdj"] = json!(500);
    config["process"]["user"]["umask"] = json!(0o27);
    let ro = json!({"destination": "/ro", "type": "bind", "source": turn.dir.join("ro"), "options": ["rbind", "ro", "nosuid"]});
    bundle::push(&mut config["mounts"], ro);
    let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]});
    bundle::push(&mut config["mounts"], tmp);
    let hook = json!([{"path": "/bin/busybox", "args": ["busybox", "true"]}]);
    config["hooks"] =
        json!({"createRuntime": hook, "createContainer": hook, "startContainer": hook, "poststart": hook, "poststop": hook});
    let linux = &mut config["linux"];
    linux["maskedPaths"] = json!(["/etc/hidden", "/proc/kcore"]);
    linux["readonlyPaths"] = json!(["/etc/fixed", "/proc/sys"]);
    linux["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ptrace", "keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]});
    bundle::push(&mut linux["namespaces"], json!({"type": "cgroup"}));
    bundle::push(&mut linux["namespaces"], json!({"type": "network"}));
    if turn.column.actor.is_root() {
        linux["resources"] = json!({"pids": {"limit": 50}});
        linux["sysctl"] = json!({"net.ipv4.ip_forward": "0"});
    }
    config
}

/// The files that [`everything`] masks and fixes, in a bundle's root file system.
fn furnish(rootfs: &Path) -> Verdict {
    for name in ["hidden", "fixed"] {
        fs::write(rootfs.join("etc").join(name), "text\n")?;
    }
    Ok(())
}
