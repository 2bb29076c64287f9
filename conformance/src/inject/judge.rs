//! What may come of a launch that was struck: all or nothing, and in the second case one sentence.

use super::asked;
use super::course::{self, Course, Trial};
use super::errno::{self, made_again};
use super::fallback;
use super::omission::Omission;
use super::outlet;
use super::step::{Listing, Order, in_config};
use super::subject;
use super::testimony::difference;
use super::tracer::{Blow, Call, Traced};
use crate::report::{No, fail};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::collections::HashMap;
use std::path::Path;

/// How a launch ends whose payload SIGTERM ends.
const TERMINATED: i32 = 128 + libc::SIGTERM;

/// Where the standard library gives each thread of the proxy another stack, for the end of its own, and panics where it cannot.
const STD_THREADS: &str = "library/std/src/sys/pal/unix/stack_overflow.rs";

/// A warning of who relays a terminal.
const LOST: &str = "what the container says, and it is lost";

/// Why a policy's sockets, its rules, or a bundle without a mount namespace are refused.
const NEVER: [&str; 5] = [
    "without namespaces `",
    "parts of /proc are covered here",
    "cannot be granted here: nobody may answer for a filter",
    "this kernel has no Landlock",
    "to what is attached nowhere itself",
];

/// What they are refused with.
const FOR_EVER: [Errno; 7] =
    [Errno::EPERM, Errno::EACCES, Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::ENOSPC, Errno::EUSERS];

/// Where root's containers are known.
const RECORDS: &str = "/run/codexrun";

/// Exit codes of a program that cannot be executed, or is not there (POSIX, "Exit Status for Commands").
const NOT_EXECUTED: [i32; 2] = [126, 127];

/// What `exec` says of a container whose process has ended.
const STOPPED: &str = "cannot exec in a stopped container";

/// How whoever SIGKILL has ended ends.
const KILLED: i32 = 128 + libc::SIGKILL;

/// The mode, as stat(1) prints it, of the directory that covers what is shut.
const COVER: &str = "4000";

/// How an `exec` ends whose process could not be made.
const EXEC_FAILED: i32 = 255;

/// How a sentence says ENOENT of a container, of its process, of the FIFO at which it waits, and of a directory.
const MISSING: [&str; 10] = [
    DIED,
    NO_CONTROLLER,
    "ended before it was recorded",
    "container does not exist",
    "container not running",
    "already running container",
    "is no directory",
    "does not exist, so a launch fails",
    "cannot be bound: it is gone",
    " is missing and cannot be made: ",
];

/// What the C library does of a static program before `main`.
const LIBRARYS: [i64; 11] = [
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_arch_prctl,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prlimit64,
    libc::SYS_readlink,
    libc::SYS_getrandom,
];

/// How std says that there is no memory: codexrun says it in a sentence, its proxy does not.
const NO_MEMORY: &str = "memory allocation of";

/// What is said of a process whose end of a socket is closed.
const NOT_READY: &str = "before it was ready";

/// What `start` says of a container whose process has died.
const DIED: &str = "cannot start a container that has stopped";

/// The first call of a created process that is started.
const WAITS_FOR_START: Call = Call { process: 1, nr: libc::SYS_read, nth: 0 };

/// Compares with the undisturbed launch.
pub struct Judge {
    course: Course,
    undisturbed: Vec<String>,
    code: i32,
    err: String,
    calls: Vec<Call>,
    omissions: Vec<Omission>,
    requests: HashMap<Call, u64>,
    order: Order,
}

impl Judge {
    /// The undisturbed launch, which must be a good one.
    pub fn new(course: Course, trial: Trial) -> Result<Judge, No> {
        let bad = |what: String| fail(format!("{} undisturbed", course.name()), "exit 0, a testimony, nothing left", what);
        if trial.traced.hung || ![0, TERMINATED].contains(&trial.traced.code) {
            return bad(format!("exit {}, {}", trial.traced.code, trial.traced.err));
        }
        if let Some(left) = trial.left {
            return bad(left);
        }
        let Traced { code, err, calls, omissions, requests, payloads, .. } = trial.traced;
        let order = Order::new(&calls, payloads);
        match trial.said {
            Some(lines) if lines.last().is_some_and(|l| l == "end") => match asked::missing(course, &lines) {
                Some(line) => bad(format!(
                    "`{line}` is missing: {}",
                    lines.join(
                        "
"
                    )
                )),
                None => Ok(Judge { course, undisturbed: lines, code, err, calls, omissions, requests, order }),
            },
            None if course.deletes() => Ok(Judge { course, undisturbed: vec![], code, err, calls, omissions, requests, order }),
            other => bad(format!("{other:?}")),
        }
    }

    /// Also by the places that its plan lists.
    pub fn knowing(self, listing: Option<Listing>) -> Judge {
        Judge { order: self.order.of(listing), ..self }
    }

    /// What can be struck at.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// What a call can plausibly say no with; none if nobody has said it yet.
    pub fn plausible(&self, call: Call) -> Option<Vec<Errno>> {
        let of_request = self.requests.get(&call).map_or(&[][..], |request| errno::of_request(call.nr, *request));
        Some([errno::plausible(call.nr)?, of_request].concat())
    }

    /// What can be left out.
    pub fn omissions(&self) -> impl Iterator<Item = &Omission> {
        self.omissions.iter().filter(|omission| omission.is_of(self.course))
    }

