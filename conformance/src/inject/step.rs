//! Which step of the plan a sentence tells, and whether that is the one which has failed. `codexrun plan` lists the steps, each with its words
//! and its place, and a process makes them in that order: so what is told of its calls comes in that order too. Calls that only one kind of
//! step makes ([`MARKS`]) leave little room for another, however few of the others are made to fail.

use super::tracer::Call;
use std::cell::RefCell;
use std::collections::HashSet;

/// The child's steps in order, and what its parent does.
#[derive(Debug, Default)]
pub struct Listing {
    steps: Vec<Step>,
    /// Of the parent's; it may tell a place inside one, or around it.
    places: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Step {
    stage: String,
    what: String,
    place: String,
}

/// Between a step and its place.
const PLACE: &str = "  # ";

/// Indent, stage, and what is between that and a step's words.
const STAGE: usize = 2 + 12 + 2;

impl Listing {
    /// As `codexrun plan` prints it.
    pub fn of(text: &str) -> Listing {
        let (mut listing, mut column) = (Listing::default(), "");
        for line in text.lines() {
            let Some((step, place)) = line.rsplit_once(PLACE).filter(|_| line.starts_with("  ")) else {
                column = line;
                continue;
            };
            let what = step.get(STAGE..).unwrap_or_default();
            match column {
                // A variable of the environment's.
                "child" if what.starts_with("  with ") => {}
                "child" => {
                    let stage = step.get(..STAGE).unwrap_or_default().trim();
                    listing.steps.push(Step { stage: stage.into(), what: what.trim_end().into(), place: place.into() });
                }
                _ => listing.places.push(place.into()),
            }
        }
        listing
    }

    /// With the steps of one that is recorded by `verb`, which `codexrun plan` does not list, as it knows of no record.
    pub fn recorded(mut self, verb: &str) -> Listing {
        let next = self.steps.iter().position(|step| AFTER_READY.contains(&&*step.stage)).unwrap_or(self.steps.len());
        if self.steps.iter().all(|step| step.stage != READY.0) {
            let step = |(what, place): &(&str, Option<&str>)| Step {
                stage: READY.0.into(),
                what: (*what).into(),
                place: place.unwrap_or(verb).into(),
            };
            self.steps.splice(next..next, READY.1.iter().map(step));
        }
        if let Some(entered) = self.steps.iter().rposition(|step| step.stage == "cgroup") {
            let (what, place) = ("run on all CPUs of the cgroup".into(), "linux.cgroupsPath".into());
            self.steps.insert(entered + 1, Step { stage: "cgroup".into(), what, place });
        }
        self.places.push(verb.into());
        self
    }

    /// Which of the child's steps it may be that a sentence tells.
    fn told(&self, sentence: &str) -> Vec<usize> {
        let tells = |step: &Step| match in_config(sentence) {
            Some(said) => {
                said.strip_prefix(&*step.place).and_then(|said| said.strip_prefix(": ")).is_some_and(|said| step.is(said))
            }
            None => EXEC.iter().any(|words| sentence.starts_with(words)) && step.place == "process.args",
        };
        self.steps.iter().enumerate().filter(|(_, step)| tells(step)).map(|(n, _)| n).collect()
    }

    /// Whether a step of either's is at the place that a sentence tells.
    fn has_place(&self, sentence: &str) -> bool {
        has_place(&self.places, sentence) || has_place(self.steps.iter().map(|step| &step.place), sentence)
    }

    /// Those whose words begin with one of these.
    fn beginning(&self, words: &[&str]) -> Vec<usize> {
        let begins = |step: &Step| words.iter().any(|words| step.what.starts_with(words));
        (0..self.steps.len()).filter(|n| begins(&self.steps[*n])).collect()
    }
}

/// How a process is handed over (`docs/order.md`), and the stages that come next.
const READY: (&str, [(&str, Option<&str>); 4]) = (
    "ready",
    [("find the program", Some("process.args")), ("tell ready", None), ("wait for start", None), ("wait for `start`", None)],
);
const AFTER_READY: [&str; 3] = ["privileges", "init", "session"];

/// Whether one of these is the place that a sentence tells, or around or in it.
fn has_place<'p>(places: impl IntoIterator<Item = &'p String>, sentence: &str) -> bool {
    let Some(said) = in_config(sentence) else { return false };
    let told = said.split(": ").next().unwrap_or_default();
    let within =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    places.into_iter().any(|place| within(told, place) || within(place, told))
}

