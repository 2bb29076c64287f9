//! Tries every known way out of a sandbox and tells what got through: `probe attack NAME=VALUE…`, where the values say what is outside.
//!
//! A line for each attempt that got through: what keeps it out where it is promised ([`Wall`]), the entry into the kernel, what was
//! tried, and what it gave; then `end` and the number of attempts. Nothing here harms a machine on which everything is permitted:
//! what is written lies in the directories that were named, signals go to the process that was named, mounts are changed in a namespace of
//! the attempt's own, and the rest asks for a power without using it. What is not named is not there. `walls=files,always` limits
//! them to those that somebody promises to stop; without it everything is tried, as outside of a sandbox.

mod bytes;
mod domain;
mod entry;
mod file;
mod handed;
mod inherited;
mod network;
mod power;
mod process;
mod queue;
mod row;
mod ruleset;
mod shut;
mod signal;
#[cfg(all(test, target_arch = "x86_64"))]
mod table;
mod trick;
mod unix;

use crate::outcome::{Fail, Outcome, words};
use crate::syscall;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

/// What keeps an attempt out; a policy promises some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// Files outside of the writable roots.
    Files,
    /// Modes, owners, times and attributes of those.
    Attributes,
    /// Protected names in the writable roots.
    Metadata,
    /// The workspace, where it is read-only too.
    Workspace,
    /// Every sandbox.
    Always,
    /// Every sandbox that sees its own processes only.
    Processes,
    /// Every sandbox that has the host's queues, segments and semaphores, and no right to them.
    Shared,
    /// Every sandbox that codexrun runs, of which config.json says nothing to other runtimes, or nothing that they know.
    Ours,
    /// The network is shut but for a proxy.
    Network,
    /// The network is shut and there is a proxy.
    Proxy,
    /// There is a proxy of codexrun's.
    Domains,
    /// The network is shut, and Unix datagrams were not asked for.
    Streams,
    /// The network is shut, and Unix datagrams were asked for: who sends to a name is looked at.
    Sends,
    /// Nobody has a listener of his own.
    Accepts,
    /// Somebody outside makes rulesets of Landlock for whoever asks.
    Rulesets,
}

impl Wall {
    fn name(self) -> &'static str {
        match self {
            Wall::Files => "files",
            Wall::Attributes => "attributes",
            Wall::Metadata => "metadata",
            Wall::Workspace => "workspace",
            Wall::Always => "always",
            Wall::Processes => "processes",
            Wall::Shared => "shared",
            Wall::Ours => "ours",
            Wall::Network => "network",
            Wall::Proxy => "proxy",
            Wall::Domains => "domains",
            Wall::Streams => "streams",
            Wall::Sends => "sends",
            Wall::Accepts => "accepts",
            Wall::Rulesets => "rulesets",
        }
    }
}

/// One attempt. It got through when `run` succeeds.
pub struct Attempt<'a> {
    /// What keeps it out.
    wall: Wall,
    /// For the reader.
    name: String,
    /// The system calls that it is about, by name, for [`table`].
    calls: &'a [&'a str],
    /// Made in a process of its own.
    run: Box<dyn Fn() -> Outcome + 'a>,
}

impl<'a> Attempt<'a> {
    fn new(wall: Wall, name: impl ToString, run: impl Fn() -> Outcome + 'a) -> Attempt<'a> {
        Attempt { wall, name: name.to_string(), calls: &[], run: Box::new(run) }
    }

    fn by(self, calls: &'a [&'a str]) -> Attempt<'a> {
        Attempt { calls, ..self }
    }
}

/// What is outside, by name: `w`, `out`, `pid`, `tcp`, ….
pub struct World(BTreeMap<String, String>);

impl World {
    fn read(words: impl Iterator<Item = String>) -> World {
        World(words.filter_map(|word| word.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect())
    }

    /// A text with every `{name}` replaced.
    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.into(), |text: String, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// Whether there is no sandbox, and the attempts show that they can get through.
    fn is_control(&self) -> bool {
        !self.0.contains_key("walls")
    }

    /// Whether this wall is there.
    fn has(&self, wall: Wall) -> bool {
        self.0.get("walls").is_none_or(|walls| walls.split(',').any(|name| name == wall.name()))
    }

    /// What the names of the attempts contain that are made: all of them, unless `only=` says more.
    fn only(&self) -> &str {
        self.0.get("only").map_or("", String::as_str)
    }

    /// A number of something outside.
    fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(|value| value.parse().ok())
    }

    /// The process outside, where one is named.
    fn pid(&self) -> Result<i64, Fail> {
        self.0.get("pid").and_then(|pid| process(pid)).map_or_else(absent, Ok)
    }

    /// Why nothing may be tried with these words.
    fn refusal(&self) -> Option<String> {
        let pid = self.0.get("pid").filter(|pid| process(pid).is_none())?;
        Some(format!(
            "pid={pid}: signals go there, and it names no single process but init: give a number from 2 to {}",
            i32::MAX
        ))
    }
}

