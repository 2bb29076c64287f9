//! Rules about devices → a program of type BPF_PROG_TYPE_CGROUP_DEVICE (cgroup version 2 has no devices controller). Pure.
//!
//! Of the rules that speak of a device the last one decides, for each kind of access by itself. So the program goes through them from
//! the last to the first: a rule that denies something that is still asked for ends it; one that allows takes that from what is asked,
//! and ends it when nothing is left.

/// One instruction, laid out as the kernel's `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// The operation.
    pub code: u8,
    /// Destination register in the low four bits, source in the high.
    pub registers: u8,
    /// Of a jump or a memory access.
    pub offset: i16,
    /// The operand.
    pub immediate: i32,
}

/// BPF_DEVCG_DEV_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    Block = 1,
    /// A character device.
    Char = 2,
}

/// BPF_DEVCG_ACC_MKNOD.
pub const MKNOD: u32 = 1;
/// BPF_DEVCG_ACC_READ.
pub const READ: u32 = 2;
/// BPF_DEVCG_ACC_WRITE.
pub const WRITE: u32 = 4;

/// Some devices, and what may be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Or forbids.
    pub allow: bool,
    /// `None`: both.
    pub kind: Option<Kind>,
    /// `None`: any.
    pub major: Option<u32>,
    /// `None`: any.
    pub minor: Option<u32>,
    /// [`MKNOD`] | [`READ`] | [`WRITE`].
    pub access: u32,
}

// Registers: r0 the verdict, r1 the kernel's struct bpf_cgroup_dev_ctx.
const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const COPY: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
const SHIFT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
const UNLESS: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const IF_ANY: u8 = 0x46; // BPF_JMP32 | BPF_JSET | BPF_K
const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

const fn insn(code: u8, registers: u8, offset: i16, immediate: i32) -> Insn {
    Insn { code, registers, offset, immediate }
}

/// The program: 1 is yes, 0 is EPERM. What no rule speaks of is denied.
pub fn program(rules: &[Rule]) -> Vec<Insn> {
    let mut out = vec![
        insn(LOAD, KIND | CONTEXT << 4, 0, 0),
        insn(COPY, ACCESS | KIND << 4, 0, 0),
        insn(SHIFT, ACCESS, 0, 16),
        insn(AND, KIND, 0, 0xffff),
        insn(LOAD, MAJOR | CONTEXT << 4, 4, 0),
        insn(LOAD, MINOR | CONTEXT << 4, 8, 0),
    ];
    for rule in rules.iter().rev() {
        append(&mut out, rule);
        // The verifier refuses what cannot be reached.
        if is_last(rule) {
            return out;
        }
    }
    out.extend(answer(0));
    out
}

/// It speaks of every device and every access.
fn is_last(rule: &Rule) -> bool {
    rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none() && rule.access == MKNOD | READ | WRITE
}

fn answer(verdict: i32) -> [Insn; 2] {
    [insn(MOVE, VERDICT, 0, verdict), insn(EXIT, 0, 0, 0)]
}

fn append(out: &mut Vec<Insn>, rule: &Rule) {
    let body = body(rule);
    let tests = [(KIND, rule.kind.map(|kind| kind as u32)), (MAJOR, rule.major), (MINOR, rule.minor)];
    let tests: Vec<(u8, u32)> = tests.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();
    for (i, (register, value)) in tests.iter().enumerate() {
        let skip = tests.len() - 1 - i + body.len();
        out.push(insn(UNLESS, *register, skip as i16, *value as i32));
    }
    out.extend(body);
}

fn body(rule: &Rule) -> Vec<Insn> {
    let all = MKNOD | READ | WRITE;
    match (rule.allow, rule.access == all) {
        (allow, true) => answer(i32::from(allow)).to_vec(),
        (false, false) => [vec![insn(IF_ANY, ACCESS, 1, rule.access as i32), insn(JUMP, 0, 2, 0)], answer(0).to_vec()].concat(),
        (true, false) => {
            let rest = (all & !rule.access) as i32;
            [vec![insn(AND, ACCESS, 0, rest), insn(UNLESS, ACCESS, 2, 0)], answer(1).to_vec()].concat()
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the kernel would answer.
    pub(crate) fn interpret(program: &[Insn], kind: Kind, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind as u32, major, minor];
        let mut r = [0u64; 10];
        let mut at = 0usize;
        for _ in 0..10_000 {
            let i = program[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let k = i.immediate as u32;
            let jump = match i.code {
                LOAD => {
                    r[to] = context[i.offset as usize / 4].into();
                    false
                }
                MOVE => {
                    r[to] = i.immediate as u64;
                    false
                }
                COPY => {
                    r[to] = r[from];
                    false
                }
                AND => {
                    r[to] &= u64::from(k);
                    false
                }
                SHIFT => {
                    r[to] >>= k;
                    false
                }
                UNLESS => r[to] as u32 != k,
                IF_ANY => r[to] as u32 & k != 0,
                JUMP => true,
                EXIT => return r[0] == 1,
                code => panic!("{code:#x}"),
            };
            at = (at as i64 + 1 + if jump { i64::from(i.offset) } else { 0 }) as usize;
        }
        panic!("it does not end");
    }

    /// The rules as the specification reads them.
    fn says(rules: &[Rule], kind: Kind, access: u32, major: u32, minor: u32) -> bool {
        let speaks = |rule: &&Rule, bit: u32| {
            rule.kind.is_none_or(|k| k == kind)
                && rule.major.is_none_or(|n| n == major)
                && rule.minor.is_none_or(|n| n == minor)
                && rule.access & bit != 0
        };
        let bits = [MKNOD, READ, WRITE].into_iter().filter(|bit| access & bit != 0);
        bits.into_iter().all(|bit| rules.iter().rev().find(|rule| speaks(rule, bit)).is_some_and(|rule| rule.allow))
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let mut seed = 1u64;
        let mut random = |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        for _ in 0..2000 {
            let mut rule = || Rule {
                allow: random(2) == 0,
                kind: [None, Some(Kind::Block), Some(Kind::Char)][random(3) as usize],
                major: [None, Some(1), Some(u32::MAX)][random(3) as usize],
                minor: [None, Some(3), Some(5)][random(3) as usize],
                access: 1 + random(7) as u32,
            };
            let rules: Vec<Rule> = (0..4).map(|_| rule()).collect();
            let program = program(&rules);
            for (kind, major, minor) in [(Kind::Block, 1, 3), (Kind::Char, 1, 5), (Kind::Char, u32::MAX, 3), (Kind::Block, 9, 9)]
            {
                for access in 1..8 {
                    let got = interpret(&program, kind, access, major, minor);
                    assert_eq!(got, says(&rules, kind, access, major, minor), "{rules:?} {kind:?} {access} {major}:{minor}");
                }
            }
        }
    }

    #[test]
    fn without_a_rule_everything_is_denied() {
        assert!(!interpret(&program(&[]), Kind::Char, READ, 1, 3));
    }
}