/// What is said of a config.json, from the place in it on; none of one that cannot be read.
pub fn in_config(sentence: &str) -> Option<&str> {
    let (file, said) = sentence.strip_prefix("codexrun: error: ")?.split_once("config.json: ")?;
    let named = file.is_empty() || file.starts_with('/') && !file.contains(": ");
    (named && !said.starts_with(UNREADABLE)).then_some(said)
}

/// Of the whole file.
const UNREADABLE: &str = "cannot be read: ";

/// Of an interpreter that is missing it is `exec FILE`, of all else `exec: "FILE"`.
const EXEC: [&str; 2] = ["codexrun: error: exec: \"", "codexrun: error: exec "];

impl Step {
    /// Whether it is what was said that cannot be done, or the hook that has failed.
    fn is(&self, said: &str) -> bool {
        let cannot = said.strip_prefix("cannot ").and_then(|said| said.strip_prefix(&*self.what));
        let hook = || {
            self.what.starts_with("run ") && ["the hook `", "cannot run the hook `"].iter().any(|words| said.starts_with(words))
        };
        cannot.is_some_and(|rest| rest.is_empty() || rest.starts_with(": ")) || hook()
    }
}

/// Calls, and how the steps begin that alone make them.
const MARKS: &[(i64, &[&str])] = &[
    (libc::SYS_ioprio_set, &["set I/O priority "]),
    (libc::SYS_keyctl, &["join a new session keyring"]),
    (libc::SYS_landlock_restrict_self, &["restrict to what is permitted"]),
    (libc::SYS_personality, &["set personality "]),
    (libc::SYS_pivot_root, &["pivot"]),
    (libc::SYS_sched_setattr, &["set scheduler "]),
    (libc::SYS_set_mempolicy, &["set memory policy "]),
    (libc::SYS_setdomainname, &["set domainname "]),
    (libc::SYS_setgroups, &["set groups "]),
    (libc::SYS_sethostname, &["set hostname "]),
    (libc::SYS_setresgid, &["set gid "]),
    (libc::SYS_setresuid, &["set uid "]),
    (libc::SYS_setsid, &["start a new session", "fork; PID 1 "]),
    (libc::SYS_symlinkat, &["symlink "]),
];

/// How the steps begin that alone make calls of this number.
fn mark(nr: i64) -> Option<&'static [&'static str]> {
    MARKS.iter().find(|(marked, _)| *marked == nr).map(|(_, words)| *words)
}

/// The container's first process.
const FIRST: usize = 1;

/// The order in which the calls of a course have to be told.
pub struct Order {
    listing: Option<Listing>,
    calls: Vec<Call>,
    /// The processes that make the steps, one after the other; what others fail at is told by a step that needs them.
    makers: HashSet<usize>,
    /// Which step it may have been that each call was told as.
    told: RefCell<Vec<(Call, Vec<usize>)>>,
}

impl Order {
    /// Of an undisturbed launch; `payloads` are processes that became another program, and their parents. Without a listing (`exec` has none)
    /// only what alone makes a call is known.
    pub fn new(calls: &[Call], payloads: HashSet<usize>) -> Order {
        let makers = payloads.into_iter().chain([FIRST]).collect();
        Order { listing: None, calls: calls.into(), makers, told: RefCell::default() }
    }

    /// The same with a listing.
    pub fn of(self, listing: Option<Listing>) -> Order {
        Order { listing, ..self }
    }

    /// What is wrong with the sentence about a call of the child's.
    pub fn wrong(&self, call: Call, sentence: &str) -> Option<String> {
        let Some(listing) = &self.listing else { return unmarked(call.nr, sentence) };
        let steps = listing.told(sentence);
        if steps.is_empty() {
            // The keeper, or whoever waits for the process, tells a step of the parent's.
            return (!has_place(&listing.places, sentence)).then(|| "tells no step of the plan".into());
        }
        if !self.makers.contains(&call.process) {
            return None;
        }
        let mut told = self.told.borrow_mut();
        told.push((call, steps));
        if in_order(&self.known(listing, call.process, &told)) {
            return None;
        }
        told.pop();
        let known = self.known(listing, call.process, &told);
        Some(format!("tells a step that another call makes: {}", around(listing, &known, self.place_of(call))))
    }

