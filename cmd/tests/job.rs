//! Ctrl-Z: what stops codexrun stops what it runs, which has a session of its own and would go on reading the terminal.

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for a dozen of its lines.
const WHILE: Duration = Duration::from_millis(300);

fn grows(out: &Path) -> bool {
    let size = || fs::metadata(out).unwrap().len();
    let (before, end) = (size(), Instant::now() + Duration::from_secs(10));
    while size() == before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    size() > before
}

/// Stops it as a shell's terminal does, in a process group of its own, and lets it go on.
fn stands_still(dir: &Path, words: &[&str]) {
    let out = dir.join("out");
    let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
    command.args(words).current_dir(dir).stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).process_group(0);
    let mut running = command.spawn().unwrap();
    let pid = Pid::from_raw(running.id().cast_signed());
    assert!(grows(&out), "{words:?}: it runs");
    kill(pid, Signal::SIGTSTP).unwrap();
    assert_eq!(waitpid(pid, Some(WaitPidFlag::WUNTRACED)), Ok(WaitStatus::Stopped(pid, Signal::SIGTSTP)), "{words:?}");
    std::thread::sleep(WHILE);
    let before = fs::metadata(&out).unwrap().len();
    std::thread::sleep(WHILE);
    let moved = fs::metadata(&out).unwrap().len() - before;
    kill(pid, Signal::SIGCONT).unwrap();
    let goes_on = grows(&out);
    kill(pid, Signal::SIGTERM).unwrap();
    running.wait().unwrap();
    assert_eq!((moved, goes_on), (0, true), "{words:?}");
}

const SPEAKS: &str = "while :; do echo line; sleep 0.02; done";

#[test]
fn a_sandbox_that_is_stopped_stands_still_with_all_its_sessions() {
    let dir = TempDir::new().unwrap();
    stands_still(dir.path(), &["sandbox", "--", "sh", "-c", SPEAKS]);
    let elsewhere = format!("setsid sh -c '{SPEAKS}' & wait");
    stands_still(dir.path(), &["sandbox", "--", "sh", "-c", &elsewhere]);
}

/// Its child speaks; SIGTERM ends both, also where there is no namespace that ends with the first.
fn leader() -> String {
    format!("trap 'trap - TERM; kill 0' TERM; sh -c '{SPEAKS}' & wait")
}

#[test]
fn without_an_init_its_process_group_stands_still() {
    let dir = TempDir::new().unwrap();
    let landlock = ["sandbox", "--isolation", "landlock", "--accept-loss", "processes,metadata,attributes,carve-outs", "--"];
    stands_still(dir.path(), &[&landlock[..], &["sh", "-c", &leader()]].concat());
}

#[test]
fn the_pid_1_of_a_bundle_stands_still_with_its_process_group() {
    let dir = TempDir::new().unwrap();
    let spec = ["spec", "--from-policy", "read-only", "--cwd", "/", "--bundle", "b", "--", "sh", "-c", &leader()];
    assert!(Command::new(env!("CARGO_BIN_EXE_codexrun")).args(spec).current_dir(dir.path()).status().unwrap().success());
    let file = dir.path().join("b/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["annotations"].as_object_mut().unwrap().remove("dev.codexrun.init").unwrap();
    fs::write(&file, config.to_string()).unwrap();
    stands_still(dir.path(), &["--root", "r", "run", "--bundle", "b", "box"]);
}
