//! `create`, `start`, `exec`, `kill`, `delete` and hooks, through the command line, on a root file system of busybox.

use libruntime::sys::file::receive_with_fds;
use libruntime::sys::pidfd::pidfd_send_signal;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ID: &str = "box";

/// A bundle and a state root of its own; whatever is left in it is deleted at the end.
struct Place(TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        self.codexrun(&["delete", "--force", ID]);
    }
}

/// What a command said.
#[derive(Debug, PartialEq)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    /// A container that runs `script`; `None` without a static busybox, which is said.
    fn new(script: &str) -> Option<Place> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
        let Some(busybox) = busybox else {
            eprintln!("skipped: there is no busybox");
            return None;
        };
        // Not in /tmp, which policies open: what is recorded there a sandbox could rewrite.
        let place = Place(tempfile::tempdir_in("/var/tmp").unwrap());
        let bin = place.path("b/rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in ["sh", "sleep", "cat", "id", "tty", "ls", "true", "stat", "readlink", "stty"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        place.write(&spec(script));
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, spec: &Value) {
        fs::write(self.path("b/config.json"), spec.to_string()).unwrap();
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut spec = serde_json::from_slice(&fs::read(self.path("b/config.json")).unwrap()).unwrap();
        change(&mut spec);
        self.write(&spec);
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        command.args(["--root", self.path("r").to_str().unwrap()]).args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn codexrun(&self, words: &[&str]) -> Said {
        said(&self.command(words).output().unwrap())
    }

    fn ok(&self, words: &[&str]) -> String {
        let said = self.codexrun(words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}: {said:?}");
        said.out
    }

    fn fails(&self, words: &[&str], code: i32, about: &str) {
        let said = self.codexrun(words);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{words:?}: {said:?}");
        assert!(said.err.contains(about), "{words:?}: {said:?}");
    }

    /// Created, with its output going to the file `out`: who holds a pipe of ours open would keep us waiting.
    fn create(&self) -> Said {
        let file = |name| fs::File::create(self.path(name)).unwrap();
        let mut command = self.command(&["create", "--bundle", "b", "--pid-file", "pid", ID]);
        let status = command.stdout(file("out")).stderr(file("err")).status().unwrap();
        Said { code: status.code().unwrap(), out: self.read("out"), err: self.read("err") }
    }

    fn started(&self) {
        assert_eq!(self.create(), Said { code: 0, out: String::new(), err: String::new() });
        self.ok(&["start", ID]);
    }

    fn state(&self) -> Value {
        serde_json::from_str(&self.ok(&["state", ID])).unwrap()
    }

    fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn spec(script: &str) -> Value {
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "pid"}), json!({"type": "ipc"}), json!({"type": "uts"})];
    let mut linux = json!({});
    if uid != 0 {
        namespaces.push(json!({"type": "user"}));
        linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    }
    linux["namespaces"] = namespaces.into();
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin", "A=1"]},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": linux,
    })
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_container_is_created_then_started_then_deleted() {
    let Some(place) = Place::new("echo hello; exec sleep 60") else { return };
    assert_eq!(place.create(), Said { code: 0, out: String::new(), err: String::new() });
    assert_eq!(place.status(), "created");
    let pid = place.read("pid");
    assert_eq!(place.state()["pid"].to_string(), pid, "digits, and nothing else");
    assert_eq!(place.read("out"), "", "nothing of it runs before start");
    place.fails(&["exec", ID, "true"], 255, "was not started");
    place.ok(&["start", ID]);
    assert_eq!(place.status(), "running");
    until("the command runs", || place.read("out") == "hello\n");
    place.fails(&["start", ID], 1, "cannot start an already running container");
    place.fails(&["delete", ID], 1, "cannot delete container box that is not stopped: running");
    place.ok(&["kill", ID, "KILL"]);
    until("it ends", || place.status() == "stopped");
    place.fails(&["kill", ID, "KILL"], 1, "container not running");
    place.fails(&["start", ID], 1, "cannot start a container that has stopped");
    place.fails(&["exec", ID, "true"], 255, "cannot exec in a stopped container");
    place.ok(&["delete", ID]);
    assert!(!place.path("r").join(ID).exists());
    for verb in [&["state", ID][..], &["start", ID], &["kill", ID], &["delete", ID]] {
        place.fails(verb, 1, "container does not exist");
    }
    place.fails(&["exec", ID, "true"], 255, "container does not exist");
    place.ok(&["delete", "--force", ID]);
}

#[test]
fn run_keeps_what_has_ended_when_asked_to() {
    let Some(place) = Place::new("exit 7") else { return };
    let poststop = place.path("poststop");
    place.edit(|spec| spec["hooks"] = json!({"poststop": [hook(&format!("echo x >> {}", poststop.display()))]}));
    place.fails(&["run", "--keep", "b"], 1, "`--keep` needs an id");
    for (options, kept) in [(&["--keep"][..], true), (&["--no-subreaper"], false)] {
        assert_eq!(place.codexrun(&[&["run", "-b", "b"], options, &[ID]].concat()).code, 7);
        assert_eq!(place.path("r").join(ID).exists(), kept);
        assert_eq!(place.read("poststop").is_empty(), kept, "the container is not destroyed yet");
        if kept {
            assert_eq!(place.status(), "stopped");
            place.ok(&["delete", ID]);
            assert_eq!(fs::read_to_string(&poststop).unwrap(), "x\n");
            fs::remove_file(&poststop).unwrap();
        }
    }
}

#[test]
fn a_share_is_refused_where_there_is_no_resctrl_group() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    place.fails(&["update", "--l3-cache-schema", "L3:0=f", ID], 1, "container `box` has no resctrl group");
}

#[test]
fn one_that_was_never_started_is_deleted_with_its_process() {
    let Some(place) = Place::new("sleep 60") else { return };
    place.create();
    let process = PathBuf::from(format!("/proc/{}", place.read("pid")));
    assert!(process.exists());
    place.ok(&["delete", ID]);
    until("the process is gone", || {
        fs::read_to_string(process.join("stat")).is_ok_and(|s| s.contains(") Z ")) || !process.exists()
    });
}

#[test]
fn one_that_is_being_made_is_deleted_when_it_is_made() {
    let Some(place) = Place::new("sleep 60") else { return };
    place.edit(|spec| spec["hooks"] = json!({"createRuntime": [hook("touch ../making; sleep 1")]}));
    let mut create = place.command(&["create", "--bundle", "b", "--pid-file", "pid", ID]);
    let mut create = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the hook runs", || place.path("making").exists());
    place.ok(&["delete", "--force", ID]);
    assert!(create.wait().unwrap().success());
    place.fails(&["state", ID], 1, "container does not exist");
    let process = PathBuf::from(format!("/proc/{}", place.read("pid")));
    until("the process is gone", || {
        fs::read_to_string(process.join("stat")).is_ok_and(|s| s.contains(") Z ")) || !process.exists()
    });
}

/// What `create`, waiting for something, says to SIGTERM; nothing may be left.
fn stopped(place: &Place, command: &mut Command, waits: impl FnMut() -> bool) {
    stopped_by(Signal::SIGTERM, place, command, waits);
}

/// What a command inherits is heard, also when the tests run in the background of a shell, which has it ignored.
#[allow(unsafe_code)]
fn hear(heard: Signal) {
    // SAFETY: there is no handler.
    unsafe { signal(heard, SigHandler::SigDfl) }.unwrap();
}

/// The same of any signal that asks to end.
fn stopped_by(signal: Signal, place: &Place, command: &mut Command, waits: impl FnMut() -> bool) {
    hear(signal);
    let create = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("create waits", waits);
    kill(Pid::from_raw(create.id().cast_signed()), signal).unwrap();
    let begun = Instant::now();
    let said = said(&create.wait_with_output().unwrap());
    assert!(begun.elapsed() < Duration::from_secs(5), "{said:?}");
    let sentence = format!("codexrun: error: stopped by {signal} before the process could start\n");
    assert_eq!((said.code, said.err), (128 + signal as i32, sentence));
    place.fails(&["state", ID], 1, "container does not exist");
    assert!(!place.path("r").join(ID).exists());
}

#[test]
fn create_is_stopped_by_a_signal_while_a_hook_runs_and_leaves_nothing() {
    let Some(place) = Place::new("sleep 60") else { return };
    let runs = place.path("runs");
    for kind in ["createRuntime", "createContainer"] {
        place.edit(|spec| spec["hooks"] = json!({ kind: [hook(&format!("echo > {}; exec sleep 60", runs.display()))]}));
        stopped(&place, &mut place.command(&["create", "--bundle", "b", ID]), || runs.exists());
        fs::remove_file(&runs).unwrap();
    }
}

/// A codexrun whose caller ignores these three.
fn deaf(place: &Place, words: &[&str]) -> Command {
    let codexrun = place.command(words);
    let mut deaf = Command::new("/bin/sh");
    deaf.args(["-c", "trap '' HUP INT QUIT; exec \"$0\" \"$@\""]).arg(codexrun.get_program()).args(codexrun.get_args());
    deaf.current_dir(place.0.path()).stdin(Stdio::null()).stdout(Stdio::null());
    deaf
}

#[test]
fn a_terminal_that_hangs_up_stops_a_create_unless_the_caller_ignores_that() {
    let Some(place) = Place::new("sleep 60") else { return };
    let (runs, go) = (place.path("runs"), place.path("go"));
    let waits = format!("echo > {}; for _ in $(seq 300); do [ -e {} ] && break; sleep 0.1; done", runs.display(), go.display());
    place.edit(|spec| spec["hooks"] = json!({"createRuntime": [hook(&waits)]}));
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        stopped_by(signal, &place, &mut place.command(&["create", "--bundle", "b", ID]), || runs.exists());
        fs::remove_file(&runs).unwrap();
    }
    let mut deaf = deaf(&place, &["create", "--bundle", "b", ID]).spawn().unwrap();
    until("the hook runs", || runs.exists());
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        kill(Pid::from_raw(deaf.id().cast_signed()), signal).unwrap();
    }
    fs::write(&go, "").unwrap();
    assert_eq!(deaf.wait().unwrap().code(), Some(0));
    place.ok(&["delete", "--force", ID]);
}

#[test]
fn a_hook_has_its_time_and_no_more_whatever_ignored_signals_come() {
    let Some(place) = Place::new("sleep 60") else { return };
    let runs = place.path("runs");
    let mut hangs = hook(&format!("echo > {}; exec sleep 60", runs.display()));
    hangs["timeout"] = json!(1);
    place.edit(|spec| spec["hooks"] = json!({"createRuntime": [hangs]}));
    let mut deaf = deaf(&place, &["create", "--bundle", "b", ID]).stderr(Stdio::piped()).spawn().unwrap();
    until("the hook runs", || runs.exists());
    let begun = Instant::now();
    while deaf.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "its time never ends");
        kill(Pid::from_raw(deaf.id().cast_signed()), Signal::SIGQUIT).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = deaf.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("within 1 s"), "{}: {said}", out.status);
}