    /// What is wrong with the place in a sentence of codexrun's own process.
    pub fn unknown_place(&self, sentence: &str) -> Option<String> {
        let known = in_config(sentence).is_none() || self.listing.as_ref().is_none_or(|listing| listing.has_place(sentence));
        (!known).then(|| "tells a place that the plan does not have".into())
    }

    fn place_of(&self, call: Call) -> Option<usize> {
        self.calls.iter().position(|one| *one == call)
    }

    /// The calls of a process of which something is known, in their order: by what they are, and by what was told of them.
    fn known(&self, listing: &Listing, process: usize, told: &[(Call, Vec<usize>)]) -> Vec<(usize, Vec<usize>)> {
        let own = |nr: i64| {
            self.calls.iter().enumerate().filter(move |(_, one)| one.process == process && one.nr == nr).map(|(at, _)| at)
        };
        let marked = MARKS.iter().flat_map(|(nr, words)| {
            let (calls, steps): (Vec<usize>, _) = (own(*nr).collect(), listing.beginning(words));
            // One for each, or any for any.
            let one_each = calls.len() == steps.len();
            calls
                .into_iter()
                .enumerate()
                .map(move |(n, at)| (at, if one_each { vec![steps[n]] } else { steps.clone() }))
                .collect::<Vec<_>>()
        });
        let told = told.iter().filter(|(call, _)| call.process == process);
        let told = told.filter_map(|(call, steps)| Some((self.place_of(*call)?, steps.clone())));
        let mut all: Vec<(usize, Vec<usize>)> = marked.chain(told).collect();
        all.sort();
        all
    }
}

/// Whether each call can be of a step that is not before the one of the call before it, and each of one step alone.
fn in_order(known: &[(usize, Vec<usize>)]) -> bool {
    let mut at = 0;
    known.chunk_by(|a, b| a.0 == b.0).all(|same| {
        let fits = |step: &&usize| **step >= at && same.iter().all(|(_, steps)| steps.contains(step));
        let step = same[0].1.iter().filter(fits).min();
        at = step.copied().unwrap_or(at);
        step.is_some()
    })
}

/// What is known of the calls around one, for who has to find out.
fn around(listing: &Listing, known: &[(usize, Vec<usize>)], place: Option<usize>) -> String {
    let name = |known: Option<&(usize, Vec<usize>)>| {
        let step = known.and_then(|(_, steps)| listing.steps.get(*steps.first()?));
        step.map_or("nothing".into(), |step| format!("`{}`", step.what))
    };
    let place = place.unwrap_or_default();
    let (before, after) = (known.iter().rfind(|one| one.0 <= place), known.iter().find(|one| one.0 >= place));
    format!("it lies between {} and {}", name(before), name(after))
}

