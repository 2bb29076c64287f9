//! `dev.codexrun.unix-sockets`: Unix sockets of the container's own, and none of the host's but those granted. What the filter of
//! config.json says of them, which other runtimes obey, gives way to these rules.

use super::op::{Begins, Broker, Op, ParentOp};
use super::order::Stage;
use super::{Draft, ParentStep, annotation_of};
use crate::argument::{AF_UNIX, INT, MSG_FASTOPEN, SOCK_DGRAM, SOCK_MASK, SOCK_RAW};
use crate::{Error, Result, annotation};
use oci_spec::runtime::{
    LinuxIdMapping, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
    LinuxSyscallBuilder, Spec,
};
use std::path::PathBuf;

/// What becomes of a call under conditions on its arguments.
type Rule = (&'static str, &'static [(usize, When)], Action);

/// A condition.
enum When {
    /// argument & mask == value
    Is(u64, u64),
    /// argument != 0
    Some,
}
use When::Is;

/// Always.
const SHUT: &[Rule] = &[
    ("socket", &[(0, Is(INT, AF_UNIX)), (1, Is(SOCK_MASK, SOCK_RAW))], Action::ScmpActErrno),
    ("socketpair", &[(1, Is(SOCK_MASK, SOCK_RAW))], Action::ScmpActErrno),
    // Arguments behind a pointer, and sockets without these calls.
    ("socketcall", &[], Action::ScmpActErrno),
    ("io_uring_setup", &[], Action::ScmpActErrno),
    ("io_uring_enter", &[], Action::ScmpActErrno),
    ("io_uring_register", &[], Action::ScmpActErrno),
];
/// sendto(2) and sendmsg(2) take a name for a datagram, and for nothing else of AF_UNIX (unix(7)); so where there are no datagram
/// sockets, connect(2) alone reaches a name.
const STREAMS: &[Rule] = &[
    ("socket", &[(0, Is(INT, AF_UNIX)), (1, Is(SOCK_MASK, SOCK_DGRAM))], Action::ScmpActErrno),
    ("socketpair", &[(1, Is(SOCK_MASK, SOCK_DGRAM))], Action::ScmpActErrno),
];
/// Where there are, whoever gives a name to send to asks the broker. sendmsg(2) has its name behind a pointer: all of them ask.
const DATAGRAMS: &[Rule] = &[
    ("sendto", &[(3, Is(MSG_FASTOPEN, MSG_FASTOPEN))], Action::ScmpActErrno),
    ("sendto", &[(4, When::Some)], Action::ScmpActNotify),
    ("sendmsg", &[], Action::ScmpActNotify),
    ("sendmmsg", &[], Action::ScmpActNotify),
];
/// A pair is of the namespace that its maker is in, whatever may be done with it.
const NO_PAIR: &[Rule] = &[("socketpair", &[(1, Is(SOCK_MASK, SOCK_DGRAM))], Action::ScmpActErrno)];
const CONNECT: Rule = ("connect", &[], Action::ScmpActNotify);
/// A socket that was made outside would listen there, whoever has bound it; connect(2) and this are all that TCP needs.
const LISTEN: Rule = ("listen", &[], Action::ScmpActNotify);
/// A program's own rules of Landlock do not see what the broker connects for it, so it is told of a kernel that has no such rules.
const RULESET: Rule = ("landlock_create_ruleset", &[], Action::ScmpActNotify);
/// They are made in the container's own network namespace, where no name of the host's is known.
const OWN: &[Rule] = &[("socket", &[(0, Is(INT, AF_UNIX))], Action::ScmpActAllow), CONNECT, LISTEN, RULESET];
/// In the host's they are made by the broker.
const MADE: &[Rule] = &[("socket", &[(0, Is(INT, AF_UNIX))], Action::ScmpActNotify), CONNECT, RULESET];
/// Nobody answers.
const NONE: &[Rule] = &[("socket", &[(0, Is(INT, AF_UNIX))], Action::ScmpActErrno)];

