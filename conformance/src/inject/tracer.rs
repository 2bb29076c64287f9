//! Runs a command under ptrace(2), counts the system calls of every process that is codexrun, and strikes at one of them: makes
//! it fail, or sends a signal at its entry. A process that executes another program is let go: the payload and the hooks run
//! untraced.

use super::omission::{self, Omission};
use super::story::{Seen, Story};
use super::subject;
use super::testimony;
use crate::actor::Actor;
use crate::launch::{self, Launch};
use libc::user_regs_struct;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A system call of a launch, the same one in each repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call {
    /// Which process, in the order of their births.
    pub process: usize,
    /// Its number, as in syscall(2).
    pub nr: i64,
    /// Which of the process's calls of this number: how often it polls may differ, how often it mounts does not.
    pub nth: usize,
}

/// What happens at a call.
#[derive(Debug, Clone, Copy)]
pub enum Blow {
    /// The call is not made and fails.
    Fails(Errno),
    /// Neither it is made nor any other of its number, by any process: an older kernel, an outer filter.
    Refused(Errno),
    /// The process gets a signal before the call is made.
    Signal(Signal),
    /// The whole process group gets one, as from a terminal, or by kill(1) of a negative number: codexrun, and most of who works for it.
    Group(Signal),
    /// The call is not made, and returns this as if it were: what codexrun would be without it.
    Omitted(i64),
}

impl Blow {
    /// Whether every call of this number is struck.
    fn is_everywhere(self, call: Call) -> bool {
        match self {
            Blow::Refused(_) => true,
            Blow::Omitted(_) => omission::is_one_of_several(call.nr),
            Blow::Fails(_) | Blow::Signal(_) | Blow::Group(_) => false,
        }
    }

    /// The signal that somebody gets.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Blow::Signal(signal) | Blow::Group(signal) => Some(signal),
            Blow::Fails(_) | Blow::Refused(_) | Blow::Omitted(_) => None,
        }
    }

    /// Whether codexrun's own process is one of those that get a signal.
    pub fn hits_codexrun(self, call: Call) -> bool {
        matches!(self, Blow::Group(_)) || matches!(self, Blow::Signal(_)) && call.process == 0
    }
}

/// What ends a launch that goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its payload does.
    Payload,
    /// SIGTERM, when it has said all and nothing happens any more: the payload would live on.
    Term,
}

/// A launch that has ended.
#[derive(Debug)]
pub struct Traced {
    /// Every call, in the order seen.
    pub calls: Vec<Call>,
    /// Those that could be left out.
    pub omissions: Vec<Omission>,
    /// What each ioctl(2) and futex(2) asked for.
    pub requests: HashMap<Call, u64>,
    /// Processes that have become another program, and whose descendants they are.
    pub payloads: HashSet<usize>,
    /// The file that the call which was struck is about.
    pub subject: Option<PathBuf>,
    /// Whether the call that was to be struck at was made; the launch may go another way this time.
    pub struck: bool,
    /// Exit code; 128+n for signal n.
    pub code: i32,
    /// Whether a signal was its end, and not an exit of its own.
    pub killed: bool,
    /// Whether one of its processes has become the payload.
    pub begun: bool,
    /// What it wrote.
    pub out: File,
    /// What it complained about.
    pub err: String,
    /// Whether it had to be killed.
    pub hung: bool,
    /// Whether it was ended before its payload had come to its end.
    pub stalled: bool,
    /// What was seen, and when.
    pub story: Story,
}

/// Many times what a traced launch needs, on a machine that is busy otherwise.
const LIMIT: Duration = Duration::from_secs(60);
/// Nothing happens for so long: who is left waits for somebody else.
const QUIET: Duration = Duration::from_millis(20);
/// A payload that has not come to its end after so much silence never will.
const PATIENCE: Duration = Duration::from_secs(15);
/// The last line of a payload; also as a terminal says it that codexrun has not come to yet.
const END: [&str; 2] = ["\nend\n", "\nend\r\n"];

