//! `checkpoint` and `restore` through the command line, with a program in criu's place that says what it was told: criu itself does
//! not work on every kernel, and needs root.

use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const ID: &str = "box";

struct Place(TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        self.run(&["delete", "--force", ID]);
    }
}

impl Place {
    /// A container that sleeps; `None`, which is said, without root and a static busybox.
    fn new() -> Option<Place> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
        let (Some(busybox), true) = (busybox, nix::unistd::geteuid().is_root()) else {
            eprintln!("skipped: this needs root and a busybox");
            return None;
        };
        let place = Place(tempfile::tempdir().unwrap());
        let bin = place.path("b/rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(place.path("data")).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        symlink("busybox", bin.join("sleep")).unwrap();
        symlink("/real", place.path("b/rootfs/link")).unwrap();
        let spec = json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs" },
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sleep", "60"], "cwd": "/" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/link/data", "type": "bind", "source": place.path("data"), "options": ["rbind"] },
            ],
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }], "maskedPaths": ["/proc/version"] },
        });
        place.write("b/config.json", &spec.to_string());
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("b/config.json")).unwrap();
        assert!(text.contains(from));
        self.write("b/config.json", &text.replace(from, to));
    }

    /// A program that keeps its words in `words`, then does this.
    fn criu(&self, script: &str) -> String {
        let (program, words) = (self.path("criu"), self.path("words"));
        let version = "test \"$1\" = --version && { echo 'Version: 3.17.1'; exit 0; }";
        self.write("criu", &format!("#!/bin/sh\n{version}\necho \"$*\" >{}\n{script}\n", words.display()));
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program.to_str().unwrap().to_owned()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        command.args(["--root", self.path("r").to_str().unwrap()]).args(words).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Its standard streams are none that would keep a test waiting.
    fn started(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        command.args(["--root", self.path("r").to_str().unwrap(), "run", "--detach", "--bundle", "b", ID]);
        let command = command.current_dir(self.0.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
    }

    fn status(&self) -> String {
        let state = self.run(&["state", ID]);
        let json = serde_json::from_slice::<serde_json::Value>(&state.stdout);
        json.map_or(text(&state.stderr), |state| state["status"].as_str().unwrap().to_owned())
    }

    fn fails(&self, words: &[&str], about: &str) {
        let output = self.run(words);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains(about), "{said}");
    }

    fn words(&self) -> String {
        fs::read_to_string(self.path("words")).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_criu_one_sentence_says_so_and_the_container_goes_on() {
    let Some(place) = Place::new() else { return };
    place.started();
    place.fails(&["--criu", "/no/such/criu", "checkpoint", ID], "`/no/such/criu` is not installed, which checkpoints");
    assert_eq!(place.status(), "running");
    place.fails(&["--criu", "/no/such/criu", "restore", "--bundle", "b", "other"], "`/no/such/criu` is not installed");
    assert!(!place.path("checkpoint").exists());
}

#[test]
fn criu_is_told_what_is_not_the_containers() {
    let Some(place) = Place::new() else { return };
    place.started();
    let criu = place.criu("exit 0");
    let done = place.run(&["--criu", &criu, "checkpoint", "--leave-running", "--image-path", "i", "--work-path", "w", ID]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(place.status(), "running");
    let words = place.words();
    let at = |name: &str| place.path(name).display().to_string();
    assert!(words.starts_with(&format!("dump --images-dir {} --work-dir {} ", at("i"), at("w"))), "{words}");
    for told in [
        "--external mnt[/real/data]:/real/data",
        "--external mnt[/proc/version]:/dev/null",
        "--external file[",
        "--leave-running",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
    assert!(fs::read_to_string(place.path("i/descriptors.json")).unwrap().starts_with("[\"file["));
}

#[test]
fn what_criu_says_is_the_cause_and_the_container_goes_on() {
    let Some(place) = Place::new() else { return };
    place.started();
    let criu = place.criu("echo '(00.1) Error (criu/x.c:1): no vdso' >\"$3/dump.log\"; exit 1");
    let about = "criu cannot checkpoint the container: no vdso (hint: criu's log is `";
    place.fails(&["--criu", &criu, "checkpoint", ID], about);
    assert_eq!(place.status(), "running");
}

#[test]
fn a_container_that_was_checkpointed_is_forgotten() {
    let Some(place) = Place::new() else { return };
    place.started();
    let criu = place.criu("while [ \"$1\" != --tree ]; do shift; done; kill -9 $2");
    let done = place.run(&["--criu", &criu, "checkpoint", ID]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(place.status().contains("container does not exist"));
    place.fails(&["--criu", &criu, "checkpoint", ID], "container does not exist");
}

#[test]
fn a_signal_comes_when_a_checkpoint_is_whole() {
    let Some(place) = Place::new() else { return };
    let criu = place.criu(
        "while [ \"$1\" != --tree ]; do shift; done; echo >begun; while [ -e begun -a ! -e go ]; do sleep 0.02; done; kill -9 $2",
    );
    place.started();
    let mut checkpoint = place.command(&["--criu", &criu, "checkpoint", ID]).stderr(Stdio::piped()).spawn().unwrap();
    while !place.path("begun").exists() {
        assert_eq!(checkpoint.try_wait().unwrap(), None, "it ends before criu has begun");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = nix::unistd::Pid::from_raw(checkpoint.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(checkpoint.try_wait().unwrap(), None, "it waits for criu");
    place.write("go", "");
    let ended = checkpoint.wait_with_output().unwrap();
    assert_eq!((std::os::unix::process::ExitStatusExt::signal(&ended.status), text(&ended.stderr).as_str()), (Some(15), ""));
    assert!(place.status().contains("container does not exist"));
}

#[test]
fn what_criu_would_lose_is_refused_before_it_runs() {
    let Some(place) = Place::new() else { return };
    place.edit("\"process\":{", "\"process\":{\"noNewPrivileges\":true,");
    place.started();
    let criu = place.criu("exit 0");
    place.fails(&["--criu", &criu, "checkpoint", ID], "process.noNewPrivileges: criu 3.17 loses it (hint: criu 3.19");
    assert!(!place.path("words").exists());
    assert_eq!(place.status(), "running");
}

#[test]
fn a_failed_restore_leaves_nothing_but_the_mount_points() {
    let Some(place) = Place::new() else { return };
    let criu =
        place.criu("echo '(00.1) Error (criu/x.c:1): no image' >\"$3/restore.log\"; mount | grep -c rootfs >mounts; exit 1");
    place.fails(&["--criu", &criu, "restore", "--bundle", "b", ID], "is this the directory of a checkpoint?");
    fs::create_dir(place.path("checkpoint")).unwrap();
    place.write("checkpoint/descriptors.json", "[\"/dev/null\",\"pipe:[7]\",\"pipe:[7]\"]");
    let about = "criu cannot restore the container: no image (hint: criu's log is `";
    place.fails(&["--criu", &criu, "restore", "--detach", "-no-subreaper", "--bundle", "b", ID], about);
    assert!(place.status().contains("container does not exist"));
    assert!(place.path("b/rootfs/real/data").is_dir());
    let words = place.words();
    let data = place.path("data").canonicalize().unwrap();
    let external = format!("--external mnt[/real/data]:{} --external mnt[/dev/null]:/dev/null", data.display());
    for told in ["--restore-detached --restore-sibling", "--inherit-fd fd[1]:pipe:[7]", &external] {
        assert!(words.contains(told), "{told}: {words}");
    }
    assert!(!words.contains("fd[2]"), "{words}");
    assert_eq!(fs::read_to_string(place.path("mounts")).unwrap(), "1\n", "criu sees the root as a mount");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(place.0.path().to_str().unwrap()));
}

/// Where hooks are asked for, and where criu is only waited for.
#[test]
fn a_signal_ends_a_restore_and_what_criu_has_made_by_then() {
    let Some(place) = Place::new() else { return };
    fs::create_dir(place.path("checkpoint")).unwrap();
    place.write("checkpoint/descriptors.json", "[\"/dev/null\",\"/dev/null\",\"/dev/null\"]");
    let criu = place.criu("sleep 60 & echo $! >made.new; mv made.new made; exec sleep 60");
    let made = place.path("made");
    for hooks in ["{", "{\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/true\"}]},"] {
        let config = fs::read_to_string(place.path("b/config.json")).unwrap();
        place.write("b/config.json", &config.replacen('{', hooks, 1));
        let mut restore = place.command(&["--criu", &criu, "restore", "--detach", "-no-subreaper", "--bundle", "b", ID]);
        let mut restore = restore.stderr(Stdio::piped()).spawn().unwrap();
        while !made.exists() {
            assert_eq!(restore.try_wait().unwrap(), None, "it ends before criu has begun");
            std::thread::sleep(Duration::from_millis(2));
        }
        let pid = nix::unistd::Pid::from_raw(restore.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = restore.wait_with_output().unwrap();
        let said = "codexrun: error: stopped by SIGTERM before the process could start\n";
        assert_eq!((ended.status.code(), text(&ended.stderr).as_str()), (Some(143), said));
        assert!(place.status().contains("container does not exist"));
        assert!(!place.path("r").join(ID).exists());
        let stat = fs::read_to_string(format!("/proc/{}/stat", fs::read_to_string(&made).unwrap().trim()));
        assert!(stat.is_err() || stat.unwrap().contains(") Z "), "what criu has made is gone");
        fs::remove_file(&made).unwrap();
    }
}

#[test]
fn a_stopped_container_and_one_with_a_terminal_are_refused() {
    let Some(place) = Place::new() else { return };
    let criu = place.criu("exit 0");
    place.started();
    assert!(place.run(&["kill", ID, "KILL"]).status.success());
    while place.status() == "running" {
        std::thread::yield_now();
    }
    place.fails(&["--criu", &criu, "checkpoint", ID], "Container cannot be checkpointed in stopped state");
    place.edit("\"process\":{", "\"process\":{\"terminal\":true,");
    place.edit(
        "\"mounts\":[",
        "\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"x\"},\
         {\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"x\"},",
    );
    place.fails(&["--criu", &criu, "restore", "--bundle", "b", "other"], "process.terminal: a container with a terminal cannot");
}