    /// What is wrong with a trial.
    pub fn fault(&self, call: Call, blow: Blow, trial: &Trial) -> Option<String> {
        if let Blow::Omitted(_) = blow {
            return self.unmissed(trial);
        }
        let traced = &trial.traced;
        let told = |what: String| Some(format!("{what}; exit {}, stderr: {}", traced.code, traced.err.trim()));
        if traced.hung {
            return told("did not end".into());
        }
        if traced.err.contains("panicked") && !traced.err.contains(STD_THREADS) {
            return told("a panic".into());
        }
        let gone = matches!(blow, Blow::Fails(Errno::ENOENT)) && self.course.deletes();
        if let Some(left) = trial.left.as_ref().filter(|left| !gone || *left != course::KNOWN) {
            return told(format!("left: {left}"));
        }
        if traced.stalled {
            return told("the payload waits for ever".into());
        }
        if let Blow::Fails(errno) = blow
            && made_again(call.nr, errno)
            && !self.is_the_librarys(call, blow)
        {
            return self.noticed(trial).and_then(told);
        }
        if let Blow::Refused(errno) = blow
            && (trial.said.is_some() || self.course.deletes())
            && traced.code == 0
            && let Some(why_not) = fallback::unknown(call.nr, errno, self.course)
        {
            return told(format!("ran without the call, and {why_not}"));
        }
        let dealt = blow;
        // A filter's EPERM is taken for the kernel's word about the path.
        let blow = match blow {
            Blow::Refused(Errno::EPERM) if call.nr == libc::SYS_faccessat2 && self.course.is_sandbox() => {
                Blow::Fails(Errno::EACCES)
            }
            Blow::Refused(errno) => Blow::Fails(errno),
            blow => blow,
        };
        let said = trial.said.as_ref().map(|said| match self.course {
            Course::Outlet if self.serves(call, blow) => outlet::answered(said, |_| true),
            Course::Outlet => outlet::answered(said, |errno| unanswered(errno, blow)),
            _ => self.answered(said, blow),
        });
        let said = said.map(|said| self.as_behind_a_filter(said, call, blow));
        // What has been said is not unsaid: a terminal's bytes that could not be written are told.
        if matches!(blow, Blow::Fails(errno) if traced.err.contains(LOST) && says(errno, &traced.err)) {
            return None;
        }
        let wrong = match &said {
            Some(said) => self.wrong_with_payload(said, call, blow, traced),
            None => match blow.signal() {
                Some(signal) => self.wrong_without_after(blow.hits_codexrun(call), signal, traced),
                None => self.wrong_without(call, blow, traced).or_else(|| self.misplaced(call, dealt, traced)),
            },
        };
        wrong.or_else(|| self.late(blow, trial)).and_then(told)
    }

    /// What is wrong with the hooks that come when a payload has begun and when its container is gone. None is passed over in silence.
    fn late(&self, blow: Blow, trial: &Trial) -> Option<String> {
        let whole = trial.said.as_ref().is_some_and(|said| said.last().is_some_and(|line| line == "end"));
        let (began, stopped) = match self.course {
            // Whoever is killed, or ended, may have come before them.
            course if course.starts() => (whole && trial.traced.code == 0 && blow.signal().is_none(), whole),
            course if course.deletes() => (false, true),
            _ => (false, false),
        };
        let often = blow.signal().is_some();
        asked::LATE.iter().zip(trial.late).zip([began, stopped]).find_map(|((hook, ran), must)| {
            let words = [format!("hooks.{hook}[0]"), format!("{hook} hooks do not run")];
            let said = || words.iter().any(|words| trial.traced.err.contains(words));
            match ran {
                0 if must && !said() => Some(format!("no {hook} hook has run, and nobody says so")),
                // Who is killed while they run, or cannot forget the container, has not told anybody which have.
                2.. if !often && trial.traced.code == 0 => Some(format!("{hook} hooks ran {ran} times")),
                _ => None,
            }
        })
    }

    /// What is wrong with a payload that has said this.
    fn wrong_with_payload(&self, said: &[String], call: Call, blow: Blow, traced: &Traced) -> Option<String> {
        match blow {
            // EACCES of a place is believed: the sandbox shows it as shut as the caller found it.
            Blow::Fails(Errno::EACCES) if self.shut(said) => None,
            // And permits nothing there; nor what the kernel says is a right of directories, to what it says is none.
            Blow::Fails(Errno::EACCES | Errno::EINVAL) if self.course == Course::Alone && self.fewer(said) => None,
            // The C library's, around the start of the proxy, which has nobody to tell.
            Blow::Fails(_) if self.course == Course::Outlet && call.nr == libc::SYS_rt_sigprocmask => {
                self.less_but(&["status SigBlk"], said)
            }
            // Who brings the network in has died, and nobody does any more.
            Blow::Signal(_)
                if self.course == Course::Outlet && call.process != 0 && said.last().is_some_and(|line| line == "end") =>
            {
                let opened = said.iter().find(|line| line.starts_with("shut ") && line.contains("\tok"));
                opened.map(|line| format!("ran, but has `{line}`")).or_else(|| self.less_but(&["granted ", "shut domain"], said))
            }
            // A link of the host's root is one that has gone since its name was read, or that shows nobody where it leads.
            Blow::Fails(Errno::ENOENT | Errno::EACCES) if call.nr == libc::SYS_readlink && self.course.is_sandbox() => {
                self.less_but(&["there /"], said)
            }
            // Without CAP_CHOWN a terminal stays its maker's; it is open already.
            Blow::Fails(Errno::EPERM) if call.nr == libc::SYS_fchown => {
                self.less_but(&["node /dev/console", "node /proc/self/fd/0"], said)
            }
            // What the kernel says is not there is none of the policy's, but it is shut all the same.
            Blow::Fails(Errno::ENOENT) if call.process == 0 && self.course.is_sandbox() => self.opened(said),
            // Somebody of the bundle's has made it first, and it stays his; or it was not there, and is as a new one is.
            Blow::Fails(Errno::EEXIST) if call.nr == libc::SYS_symlinkat => {
                self.less_but(&["link /dev/", "node /dev/ptmx "], said)
            }
            Blow::Fails(Errno::ENOENT) if call.nr == libc::SYS_openat2 => {
                self.less_but(&["node /tmp"], said).filter(|_| !self.uncovered(said))
            }
            _ => self.less(said, call, blow, traced),
        }
    }