/// Sends SIGTERM to a codexrun that waits for a hook or for its container; it ends in time, with this to say.
fn ends(place: &Place, words: &[&str], waits: impl FnMut() -> bool, code: i32, about: &str) {
    let mut command = place.command(words);
    // Not a pipe: what is paused holds it open.
    let err = fs::File::create(place.path("said")).unwrap();
    let mut waiting = command.stdout(Stdio::null()).stderr(err).spawn().unwrap();
    until("it waits", waits);
    kill(Pid::from_raw(waiting.id().cast_signed()), Signal::SIGTERM).unwrap();
    let begun = Instant::now();
    let (ended, said) = (waiting.wait().unwrap().code(), place.read("said"));
    assert!(begun.elapsed() < Duration::from_secs(8), "{words:?}: {said}");
    assert!(ended == Some(code) && said.contains(about) && said.lines().count() <= 2, "{words:?}: {ended:?}, {said}");
}

#[test]
fn a_signal_ends_a_hook_that_hangs_before_and_after_the_start() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let (runs, inside) = (place.path("runs"), place.path("b/rootfs/runs"));
    for run in [&["run", "--bundle", "b", ID][..], &["run", "--detach", "--bundle", "b", ID]] {
        place.edit(|spec| spec["hooks"] = json!({"startContainer": [hook("echo > /runs; exec sleep 60")]}));
        ends(&place, run, || inside.exists(), 143, "stopped by SIGTERM before the process could start");
        fs::remove_file(&inside).unwrap();
        let hangs = hook(&format!("echo > {}; exec sleep 60", runs.display()));
        // The signal that ended the launch hurries this one too.
        place.edit(|spec| spec["hooks"] = json!({"poststart": [hangs], "poststop": [hook("exec sleep 60")]}));
        ends(&place, run, || runs.exists(), 143, "hooks.poststart[0]: the hook `/bin/sh` was stopped by SIGTERM");
        fs::remove_file(&runs).unwrap();
        place.fails(&["state", ID], 1, "container does not exist");
    }
}

#[test]
fn a_signal_ends_a_poststop_hook_that_hangs_and_those_that_follow_are_hurried() {
    let Some(place) = Place::new("exit 7") else { return };
    let (runs, cleaned) = (place.path("runs"), place.path("cleaned"));
    let hangs = hook(&format!("echo > {}; exec sleep 60", runs.display()));
    let cleans = hook(&format!("echo > {}", cleaned.display()));
    place.edit(|spec| spec["hooks"] = json!({"poststop": [hangs, hook("exec sleep 60"), cleans]}));
    let about = "hooks.poststop[0]: the hook `/bin/sh` was stopped by SIGTERM";
    ends(&place, &["run", "--bundle", "b", ID], || runs.exists(), 7, about);
    assert!(cleaned.exists());
}

#[test]
fn what_a_hook_of_the_bridge_says_is_the_cause_of_the_one_sentence() {
    let Some(place) = Place::new("true") else { return };
    let table = [("createRuntime", "no-route", "`no-route` is not "), ("createContainer", "--inside", "no bridge at `/dev/shm/")];
    for (kind, word, why) in table {
        let hook = json!({"path": env!("CARGO_BIN_EXE_codexrun"), "args": ["codexrun", "bridge", word], "env": []});
        place.edit(|spec| spec["hooks"] = json!({ kind: [hook] }));
        let said = place.codexrun(&["run", "--bundle", "b", ID]);
        assert_eq!((said.code, said.err.lines().count()), (1, 1), "{said:?}");
        let begin = format!("codexrun: error: {}: hooks.{kind}[0]: the hook `", place.path("b/config.json").display());
        assert!(said.err.starts_with(&begin) && said.err.contains(&format!("` failed: {why}")), "{said:?}");
    }
}

#[test]
fn a_hook_does_not_outlive_a_codexrun_that_was_killed() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = place.path("runs");
    for kind in ["createRuntime", "createContainer"] {
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60", runs.display());
        place.edit(|spec| spec["hooks"] = json!({ kind: [hook(&script)]}));
        let mut create = place.command(&["create", "--bundle", "b", ID]);
        let mut create = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the hook runs", || runs.exists());
        create.kill().unwrap();
        create.wait().unwrap();
        let sleeps =
            || fs::read(format!("/proc/{}/cmdline", place.read("runs").trim())).is_ok_and(|line| line == b"sleep\x0060\0");
        until(&format!("the {kind} hook ends"), || !sleeps());
        place.ok(&["delete", "--force", ID]);
        fs::remove_file(&runs).unwrap();
    }
}

/// A container with a startContainer hook that hangs, and where the host sees that it runs.
fn hangs_before_its_start(place: &Place) -> PathBuf {
    place.edit(|spec| {
        let poststop = hook(&format!("echo > {}", place.path("cleaned").display()));
        spec["hooks"] =
            json!({"startContainer": [hook("echo > /runs; while [ ! -e /go ]; do sleep 0.02; done")], "poststop": [poststop]});
    });
    place.path("b/rootfs/runs")
}

#[test]
fn a_hook_before_the_start_does_not_outlive_a_run_that_was_killed() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = hangs_before_its_start(&place);
    let mut run = place.command(&["run", "--bundle", "b", ID]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the hook runs", || runs.exists());
    assert_eq!(place.status(), "running");
    run.kill().unwrap();
    run.wait().unwrap();
    until("the container has ended", || place.status() == "stopped");
    place.ok(&["delete", ID]);
}

#[test]
fn a_hook_before_the_start_does_not_outlive_a_run_that_a_signal_has_ended() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = place.path("b/rootfs/runs");
    place.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
        spec["mounts"].as_array_mut().unwrap()[0] =
            json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
        spec["hooks"] = json!({"startContainer": [hook("echo $$ > /new; busybox mv /new /runs; exec sleep 60")]});
    });
    // Nothing of the container's ends with it then but what it looks after itself.
    let run = ["--cgroup-manager", "disabled", "run", "--bundle", "b", ID];
    ends(&place, &run, || runs.exists(), 143, "stopped by SIGTERM before the process could start");
    let line = format!("/proc/{}/cmdline", fs::read_to_string(&runs).unwrap().trim());
    until("the hook ends", || !fs::read(&line).is_ok_and(|line| line == b"sleep\x0060\0"));
}

#[test]
fn who_is_killed_while_its_hooks_run_has_not_started() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = hangs_before_its_start(&place);
    let late = hook(&format!("echo > {}", place.path("started").display()));
    place.edit(|spec| spec["hooks"]["poststart"] = json!([late]));
    let dies = |words: &[&str]| {
        let waiting = place.command(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        until("the hook runs", || runs.exists());
        let pid = i32::try_from(place.state()["pid"].as_i64().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        let said = said(&waiting.wait_with_output().unwrap());
        let file = place.path("b/config.json").display().to_string();
        let told = format!("codexrun: error: {file}: hooks.startContainer: the process was ended while its hooks ran\n");
        assert_eq!((said.code, said.err), (1, told), "{words:?}");
        assert!(!place.path("started").exists(), "{words:?}");
        fs::remove_file(&runs).unwrap();
    };
    for run in [&["run", "--bundle", "b", ID][..], &["run", "--detach", "--bundle", "b", ID]] {
        dies(run);
        place.fails(&["state", ID], 1, "container does not exist");
    }
    place.edit(|spec| drop(spec["hooks"].as_object_mut().unwrap().remove("poststart")));
    dies(&["run", "--bundle", "b", ID]);
    assert_eq!(place.create().code, 0);
    dies(&["start", ID]);
    assert_eq!(place.status(), "stopped");
    place.ok(&["delete", ID]);
}

#[test]
fn a_signal_ends_a_start_whose_hook_hangs_and_the_container_with_it() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = hangs_before_its_start(&place);
    assert_eq!(place.create().code, 0);
    ends(&place, &["start", ID], || runs.exists(), 143, "stopped by SIGTERM before the process could start");
    place.fails(&["state", ID], 1, "container does not exist");
    assert!(place.path("cleaned").exists());
}

#[test]
fn a_signal_ends_a_hook_after_a_start_and_the_container_with_it() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = place.path("runs");
    let hangs = hook(&format!("echo > {}; exec sleep 60", runs.display()));
    place.edit(|spec| spec["hooks"] = json!({"poststart": [hangs], "poststop": [hook("exec sleep 60")]}));
    assert_eq!(place.create().code, 0);
    ends(&place, &["start", ID], || runs.exists(), 143, "hooks.poststart[0]: the hook `/bin/sh` was stopped by SIGTERM");
    place.fails(&["state", ID], 1, "container does not exist");
}

/// It was `create` that made the container, and is gone: nobody's death is its end.
#[test]
fn a_container_whose_start_was_killed_while_a_hook_runs_goes_on_and_is_known() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let runs = hangs_before_its_start(&place);
    assert_eq!(place.create().code, 0);
    let mut start = place.command(&["start", ID]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the hook runs", || runs.exists());
    start.kill().unwrap();
    start.wait().unwrap();
    fs::write(place.path("b/rootfs/go"), "").unwrap();
    let line = PathBuf::from(format!("/proc/{}/cmdline", place.read("pid")));
    until("the process has executed", || fs::read(&line).is_ok_and(|line| line == b"sleep\x0060\0"));
    assert_eq!(place.status(), "running");
    place.ok(&["delete", "--force", ID]);
}

#[test]
fn a_pid_file_is_written_past_whatever_lies_beside_it() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    fs::write(place.path("precious"), "kept").unwrap();
    symlink("precious", place.path("pid.new")).unwrap();
    symlink("precious", place.path("pid")).unwrap();
    place.started();
    assert_eq!((place.read("precious"), place.read("pid")), ("kept".to_owned(), place.state()["pid"].to_string()));
    nix::unistd::mkfifo(&place.path("pid2.new"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut exec = place.command(&["exec", "--detach", "--pid-file", "pid2", ID, "sleep", "60"]);
    assert!(exec.stdout(Stdio::null()).status().unwrap().success());
    assert!(place.read("pid2").parse::<i32>().is_ok());
}

#[test]
fn a_file_without_end_is_refused() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    place.fails(&["exec", "--process", "/dev/zero", ID], 255, "/dev/zero: cannot be read: larger than 16 MiB");
    place.fails(&["update", "--resources", "/dev/zero", ID], 1, "/dev/zero: cannot be read: larger than 16 MiB");
    place.fails(&["policy", "import", "/dev/zero"], 1, "/dev/zero: cannot read the settings: larger than 16 MiB");
}

