//! What a profile says of a call, without any program: slow, and as plain as the specification. Tests and the fuzzer hold programs
//! to it.

use super::arch::{self, Abi};
use super::rules::{self, Cond, Profile, RET_ENOSYS, RET_KILL_PROCESS, Test};
use super::{Data, Native, names};
use crate::Error;
use oci_spec::runtime::LinuxSeccomp;

/// A profile, taken at its word on one machine.
pub struct Meaning<'a> {
    profile: Profile<'a>,
    abis: Vec<&'static Abi>,
    native: Native,
}

impl<'a> Meaning<'a> {
    /// Reads it, or says what is wrong with it.
    pub fn new(seccomp: &'a LinuxSeccomp, native: Native) -> Result<Self, Vec<Error>> {
        let listed = seccomp.architectures().as_deref().unwrap_or_default();
        Ok(Meaning { profile: rules::read(seccomp)?, abis: arch::selected(listed, native), native })
    }

    /// The first rule without conditions, else the first whose conditions hold, else the default: a `SECCOMP_RET_*` value.
    pub fn answer(&self, data: &Data) -> u32 {
        let abi = arch::of(data.arch, data.nr as u32);
        let listed = abi.filter(|abi| self.abis.contains(abi));
        // A tracer's "skip this call" is of no interface.
        let skipped = data.nr == -1 && self.native == Native::X86_64 && data.arch == arch::AUDIT_X86_64;
        match listed.or(abi.filter(|_| skipped)) {
            Some(abi) => self.on(abi, data),
            None => RET_KILL_PROCESS,
        }
    }

    fn on(&self, abi: &Abi, data: &Data) -> u32 {
        let mut matching = None;
        for rule in &self.profile.rules {
            for (name, numbers) in &rule.calls {
                let carried = arch::carrier(name).is_some_and(|(carrier, call)| {
                    abi.multiplexed
                        && carrier.number == data.nr as u32
                        && data.args[0] as u32 & carrier.mask as u32 == call as u32
                });
                let direct = numbers[abi.column] != names::NO && numbers[abi.column] | abi.marker as i32 == data.nr;
                // Behind a carrier the first argument says which call it is, and what a rule says of it cannot be seen.
                let holds = |cond: &Cond| (carried && cond.arg == 0) || holds(cond, data, abi.narrow);
                if !(direct || carried) || !rule.alternatives.iter().any(|conds| conds.iter().all(holds)) {
                    continue;
                }
                if direct && rule.alternatives.iter().any(|conds| conds.iter().all(|cond| empty(cond, abi.narrow))) {
                    return rule.action;
                }
                matching = matching.or(Some(rule.action));
            }
        }
        matching.unwrap_or(if self.is_unheard(data) { RET_ENOSYS } else { self.profile.default })
    }

    /// Whether the call is none that the profile names, but newer than these, so that it gets ENOSYS for an answer.
    pub fn is_unheard(&self, data: &Data) -> bool {
        let abi = arch::of(data.arch, data.nr as u32).filter(|abi| self.abis.contains(abi));
        let Some(abi) = abi else { return false };
        let mut numbers = self.profile.rules.iter().flat_map(|rule| &rule.calls).map(|(_, numbers)| numbers[abi.column]);
        self.profile.unheard(abi).is_some_and(|from| data.nr as u32 >= from)
            && !numbers.any(|number| number != names::NO && number | abi.marker as i32 == data.nr)
    }

    /// What it speaks of, on every interface of the machine: `AUDIT_ARCH_*` and number.
    pub fn calls(&self) -> Vec<(u32, i32)> {
        let numbers = self.profile.rules.iter().flat_map(|rule| &rule.calls).map(|(_, numbers)| numbers);
        let on = |abi: &Abi, numbers: &names::Numbers| (abi.audit, numbers[abi.column] | abi.marker as i32);
        let mut calls: Vec<_> = numbers.flat_map(|numbers| self.abis.iter().map(|abi| on(abi, numbers))).collect();
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    /// What it compares arguments with.
    pub fn values(&self) -> Vec<u64> {
        let conds = self.profile.rules.iter().flat_map(|rule| rule.alternatives.iter().flatten());
        let mut values: Vec<u64> = conds
            .flat_map(|cond| match cond.test {
                Test::Is(_, value) | Test::Above(_, value) | Test::AtLeast(_, value) => [value, value],
                Test::Masked { mask, value } => [mask, value],
            })
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

fn empty(cond: &Cond, narrow: bool) -> bool {
    matches!(cond.test, Test::Masked { mask, .. } if mask == 0 || narrow && mask as u32 == 0)
}

fn holds(cond: &Cond, data: &Data, narrow: bool) -> bool {
    let cut = |value: u64| if narrow { u64::from(value as u32) } else { value };
    let arg = cut(data.args[usize::from(cond.arg)]);
    match cond.test {
        Test::Is(yes, value) => (arg == cut(value)) == yes,
        Test::Above(yes, value) => (arg > cut(value)) == yes,
        Test::AtLeast(yes, value) => (arg >= cut(value)) == yes,
        Test::Masked { mask, value } => arg & cut(mask) == cut(value),
    }
}
