//! `order PROGRAM COMMAND [ARG…]`: runs the command, which launches PROGRAM, once after the other, and prints which of PROGRAM's functions
//! the processes of each launch enter, in the order in which they first do: the number of the launch, and a name. The linker is given a list
//! made of that (`scripts/order`, `cmd/text.order`): functions that a launch needs then lie together, and the kernel, which maps 64 KiB
//! around each page that is touched, maps few others with them.
//!
//! How: a breakpoint on each function, which goes when it is hit. PROGRAM must have its symbols.

mod sys;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `int3`
const BREAK: i64 = 0xcc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [program, command, words @ ..] = args.as_slice() else {
        eprintln!("usage: order PROGRAM COMMAND [ARG...]");
        return ExitCode::from(2);
    };
    match order(Path::new(program), Command::new(command).args(words)) {
        Ok(entered) => {
            entered.iter().for_each(|(launch, name)| println!("{launch} {name}"));
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("order: {e}");
            ExitCode::FAILURE
        }
    }
}

fn order(program: &Path, command: &mut Command) -> Result<Vec<(usize, String)>> {
    // Every process then has the program at the same address.
    nix::sys::personality::set(nix::sys::personality::Persona::ADDR_NO_RANDOMIZE)?;
    let mut course = Course {
        program: program.canonicalize()?,
        functions: functions(program)?,
        sites: HashMap::new(),
        launches: 0,
        entered: Vec::new(),
    };
    let child = Pid::from_raw(i32::try_from(sys::traced(command).spawn()?.id())?);
    waitpid(child, None)?;
    let wanted = [Options::PTRACE_O_TRACECLONE, Options::PTRACE_O_TRACEFORK, Options::PTRACE_O_TRACEVFORK];
    ptrace::setoptions(
        child,
        wanted.into_iter().collect::<Options>() | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL,
    )?;
    course.executed(child)?;
    course.follow()?;
    match course.entered.is_empty() {
        true => Err(format!("{} did not run", program.display()).into()),
        false => Ok(course.entered.iter().map(|(launch, nth)| (*launch, course.functions[*nth].1.clone())).collect()),
    }
}

/// The program's functions: offset from its first byte in memory, and the linker's name.
fn functions(program: &Path) -> Result<Vec<(u64, String)>> {
    let listed = Command::new("nm").arg("--defined-only").arg(program).output()?;
    let line = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [at, "t" | "T" | "w" | "W", name] => Some((u64::from_str_radix(at, 16).ok()?, name.to_owned())),
        _ => None,
    };
    let all: Vec<_> = String::from_utf8(listed.stdout)?.lines().filter_map(line).collect();
    if all.is_empty() { Err(format!("{} has no symbols", program.display()).into()) } else { Ok(all) }
}

struct Course {
    program: PathBuf,
    functions: Vec<(u64, String)>,
    /// By address: which function begins there, and its first byte.
    sites: HashMap<u64, (usize, i64)>,
    /// How often it was executed.
    launches: usize,
    /// In which launch, and which function.
    entered: Vec<(usize, usize)>,
}

impl Course {
    /// Until nobody is left.
    fn follow(&mut self) -> Result<()> {
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::PtraceEvent(pid, _, event)) if event == Event::PTRACE_EVENT_EXEC as i32 => self.executed(pid)?,
                Ok(WaitStatus::PtraceEvent(pid, ..)) => go_on(pid, None)?,
                Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)) => self.trapped(pid)?,
                // How a new process begins to be traced.
                Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)) => go_on(pid, None)?,
                Ok(WaitStatus::Stopped(pid, signal)) => go_on(pid, Some(signal))?,
                Ok(_) => {}
                Err(Errno::ECHILD) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Breakpoints for the program; a payload is let go, and who has yet to execute the program goes on.
    fn executed(&mut self, pid: Pid) -> Result<()> {
        if fs::read_link(format!("/proc/{pid}/exe"))? != self.program {
            return match self.sites.is_empty() {
                true => go_on(pid, None),
                false => Ok(ptrace::detach(pid, None)?),
            };
        }
        self.launches += 1;
        let base = self.base(pid)?;
        for (nth, (offset, _)) in self.functions.iter().enumerate() {
            let at = base + offset;
            let word = ptrace::read(pid, at as ptrace::AddressType)?;
            // Two names of one function.
            if word & 0xff != BREAK {
                self.sites.insert(at, (nth, word & 0xff));
                ptrace::write(pid, at as ptrace::AddressType, word & !0xff | BREAK)?;
            }
        }
        go_on(pid, None)
    }

    /// Where the program begins in memory.
    fn base(&self, pid: Pid) -> Result<u64> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let own =
            maps.lines().find(|line| line.ends_with(&*self.program.to_string_lossy())).ok_or("the program is not mapped")?;
        Ok(u64::from_str_radix(own.split('-').next().unwrap_or_default(), 16)?)
    }

    /// One of ours, or the process's own.
    fn trapped(&mut self, pid: Pid) -> Result<()> {
        let mut registers = ptrace::getregs(pid)?;
        let at = registers.rip - 1;
        let Some((nth, first)) = self.sites.get(&at) else { return go_on(pid, Some(Signal::SIGTRAP)) };
        // A process that shares its memory may have been there before.
        let word = ptrace::read(pid, at as ptrace::AddressType)?;
        ptrace::write(pid, at as ptrace::AddressType, word & !0xff | first)?;
        registers.rip = at;
        ptrace::setregs(pid, registers)?;
        let entered = (self.launches, *nth);
        if !self.entered.contains(&entered) {
            self.entered.push(entered);
        }
        go_on(pid, None)
    }
}

/// ESRCH: it was killed meanwhile.
fn go_on(pid: Pid, signal: Option<Signal>) -> Result<()> {
    match ptrace::cont(pid, signal) {
        Err(e) if e != Errno::ESRCH => Err(e.into()),
        _ => Ok(()),
    }
}
