//! The compiler as a whole: one test per feature, then the same verdict as libseccomp.

use super::*;
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const X32: i32 = 0x4000_0000;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

fn errno(errno: u32) -> u32 {
    0x0005_0000 | errno
}

fn profile(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn program(json: Value) -> Program {
    compile(&profile(json), Native::X86_64).unwrap()
}

/// The reasons for which a profile is refused.
fn refused(json: Value) -> Vec<String> {
    compile(&profile(json), Native::X86_64).unwrap_err().iter().map(ToString::to_string).collect()
}

fn ask(program: &Program, arch: u32, nr: i32, args: &[u64]) -> u32 {
    let mut data = Data { nr, arch, ..Data::default() };
    data.args[..args.len()].copy_from_slice(args);
    interpret(&program.insns, &data)
}

/// Allows everything but what the rules say.
fn deny(architectures: &[&str], syscalls: Value) -> Program {
    program(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": syscalls}))
}

#[test]
fn an_empty_profile_is_its_default_action_on_the_native_architecture_only() {
    let program = program(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    assert_eq!(ask(&program, X86_64, 1, &[]), ALLOW);
    assert_eq!(ask(&program, X86, 1, &[]), KILL_PROCESS);
    assert_eq!(ask(&program, AARCH64, 1, &[]), KILL_PROCESS);
    assert_eq!((program.flags, program.warnings), (0, vec![]));
}

#[test]
fn x32_numbers_kill_unless_x32_is_listed() {
    let rules = json!([{"names": ["getpid"], "action": "SCMP_ACT_ERRNO"}]);
    let without = deny(&["SCMP_ARCH_X86_64"], rules.clone());
    assert_eq!(ask(&without, X86_64, 39, &[]), errno(1));
    assert_eq!(ask(&without, X86_64, X32 | 39, &[]), KILL_PROCESS);
    assert_eq!(ask(&without, X86_64, i32::MIN, &[]), KILL_PROCESS);
    assert_eq!(ask(&without, X86_64, -1, &[]), ALLOW, "a tracer skips the call");
    let with = deny(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"], rules);
    assert_eq!(ask(&with, X86_64, X32 | 39, &[]), errno(1));
    assert_eq!(ask(&with, X86_64, X32 | 40, &[]), ALLOW);
    assert_eq!(ask(&with, X86_64, -1, &[]), ALLOW);
}

#[test]
fn x32_has_numbers_of_its_own() {
    let rules = json!([{"names": ["execve"], "action": "SCMP_ACT_ERRNO"}]);
    let program = deny(&["SCMP_ARCH_X32"], rules);
    assert_eq!(ask(&program, X86_64, X32 | 520, &[]), errno(1));
    assert_eq!(ask(&program, X86_64, X32 | 59, &[]), ALLOW);
    assert_eq!(ask(&program, X86_64, 59, &[]), errno(1));
}

#[test]
fn every_architecture_has_its_own_numbers_and_foreign_ones_are_passed_over() {
    let json = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["getpid", "cacheflush"], "action": "SCMP_ACT_ERRNO"}]});
    let here = compile(&profile(json.clone()), Native::X86_64).unwrap();
    let there = compile(&profile(json), Native::Aarch64).unwrap();
    for (program, arch, nr, answer) in [
        (&here, X86_64, 39, errno(1)),
        (&here, X86, 20, errno(1)),
        (&here, X86, 39, ALLOW),
        (&here, AARCH64, 172, KILL_PROCESS),
        (&there, AARCH64, 172, errno(1)),
        (&there, ARM, 20, errno(1)),
        (&there, ARM, 983042, errno(1)),
        (&there, X86_64, 39, KILL_PROCESS),
    ] {
        assert_eq!(ask(program, arch, nr, &[]), answer, "{arch:#x} {nr}");
    }
}

