//! An assembler that works from the end of the program to its beginning, so that every jump knows its distance when it
//! is written. BPF jumps only forward, and conditionally no further than 255 instructions.

use super::Insn;

/// `BPF_LD | BPF_W | BPF_ABS`.
pub(super) const LD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(super) const JA: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(super) const JEQ: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(super) const JGT: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(super) const JGE: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub(super) const RET: u16 = 0x06;

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// End with this answer.
    Ret(u32),
    /// The instruction that was pushed when the program had this length.
    At(usize),
}

/// The program so far, last instruction first.
#[derive(Default)]
pub(super) struct Asm {
    reversed: Vec<Insn>,
    /// Where each answer was last written.
    rets: Vec<(u32, usize)>,
}

/// How far a branch may reach: one less than a byte holds, since one more instruction may come between it and the
/// jump, for the sake of the other branch.
const REACH: usize = 254;

impl Asm {
    fn push(&mut self, code: u16, k: u32) -> Target {
        self.branch(code, k, 0, 0)
    }

    fn branch(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Target {
        self.reversed.push(Insn { code, jt, jf, k });
        Target::At(self.reversed.len())
    }

    /// Instructions between the next one to be pushed and that one.
    fn distance(&self, at: usize) -> usize {
        self.reversed.len() - at
    }

    /// A place within reach from which the program goes on at `target`.
    fn near(&mut self, target: Target) -> usize {
        match target {
            Target::At(at) if self.distance(at) <= REACH => return at,
            Target::At(at) => self.push(JA, self.distance(at) as u32),
            Target::Ret(answer) => match self.rets.iter().find(|ret| ret.0 == answer) {
                Some(&(_, at)) if self.distance(at) <= REACH => return at,
                _ => self.ret(answer),
            },
        };
        self.reversed.len()
    }

    fn ret(&mut self, answer: u32) -> Target {
        let target = self.push(RET, answer);
        self.rets.retain(|ret| ret.0 != answer);
        self.rets.push((answer, self.reversed.len()));
        target
    }

    /// Compares the accumulator with `k`. No instruction is needed where both branches lead to the same place.
    pub(super) fn jump(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let yes = self.near(yes);
        let no = self.near(no);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.branch(code, k, jt, jf)
    }

    /// Loads a word of `seccomp_data`, then goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Target) -> Target {
        self.fall(next);
        self.push(LD, offset)
    }

    /// Masks the accumulator, then goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Target) -> Target {
        if mask == u32::MAX {
            return next;
        }
        self.fall(next);
        self.push(AND, mask)
    }

    /// Makes the next instruction pushed fall through to `target`.
    fn fall(&mut self, target: Target) {
        match target {
            Target::At(at) if at == self.reversed.len() => target,
            Target::At(at) => self.push(JA, self.distance(at) as u32),
            Target::Ret(answer) => self.ret(answer),
        };
    }

    /// The program that begins at `entry`.
    pub(super) fn finish(mut self, entry: Target) -> Vec<Insn> {
        self.fall(entry);
        self.reversed.reverse();
        self.reversed
    }
}