/// PTRACE_EVENT_STOP of <linux/ptrace.h>: the first stop of a new process, and group-stops.
const EVENT_STOP: i32 = 128;

struct Tracee {
    process: usize,
    /// How often it has made each call.
    counts: HashMap<i64, usize>,
    /// Whether it is codexrun: not before the first execve of the command.
    watched: bool,
    /// What is put right when the call that was struck comes back.
    owed: Option<Owed>,
}

/// Of a call that was not made as it was asked for.
#[derive(Debug, Clone, Copy)]
enum Owed {
    /// It returns this.
    Says(i64),
    /// It was made with another first argument: the caller looks at that register again.
    Asked(u64),
}

/// The tracer; one thread, one launch at a time.
pub struct Tracer {
    /// Device and inode of codexrun, and of its proxy.
    programs: Vec<(u64, u64)>,
    /// SIGCHLD, which stays blocked: every stop of a tracee raises it.
    stops: SignalFd,
    /// Every call of every process is stopped at, struck or not.
    thorough: bool,
}

impl Tracer {
    /// Watches processes that execute `program`, or the proxy beside it.
    pub fn new(program: &Path) -> io::Result<Tracer> {
        let all = [Some(program.metadata()?), program.with_file_name("codexrun-proxy").metadata().ok()];
        let programs = all.iter().flatten().map(|meta| (meta.dev(), meta.ino())).collect();
        stop_signals().thread_block()?;
        let stops = SignalFd::with_flags(&stop_signals(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Tracer { programs, stops, thorough: false })
    }

    /// One that sees all that happens, and takes its time.
    pub fn thorough(self) -> Tracer {
        Tracer { thorough: true, ..self }
    }

    /// Runs a launch to its end and strikes once, or not at all. `created` is a process of codexrun's that waits for it, and counts as the
    /// first that is born.
    pub fn run(
        &self,
        launch: &Launch,
        actor: &Actor,
        created: Option<Pid>,
        strike: Option<(Call, Blow)>,
        end: End,
    ) -> io::Result<Traced> {
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        // Stopped before it is codexrun: what is seized later has already made calls.
        let stopped = Launch { argv: [&STOPPED.map(str::to_string)[..], &launch.argv].concat(), ..launch.clone() };
        let mut command = stopped.command(actor, &out, &err)?;
        // A child inherits what is blocked.
        stop_signals().thread_unblock()?;
        let child = command.spawn();
        stop_signals().thread_block()?;
        let child = child?;
        let main = Pid::from_raw(child.id().cast_signed());
        waitpid(main, Some(WaitPidFlag::WUNTRACED))?;
        ptrace::seize(main, options())?;
        let tracee = |process, watched| Tracee { process, counts: HashMap::new(), watched, owed: None };
        let mut tracees = HashMap::from([(main, tracee(0, false))]);
        if let Some(pid) = created {
            ptrace::seize(pid, options())?;
            // Out of the call in which it waits, and into it again, before anybody can have ended it.
            ptrace::interrupt(pid)?;
            waitpid(pid, Some(WaitPidFlag::__WALL))?;
            ptrace::syscall(pid, None)?;
            waitpid(pid, Some(WaitPidFlag::__WALL))?;
            tracees.insert(pid, tracee(1, true));
        }
        let mut hunt = Hunt {
            tracer: self,
            out: &out,
            main,
            tracees,
            early: vec![],
            births: created.iter().count(),
            calls: vec![],
            omissions: vec![],
            requests: HashMap::new(),
            parents: created.iter().map(|_| 0).collect(),
            payloads: HashSet::new(),
            strike,
            end,
            subject: None,
            struck: false,
            stalled: false,
            code: None,
            killed: false,
            begun: false,
            story: Story::default(),
        };
        if let Some(pid) = created {
            lives_or_not(hunt.syscall(pid))?;
        }
        kill(main, Signal::SIGCONT)?;
        let hung = hunt.follow()?;
        // What a keeper or a broker does to itself is no payload's.
        let omissions = hunt.omissions.into_iter().filter(|of| hunt.payloads.contains(&of.call.process)).collect();
        let Hunt { calls, requests, payloads, subject, struck, stalled, code, killed, begun, story, .. } = hunt;
        let (code, err) = (code.unwrap_or(-1), launch::text(&err)?);
        Ok(Traced { calls, omissions, requests, payloads, subject, struck, code, killed, begun, out, err, hung, stalled, story })
    }

    /// Whether a process is codexrun, by the file that it executes.
    fn watches(&self, pid: Pid) -> bool {
        std::fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|m| self.programs.contains(&(m.dev(), m.ino())))
    }