#[test]
fn every_action_has_its_answer() {
    let default = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
    for (action, ret, answer) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, errno(1)),
        ("SCMP_ACT_ERRNO", Some(0), errno(0)),
        ("SCMP_ACT_ERRNO", Some(4095), errno(4095)),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(0xffff), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
    ] {
        let rule = json!({"names": ["mkdir"], "action": action, "errnoRet": ret});
        let rule = deny(&[], json!([rule]));
        assert_eq!(ask(&rule, X86_64, 83, &[]), answer, "{action}");
        let all = json!({"defaultAction": action, "defaultErrnoRet": ret, "syscalls": [default]});
        let all = program(all);
        assert_eq!((ask(&all, X86_64, 83, &[]), ask(&all, X86_64, 0, &[])), (answer, ALLOW), "{action} as default");
    }
}

/// A filter that is looser than one of its lines must not be so in silence.
#[test]
fn a_rule_that_another_one_of_its_call_leaves_nothing_to_is_mentioned_where_it_says_something_else() {
    let rule = |action: &str, arg: Option<u64>| {
        let args = arg.map(|value| json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]));
        json!({"names": ["uname"], "action": format!("SCMP_ACT_{action}"), "args": args})
    };
    let decided = |loser: usize, winner: usize| {
        format!("linux.seccomp.syscalls[{loser}]: has no effect on `uname`: [{winner}] decides, whatever the arguments are")
    };
    let default =
        "linux.seccomp.syscalls[0]: has no effect on `uname`: it says what `defaultAction` does, and [1] something else";
    for (rules, answer, said) in [
        (json!([rule("LOG", None), rule("KILL", None)]), 0x7ffc_0000, vec![decided(1, 0)]),
        (json!([rule("ERRNO", Some(16)), rule("LOG", None)]), 0x7ffc_0000, vec![decided(0, 1)]),
        (
            json!([rule("ALLOW", None), rule("ERRNO", None), rule("ALLOW", Some(16))]),
            errno(1),
            vec![decided(0, 1), decided(2, 1)],
        ),
        (json!([rule("ALLOW", Some(16)), rule("ERRNO", Some(16))]), errno(1), vec![default.to_owned()]),
        (json!([rule("ERRNO", Some(1)), rule("ALLOW", None)]), ALLOW, vec![]),
        (json!([rule("LOG", None), rule("LOG", Some(3)), rule("LOG", None)]), 0x7ffc_0000, vec![]),
        (json!([rule("ERRNO", Some(16)), rule("LOG", Some(3))]), errno(1), vec![]),
    ] {
        let program = deny(&[], rules.clone());
        assert_eq!((ask(&program, X86_64, 63, &[16]), &program.warnings), (answer, &said), "{rules}");
    }
}

