//! Reads `linux.seccomp` into rules that cannot be wrong, or says everything that is wrong with it.

use super::arch::Abi;
use super::names::{self, Numbers};
use crate::Error;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use std::collections::BTreeMap;

/// A profile, understood.
pub(super) struct Profile<'a> {
    /// What a call gets that no rule speaks of: a `SECCOMP_RET_*` value.
    pub default: u32,
    /// In the order written; entries that say the same as the default are gone, as in runc.
    pub rules: Vec<Rule<'a>>,
    /// The greatest number that is named for each interface, whatever for, but at least [`UNORDERED`].
    newest: Numbers,
    /// Names that no architecture here knows, and where they stand.
    pub warnings: Vec<String>,
}

impl Profile<'_> {
    /// From where on numbers are newer than all that the profile speaks of, if that makes a difference: where the default is an errno,
    /// they get [`RET_ENOSYS`].
    pub(super) fn unheard(&self, abi: &Abi) -> Option<u32> {
        let is_errno = self.default & 0xffff_0000 == RET_ERRNO && self.default != RET_ENOSYS;
        is_errno.then(|| (self.newest[abi.column] + 1) as u32 | abi.marker)
    }
}

/// One entry of `syscalls`.
pub(super) struct Rule<'a> {
    /// Its index there.
    pub index: usize,
    /// What it decides: a `SECCOMP_RET_*` value.
    pub action: u32,
    /// The calls it speaks of.
    pub calls: Vec<(&'a str, &'static Numbers)>,
    /// It applies when all conditions of one of these hold; none at all is `[[]]`.
    pub alternatives: Vec<Vec<Cond>>,
}

impl Rule<'_> {
    /// Whether some of its alternatives asks for nothing; a mask without bits does not.
    fn is_unconditional(&self) -> bool {
        self.alternatives.iter().any(|conds| conds.iter().all(|cond| matches!(cond.test, Test::Masked { mask: 0, .. })))
    }
}

/// A test of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cond {
    /// 0 to 5.
    pub arg: u8,
    /// What it is compared with.
    pub test: Test,
}

/// `SCMP_CMP_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// Equal, or not if `false`.
    Is(bool, u64),
    /// Greater, or not if `false`.
    Above(bool, u64),
    /// Greater or equal, or not if `false`.
    AtLeast(bool, u64),
    /// Equal in the bits of the mask; `value` has no others.
    Masked {
        /// OCI `value`.
        mask: u64,
        /// OCI `valueTwo`.
        value: u64,
    },
}

/// The whole profile, or every reason why not.
pub(super) fn read(seccomp: &LinuxSeccomp) -> Result<Profile<'_>, Vec<Error>> {
    let mut errors = Vec::new();
    let mut warnings = Vec::new();
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())
        .unwrap_or_else(|what| refuse(&mut errors, "linux.seccomp.defaultErrnoRet".into(), what));
    let mut rules = Vec::new();
    for (index, call) in seccomp.syscalls().iter().flatten().enumerate() {
        match rule(index, call, &mut warnings) {
            Ok(rule) => rules.push(rule),
            Err(more) => errors.extend(more),
        }
    }
    let newest = newest(rules.iter().flat_map(|rule| &rule.calls).map(|(_, numbers)| *numbers));
    warnings.extend(idle_rules(&rules, default));
    rules.retain(|rule| rule.action != default);
    if errors.is_empty() { Ok(Profile { default, rules, newest, warnings }) } else { Err(errors) }
}

