//! A program as text, one instruction a line, for `codexrun plan` and golden tests.

use super::interpret::{ARCH, NR, high, low};
use super::{Insn, arch, emit, names};
use std::fmt::Write;

/// The listing. Jumps name their line; numbers of system calls are followed by the name they have there.
pub fn show(program: &[Insn]) -> Vec<String> {
    let mut known = vec![Known::default(); program.len()];
    program.iter().enumerate().map(|(at, insn)| line(at, insn, &mut known)).collect()
}

/// An answer in words: `ERRNO(1)`, `KILL_PROCESS`.
pub fn answer(value: u32) -> String {
    let data = value & 0xffff;
    let name = match value & 0xffff_0000 {
        0x8000_0000 => "KILL_PROCESS",
        0x0000_0000 => "KILL_THREAD",
        0x0003_0000 => "TRAP",
        0x0005_0000 => return format!("ERRNO({data})"),
        0x7fc0_0000 => "USER_NOTIF",
        0x7ff0_0000 => return format!("TRACE({data})"),
        0x7ffc_0000 => "LOG",
        0x7fff_0000 => "ALLOW",
        _ => return format!("{value:#010x}"),
    };
    if data == 0 { name.to_owned() } else { format!("{name}({data})") }
}

/// What is certain when an instruction is reached; jumps go forward only, so one pass finds it.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The offset that the accumulator was loaded from.
    word: Option<u32>,
    /// The architecture, after a branch on it.
    audit: Option<u32>,
}

fn line(at: usize, insn: &Insn, known: &mut [Known]) -> String {
    let now = known[at];
    let mut pass = |skip: usize, what: Known| {
        if let Some(next) = known.get_mut(at + 1 + skip) {
            *next = what;
        }
        at + 1 + skip
    };
    match insn.code {
        emit::LD => {
            pass(0, Known { word: Some(insn.k), ..now });
            format!("{at:4} load {}", field(insn.k))
        }
        emit::AND => {
            pass(0, now);
            format!("{at:4} and {:#x}", insn.k)
        }
        emit::JA => format!("{at:4} go {}", pass(insn.k as usize, now)),
        emit::RET => format!("{at:4} return {}", answer(insn.k)),
        emit::JEQ | emit::JGT | emit::JGE => {
            let audit = (insn.code == emit::JEQ && now.word == Some(ARCH)).then_some(insn.k).or(now.audit);
            let yes = pass(usize::from(insn.jt), Known { audit, ..now });
            let no = pass(usize::from(insn.jf), now);
            format!("{at:4} if {} {} go {yes} else {no}", sign(insn.code), operand(insn.k, now))
        }
        code => {
            let (jt, jf, k) = (insn.jt, insn.jf, insn.k);
            format!("{at:4} raw {code:#x} {jt} {jf} {k:#x}")
        }
    }
}

fn sign(code: u16) -> &'static str {
    match code {
        emit::JEQ => "==",
        emit::JGT => ">",
        _ => ">=",
    }
}

fn field(offset: u32) -> String {
    let arg = (offset.saturating_sub(16) / 8) as u8;
    match offset {
        NR => "nr".to_owned(),
        ARCH => "arch".to_owned(),
        _ if !(16..64).contains(&offset) => format!("[{offset}]"),
        _ if offset == low(arg) => format!("args[{arg}].low"),
        _ if offset == high(arg) => format!("args[{arg}].high"),
        _ => format!("[{offset}]"),
    }
}

fn operand(k: u32, known: Known) -> String {
    let mut text = if known.word == Some(NR) && k < arch::X32_BIT { k.to_string() } else { format!("{k:#x}") };
    let name = match (known.word, known.audit) {
        (Some(NR), _) if k == arch::X32_BIT => Some("x32"),
        (Some(NR), Some(audit)) => arch::of(audit, k).and_then(|abi| names::name(abi.column, k & !abi.marker)),
        (Some(ARCH), _) => arch::of(k, 0).map(arch::Abi::name),
        _ => None,
    };
    if let Some(name) = name {
        let _ = write!(text, " ({name})");
    }
    text
}