#[test]
fn every_comparison_sees_all_64_bits() {
    const V: u64 = 0x0000_0005_8000_0007;
    let values = [0, V - 1, V, V + 1, V + (1 << 32), V - (1 << 32), 7, V >> 32, V << 8, u64::MAX];
    type Holds = fn(u64) -> bool;
    let operators: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |arg| arg == V),
        ("SCMP_CMP_NE", |arg| arg != V),
        ("SCMP_CMP_GT", |arg| arg > V),
        ("SCMP_CMP_GE", |arg| arg >= V),
        ("SCMP_CMP_LT", |arg| arg < V),
        ("SCMP_CMP_LE", |arg| arg <= V),
    ];
    for (op, holds) in operators {
        let args = json!([{"index": 5, "value": V, "op": op}]);
        let program = deny(&[], json!([{"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "args": args}]));
        for value in values {
            let answer = if holds(value) { errno(1) } else { ALLOW };
            assert_eq!(ask(&program, X86_64, 9, &[0, 0, 0, 0, 0, value]), answer, "{value:#x} {op}");
        }
    }
}

#[test]
fn masked_equality_has_the_mask_first() {
    let masked = |mask: u64, value: Option<u64>| {
        let args = json!([{"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]);
        deny(&[], json!([{"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": args}]))
    };
    let program = masked(0xf0_0000_00f0, Some(0x10_0000_0fff));
    for (arg, answer) in [(0x10_0000_00f0, errno(1)), (0x1f_1234_56ff, errno(1)), (0x10_0000_0000, ALLOW), (0xf0, ALLOW)] {
        assert_eq!(ask(&program, X86_64, 56, &[arg]), answer, "{arg:#x}");
    }
    assert_eq!(ask(&masked(0x80, None), X86_64, 56, &[0x7f]), errno(1), "valueTwo defaults to 0");
    assert_eq!(ask(&masked(0, Some(7)), X86_64, 56, &[1]), errno(1), "no bits to compare");
}

#[test]
fn conditions_on_different_arguments_must_all_hold_and_on_one_argument_any() {
    let rule = |second: usize| {
        let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": second, "value": 2, "op": "SCMP_CMP_EQ"}]);
        deny(&[], json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": args}]))
    };
    let (both, any) = (rule(1), rule(0));
    assert_eq!(ask(&both, X86_64, 41, &[1, 2]), errno(1));
    assert_eq!(ask(&both, X86_64, 41, &[1, 3]), ALLOW);
    assert_eq!(ask(&both, X86_64, 41, &[2, 2]), ALLOW);
    assert_eq!(ask(&any, X86_64, 41, &[1]), errno(1));
    assert_eq!(ask(&any, X86_64, 41, &[2]), errno(1));
    assert_eq!(ask(&any, X86_64, 41, &[3]), ALLOW);
}

#[test]
fn a_rule_without_conditions_wins_wherever_it_stands_then_the_first_that_matches() {
    let arg = |value: u64, op: &str| json!([{"index": 0, "value": value, "op": op}]);
    let unconditional = deny(
        &[],
        json!([
            {"names": ["kill"], "action": "SCMP_ACT_TRAP", "args": arg(1, "SCMP_CMP_EQ")},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 6},
        ]),
    );
    assert_eq!(ask(&unconditional, X86_64, 62, &[1]), errno(5));
    let overlapping = deny(
        &[],
        json!([
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": arg(9, "SCMP_CMP_LE")},
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 6, "args": arg(5, "SCMP_CMP_GE")},
        ]),
    );
    for (value, answer) in [(1, errno(5)), (7, errno(5)), (10, errno(6))] {
        assert_eq!(ask(&overlapping, X86_64, 62, &[value]), answer);
    }
}

#[test]
fn a_rule_that_says_the_default_is_no_rule() {
    let program = program(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
    ]}));
    assert_eq!(ask(&program, X86_64, 62, &[1]), ALLOW);
    assert_eq!(ask(&program, X86_64, 62, &[2]), errno(1));
}

#[test]
fn i386_sockets_and_ipc_are_also_reached_through_their_carriers() {
    let program = deny(
        &["SCMP_ARCH_X86"],
        json!([
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]},
            {"names": ["shmat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2},
            {"names": ["accept"], "action": "SCMP_ACT_ERRNO", "errnoRet": 3},
        ]),
    );
    for (nr, arg, answer) in [
        (359, 16, errno(1)),
        (359, 2, ALLOW),
        (102, 1, errno(1)),
        (102, 2, ALLOW),
        (102, 5, errno(3)),
        (397, 0, errno(2)),
        (117, 21, errno(2)),
        (117, 0x1_0015, errno(2)),
        (117, 22, ALLOW),
    ] {
        assert_eq!(ask(&program, X86, nr, &[arg]), answer, "{nr}({arg:#x})");
    }
}

#[test]
fn architectures_and_flags_that_come_to_nothing_are_told() {
    let program = |architectures: &[&str], action: &str| {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [{"names": ["mkdir"], "action": action}],
        });
        compile(&serde_json::from_value(profile).unwrap(), Native::X86_64).unwrap().warnings
    };
    // What engines name on such a machine, and a word for whatever it is.
    let dockers = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_NATIVE"];
    assert_eq!(program(&dockers, "SCMP_ACT_NOTIFY"), [""; 0]);
    let idle =
        "linux.seccomp.flags[0]: `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` has no effect, as no action is `SCMP_ACT_NOTIFY`";
    assert_eq!(program(&dockers, "SCMP_ACT_ERRNO"), [idle]);
    let foreign = "linux.seccomp.architectures[1]: has no effect: this machine runs no programs of `SCMP_ARCH_RISCV64`";
    assert_eq!(program(&["SCMP_ARCH_X86_64", "SCMP_ARCH_RISCV64"], "SCMP_ACT_NOTIFY"), [foreign]);
}

