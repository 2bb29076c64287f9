//! Signals and the end of everything: what a harness relies on when it stops a command.

use super::{Case, On, Play, WRITE, appears, case, until};
use crate::launch::{Ran, processes};
use crate::report::{No, Verdict, fail};
use crate::runtime::Job;
use nix::sys::signal::Signal;

pub const CASES: &[Case] = &[
    case("SIGTERM reaches the command's trap", On::Every, |p| trapped(p, Signal::SIGTERM, "TERM")),
    case("SIGINT reaches the command's trap", On::Every, |p| trapped(p, Signal::SIGINT, "INT")),
    case("SIGHUP reaches the command's trap", On::Codexrun, |p| trapped(p, Signal::SIGHUP, "HUP")),
    case("SIGTERM ends a command without a trap", On::Codexrun, untrapped),
    case("a background process dies with the command", On::Every, |p| background(p, "sleep 300")),
    case("one in a session of its own dies too", On::Every, |p| background(p, "setsid sleep 300")),
    case("one that ignores every signal dies too", On::Every, |p| background(p, "sh -c 'trap \"\" TERM HUP INT; sleep 300'")),
    case("an orphan that has ended is gone within a second (29)", On::Codexrun, collected),
    case("SIGKILL of codexrun ends the command", On::Codexrun, killed),
    case("output held open by a background process does not hang", On::Every, held_open),
];

/// Starts a script that makes the file `ready`, sends the signal, and waits.
fn signalled(play: &Play, script: &str, signal: Signal) -> Result<Ran, No> {
    let running = play.column.start(&play.scene, &Job::sh(WRITE, &play.scene, script))?;
    appears(&play.scene.w().join("ready"))?;
    running.signal(signal);
    Ok(running.finish()?)
}

fn trapped(play: &Play, signal: Signal, name: &str) -> Verdict {
    let script = format!("trap 'echo got; exit 7' {name}; : > ready; while :; do sleep 0.05; done");
    let ran = signalled(play, &script, signal)?;
    ran.must("`got` and exit 7", ran.code == 7 && ran.out == "got\n")
}

fn untrapped(play: &Play) -> Verdict {
    let ran = signalled(play, ": > ready; exec sleep 300", Signal::SIGTERM)?;
    ran.must("exit 143", ran.code == 143)
}

/// A number of seconds that no other sleep on this machine has.
fn unique(play: &Play, command: &str) -> (String, String) {
    let scene = play.scene.dir.file_name().unwrap_or_default().to_string_lossy().to_string();
    let seconds = format!("3{}.{scene}", std::process::id());
    (command.replace("300", &seconds), seconds)
}

fn background(play: &Play, command: &str) -> Verdict {
    let (command, mark) = unique(play, command);
    let ran = play.write(&format!("{command} >/dev/null 2>&1 & sleep 0.2; exit 0"))?;
    ran.code_is(0)?;
    nobody(&ran.line, &mark)
}

fn nobody(line: &str, mark: &str) -> Verdict {
    until("the background process is gone", || !alive(mark)).or_else(|_| fail(line, "gone", "the process is still there"))
}

fn alive(mark: &str) -> bool {
    processes().iter().any(|(_, _, name)| name.contains(mark) && name.contains("sleep"))
}

/// Its parent has ended before it: whoever is the first process collects it.
fn collected(play: &Play) -> Verdict {
    let script = "sh -c 'sleep 0.1 & echo $!' > orphan; pid=$(cat orphan); [ -e /proc/$pid ] && echo there; sleep 0.1
        for n in 1 2 3 4 5 6 7 8 9 10; do [ -e /proc/$pid ] || { echo gone; exit; }; sleep 0.1; done; cat /proc/$pid/stat";
    let ran = play.write(script)?;
    ran.must("there, then gone", ran.code == 0 && ran.out == "there\ngone\n")
}

fn killed(play: &Play) -> Verdict {
    let (command, mark) = unique(play, "sleep 300");
    let job = Job::sh(WRITE, &play.scene, &format!(": > ready; {command}"));
    let running = play.column.start(&play.scene, &job)?;
    appears(&play.scene.w().join("ready"))?;
    running.signal(Signal::SIGKILL);
    let ran = running.finish()?;
    ran.must("exit 137, nothing left", ran.code == 137)?;
    nobody(&ran.line, &mark)
}

fn held_open(play: &Play) -> Verdict {
    let ran = play.write("sleep 300 & echo done")?;
    ran.must("`done` at once", ran.code == 0 && ran.out == "done\n")
}
