//! seccompiler as a second referee, for what it can express: one architecture, one action, conditions that must all hold.

use super::{Data, Insn, Native, compile, interpret};
use oci_spec::runtime::LinuxSeccomp;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const X86_64: u32 = 0xc000_003e;
/// What both are asked about, and a neighbour of each.
const CALLS: &[(&str, i64)] = &[("read", 0), ("open", 2), ("socket", 41), ("socketpair", 53), ("kill", 62), ("openat", 257)];
const VALUES: &[u64] = &[0, 1, 2, 16, 0xffff_ffff, 1 << 32, (1 << 32) + 1, u64::MAX];
const OPERATORS: &[(&str, SeccompCmpOp)] = &[
    ("SCMP_CMP_EQ", SeccompCmpOp::Eq),
    ("SCMP_CMP_NE", SeccompCmpOp::Ne),
    ("SCMP_CMP_GT", SeccompCmpOp::Gt),
    ("SCMP_CMP_GE", SeccompCmpOp::Ge),
    ("SCMP_CMP_LT", SeccompCmpOp::Lt),
    ("SCMP_CMP_LE", SeccompCmpOp::Le),
];

/// One rule in both languages: conditions on the arguments 0 and 1.
fn rule(op: usize, value: usize) -> (Value, SeccompRule) {
    let pick = |n: usize| (&OPERATORS[(op + n) % OPERATORS.len()], VALUES[(value + 3 * n) % VALUES.len()]);
    let [((first, a), x), ((second, b), y)] = [pick(0), pick(1)];
    let condition = |index, op: &SeccompCmpOp, value| SeccompCondition::new(index, SeccompCmpArgLen::Qword, op.clone(), value);
    let theirs = SeccompRule::new(vec![condition(0, a, x).unwrap(), condition(1, b, y).unwrap()]).unwrap();
    (json!([{"index": 0, "value": x, "op": first}, {"index": 1, "value": y, "op": second}]), theirs)
}

fn theirs(rules: BTreeMap<i64, Vec<SeccompRule>>) -> Vec<Insn> {
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(1), TargetArch::x86_64).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    program.iter().map(|i| Insn { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect()
}

#[test]
fn seccompiler_gives_the_same_verdict() {
    for seed in 0..OPERATORS.len() * VALUES.len() {
        let (mut syscalls, mut rules) = (Vec::new(), BTreeMap::new());
        for (i, (name, number)) in CALLS.iter().enumerate().filter(|(i, _)| (seed + i) % 3 != 0) {
            let (args, rule) = rule(seed + i, seed / OPERATORS.len() + i);
            syscalls.push(json!({"names": [name], "action": "SCMP_ACT_ERRNO", "args": args}));
            rules.insert(*number, vec![rule]);
        }
        let profile: LinuxSeccomp =
            serde_json::from_value(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls})).unwrap();
        let (ours, theirs) = (compile(&profile, Native::X86_64).unwrap().insns, theirs(rules));
        for (nr, a, b) in
            CALLS.iter().flat_map(|(_, n)| VALUES.iter().flat_map(move |a| VALUES.iter().map(move |b| (*n, *a, *b))))
        {
            for nr in [nr as i32, nr as i32 + 1] {
                let data = Data { nr, arch: X86_64, args: [a, b, 0, 0, 0, 0], ..Data::default() };
                assert_eq!(interpret(&ours, &data), interpret(&theirs, &data), "{data:x?} {syscalls:?}");
            }
        }
    }
}
