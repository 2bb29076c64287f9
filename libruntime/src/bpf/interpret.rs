//! Runs classic BPF as seccomp(2) does: what a filter would answer, without asking the kernel.

use super::Insn;
use super::rules::RET_KILL_PROCESS;

/// `struct seccomp_data`: what a filter sees of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data {
    /// The number.
    pub nr: i32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Where the call was made.
    pub instruction_pointer: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Offset of `nr`.
pub(super) const NR: u32 = 0;
/// Offset of `arch`.
pub(super) const ARCH: u32 = 4;
/// `sizeof (struct seccomp_data)`.
const SIZE: u32 = 64;

/// Offset of the lower half of an argument; both natives are little-endian.
pub(super) const fn low(arg: u8) -> u32 {
    16 + 8 * arg as u32
}

/// Offset of the upper half.
pub(super) const fn high(arg: u8) -> u32 {
    low(arg) + 4
}

impl Data {
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64| if offset.is_multiple_of(8) { value as u32 } else { (value >> 32) as u32 };
        match offset {
            _ if !offset.is_multiple_of(4) => None,
            NR => Some(self.nr as u32),
            ARCH => Some(self.arch),
            8 | 12 => Some(half(self.instruction_pointer)),
            16..SIZE => Some(half(self.args[(offset as usize - 16) / 8])),
            _ => None,
        }
    }
}

/// What the filter answers: a `SECCOMP_RET_*` value. A program that the kernel would not load (an unknown instruction, a
/// load outside of `data`, a jump past the end) answers `KILL_PROCESS`.
pub fn interpret(program: &[Insn], data: &Data) -> u32 {
    let mut machine = Machine { a: 0, x: 0, memory: [0; 16], data };
    let mut at = 0usize;
    while let Some(insn) = program.get(at) {
        match machine.step(insn) {
            Some(Step::Go(skip)) => at += 1 + skip,
            Some(Step::Answer(answer)) => return answer,
            None => break,
        }
    }
    RET_KILL_PROCESS
}

struct Machine<'a> {
    a: u32,
    x: u32,
    memory: [u32; 16],
    data: &'a Data,
}

enum Step {
    /// Skips this many instructions.
    Go(usize),
    Answer(u32),
}