/// The rules that go before those of the filter; none without the annotation.
pub(super) fn rules(draft: &mut Draft, spec: &Spec, ports: Option<Vec<u16>>) -> Vec<LinuxSyscall> {
    let datagrams = annotation_of(spec, annotation::UNIX_DATAGRAMS).is_some();
    let Some(text) = annotation_of(spec, annotation::UNIX_SOCKETS) else {
        if datagrams {
            draft.refuse(
                format!("annotations[{}]", annotation::UNIX_DATAGRAMS),
                "has no meaning without `dev.codexrun.unix-sockets`",
            );
        }
        return Vec::new();
    };
    let place = format!("annotations[{}]", annotation::UNIX_SOCKETS);
    let Some(grants) = draft.take(&place, grants(text)) else { return Vec::new() };
    let silent = grants.iter().filter(|path| !datagrams && draft.host.datagrams.contains(*path));
    draft.warnings.extend(silent.map(|path| {
        let (path, asks) = (path.display(), annotation::UNIX_DATAGRAMS);
        format!("config.json: {place}: `{path}` is a socket of datagrams, which the sandbox has none of, so nothing can be sent there: `--unix-datagrams` (`{asks}`) asks for them")
    }));
    let own_network = draft.spaces.own(libc::CLONE_NEWNET);
    let more = match () {
        // Of the container, which has been planned, or of one whose broker is gone.
        () if draft.joins && !draft.options.broker => None,
        () if draft.joins => Some(Begins::Before),
        () if !draft.host.listener => {
            let why = "nobody may answer for a filter (Linux 5.19; an outer filter or Yama may forbid it)";
            if datagrams || !grants.is_empty() {
                draft.refuse(&place, format!("cannot be granted here: {why}"));
            } else {
                draft.warnings.push(format!("config.json: {place}: of Unix sockets there are pairs only: {why}"));
            }
            None
        }
        () => {
            if let Some(why) = unfit(draft, spec) {
                draft.refuse(&place, why);
            }
            Some(begins(draft, spec))
        }
    };
    let open = more.map(|begins| {
        if begins != Begins::Before {
            draft.step(Stage::Namespaces, Op::Lend { own_network }, &place);
        }
        let op = ParentOp::Broker(Broker { grants, own_network, datagrams, ports, begins });
        draft.parent.push(ParentStep { op, origin: place.clone() });
        if own_network { OWN } else { MADE }
    });
    let kinds = match (open, datagrams) {
        (Some(_), true) if own_network => [DATAGRAMS, &[]],
        (Some(_), true) => [DATAGRAMS, NO_PAIR],
        _ => [STREAMS, &[]],
    };
    let all = [SHUT, kinds[0], kinds[1], open.unwrap_or(NONE)];
    let rules: Result<_, _> = all.into_iter().flatten().map(rule).collect();
    draft.take(&place, rules).unwrap_or_default()
}

fn begins(draft: &Draft, spec: &Spec) -> Begins {
    let hooks = spec.hooks().as_ref().is_some_and(|hooks| hooks.poststart().as_ref().is_some_and(|all| !all.is_empty()));
    // Nobody stays to begin it later, or who stays may have to wait for what asks it.
    if draft.options.detach || hooks { Begins::AtOnce } else { Begins::WhenAsked }
}

/// Whether it is the broker that is asked.
pub(super) fn is_planned(draft: &Draft) -> bool {
    draft.parent.iter().any(|step| matches!(step.op, ParentOp::Broker(_)))
}

fn grants(text: &str) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = serde_json::from_str(text).map_err(|e| Error::new("is no JSON array of paths").cause(e))?;
    match paths.iter().find(|path| !path.is_absolute()) {
        Some(path) => Err(Error::new(format!("`{}` is not an absolute path", path.display()))),
        None => Ok(paths),
    }
}

/// The broker reaches what the caller of codexrun does. So nobody inside may be anybody else.
fn unfit(draft: &Draft, spec: &Spec) -> Option<&'static str> {
    let linux = spec.linux().as_ref()?;
    let is = |maps: &Option<Vec<LinuxIdMapping>>, id: u32| match maps.as_deref() {
        Some([one]) => (one.host_id(), one.size()) == (id, 1),
        _ => false,
    };
    let alone = is(linux.uid_mappings(), draft.host.uid) && is(linux.gid_mappings(), draft.host.gid);
    let notifies = linux.seccomp().as_ref().is_some_and(|s| {
        s.default_action() == Action::ScmpActNotify
            || s.syscalls().iter().flatten().any(|rule| rule.action() == Action::ScmpActNotify)
    });
    match () {
        () if !alone || draft.spaces.new & libc::CLONE_NEWUSER as u64 == 0 => {
            Some("needs a user namespace with one id, the caller's: who connects for the container has no other's rights")
        }
        () if notifies => Some("has no place beside `SCMP_ACT_NOTIFY`: a filter has one listener"),
        () => None,
    }
}