#[test]
fn a_second_value_that_is_not_compared_is_told() {
    let told = |op: &str, value: u64, two: u64| {
        let args = json!([{"index": 0, "value": value, "valueTwo": two, "op": op}]);
        deny(&[], json!([{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": args}])).warnings
    };
    let place = "linux.seccomp.syscalls[0].args[0].valueTwo";
    assert_eq!(told("SCMP_CMP_EQ", 1, 2), [format!("{place}: has no effect: `SCMP_CMP_EQ` compares with `value` alone")]);
    let outside = "the bits 0x8 have no effect: the mask `value` lacks them";
    assert_eq!(told("SCMP_CMP_MASKED_EQ", 7, 12), [format!("{place}: {outside}")]);
    assert!(told("SCMP_CMP_NE", 1, 0).is_empty() && told("SCMP_CMP_MASKED_EQ", 7, 5).is_empty());
}

#[test]
fn unknown_names_are_told_and_skipped() {
    let program = deny(&[], json!([{"names": ["read", "nosuch", "_llseek"], "action": "SCMP_ACT_ERRNO"}]));
    assert_eq!(program.warnings, ["linux.seccomp.syscalls[0].names[1]: no architecture has a system call `nosuch`: skipped"]);
    assert_eq!(ask(&program, X86_64, 0, &[]), errno(1));
}

#[test]
fn every_reason_is_said_at_once() {
    let reasons = refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096},
        {"names": [], "action": "SCMP_ACT_TRACE", "errnoRet": 65536},
        {"names": [""], "action": "SCMP_ACT_LOG", "errnoRet": 1, "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]},
    ]}));
    let expected = [
        "linux.seccomp.defaultErrnoRet: `SCMP_ACT_ALLOW` returns no errno",
        "linux.seccomp.syscalls[0].errnoRet: 4096 is greater than 4095",
        "linux.seccomp.syscalls[1].errnoRet: 65536 is greater than 65535",
        "linux.seccomp.syscalls[1].names: a rule needs at least one name",
        "linux.seccomp.syscalls[2].errnoRet: `SCMP_ACT_LOG` returns no errno",
        "linux.seccomp.syscalls[2].names[0]: a name is empty",
        "linux.seccomp.syscalls[2].args[0].index: argument 6 does not exist: a system call has 0 to 5",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn the_same_conditions_with_two_actions_are_refused() {
    let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let reasons = refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args},
        {"names": ["read", "kill"], "action": "SCMP_ACT_TRAP", "args": args},
    ]}));
    let place = "linux.seccomp.syscalls[1]";
    let what = "`kill` under the same conditions has another action in linux.seccomp.syscalls[0]";
    assert_eq!(reasons, [format!("{place}: {what}")]);
}

#[test]
fn two_actions_that_i386_cannot_tell_apart_are_refused_with_a_remedy() {
    let rule = |value: u64, errno: u32| {
        let args = json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
        json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args})
    };
    let json =
        |archs: &[&str]| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": [rule(1, 1), rule(2, 2)]});
    assert_eq!(ask(&program(json(&[])), X86_64, 41, &[2]), errno(2));
    let reasons = refused(json(&["SCMP_ARCH_X86"]));
    assert_eq!(reasons.len(), 1);
    assert!(
        reasons[0].starts_with("linux.seccomp.syscalls[1]: ") && reasons[0].contains("leave out `SCMP_ARCH_X86`"),
        "{reasons:?}"
    );
}

#[test]
fn flags_become_bits_where_they_have_an_effect() {
    let flags = |action: &str, flags: &[&str]| {
        let rules = json!([{"names": ["mkdir"], "action": action}]);
        program(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": rules})).flags
    };
    let all = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    assert_eq!(flags("SCMP_ACT_ERRNO", &[]), 0);
    assert_eq!(flags("SCMP_ACT_ERRNO", &all), 0b110);
    assert_eq!(flags("SCMP_ACT_NOTIFY", &[]), 0b1000);
    assert_eq!(flags("SCMP_ACT_NOTIFY", &all), 0b10_1110);
}

/// A rule per value: `personality` is asked about each of them.
fn many(count: u64, op: &str) -> Value {
    let rule = |n: u64| {
        json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": n % 4000,
        "args": [{"index": 0, "value": n << 20, "op": op}]})
    };
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": (0..count).map(rule).collect::<Vec<_>>()})
}