    /// What is wrong with a launch whose payload has not begun.
    fn wrong_without(&self, call: Call, blow: Blow, traced: &Traced) -> Option<String> {
        let Blow::Fails(errno) = blow else { return None };
        let err = &traced.err;
        match errno {
            _ if traced.code == 0 && !self.course.deletes() => Some("did not run, and exit 0".into()),
            // `create` was done when its process died; whom it could have told is gone.
            _ if self.course.creates() && err.contains(DIED) => None,
            // Who waits for his start has nobody to tell before it comes; that he has died is told by how far `start` has come.
            _ if self.course == Course::Start && call == WAITS_FOR_START && sentence(err).is_ok() => None,
            // Whoever is not there has a sentence of his own.
            Errno::ENOENT if MISSING.iter().any(|words| err.contains(words)) => None,
            // What was there already is opened, and then it is not there.
            Errno::EEXIST if sentence(err).is_ok_and(|sentence| says(Errno::ENOENT, sentence)) => None,
            _ if self.is_believed(call, blow) && sentence(err).is_ok_and(is_step) => None,
            // Whoever does not listen any more has died, and that is what is said.
            Errno::EPIPE if err.contains(NOT_READY) => None,
            _ if self.is_behind(call, blow, traced) => None,
            _ if self.course == Course::Outlet && call.process != 0 && self.is_untold(call, err) => None,
            // What the kernel, or a filter, will never do is told by what it is good for.
            _ if FOR_EVER.contains(&errno) && NEVER.iter().any(|words| err.contains(words)) => None,
            // Whose process is not there any more has stopped, and that is what is said.
            Errno::ESRCH if call.nr == libc::SYS_pidfd_open && (err.contains(STOPPED) || err.contains(NOT_READY)) => None,
            _ if traced.code != 0 => {
                // Beside the plan there is more than the first process.
                let of = if self.course.is_tried_apart() { Call { process: 0, ..call } } else { call };
                unsaid(of, errno, err).filter(|_| !self.is_beside_us(call, traced))
            }
            _ => None,
        }
    }

    /// Whether a bridge had nobody to tell, or was let go by a proxy that had nobody; it says what it met.
    fn is_untold(&self, call: Call, err: &str) -> bool {
        UNTOLD.contains(&call.nr) && err.contains(BRIDGE_FAILED)
            || LET_GO.iter().any(|words| err.contains(words)) && sentence(err).is_ok()
    }

    /// Whether it was over before codexrun's `main`, or beside it.
    fn is_beside_us(&self, call: Call, traced: &Traced) -> bool {
        let crashed = crashed(traced.code, &traced.err) || traced.err.contains(NO_MEMORY) && self.course == Course::Outlet;
        says_a_library(&traced.err) || crashed && self.is_start(call)
    }

    /// Whether a call is the C library's before `main`, which std begins with poll(2), or of a program that another process has become.
    fn is_start(&self, call: Call) -> bool {
        let own = || self.calls.iter().filter(|other| other.process == call.process);
        let began = own().position(|other| other.nr == libc::SYS_poll);
        let at = own().position(|other| *other == call);
        // The proxy's threads begin without.
        LIBRARYS.contains(&call.nr) && began.is_some() && at < began || self.course == Course::Outlet && call.process != 0
    }

    /// Whether the program itself is behind what is shut: what nobody may look at, or is not believed to be there, is executed in vain.
    fn is_behind(&self, call: Call, blow: Blow, traced: &Traced) -> bool {
        let shut = matches!(blow, Blow::Fails(Errno::EACCES)) && self.course.is_sandbox() || self.is_believed(call, blow);
        shut && NOT_EXECUTED.contains(&traced.code)
    }

    /// Whether a policy was told that a place is not there, which is an answer: what lies there is shut, and who needs it fails by that.
    fn is_believed(&self, call: Call, blow: Blow) -> bool {
        let looks = [libc::SYS_statx, libc::SYS_newfstatat, libc::SYS_faccessat2];
        let absent = matches!(blow, Blow::Fails(Errno::ENOENT));
        absent && call.process == 0 && self.course.is_sandbox() && looks.contains(&call.nr)
    }

    /// What is wrong with the place that a sentence tells.
    fn misplaced(&self, call: Call, blow: Blow, traced: &Traced) -> Option<String> {
        let sentence = sentence(&traced.err).ok().filter(|_| matches!(blow, Blow::Fails(_)) && traced.struck)?;
        match call.process {
            _ if self.is_beside_us(call, traced) || self.is_behind(call, blow, traced) => None,
            // Beside the plan there is more than the first process.
            process if process == 0 || self.course.is_tried_apart() => {
                // What names no file has its own excuse.
                let own = process == 0 && !is_step(sentence) && !beside_the_plan(sentence) && names_a_file(sentence);
                let other = traced.subject.as_ref().filter(|file| own && !subject::is_told(file, sentence));
                let other = other.map(|file| format!("the sentence does not name {}", file.display()));
                self.order.unknown_place(sentence).or(other)
            }
            // What is told without a step has its own excuse.
            _ => self.order.wrong(call, sentence).filter(|_| is_step(sentence)),
        }
    }

    /// What is wrong with a launch whose payload has said nothing when a signal has come to one of its processes.
    fn wrong_without_after(&self, hit: bool, signal: Signal, traced: &Traced) -> Option<String> {
        let (code, err, own) = (traced.code, &traced.err, 128 + signal as i32);
        let hit = hit && traced.struck;
        // `create` was done when its process died; whom it could have told is gone.
        let done = self.course.creates() && err.contains(DIED);
        // `exec` that fails says so by an exit code of its own.
        let failed = self.course.joins() && code == EXEC_FAILED;
        match code {
            0 if self.course.deletes() => None,
            // Nobody waits for the process that was hit.
            0 if (self.course.is_detached() || self.course.creates() || self.course == Course::Start) && !hit => None,
            0 => Some("did not run, and exit 0".into()),
            _ if traced.killed && !hit => Some("codexrun was ended, and not by its own exit".into()),
            _ if traced.killed && code != own => Some(format!("another end than by {signal}")),
            _ if traced.killed => (sentence(err) != Err(NONE)).then(|| "was killed, and says more".into()),
            _ if hit && code != own && !failed && !done => Some(format!("{signal}, and no exit {own}")),
            // The signal may have been the payload's, which has said nothing yet, or what it was to be: it finds it pending.
            _ if traced.begun || !traced.struck || is_beside_us(code, err) => None,
            // So does the process that codexrun has passed it on to: the exit code says all.
            _ if code == own && sentence(err) == Err(NONE) => None,
            _ => sentence(err).err().map(str::to_string),
        }
    }