#[test]
fn create_does_not_wait_for_ever_for_a_console_socket_that_nobody_reads() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.edit(|spec| spec["process"]["terminal"] = json!(true));
    let socket = place.path("console");
    let _listener = UnixListener::bind(&socket).unwrap();
    let path = socket.to_str().unwrap();
    // Who has been queued stays so, gone or not.
    while libruntime::sys::socket::unix(Path::new(&path), None).is_ok() {}
    let begun = Instant::now();
    let waits = || begun.elapsed() > Duration::from_millis(500);
    stopped(&place, &mut place.command(&["create", "--bundle", "b", "--console-socket", path, ID]), waits);
}

#[test]
fn a_spoilt_record_loses_no_process() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    let (state, copy) = (place.path("r").join(ID).join("state.json"), place.path("r").join(ID).join("state.json.copy"));
    let kept = fs::read(&copy).unwrap();
    fs::write(&state, "{").unwrap();
    assert_eq!(place.status(), "running");
    place.fails(&["delete", ID], 1, "that is not stopped: running");
    fs::write(&copy, "{").unwrap();
    place.fails(&["delete", ID], 1, "garbled record");
    fs::write(&copy, kept).unwrap();
    place.ok(&["delete", "--force", ID]);
    assert!(!Path::new(&format!("/proc/{}/fd/0", place.read("pid"))).exists());
    fs::create_dir_all(state.parent().unwrap()).unwrap();
    fs::write(&state, "{").unwrap();
    let said = place.codexrun(&["delete", "--force", ID]);
    assert!(said.code == 0 && said.err.contains("processes of the container may go on"), "{said:?}");
    assert!(!state.exists());
}

/// One after the other, what somebody may have put in the place of a file of ours.
fn in_place_of(file: &Path) -> impl Iterator<Item = &'static str> {
    type Put = (&'static str, fn(&Path));
    const ALL: [Put; 4] = [
        ("a FIFO", |at| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a directory", |at| fs::create_dir(at).unwrap()),
        ("a link", |at| symlink("nowhere", at).unwrap()),
        ("a socket", |at| drop(UnixListener::bind(at).unwrap())),
    ];
    let file = file.to_owned();
    ALL.into_iter().map(move |(name, put)| {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&file);
        put(&file);
        name
    })
}

#[test]
fn what_is_no_lock_holds_nobody_up_and_goes_by_force() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let (dir, why) = (place.path("r").join(ID), "/r/box/lock`, by which codexrun holds a container, is no regular file");
    for what in in_place_of(&dir.join("lock")) {
        for verb in [&["create", "--bundle", "b"][..], &["run", "--bundle", "b"]] {
            place.fails(&[verb, &[ID]].concat(), 1, why);
        }
        place.ok(&["delete", "--force", ID]);
        assert!(!dir.exists(), "{what}");
    }
    for create in [true, false] {
        for what in in_place_of(&place.path("aside")) {
            if create {
                assert_eq!(place.create().code, 0)
            } else {
                place.started()
            };
            fs::remove_file(dir.join("lock")).unwrap();
            fs::rename(place.path("aside"), dir.join("lock")).unwrap();
            if create {
                place.fails(&["start", ID], 1, why);
                place.fails(&["delete", ID], 1, why);
            }
            place.ok(&["delete", "--force", ID]);
            assert!(!dir.exists() && !Path::new(&format!("/proc/{}/fd/0", place.read("pid"))).exists(), "{what}");
        }
    }
    fs::create_dir_all(dir.join("lock/somebodys")).unwrap();
    place.fails(&["delete", "--force", ID], 1, "/r/box/lock`: Directory not empty");
    fs::remove_dir(dir.join("lock/somebodys")).unwrap();
}

#[test]
fn who_cannot_hear_why_a_container_does_not_start_does_not_start_it() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let dir = place.path("r").join(ID);
    for name in ["fault", "start"] {
        for what in in_place_of(&place.path("aside")).chain(["a file", "nothing"]) {
            assert_eq!(place.create().code, 0);
            fs::remove_file(dir.join(name)).unwrap();
            match what {
                "nothing" => {}
                "a file" => fs::write(dir.join(name), "").unwrap(),
                _ => fs::rename(place.path("aside"), dir.join(name)).unwrap(),
            }
            let why =
                if name == "fault" { "/r/box/fault`, where the container's process says why it does not start: " } else { "" };
            place.fails(&["start", ID], 1, why);
            assert_eq!(place.status(), if name == "fault" { "created" } else { "running" }, "{what}");
            place.ok(&["delete", "--force", ID]);
            assert!(!dir.exists() && !Path::new(&format!("/proc/{}/fd/0", place.read("pid"))).exists(), "{what}");
        }
    }
}

#[test]
fn a_created_container_that_a_signal_has_stopped_is_not_started() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    assert_eq!(place.create().code, 0);
    place.ok(&["kill", ID, "STOP"]);
    let stat = format!("/proc/{}/stat", place.read("pid"));
    until("it stands still", || fs::read_to_string(&stat).unwrap().contains(") T "));
    place.fails(&["start", ID], 1, "cannot start a container whose process a signal has stopped (hint: `codexrun kill box CONT`");
    place.ok(&["kill", ID, "CONT"]);
    until("it goes on", || fs::read_to_string(&stat).unwrap().contains(") S "));
    place.ok(&["start", ID]);
    assert_eq!(place.status(), "running");
}

#[test]
fn a_container_runs_also_for_who_counts_from_another_boot() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    let elsewhere = |words: &[&str]| {
        let own = place.command(words);
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-current-user"]);
        }
        let offset = ["--time", "--boottime", "1000000", "--fork"];
        let file = |name| fs::File::create(place.path(name)).unwrap();
        command.args(offset).arg(own.get_program()).args(own.get_args()).current_dir(place.0.path()).stdin(Stdio::null());
        let status = command.stdout(file("out")).stderr(file("err")).status().unwrap();
        Said { code: status.code().unwrap(), out: place.read("out"), err: place.read("err") }
    };
    let runs = elsewhere(&["state", ID]);
    assert!(runs.code == 0 && runs.out.contains("\"status\": \"running\""), "{runs:?}");
    assert_eq!(elsewhere(&["delete", ID]).code, 1, "what runs is not forgotten");
    place.ok(&["delete", "--force", ID]);

    // And the other way round.
    assert_eq!(elsewhere(&["create", "--bundle", "b", ID]).code, 0);
    assert_eq!(place.status(), "created");
    place.ok(&["start", ID]);
    assert_eq!(place.status(), "running");
}

#[test]
fn a_taken_id_is_refused_and_the_first_stays() {
    let Some(place) = Place::new("sleep 60") else { return };
    place.started();
    let again = place.create();
    assert_eq!(again.code, 1);
    assert!(again.err.contains("already exists"), "{again:?}");
    assert_eq!(place.status(), "running");
}

#[test]
fn one_that_runs_in_the_foreground_is_not_started_and_nobody_waits() {
    let Some(place) = Place::new("sleep 60") else { return };
    let mut running = place.command(&["run", "--bundle", "b", ID]).spawn().unwrap();
    until("it runs", || place.codexrun(&["state", ID]).out.contains("running"));
    let began = Instant::now();
    place.fails(&["start", ID], 1, "cannot start an already running container");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    place.ok(&["kill", ID, "KILL"]);
    running.wait().unwrap();
}

#[test]
fn of_a_program_that_is_there_it_is_said_that_its_interpreter_is_missing() {
    let Some(place) = Place::new("sleep 60") else { return };
    let script = place.path("b/rootfs/script");
    std::fs::write(&script, "#!/bin/sh\r\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    place.started();
    let text = "exec /script: no such file or directory: the program is there; the interpreter that";
    place.fails(&["exec", ID, "/script"], 255, text);
    place.ok(&["delete", "--force", ID]);
    place.edit(|spec| spec["process"]["args"] = json!(["/script"]));
    place.fails(&["run", "-b", "b", ID], 127, text);
}

#[test]
fn create_says_what_cannot_be_executed() {
    let cases = [
        ("nosuch", 127, "exec: \"nosuch\": executable file not found in $PATH"),
        ("/no/such", 127, "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/bin", 126, "exec: \"/bin\": permission denied"),
    ];
    for (command, code, text) in cases {
        let Some(place) = Place::new("true") else { return };
        place.edit(|spec| spec["process"]["args"] = json!([command]));
        let said = place.create();
        assert_eq!((said.code, said.err.contains(text)), (code, true), "{said:?}");
        place.fails(&["state", ID], 1, "container does not exist");
        place.edit(|spec| spec["process"]["args"] = json!(["sleep", "60"]));
        place.started();
        place.fails(&["exec", ID, command], 255, text);
    }
}

#[test]
fn what_fails_after_create_is_said_by_start() {
    let Some(place) = Place::new("true") else { return };
    let program = place.path("b/rootfs/bin/late");
    fs::write(&program, "#!/bin/none\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    place.edit(|spec| {
        spec["process"]["args"] = json!(["late"]);
        spec["hooks"] = json!({"poststop": [hook("echo stopped >> ../log")]});
    });
    assert_eq!(place.create().code, 0);
    place.fails(&["start", ID], 127, "exec late: no such file or directory: ");
    assert_eq!(place.status(), "stopped");
    assert_eq!(place.read("log"), "");
    place.ok(&["delete", ID]);
    assert_eq!(place.read("log"), "stopped\n");
}

#[test]
fn a_later_change_of_config_json_has_no_effect() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.create();
    place.edit(|spec| spec["process"] = json!({"user": {"uid": 0, "gid": 0}, "args": ["nosuch"], "cwd": "/x", "env": ["A=2"]}));
    place.ok(&["start", ID]);
    assert_eq!(place.status(), "running");
    assert_eq!(place.ok(&["exec", ID, "sh", "-c", "echo $A"]), "1\n");
}