/// What is said of rules that say something else than another one of the same call which decides.
fn idle_rules(rules: &[Rule<'_>], default: u32) -> Vec<String> {
    let mut about: BTreeMap<&str, Vec<&Rule<'_>>> = BTreeMap::new();
    for rule in rules {
        for (name, _) in &rule.calls {
            let all = about.entry(name).or_default();
            // It may name it again and again.
            if all.last().is_none_or(|last| last.index != rule.index) {
                all.push(rule);
            }
        }
    }
    about.into_iter().flat_map(|(name, rules)| idle(name, &rules, default)).collect()
}

fn idle(name: &str, rules: &[&Rule<'_>], default: u32) -> Vec<String> {
    let decides = rules.iter().find(|rule| rule.action != default && rule.is_unconditional());
    let last = rules.iter().rposition(|rule| rule.action != default);
    let says = |(n, rule): (usize, &&Rule<'_>)| {
        let why = match (decides, last) {
            (Some(other), _) if rule.action != other.action => format!("[{}] decides, whatever the arguments are", other.index),
            // Where it stood behind all others it would say what then holds.
            (None, Some(last)) if rule.action == default && n < last => {
                format!("it says what `defaultAction` does, and [{}] something else", rules[last].index)
            }
            _ => return None,
        };
        Some(format!("linux.seccomp.syscalls[{}]: has no effect on `{name}`: {why}", rule.index))
    };
    rules.iter().enumerate().filter_map(says).collect()
}

/// Per interface. arm's private calls are no measure: their numbers are far above all others.
fn newest<'a>(named: impl Iterator<Item = &'a Numbers>) -> Numbers {
    named.fold([UNORDERED; 5], |newest, numbers| {
        std::array::from_fn(
            |column| if numbers[column] < ARM_PRIVATE { newest[column].max(numbers[column]) } else { newest[column] },
        )
    })
}

/// Since Linux 5.1 a new call has the next number, and the same one everywhere; up to this one they say nothing about age.
const UNORDERED: i32 = 423;
/// `__ARM_NR_BASE`.
const ARM_PRIVATE: i32 = 0x0f_0000;

/// Rules, each of which counts, whatever the default is.
pub(super) fn all(calls: &[LinuxSyscall]) -> Result<Vec<Rule<'_>>, Vec<Error>> {
    calls.iter().enumerate().map(|(index, call)| rule(index, call, &mut Vec::new())).collect()
}

fn refuse(errors: &mut Vec<Error>, place: String, what: String) -> u32 {
    errors.push(Error::new(what).at(place));
    RET_KILL_PROCESS
}

fn rule<'a>(index: usize, call: &'a LinuxSyscall, warnings: &mut Vec<String>) -> Result<Rule<'a>, Vec<Error>> {
    let here = |rest: &str| format!("linux.seccomp.syscalls[{index}].{rest}");
    let mut errors = Vec::new();
    let action = action(call.action(), call.errno_ret()).unwrap_or_else(|what| refuse(&mut errors, here("errnoRet"), what));
    if call.names().is_empty() {
        errors.push(Error::new("a rule needs at least one name").at(here("names")));
    }
    let mut calls = Vec::with_capacity(call.names().len());
    for (n, name) in call.names().iter().enumerate() {
        match names::numbers(name) {
            Some(numbers) => calls.push((name.as_str(), numbers)),
            None if name.is_empty() => errors.push(Error::new("a name is empty").at(here(&format!("names[{n}]")))),
            None => {
                warnings.push(format!("{}: no architecture has a system call `{name}`: skipped", here(&format!("names[{n}]"))))
            }
        }
    }
    let mut conds = Vec::new();
    for (n, arg) in call.args().iter().flatten().enumerate() {
        match cond(arg) {
            Ok(cond) => {
                warnings.extend(idle_value(arg).map(|what| format!("{}: {what}", here(&format!("args[{n}].valueTwo")))));
                conds.push(cond);
            }
            Err(error) => errors.push(error.at(here(&format!("args[{n}].index")))),
        }
    }
    if errors.is_empty() { Ok(Rule { index, action, calls, alternatives: alternatives(conds) }) } else { Err(errors) }
}

/// All conditions must hold, unless two speak of the same argument: then any one suffices, each being a rule of its own.
/// The specification is silent; runc and crun have always done so, and profiles count on it.
fn alternatives(mut conds: Vec<Cond>) -> Vec<Vec<Cond>> {
    let mut args: Vec<u8> = conds.iter().map(|cond| cond.arg).collect();
    args.sort_unstable();
    if args.windows(2).any(|pair| pair[0] == pair[1]) {
        return conds.into_iter().map(|cond| vec![cond]).collect();
    }
    conds.sort_by_key(|cond| cond.arg);
    vec![conds]
}