/// Whether the kernel would take it (`bpf_check_classic`, `seccomp_check_filter`), which looks at every instruction.
fn loadable(program: &[Insn]) -> bool {
    let inside = |at: usize, insn: &Insn| match insn.code {
        emit::LD => insn.k.is_multiple_of(4) && insn.k < 64,
        emit::JA => at + 1 + (insn.k as usize) < program.len(),
        emit::JEQ | emit::JGT | emit::JGE => at + 1 + usize::from(insn.jt.max(insn.jf)) < program.len(),
        emit::AND | emit::RET => true,
        _ => false,
    };
    let ends = program.last().is_some_and(|insn| insn.code == emit::RET);
    ends && program.len() <= MOST && program.iter().enumerate().all(|(at, insn)| inside(at, insn))
}

#[test]
fn far_jumps_arrive() {
    let program = program(many(500, "SCMP_CMP_EQ"));
    assert!(program.insns.len() > 2000 && loadable(&program.insns));
    for n in 0..500u64 {
        assert_eq!(ask(&program, X86_64, 135, &[n << 20]), errno(n as u32));
        assert_eq!(ask(&program, X86, 136, &[n << 20]), errno(n as u32));
    }
    assert_eq!(ask(&program, X86_64, 135, &[1]), ALLOW);
    assert_eq!(ask(&program, X86_64, 0, &[1]), ALLOW);
    assert_eq!(ask(&program, ARM, 0, &[1]), KILL_PROCESS);
}

#[test]
fn a_program_that_the_kernel_would_not_take_is_refused() {
    let reasons = refused(many(1000, "SCMP_CMP_GT"));
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("the kernel takes at most 4096"), "{reasons:?}");
}

/// Comparing each with each took 13 s, and a name for each condition what memory there was.
#[test]
fn a_profile_without_measure_is_refused_in_no_time() {
    let began = std::time::Instant::now();
    let test = |n| json!({"index": 0, "value": n, "op": "SCMP_CMP_EQ"});
    let rule = |names: usize, args: Vec<Value>| json!({"names": vec!["read"; names], "action": "SCMP_ACT_ERRNO", "args": args});
    let refused = |rules: Vec<Value>| refused(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let reasons = refused((0..20_000).map(|n| rule(1, vec![test(n)])).collect());
    assert!(reasons.len() == 1 && reasons[0].contains("instructions; the kernel takes at most 4096"), "{reasons:?}");
    let reasons = refused(vec![rule(10_000, (0..10_000).map(test).collect())]);
    assert!(reasons.len() == 1 && reasons[0].contains("speak of more than 131072 calls"), "{reasons:?}");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn a_listing_names_what_it_tests() {
    let program = deny(
        &["SCMP_ARCH_X86"],
        json!([
            {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]},
        ]),
    );
    let expected = include_str!("testdata/listing.txt");
    assert_eq!(show(&program.insns).join("\n"), expected.trim_end());
}

/// moby's profiles/seccomp/default.json (00f3d189) for amd64 and Docker's default capabilities, as it stands in config.json.
fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("testdata/docker.json")).unwrap()
}

#[test]
fn dockers_profile_is_short_and_its_search_shallow() {
    let program = compile(&docker(), Native::X86_64).unwrap();
    assert!(program.warnings.is_empty());
    assert_eq!(program, compile(&docker(), Native::X86_64).unwrap());
    let theirs = oracle::compile(&docker(), Native::X86_64).unwrap();
    assert!(program.insns.len() * 2 < theirs.len(), "{} of {}", program.insns.len(), theirs.len());
    assert!(steps(&program.insns, 257) <= 12, "{}", steps(&program.insns, 257));
}

/// Instructions until a call is answered.
fn steps(program: &[Insn], nr: i32) -> usize {
    let data = Data { nr, arch: X86_64, ..Data::default() };
    (1..).find(|n| *n == 64 || run_for(program, &data, *n)).unwrap()
}

