//! What a profile says of each system call by name, on the machine's own interface: for people, and to compare two profiles.

use super::decide::{self, Decision};
use super::rules::{self, Cond, Test};
use super::{Native, arch, names};
use crate::Error;
use oci_spec::runtime::LinuxSeccomp;

/// What one call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: &'static str,
    /// The answer (`SECCOMP_RET_*`) of the first line that applies, e.g. `arg0 < 2 and arg2 != 0`.
    pub lines: Vec<(String, u32)>,
    /// The answer when none does.
    pub otherwise: u32,
}

/// A profile, call by call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// Sorted by name: the calls that the profile speaks of.
    pub named: Vec<Call>,
    /// What all others get.
    pub default: u32,
    /// But from this number on, which is newer than all that are named, where they get ENOSYS.
    pub unheard: Option<u32>,
}

impl Calls {
    /// What this call gets.
    pub fn of(&self, name: &'static str) -> Call {
        let unnamed = || Call { name, lines: Vec::new(), otherwise: self.default };
        self.named.iter().find(|call| call.name == name).cloned().unwrap_or_else(unnamed)
    }
}

/// Whether the call takes place: `ALLOW` or `LOG`.
pub fn permits(answer: u32) -> bool {
    matches!(answer & 0xffff_0000, 0x7fff_0000 | 0x7ffc_0000)
}

/// Reads a profile, or says everything that is wrong with it.
pub fn calls(seccomp: &LinuxSeccomp, native: Native) -> Result<Calls, Vec<Error>> {
    let profile = rules::read(seccomp)?;
    let mut named = Vec::new();
    let mut unheard = None;
    // Without a list only the machine's own interface.
    for abi in arch::selected(&[], native) {
        unheard = profile.unheard(abi);
        for (number, decision) in decide::decide(abi, &profile)? {
            let Some(name) = names::name(abi.column, number & !abi.marker) else { continue };
            named.push(match decision {
                Decision::Always(answer) => Call { name, lines: Vec::new(), otherwise: answer },
                Decision::First(lines) => {
                    let lines = lines.iter().map(|(conds, answer)| (words(conds), *answer)).collect();
                    Call { name, lines, otherwise: profile.default }
                }
            });
        }
    }
    named.sort_by_key(|call| call.name);
    Ok(Calls { named, default: profile.default, unheard })
}

fn words(conds: &[Cond]) -> String {
    conds.iter().map(|cond| format!("arg{}{}", cond.arg, test(&cond.test))).collect::<Vec<_>>().join(" and ")
}

fn test(test: &Test) -> String {
    match test {
        Test::Is(true, value) => format!(" == {value}"),
        Test::Is(false, value) => format!(" != {value}"),
        Test::Above(true, value) => format!(" > {value}"),
        Test::Above(false, value) => format!(" <= {value}"),
        Test::AtLeast(true, value) => format!(" >= {value}"),
        Test::AtLeast(false, value) => format!(" < {value}"),
        Test::Masked { mask, value } => format!(" & {mask:#x} == {value:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_call_is_named_with_its_conditions() {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mount", "no_such_call"], "action": "SCMP_ACT_ERRNO" },
            { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13, "args": [
                { "index": 0, "value": 2, "op": "SCMP_CMP_LT" }, { "index": 2, "value": 0, "op": "SCMP_CMP_NE" }] },
        ]});
        let calls = calls(&serde_json::from_value(profile).unwrap(), Native::X86_64).unwrap();
        assert_eq!(calls.named.iter().map(|call| call.name).collect::<Vec<_>>(), ["mount", "socket"]);
        assert_eq!((calls.of("mount").otherwise, permits(calls.of("mount").otherwise)), (0x0005_0001, false));
        assert_eq!(calls.of("socket").lines, [("arg0 < 2 and arg2 != 0".to_owned(), 0x0005_000d)]);
        assert!(permits(calls.of("socket").otherwise) && permits(calls.of("read").otherwise));
    }
}
