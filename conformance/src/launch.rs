//! Starts one command as an actor, with a clean environment and a time limit, and sees to it that nothing of it stays.

use crate::actor::Actor;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, Uid};
use rustix::process::{PidfdFlags, pidfd_open};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a launch may take; builds inside a sandbox on a loaded machine are the slowest.
pub const LIMIT: Duration = Duration::from_secs(30);
/// How long a runtime has to take back what it put on the host.
pub const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at what nobody tells of.
const SOON: Duration = Duration::from_millis(3);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command, ready to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Beside PATH, HOME, LANG.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub dir: PathBuf,
    /// What it reads.
    pub stdin: String,
    /// Whether the program changes to the actor by itself (a wrapper that needs root first).
    pub keeps_root: bool,
}

/// A command that has been started.
pub struct Running {
    child: Child,
    line: String,
    out: File,
    err: File,
    _known: Known,
}

/// A command that has ended, and everything that can be said about it.
#[derive(Debug, Clone)]
pub struct Ran {
    /// As one would type it.
    pub line: String,
    /// Its exit code; 128+n when it was killed by signal n.
    pub code: i32,
    /// What it wrote.
    pub out: String,
    /// What it complained about.
    pub err: String,
    /// Descendants that were still alive after the grace period (they no longer are).
    pub left: Vec<String>,
    /// Whether it had to be killed.
    pub timed_out: bool,
}

impl Launch {
    /// A command in `dir` with nothing to read.
    pub fn new(argv: &[&str], dir: &Path) -> Launch {
        let argv = argv.iter().map(|a| a.to_string()).collect();
        Launch { argv, env: Vec::new(), dir: dir.into(), stdin: String::new(), keeps_root: false }
    }

    /// Starts it in a process group of its own; output goes to files, so that no pipe can be held open.
    pub fn start(&self, actor: &Actor) -> std::io::Result<Running> {
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = self.command(actor, &out, &err)?;
        let (child, known) = Known::spawn(&mut command)?;
        Ok(Running { child, line: self.line(actor), out, err, _known: known })
    }

    /// The command with its surroundings, not started.
    pub fn command(&self, actor: &Actor, out: &File, err: &File) -> std::io::Result<Command> {
        crate::signals::heard_below();
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).current_dir(&self.dir).process_group(0);
        command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", &actor.home);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command.stdin(input(&self.stdin)?).stdout(out.try_clone()?).stderr(err.try_clone()?);
        if Uid::effective().is_root() && !self.keeps_root {
            command.uid(actor.uid).gid(actor.gid);
        }
        Ok(command)
    }

    /// Starts it and waits for its end.
    pub fn run(&self, actor: &Actor) -> std::io::Result<Ran> {
        self.start(actor)?.finish()
    }

    fn line(&self, actor: &Actor) -> String {
        let words: Vec<String> = self.argv.iter().map(|w| quoted(w)).collect();
        format!("[{} in {}] {}", actor.name, self.dir.display(), words.join(" "))
    }
}

fn input(text: &str) -> std::io::Result<Stdio> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// A word as a shell would need it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid(), signal);
    }

    /// What it writes to its stdout, also after its end: a container that it has created inherits the file.
    pub fn output(&self) -> std::io::Result<File> {
        self.out.try_clone()
    }

    /// Waits for its end, at most [`LIMIT`], then for the end of what it left.
    pub fn finish(self) -> std::io::Result<Ran> {
        let mut ran = self.finish_beside_others()?;
        ran.left = orphans_end(GRACE);
        Ok(ran)
    }

    /// The same while another command is running, whose orphans are not to be touched.
    pub fn finish_beside_others(mut self) -> std::io::Result<Ran> {
        let (status, timed_out) = self.wait()?;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let (line, out, err) = (self.line.clone(), text(&self.out)?, text(&self.err)?);
        Ok(Ran { line, code, out, err, left: Vec::new(), timed_out })
    }

    fn wait(&mut self) -> std::io::Result<(ExitStatus, bool)> {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, false));
            }
            if Instant::now() > end {
                let _ = killpg(self.pid(), Signal::SIGKILL);
                return Ok((self.child.wait()?, true));
            }
            one_ends(&[self.pid()], end);
        }
    }
}

impl Drop for Running {
    /// A case that gave up early leaves nothing either.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.child.wait();
            orphans_end(GRACE);
        }
    }
}

/// All of a file. The offset is shared with whoever still writes to it, so it is left where it is.
pub fn text(file: &File) -> std::io::Result<String> {
    let (mut bytes, mut block) = (Vec::new(), [0; 65536]);
    loop {
        let n = file.read_at(&mut block, bytes.len() as u64)?;
        if n == 0 {
            return Ok(String::from_utf8_lossy(&bytes).into());
        }
        bytes.extend_from_slice(&block[..n]);
    }
}