    /// What is wrong with a launch that lacked something, be it room, memory or processes: the payload lacked it too.
    pub fn fault_in_want(&self, trial: &Trial) -> Option<String> {
        let traced = &trial.traced;
        let told = |what: String| Some(format!("{what}; exit {}, stderr: {}", traced.code, traced.err.trim()));
        match (&trial.said, &trial.left) {
            _ if traced.hung => told("did not end".into()),
            _ if traced.err.contains("panicked") => told("a panic".into()),
            (_, Some(left)) => told(format!("left: {left}")),
            (Some(said), _) if said.last().is_some_and(|line| line == "end") => {
                let theirs = |line: &String| !own_affair(line, said);
                let only = |lines: &[String]| lines.iter().filter(|line| theirs(line)).cloned().collect::<Vec<_>>();
                difference(&only(&self.undisturbed), &only(said)).and_then(|what| told(format!("ran, but {what}")))
            }
            (Some(_), _) if traced.code == 0 => told("was ended while it ran, and exit 0".into()),
            (Some(_), _) => None,
            (None, _) if traced.code == 0 && !self.course.deletes() => told("did not run, and exit 0".into()),
            (None, _) if traced.code == 0 || killed(traced.code) || is_beside_us(traced.code, &traced.err) => None,
            // The shell that was to execute codexrun.
            (None, _) if traced.err.starts_with("sh: ") => None,
            (None, _) => sentence(&traced.err).err().and_then(|what| told(what.into())),
        }
    }

    /// A call was left out, and neither the payload nor whoever looked around afterwards has missed it: a fault that has the same effect
    /// would go by unseen, too.
    fn unmissed(&self, trial: &Trial) -> Option<String> {
        let well = !trial.traced.hung && !trial.traced.stalled && trial.left.is_none();
        (trial.traced.struck && well && self.noticed(trial).is_none()).then(|| "nobody has missed it".into())
    }

    /// What shows of a call that is made again: nothing may.
    fn noticed(&self, trial: &Trial) -> Option<String> {
        let said = trial.said.as_deref().unwrap_or_default();
        let same = trial.traced.code == self.code && trial.traced.err == self.err;
        difference(&self.undisturbed, said)
            .or((!same).then(|| "is another end".into()))
            .map(|what| format!("not made again: {what}"))
    }

    /// Whether at this call the bridge or the proxy may have said that it serves, or both have: what is hit then ends connections, and the
    /// payload has begun or is about to.
    fn serves(&self, call: Call, blow: Blow) -> bool {
        if matches!(blow, Blow::Group(_)) {
            return true;
        }
        let at = |wanted: &dyn Fn(&Call) -> bool| self.calls.iter().position(wanted);
        let own = |nr| at(&|one| one.process == call.process && one.nr == nr);
        let (begins, born) = (at(&|one| one.nr == libc::SYS_epoll_wait), at(&|one| one.process == call.process));
        let waits = match (own(libc::SYS_epoll_wait), own(libc::SYS_accept4)) {
            // It has more threads than one, and a signal is for whichever comes to it.
            (None, Some(_)) if blow.signal().is_some() => born,
            (bridge, proxy) => bridge.or(proxy),
        };
        // The proxy's, which goes its own way from then on.
        let thread = born.is_some_and(|born| self.calls[born].nr == libc::SYS_rseq);
        thread || born > begins || waits.is_some_and(|waits| Some(waits) <= at(&|one| *one == call))
    }

    /// Calls that the C library and std make for the proxy to find and reach a name, none of which a signal can interrupt (signal(7)).
    fn is_the_librarys(&self, call: Call, blow: Blow) -> bool {
        let by_name = [libc::SYS_openat, libc::SYS_connect, libc::SYS_read, libc::SYS_poll, libc::SYS_recvmsg];
        self.course == Course::Outlet && self.serves(call, blow) && by_name.contains(&call.nr)
    }

    /// What was said, as if the broker had answered: a connection may fail, by the errno of the blow, or when that has ended the broker.
    fn answered(&self, said: &[String], blow: Blow) -> Vec<String> {
        let excused = |errno: &str| match blow {
            Blow::Signal(_) | Blow::Group(_) | Blow::Omitted(_) => errno != "ok",
            // What cannot be reached is not granted.
            Blow::Fails(Errno::EACCES | Errno::ELOOP | Errno::ENOENT) => errno != "ok",
            // ENOSYS: nobody is left to answer, or whoever was to could not.
            Blow::Fails(blow) | Blow::Refused(blow) => errno == format!("{blow:?}") || errno == "ENOSYS",
        };
        let undisturbed = |name: &str| self.undisturbed.iter().find(|line| line.split('\t').next() == Some(name)).cloned();
        let answer = |line: &String| match line.split('\t').collect::<Vec<_>>()[..] {
            [name @ ("granted" | "shut"), errno, _] if excused(errno) => undisturbed(name),
            _ => None,
        };
        said.iter().map(|line| answer(line).unwrap_or_else(|| line.clone())).collect()
    }

    /// What was said, as if the payload were behind the same filter as codexrun, which only the tracer is: no keyrings are there for it.
    fn as_behind_a_filter(&self, said: Vec<String>, call: Call, blow: Blow) -> Vec<String> {
        const KEYRING: &str = "keyring\t";
        if call.nr != libc::SYS_keyctl || !matches!(blow, Blow::Fails(Errno::ENOSYS)) {
            return said;
        }
        let same = self.undisturbed.iter().find(|line| line.starts_with(KEYRING));
        let told = |line: String| same.filter(|_| line.starts_with(KEYRING)).cloned().unwrap_or(line);
        said.into_iter().map(told).collect()
    }