/// Whether the answer comes within so many instructions.
fn run_for(program: &[Insn], data: &Data, most: usize) -> bool {
    let (mut at, mut a) = (0, 0);
    for _ in 0..most {
        let insn = program[at];
        let taken = match insn.code {
            emit::RET => return true,
            emit::LD => {
                a = if insn.k == 0 { data.nr as u32 } else { data.arch };
                false
            }
            emit::JEQ => a == insn.k,
            emit::JGE => a >= insn.k,
            _ => return false,
        };
        at += 1 + usize::from(if taken { insn.jt } else { insn.jf });
    }
    false
}

#[test]
fn what_is_newer_than_all_that_a_profile_names_does_not_exist_for_a_program() {
    let rules = json!([{"names": ["openat", "statx", "cacheflush"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO"}, {"names": ["nosuchcall"], "action": "SCMP_ACT_ALLOW"}]);
    let compiled = |default: &str, errno: Option<u32>| {
        let archs = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"];
        compile(
            &profile(json!({"defaultAction": default, "defaultErrnoRet": errno, "architectures": archs, "syscalls": rules})),
            Native::X86_64,
        )
    };
    let strict = compiled("SCMP_ACT_ERRNO", Some(13)).unwrap();
    assert_eq!(strict.unheard, Some(436));
    for (arch, marker) in [(X86_64, 0), (X86_64, X32), (X86, 0)] {
        // 334 is an older one, 435 clone3, which is refused by name and so is known, 436 close_range, 1000 nothing yet.
        let answers = [334, 435, 436, 1000].map(|nr| ask(&strict, arch, nr | marker, &[]));
        assert_eq!(answers, [errno(13), errno(1), errno(38), errno(38)], "{arch:x} {marker:x}");
    }
    assert_eq!(ask(&compiled("SCMP_ACT_ERRNO", None).unwrap(), X86_64, -1, &[]), errno(38), "x32 is listed");
    assert_eq!(ask(&deny(&[], json!([])), X86_64, 1000, &[]), ALLOW);
    // What kills or asks somebody does so for all: who wrote that wants to hear of it.
    for default in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_LOG"] {
        let program = compiled(default, None).unwrap();
        assert_eq!((program.unheard, ask(&program, X86_64, 1000, &[])), (None, ask(&program, X86_64, 334, &[])), "{default}");
    }
    // Old numbers are in no order: a profile that names a few of them knows all.
    let few = program(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}));
    assert_eq!([83, 423, 424].map(|nr| ask(&few, X86_64, nr, &[])), [errno(1), errno(1), errno(38)]);
}

#[test]
fn private_calls_of_arm_say_nothing_about_a_profiles_age() {
    let rules = json!([{"names": ["read", "cacheflush"], "action": "SCMP_ACT_ALLOW"}]);
    let profile = profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"], "syscalls": rules}));
    let program = compile(&profile, Native::Aarch64).unwrap();
    let answers = [3, 4, 1000, 983_042, 983_043].map(|nr| ask(&program, ARM, nr, &[]));
    assert_eq!(answers, [ALLOW, errno(1), errno(38), ALLOW, errno(38)]);
}

/// libseccomp's verdict, but for calls that are newer than the profile.
fn theirs(theirs: &[Insn], meaning: &Meaning<'_>, data: &Data) -> u32 {
    if meaning.is_unheard(data) { errno(38) } else { interpret(theirs, data) }
}

/// The profiles of this project's own bundles, with the rule that keeps libseccomp from losing its way (see `oracle`).
fn examples() -> impl Iterator<Item = LinuxSeccomp> {
    let dirs = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../bundle-examples")).unwrap();
    let configs = dirs.filter_map(|dir| std::fs::read(dir.unwrap().path().join("config.json")).ok());
    configs.filter_map(|text| {
        let config: Value = serde_json::from_slice(&text).unwrap();
        let mut seccomp = config.pointer("/linux/seccomp")?.clone();
        seccomp["syscalls"]
            .as_array_mut()
            .unwrap()
            .push(json!({"names": ["getpid"], "action": "SCMP_ACT_TRACE", "errnoRet": 77}));
        Some(profile(seccomp))
    })
}

#[test]
fn dockers_profile_and_our_own_give_libseccomps_verdict_for_every_number() {
    let own: Vec<LinuxSeccomp> = examples().collect();
    assert!(own.len() >= 3);
    let compared: usize = own.into_iter().chain([docker()]).map(|profile| same_for_every_number(&profile)).sum();
    eprintln!("{compared} calls compared");
    assert!(compared > 300_000, "{compared}");
}

fn same_for_every_number(profile: &LinuxSeccomp) -> usize {
    let ours = compile(profile, Native::X86_64).unwrap().insns;
    let libseccomp = oracle::compile(profile, Native::X86_64).unwrap();
    let meaning = Meaning::new(profile, Native::X86_64).unwrap();
    let args = [0, 1, 8, 40, 0x2_0000, 0x7e02_0000, 0xffff_ffff, 0x1_0000_0028, 0x10_0000_0000];
    let mut compared = 0;
    for arch in [X86_64, X86, AARCH64, ARM, 0] {
        for nr in (-2..600).chain(X32 - 2..X32 + 600) {
            // What this libseccomp has not heard of yet.
            if nr & !X32 >= 455 && nr & !X32 < 512 {
                continue;
            }
            for arg in args {
                let data = Data { nr, arch, args: [arg; 6], ..Data::default() };
                assert_eq!(interpret(&ours, &data), theirs(&libseccomp, &meaning, &data), "{data:x?}");
                compared += 1;
            }
        }
    }
    compared
}

/// xorshift64*: the same profiles at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[rustfmt::skip]
const NAMES: &[&str] = &[
    "read", "write", "openat", "socket", "connect", "send", "accept4", "shmat", "msgget", "clone", "personality",
    "ioctl", "execve", "ptrace", "rt_sigaction", "clock_gettime64", "newfstatat", "cacheflush", "mmap2", "fcntl64",
    "waitid", "prctl", "kill", "umount", "nosuchcall",
];
const VALUES: &[u64] =
    &[0, 1, 2, 7, 40, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 1, (2 << 32) + 7, 1 << 63, u64::MAX];
const OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_NE", "SCMP_CMP_GT", "SCMP_CMP_GE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_MASKED_EQ"];
const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_NOTIFY",
];
const ARCHS: &[&str] = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"];