/// Makes orphans of the commands our children, so that they can be found: see prctl(2), PR_SET_CHILD_SUBREAPER.
pub fn adopt_orphans() -> nix::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// Does something while somebody collects the orphans that end, as init does, or conmon, or a shim: without that no first process of a
/// pid namespace ends.
pub fn while_orphans_are_collected<T>(work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                orphans();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Also when the work panics: or the collector would hold it up for ever.
        let _end = Over(&over);
        work()
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Collects orphans that end within `grace`, kills the others, and names those.
pub fn orphans_end(grace: Duration) -> Vec<String> {
    let end = Instant::now() + grace;
    loop {
        let living = orphans();
        if living.is_empty() {
            return Vec::new();
        }
        if Instant::now() > end {
            return living.into_iter().map(|(pid, name)| put_down(pid, name)).collect();
        }
        let pids: Vec<Pid> = living.iter().map(|(pid, _)| *pid).collect();
        one_ends(&pids, end);
    }
}

/// Sleeps until one of our children has ended, or until then.
fn one_ends(children: &[Pid], then: Instant) {
    let open = |pid: &Pid| pidfd_open(rustix::process::Pid::from_raw(pid.as_raw())?, PidfdFlags::empty()).ok();
    let pidfds: Vec<_> = children.iter().filter_map(open).collect();
    // One that cannot be had is asked for by name, soon.
    let all = pidfds.len() == children.len();
    let patience = then.saturating_duration_since(Instant::now()).min(if all { LIMIT } else { SOON });
    let mut fds: Vec<PollFd> = pidfds.iter().map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)).collect();
    // However it ends, whoever waits looks again.
    let _ = poll(&mut fds, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX));
}

fn put_down(pid: Pid, name: String) -> String {
    let _ = kill(pid, Signal::SIGKILL);
    let _ = waitpid(pid, None);
    // Its own children are ours now.
    let below = orphans_end(Duration::ZERO);
    if below.is_empty() { name } else { format!("{name} [{}]", below.join(", ")) }
}

/// Our living children that nobody here started; those are waited for by their [`Running`]. Dead ones are collected on
/// the way.
fn orphans() -> Vec<(Pid, String)> {
    let (own, any) = (Pid::this(), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL);
    // Most of the time there is nobody, and the whole of /proc need not be read to see it.
    if waitid(Id::All, any) == Err(Errno::ECHILD) {
        return Vec::new();
    }
    let ours = entries().filter(|(_, pid, parent)| *parent == own && !known(*pid));
    let living = ours.filter(|(_, pid, _)| waitpid(*pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive));
    living.map(|(dir, pid, _)| (pid, named(&dir, pid))).collect()
}

static KNOWN: std::sync::Mutex<Vec<i32>> = std::sync::Mutex::new(Vec::new());

/// Excepts a child of ours from [`orphans_end`] for as long as the guard lives.
struct Known(i32);

impl Known {
    /// Starts a child that is known before anybody else can ask: the list is held until it has its place there.
    fn spawn(command: &mut Command) -> std::io::Result<(Child, Known)> {
        let mut list = known_list();
        let child = command.spawn()?;
        let pid = child.id().cast_signed();
        list.push(pid);
        Ok((child, Known(pid)))
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        known_list().retain(|p| *p != self.0);
    }
}

fn known_list() -> std::sync::MutexGuard<'static, Vec<i32>> {
    KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn known(pid: Pid) -> bool {
    known_list().contains(&pid.as_raw())
}

/// Every process: its id, its parent's, and its command line.
pub fn processes() -> Vec<(Pid, Pid, String)> {
    entries().map(|(dir, pid, parent)| (pid, parent, named(&dir, pid))).collect()
}

/// Every process: its directory in /proc, its id, its parent's.
fn entries() -> impl Iterator<Item = (PathBuf, Pid, Pid)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| ids(&e.path()).map(|(pid, parent)| (e.path(), pid, parent)))
}

fn ids(dir: &Path) -> Option<(Pid, Pid)> {
    let pid = dir.file_name()?.to_str()?.parse().ok()?;
    let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
    // The name is in parentheses and may hold anything, so count from the last one: state, then parent.
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    Some((Pid::from_raw(pid), Pid::from_raw(parent)))
}

fn named(dir: &Path, pid: Pid) -> String {
    let line = std::fs::read(dir.join("cmdline")).unwrap_or_default();
    format!("{pid}: {}", String::from_utf8_lossy(&line).replace('\0', " ").trim())
}
