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

/// What a rule says of one kind of devices.
#[derive(Clone)]
struct Part<'a> {
    allow: bool,
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
    origin: &'a str,
}

impl<'a> Part<'a> {
    fn of((rule, origin): &'a (Rule, String)) -> Vec<Part<'a>> {
        let kinds = rule.kind.map_or(vec![Kind::Block, Kind::Char], |kind| vec![kind]);
        let &Rule { allow, major, minor, access, .. } = rule;
        kinds.into_iter().map(|kind| Part { allow, kind, major, minor, access, origin }).collect()
    }

    fn is_about(&self, other: &Part) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// Every device of the other is one of these.
    fn covers(&self, other: &Part) -> bool {
        let covers = |all: Option<u32>, one: Option<u32>| all.is_none() || all == one;
        self.kind == other.kind && covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// What both are about.
    fn meet(&self, other: &Part) -> Option<Part<'a>> {
        let meets = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        let met = self.kind == other.kind && meets(self.major, other.major) && meets(self.minor, other.minor);
        let [major, minor] = [self.major.or(other.major), self.minor.or(other.minor)];
        met.then(|| Part { major, minor, access: self.access & other.access, ..self.clone() })
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
    let rest = list.into_iter().map(|one| Line { file: single, value: one.value(), origin: one.origin.to_owned() });
    Ok(std::iter::once(first).chain(rest).collect())
}

/// From `allowed`, which holds for everything else.
fn exceptions(rules: &[(Rule, String)], allowed: bool) -> Result<Vec<Part<'_>>, Error> {
    let parts: Vec<Part> = rules.iter().flat_map(Part::of).collect();
    let mut list: Vec<Part> = Vec::new();
    for part in parts.iter().filter(|part| part.allow != allowed) {
        for bit in [READ, WRITE, MKNOD].into_iter().filter(|bit| part.access & bit != 0) {
            let one = Part { access: bit, ..part.clone() };
            if is_exception(&parts, &one, allowed)? {
                add(&mut list, one);
            }
        }
    }
    if !allowed {
        join(&mut list);
    }
    Ok(list)
}

fn add<'a>(list: &mut Vec<Part<'a>>, new: Part<'a>) {
    match list.iter_mut().find(|one| one.is_about(&new)) {
        Some(one) => one.access |= new.access,
        None => list.push(new),
    }
}

/// Whether something else than `allowed` holds for all of it, which is one kind of access.
///
/// # Errors
/// It does for all but some, and of those there are too many to name the others.
fn is_exception(parts: &[Part], one: &Part, allowed: bool) -> Result<bool, Error> {
    let speaks = |part: &&Part| part.access & one.access != 0 && part.covers(one);
    let Some((at, last)) = parts.iter().enumerate().rfind(|(_, part)| speaks(part)) else { return Ok(false) };
    if last.allow == allowed {
        return Ok(false);
    }
    for later in parts[at + 1..].iter().filter(|later| later.allow == allowed) {
        // A third one may have taken it back.
        if let Some(hole) = one.meet(later).filter(|hole| hole.access != 0)
            && !is_exception(parts, &hole, allowed)?
        {
            let what = format!("`{}` is an exception from `{}` ({})", later.value(), last.value(), last.origin);
            let error = Error::new(format!("{what}, which cgroup version 1 does not have")).at(later.origin);
            return Err(error.hint("its devices controller knows no order of rules; name what is left instead"));
        }
    }
    Ok(true)
}