#[test]
fn exec_is_where_the_container_is() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    let script = "for ns in mnt pid; do readlink /proc/self/ns/$ns; readlink /proc/1/ns/$ns; done; id -u; pwd; ls /";
    let out = place.ok(&["exec", ID, "sh", "-c", script]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[2]), (lines[1], lines[3]));
    assert_ne!(lines[0], fs::read_link("/proc/self/ns/mnt").unwrap().to_str().unwrap());
    assert_eq!(lines[4..], ["0", "/", "bin", "dev", "proc", "tmp"]);
    let status = place.ok(&["exec", ID, "cat", "/proc/self/status"]);
    assert!(status.contains("CapEff:\t0000000000000000"), "the container's process has none: {status}");
    assert_eq!(place.codexrun(&["exec", ID, "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(place.codexrun(&["exec", ID, "sh", "-c", "kill -9 $$"]).code, 137);
    let flags = ["exec", "--cwd", "/bin", "--env", "B=2", "--no-new-privs", ID];
    let words =
        ["sh", "-c", "pwd; echo $A$B; while read a b; do if test $a = NoNewPrivs:; then echo $b; fi; done < /proc/self/status"];
    assert_eq!(place.ok(&[&flags[..], &words].concat()), "/bin\n12\n1\n");
}

#[test]
fn exec_takes_a_process_from_a_file_and_goes_on_detached() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    let process = json!({"user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "echo $X > /tmp/x; exec sleep 60"], "cwd": "/bin",
        "env": ["PATH=/bin", "X=file"]});
    fs::write(place.path("process.json"), process.to_string()).unwrap();
    let mut command = place.command(&["exec", "--process", "process.json", "--detach", "--pid-file", "pid2", ID]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    let pid = place.read("pid2");
    assert!(pid.bytes().all(|b| b.is_ascii_digit()) && Path::new("/proc").join(&pid).exists(), "{pid}");
    until("it has written", || place.codexrun(&["exec", ID, "cat", "/tmp/x"]).out == "file\n");
    place.ok(&["delete", "--force", ID]);
    until("it ends with the container", || !Path::new("/proc").join(&pid).join("exe").exists());
}

#[test]
fn exec_follows_a_container_without_a_mount_namespace_into_its_own_root_alone() {
    // Another mount, and a directory of the same one.
    leaves_its_root("cat /bin/busybox > /tmp/busybox; busybox chmod 755 /tmp/busybox", "/tmp");
    leaves_its_root(":", "/bin");
}

fn leaves_its_root(prepare: &str, dir: &str) {
    let script =
        format!("{prepare}; while ! busybox test -e /go; do sleep 0.01; done; exec busybox chroot {dir} /busybox sleep 1000");
    let Some(place) = Place::new(&script).filter(|_| nix::unistd::getuid().is_root()) else { return };
    place.edit(|spec| {
        spec["linux"]["namespaces"] = json!([{"type": "pid"}]);
        let set = json!(["CAP_SYS_CHROOT"]);
        spec["process"]["capabilities"] = json!({"bounding": set, "effective": set, "permitted": set});
    });
    let created = place.create();
    if created.err.contains("Linux 6.15") {
        return eprintln!("skipped: needs Linux 6.15");
    }
    assert_eq!((created.code, place.ok(&["start", ID])), (0, String::new()), "{created:?}");
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap();
    let seen = place.ok(&["exec", ID, "sh", "-c", "readlink /proc/self/ns/mnt; ls /"]);
    assert_eq!(seen, format!("{}\nbin\ndev\nproc\ntmp\n", ours.display()));
    // Where the first process has gone, it may have gone into the host's.
    fs::write(place.path("b/rootfs/go"), "").unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while place.codexrun(&["exec", ID, "/bin/true"]).code == 0 && Instant::now() < end {}
    place.fails(&["exec", ID, "/busybox", "true"], 255, "has another root by now");
}

#[test]
fn exec_gives_a_terminal_of_the_container() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    assert_eq!(place.ok(&["exec", "--tty", ID, "tty"]), "/dev/pts/0\n");
    assert_eq!(place.ok(&["exec", "--tty", "--user", "7", ID, "sh", "-c", "echo mine > $(tty)"]), "mine\n");
    let socket = place.path("console");
    let listener = UnixListener::bind(&socket).unwrap();
    let words = ["exec", "--tty", "--detach", "--console-socket", socket.to_str().unwrap(), ID, "sh", "-c", "exit 0"];
    place.ok(&words);
    listener.set_nonblocking(true).unwrap();
    listener.accept().expect("the master has been sent");
    place.fails(&["exec", "--console-socket", socket.to_str().unwrap(), ID, "true"], 255, "the process has no terminal");
}

/// runc's, since 1.2.
#[test]
fn who_listens_for_it_gets_a_pidfd_of_the_process_and_runcs_word_for_its_kind() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let socket = place.path("pidfd");
    let listener = UnixListener::bind(&socket).unwrap();
    let option = ["--pidfd-socket", socket.to_str().unwrap()];
    // What came, with that signal's end for whom it was about.
    let come = |signal: i32| {
        listener.set_nonblocking(true).unwrap();
        let (mut stream, _) = listener.accept().expect("it has been sent before codexrun goes");
        stream.set_nonblocking(false).unwrap();
        let (first, [pidfd]) = receive_with_fds::<1>(stream.as_fd()).unwrap().unwrap();
        let mut word = vec![first];
        stream.read_to_end(&mut word).unwrap();
        let pidfd = pidfd.expect("a descriptor with the first byte");
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd))).unwrap();
        pidfd_send_signal(pidfd.as_fd(), signal).unwrap();
        let pid = about.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().to_owned();
        (String::from_utf8(word).unwrap(), pid)
    };
    let pid = || place.state()["pid"].to_string();
    // Whoever goes on would have a pipe of ours open.
    let leaves = |words: &[&str], rest: &[&str]| {
        let mut command = place.command(&[words, &option, rest].concat());
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(), "{words:?}");
    };
    leaves(&["create", "--bundle", "b"], &[ID]);
    let created = pid();
    assert_eq!(come(libc::SIGKILL), ("standard".to_owned(), created));
    until("it has ended", || place.status() == "stopped");
    place.ok(&["delete", ID]);
    leaves(&["run", "--bundle", "b", "--detach"], &[ID]);
    assert_eq!(come(0), ("standard".to_owned(), pid()));
    leaves(&["exec", "--detach", "--pid-file", "pid"], &[ID, "sleep", "60"]);
    assert_eq!(come(libc::SIGTERM), ("setns".to_owned(), place.read("pid")));
    // It leaves nothing behind where nobody listens.
    drop(listener);
    let about = format!("--pidfd-socket: cannot send the pidfd to `{}`: ECONNREFUSED", socket.display());
    place.fails(&[&["exec"], &option[..], &[ID, "true"]].concat(), 255, &about);
    place.ok(&["delete", "--force", ID]);
    place.fails(&[&["run", "--bundle", "b"], &option[..], &[ID]].concat(), 1, &about);
    place.fails(&[&["run", "b"], &option[..]].concat(), 1, &about);
    place.fails(&["state", ID], 1, "does not exist");
}

#[test]
fn a_terminal_of_another_file_system_is_refused() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.edit(|spec| {
        let tmpfs = json!({"destination": "/dev/pts", "type": "tmpfs", "source": "tmpfs"});
        spec["mounts"].as_array_mut().unwrap()[2] = tmpfs;
    });
    place.started();
    place.ok(&["exec", ID, "sh", "-c", "echo > /dev/pts/ptmx"]);
    place.fails(&["exec", "--tty", ID, "true"], 255, "cannot open a terminal of the container");
}

#[test]
fn a_directory_of_the_host_as_a_stream_is_refused() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.started();
    for (verb, code) in [(&["run", "b"][..], 1), (&["exec", ID, "ls", "/proc/self/fd/0/etc/hostname"], 255)] {
        let said = said(&place.command(verb).stdin(fs::File::open("/").unwrap()).output().unwrap());
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{verb:?}: {said:?}");
        assert!(said.err.contains("standard input is a directory"), "{verb:?}: {said:?}");
    }
}

fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
}

#[test]
fn what_a_filter_keeps_from_beginning_a_hook_is_told_with_the_filter() {
    let Some(place) = Place::new("true") else { return };
    for (no_new_privileges, call) in [(true, "wait4"), (false, "wait4")] {
        place.edit(|spec| {
            let rule = json!({"names": [call], "action": "SCMP_ACT_ERRNO"});
            spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
            spec["process"]["noNewPrivileges"] = no_new_privileges.into();
            spec["hooks"] = json!({"startContainer": [hook("true")]});
        });
        let said = place.codexrun(&["run", "--bundle", "b", ID]).err;
        let begins = "hooks.startContainer[0]: cannot run the hook `/bin/sh`: error running startContainer hook #0: \
                      EPERM (Operation not permitted) (hint: the filter of linux.seccomp is";
        assert!(said.contains(begins) && said.lines().count() == 1, "{call}: {said}");
    }
}

/// crun's; its tests have the file below the bundle.
#[test]
fn another_file_takes_the_place_of_config_json() {
    let Some(place) = Place::new("echo default") else { return };
    let mut other = spec("echo other");
    fs::write(place.path("other.json"), other.to_string()).unwrap();
    assert_eq!(place.ok(&["run", "--bundle", "b", "--config", "other.json", ID]), "other\n");
    other["process"]["cwd"] = json!("x");
    other["hostname"] = json!(7);
    fs::write(place.path("b/other.json"), other.to_string()).unwrap();
    let said = place.codexrun(&["create", "--bundle", "b", "-f", "b/other.json", ID]).err;
    let file = format!("{}: ", place.path("b/other.json").display());
    assert!(said.contains(&format!("{file}process.cwd: `x`")) && said.contains("other.json:1:"), "{said}");
    assert!(place.codexrun(&["run", "--config", "b/none.json", ID]).err.contains("none.json: cannot be read"));
    // What goes wrong in the launch, and what is warned of, is said of that file too.
    other = spec("true");
    other["hooks"] = json!({"poststop": [hook("exit 3")]});
    other["colour"] = json!(7);
    fs::write(place.path("b/other.json"), other.to_string()).unwrap();
    let said = place.codexrun(&["run", "--bundle", "b", "-f", "b/other.json", ID]).err;
    let [unknown, poststop] = [format!("{file}`colour` is no known"), format!("{file}hooks.poststop[0]: ")];
    assert!(said.contains(&unknown) && said.contains(&poststop) && !said.contains("config.json"), "{said}");
}

/// crun's.
#[test]
fn all_whose_ids_match_are_deleted() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    for id in ["box", "a-1", "a-2"] {
        let mut create = place.command(&["create", "--bundle", "b", id]);
        assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }
    assert!(place.codexrun(&["delete", "--regex", "("]).err.contains("`(` is no regular expression"));
    place.ok(&["delete", "--force", "--regex", "^a-[0-9]$"]);
    assert_eq!(place.ok(&["list", "-q"]), "box\n");
    place.ok(&["delete", "--regex", "none"]);
}