    /// Whether a payload of a policy is whole but for one top-level directory that it was not shown, or for the cover of the records, which
    /// it cannot reach either.
    fn shut(&self, said: &[String]) -> bool {
        let shown = |at: &str| at.rfind('/') == Some(0) || at == RECORDS;
        let top = |line: &&String| matches!(line.split(' ').collect::<Vec<_>>()[..], ["mount", _, at, ..] if shown(at));
        let missing: Vec<&String> = self.undisturbed.iter().filter(|line| !said.contains(line)).collect();
        let Some(top) = missing.iter().copied().find(top).and_then(|line| line.split(' ').nth(2)) else { return false };
        let about = |line: &str| line.split(' ').any(|word| Path::new(word).starts_with(top));
        let mut new = said.iter().filter(|line| !self.undisturbed.contains(line));
        top != "/"
            && self.course.is_sandbox()
            && missing.iter().all(|line| about(line))
            && new.all(|line| about(line) && self.opens_nothing(line))
    }

    /// Whether what a payload says beyond what it says undisturbed lets it do nothing more: a place is shut, or has a mount that permits no
    /// more than the one which was to be there, or nothing but to look.
    fn opens_nothing(&self, line: &str) -> bool {
        const WALLS: [&str; 4] = ["ro", "nosuid", "nodev", "noexec"];
        let mount = |line: &'_ str| match line.split(' ').collect::<Vec<_>>()[..] {
            ["mount", _, at, options, ..] => Some((at.to_string(), options.split(',').map(str::to_string).collect::<Vec<_>>())),
            _ => None,
        };
        let Some((at, options)) = mount(line) else {
            let covered = line.starts_with("node ") && line.split(' ').nth(2) == Some(COVER);
            return covered || is_shut(line);
        };
        let before = self.undisturbed.iter().filter_map(|line| mount(line)).find(|(place, _)| *place == at);
        let before = before.map_or(vec!["ro".to_string()], |(_, options)| options);
        WALLS.iter().map(|wall| wall.to_string()).all(|wall| !before.contains(&wall) || options.contains(&wall))
    }

    /// Whether a payload may do nothing that it could not do undisturbed. A line may lack its end: what should have said that was shut.
    fn fewer(&self, said: &[String]) -> bool {
        // Of a root that may not be listed the shell says this; it may be where nothing below it is shut.
        let shut = |line: &str| is_shut(line) || ["descriptor *", "there /"].iter().any(|words| line.starts_with(words));
        said.iter().all(|line| shut(line) || self.undisturbed.iter().any(|known| known.starts_with(line.as_str())))
    }

    /// Whether all that is other is about one place that has no mount of its own: what is not there is not covered.
    fn uncovered(&self, said: &[String]) -> bool {
        let missing: Vec<&String> = self.undisturbed.iter().filter(|line| !said.contains(line)).collect();
        // Without a mount namespace no table has it.
        let at = match self.course {
            Course::RunHere => missing.iter().find_map(|line| line.strip_prefix("reads not ")),
            _ => missing.iter().find(|line| line.starts_with("mount ")).and_then(|line| line.split(' ').nth(2)),
        };
        let Some(at) = at else { return false };
        let mut differ = missing.iter().copied().chain(said.iter().filter(|line| !self.undisturbed.contains(line)));
        at != "/" && differ.all(|line| line.split(' ').any(|word| Path::new(word).starts_with(at)))
    }

    /// What has come open to a payload, or is other than what is mounted and reached.
    fn opened(&self, said: &[String]) -> Option<String> {
        let of = |line: &str, kinds: &[&str]| kinds.iter().any(|kind| line.starts_with(kind));
        // A probe that is not there says nothing.
        let probed = |line: &str| line.contains('\t') && !line.starts_with("status ");
        let silent = !said.iter().any(|line| probed(line));
        let may_lack = ["mount ", "there ", "node ", "granted\t", "reads ", "writes "];
        // Without mounts nothing is covered, /proc neither: what is not believed to be there has no rule, and says nothing at all.
        let bare = self.course == Course::Alone;
        let lacks = |line: &&String| bare || of(line, &may_lack) && !is_shut(line) || silent && probed(line);
        // Without mounts the root is listed where nothing below it is shut.
        let listed = |line: &str| bare && of(line, &["there /"]);
        let has = |line: &&String| of(line, &["granted\t"]) || listed(line) || self.opens_nothing(line);
        let missing = self.undisturbed.iter().filter(|line| !said.contains(line)).find(|line| !lacks(line));
        let new = || said.iter().filter(|line| !self.undisturbed.contains(line)).find(|line| !has(line));
        let missing = missing.map(|line| format!("ran, but lacks `{line}`"));
        missing.or_else(|| new().map(|line| format!("ran, but has `{line}`")))
    }

    /// What a payload was lacking beside the lines that begin so.
    fn less_but(&self, beginnings: &[&str], said: &[String]) -> Option<String> {
        let other = |line: &&String| !beginnings.iter().any(|beginning| line.starts_with(beginning));
        let rest = |lines: &[String]| lines.iter().filter(other).cloned().collect::<Vec<_>>();
        difference(&rest(&self.undisturbed), &rest(said))
    }

    /// What a payload that ran was lacking. One that was ended while it spoke has said the beginning, and its launch has failed.
    fn less(&self, said: &[String], call: Call, blow: Blow, traced: &Traced) -> Option<String> {
        let code = traced.code;
        if said.last().is_some_and(|line| line == "end") {
            // Then only a signal ends it, and its launch.
            let well = blow.signal().is_some() && self.course.waits() && code == 0;
            let lacking = difference(&self.undisturbed, said).map(|what| format!("ran, but {what}"));
            return lacking.or(well.then(|| "was ended by a signal, and exit 0".into()));
        }
        let whole = &said[..said.len().saturating_sub(1)];
        match whole.iter().zip(&self.undisturbed).find(|(said, line)| said != line) {
            Some((said, line)) => Some(format!("ran, but has `{said}` in place of `{line}`")),
            // Most of a group is one with codexrun until it has a session of its own.
            None if self.course.is_outlived() && traced.killed && matches!(blow, Blow::Signal(_)) && call.process == 0 => {
                Some("did not go on when codexrun was killed".into())
            }
            // Of one that is not waited for nobody tells the end.
            None if (self.course.is_detached() || self.course.creates()) && blow.signal().is_some() => None,
            None => (code == 0).then(|| "was ended while it ran, and exit 0".into()),
        }
    }
}