/// open(2) for reading and writing must be permitted by a single line: what is in two lines has one of its own.
fn join(list: &mut Vec<Part>) {
    const BOTH: u32 = READ | WRITE;
    for n in 0..list.len() {
        let wider = list.iter().filter(|one| one.covers(&list[n])).fold(0, |access, one| access | one.access);
        list[n].access |= wider & BOTH;
    }
    let single: Vec<Part> = list.iter().filter(|one| (one.access & BOTH).count_ones() == 1).cloned().collect();
    for reads in single.iter().filter(|one| one.access & READ != 0) {
        let writes = single.iter().filter(|one| one.access & WRITE != 0);
        for both in writes.filter_map(|writes| reads.meet(writes)) {
            add(list, Part { access: BOTH, ..both });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ALL, DEFAULT, NOTHING};
    use super::*;
    use crate::bpf::device::program;
    use crate::bpf::device::tests::interpret;

    /// The devices controller as security/device_cgroup.c has it.
    struct Kernel {
        allow: bool,
        exceptions: Vec<(char, Option<u32>, Option<u32>, u32)>,
    }

    impl Kernel {
        /// devcgroup_update_access(), dev_exception_add(), dev_exception_rm(): whatever the order of lines, all but the first add.
        fn of(lines: &[Line]) -> Self {
            let allow = lines[0].file == "devices.allow";
            assert_eq!(lines[0].value, "a");
            let mut exceptions: Vec<(char, Option<u32>, Option<u32>, u32)> = Vec::new();
            for line in &lines[1..] {
                assert_eq!(line.file == "devices.allow", !allow, "{lines:?}");
                let words: Vec<&str> = line.value.split([' ', ':']).collect();
                let [major, minor] = [words[1], words[2]].map(|word| (word != "*").then(|| word.parse().unwrap()));
                let letters =
                    [('r', READ), ('w', WRITE), ('m', MKNOD)].into_iter().filter(|(letter, _)| words[3].contains(*letter));
                let access = letters.fold(0, |bits, (_, bit)| bits | bit);
                exceptions.push((words[0].parse().unwrap(), major, minor, access));
            }
            Kernel { allow, exceptions }
        }

        /// devcgroup_legacy_check_permission(): one exception that has all of it permits, any that has some of it denies.
        fn permits(&self, kind: Kind, number: [u32; 2], access: u32) -> bool {
            let letter = if kind == Kind::Block { 'b' } else { 'c' };
            let same = |of: Option<u32>, n: u32| of.is_none_or(|of| of == n);
            let mut about = self
                .exceptions
                .iter()
                .filter(|(of, major, minor, _)| *of == letter && same(*major, number[0]) && same(*minor, number[1]));
            match self.allow {
                true => !about.any(|(.., of)| access & of != 0),
                false => about.any(|(.., of)| access & !of == 0),
            }
        }
    }

    // The last of each is any number that no rule names.
    const MAJORS: [u32; 5] = [1, 5, 10, 136, 11];
    const MINORS: [u32; 9] = [3, 5, 7, 8, 9, 0, 2, 229, 230];

    /// Whether `usual` and exceptions from it can say this of one kind of access: what holds for a number that nobody names holds for all.
    fn can_be_said(usual: bool, means: impl Fn([u32; 2]) -> bool) -> bool {
        let other = |number: [u32; 2]| (number[0] == MAJORS[4], number[1] == MINORS[8]);
        let all = || MAJORS.into_iter().flat_map(|major| MINORS.map(|minor| [major, minor]));
        all().filter(|number| means(*number) != usual).all(|number| {
            let (any_major, any_minor) = other(number);
            let like = |n: &[u32; 2]| (any_major || n[0] == number[0]) && (any_minor || n[1] == number[1]);
            all().filter(like).all(|n| means(n) != usual)
        })
    }

    fn random(seed: &mut u64) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) as usize
    }

    fn rule(seed: &mut u64) -> Rule {
        let mut one = |of: &[Option<u32>]| of[random(seed) % of.len()];
        let (major, minor) = (one(&[None, Some(1), Some(10)]), one(&[None, Some(3), Some(229)]));
        let kind = one(&[None, Some(1), Some(2), Some(2)]).map(|n| if n == 1 { Kind::Block } else { Kind::Char });
        let access =
            one(&[None, Some(READ), Some(READ), Some(WRITE), Some(WRITE), Some(READ | WRITE), Some(MKNOD)]).unwrap_or(ALL);
        Rule { allow: one(&[None, Some(1)]).is_some(), kind, major, minor, access }
    }

    fn random_rules(seed: &mut u64) -> Vec<(Rule, String)> {
        let asked = (0..random(seed) % 7).map(|_| rule(seed)).collect::<Vec<_>>();
        let defaults = if random(seed).is_multiple_of(2) { DEFAULT } else { &[] };
        let all = std::iter::once(NOTHING).chain(asked).chain(defaults.iter().copied());
        all.map(|rule| (rule, String::new())).collect()
    }

    #[test]
    fn what_is_written_for_version_1_permits_what_the_program_for_version_2_does() {
        let (mut seed, mut taken, mut refused) = (7, 0, 0);
        for _ in 0..3000 {
            let rules = random_rules(&mut seed);
            let program = program(&rules.iter().map(|(rule, _)| *rule).collect::<Vec<_>>());
            let means = |kind, [major, minor]: [u32; 2], access| interpret(&program, kind, access, major, minor);
            let kinds = [Kind::Block, Kind::Char];
            let Ok(lines) = lines(&rules) else {
                let each = || kinds.into_iter().flat_map(|kind| [READ, WRITE, MKNOD].map(|bit| (kind, bit)));
                let can = |usual| each().all(|(kind, bit)| can_be_said(usual, |number| means(kind, number, bit)));
                assert!(!can(false) && !can(true), "refused, and could be said: {rules:?}");
                refused += 1;
                continue;
            };
            taken += 1;
            let kernel = Kernel::of(&lines);
            for number in MAJORS.into_iter().flat_map(|major| MINORS.map(|minor| [major, minor])) {
                for (kind, access) in
                    kinds.into_iter().flat_map(|kind| [READ, WRITE, READ | WRITE, MKNOD].map(|access| (kind, access)))
                {
                    let said = kernel.permits(kind, number, access);
                    assert_eq!(said, means(kind, number, access), "{rules:?} {lines:?} {kind:?} {number:?} {access}");
                }
            }
        }
        assert!(taken > 2000 && refused > 200, "{taken} {refused}");
    }

    #[test]
    fn what_is_in_a_line_of_readers_and_one_of_writers_can_be_opened_for_both() {
        let rule = |major, minor, access| Rule { allow: true, kind: Some(Kind::Char), major, minor, access };
        let rules = [NOTHING, rule(Some(10), None, READ), rule(None, Some(229), WRITE | MKNOD)].map(|rule| (rule, String::new()));
        let values: Vec<String> = lines(&rules).unwrap().into_iter().map(|line| line.value).collect();
        assert_eq!(values, ["a", "c 10:* r", "c *:229 wm", "c 10:229 rw"]);
    }
}