fn rule((call, when, action): &Rule) -> Result<LinuxSyscall> {
    let cannot = |e| Error::new("cannot write the rules of Unix sockets").cause(e);
    let arg = |(index, when): &(usize, When)| {
        let arg = LinuxSeccompArgBuilder::default().index(*index);
        match when {
            Is(mask, value) => arg.op(LinuxSeccompOperator::ScmpCmpMaskedEq).value(*mask).value_two(*value).build(),
            When::Some => arg.op(LinuxSeccompOperator::ScmpCmpNe).value(0u64).build(),
        }
    };
    let args: Vec<LinuxSeccompArg> = when.iter().map(arg).collect::<Result<_, _>>().map_err(cannot)?;
    let rule = LinuxSyscallBuilder::default().names(vec![(*call).to_owned()]).action(*action).args(args);
    let rule = if *action == Action::ScmpActErrno { rule.errno_ret(libc::EPERM as u32) } else { rule };
    rule.build().map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{Data, interpret};
    use crate::bundle::{Bundle, Rootfs};
    use crate::host::Host;
    use crate::plan::op::Op;
    use crate::plan::{Options, Plan};
    use serde_json::{Value, json};

    const ID: u32 = 1000;
    const EPERM: u32 = 0x5_0000 | libc::EPERM as u32;
    const NOTIFY: u32 = 0x7fc0_0000;
    const ALLOW: u32 = 0x7fff_0000;

    fn plan(change: impl FnOnce(&mut Value), host: Host) -> Result<Plan, Vec<Error>> {
        Plan::new(&bundle(change), &host, &Options { no_cgroup: true, ..Options::default() })
    }

    fn bundle(change: impl FnOnce(&mut Value)) -> Bundle {
        let ids = json!([{ "containerID": 0, "hostID": ID, "size": 1 }]);
        let call = |names: Value, args: Value| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": args });
        let mut spec = json!({
            "ociVersion": "1.0.2", "root": { "path": "r" }, "annotations": { annotation::UNIX_SOCKETS: "[\"/run/x\"]" },
            "process": { "cwd": "/", "args": ["/x"], "user": { "uid": 0, "gid": 0 }, "noNewPrivileges": true },
            "linux": {
                "namespaces": [{ "type": "user" }, { "type": "mount" }, { "type": "network" }],
                "uidMappings": ids, "gidMappings": ids,
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                    "syscalls": [
                        call(json!(["socket"]), json!([{ "index": 0, "value": 2, "op": "SCMP_CMP_LT" }])),
                        call(json!(["socketcall"]), json!([])),
                    ],
                },
            },
        });
        change(&mut spec);
        let rootfs = Rootfs::Dir("/r".into());
        Bundle { spec: serde_json::from_value(spec).unwrap(), rootfs, unknown: Vec::new() }
    }

    fn without_network(spec: &mut Value) {
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "network");
    }

    fn insns(plan: &Plan) -> &[crate::bpf::Insn] {
        let filter = plan.child.iter().find_map(|step| match &step.op {
            Op::Supervised { program, .. } | Op::Seccomp(program) => Some(program),
            _ => None,
        });
        &filter.unwrap().insns
    }

    /// What the filter answers to (architecture, number, first two arguments).
    fn answers(plan: &Plan, calls: &[(u32, i32, u64, u64)]) -> Vec<u32> {
        let insns = insns(plan);
        let one = |(arch, nr, a, b): &(u32, i32, u64, u64)| {
            interpret(insns, &Data { nr: *nr, arch: *arch, instruction_pointer: 0, args: [*a, *b, 0, 0, 0, 0] })
        };
        calls.iter().map(one).collect()
    }

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const CALLS: &[(u32, i32, u64, u64)] = &[
        (X86_64, 41, 1, 1),           // socket(AF_UNIX, SOCK_STREAM)
        (X86_64, 41, 1 << 32 | 1, 1), // the kernel sees the lower half
        (X86_64, 41, 1, 0o2000001),   // with SOCK_CLOEXEC
        (I386, 359, 1, 5),            // SOCK_SEQPACKET
        (X86_64, 42, 3, 0),           // connect
        (I386, 362, 3, 0),            // connect
        (X86_64, 41, 1, 2),           // SOCK_DGRAM
        (X86_64, 41, 1, 0o4003),      // SOCK_RAW | SOCK_NONBLOCK
        (X86_64, 53, 1, 2),           // socketpair
        (I386, 102, 3, 0),            // socketcall
        (X86_64, 425, 0, 0),          // io_uring_setup
        (X86_64, 41, 2, 1),           // AF_INET
        (X86_64, 49, 3, 0),           // bind
        (X86_64, 444, 0x7000, 24),    // landlock_create_ruleset
        (X86_64, 50, 3, 5),           // listen
        (I386, 363, 3, 5),            // listen
    ];

    #[test]
    fn streams_are_its_own_and_who_connects_or_listens_asks_the_broker() {
        let plan = plan(|_| {}, Host::recorded(ID, ID)).unwrap();
        let shut = [EPERM; 5];
        let expected =
            [&[ALLOW, ALLOW, ALLOW, ALLOW, NOTIFY, NOTIFY][..], &shut, &[ALLOW, ALLOW, NOTIFY, NOTIFY, NOTIFY]].concat();
        assert_eq!(answers(&plan, CALLS), expected);
        let broker =
            Broker { grants: vec!["/run/x".into()], own_network: true, datagrams: false, ports: None, begins: Begins::WhenAsked };
        assert!(plan.parent.iter().any(|step| step.op == ParentOp::Broker(broker.clone())));
        let is_supervised = |op: &Op| matches!(op, Op::Supervised { program, sends: true } if program.flags == 1 << 3 | 1 << 5);
        assert!(plan.child.iter().any(|step| is_supervised(&step.op)));
    }

    #[test]
    fn in_the_hosts_network_the_broker_makes_the_sockets_too() {
        let plan = plan(without_network, Host::recorded(ID, ID)).unwrap();
        assert_eq!(answers(&plan, &CALLS[..6]), [NOTIFY; 6]);
        assert_eq!(answers(&plan, &CALLS[6..]), [[EPERM; 5].as_slice(), &[ALLOW, ALLOW, NOTIFY, ALLOW, ALLOW]].concat());
    }

    /// sendto, sendmsg, sendmmsg by number.
    const SENDS: [(u32, [i32; 3]); 2] = [(X86_64, [44, 46, 307]), (I386, [369, 370, 345])];

    #[test]
    fn with_datagrams_whoever_names_to_whom_he_sends_asks_the_broker_and_else_nobody_does() {
        let asked = |spec: &mut Value| spec["annotations"][annotation::UNIX_DATAGRAMS] = json!("true");
        let sends = |plan: &Plan| {
            let one = |arch, nr, args| interpret(insns(plan), &Data { nr, arch, instruction_pointer: 0, args });
            SENDS.map(|(arch, [to, one_message, many])| {
                let named = one(arch, to, [3, 0, 0, 0, 0x7000, 0]);
                [one(arch, to, [3, 0, 0, 0, 0, 110]), named, one(arch, one_message, [0; 6]), one(arch, many, [0; 6])]
            })
        };
        let own = plan(asked, Host::recorded(ID, ID)).unwrap();
        assert_eq!(sends(&own), [[ALLOW, NOTIFY, NOTIFY, NOTIFY]; 2]);
        let (datagrams, rest) = (&CALLS[6..9], &CALLS[9..11]);
        assert_eq!(answers(&own, datagrams), [ALLOW, EPERM, ALLOW], "raw is another word for it, and nobody's");
        assert_eq!(answers(&own, rest), [EPERM; 2]);
        let fast = |call, args| interpret(insns(&own), &Data { nr: call, arch: X86_64, instruction_pointer: 0, args });
        assert_eq!(fast(44, [3, 0, 0, MSG_FASTOPEN, 1, 16]), EPERM);
        let hosts = plan(|spec| (asked(spec), without_network(spec)).1, Host::recorded(ID, ID)).unwrap();
        assert_eq!(answers(&hosts, datagrams), [NOTIFY, EPERM, EPERM], "a pair would be of the host's network");
        assert_eq!(sends(&hosts), sends(&own));
        let without = plan(|_| {}, Host::recorded(ID, ID)).unwrap();
        assert_eq!(sends(&without), [[ALLOW; 4]; 2]);
    }

    #[test]
    fn a_granted_socket_of_datagrams_is_warned_of_where_nobody_asks_for_them() {
        let host = || Host { datagrams: ["/run/x".into(), "/run/y".into()].into(), ..Host::recorded(ID, ID) };
        let warned = |change: fn(&mut Value)| plan(change, host()).unwrap().warnings.join("\n");
        let said = warned(|_| {});
        assert!(said.contains("`/run/x` is a socket of datagrams") && said.contains("`--unix-datagrams`"), "{said}");
        assert!(!said.contains("/run/y"), "{said}");
        let asked = warned(|spec| spec["annotations"][annotation::UNIX_DATAGRAMS] = json!("true"));
        assert!(!asked.contains("datagrams"), "{asked}");
    }

    #[test]
    fn a_process_of_exec_asks_the_broker_that_is_there_and_has_no_names_without_it() {
        let exec = |broker: bool| {
            let bundle = bundle(|_| {});
            let options = Options { no_cgroup: true, record: true, broker, ..Options::default() };
            let process = bundle.spec.process().clone().unwrap();
            Plan::exec(&bundle, process, &Host::recorded(ID, ID), &options).unwrap()
        };
        let with = exec(true);
        assert_eq!(answers(&with, &CALLS[..6]), [ALLOW, ALLOW, ALLOW, ALLOW, NOTIFY, NOTIFY]);
        let begins = |step: &ParentStep| matches!(&step.op, ParentOp::Broker(broker) if broker.begins == Begins::Before);
        assert!(with.parent.iter().any(begins));
        assert_eq!(answers(&exec(false), &CALLS[..4]), [EPERM; 4]);
    }

    #[test]
    fn where_nobody_can_answer_all_are_shut_with_a_warning_and_a_grant_is_refused() {
        let host = || Host { listener: false, ..Host::recorded(ID, ID) };
        let none = |spec: &mut Value| {
            spec["annotations"][annotation::UNIX_SOCKETS] = json!("[]");
            without_network(spec);
        };
        let datagrams = |spec: &mut Value| (none(spec), spec["annotations"][annotation::UNIX_DATAGRAMS] = json!("true")).0;
        assert!(plan(datagrams, host()).is_err());
        let shut = plan(none, host()).unwrap();
        assert_eq!(answers(&shut, CALLS), [[EPERM; 4].as_slice(), &[ALLOW; 2], &[EPERM; 5], &[ALLOW; 5]].concat());
        assert!(!shut.parent.iter().any(|step| matches!(step.op, ParentOp::Broker(_))));
        let said = "config.json: annotations[dev.codexrun.unix-sockets]: of Unix sockets there are pairs only: nobody may answer";
        assert!(matches!(&shut.warnings[..], [warning] if warning.starts_with(said)), "{:?}", shut.warnings);
        assert!(plan(none, Host::recorded(ID, ID)).unwrap().warnings.is_empty());
        assert!(plan(|_| {}, host()).is_err());
    }

    #[test]
    fn what_could_lend_rights_or_means_nothing_is_refused() {
        let refused = |change: fn(&mut Value)| plan(change, Host::recorded(ID, ID)).unwrap_err().remove(0).what;
        let ids = refused(|spec| spec["linux"]["uidMappings"][0]["size"] = json!(2));
        assert!(ids.starts_with("needs a user namespace with one id"), "{ids}");
        assert_eq!(refused(|spec| spec["linux"]["gidMappings"][0]["hostID"] = json!(7)), ids);
        let twice = refused(|spec| spec["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_NOTIFY"));
        assert!(twice.starts_with("has no place beside"), "{twice}");
        for wrong in ["", "{}", "[1]", "[\"run/x\"]"] {
            let errors = plan(|spec| spec["annotations"][annotation::UNIX_SOCKETS] = json!(wrong), Host::recorded(ID, ID));
            assert_eq!(errors.unwrap_err().len(), 1, "{wrong}");
        }
        let alone = json!({ annotation::UNIX_DATAGRAMS: "true" });
        assert!(
            plan(|spec| spec["annotations"] = alone, Host::recorded(ID, ID)).unwrap_err()[0].what.starts_with("has no meaning")
        );
        assert!(refused(|spec| spec["linux"]["seccomp"] = Value::Null).starts_with("is missing"));
    }
}
