//! The rest of `process`: arguments, environment, working directory, limits, session.

use super::op::{Exec, Op, ParentOp, UnixStreams};
use super::order::Stage;
use super::place::{c_path, c_string, not_too_long};
use super::{Draft, ParentStep};
use crate::sys::file::Resolve;
use oci_spec::runtime::{PosixRlimitType as Limit, Process, Spec};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::path::Path;

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(process) = spec.process() else {
        return draft.refuse("process", "is missing: there is nothing to run");
    };
    exec(draft, process);
    cwd(draft, process);
    limits(draft, process);
    super::schedule::plan(draft, spec);
    super::label::plan(draft, spec);
    // As runc and crun do: no controlling terminal but its own, into which it could push input (TIOCSTI).
    draft.step(Stage::Session, Op::Session, "process.terminal");
    draft.step(Stage::Descriptors, Op::CloexecFrom(draft.options.preserve_fds.saturating_add(3)), "run");
    // Before the filter, which need not permit dup2(2).
    let relays = |step: &ParentStep| matches!(step.op, ParentOp::Streams { unix: UnixStreams::Relayed, .. });
    if let Some(origin) = draft.streams.as_ref().filter(|step| relays(step)).map(|step| step.origin.clone()) {
        draft.step(Stage::Descriptors, Op::TakeRelay, origin);
    }
    draft.step(Stage::Signals, Op::Signals, "run");
}

fn exec(draft: &mut Draft, process: &Process) {
    let args = process.args().as_deref().unwrap_or_default();
    let Some(name) = args.first().filter(|a| !a.is_empty()) else {
        return draft.refuse("process.args", "is empty: there is nothing to run");
    };
    variables(draft, process);
    let env = &home(draft, process);
    let candidates = candidates(name, env);
    too_long(draft, "process.args", args);
    too_long(draft, "process.env", process.env().as_deref().unwrap_or_default());
    too_much(draft, process, args, env);
    draft.take("process.args[0]", not_too_long(Path::new(name)));
    let strings = |list: &[String]| list.iter().map(|s| c_string(s.as_bytes())).collect::<crate::Result<Vec<CString>>>();
    let args = draft.take("process.args", strings(args));
    let candidates = draft.take("process.args[0]", strings(&candidates));
    let env = draft.take("process.env", strings(env));
    if let (Some(args), Some(env), Some(candidates)) = (args, env, candidates) {
        draft.step(Stage::Exec, Op::Exec(Exec { args, env, candidates }), "process.args");
    }
}

/// Refuses what execve(2) takes of nobody as one string (`MAX_ARG_STRLEN`: 32 pages, its NUL among them).
pub(super) fn too_long(draft: &mut Draft, place: &str, list: &[String]) {
    let most = 32 * draft.host.page - 1;
    for (i, text) in list.iter().enumerate().filter(|(_, text)| text.len() > most) {
        draft.refuse(format!("{place}[{i}]"), format!("has {} bytes, and execve(2) takes {most}", text.len()));
    }
}

/// Refuses more than execve(2) takes of all of them: a quarter of what the stack may be (`bprm_stack_limits` of the kernel).
fn too_much(draft: &mut Draft, process: &Process, args: &[String], env: &[String]) {
    let stack = process.rlimits().iter().flatten().find(|limit| limit.typ() == Limit::RlimitStack);
    let room = (stack.map_or(draft.host.stack, |limit| limit.soft()) / 4).clamp(LEAST_ROOM, MOST_ROOM);
    let bytes = weight(args.iter().chain(env));
    if bytes > room {
        let room = format!("{room}: a quarter of RLIMIT_STACK, from {LEAST_ROOM} to {MOST_ROOM}");
        draft.refuse("process", format!("`args` and `env` take {bytes} bytes, and execve(2) has room for {room}"));
    }
}

/// Bytes for arguments and environment: `ARG_MAX`, and three quarters of `_STK_LIM`.
pub(crate) const LEAST_ROOM: u64 = 128 << 10;
const MOST_ROOM: u64 = 6 << 20;

/// What execve(2) counts: the strings with their NULs, and a pointer to each.
pub(crate) fn weight<'a>(words: impl Iterator<Item = &'a String>) -> u64 {
    words.map(|word| (word.len() + 1 + size_of::<usize>()) as u64).sum()
}

/// environ(7) and IEEE Std 1003.1, by which the specification goes, know `NAME=value`: by another string no program finds anything, and
/// one beside `NAME=value` would take its place.
fn variables(draft: &mut Draft, process: &Process) {
    let env = process.env().as_deref().unwrap_or_default();
    for (i, entry) in env.iter().enumerate().filter(|(_, entry)| !entry.contains('=')) {
        draft.refuse(format!("process.env[{i}]"), format!("`{}` is no variable: it has no `=`", entry.escape_debug()));
    }
    // What `exec --env` adds goes before what the container has.
    if draft.joins {
        return;
    }
    let mut last = HashMap::new();
    for (i, entry) in env.iter().enumerate().rev() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        match last.get(name) {
            Some(&(later, other)) if other != value => {
                let what = format!("`{}` has no effect: [{later}] gives it another value", name.escape_debug());
                draft.warnings.push(format!("config.json: process.env[{i}]: {what}"));
            }
            Some(_) => {}
            None => drop(last.insert(name, (i, value))),
        }
    }
}

