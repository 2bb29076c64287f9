//! Runs inside the sandbox: reads a list of probes (`name TAB verb TAB argument…`), tries each in a child of its own, and
//! prints `name TAB result TAB detail`. A result is `ok`, the name of an errno, or a word that the verb defines. `probe attack` instead
//! tries all that it knows (`attack/`), `probe id` says who runs it, and outside
//! `probe share` makes what an attack is to find shut, and `probe handed` starts a program whose standard input is a connection.

mod attack;
mod datagram;
mod fact;
mod file;
mod hostile;
mod kernel;
mod outcome;
mod rights;
mod socket;
mod syscall;
mod unix;

use outcome::{Fail, Outcome};
use std::io::Write;
use std::process::ExitCode;

/// One verb: its name and what it does with its arguments.
type Verb = (&'static str, fn(&[&str]) -> Outcome);

/// Long enough for a loaded machine, far below the suite's own limit for a launch.
const SECONDS: i64 = 8;

fn main() -> ExitCode {
    let list = match std::env::args().nth(1).as_deref() {
        Some("attack") => return attack::run(std::env::args().skip(2)),
        Some("id") => return id(),
        Some("handed") => return handed(),
        Some("share") => return attack::share(std::env::args().skip(2)),
        Some(list) => list.to_owned(),
        None => {
            eprintln!(
                "usage: probe LIST | probe attack NAME=VALUE... | probe id | probe share NAME | probe share NAME=VALUE... | \
                 probe handed SOCKET PROGRAM..."
            );
            return ExitCode::from(2);
        }
    };
    if list == "hostile" {
        hostile::rage(&std::env::args().nth(2).unwrap_or_default());
    }
    let text = match std::fs::read_to_string(&list) {
        Ok(text) => text,
        Err(e) => {
            eprintln!("probe: {list}: {e}");
            return ExitCode::from(2);
        }
    };
    text.lines().for_each(apart);
    println!("end\tok\t");
    ExitCode::SUCCESS
}

/// The effective user.
fn id() -> ExitCode {
    println!("{:?}", syscall::call(libc::SYS_geteuid, []));
    ExitCode::SUCCESS
}

fn handed() -> ExitCode {
    use std::os::unix::process::CommandExt;
    let words: Vec<String> = std::env::args().skip(2).collect();
    let [at, program, rest @ ..] = &words[..] else { return ExitCode::from(2) };
    let failed = match std::os::unix::net::UnixStream::connect(at) {
        Ok(stream) => std::process::Command::new(program).args(rest).stdin(std::os::fd::OwnedFd::from(stream)).exec(),
        Err(e) => e,
    };
    eprintln!("probe: {failed}");
    ExitCode::from(2)
}

/// One probe in a child: a probe that blocks, unshares or is killed by a filter takes nothing else with it.
fn apart(line: &str) {
    let name = line.split('\t').next().unwrap_or_default();
    match syscall::fork() {
        Ok(0) => {
            syscall::alarm(SECONDS);
            say(name, &attempt(line));
            std::process::exit(0)
        }
        Ok(pid) => {
            if let Some(signal) = syscall::wait(pid) {
                say(name, &Err(Fail::Word(format!("SIG{signal}"), "killed".into())));
            }
        }
        Err(errno) => say(name, &Err(Fail::Errno(errno))),
    }
}

fn attempt(line: &str) -> Outcome {
    let mut words = line.split('\t').skip(1);
    let verb = words.next().unwrap_or_default();
    let args: Vec<&str> = words.collect();
    let verbs = [file::VERBS, rights::VERBS, kernel::VERBS, socket::VERBS, fact::VERBS, unix::VERBS, datagram::VERBS];
    match verbs.into_iter().flatten().find(|(name, _)| *name == verb) {
        Some((_, run)) => run(&args),
        None => Err(Fail::Word("unknown-verb".into(), verb.into())),
    }
}

fn say(name: &str, outcome: &Outcome) {
    let (result, detail) = outcome::words(outcome);
    let detail = detail.replace(['\n', '\t'], " ");
    // One write: the child may be killed between two.
    let _ = std::io::stdout().write_all(format!("{name}\t{result}\t{detail}\n").as_bytes());
}
