//! The shape of the program: which architecture, then a balanced search for the number, then the arguments.

use super::arch::{AUDIT_X86_64, Abi, X32_BIT};
use super::decide::Decision;
use super::emit::{Asm, JEQ, JGE, JGT, Target};
use super::interpret::{ARCH, NR, high, low};
use super::rules::{Cond, RET_ENOSYS, RET_KILL_PROCESS, Test};

/// One interface and its decisions, ascending by number.
pub(super) struct Table {
    /// Which interface.
    pub abi: &'static Abi,
    /// From [`super::decide::decide`].
    pub decisions: Vec<(u32, Decision)>,
    /// See [`super::rules::Profile::unheard`].
    pub unheard: Option<u32>,
}

/// Writes the program; an architecture that has no table gets `KILL_PROCESS`.
pub(super) fn program(asm: &mut Asm, tables: &[Table], default: u32) -> Target {
    let x32 = tables.iter().find(|table| table.abi.marker == X32_BIT);
    let mut other = Target::Ret(RET_KILL_PROCESS);
    for table in tables.iter().filter(|table| table.abi.marker == 0).rev() {
        let entry = section(asm, table, x32, default);
        other = asm.jump(JEQ, table.abi.audit, entry, other);
    }
    asm.load(ARCH, other)
}

fn section(asm: &mut Asm, table: &Table, x32: Option<&Table>, default: u32) -> Target {
    let above = (table.abi.audit == AUDIT_X86_64).then(|| marked(asm, x32, default));
    let below = numbers(asm, table, default);
    let entry = above.map_or(below, |above| asm.jump(JGE, X32_BIT, above, below));
    match entry {
        Target::Ret(_) => entry,
        Target::At(_) => asm.load(NR, entry),
    }
}

/// Numbers from x32's bit upward, of which x86-64 itself has none. -1 is not a call but what a tracer writes to have
/// one skipped (seccomp(2)): killing there would break ptrace(2), so it gets the default.
fn marked(asm: &mut Asm, x32: Option<&Table>, default: u32) -> Target {
    match x32 {
        Some(table) => numbers(asm, table, default),
        None => asm.jump(JEQ, u32::MAX, Target::Ret(default), Target::Ret(RET_KILL_PROCESS)),
    }
}

fn numbers(asm: &mut Asm, table: &Table, default: u32) -> Target {
    Search { asm, default, narrow: table.abi.narrow }.ranges(&ranges(table, default))
}

/// Numbers from `start` up to the next range that have the same fate.
struct Range<'a> {
    start: u32,
    fate: Fate<'a>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fate<'a> {
    Answer(u32),
    Ask(&'a [(Vec<Cond>, u32)]),
}

/// All numbers, without gaps; neighbours with the same fate are one range.
fn ranges(table: &Table, default: u32) -> Vec<Range<'_>> {
    let mut ranges = vec![Range { start: 0, fate: Fate::Answer(default) }];
    let unheard = table.unheard.unwrap_or(u32::MAX);
    let mut next = 0;
    for (number, decision) in &table.decisions {
        gap(&mut ranges, next..*number, unheard, default);
        let fate = match decision {
            Decision::Always(action) => Fate::Answer(*action),
            Decision::First(lines) => Fate::Ask(lines),
        };
        push(&mut ranges, *number, fate);
        next = number + 1;
    }
    gap(&mut ranges, next..u32::MAX, unheard, default);
    ranges
}

/// Numbers that no rule speaks of.
fn gap(ranges: &mut Vec<Range<'_>>, numbers: std::ops::Range<u32>, unheard: u32, default: u32) {
    if numbers.start < numbers.end.min(unheard) {
        push(ranges, numbers.start, Fate::Answer(default));
    }
    if numbers.start.max(unheard) < numbers.end {
        push(ranges, numbers.start.max(unheard), Fate::Answer(RET_ENOSYS));
    }
}

fn push<'a>(ranges: &mut Vec<Range<'a>>, start: u32, fate: Fate<'a>) {
    match ranges.last_mut() {
        Some(last) if last.fate == fate => {}
        Some(last) if last.start == start => last.fate = fate,
        _ => ranges.push(Range { start, fate }),
    }
}

/// Writes the search for a number, and what is asked of its arguments.
struct Search<'a> {
    asm: &'a mut Asm,
    default: u32,
    /// Arguments have 32 bits.
    narrow: bool,
}

impl Search<'_> {
    /// Finds the range of the number in the accumulator.
    fn ranges(&mut self, ranges: &[Range<'_>]) -> Target {
        match ranges {
            [] => Target::Ret(self.default),
            [range] => self.fate(range.fate),
            // One number among others that fare alike: a test for equality instead of two for order.
            [before, one, after] if before.fate == after.fate && after.start - one.start == 1 => {
                let no = self.fate(after.fate);
                let yes = self.fate(one.fate);
                self.asm.jump(JEQ, one.start, yes, no)
            }
            _ => {
                let (left, right) = ranges.split_at(ranges.len() / 2);
                let middle = right[0].start;
                let right = self.ranges(right);
                let left = self.ranges(left);
                self.asm.jump(JGE, middle, right, left)
            }
        }
    }

    fn fate(&mut self, fate: Fate<'_>) -> Target {
        match fate {
            Fate::Answer(action) => Target::Ret(action),
            Fate::Ask(lines) => lines.iter().rev().fold(Target::Ret(self.default), |otherwise, (conds, action)| {
                conds.iter().rev().fold(Target::Ret(*action), |then, cond| self.test(cond, then, otherwise))
            }),
        }
    }

    fn test(&mut self, cond: &Cond, yes: Target, no: Target) -> Target {
        let arg = cond.arg;
        match cond.test {
            Test::Is(true, value) => self.equal(arg, u64::MAX, value, yes, no),
            Test::Is(false, value) => self.equal(arg, u64::MAX, value, no, yes),
            Test::Masked { mask, value } => self.equal(arg, mask, value, yes, no),
            Test::Above(true, value) => self.greater(arg, JGT, value, yes, no),
            Test::Above(false, value) => self.greater(arg, JGT, value, no, yes),
            Test::AtLeast(true, value) => self.greater(arg, JGE, value, yes, no),
            Test::AtLeast(false, value) => self.greater(arg, JGE, value, no, yes),
        }
    }

    /// `arg & mask == value`, half by half.
    fn equal(&mut self, arg: u8, mask: u64, value: u64, yes: Target, no: Target) -> Target {
        let then = self.half(low(arg), mask as u32, value as u32, yes, no);
        if self.narrow { then } else { self.half(high(arg), (mask >> 32) as u32, (value >> 32) as u32, then, no) }
    }

    fn half(&mut self, offset: u32, mask: u32, value: u32, yes: Target, no: Target) -> Target {
        if mask == 0 {
            return yes;
        }
        let compare = self.asm.jump(JEQ, value, yes, no);
        let compare = self.asm.and(mask, compare);
        self.asm.load(offset, compare)
    }

    /// `arg > value`, or `>=` if the code is `JGE`: the lower half matters only where the upper ones are equal.
    fn greater(&mut self, arg: u8, code: u16, value: u64, yes: Target, no: Target) -> Target {
        let compare = self.asm.jump(code, value as u32, yes, no);
        let lower = self.asm.load(low(arg), compare);
        if self.narrow {
            return lower;
        }
        let upper = (value >> 32) as u32;
        let same = self.asm.jump(JEQ, upper, lower, no);
        let above = self.asm.jump(JGT, upper, yes, same);
        self.asm.load(high(arg), above)
    }
}