fn random_args(random: &mut Random, operators: &[&str]) -> Vec<Value> {
    let arg = |random: &mut Random| {
        let index = random.below(6).min(random.below(6));
        let (value, two) = (random.pick(VALUES), random.pick(VALUES));
        json!({"index": index, "value": value, "valueTwo": two, "op": random.pick(operators)})
    };
    (0..random.pick(&[0, 1, 1, 2, 3])).map(|_| arg(random)).collect()
}

/// Any profile at all.
fn random_profile(random: &mut Random, rule: fn(&mut Random) -> Value) -> LinuxSeccomp {
    let archs: Vec<&str> = ARCHS.iter().copied().filter(|_| random.below(3) > 0).collect();
    let mut rules = vec![json!({"names": ["getpid"], "action": "SCMP_ACT_TRACE", "errnoRet": 77})];
    for _ in 0..=random.below(10) {
        let rule = rule(random);
        if !rules.iter().any(|other| rule["once"] == true && other["names"] == rule["names"]) {
            rules.push(rule);
        }
    }
    let default = random.pick(ACTIONS);
    let errno = random_errno(random, default);
    profile(json!({"defaultAction": default, "defaultErrnoRet": errno, "architectures": archs, "syscalls": rules}))
}

/// What an action may return, or nothing: EPERM. libseccomp 2.5.4 refuses 4095, the greatest.
const ERRNOS: &[Option<u32>] = &[None, Some(0), Some(1), Some(38), Some(4094)];

fn random_errno(random: &mut Random, action: &str) -> Option<u32> {
    if matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") { random.pick(ERRNOS) } else { None }
}

fn any_rule(random: &mut Random) -> Value {
    let args = random_args(random, OPERATORS);
    let action = random.pick(ACTIONS);
    let errno = random_errno(random, action);
    json!({"names": [random.pick(NAMES), random.pick(NAMES)], "action": action, "errnoRet": errno, "args": args})
}