impl Machine<'_> {
    /// One instruction of those that the kernel permits in a seccomp filter (`seccomp_check_filter`).
    fn step(&mut self, insn: &Insn) -> Option<Step> {
        let k = insn.k;
        match insn.code {
            0x20 => self.a = self.data.word(k)?,
            0x80 => self.a = SIZE,
            0x81 => self.x = SIZE,
            0x00 => self.a = k,
            0x01 => self.x = k,
            0x60 => self.a = *self.memory.get(k as usize)?,
            0x61 => self.x = *self.memory.get(k as usize)?,
            0x02 => *self.memory.get_mut(k as usize)? = self.a,
            0x03 => *self.memory.get_mut(k as usize)? = self.x,
            0x07 => self.x = self.a,
            0x87 => self.a = self.x,
            0x06 => return Some(Step::Answer(k)),
            0x16 => return Some(Step::Answer(self.a)),
            0x05 => return Some(Step::Go(k as usize)),
            code => return self.compute(code, insn),
        }
        Some(Step::Go(0))
    }

    /// Arithmetic and conditional jumps: bit 3 says whether the operand is X, the upper nibble which operation.
    fn compute(&mut self, code: u16, insn: &Insn) -> Option<Step> {
        let operand = if code & 0x08 == 0 { insn.k } else { self.x };
        let jump = |taken: bool| Some(Step::Go(usize::from(if taken { insn.jt } else { insn.jf })));
        let a = self.a;
        match code & !0x08 {
            0x15 => return jump(a == operand),
            0x25 => return jump(a > operand),
            0x35 => return jump(a >= operand),
            0x45 => return jump(a & operand != 0),
            0x04 => self.a = a.wrapping_add(operand),
            0x14 => self.a = a.wrapping_sub(operand),
            0x24 => self.a = a.wrapping_mul(operand),
            // Division by an X of zero ends the filter with 0, KILL_THREAD; by a constant zero it is never loaded.
            0x34 => match a.checked_div(operand) {
                Some(quotient) => self.a = quotient,
                None => return (code & 0x08 != 0).then_some(Step::Answer(0)),
            },
            0x44 => self.a = a | operand,
            0x54 => self.a = a & operand,
            0x64 => self.a = a.wrapping_shl(operand),
            0x74 => self.a = a.wrapping_shr(operand),
            0x84 if code == 0x84 => self.a = a.wrapping_neg(),
            0xa4 => self.a = a ^ operand,
            _ => return None,
        }
        Some(Step::Go(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Data =
        Data { nr: 59, arch: 0xc000_003e, instruction_pointer: 0x1_0000_0002, args: [0xa_0000_000b, 1, 2, 3, 4, 5] };

    /// The answer of a program of (code, jt, jf, k).
    fn run(program: &[(u16, u8, u8, u32)]) -> u32 {
        let insns: Vec<Insn> = program.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
        interpret(&insns, &DATA)
    }

    #[test]
    fn every_word_of_the_data_can_be_loaded() {
        let words = [59, 0xc000_003e, 2, 1, 0xb, 0xa, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0];
        for (n, word) in words.into_iter().enumerate() {
            assert_eq!(run(&[(0x20, 0, 0, 4 * n as u32), (0x16, 0, 0, 0)]), word);
        }
    }

    #[test]
    fn what_the_kernel_would_not_load_kills() {
        assert_eq!(run(&[(0x20, 0, 0, 64), (0x16, 0, 0, 0)]), RET_KILL_PROCESS);
        assert_eq!(run(&[(0x20, 0, 0, 2), (0x16, 0, 0, 0)]), RET_KILL_PROCESS);
        assert_eq!(run(&[(0x05, 0, 0, u32::MAX), (0x06, 0, 0, 1)]), RET_KILL_PROCESS);
        assert_eq!(run(&[(0x60, 0, 0, 16), (0x16, 0, 0, 0)]), RET_KILL_PROCESS);
        assert_eq!(run(&[(0x34, 0, 0, 0), (0x06, 0, 0, 1)]), RET_KILL_PROCESS);
        assert_eq!(run(&[(0xffff, 0, 0, 0)]), RET_KILL_PROCESS);
        assert_eq!(run(&[]), RET_KILL_PROCESS);
    }

    #[test]
    fn jumps_choose_their_branch() {
        for (code, k, taken) in
            [(0x15, 59, 1), (0x15, 58, 0), (0x25, 59, 0), (0x25, 58, 1), (0x35, 59, 1), (0x35, 60, 0), (0x45, 4, 0)]
        {
            assert_eq!(run(&[(0x20, 0, 0, 0), (code, 1, 0, k), (0x06, 0, 0, 0), (0x06, 0, 0, 1)]), taken);
        }
    }

    #[test]
    fn arithmetic_is_of_32_bits() {
        // A = 59, X = 7.
        let set = [(0x00, 0, 0, 7), (0x07, 0, 0, 0), (0x20, 0, 0, 0)];
        let operations = [
            (0x0c, 66),
            (0x1c, 52),
            (0x2c, 413),
            (0x3c, 8),
            (0x4c, 63),
            (0x5c, 3),
            (0x6c, 7552),
            (0x7c, 0),
            (0x84, 59u32.wrapping_neg()),
            (0xac, 60),
        ];
        for (code, result) in operations {
            let program = [&set[..], &[(code, 0, 0, 0), (0x02, 0, 0, 3), (0x60, 0, 0, 3), (0x16, 0, 0, 0)]].concat();
            assert_eq!(run(&program), result, "{code:#x}");
        }
        assert_eq!(run(&[(0x3c, 0, 0, 0), (0x06, 0, 0, 1)]), 0, "division by an X of zero");
    }
}