/// How connect(2) fails where the broker of Unix sockets was to look at it and could not, or has ended.
fn unanswered(errno: &str, blow: Blow) -> bool {
    errno == "ENOSYS" || matches!(blow, Blow::Fails(blow) if errno == format!("{blow:?}"))
}

/// What is wrong with the sentence of a launch that failed.
fn unsaid(call: Call, errno: Errno, err: &str) -> Option<String> {
    let sentence = match sentence(err) {
        Ok(sentence) => sentence,
        Err(what) => return Some(what.into()),
    };
    if !says(errno, sentence) {
        return Some(format!("the sentence does not say {errno:?}"));
    }
    (!is_placed(call, sentence)).then(|| "the sentence has no place".into())
}

/// What codexrun's own process does beside the plan, which no place of anybody's file has asked for: it knows itself, the caller and the
/// kernel, hears of signals, waits, and keeps the container by its record.
const BESIDE_THE_PLAN: &[&str] = &[
    "cannot look at codexrun's own file",
    "cannot protect codexrun's own file",
    "cannot learn ",
    "cannot block signals",
    "cannot close inherited descriptors",
    "cannot handle SIGXFSZ",
    "cannot listen for signals",
    "cannot look for signals",
    "cannot look whether the process has started",
    "cannot read a signal",
    "cannot signal container",
    "cannot reset SIGCHLD",
    "cannot make a socket",
    "cannot follow the container",
    "cannot wait for the start",
    "cannot start the container's process",
    "cannot refer to process ",
    "no process of the container can be looked into",
    "the proxy cannot ",
    "the proxy has not begun within",
    "nobody waits for the proxy",
    "cannot take a port for the proxy",
    "cannot hear whether the proxy",
];

/// Whether it says what of the caller's asked for the step: a place in config.json, a path, the program. All that another process than the
/// first does is a step of the plan.
fn is_placed(call: Call, sentence: &str) -> bool {
    is_step(sentence) || names_an_option(sentence) || call.process == 0 && (names_a_file(sentence) || beside_the_plan(sentence))
}

/// What a verb's option asked for: `--tty: cannot …`.
fn names_an_option(sentence: &str) -> bool {
    sentence.strip_prefix(OURS).is_some_and(|said| said.starts_with("--") && said.contains(": "))
}

fn names_a_file(sentence: &str) -> bool {
    sentence.split_whitespace().any(|word| word.trim_start_matches('`').starts_with('/'))
}

/// Whether it names a place in config.json, or the program.
fn is_step(sentence: &str) -> bool {
    let program = |said: &str| ["exec: \"", "exec "].iter().any(|step| said.starts_with(step));
    in_config(sentence).is_some() || sentence.strip_prefix(OURS).is_some_and(program)
}

fn beside_the_plan(sentence: &str) -> bool {
    BESIDE_THE_PLAN.iter().any(|words| sentence.contains(words))
}

/// What says an errno in other words: the proxy's, std's, and pthread_create(3)'s, which knows one for all that lacks.
const MEANT: [(Errno, &str); 3] = [
    (Errno::ELOOP, "a symbolic link lies on the way"),
    (Errno::ENOENT, "no /proc/self/exe available"),
    (Errno::ENOMEM, "the proxy cannot begin a thread: Resource temporarily unavailable"),
];

/// By its name, in the C library's words, or in those of the crate nix.
fn says(errno: Errno, sentence: &str) -> bool {
    if MEANT.iter().any(|(known, words)| *known == errno && sentence.contains(words)) {
        return true;
    }
    let words = std::io::Error::from_raw_os_error(errno as i32).to_string();
    let words = words.split(" (os error").next().unwrap_or_default().to_lowercase();
    [&words, errno.desc(), &format!("{errno:?}")].iter().any(|w| sentence.to_lowercase().contains(&w.to_lowercase()))
}

/// What is said beside the sentence of an end: warnings, what was chosen by `--isolation auto`, and what a policy without namespaces gives up.
const ASIDE: [&str; 2] = ["codexrun: warning", "codexrun: isolation: "];

const OURS: &str = "codexrun: error: ";

/// What a bridge has nobody to tell, and how it would tell; what ends a hook before it begins.
const UNTOLD: [i64; 4] = [libc::SYS_accept4, libc::SYS_sendto, libc::SYS_brk, libc::SYS_mmap];

/// What a bridge says whose connection the proxy has closed, a hook whose connection the bridge has (who knocked had gone, by /proc), or whose
/// bridge has ended, and codexrun of a proxy that hears of its end too early.
const LET_GO: [&str; 4] = [
    "cannot find codexrun's proxy at ",
    "the bridge gives no answer",
    "no bridge at `",
    "the proxy has not started: exit status: 0",
];

/// What is said of a hook of the bridge's after its own words.
const BRIDGE_FAILED: &str = "/codexrun` failed";

const NONE: &str = "no sentence";

/// What is said of it.
const NO_CGROUP: [&str; 2] = [": cannot make the cgroup `", NO_CONTROLLER];

/// Of a host whose list of them is not there.
const NO_CONTROLLER: &str = ": this host has no cgroup controller `";

/// The one sentence that there is, or what is there instead.
fn sentence(err: &str) -> Result<&str, &'static str> {
    let beside = |line: &&str| ASIDE.iter().any(|words| line.starts_with(words));
    let lines: Vec<&str> = err.lines().filter(|line| !beside(line)).collect();
    match lines[..] {
        [one] if one.starts_with(OURS) => Ok(one),
        // A hook that is codexrun too says what its fault was.
        [one, hook] if one.starts_with(OURS) && hook.starts_with(OURS) && hook.contains(BRIDGE_FAILED) => Ok(err),
        // Each field that needs a cgroup, of a caller who may make none or has none.
        [first, ..] if lines.iter().all(|line| line.starts_with(OURS) && NO_CGROUP.iter().any(|words| line.contains(words))) => {
            Ok(first)
        }
        [] => Err(NONE),
        _ => Err("not one sentence"),
    }
}