/// A rule whose effect does not depend on the order of rules: for each name all conditional ones have the same action and errno.
/// Half of the names have several tests for equality, the others once any test of each argument: libseccomp 2.5.4 goes
/// wrong where it joins tests for order of the same argument.
fn orderless_rule(random: &mut Random) -> Value {
    let name = random.below(NAMES.len());
    let once = name.is_multiple_of(2);
    let mut args = random_args(random, if once { OPERATORS } else { &["SCMP_CMP_EQ", "SCMP_CMP_MASKED_EQ"] });
    if once {
        args.sort_by_key(|arg| arg["index"].as_u64());
        args.dedup_by_key(|arg| arg["index"].as_u64());
    }
    let action = if args.is_empty() { random.pick(ACTIONS) } else { ACTIONS[name % ACTIONS.len()] };
    let errno = if args.is_empty() { random_errno(random, action) } else { random_errno(&mut Random(name as u64), action) };
    json!({"names": [NAMES[name]], "action": action, "errnoRet": errno, "args": args, "once": once})
}

/// A call that is likely to matter to the profile.
fn random_data(random: &mut Random, profile: &LinuxSeccomp) -> Data {
    let arch = random.pick(&[X86_64, X86_64, X86_64, X86, X86, AARCH64, AARCH64, ARM, 0x4000_0029]);
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let rule = &rules[random.below(rules.len())];
    let numbers = names::numbers(&rule.names()[0]).copied().unwrap_or([0; 5]);
    let column = match arch {
        X86_64 => random.below(2),
        X86 => 2,
        AARCH64 => 3,
        _ => 4,
    };
    let marker = if column == 1 { X32 } else { 0 };
    let nr = match random.below(12) {
        0 => -1,
        1 => random.next() as i32,
        2 => numbers[column].wrapping_add(1) | marker,
        3 => 102,
        4 => 117,
        _ => numbers[column] | marker,
    };
    let mut args = [0; 6].map(|_| random.pick(VALUES).wrapping_add(random.pick(&[0, 0, 0, 1, u64::MAX])));
    for arg in rule.args().iter().flatten() {
        args[arg.index()] = random.pick(&[args[arg.index()], arg.value(), arg.value_two().unwrap_or(0)]);
    }
    match nr {
        102 => args[0] = random.next() % 22,
        117 => args[0] = random.next() % 26,
        _ => {}
    }
    Data { nr, arch, args, instruction_pointer: random.next() }
}

#[test]
fn random_profiles_mean_what_they_say() {
    let mut random = Random(0xb9f);
    for _ in 0..2000 {
        let profile = random_profile(&mut random, any_rule);
        let native = random.pick(&[Native::X86_64, Native::Aarch64]);
        let Ok(program) = compile(&profile, native) else { continue };
        assert!(loadable(&program.insns), "{}", shown(&profile));
        let meaning = Meaning::new(&profile, native).unwrap();
        for _ in 0..40 {
            let data = random_data(&mut random, &profile);
            let expected = meaning.answer(&data);
            assert_eq!(interpret(&program.insns, &data), expected, "{native:?} {data:x?}\n{}", shown(&profile));
        }
    }
}

fn shown(profile: &LinuxSeccomp) -> String {
    serde_json::to_string_pretty(profile).unwrap()
}

#[test]
fn random_profiles_give_libseccomps_verdict() {
    let mut random = Random(0x5ecc_0317);
    let mut compared = 0;
    for _ in 0..3000 {
        let profile = random_profile(&mut random, orderless_rule);
        let native = random.pick(&[Native::X86_64, Native::X86_64, Native::Aarch64]);
        let Ok(libseccomp) = oracle::compile(&profile, native) else { continue };
        let ours = compile(&profile, native).unwrap();
        let meaning = Meaning::new(&profile, native).unwrap();
        compared += 1;
        for _ in 0..60 {
            let data = random_data(&mut random, &profile);
            let (ours, theirs) = (interpret(&ours.insns, &data), theirs(&libseccomp, &meaning, &data));
            assert_eq!(ours, theirs, "{native:?} {data:x?}\n{}", shown(&profile));
        }
    }
    eprintln!("{compared} profiles, {} calls compared", compared * 60);
    assert!(compared > 2500, "{compared}");
}