    /// Sleeps until a tracee has stopped or `patience` is over.
    fn wait(&self, patience: Duration) -> io::Result<()> {
        let mut fds = [PollFd::new(self.stops.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        while self.stops.read_signal()?.is_some() {}
        Ok(())
    }
}

/// Of a tracee that was killed while it was stopped the end is the next event.
fn lives_or_not(handled: nix::Result<()>) -> io::Result<()> {
    match handled {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Blocked in every thread, or none hears of them.
pub fn stop_signals() -> SigSet {
    [Signal::SIGCHLD].into_iter().collect()
}

/// With a descriptor that is nobody's, which no payload may have, a umask that nothing may show which others are to use, and no core file.
const STOPPED: [&str; 3] = ["/bin/sh", "-c", "umask 077; ulimit -c 0; kill -STOP $$; exec \"$0\" \"$@\" 9</dev/null"];

/// Whether a process that is not codexrun is what gives testimony: a hook and a tool do not.
fn is_payload(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| String::from_utf8_lossy(&words).contains(testimony::BEGIN))
}

fn options() -> Options {
    Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL
}

/// One launch under way.
struct Hunt<'t> {
    tracer: &'t Tracer,
    out: &'t File,
    main: Pid,
    tracees: HashMap<Pid, Tracee>,
    /// Newborns that have stopped before their parent told of them.
    early: Vec<Pid>,
    births: usize,
    calls: Vec<Call>,
    omissions: Vec<Omission>,
    requests: HashMap<Call, u64>,
    /// The parent of each but the first, by the order of their births.
    parents: Vec<usize>,
    /// As in [`Traced`].
    payloads: HashSet<usize>,
    strike: Option<(Call, Blow)>,
    end: End,
    subject: Option<PathBuf>,
    struck: bool,
    stalled: bool,
    code: Option<i32>,
    killed: bool,
    begun: bool,
    story: Story,
}

impl Hunt<'_> {
    /// To the end of the command and the silence of the rest; whether it had to be killed.
    fn follow(&mut self) -> io::Result<bool> {
        let (end, mut last) = (Instant::now() + LIMIT, Instant::now());
        while !self.tracees.is_empty() {
            if Instant::now() > end {
                self.put_down()?;
                return Ok(true);
            }
            if self.events()? {
                last = Instant::now();
                continue;
            }
            if self.code.is_some() && last.elapsed() > QUIET {
                self.release()?;
                return Ok(false);
            }
            if self.end == End::Term && last.elapsed() > QUIET && (self.all_said()? || last.elapsed() > PATIENCE) {
                self.stalled |= !self.all_said()?;
                self.story.tell(0, Seen::Told);
                kill(self.main, Signal::SIGTERM)?;
                last = Instant::now();
            }
            self.tracer.wait(QUIET)?;
        }
        Ok(false)
    }

    /// Whether the payload has come to its end.
    fn all_said(&self) -> io::Result<bool> {
        let text = launch::text(self.out)?;
        Ok(END.iter().any(|end| text.ends_with(end)))
    }

    /// Handles everything that has happened; whether anything has.
    fn events(&mut self) -> io::Result<bool> {
        let mut any = false;
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(any),
                Ok(status) => status,
                Err(e) => return Err(e.into()),
            };
            any = true;
            lives_or_not(self.event(status))?;
        }
    }

    fn event(&mut self, status: WaitStatus) -> nix::Result<()> {
        match status {
            WaitStatus::Exited(pid, code) => self.ended(pid, code),
            WaitStatus::Signaled(pid, signal, _) => {
                self.killed |= pid == self.main;
                self.ended(pid, 128 + signal as i32);
            }
            WaitStatus::PtraceSyscall(pid) => return self.syscall(pid),
            WaitStatus::PtraceEvent(pid, signal, EVENT_STOP) => return self.stopped(pid, signal),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => return self.executed(pid),
            WaitStatus::PtraceEvent(pid, _, _) => return self.born(pid),
            WaitStatus::Stopped(pid, signal) => return self.go_on(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
        Ok(())
    }

    fn ended(&mut self, pid: Pid, code: i32) {
        if let Some(tracee) = self.tracees.remove(&pid) {
            self.story.tell(tracee.process, Seen::Ended(code));
        }
        if pid == self.main {
            self.code = Some(code);
        }
    }

    /// A newborn, or a process that a signal has stopped.
    fn stopped(&mut self, pid: Pid, signal: Signal) -> nix::Result<()> {
        if !self.tracees.contains_key(&pid) {
            self.early.push(pid);
            return Ok(());
        }
        let group = [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].contains(&signal);
        // The shell that stopped itself has been continued already; nothing else here stops for good.
        self.go_on(pid, None).inspect(|()| debug_assert!(!group || pid == self.main))
    }

    /// A process has a child. Its number is its place in the order in which parents tell.
    fn born(&mut self, parent: Pid) -> nix::Result<()> {
        let child = Pid::from_raw(ptrace::getevent(parent)? as i32);
        let watched = self.tracees.get(&parent).is_some_and(|p| p.watched);
        self.births += 1;
        self.parents.push(self.tracees.get(&parent).map_or(0, |p| p.process));
        self.story.tell(self.births, Seen::Born(parent, child));
        self.tracees.insert(child, Tracee { process: self.births, counts: HashMap::new(), watched, owed: None });
        if let Some(at) = self.early.iter().position(|p| *p == child) {
            self.early.swap_remove(at);
            self.go_on(child, None)?;
        }
        self.go_on(parent, None)
    }

    fn executed(&mut self, pid: Pid) -> nix::Result<()> {
        self.story.tell(self.tracees.get(&pid).map_or(0, |t| t.process), Seen::Executed);
        if self.tracer.watches(pid) {
            self.tracees.entry(pid).and_modify(|t| t.watched = true);
            return self.go_on(pid, None);
        }
        // The shell before codexrun; everything else is a payload, a hook or a tool.
        if pid == self.main && self.tracees.get(&pid).is_some_and(|t| !t.watched) {
            return self.go_on(pid, None);
        }
        self.begun |= is_payload(pid);
        if let Some(tracee) = self.tracees.remove(&pid) {
            let parent = |of: &usize| of.checked_sub(1).and_then(|at| self.parents.get(at)).copied();
            self.payloads.extend(std::iter::successors(Some(tracee.process), parent));
        }
        ptrace::detach(pid, None)
    }

    fn syscall(&mut self, pid: Pid) -> nix::Result<()> {
        let entry = ptrace::syscall_info(pid)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        if let Some(tracee) = self.tracees.get_mut(&pid).filter(|t| t.watched) {
            if entry {
                let regs = ptrace::getregs(pid)?;
                let nr = regs.orig_rax.cast_signed();
                let count = tracee.counts.entry(nr).or_default();
                let call = Call { process: tracee.process, nr, nth: *count };
                *count += 1;
                self.calls.push(call);
                if self.strike.is_none() {
                    self.omissions.extend(Omission::of(pid, call, &regs));
                }
                if [libc::SYS_ioctl, libc::SYS_futex].contains(&nr) {
                    self.requests.insert(call, regs.rsi);
                }
                self.story.tell(call.process, Seen::Call(nr));
                self.entered(pid, call)?;
            } else {
                let mut regs = ptrace::getregs(pid)?;
                if let Some(owed) = tracee.owed.take() {
                    match owed {
                        Owed::Says(said) => regs.rax = said.cast_unsigned(),
                        Owed::Asked(asked) => regs.rdi = asked,
                    }
                    ptrace::setregs(pid, regs)?;
                }
                self.story.tell(tracee.process, Seen::Returned(regs.rax.cast_signed()));
            }
        }
        self.go_on(pid, None)
    }

    /// To its next call, where that matters: a stop costs more than most calls. Who is not to be struck, or no more, is only followed to
    /// the births and programs of its life.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) -> nix::Result<()> {
        let tracee = self.tracees.get(&pid);
        let struck_soon = |call: Call| !self.struck && tracee.is_some_and(|t| t.process == call.process);
        let everywhere = self.tracer.thorough || self.strike.is_some_and(|(call, blow)| blow.is_everywhere(call));
        let matters =
            everywhere || self.strike.is_none_or(|(call, _)| struck_soon(call)) || tracee.is_some_and(|t| t.owed.is_some());
        if matters { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) }
    }

    /// Strikes when this is the spot.
    fn entered(&mut self, pid: Pid, call: Call) -> nix::Result<()> {
        let here = |wanted: Call, blow: Blow| wanted == call || blow.is_everywhere(wanted) && wanted.nr == call.nr;
        let Some((_, blow)) = self.strike.filter(|(wanted, blow)| here(*wanted, *blow)) else {
            return Ok(());
        };
        self.struck = true;
        self.story.tell(call.process, Seen::Struck);
        let said = match blow {
            Blow::Signal(signal) => return kill(pid, signal),
            // It leads the group.
            Blow::Group(signal) => return killpg(self.main, signal),
            Blow::Fails(errno) | Blow::Refused(errno) => -(errno as i64),
            Blow::Omitted(said) => said,
        };
        let regs = ptrace::getregs(pid)?;
        if call.nr == libc::SYS_brk {
            // The kernel knows no errno there (brk(2), "C library/kernel differences"): it says where the end is, as who asks for no other hears.
            self.tracees.entry(pid).and_modify(|t| t.owed = Some(Owed::Asked(regs.rdi)));
            return ptrace::setregs(pid, user_regs_struct { rdi: 0, ..regs });
        }
        self.subject = subject::of(pid, call.nr, [regs.rdi, regs.rsi]);
        // Another call that does nothing, in its place; -1 would be a call that a seccomp filter may kill for.
        ptrace::setregs(pid, user_regs_struct { orig_rax: libc::SYS_getpid.cast_unsigned(), ..regs })?;
        self.tracees.entry(pid).and_modify(|t| t.owed = Some(Owed::Says(said)));
        Ok(())
    }

    /// Lets go of processes that wait for somebody else: a created container waits for its start.
    fn release(&mut self) -> io::Result<()> {
        for pid in self.tracees.keys() {
            let _gone = ptrace::interrupt(*pid);
        }
        self.forget(|pid| {
            let _gone = ptrace::detach(pid, None);
            true
        })
    }

    fn put_down(&mut self) -> io::Result<()> {
        for pid in self.tracees.keys() {
            let _gone = kill(*pid, Signal::SIGKILL);
        }
        self.forget(|pid| kill(pid, Signal::SIGKILL).is_err())
    }

    /// Until each has ended, or has stopped and `is_done` with that. In whatever order they come: the first thread of a process is not heard
    /// of before the others have been waited for (ptrace(2)).
    fn forget(&mut self, is_done: impl Fn(Pid) -> bool) -> io::Result<()> {
        while !self.tracees.is_empty() {
            match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
                Ok(WaitStatus::StillAlive) => self.tracer.wait(QUIET)?,
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => drop(self.tracees.remove(&pid)),
                Ok(stopped) => {
                    if let Some(pid) = stopped.pid().filter(|pid| is_done(*pid)) {
                        self.tracees.remove(&pid);
                    }
                }
                Err(Errno::ECHILD) => self.tracees.clear(),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
