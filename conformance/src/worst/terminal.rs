//! What a payload does to whoever relays its terminal, and to whoever asks it to end.

use super::{Case, Place};
use crate::launch::Launch;
use crate::report::{No, Verdict, fail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::PipeReader;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub const CASES: &[Case] = &[
    ("floods a terminal that nobody reads: SIGTERM arrives", flooded),
    ("leaves somebody who floods the terminal: `exec --tty` ends", survived),
    ("closes its terminal: codexrun does not spin", closed),
    ("stands still: SIGTERM ends it", stopped),
    ("speaks before anybody listens: its lines are as it wrote them", early),
];

const PATIENCE: Duration = Duration::from_secs(6);
/// Long enough to fill pipes and terminals.
const RAGE: Duration = Duration::from_millis(300);

/// A command whose standard output is a pipe that nobody reads yet.
struct Unread {
    child: Child,
    line: String,
    out: Option<PipeReader>,
}

impl Unread {
    fn start(place: &Place, launch: &Launch) -> Result<Unread, No> {
        let (out, end) = std::io::pipe()?;
        let err = tempfile::tempfile()?;
        let mut command = launch.command(&place.turn.column.actor, &err, &err)?;
        let child = command.stdout(end).spawn()?;
        Ok(Unread { child, line: launch.argv.join(" "), out: Some(out) })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Its exit code, 128+n for signal n, if it ends in time; it is killed if not.
    fn end(&mut self) -> Result<i32, No> {
        let late = Instant::now() + PATIENCE;
        while Instant::now() < late {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            }
            sleep(Duration::from_millis(5));
        }
        self.out = None;
        self.child.kill()?;
        self.child.wait()?;
        fail(&self.line, format!("an end within {PATIENCE:?}"), "it had to be killed")
    }

    fn ends_with(&mut self, code: i32) -> Verdict {
        let got = self.end()?;
        if got == code { Ok(()) } else { fail(&self.line, format!("exit {code}"), format!("exit {got}")) }
    }

    /// Clock ticks that it has used (proc_pid_stat(5), fields 14 and 15).
    fn ticks(&self) -> Result<u64, No> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11).take(2);
        Ok(fields.filter_map(|field| field.parse::<u64>().ok()).sum())
    }
}

/// `run` in the foreground, with a terminal.
fn run(place: &Place, script: &str) -> Result<Unread, No> {
    let turn = &place.turn;
    let mut config = turn.sh(script);
    config["process"]["terminal"] = json!(true);
    let dir = turn.bundle(&config)?.display().to_string();
    Unread::start(place, &turn.launch(&["run", "--bundle", &dir, &turn.fresh()]))
}

fn flooded(place: &Place) -> Verdict {
    let mut running = run(place, "trap 'exit 7' TERM; cat /dev/zero & wait")?;
    sleep(RAGE);
    kill(running.pid(), Signal::SIGTERM).map_err(std::io::Error::from)?;
    running.ends_with(7)
}

fn survived(place: &Place) -> Verdict {
    let turn = &place.turn;
    let container = turn.started(&turn.sleeper())?;
    let script = "T=$(tty); (trap '' HUP; while :; do echo flood >$T; done) 2>/dev/null & sleep 0.1; exit 3";
    let mut running = Unread::start(place, &turn.launch(&["exec", "--tty", &container.id, "/bin/sh", "-c", script]))?;
    let mut out = running.out.take().ok_or(No::Skip("no pipe".into()))?;
    // A reader that takes all there is.
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    let ended = running.ends_with(3);
    container.stopped()?;
    reader.join().map_or(Ok(()), |_| Ok::<(), No>(()))?;
    ended
}

fn closed(place: &Place) -> Verdict {
    let mut running = run(place, "exec </dev/null >/dev/null 2>&1; trap 'exit 7' TERM; sleep 1000 & wait")?;
    sleep(RAGE);
    let before = running.ticks()?;
    sleep(RAGE * 2);
    let used = running.ticks()? - before;
    kill(running.pid(), Signal::SIGTERM).map_err(std::io::Error::from)?;
    running.ends_with(7)?;
    if used < 10 { Ok(()) } else { fail(&running.line, "it waits", format!("{used} clock ticks in {:?}", RAGE * 2)) }
}

fn stopped(place: &Place) -> Verdict {
    let turn = &place.turn;
    let launch = turn.launch(&["sandbox", "--policy", "read-only", "--", "/bin/sh", "-c", "kill -STOP 0"]);
    let mut running = Unread::start(place, &launch)?;
    sleep(RAGE);
    kill(running.pid(), Signal::SIGTERM).map_err(std::io::Error::from)?;
    running.ends_with(128 + libc::SIGTERM)
}

/// codexrun is with its hook while the payload speaks.
fn early(place: &Place) -> Verdict {
    let turn = &place.turn;
    let mut config = turn.sh("echo one; echo two");
    config["process"]["terminal"] = json!(true);
    config["hooks"] = json!({"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.2"]}]});
    let dir = turn.bundle(&config)?.display().to_string();
    let ran = turn.succeeds(&["run", "--bundle", &dir, &turn.fresh()])?;
    ran.must("`one\\ntwo\\n`", ran.out == "one\ntwo\n")
}