/// What is wrong with a sentence about a call that only one kind of step makes.
fn unmarked(nr: i64, sentence: &str) -> Option<String> {
    let words = mark(nr)?;
    let said = words.iter().any(|words| sentence.contains(&format!(": cannot {words}")));
    (!said).then(|| format!("tells another step than `{}`", words.join("` or `")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "parent
  make the cgroup                       # linux.cgroupsPath
  run createRuntime /h                  # hooks.createRuntime
child
  mounts        mount proc → /proc      # mounts[0]
  mounts        mount tmpfs → /dev      # mounts[1]
  devices       symlink /dev/fd → x     # default devices
  devices       symlink /dev/in → y     # default devices
  hostname      set hostname inside     # hostname
  hooks         run startContainer /h   # hooks.startContainer[0]
  exec          exec sh                 # process.args
  exec            with A=b  # process.env
after
  run poststart /h                      # hooks.poststart
";

    #[test]
    fn a_file_that_cannot_be_read_has_no_place_in_it() {
        assert_eq!(in_config("codexrun: error: /b/config.json: root.path: is no directory"), Some("root.path: is no directory"));
        assert_eq!(in_config("codexrun: error: config.json: hostname: EIO"), Some("hostname: EIO"));
        assert_eq!(in_config("codexrun: error: /r/a/config.json: cannot be read: try again"), None);
        assert_eq!(in_config("codexrun: error: exec: config.json: EIO"), None);
    }

    const CALLS: [Call; 7] = [
        call(libc::SYS_fsopen, 0),
        call(libc::SYS_fsopen, 1),
        call(libc::SYS_symlinkat, 0),
        call(libc::SYS_symlinkat, 1),
        call(libc::SYS_sethostname, 0),
        call(libc::SYS_clone, 0),
        call(libc::SYS_execve, 0),
    ];

    const fn call(nr: i64, nth: usize) -> Call {
        Call { process: 1, nr, nth }
    }

    fn order() -> Order {
        Order::new(&CALLS, HashSet::new()).of(Some(Listing::of(PLAN)))
    }

    fn cannot(place: &str, what: &str) -> String {
        format!("codexrun: error: config.json: {place}: cannot {what}: EIO (Input/output error)")
    }

    #[test]
    fn the_step_that_has_failed_is_told_by_its_place_and_its_words() {
        let order = order();
        let good = |nr: usize, sentence: &str| assert_eq!(order.wrong(CALLS[nr], sentence), None, "{sentence}");
        good(0, &cannot("mounts[0]", "mount proc → /proc"));
        good(1, &cannot("mounts[1]", "mount tmpfs → /dev"));
        good(3, &cannot("default devices", "symlink /dev/in → y"));
        good(4, &cannot("hostname", "set hostname inside"));
        good(5, "codexrun: error: /b/config.json: hooks.startContainer[0]: the hook `/h` failed: EIO");
        good(6, "codexrun: error: exec: \"sh\": EIO");
        assert!(order.wrong(CALLS[0], &cannot("mounts[1]", "mount proc → /proc")).is_some());
        assert!(order.wrong(CALLS[0], &cannot("mounts[7]", "mount tmpfs → /x")).is_some());
        assert!(order.wrong(CALLS[0], &cannot("mounts[0]", "mount proc → /procs")).is_some());
    }

    #[test]
    fn one_that_is_recorded_is_handed_over_before_it_has_a_session() {
        let plan =
            "child\n  cwd           chdir /          # process.cwd\n  session       start a new session  # process.terminal\n";
        let places = |listing: &Listing| listing.steps.iter().map(|step| step.place.clone()).collect::<Vec<_>>();
        let recorded = Listing::of(plan).recorded("run");
        assert_eq!(places(&recorded), ["process.cwd", "process.args", "run", "run", "run", "process.terminal"]);
        assert_eq!(recorded.told("codexrun: error: exec: \"sh\": EIO"), [1]);
        assert_eq!(recorded.told(&cannot("run", "wait for start")), [3]);
    }

    #[test]
    fn a_step_that_comes_before_or_after_what_is_known_is_not_the_one() {
        let mount = |n: usize| [cannot("mounts[0]", "mount proc → /proc"), cannot("mounts[1]", "mount tmpfs → /dev")][n].clone();
        let wrong = |nr: usize, sentence: &str| order().wrong(CALLS[nr], sentence).is_some();
        // By what a call is.
        assert!(wrong(4, &mount(1)) && wrong(5, &mount(1)) && wrong(0, &cannot("hostname", "set hostname inside")));
        assert!(wrong(2, &cannot("default devices", "symlink /dev/in → y")));
        assert!(wrong(3, &cannot("default devices", "symlink /dev/fd → x")));
        // By what was told of another.
        let order = order();
        assert_eq!(order.wrong(CALLS[0], &mount(1)), None);
        assert!(order.wrong(CALLS[1], &mount(0)).is_some());
    }

    #[test]
    fn another_process_may_tell_a_step_of_the_parents_and_no_other() {
        let order = order();
        assert_eq!(order.wrong(CALLS[0], &cannot("hooks.createRuntime[0]", "run it")), None);
        assert_eq!(order.unknown_place(&cannot("linux.cgroupsPath", "make it")), None);
        assert!(order.unknown_place(&cannot("linux.cgroupsPaths", "make it")).is_some());
        assert!(order.wrong(CALLS[0], &cannot("linux.seccomp", "load it")).is_some());
        // A step of the first process, which has waited for it.
        let broker = Call { process: 3, ..CALLS[4] };
        assert_eq!(order.wrong(broker, &cannot("mounts[0]", "mount proc → /proc")), None);
    }

    #[test]
    fn without_a_listing_a_call_that_one_kind_of_step_makes_is_told_as_that() {
        let order = Order::new(&CALLS, HashSet::new());
        assert_eq!(order.wrong(call(libc::SYS_setresuid, 0), &cannot("process.user.uid", "set uid 7")), None);
        assert!(order.wrong(call(libc::SYS_setresuid, 0), &cannot("process.user.gid", "set gid 7")).is_some());
        assert_eq!(order.wrong(CALLS[0], &cannot("anything", "do")), None);
    }
}
