//! Places that are made on the host to protect what is missing: gone after every kind of end, kept for as long as
//! another sandbox needs them.

use super::{Case, On, Play, WRITE, appears, case};
use crate::matrix::gone;
use crate::report::{Verdict, fail, skip};
use crate::runtime::{Job, Kind};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};

pub const CASES: &[Case] = &[
    case("gone after a normal exit", On::Every, |p| ended(p, "exit 0", 0)),
    case("gone after a failure", On::Every, |p| ended(p, "exit 3", 3)),
    case("gone after a command that could not be executed", On::Every, not_executed),
    case("gone after SIGTERM", On::Codexrun, |p| stopped(p, Signal::SIGTERM)),
    case("gone after SIGKILL of codexrun", On::Codexrun, |p| stopped(p, Signal::SIGKILL)),
    case("an empty directory of the user's stays", On::Every, own_directory),
    case("an empty file of the user's stays", On::Every, own_file),
    case("a file that the command makes stays", On::Every, made_file),
    case("one sandbox ends, the other is still protected", On::Every, concurrent),
    case("twenty sandboxes on one directory", On::Codexrun, crowd),
    case("taken over after a SIGKILL", On::Codexrun, taken_over),
    case("what another user has put into /tmp stops nobody", On::Codexrun, strangers),
];

fn names(play: &Play) -> Vec<PathBuf> {
    let roots = [play.scene.w(), PathBuf::from("/tmp")];
    let all = roots.iter().flat_map(|r| [".git", ".agents", ".codex"].map(|n| r.join(n)));
    all.filter(|p| *p != play.scene.w().join(".git") && !play.there.contains(p)).collect()
}

fn ended(play: &Play, script: &str, code: i32) -> Verdict {
    let ran = play.write(script)?;
    ran.code_is(code)?;
    gone(&names(play), &ran.line)
}

fn not_executed(play: &Play) -> Verdict {
    if play.column.runtime.kind == Kind::Crun {
        return skip("crun runs no poststop hook when the command could not be executed, and leaves what it made");
    }
    let ran = play.column.run(&play.scene, &Job::new(WRITE, &play.scene, &["/no/such/command"]))?;
    ran.must("a failure", ran.code != 0)?;
    gone(&names(play), &ran.line)
}

fn stopped(play: &Play, signal: Signal) -> Verdict {
    let running = play.column.start(&play.scene, &Job::sh(WRITE, &play.scene, ": > ready; sleep 300"))?;
    appears(&play.scene.w().join("ready"))?;
    running.signal(signal);
    let ran = running.finish()?;
    gone(&names(play), &ran.line)
}

fn own_directory(play: &Play) -> Verdict {
    let own = play.scene.w().join(".codex");
    play.dir(&own)?;
    let ran = play.write("touch .codex/x 2>&1; exit 0")?;
    ran.must("Read-only file system", ran.out.contains("Read-only file system"))?;
    if own.is_dir() { Ok(()) } else { fail(&ran.line, ".codex is still there", "it is gone") }
}

fn own_file(play: &Play) -> Verdict {
    let own = play.scene.w().join(".codex");
    std::fs::write(&own, "")?;
    play.column.actor.own(&own)?;
    play.write("! { echo x > .codex; } 2>/dev/null && ! rm -f .codex 2>/dev/null")?.code_is(0)?;
    super::unchanged(&own, "")
}

fn made_file(play: &Play) -> Verdict {
    let ran = play.write("echo kept > made; mkdir dir")?;
    ran.code_is(0)?;
    super::unchanged(&play.scene.w().join("made"), "kept\n")
}

/// The first ends while the second is inside; then the second still cannot write, and after both nothing is left.
fn concurrent(play: &Play) -> Verdict {
    let wait =
        ": > ready; while [ ! -e go ]; do sleep 0.02; done; mkdir .codex .codex/x; echo x > .codex/config.toml; ls -d .codex/*";
    let second = play.column.start(&play.scene, &Job::sh(WRITE, &play.scene, wait))?;
    appears(&play.scene.w().join("ready"))?;
    let first = play.column.start(&play.scene, &Job::sh(WRITE, &play.scene, "mkdir .codex"))?.finish_beside_others()?;
    first.must("exit 1: .codex cannot be made", first.code == 1)?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    std::fs::write(play.scene.w().join("go"), "")?;
    let second = second.finish()?;
    let made = play.scene.w().join(".codex/config.toml").exists();
    second.must("nothing can be made in .codex", !made && second.out.is_empty())?;
    gone(&names(play), &second.line)
}

fn crowd(play: &Play) -> Verdict {
    let job = Job::sh(WRITE, &play.scene, "mkdir .codex 2>/dev/null && exit 9; touch .agents/x 2>/dev/null && exit 9; exit 0");
    let crowd: Vec<_> = (0..20).map(|_| play.column.start(&play.scene, &job)).collect::<Result<_, _>>()?;
    let mut last = String::new();
    for running in crowd {
        let ran = running.finish_beside_others()?;
        ran.code_is(0)?;
        last = ran.line;
    }
    crate::launch::orphans_end(crate::launch::GRACE);
    gone(&names(play), &last)
}

/// What a killed codexrun might leave must not count as the user's own.
fn taken_over(play: &Play) -> Verdict {
    stopped(play, Signal::SIGKILL)?;
    ended(play, "exit 0", 0)
}

const NOBODY: u32 = 65534;

/// A link, a placeholder whose lock is held, a repository with more than is read.
fn strangers(play: &Play) -> Verdict {
    let free = |path: &PathBuf| path.starts_with("/tmp") && path.symlink_metadata().is_err();
    let mine: Vec<PathBuf> = names(play).into_iter().filter(free).collect();
    if !nix::unistd::Uid::effective().is_root() || mine.len() < 3 {
        return skip("only root can make another user's files, and /tmp must have none of these names");
    }
    let of_nobody = |path: &Path| std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY));
    for path in &mine {
        std::os::unix::fs::symlink("/nonexistent", path)?;
        of_nobody(path)?;
        let ran = play.write("echo fine > made");
        std::fs::remove_file(path)?;
        ran?.code_is(0)?;
    }
    let git = Path::new("/tmp/.git");
    std::fs::create_dir(git)?;
    std::fs::set_permissions(git, std::os::unix::fs::PermissionsExt::from_mode(0o1555))?;
    of_nobody(git)?;
    let lock = std::fs::File::open(git)?;
    lock.lock()?;
    let ran = play.write("echo fine > made");
    drop(lock);
    std::fs::set_permissions(git, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    std::fs::write(git.join("config"), "[include]\npath = x\n".repeat(1 << 17))?;
    let config = play.write("echo fine > made");
    std::fs::remove_dir_all(git)?;
    ran?.code_is(0)?;
    config?.code_is(0)
}