/// By the kernel, for want of memory; nobody is left to say so.
fn killed(code: i32) -> bool {
    code == KILLED
}

/// What a payload's own want shows in: the limit that was set, a program that it could not start itself, and questions of the probe's that
/// were not answered.
fn own_affair(line: &str, said: &[String]) -> bool {
    const SET: [&str; 4] = ["limit Max file size ", "limit Max open files ", "limit Max address space ", "limit Max processes "];
    let heard = |beginning: &str| said.iter().any(|line| line.starts_with(beginning));
    let of_stat = ["namespace ", "node "].iter().any(|kind| line.starts_with(kind)) && !heard("namespace ");
    let unanswered = |(name, _): (&str, &str)| !name.contains(' ') && !heard(&format!("{name}\tok"));
    SET.iter().any(|limit| line.starts_with(limit)) || of_stat || line.split_once('\t').is_some_and(unanswered)
}

/// Whether a program ended without a word, by SIGSEGV: the C library's start without memory, of a hook too.
fn crashed(code: i32, err: &str) -> bool {
    code == 128 + libc::SIGSEGV && sentence(err) == Err(NONE) || err.contains("signal: 11")
}

/// Whether it was over where no sentence of ours can be made, and whose words say so: the C library's, or those of std around `main`.
fn says_a_library(err: &str) -> bool {
    let theirs = [
        "Fatal glibc error",
        "cannot set %fs base address",
        "error while loading shared libraries",
        STD_THREADS,
        "The futex facility returned an unexpected error code",
        "fatal runtime error: assertion failed: signal(",
    ];
    theirs.iter().any(|words| err.contains(words))
}

/// Either, where nobody asks at which call.
fn is_beside_us(code: i32, err: &str) -> bool {
    crashed(code, err) || says_a_library(err)
}

/// Whether a payload says of a place that it is shut.
fn is_shut(line: &str) -> bool {
    ["reads not ", "writes not "].iter().any(|words| line.starts_with(words))
}