#[test]
fn one_of_several_that_somebody_else_has_deleted_meanwhile_is_no_failure() {
    let Some(place) = Place::new("true") else { return };
    for (id, other) in [("a-1", "a-2"), ("a-2", "a-1")] {
        let poststop = format!("rm -r {}", place.path("r").join(other).display());
        place.edit(|spec| spec["hooks"] = json!({"poststop": [hook(&poststop)]}));
        let mut create = place.command(&["create", "--bundle", "b", id]);
        assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        place.ok(&["start", id]);
        let state = || serde_json::from_str::<Value>(&place.ok(&["state", id])).unwrap();
        until("it ends", || state()["status"] == "stopped");
    }
    place.ok(&["delete", "--regex", "^a-"]);
    assert_eq!(place.ok(&["list", "-q"]), "");
}

/// crun's tests do so. Under version 1 nothing frozen dies, of SIGKILL neither.
#[test]
fn what_somebody_has_frozen_from_outside_is_deleted_all_the_same() {
    let Some(place) = Place::new("sleep 60 & sleep 61 & wait") else { return };
    let freezer = PathBuf::from(format!("/sys/fs/cgroup/freezer/codexrun-test-{}", std::process::id()));
    if fs::create_dir(&freezer).is_err() {
        return eprintln!("skipped: no freezer of version 1, or no right to it");
    }
    place.started();
    let pid = place.state()["pid"].to_string();
    until("both sleep", || children(&pid) == 2);
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    for one in all.split_whitespace().chain([&*pid]) {
        fs::write(freezer.join("cgroup.procs"), one).unwrap();
    }
    fs::write(freezer.join("freezer.state"), "FROZEN").unwrap();
    place.ok(&["delete", "--force", ID]);
    let left = fs::read_to_string(freezer.join("cgroup.procs")).unwrap();
    fs::write(freezer.join("freezer.state"), "THAWED").unwrap();
    fs::remove_dir(&freezer).unwrap();
    assert_eq!(left, "");
}

fn children(pid: &str) -> usize {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).map_or(0, |pids| pids.split_whitespace().count())
}

/// Podman's `--group-add keep-groups`.
#[test]
fn the_callers_groups_stay_when_an_annotation_says_so() {
    let Some(place) = Place::new("id -G") else { return };
    if !nix::unistd::getuid().is_root() {
        return eprintln!("skipped: only root may choose its groups");
    }
    let with = |value: &str| {
        place.edit(|spec| spec["annotations"] = json!({"run.oci.keep_original_groups": value}));
        said(&as_member(&place, &["run", "b"]))
    };
    assert_eq!(with("0").out, "0\n");
    assert_eq!(with("1").out, "0 7 8\n");
    place.edit(|spec| spec["process"]["user"]["additionalGids"] = json!([9]));
    let said = with("1");
    assert!(said.out == "0 7 8\n" && said.err.contains("additionalGids has no effect"), "{said:?}");
}

/// A command of root's who is in the groups 7 and 8.
fn as_member(place: &Place, words: &[&str]) -> Output {
    let command = place.command(words);
    let mut member = Command::new("setpriv");
    member.args(["--groups", "7,8"]).arg(command.get_program()).args(command.get_args());
    member.current_dir(place.0.path()).stdin(Stdio::null()).output().unwrap()
}

/// Podman's `--no-pivot`, and NoPivotRoot of containerd.
#[test]
fn no_pivot_is_taken_and_changes_nothing() {
    let Some(place) = Place::new("ls -d /bin; exit 7") else { return };
    let said = place.codexrun(&["run", "--no-pivot", "b"]);
    assert_eq!(said, Said { code: 7, out: "/bin\n".to_owned(), err: String::new() });
}

#[test]
fn a_start_container_hook_that_names_no_environment_has_that_of_the_process() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let tell = |env: Value| {
        let mut hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo A=$A B=$B HOME=$HOME >> /log"]});
        hook["env"] = env;
        hook
    };
    let log = place.path("log");
    fs::write(&log, "").unwrap();
    place.edit(|spec| {
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/log", "type": "bind", "source": log, "options": ["bind"]}));
        spec["hooks"] = json!({"startContainer": [tell(Value::Null), tell(json!(["B=2"])), tell(json!([]))]});
    });
    place.started();
    assert_eq!(place.read("log"), "A=1 B= HOME=/\nA= B=2 HOME=\nA= B= HOME=\n");
}

#[test]
fn hooks_of_all_six_kinds_run_in_order_each_in_its_place() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let log = place.path("log");
    let tell = |kind: &str| hook(&format!("read s; echo {kind} $(readlink /proc/self/ns/mnt) $s >> {}", log.display()));
    place.edit(|spec| {
        spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/log", "type": "bind", "source": log, "options": ["bind"]}));
        let inside = hook("read s; echo startContainer $(readlink /proc/self/ns/mnt) $s >> /log");
        spec["hooks"] = json!({
            "prestart": [tell("prestart")], "createRuntime": [tell("createRuntime")], "createContainer": [tell("createContainer")],
            "startContainer": [inside], "poststart": [tell("poststart")], "poststop": [tell("poststop")],
        });
    });
    fs::write(&log, "").unwrap();
    let kinds = |text: &str| text.lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(place.create().err, "");
    assert_eq!(kinds(&place.read("log")), ["prestart", "createRuntime", "createContainer"]);
    place.ok(&["start", ID]);
    let pid = place.state()["pid"].clone();
    place.ok(&["kill", ID, "KILL"]);
    until("it ends", || place.status() == "stopped");
    place.ok(&["delete", ID]);
    let text = place.read("log");
    assert_eq!(kinds(&text), ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]);
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap();
    for (line, status) in text.lines().zip(["created", "creating", "creating", "created", "running", "stopped"]) {
        let [kind, namespace, state] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let state: Value = serde_json::from_str(state).unwrap();
        assert_eq!((&state["id"], &state["status"]), (&json!(ID), &json!(status)), "{kind}");
        let inside = kind.ends_with("Container");
        let seen = if inside { json!(1) } else { pid.clone() };
        assert!(status == "stopped" || state["pid"] == seen, "{line}");
        assert_eq!(namespace != ours.to_str().unwrap(), inside, "{kind}");
    }
}

/// As under runc and crun: a bundle may name its own files.
#[test]
fn a_hook_outside_begins_in_the_bundle() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    place.edit(|spec| {
        for kind in kinds {
            spec["hooks"][kind] = json!([hook(&format!("echo {kind} $(pwd) >> ../log"))]);
        }
    });
    place.started();
    place.ok(&["delete", "--force", ID]);
    let bundle = place.path("b");
    let each = |kind: &str| format!("{kind} {}\n", bundle.display());
    assert_eq!(place.read("log"), kinds.map(each).concat());
    place.write(&spec("exec sleep 60"));
    // A bundle that is gone keeps no container from its end.
    let (gone, log) = (place.path("gone"), place.path("log"));
    place.edit(|spec| spec["hooks"] = json!({"poststop": [hook(&format!("pwd >> {}", log.display()))]}));
    place.started();
    fs::rename(&bundle, &gone).unwrap();
    assert_eq!(place.ok(&["delete", "--force", ID]), "");
    assert!(place.read("log").ends_with("\n/\n"), "{}", place.read("log"));
}

/// So do hooks that bring a GPU's libraries in, and `hooks_so.bats` of runc's. What lay over `/` was the container's root: mount(8) was the
/// image's.
#[test]
fn a_hook_that_enters_the_mount_namespace_finds_the_host_and_the_root_at_its_own_path() {
    if !nix::unistd::getuid().is_root() {
        return eprintln!("skipped: only root enters the namespaces of a process that is undumpable");
    }
    for (kind, by) in [("prestart", "nsenter -m -t $pid "), ("createRuntime", "nsenter -m -t $pid "), ("createContainer", "")] {
        let Some(place) = Place::new("cat /given; ls /") else { return };
        let (source, target) = (place.path("source"), place.path("b/rootfs/given"));
        fs::write(&source, "given\n").unwrap();
        fs::write(&target, "the image's\n").unwrap();
        let bind = format!("{by}mount --bind {} {}", source.display(), target.display());
        let script = format!("read state; pid=${{state##*\\\"pid\\\":}}; pid=${{pid%%[!0-9]*}}; {bind}");
        for namespaces in [&["mount", "pid"][..], &["mount", "pid", "user"]] {
            place.edit(|spec| {
                spec["hooks"] = json!({kind: [hook(&script)]});
                spec["linux"]["namespaces"] = namespaces.iter().map(|kind| json!({"type": kind})).collect();
                spec["linux"]["uidMappings"] = json!([]);
                spec["linux"]["gidMappings"] = json!([]);
                for map in ["uidMappings", "gidMappings"].iter().filter(|_| namespaces.contains(&"user")) {
                    spec["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
                }
            });
            let out = place.ok(&["run", "--bundle", "b", ID]);
            assert_eq!(out, "given\nbin\ndev\ngiven\nproc\ntmp\n", "{kind} {namespaces:?}");
            assert_eq!(fs::read_to_string(&target).unwrap(), "the image's\n", "{kind}: nothing of it is on the host");
        }
    }
}

/// The host's `/`, a mount over the root, and what is shared with the host: there the root stays where it is.
#[test]
fn hooks_run_wherever_the_root_lies() {
    let Some(place) = Place::new("ls -d /bin") else { return };
    for (field, value) in [
        ("/root/path", json!("/")),
        ("/root/path", json!("/.")),
        ("/mounts/0", json!({"destination": "/", "type": "bind", "source": place.path("b/rootfs"), "options": ["rbind"]})),
        ("/linux/rootfsPropagation", json!("rshared")),
        ("/linux/rootfsPropagation", json!("rslave")),
        ("/linux/rootfsPropagation", json!("unbindable")),
        ("/root/path", json!("../b/link")),
    ] {
        let mut spec = spec("ls -d /bin");
        spec["linux"]["rootfsPropagation"] = json!("rprivate");
        *spec.pointer_mut(field).unwrap() = value.clone();
        spec["hooks"] = json!({"createRuntime": [hook("exit 0")], "createContainer": [hook("exit 0")]});
        let _ = symlink("rootfs", place.path("b/link"));
        place.write(&spec);
        assert_eq!(place.ok(&["run", "--bundle", "b", ID]), "/bin\n", "{field} {value}");
    }
}

/// runc's.
#[test]
fn a_create_container_hook_begins_in_the_root() {
    let Some(place) = Place::new("cat /made; ls -d /kept") else { return };
    place.edit(|spec| {
        spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/kept", "type": "tmpfs", "source": "tmpfs"}));
        spec["hooks"] = json!({"createContainer": [hook("pwd > made; : > kept/inside"), hook("test -e kept/inside")]});
    });
    let root = place.path("b/rootfs");
    assert_eq!(place.ok(&["run", "--bundle", "b", ID]), format!("{}\n/kept\n", root.display()));
    assert!(!root.join("kept/inside").exists(), "it is the container's mount");
}

#[test]
fn a_failing_hook_destroys_the_container_and_is_named() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let Some(place) = Place::new("exec sleep 60") else { return };
        let bad = if kind == "startContainer" { hook("exit 3") } else { hook("cat >/dev/null; exit 3") };
        place.edit(|spec| {
            spec["ociVersion"] = json!("1.3.0");
            spec["hooks"] = json!({kind: [bad], "poststop": [hook("echo stopped >> ../log")]});
            if nix::unistd::getuid().is_root() {
                // `start` must number the steps as `create` did, also those of the cgroup.
                spec["linux"]["resources"] = json!({"pids": {"limit": 20}});
                // Others of this file have the same name, and would have the same cgroup.
                spec["linux"]["cgroupsPath"] = json!(format!("/codexrun-hooks-{kind}"));
            }
        });
        let created = place.create();
        let failed = if kind.contains("start") && kind != "prestart" { place.codexrun(&["start", ID]) } else { created };
        assert_eq!(failed.code, 1, "{kind}: {failed:?}");
        let words = format!("config.json: hooks.{kind}[0]: the hook `/bin/sh` failed: error running {kind} hook #0: ");
        assert!(failed.err.contains(&words), "{failed:?}");
        place.fails(&["state", ID], 1, "container does not exist");
        assert_eq!(place.read("log"), "stopped\n", "{kind}");
    }
}