/// The environment, each variable once and without an empty `HOME`. Engines leave that one to the runtime, as runc and crun set it;
/// what a policy says of the environment is all of it.
fn home(draft: &mut Draft, process: &Process) -> Vec<String> {
    let env = once(process.env().iter().flatten().chain(&draft.options.listen).cloned().collect());
    if draft.init || env.iter().any(|e| e.strip_prefix("HOME=").is_some_and(|home| !home.is_empty())) {
        return env;
    }
    draft.step(Stage::Home, Op::Home(process.user().uid()), "process.env");
    env.into_iter().filter(|e| e != "HOME=").collect()
}

/// Of a variable that is named twice the last value counts, as with runc and crun: which of two a program takes is its own affair.
fn once(env: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut last: Vec<String> = env.iter().rev().filter(|e| seen.insert(e.split('=').next())).cloned().collect();
    last.reverse();
    last
}

/// What execvp(3) would try: the name itself when it has a slash, else one path for each directory of `$PATH`.
fn candidates(name: &str, env: &[String]) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("/bin:/usr/bin");
    let join = |dir: &str| if dir.is_empty() { format!("./{name}") } else { format!("{}/{name}", dir.trim_end_matches('/')) };
    path.split(':').map(join).collect()
}

fn cwd(draft: &mut Draft, process: &Process) {
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        return draft.refuse("process.cwd", format!("`{}` is not an absolute path", cwd.display()));
    }
    if let Some(cwd) = draft.take("process.cwd", c_path(cwd)) {
        make_cwd(draft, process);
        if !draft.init {
            draft.step(Stage::Enter, Op::Enter(cwd.clone()), "process.cwd");
        }
        draft.step(Stage::Cwd, Op::Chdir(cwd), "process.cwd");
    }
}

/// An image need not have it: runc and crun make it too. A policy's working directory is one that it shows, and in a container that is
/// there nothing is made.
fn make_cwd(draft: &mut Draft, process: &Process) {
    if draft.joins || draft.resolve == Resolve::NoLinks {
        return;
    }
    if let Some(at) = draft.at("process.cwd", process.cwd()).filter(|at| !at.is_root()) {
        draft.step(Stage::MakeCwd, Op::Dir(at), "process.cwd");
    }
}

fn limits(draft: &mut Draft, process: &Process) {
    for (i, limit) in process.rlimits().iter().flatten().enumerate() {
        let op = Op::Rlimit { resource: resource(limit.typ()), soft: limit.soft(), hard: limit.hard() };
        if let Some(first) = process.rlimits().iter().flatten().take(i).position(|earlier| earlier.typ() == limit.typ()) {
            draft.refuse(format!("process.rlimits[{i}].type"), format!("`{}` stands in [{first}] already", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            draft.refuse(format!("process.rlimits[{i}]"), "`soft` is above `hard`");
        }
        draft.step(Stage::Limits, op, format!("process.rlimits[{i}]"));
    }
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        draft.refuse("process.oomScoreAdj", format!("{score} is not from -1000 to 1000"));
    } else if let Some(score) = process.oom_score_adj()
        && let Ok(text) = c_string(score.to_string().as_bytes())
    {
        // Through the host's /proc; the container's could be anything. As long as the file is the process's own.
        let origin = "process.oomScoreAdj";
        if score_before_clone(draft, &text) {
            draft.before.insert(0, ParentStep { op: ParentOp::OomScore(text), origin: origin.to_owned() });
        } else {
            draft.step(Stage::Guard, Op::OomScore(text), origin);
        }
    }
}

/// Whether the score has to be there before the clone: an ordinary user's undumpable process has a file that is root's, and in a user
/// namespace nobody has the power that lowering it takes (CAP_SYS_RESOURCE of the initial one).
fn score_before_clone(draft: &Draft, score: &CStr) -> bool {
    let undumpable = draft.before.iter().any(|step| step.op == ParentOp::Undumpable);
    let lowered = score.to_bytes().starts_with(b"-") && draft.spaces.own(libc::CLONE_NEWUSER);
    !draft.joins && if draft.host.uid == 0 { lowered } else { undumpable }
}

fn resource(limit: Limit) -> u32 {
    match limit {
        Limit::RlimitCpu => libc::RLIMIT_CPU,
        Limit::RlimitFsize => libc::RLIMIT_FSIZE,
        Limit::RlimitData => libc::RLIMIT_DATA,
        Limit::RlimitStack => libc::RLIMIT_STACK,
        Limit::RlimitCore => libc::RLIMIT_CORE,
        Limit::RlimitRss => libc::RLIMIT_RSS,
        Limit::RlimitNproc => libc::RLIMIT_NPROC,
        Limit::RlimitNofile => libc::RLIMIT_NOFILE,
        Limit::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        Limit::RlimitAs => libc::RLIMIT_AS,
        Limit::RlimitLocks => libc::RLIMIT_LOCKS,
        Limit::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        Limit::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        Limit::RlimitNice => libc::RLIMIT_NICE,
        Limit::RlimitRtprio => libc::RLIMIT_RTPRIO,
        Limit::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

#[cfg(test)]
mod tests {
    use super::{candidates, once};

    #[test]
    fn a_name_without_a_slash_is_looked_up_in_the_containers_path() {
        let env = ["PATH=/old".to_owned(), "PATH=/a/::/b".to_owned()];
        assert_eq!(candidates("x", &env), ["/a/x", "./x", "/b/x"]);
        assert_eq!(candidates("./x", &env), ["./x"]);
        assert_eq!(candidates("x", &[]), ["/bin/x", "/usr/bin/x"]);
    }

    #[test]
    fn of_a_variable_that_is_named_twice_the_last_value_counts() {
        let env = ["A=1", "AB=2", "A=3", "A=", "B=", "A=x=y"].map(String::from).to_vec();
        assert_eq!(once(env), ["AB=2", "B=", "A=x=y"].map(String::from));
    }
}