/// A blow in words: `process 1, mount 17: ENOMEM`.
pub fn blow(call: &Call, blow: &Blow) -> String {
    let name = super::story::name(call.nr);
    let what = match blow {
        Blow::Fails(errno) => format!("{errno:?}"),
        Blow::Refused(errno) => format!("{errno:?}, always"),
        Blow::Signal(signal) => signal.as_str().into(),
        Blow::Group(signal) => format!("{signal} to all"),
        Blow::Omitted(_) => "left out".into(),
    };
    format!("process {}, {name} {}: {what}", call.process, call.nth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::story::Story;
    use std::collections::HashSet;

    fn judge(course: Course, undisturbed: &[&str]) -> Judge {
        let (calls, omissions, requests) = (vec![], vec![], HashMap::new());
        let order = Order::new(&calls, HashSet::new());
        Judge { course, undisturbed: lines(undisturbed), code: 0, err: String::new(), calls, omissions, requests, order }
    }

    fn traced(code: i32, err: &str) -> Traced {
        Traced {
            calls: vec![],
            omissions: vec![],
            requests: HashMap::new(),
            payloads: HashSet::new(),
            subject: None,
            struck: true,
            code,
            killed: false,
            begun: false,
            out: tempfile::tempfile().unwrap(),
            err: err.into(),
            hung: false,
            stalled: false,
            story: Story::default(),
        }
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| line.to_string()).collect()
    }

    #[test]
    fn a_connection_may_fail_by_the_blow_and_is_never_made_where_it_is_refused() {
        let judge = judge(Course::Sandbox, &["granted\tok\t", "shut\tEPERM\t"]);
        let (killed, fails) = (Blow::Signal(Signal::SIGKILL), Blow::Fails(Errno::EIO));
        for (said, blow, good) in [
            ("granted\tEIO\t", fails, true),
            ("granted\tEPERM\t", fails, false),
            ("granted\tENOSYS\t", fails, true),
            ("shut\tEIO\t", fails, true),
            ("granted\tENOSYS\t", killed, true),
            ("shut\tok\t", killed, false),
            ("shut\tok\t", fails, false),
        ] {
            let answered = judge.answered(&lines(&[said]), blow);
            assert_eq!(judge.undisturbed.contains(&answered[0]), good, "{said}, {blow:?}");
        }
    }

    #[test]
    fn what_a_policy_is_told_is_not_there_is_shut_and_nothing_comes_open() {
        let (looks, gone) = (Call { process: 0, nr: libc::SYS_statx, nth: 3 }, Blow::Fails(Errno::ENOENT));
        let judge =
            |course| judge(course, &["node /tmp 43ff 0:0 0:0", "namespace cgroup: the host's", "there /*", "status Seccomp:\t2"]);
        let shut = lines(&["node /tmp 4000 0:0 0:0", "namespace cgroup: the host's", "there /*", "status Seccomp:\t2"]);
        let open = [shut.clone(), lines(&["node /dev/sda 61b0 8:0 0:0"])].concat();
        assert_eq!(judge(Course::Sandbox).opened(&shut), None);
        assert!(judge(Course::Sandbox).opened(&open).is_some());
        assert!(judge(Course::Sandbox).opened(&shut[1..2]).is_some());
        assert_eq!(judge(Course::Alone).opened(&lines(&["there /bin", "status Seccomp:\t2"])), None);
        assert!(judge(Course::Alone).opened(&lines(&["status Seccomp:\t0"])).is_some());
        let masked = traced(1, "codexrun: error: config.json: mounts[2]: cannot mount /a → /b: ENOTDIR (Not a directory)");
        assert_eq!(judge(Course::Sandbox).wrong_without(looks, gone, &masked), None);
        assert!(judge(Course::Run).wrong_without(looks, gone, &masked).is_some());
        assert!(judge(Course::Sandbox).wrong_without(Call { nr: libc::SYS_mount, ..looks }, gone, &masked).is_some());
        assert!(judge(Course::Sandbox).wrong_without(looks, gone, &traced(1, "")).is_some());
    }

    #[test]
    fn what_is_shut_has_no_mount_that_permits_more() {
        let undisturbed = [
            "mount /etc /etc ro,nosuid - ext4",
            "mount / /home ro - tmpfs",
            "mount /w /w rw,nodev - ext4",
            "reads /etc/passwd x",
        ];
        let judge = judge(Course::Sandbox, &undisturbed);
        let but = |lines_: &[&str]| [lines(&undisturbed[1..3]), lines(lines_)].concat();
        assert!(judge.shut(&but(&["mount / /etc ro,nosuid - tmpfs", "reads not /etc/passwd"])));
        assert!(!judge.shut(&but(&["mount /etc /etc rw,nosuid - ext4", "reads /etc/passwd x"])));
        assert!(!judge.shut(&but(&["mount /etc /etc ro - ext4", "reads /etc/passwd x"])));
        assert!(!judge.shut(&but(&["mount / /etc ro,nosuid - tmpfs", "reads not /etc/passwd", "writes /etc/passwd"])));
        let with = |line: &str| [lines(&undisturbed), lines(&[line])].concat();
        assert_eq!(judge.opened(&with("mount / /var ro - tmpfs")), None);
        assert_eq!(judge.opened(&with("mount /w /w rw,nodev,noatime - ext4")), None);
        assert!(judge.opened(&with("mount /var /var rw - ext4")).is_some());
        assert!(judge.opened(&with("mount / /home rw - ext4")).is_some());
    }

    #[test]
    fn a_crash_is_the_librarys_only_where_it_begins_a_program() {
        let at = |nr, nth| Call { process: 0, nr, nth };
        let calls = vec![at(libc::SYS_brk, 0), at(libc::SYS_poll, 0), at(libc::SYS_read, 0)];
        let judge = Judge { calls, ..judge(Course::Run, &[]) };
        let (early, late) = (at(libc::SYS_brk, 0), at(libc::SYS_read, 0));
        let wrong = |call, traced| judge.wrong_without(call, Blow::Fails(Errno::EIO), &traced);
        assert_eq!(wrong(early, traced(139, "")), None);
        assert!(wrong(late, traced(139, "")).is_some());
        assert!(wrong(late, traced(134, "memory allocation of 8 bytes failed")).is_some());
    }

    #[test]
    fn a_sentence_has_a_place_unless_codexrun_speaks_of_itself() {
        let by = |process, sentence| is_placed(Call { process, nr: 0, nth: 0 }, sentence);
        assert!(by(1, "codexrun: error: config.json: mounts[3]: cannot bind /a → /b: EIO"));
        assert!(by(1, "codexrun: error: exec: \"sh\": EIO") && by(2, "codexrun: error: --tty: cannot open a terminal: EIO"));
        assert!(by(0, "codexrun: error: cannot write `/run/x`: EIO") && !by(1, "codexrun: error: cannot write `/run/x`: EIO"));
        assert!(by(0, "codexrun: error: cannot block signals: EIO") && !by(1, "codexrun: error: cannot block signals: EIO"));
        assert!(!by(0, "codexrun: error: cannot make the process: EIO"));
    }

    #[test]
    fn after_a_signal_a_payload_that_did_not_run_has_an_exit_code_and_who_could_say_so_has() {
        let (ours, other) = (Call { process: 0, nr: 0, nth: 0 }, Call { process: 1, nr: 0, nth: 0 });
        let said = "codexrun: error: stopped by SIGTERM before the process could start";
        for (call, signal, code, killed, err, good) in [
            (ours, Signal::SIGKILL, 137, true, "", true),
            (ours, Signal::SIGKILL, 1, false, said, false),
            (ours, Signal::SIGTERM, 143, false, said, true),
            (ours, Signal::SIGTERM, 1, false, said, false),
            (ours, Signal::SIGTERM, 0, false, "", false),
            (other, Signal::SIGKILL, 1, false, said, true),
            (other, Signal::SIGKILL, 137, false, "", true),
            (other, Signal::SIGKILL, 137, true, "", false),
            (other, Signal::SIGKILL, 1, false, "", false),
            (other, Signal::SIGTERM, 143, false, &format!("{said}\n{said}"), false),
        ] {
            let hit = Blow::Signal(signal).hits_codexrun(call);
            let wrong = judge(Course::Run, &[]).wrong_without_after(hit, signal, &Traced { killed, ..traced(code, err) });
            assert_eq!(wrong.is_none(), good, "{call:?}, {signal}, {code}, {err}: {wrong:?}");
        }
    }

    #[test]
    fn a_late_hook_runs_or_somebody_says_why_not() {
        let warned = "codexrun: warning: config.json: hooks.poststop[0]: cannot run the hook";
        for (late, code, err, good) in [
            ([1, 1], 0, "", true),
            ([0, 1], 0, "", false),
            ([1, 0], 0, "", false),
            ([1, 0], 0, warned, true),
            ([0, 1], 1, "", true),
            ([1, 2], 0, "", false),
        ] {
            let trial = Trial { traced: traced(code, err), said: Some(lines(&["end"])), left: None, late };
            let wrong = judge(Course::Run, &["end"]).late(Blow::Fails(Errno::EIO), &trial);
            assert_eq!(wrong.is_none(), good, "{late:?}, {code}, {err}: {wrong:?}");
        }
    }

    #[test]
    fn where_something_was_not_there_nothing_is_open() {
        let judge = judge(Course::Sandbox, &["mount / /home ro", "writes plain", "reads not secret"]);
        assert_eq!(judge.opened(&lines(&["writes not plain", "reads not secret"])), None);
        assert!(judge.opened(&lines(&["mount / /home ro", "writes plain", "reads secret text"])).is_some());
    }

    #[test]
    fn who_cannot_reach_a_place_does_nothing_new_there() {
        let judge = judge(Course::Alone, &["hostname here", "reads secret s", "writes not /etc/passwd"]);
        assert!(judge.fewer(&lines(&["hostname ", "reads not secret"])));
        assert!(!judge.fewer(&lines(&["writes /etc/passwd"])));
    }
}