/// runtime.md of 1.0.0 to 1.2.1, "Lifecycle", step 9.
#[test]
fn a_failed_poststart_hook_is_a_warning_where_the_bundle_is_of_a_version_before_1_3() {
    for version in ["1.0.2-dev", "1.2.1"] {
        let Some(place) = Place::new("exec sleep 60") else { return };
        place.edit(|spec| {
            spec["ociVersion"] = json!(version);
            spec["hooks"] = json!({"poststart": [hook("exit 3"), hook("echo second >> ../log")]});
        });
        place.create();
        let started = place.codexrun(&["start", ID]);
        let file = place.path("b/config.json").display().to_string();
        let warning = format!("codexrun: warning: {file}: hooks.poststart[0]: the hook `/bin/sh` failed");
        assert!(started.code == 0 && started.err.starts_with(&warning), "{started:?}");
        assert_eq!((place.read("log").as_str(), place.state()["status"].as_str()), ("second\n", Some("running")));
    }
}

/// CVE-2019-5736, among processes of others.
#[test]
fn codexruns_own_file_cannot_be_written_to_through_its_process() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    if !nix::unistd::getuid().is_root() {
        return eprintln!("skipped: an ordinary user's containers have no right to root's files");
    }
    // It is busy while it runs, so nothing is lost. What is said of the mount comes first, and stays true when it has ended.
    let script = format!("(: > /proc/$PPID/exe) 2> {}; cat /proc/$PPID/comm >> ../log", place.path("said").display());
    place.edit(|spec| {
        spec["hooks"] = json!({"createRuntime": [hook(&script)]});
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
        spec["mounts"].as_array_mut().unwrap()[0] =
            json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
    });
    place.started();
    assert!(place.read("said").contains("Read-only file system"), "{}", place.read("said"));
    assert_eq!(place.read("log"), "codexrun\n");
}

/// CVE-2019-5736: executed by its directory, a program is called by its own name and not by a link's.
#[test]
fn exec_takes_a_program_by_its_directory_and_what_needs_its_path_from_a_read_only_file() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    if !nix::unistd::getuid().is_root() {
        return eprintln!("skipped: an ordinary user's containers have no right to root's files");
    }
    let script = place.path("b/rootfs/bin/script");
    fs::write(&script, "#!/bin/sh\ncat /proc/$$/comm; :\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    place.started();
    let comm = ["exec", ID, "sh", "-c", "cat /proc/$$/comm; :"];
    assert_eq!(place.ok(&comm), "busybox\n");
    assert_eq!(place.ok(&["exec", ID, "script"]), "script\n");
    // Who may look into others could open codexrun's file by way of its process.
    let looks = [&["exec", "--cap", "CAP_SYS_PTRACE"], &comm[1..]].concat();
    assert_eq!(place.ok(&looks), "sh\n");
    for more in ["CAP_KILL", "CAP_SYS_PTRACE"] {
        let said = place.codexrun(&["exec", "--cap", "CAP_NOPE", "--cap", more, ID, "script"]);
        assert_eq!((said.out.as_str(), said.err.lines().count()), ("script\n", 1), "{said:?}");
    }
}

#[test]
fn exec_never_executes_codexrun_however_fast_the_program_changes() {
    let script = "cd /bin; cp busybox a; while :; do cp -f a x; ln -sf /proc/self/exe y; mv y x; mv x z; cp a y; mv y x; done";
    let Some(place) = Place::new(script) else { return };
    for name in ["cp", "ln", "mv"] {
        symlink("busybox", place.path("b/rootfs/bin").join(name)).unwrap();
    }
    place.started();
    until("the program is there", || place.path("b/rootfs/bin/x").exists());
    for _ in 0..40 {
        let said = place.codexrun(&["exec", ID, "/bin/x", "--version"]);
        assert!(said.code != 0 && said.out.is_empty(), "{said:?}");
    }
}

#[test]
fn a_container_that_is_killed_while_it_is_made_is_an_error_that_is_said() {
    let Some(place) = Place::new("sleep 60") else { return };
    let script = r#"read s; s=${s#*'"pid":'}; kill -9 ${s%%[!0-9]*}"#;
    place.edit(|spec| spec["hooks"] = json!({"createRuntime": [hook(script)]}));
    let said = place.create();
    let told = "codexrun: error: the process was killed by SIGKILL before it was ready\n";
    assert_eq!((said.code, said.err.as_str()), (1, told), "{said:?}");
    place.fails(&["state", ID], 1, "container does not exist");
}

/// containerd's shim reads what `create` says to its end when the container has a terminal.
#[test]
fn a_created_container_with_a_terminal_holds_nothing_of_the_callers() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.edit(|spec| spec["process"]["terminal"] = json!(true));
    let socket = place.path("console");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut command = place.command(&["create", "--bundle", "b", "--console-socket", socket.to_str().unwrap(), ID]);
    let mut create = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (done, ended) = std::sync::mpsc::channel();
    let (mut out, mut err) = (create.stdout.take().unwrap(), create.stderr.take().unwrap());
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = std::io::Read::read_to_string(&mut out, &mut text).and(std::io::Read::read_to_string(&mut err, &mut text));
        done.send(read.map(|_| text))
    });
    let text = ended.recv_timeout(Duration::from_secs(10)).expect("both pipes come to their end").unwrap();
    assert_eq!(text, "");
    assert!(create.wait().unwrap().success());
    assert_eq!(place.status(), "created");
}

/// A lock lives as long as any process has it open: the container's own must not.
#[test]
fn a_created_container_does_not_hold_its_own_lock() {
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.create();
    let lock = fs::canonicalize(place.path("r").join(ID).join("lock")).unwrap();
    let pid = place.read("pid");
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    assert!(!open.into_iter().any(|file| file == lock));
}

#[test]
fn a_hook_inside_that_takes_too_long_is_killed() {
    let Some(place) = Place::new("true") else { return };
    place.edit(|spec| {
        let mut slow = hook("exec sleep 60");
        slow["timeout"] = json!(1);
        spec["hooks"] = json!({"createContainer": [slow]});
    });
    let said = place.create();
    assert!(said.code == 1 && said.err.contains("did not end within 1 s"), "{said:?}");
}

/// PID 1 of a sandbox is codexrun's init, which an ordinary user may not look into.
#[test]
fn exec_joins_the_sandbox_of_a_policy_with_all_its_walls() {
    let Some(place) = Place::new("true") else { return };
    fs::remove_dir_all(place.path("b")).unwrap();
    let work = place.path("work");
    fs::create_dir(&work).unwrap();
    let spec =
        ["spec", "--from-policy", "workspace-write", "--cwd", work.to_str().unwrap(), "--bundle", "b", "--", "sleep", "60"];
    assert_eq!(place.codexrun(&spec).code, 0);
    place.started();
    let script = "touch x && echo written; mkdir .git || echo protected; touch /usr/x || echo read-only; \
        grep -h -e NoNewPrivs -e Seccomp: -e CapEff -e CapBnd /proc/self/status; id -u";
    let said = place.codexrun(&["exec", ID, "sh", "-c", script]);
    let lines: Vec<&str> = said.out.lines().collect();
    let uid = nix::unistd::getuid().to_string();
    let walls = ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", &uid];
    assert_eq!(lines, [&["written", "protected", "read-only"], &walls[..]].concat(), "{said:?}");
    place.ok(&["delete", "--force", ID]);
    until("the placeholders are gone", || fs::read_dir(&work).unwrap().count() == 1);
}

/// Without one a process of `exec` has no names.
fn python() -> Option<&'static str> {
    let python = Path::new("/usr/bin/python3").exists().then_some("/usr/bin/python3");
    if python.is_none() {
        eprintln!("skipped: there is no /usr/bin/python3");
    }
    python
}

const SERVER: &str = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('its.sock'); s.listen(); print('up', flush=True)
while True: s.accept()[0].sendall(b'hello')";
const CLIENT: &str = "import socket, sys
for name in sys.argv[1:]:
    try: s = socket.socket(socket.AF_UNIX); s.connect(name); print(s.recv(9).decode())
    except OSError as e: print(e.errno)";

#[test]
fn unix_sockets_are_the_containers_in_exec_too_and_the_hosts_are_shut() {
    let (Some(place), Some(python)) = (Place::new("true"), python()) else { return };
    let work = place.path("work");
    fs::create_dir(&work).unwrap();
    let _host = UnixListener::bind(work.join("hers.sock")).unwrap();
    let enabled = place.path("enabled.json");
    fs::write(&enabled, json!({"type": "workspace-write", "network_access": true}).to_string()).unwrap();
    for policy in ["workspace-write", enabled.to_str().unwrap()] {
        fs::remove_dir_all(place.path("b")).unwrap();
        let spec =
            ["spec", "--from-policy", policy, "--cwd", work.to_str().unwrap(), "--bundle", "b", "--", python, "-c", SERVER];
        assert_eq!(place.codexrun(&spec).code, 0);
        place.started();
        until("it listens", || place.read("out") == "up\n");
        let ask = ["exec", ID, python, "-c", CLIENT, "its.sock", "hers.sock"];
        for _ in 0..2 {
            assert_eq!(place.ok(&ask), "hello\n1\n", "{policy}");
        }
        let to_file = format!(
            "import sys; sys.stdout = open('said', 'w')\n{CLIENT}\nsys.stdout.close(); import os; os.rename('said', 'all')"
        );
        place.ok(&["exec", "--detach", ID, python, "-c", &to_file, "its.sock"]);
        until("the detached one has its answer", || place.read("work/all") == "hello\n");
        fs::remove_file(work.join("all")).unwrap();
        fs::remove_file(work.join("its.sock")).unwrap();
        place.ok(&["delete", "--force", ID]);
    }
}