fn cond(arg: &LinuxSeccompArg) -> Result<Cond, Error> {
    let value = arg.value();
    let test = match arg.op() {
        Operator::ScmpCmpEq => Test::Is(true, value),
        Operator::ScmpCmpNe => Test::Is(false, value),
        Operator::ScmpCmpGt => Test::Above(true, value),
        Operator::ScmpCmpLe => Test::Above(false, value),
        Operator::ScmpCmpGe => Test::AtLeast(true, value),
        Operator::ScmpCmpLt => Test::AtLeast(false, value),
        // libseccomp's convention: the first datum is the mask.
        Operator::ScmpCmpMaskedEq => Test::Masked { mask: value, value: value & arg.value_two().unwrap_or(0) },
    };
    match u8::try_from(arg.index()) {
        Ok(arg @ 0..=5) => Ok(Cond { arg, test }),
        _ => Err(Error::new(format!("argument {} does not exist: a system call has 0 to 5", arg.index()))),
    }
}

/// What is said of a second value of which nothing, or not all, is compared.
fn idle_value(arg: &LinuxSeccompArg) -> Option<String> {
    let two = arg.value_two().unwrap_or(0);
    match arg.op() {
        Operator::ScmpCmpMaskedEq if two & !arg.value() != 0 => {
            Some(format!("the bits 0x{:x} have no effect: the mask `value` lacks them", two & !arg.value()))
        }
        Operator::ScmpCmpMaskedEq => None,
        other => (two != 0).then(|| format!("has no effect: `{other}` compares with `value` alone")),
    }
}

/// `SECCOMP_RET_KILL_PROCESS`.
pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;
/// `SECCOMP_RET_ERRNO`.
const RET_ERRNO: u32 = 0x0005_0000;
/// "There is no such call", as a kernel would say that is as old as the profile.
pub(super) const RET_ENOSYS: u32 = RET_ERRNO | 38;
/// `SECCOMP_RET_USER_NOTIF`.
pub(super) const RET_NOTIFY: u32 = 0x7fc0_0000;

const EPERM: u32 = 1;
/// `MAX_ERRNO`: the kernel silently lowers a greater one to this.
const MAX_ERRNO: u32 = 4095;

/// The `SECCOMP_RET_*` value of an action. An `errnoRet` that the action cannot return is refused, as the
/// specification demands.
fn action(action: Action, errno: Option<u32>) -> Result<u32, String> {
    let (code, most) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (0, None),
        Action::ScmpActKillProcess => (RET_KILL_PROCESS, None),
        Action::ScmpActTrap => (0x0003_0000, None),
        Action::ScmpActErrno => (RET_ERRNO, Some(MAX_ERRNO)),
        Action::ScmpActNotify => (RET_NOTIFY, None),
        Action::ScmpActTrace => (0x7ff0_0000, Some(0xffff)),
        Action::ScmpActLog => (0x7ffc_0000, None),
        Action::ScmpActAllow => (0x7fff_0000, None),
    };
    match (most, errno) {
        (None, None) => Ok(code),
        (None, Some(_)) => Err(format!("`{action}` returns no errno")),
        (Some(most), Some(errno)) if errno > most => Err(format!("{errno} is greater than {most}")),
        (Some(_), errno) => Ok(code | errno.unwrap_or(EPERM)),
    }
}

/// The flags as bits of seccomp(2). `notify` says whether the program can answer `SECCOMP_RET_USER_NOTIF`.
pub(super) fn flags(flags: &[Flag], notify: bool) -> u32 {
    let listener = if notify { NEW_LISTENER } else { 0 };
    flags.iter().fold(listener, |bits, flag| bits | bit(*flag, notify))
}

/// What is said of flags that come to nothing. (TSYNC does: with one thread all are in step.)
pub(super) fn idle_flags(flags: &[Flag], notify: bool) -> impl Iterator<Item = String> {
    let idle = flags.iter().enumerate().filter(move |(_, flag)| !notify && **flag == Flag::SeccompFilterFlagWaitKillableRecv);
    idle.map(|(i, flag)| format!("linux.seccomp.flags[{i}]: `{flag}` has no effect, as no action is `SCMP_ACT_NOTIFY`"))
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
const NEW_LISTENER: u32 = 1 << 3;

fn bit(flag: Flag, notify: bool) -> u32 {
    match flag {
        // The filter is loaded by a process of one thread: nothing to synchronise, and the kernel refuses TSYNC
        // together with a listener.
        Flag::SeccompFilterFlagTsync => 0,
        Flag::SeccompFilterFlagLog => 1 << 1,
        Flag::SeccompFilterFlagSpecAllow => 1 << 2,
        // Says how to wait for a listener; EINVAL where there is none.
        Flag::SeccompFilterFlagWaitKillableRecv => u32::from(notify) << 5,
    }
}