/// kill(2) takes 0 for a group, -1, to which 32 bits of a greater number may come, for everybody, and so the group of 1.
fn process(pid: &str) -> Option<i64> {
    pid.parse::<i32>().ok().filter(|pid| *pid > 1).map(i64::from)
}

fn attempts(world: &World) -> impl Iterator<Item = Attempt<'_>> {
    let all = [
        // Before the file that it is about is taken away, where that is permitted.
        bytes::attempts,
        file::attempts,
        inherited::attempts,
        handed::attempts,
        power::attempts,
        shut::attempts,
        process::attempts,
        queue::attempts,
        signal::attempts,
        network::attempts,
        domain::attempts,
        trick::attempts,
        unix::attempts,
        ruleset::attempts,
    ];
    all.into_iter().flat_map(|list| list(world))
}

/// All of them, each in a child.
pub fn run(words: impl Iterator<Item = String>) -> ExitCode {
    let world = World::read(words);
    if let Some(refusal) = world.refusal() {
        eprintln!("probe attack: {refusal}");
        return ExitCode::from(2);
    }
    let wanted = |attempt: &Attempt| world.has(attempt.wall) && attempt.name.contains(world.only());
    let made = attempts(&world).filter(wanted).filter(apart).count();
    say(&format!("end\t{made}\n"));
    ExitCode::SUCCESS
}

/// Outside: makes queues, a segment and a semaphore that everybody may use, and says them; or takes those away that are said.
pub fn share(words: impl Iterator<Item = String>) -> ExitCode {
    let said: Vec<String> = words.collect();
    let done = match &said[..] {
        [name] if !name.contains('=') => queue::make(name),
        _ => queue::unmake(&World::read(said.into_iter())),
    };
    say(&done.as_deref().map_or_else(|_| String::new(), |made| format!("{made}\n")));
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Some wait for an answer that never comes.
const SECONDS: i64 = 5;

// How a child says that there was nothing to try: no such call in that table.
const ABSENT: i32 = 3;

/// The word of an attempt that this machine does not have.
pub fn absent<T>() -> Result<T, Fail> {
    Err(Fail::Word("absent".into(), String::new()))
}

/// Makes one; whether it could be made. A child that a filter kills has been kept out; one that dies otherwise is told of.
fn apart(attempt: &Attempt) -> bool {
    match syscall::fork() {
        Ok(0) => {
            syscall::alarm(SECONDS);
            std::process::exit(judged(attempt))
        }
        Ok(pid) => match syscall::end(pid) {
            Err(libc::SIGSYS) => true,
            Err(signal) => told(attempt, &format!("killed by signal {signal}")),
            Ok(code) => code != ABSENT,
        },
        Err(errno) => told(attempt, &format!("fork: {errno}")),
    }
}

fn judged(attempt: &Attempt) -> i32 {
    match (attempt.run)() {
        Ok(detail) => i32::from(!told(attempt, &detail)),
        Err(Fail::Word(word, _)) if word == "absent" => ABSENT,
        Err(fail) => {
            // To see why an attempt failed: `why=` on the command line.
            if std::env::args().any(|word| word == "why=") {
                let (word, detail) = words(&Err(fail));
                say(&format!("held\t{}\t{:?}\t{word} {detail}\n", attempt.name, attempt.calls));
            }
            0
        }
    }
}

fn told(attempt: &Attempt, detail: &str) -> bool {
    say(&format!("{}\t{}\t{}\n", attempt.wall.name(), attempt.name, detail.replace(['\n', '\t'], " ")));
    true
}

/// One write: the child may be killed between two.
fn say(line: &str) {
    let _ = std::io::stdout().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(words: &[&str]) -> World {
        World::read(words.iter().map(|word| word.to_string()))
    }

    #[test]
    fn a_process_that_is_not_named_is_not_there() {
        assert!(matches!(world(&[]).pid(), Err(Fail::Word(word, _)) if word == "absent"));
        assert!(world(&["pid=2"]).pid().is_ok_and(|pid| pid == 2));
        assert_eq!(world(&["pid=4194304", "walls=always"]).refusal(), None);
        assert_eq!(world(&[]).refusal(), None);
    }

    #[test]
    fn a_number_that_kill_takes_for_more_than_one_process_is_refused() {
        for pid in ["", "x", "-1", "-2", "0", "1", "2147483648", "4294967295", "4294967298", "9223372036854775807"] {
            let world = world(&[&format!("pid={pid}")]);
            assert!(world.pid().is_err(), "{pid}");
            assert!(world.refusal().is_some_and(|why| why.contains(&format!("pid={pid}:"))), "{pid}");
        }
    }

    #[test]
    fn no_signal_is_sent_where_no_process_is_named() {
        let world = world(&[]);
        for attempt in signal::attempts(&world) {
            assert!(matches!((attempt.run)(), Err(Fail::Word(word, _)) if word == "absent"), "{}", attempt.name);
        }
    }
}