#[test]
fn exec_finds_the_broker_of_a_container_in_the_foreground_and_does_without_one_that_was_killed() {
    let (Some(place), Some(python)) = (Place::new("true"), python()) else { return };
    fs::remove_dir_all(place.path("b")).unwrap();
    let work = place.path("work");
    fs::create_dir(&work).unwrap();
    let spec = [
        "spec",
        "--from-policy",
        "workspace-write",
        "--cwd",
        work.to_str().unwrap(),
        "--bundle",
        "b",
        "--",
        python,
        "-c",
        SERVER,
    ];
    assert_eq!(place.codexrun(&spec).code, 0);
    let mut run = place.command(&["run", "--bundle", "b", ID]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it listens", || work.join("its.sock").exists());
    let client = ["exec", ID, python, "-c", CLIENT, "its.sock"];
    until("it answers", || place.codexrun(&client).out == "hello\n");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap();
    let power = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("CapPrm:\t0000000000080000\n");
    let brokers: Vec<&str> = children.split_whitespace().filter(power).collect();
    assert_eq!(brokers.len(), 1, "{children}");
    let pid = nix::unistd::Pid::from_raw(brokers[0].parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    // Who knocks while it dies is refused with a sentence.
    until("it is gone", || place.codexrun(&client).out == "1\n");
    place.ok(&["kill", ID, "KILL"]);
    run.wait().unwrap();
}

#[test]
fn kill_all_reaches_everybody_and_is_content_when_there_is_nobody() {
    let script = "trap 'echo first' USR1; (trap 'echo second' USR1; while :; do sleep 1; done) & while :; do sleep 1; done";
    let Some(place) = Place::new(script) else { return };
    place.started();
    until("both traps are set", || {
        place.ok(&["kill", "--all", ID, "USR1"]);
        place.status() == "running" && place.read("out").contains("first") && place.read("out").contains("second")
    });
    place.ok(&["kill", "--all", ID, "9"]);
    until("it ends", || place.status() == "stopped");
    place.ok(&["kill", "--all", ID, "9"]);
    place.fails(&["kill", ID, "9"], 1, "container not running");
}

/// What shares the host's pid namespace is told apart by its cgroup only.
#[test]
fn a_container_without_a_pid_namespace_ends_with_all_its_processes() {
    if !nix::unistd::getuid().is_root() {
        return eprintln!("skipped: an ordinary user makes no cgroup here");
    }
    for delete in [false, true] {
        let Some(place) = Place::new("sleep 61 & sleep 62 & exec sleep 63") else { return };
        place.edit(|spec| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
            spec["mounts"].as_array_mut().unwrap()[0] =
                json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
        });
        place.started();
        let members = || serde_json::from_str::<Vec<i32>>(&place.ok(&["ps", "--format", "json", ID])).unwrap();
        until("all three are there", || members().len() == 3);
        let pids = members();
        match delete {
            true => place.ok(&["delete", "--force", ID]),
            false => place.ok(&["kill", ID, "KILL"]),
        };
        let alive = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        until("all are gone", || !pids.iter().any(alive));
    }
}

/// Engines give `create` the container's own standard error, which ends up in its log.
#[test]
fn create_leaves_the_containers_streams_alone() {
    let Some(place) = Place::new("echo out; echo err >&2; exec sleep 60") else { return };
    place.edit(|spec| {
        spec["unknown"] = json!(1);
        let calls = json!([{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]);
        spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": calls});
    });
    place.started();
    until("it has spoken", || !place.read("err").is_empty());
    assert_eq!((place.read("out"), place.read("err")), ("out\n".into(), "err\n".into()));
}

/// Verbs that reach a container by way of its cgroup.
mod cgroup {
    use super::*;
    use std::io::{BufRead, BufReader};

    /// A running container in a cgroup of its own, of 32 MiB.
    fn limited(script: &str) -> Option<Place> {
        if !nix::unistd::getuid().is_root() {
            eprintln!("skipped: an ordinary user may make no cgroup here");
            return None;
        }
        let place = Place::new(script)?;
        let name = place.0.path().file_name()?.to_string_lossy().replace('.', "");
        place.edit(|spec| {
            spec["linux"]["cgroupsPath"] = json!(format!("/codexrun-verbs-{name}"));
            spec["linux"]["resources"] = json!({"memory": {"limit": 32 << 20}, "pids": {"limit": 50}});
        });
        place.started();
        Some(place)
    }

    /// A file of the first process's cgroup in the hierarchy of version 1 that has this controller.
    fn limit(place: &Place, controller: &str, file: &str) -> Option<String> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", place.read("pid"))).unwrap();
        let path = groups.lines().find_map(|line| line.split_once(&format!(":{controller}:"))?.1.strip_prefix('/'))?;
        fs::read_to_string(Path::new("/sys/fs/cgroup").join(controller).join(path).join(file)).ok()
    }

    /// Every cgroup of the container, and whether it has the controller, as files of the host.
    fn directories(place: &Place, controller: &str) -> Vec<(PathBuf, bool)> {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", place.read("pid"))).unwrap();
        let own = groups.lines().filter(|line| line.contains("/codexrun-verbs-"));
        let dir = |line: &str| {
            let [_, names, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let mount = if names.is_empty() { "unified" } else { names };
            (Path::new("/sys/fs/cgroup").join(mount).join(&path[1..]), names.split(',').any(|name| name == controller))
        };
        own.map(dir).collect()
    }

    /// The kernel leaves the affinity of who starts a container on it: that of an engine's daemon is nobody's wish.
    #[test]
    fn a_container_has_the_cpus_of_its_cgroup_and_not_those_of_who_starts_it() {
        let Some(place) = limited("exec sleep 60") else { return };
        let list = fs::read_to_string("/proc/self/status").unwrap();
        let allowed =
            |status: &str| status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap().to_owned();
        let all = allowed(&list);
        let (first, rest) = all.split_at(all.find(|c: char| !c.is_ascii_digit()).unwrap_or(all.len()));
        if rest.is_empty() {
            return eprintln!("skipped: there is one CPU");
        }
        let bound = |words: &[&str]| {
            let mut command = Command::new("taskset");
            command.args(["-c", first, env!("CARGO_BIN_EXE_codexrun"), "--root", place.path("r").to_str().unwrap()]);
            said(&command.args(words).current_dir(place.0.path()).stdin(Stdio::null()).output().unwrap())
        };
        let of_exec = bound(&["exec", ID, "cat", "/proc/self/status"]);
        assert_eq!((of_exec.code, allowed(&of_exec.out)), (0, all.clone()), "{of_exec:?}");
        place.ok(&["delete", "--force", ID]);
        place.edit(|spec| spec["process"]["args"] = json!(["cat", "/proc/self/status"]));
        let of_run = bound(&["run", "--bundle", "b", ID]);
        assert_eq!((of_run.code, allowed(&of_run.out)), (0, all.clone()), "{of_run:?}");
        let alone = bound(&["run", "b"]);
        assert_eq!((alone.code, allowed(&alone.out).as_str()), (0, first), "a sandbox keeps to those of who began it: {alone:?}");
    }

    #[test]
    fn what_codexrun_would_have_made_is_not_missed() {
        let name = format!("codexrun-test-frozen-{}", std::process::id());
        let dir = Path::new("/sys/fs/cgroup/freezer").join(&name);
        if fs::create_dir(&dir).is_err() {
            return eprintln!("skipped: needs root and cgroup version 1");
        }
        fs::write(dir.join("freezer.state"), "FROZEN").unwrap();
        let Some(place) = Place::new("true") else { return fs::remove_dir(&dir).unwrap() };
        place.edit(|spec| {
            spec["linux"]["cgroupsPath"] = json!(format!("/{name}"));
            let mount = json!({"destination": "/cgroup", "type": "cgroup", "source": "cgroup"});
            spec["mounts"].as_array_mut().unwrap().push(mount);
        });
        let said = place.create();
        fs::remove_dir(&dir).unwrap();
        assert!(said.err.contains("container's cgroup unexpectedly frozen: `/sys/fs/cgroup/freezer/"), "{said:?}");
        assert_eq!((said.code, said.err.lines().count()), (1, 1), "{said:?}");
    }

    #[test]
    fn exec_puts_a_process_into_a_cgroup_below_the_containers() {
        let Some(place) = limited("exec sleep 60") else { return };
        let all = directories(&place, "pids");
        if !all.iter().all(|(dir, _)| dir.exists()) || !all.iter().any(|(_, pids)| *pids) {
            return eprintln!("skipped: needs cgroup version 1");
        }
        all.iter().for_each(|(dir, _)| fs::create_dir(dir.join("sub")).unwrap());
        let seen = |words: &[&str]| {
            let said = place.ok(&[&["exec"], words, &[ID, "cat", "/proc/self/cgroup"]].concat());
            said.lines().filter(|line| line.ends_with("/sub")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!((seen(&[]).len(), seen(&["--cgroup", "/"]).len()), (0, 0));
        assert_eq!(seen(&["--cgroup", "sub"]).len(), all.len());
        let one = seen(&["--cgroup", "pids:/sub"]);
        assert!(one.len() == 1 && one[0].contains(":pids:"), "{one:?}");
        for (wrong, why) in [
            ("..", "leads out of"),
            ("no/such", "no/such/cgroup.procs: no such file or directory"),
            ("nosuch:/", "unknown controller `nosuch`"),
        ] {
            place.fails(&["exec", "--cgroup", wrong, ID, "true"], 255, why);
        }
        all.iter().for_each(|(dir, _)| fs::remove_dir(dir.join("sub")).unwrap());
    }

    #[test]
    fn a_paused_container_stands_still_until_it_is_resumed() {
        let Some(place) = limited("while :; do echo tick; sleep 0.01; done") else { return };
        until("it ticks", || place.read("out").len() > 20);
        place.fails(&["resume", ID], 1, "container not paused");
        place.ok(&["pause", ID]);
        assert_eq!(place.status(), "paused");
        assert_eq!(place.state()["pid"].to_string(), place.read("pid"));
        let ticks = place.read("out").len();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(place.read("out").len(), ticks);
        place.fails(&["pause", ID], 1, "container not running");
        place.fails(&["exec", ID, "true"], 255, "paused");
        place.ok(&["resume", ID]);
        assert_eq!(place.status(), "running");
        until("it ticks again", || place.read("out").len() > ticks);
    }

    #[test]
    fn what_runs_is_not_forgotten_when_its_record_and_the_copy_are_garbled() {
        let Some(place) = limited("sleep 60") else { return };
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", place.read("pid"))).unwrap();
        let path = groups.lines().find(|line| line.contains("codexrun-verbs-")).unwrap().rsplit(':').next().unwrap().to_owned();
        let left = || {
            let all = fs::read_dir("/sys/fs/cgroup").unwrap();
            all.flatten().any(|at| at.path().join(&path[1..]).exists())
        };
        assert!(left());
        for name in ["state.json", "state.json.copy"] {
            fs::write(place.path("r").join(ID).join(name), "{").unwrap();
        }
        for verb in ["state", "delete"] {
            place.fails(
                &[verb, ID],
                1,
                "`codexrun delete --force box` removes it when nobody is in its cgroup any more, and ends nobody)",
            );
        }
        place.fails(&["delete", "--force", ID], 1, "the container may go on in the cgroup `/sys/fs/cgroup/");
        let pid = nix::unistd::Pid::from_raw(place.read("pid").parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        until("it can be deleted", || place.codexrun(&["delete", "--force", ID]).code == 0);
        assert!(!left() && !place.path("r").join(ID).exists());
    }

    #[test]
    fn an_exec_that_a_pause_holds_up_is_ended_by_a_signal() {
        let Some(place) = limited("sleep 60") else { return };
        place.ok(&["pause", ID]);
        let pids = || serde_json::from_str::<Vec<i32>>(&place.ok(&["ps", "--format", "json", ID])).unwrap().len();
        let first = pids();
        for words in [&["exec", "--ignore-paused", ID, "true"][..], &["exec", "--ignore-paused", "--detach", ID, "true"]] {
            let before = pids();
            ends(&place, words, || pids() > before, 255, "stopped by SIGTERM before the process could start");
        }
        place.ok(&["resume", ID]);
        until("what was to join is gone", || pids() == first);
        assert_eq!(place.status(), "running");
    }

    #[test]
    fn a_paused_container_is_deleted_by_force() {
        let Some(place) = limited("sleep 60") else { return };
        place.ok(&["pause", ID]);
        place.ok(&["delete", "--force", ID]);
        place.fails(&["resume", ID], 1, "container does not exist");
    }

    #[test]
    fn a_paused_container_dies_of_sigkill() {
        let Some(place) = limited("sleep 60") else { return };
        place.ok(&["pause", ID]);
        place.ok(&["kill", ID, "KILL"]);
        until("it ends", || place.status() == "stopped");
    }

    #[test]
    fn a_created_container_that_is_paused_is_not_started() {
        let Some(place) = limited("sleep 60") else { return };
        place.ok(&["delete", "--force", ID]);
        assert_eq!(place.create().code, 0);
        place.ok(&["pause", ID]);
        place.fails(&["start", ID], 1, "cannot start a paused container");
        place.ok(&["resume", ID]);
        place.ok(&["start", ID]);
    }

    #[test]
    fn limits_change_by_options_and_by_a_file() {
        let Some(place) = limited("sleep 60") else { return };
        let Some(before) = limit(&place, "pids", "pids.max") else {
            return eprintln!("skipped: this host has no pids controller of version 1");
        };
        assert_eq!(before, "50\n");
        place.ok(&["update", "-pids-limit=20", "--memory", "16m", ID]);
        assert_eq!(limit(&place, "pids", "pids.max").unwrap(), "20\n");
        assert_eq!(limit(&place, "memory", "memory.limit_in_bytes").unwrap(), format!("{}\n", 16 << 20));
        // What docker and the CRI send: 0 leaves, and devices stay.
        let json = r#"{"memory":{"limit":0,"reservation":0},"pids":{"limit":30},"blockIO":{"weight":0},
            "devices":[{"allow":false,"access":"rwm"}]}"#;
        fs::write(place.path("r.json"), json).unwrap();
        place.ok(&["update", "--resources=r.json", ID]);
        assert_eq!(limit(&place, "pids", "pids.max").unwrap(), "30\n");
        assert_eq!(limit(&place, "memory", "memory.limit_in_bytes").unwrap(), format!("{}\n", 16 << 20));
        place.ok(&["update", "--pids-limit", "-1", ID]);
        assert_eq!(limit(&place, "pids", "pids.max").unwrap(), "max\n");
        place.ok(&["exec", ID, "sh", "-c", "echo >/dev/null"]);
        let mut stdin = place.command(&["update", "--resources", "-", ID]);
        let mut child = stdin.stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), br#"{"pids":{"limit":40}}"#).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(limit(&place, "pids", "pids.max").unwrap(), "40\n");
    }

    #[test]
    fn resources_that_are_none_are_refused_by_place() {
        let Some(place) = limited("sleep 60") else { return };
        fs::write(place.path("r.json"), r#"{"memory":{"limit":"much"}}"#).unwrap();
        place.fails(&["update", "-r", "r.json", ID], 1, "r.json:1:25: memory.limit: invalid type");
        fs::write(place.path("r.json"), r#"{"pids":{"limit":7},"hugepageLimits":[{"pageSize":"2MB"}]}"#).unwrap();
        place.fails(&["update", "-r", "r.json", ID], 1, "r.json: hugepageLimits[0].limit: missing");
        fs::write(place.path("r.json"), r#"{"pids":{"limit":-7}}"#).unwrap();
        place.fails(&["update", "-r", "r.json", ID], 1, "codexrun: error: r.json: pids.limit: -7 is no limit");
        place.fails(&["update", "--cpuset-mems", "999", ID], 1, "codexrun: error: linux.resources.cpu.mems: cannot write");
        fs::write(place.path("r.json"), r#"{"cpu":{"mems":"999"}}"#).unwrap();
        place.fails(&["update", "-r", "r.json", ID], 1, "codexrun: error: r.json: cpu.mems: cannot write");
        fs::write(place.path("r.json"), r#"{"pidz":{"limit":7}}"#).unwrap();
        let said = place.codexrun(&["update", "-r", "r.json", ID]);
        assert_eq!(
            (said.code, said.err.as_str()),
            (0, "codexrun: warning: r.json: `pidz` is no known field, and has no effect\n")
        );
        place.fails(&["update", "-r", "nowhere.json", ID], 1, "nowhere.json: cannot be read");
        place.fails(&["update", "--memory", "32x", ID], 1, "`32x` is no size");
        place.ok(&["kill", ID, "KILL"]);
        until("it ends", || place.status() == "stopped");
        place.fails(&["update", "--pids-limit", "3", ID], 1, "container not running");
        place.fails(&["events", "--stats", ID], 1, "container not running");
    }

    #[test]
    fn events_tell_what_is_used_and_when_memory_lacks_and_end_with_the_container() {
        let Some(place) = limited("sleep 60") else { return };
        let stats: Value = serde_json::from_str(&place.ok(&["events", "--stats", ID])).unwrap();
        assert!(stats["type"] == "stats" && stats["id"] == ID, "{stats}");
        assert!(stats["data"]["memory"]["usage"]["limit"] == 32 << 20 && stats["data"]["pids"]["current"] != 0, "{stats}");
        let mut events = place.command(&["events", "--interval", "50ms", ID]);
        let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let mut types = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["type"].clone());
        assert_eq!(types.next().unwrap(), "stats");
        // A second process dies of its thirst for memory; the first goes on.
        let thirst = place.command(&["exec", ID, "busybox", "tail", "/dev/zero"]).output().unwrap();
        assert_eq!(thirst.status.code(), Some(137), "{thirst:?}");
        assert!(types.by_ref().take(40).any(|typ| typ == "oom"));
        place.ok(&["kill", ID, "KILL"]);
        assert!(types.all(|typ| typ == "stats"));
        assert!(events.wait().unwrap().success());
    }

    #[test]
    fn ps_lists_those_of_the_cgroup_also_without_a_pid_namespace() {
        let Some(place) = limited("sleep 60") else { return };
        place.ok(&["delete", "--force", ID]);
        place.edit(|spec| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "pid");
        });
        place.started();
        let pids: Vec<i32> = serde_json::from_str(&place.ok(&["ps", "--format=json", ID])).unwrap();
        assert!(pids.contains(&place.read("pid").parse().unwrap()) && pids.len() <= 2, "{pids:?}");
    }

    #[test]
    fn a_container_without_a_cgroup_says_so() {
        let Some(place) = Place::new("sleep 60") else { return };
        let create = ["--cgroup-manager", "disabled", "create", "--bundle", "b", ID];
        assert!(place.command(&create).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        for verb in [&["pause", ID][..], &["update", "--pids-limit", "3", ID], &["events", ID]] {
            place.fails(verb, 1, "container `box` has no cgroup");
        }
        assert_eq!(serde_json::from_str::<Vec<i32>>(&place.ok(&["ps", "-f", "json", ID])).unwrap().len(), 1);
    }
}

/// CVE-2019-5736: whoever shares its pid namespace must not reach codexrun's file through a process that waits for `start`.
#[test]
fn a_parked_process_in_a_pid_namespace_of_others_cannot_be_looked_into() {
    if !nix::unistd::getuid().is_root() {
        return eprintln!("skipped: an ordinary user's container has a user namespace around it");
    }
    let Some(place) = Place::new("exec sleep 60") else { return };
    place.edit(|spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
        spec["mounts"].as_array_mut().unwrap()[0] =
            json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
    });
    assert_eq!(place.create().code, 0);
    let exe = format!("/proc/{}/exe", place.read("pid"));
    // Root as a container has it: of uid 0, and with no capability.
    let look = Command::new("setpriv").args(["--bounding-set=-all", "--inh-caps=-all", "readlink", &exe]).output().unwrap();
    assert!(!look.status.success(), "{}", String::from_utf8_lossy(&look.stdout));
    place.ok(&["start", ID]);
    assert_eq!(place.status(), "running");
}

#[test]
fn a_hook_of_the_image_is_not_codexrun_itself() {
    let Some(place) = Place::new("true") else { return };
    symlink("/proc/self/exe", place.path("b/rootfs/bin/hook")).unwrap();
    place.edit(|spec| spec["hooks"] = json!({"startContainer": [{"path": "/bin/hook", "args": ["hook", "--version"]}]}));
    assert_eq!(place.create().code, 0);
    place.fails(&["start", ID], 1, "cannot run the hook `/bin/hook`: error running startContainer hook #0: ELOOP");
}
