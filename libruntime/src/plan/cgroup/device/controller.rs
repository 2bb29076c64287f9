//! The devices controller of version 1 knows no order: everything is denied but for some devices, or everything is allowed but for some
//! (the kernel's admin-guide/cgroup-v1/devices.rst). Rules of which the last one decides are made one of the two, or refused.

use super::super::Write;
use super::FIELD;
use crate::Error;
use crate::bpf::device::{Kind, MKNOD, READ, Rule, WRITE};

/// What is to be written to `devices.allow` or `devices.deny`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    file: &'static str,
    value: String,
    origin: String,
}

impl Line {
    pub(super) fn write(self, group: usize) -> Write {
        let choices = vec![(self.file.to_owned(), self.value)];
        Write { group, choices, origin: self.origin, may_miss: false, again: false, above: None }
    }
}

/// Devices of one kind for which something else holds than for the rest; `access` is what.
struct Exception {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
    origin: String,
}

impl Exception {
    fn of(rule: &Rule, kind: Kind, origin: &str) -> Self {
        Exception { kind, major: rule.major, minor: rule.minor, access: rule.access, origin: origin.to_owned() }
    }

    fn numbers(&self) -> (Option<u32>, Option<u32>) {
        (self.major, self.minor)
    }

    /// Every device of the other is one of these.
    fn covers(&self, other: &Self) -> bool {
        let covers = |all: Option<u32>, one: Option<u32>| all.is_none() || all == one;
        self.kind == other.kind && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// Some device is of both.
    fn meets(&self, other: &Self) -> bool {
        let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meets(self.major, other.major) && meets(self.minor, other.minor)
    }

    fn value(&self) -> String {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = if self.kind == Kind::Block { "b" } else { "c" };
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        let access: String = letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| *letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// The rules, of which the last one decides, as lines of which any may come first. The first of all speaks of everything.
///
/// # Errors
/// The rule that makes an exception from an exception, whichever of the two is tried.
pub(super) fn lines(rules: &[(Rule, String)]) -> Result<Vec<Line>, Error> {
    let everything = |rule: &&(Rule, String)| super::is_everything(&rule.0);
    let last = rules.iter().rfind(everything).is_some_and(|(rule, _)| rule.allow);
    let (list, allowed) = match exceptions(rules, last) {
        Ok(list) => (list, last),
        Err(why) => (exceptions(rules, !last).map_err(|_| why)?, !last),
    };
    let [whole, single] = if allowed { ["devices.allow", "devices.deny"] } else { ["devices.deny", "devices.allow"] };
    let origin = rules.iter().rfind(everything).map_or(FIELD.to_owned(), |(_, origin)| origin.clone());
    let first = Line { file: whole, value: "a".to_owned(), origin };
    let rest = list.into_iter().map(|one| Line { file: single, value: one.value(), origin: one.origin });
    Ok(std::iter::once(first).chain(rest).collect())
}

/// From `allowed`, which holds for everything else.
fn exceptions(rules: &[(Rule, String)], allowed: bool) -> Result<Vec<Exception>, Error> {
    let mut list: Vec<Exception> = Vec::new();
    for (rule, origin) in rules {
        let kinds = rule.kind.map_or(vec![Kind::Block, Kind::Char], |kind| vec![kind]);
        for one in kinds.into_iter().map(|kind| Exception::of(rule, kind, origin)) {
            if rule.allow == allowed { take_back(&mut list, &one)? } else { add(&mut list, one) }
        }
    }
    if !allowed {
        join(&mut list);
    }
    Ok(list)
}

fn add(list: &mut Vec<Exception>, new: Exception) {
    match list.iter_mut().find(|one| one.kind == new.kind && one.numbers() == new.numbers()) {
        Some(one) => one.access |= new.access,
        None => list.push(new),
    }
}

fn take_back(list: &mut Vec<Exception>, back: &Exception) -> Result<(), Error> {
    let hole = |one: &&Exception| one.access & back.access != 0 && one.meets(back) && !back.covers(one);
    if let Some(one) = list.iter().find(hole) {
        let what = format!("`{}` is an exception from `{}` ({})", back.value(), one.value(), one.origin);
        let error = Error::new(format!("{what}, which cgroup version 1 does not have"));
        return Err(error.at(&back.origin).hint("its devices controller knows no order of rules; name what is left instead"));
    }
    list.iter_mut().filter(|one| back.covers(one)).for_each(|one| one.access &= !back.access);
    list.retain(|one| one.access != 0);
    Ok(())
}

/// open(2) for reading and writing must be permitted by a single line.
fn join(list: &mut [Exception]) {
    for n in 0..list.len() {
        let wider = list.iter().filter(|one| one.covers(&list[n])).fold(0, |access, one| access | one.access);
        list[n].access |= wider & (READ | WRITE);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ALL, DEFAULT, NOTHING};
    use super::*;

    /// The kernel's own reading (`security/device_cgroup.c`): what is not single-kind, or wants more than one line gives, is not there.
    fn permits(lines: &[Line], kind: char, number: [u32; 2], access: u32) -> bool {
        let allowed = lines[0].file == "devices.allow";
        let of = |line: &Line| {
            let words: Vec<&str> = line.value.split([' ', ':']).collect();
            let same = |word: &str, n: u32| word == "*" || word == n.to_string();
            let letters = [('r', READ), ('w', WRITE), ('m', MKNOD)].iter().filter(|(letter, _)| words[3].contains(*letter));
            let is = words[0] == kind.to_string() && same(words[1], number[0]) && same(words[2], number[1]);
            if is { letters.fold(0, |bits, (_, bit)| bits | bit) } else { 0 }
        };
        match allowed {
            true => lines[1..].iter().all(|line| of(line) & access == 0),
            false => lines[1..].iter().any(|line| of(line) & access == access),
        }
    }

    /// What the program for version 2 says.
    fn wanted(rules: &[(Rule, String)], kind: Kind, number: [u32; 2], bit: u32) -> bool {
        let is = |(rule, _): &&(Rule, String)| {
            let same = |of: Option<u32>, n: u32| of.is_none_or(|of| of == n);
            rule.access & bit != 0
                && rule.kind.is_none_or(|of| of == kind)
                && same(rule.major, number[0])
                && same(rule.minor, number[1])
        };
        rules.iter().rfind(is).is_some_and(|(rule, _)| rule.allow)
    }

    fn random(seed: &mut u64) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) as usize
    }

    fn rule(seed: &mut u64) -> Rule {
        let mut one = |of: &[Option<u32>]| of[random(seed) % of.len()];
        let (major, minor) = (one(&[None, Some(1), Some(10)]), one(&[None, Some(3), Some(229)]));
        let kind = one(&[None, Some(1), Some(2)]).map(|n| if n == 1 { Kind::Block } else { Kind::Char });
        let access = one(&[Some(ALL), Some(ALL), Some(READ), Some(WRITE), Some(READ | WRITE), Some(MKNOD)]).unwrap_or(ALL);
        Rule { allow: one(&[None, Some(1)]).is_some(), kind, major, minor, access }
    }

    fn random_rules(seed: &mut u64) -> Vec<(Rule, String)> {
        let asked = (0..random(seed) % 5).map(|_| rule(seed)).collect::<Vec<_>>();
        let all = std::iter::once(NOTHING).chain(asked).chain(DEFAULT.iter().copied());
        all.map(|rule| (rule, String::new())).collect()
    }

    #[test]
    fn what_is_written_for_version_1_permits_what_the_program_for_version_2_does() {
        let (mut seed, mut taken, mut refused) = (7, 0, 0);
        for _ in 0..4000 {
            let rules = random_rules(&mut seed);
            let Ok(lines) = lines(&rules) else {
                assert!(rules.iter().skip(1).any(|(rule, _)| !rule.allow), "{rules:?}");
                refused += 1;
                continue;
            };
            taken += 1;
            for (kind, letter) in [(Kind::Block, 'b'), (Kind::Char, 'c')] {
                for number in [1, 10, 11].into_iter().flat_map(|major| [3, 229, 230].map(|minor| [major, minor])) {
                    for bit in [READ, WRITE, MKNOD] {
                        let said = permits(&lines, letter, number, bit);
                        assert_eq!(said, wanted(&rules, kind, number, bit), "{rules:?} {lines:?} {letter} {number:?} {bit}");
                    }
                }
            }
        }
        assert!(taken > 1000 && refused > 100, "{taken} {refused}");
    }
}
