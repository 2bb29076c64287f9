//! What one binary interface does with each system call number.

use super::arch::{self, Abi};
use super::rules::{Cond, Profile, Rule, Test};
use crate::Error;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What a number gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Whatever the arguments are.
    Always(u32),
    /// The action of the first line whose conditions all hold, else the default.
    First(Vec<(Vec<Cond>, u32)>),
}

/// A rule as it applies to one number.
struct Line<'a> {
    number: u32,
    rule: &'a Rule<'a>,
    name: &'a str,
    conds: Vec<Cond>,
    /// By `socketcall` or `ipc`.
    carried: bool,
}

/// Calls times conditions that rules may speak of, many times what a filter has room for: a few names and conditions, each with each,
/// would fill the memory.
const MOST: usize = 1 << 17;

fn too_many() -> Error {
    let what = format!("the rules speak of more than {MOST} calls, each with its conditions");
    Error::new(what).at("linux.seccomp.syscalls").hint("the kernel takes a filter of 4096 instructions")
}

/// Every number that a rule speaks of, ascending.
pub(super) fn decide(abi: &Abi, profile: &Profile<'_>) -> Result<Vec<(u32, Decision)>, Vec<Error>> {
    let mut lines = Vec::new();
    for rule in &profile.rules {
        if lines.len() + rule.calls.len().saturating_mul(rule.alternatives.len()) > MOST {
            return Err(vec![too_many()]);
        }
        expand(abi, rule, &mut lines);
    }
    lines.sort_by_key(|line| line.number); // stable: what was written first stays first
    let mut errors = Vec::new();
    let mut decisions = Vec::with_capacity(lines.len());
    for lines in lines.chunk_by(|a, b| a.number == b.number) {
        match decision(lines) {
            Ok(decision) => decisions.push((lines[0].number, decision)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(decisions) } else { Err(errors) }
}

/// Adds what a rule means on this interface.
fn expand<'a>(abi: &Abi, rule: &'a Rule<'a>, lines: &mut Vec<Line<'a>>) {
    for (name, numbers) in &rule.calls {
        for conds in &rule.alternatives {
            let mut push = |number, conds, carried| {
                let conds = if abi.narrow { narrow(conds) } else { drop_empty(conds) };
                lines.push(Line { number, rule, name, conds, carried });
            };
            if let Ok(number) = u32::try_from(numbers[abi.column]) {
                push(number | abi.marker, conds.clone(), false);
            }
            if abi.multiplexed
                && let Some((number, conds)) = carried(name, conds)
            {
                push(number, conds, true);
            }
        }
    }
}

/// The same rule for i386's `socketcall` or `ipc`: the first argument is the number of the call, whatever the rule says
/// of it, since BPF cannot follow the pointer to the real arguments. Conditions on the others stay, as in libseccomp,
/// though they see that pointer: who must filter such arguments leaves `SCMP_ARCH_X86` out.
fn carried(name: &str, conds: &[Cond]) -> Option<(u32, Vec<Cond>)> {
    let (carrier, call) = arch::carrier(name)?;
    let mut carried = vec![Cond { arg: 0, test: Test::Masked { mask: carrier.mask, value: call } }];
    carried.extend(conds.iter().filter(|cond| cond.arg != 0));
    Some((carrier.number, carried))
}

/// A 32-bit interface has 32-bit arguments: the upper half of what the profile says is ignored, as in libseccomp.
fn narrow(conds: Vec<Cond>) -> Vec<Cond> {
    let low = |value: u64| value & 0xffff_ffff;
    let test = |test| match test {
        Test::Is(yes, value) => Test::Is(yes, low(value)),
        Test::Above(yes, value) => Test::Above(yes, low(value)),
        Test::AtLeast(yes, value) => Test::AtLeast(yes, low(value)),
        // The same test in the same words, so that two rules that mean the same are seen to.
        Test::Masked { mask, value } if low(mask) == low(u64::MAX) => Test::Is(true, low(value)),
        Test::Masked { mask, value } => Test::Masked { mask: low(mask), value: low(value) },
    };
    drop_empty(conds.into_iter().map(|cond| Cond { test: test(cond.test), ..cond }).collect())
}

/// A mask of no bits always matches: a rule with nothing else is unconditional.
fn drop_empty(mut conds: Vec<Cond>) -> Vec<Cond> {
    conds.retain(|cond| !matches!(cond.test, Test::Masked { mask: 0, .. }));
    conds
}

/// Several rules for one number. The first that has no conditions decides alone, wherever it stands: so does libseccomp.
/// Otherwise the first whose conditions hold, as written; where rules with different actions overlap, libseccomp's order
/// follows from how it sorts arguments and values. The same conditions with two actions are an error in both.
fn decision(lines: &[Line<'_>]) -> Result<Decision, Error> {
    if let Some(line) = lines.iter().find(|line| line.conds.is_empty()) {
        return Ok(Decision::Always(line.rule.action));
    }
    if let [line] = lines {
        return Ok(Decision::First(vec![(line.conds.clone(), line.rule.action)]));
    }
    let mut first: Vec<&Line<'_>> = Vec::with_capacity(lines.len());
    let mut known: HashMap<&[Cond], &Line<'_>> = HashMap::with_capacity(lines.len());
    for line in lines {
        match known.entry(&line.conds) {
            Entry::Vacant(new) => first.push(new.insert(line)),
            Entry::Occupied(other) if other.get().rule.action == line.rule.action => {}
            Entry::Occupied(other) => return Err(conflict(other.get(), line)),
        }
    }
    Ok(Decision::First(first.iter().map(|line| (line.conds.clone(), line.rule.action)).collect()))
}

fn conflict(first: &Line<'_>, second: &Line<'_>) -> Error {
    let (name, index) = (second.name, first.rule.index);
    let error = Error::new(format!("`{name}` under the same conditions has another action in linux.seccomp.syscalls[{index}]"))
        .at(format!("linux.seccomp.syscalls[{}]", second.rule.index));
    if !second.carried {
        return error;
    }
    error.hint(
        "i386 programs pass these arguments in memory, where no filter sees them: leave out `SCMP_ARCH_X86`, or use one action",
    )
}
