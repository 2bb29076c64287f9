//! The system-call filter, as tables. Default ALLOW, match → EPERM. Portable to libseccomp: runc takes two conditions on
//! the same argument of one rule as alternatives, so no rule here has that.

use crate::policy::Network;
use crate::{Error, Result};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator as Op, LinuxSyscall,
};

/// One system call that is refused when every condition holds. The reason stands beside it.
struct Rule {
    call: &'static str,
    when: &'static [When],
}

/// A condition on one argument; comparisons are 64 bits wide, although the kernel looks at 32 of most arguments.
/// An upper half that is not zero must therefore never turn a refusal into a permission: ranges that are refused end at
/// the top (`GreaterThan`), everything else is compared under a mask.
enum When {
    /// arg < value
    Less(usize, u64),
    /// arg > value
    Greater(usize, u64),
    /// arg != value
    Not(usize, u64),
    /// arg == value
    Is(usize, u64),
    /// arg & mask == value
    Masked(usize, u64, u64),
}
use When::*;

const INT: u64 = 0xffff_ffff;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_NETLINK: u64 = 16;
const AF_VSOCK: u64 = 40;
const NETLINK_ROUTE: u64 = 0;
const SOCK_MASK: u64 = 0xf; // the rest are SOCK_CLOEXEC and SOCK_NONBLOCK
const SOCK_DGRAM: u64 = 2;
const SOCK_RAW: u64 = 3;
const IPPROTO_TCP: u64 = 6;
const MSG_FASTOPEN: u64 = 0x2000_0000;

const fn call(call: &'static str) -> Rule {
    Rule { call, when: &[] }
}
const fn rule(call: &'static str, when: &'static [When]) -> Rule {
    Rule { call, when }
}

/// The network namespace is empty, so IP needs no filter; what is refused reaches around it.
const RESTRICTED: &[Rule] = &[
    // socket(2) may make AF_INET, AF_INET6 and AF_NETLINK only. AF_UNIX reaches the host's named sockets (docker,
    // ssh-agent), AF_VSOCK the hypervisor, AF_PACKET, AF_ALG, AF_BLUETOOTH … kernel code that needs no network.
    rule("socket", &[Less(0, AF_INET)]), // AF_UNSPEC, AF_UNIX
    rule("socket", &[Is(0, 3)]),         // one line per number between: a range needs two conditions on one argument
    rule("socket", &[Is(0, 4)]),
    rule("socket", &[Is(0, 5)]),
    rule("socket", &[Is(0, 6)]),
    rule("socket", &[Is(0, 7)]),
    rule("socket", &[Is(0, 8)]),
    rule("socket", &[Is(0, 9)]), // then AF_INET6
    rule("socket", &[Is(0, 11)]),
    rule("socket", &[Is(0, 12)]),
    rule("socket", &[Is(0, 13)]),
    rule("socket", &[Is(0, 14)]),
    rule("socket", &[Is(0, 15)]),
    // Everything above, and every number with a bit in its upper half (the kernel would cut it off).
    rule("socket", &[Greater(0, AF_NETLINK)]),
    // getifaddrs(3) needs NETLINK_ROUTE, which sees this namespace only; the others do not all know namespaces.
    rule("socket", &[Is(0, AF_NETLINK), Not(2, NETLINK_ROUTE)]),
    // Pairs are how programs talk to their children (node, asyncio); only AF_UNIX has them.
    rule("socketpair", &[Less(0, AF_UNIX)]),
    rule("socketpair", &[Greater(0, AF_UNIX)]),
    // A datagram pair can be connected again, or sendmsg(2) to a host socket by path. SOCK_RAW becomes SOCK_DGRAM.
    rule("socketpair", &[Masked(1, SOCK_MASK, SOCK_DGRAM)]),
    rule("socketpair", &[Masked(1, SOCK_MASK, SOCK_RAW)]),
    // i386: the arguments lie behind a pointer, where a filter cannot look; libc has had direct calls since Linux 4.3.
    call("socketcall"),
    // Opens and connects sockets without the calls above.
    call("io_uring_setup"),
    call("io_uring_enter"),
    call("io_uring_register"),
    // Takes over another process of the sandbox, which may have been given more (a socket, another filter).
    call("ptrace"),
    call("process_vm_readv"),
    call("process_vm_writev"),
    call("pidfd_getfd"),
];

/// With a proxy: TCP to it is all that there is. Beyond RESTRICTED, as Codex has it; getifaddrs(3) fails, which who goes by a proxy need
/// not ask.
const PROXY: &[Rule] = &[rule("socket", &[Is(0, AF_NETLINK)])];

/// The host's network is granted; the hypervisor's is not a network that anybody means.
const ENABLED: &[Rule] = &[
    rule("socket", &[Masked(0, INT, AF_VSOCK)]),
    rule("socketpair", &[Masked(0, INT, AF_VSOCK)]),
    call("socketcall"), // i386: could hide AF_VSOCK
    call("io_uring_setup"),
    call("io_uring_enter"),
    call("io_uring_register"),
];

/// In the caller's IPC and PID namespace.
const ALONE: &[Rule] = &[
    // System V and POSIX queues, segments and semaphores of the host: no file of theirs has a path that Landlock knows.
    call("shmget"),
    call("shmat"),
    call("shmctl"),
    call("msgget"),
    call("msgsnd"),
    call("msgrcv"),
    call("msgctl"),
    call("semget"),
    call("semop"),
    call("semctl"),
    call("semtimedop"),
    call("semtimedop_time64"), // i386
    call("ipc"),               // i386
    call("mq_open"),
    call("mq_unlink"),
    // A limit of another process of the user's ends that process as a signal would.
    rule("prlimit64", &[Not(0, 0)]),
];

/// In the caller's network namespace: not even loopback is the sandbox's own. What is left are pairs.
const ALONE_OFF: &[Rule] = &[call("socket")];

/// TCP only, which Landlock's rules about ports are about: not UDP, nor what only looks like TCP to a program (MPTCP).
const ALONE_PROXY: &[Rule] = &[
    rule("socket", &[Masked(1, SOCK_MASK, SOCK_DGRAM)]),
    rule("socket", &[Masked(1, SOCK_MASK, SOCK_RAW)]),
    rule("socket", &[Masked(1, SOCK_MASK, 4)]), // SOCK_RDM
    rule("socket", &[Masked(1, SOCK_MASK, 5)]), // SOCK_SEQPACKET: SCTP
    rule("socket", &[Masked(1, SOCK_MASK, 6)]), // SOCK_DCCP
    rule("socket", &[Greater(2, IPPROTO_TCP)]),
    call("listen"), // binds to some port without bind(2)
    // TCP Fast Open connects without connect(2).
    rule("sendto", &[Masked(3, MSG_FASTOPEN, MSG_FASTOPEN)]),
    rule("sendmsg", &[Masked(2, MSG_FASTOPEN, MSG_FASTOPEN)]),
    rule("sendmmsg", &[Masked(3, MSG_FASTOPEN, MSG_FASTOPEN)]),
];

/// What Landlock has no right for: it knows nothing of a file's mode, owner, times and attributes.
const ATTRIBUTES: &[Rule] = &[
    call("chmod"),
    call("fchmod"),
    call("fchmodat"),
    call("fchmodat2"),
    call("chown"),
    call("fchown"),
    call("lchown"),
    call("fchownat"),
    call("chown32"), // i386, these three
    call("fchown32"),
    call("lchown32"),
    call("utime"),
    call("utimes"),
    call("futimesat"),
    call("utimensat"),
    call("utimensat_time64"), // i386
    call("setxattr"),
    call("lsetxattr"),
    call("fsetxattr"),
    call("setxattrat"),
    call("removexattr"),
    call("lremovexattr"),
    call("fremovexattr"),
    call("removexattrat"),
    call("file_setattr"),
    // By descriptors that were opened for reading only: chattr(1) and its like.
    rule("ioctl", &[Masked(1, INT, 0x4008_6602)]), // FS_IOC_SETFLAGS
    rule("ioctl", &[Masked(1, INT, 0x4004_6602)]), // the same of 32 bits
    rule("ioctl", &[Masked(1, INT, 0x401c_5820)]), // FS_IOC_FSSETXATTR
    rule("ioctl", &[Masked(1, INT, 0x4008_7602)]), // FS_IOC_SETVERSION
    rule("ioctl", &[Masked(1, INT, 0x4004_7602)]),
    rule("ioctl", &[Masked(1, INT, 0x4080_6685)]), // FS_IOC_ENABLE_VERITY
    rule("ioctl", &[Masked(1, INT, 0x800c_6613)]), // FS_IOC_SET_ENCRYPTION_POLICY
];

/// Native first, then its 32-bit calls. x32 is not listed, so its calls kill.
const ARCHES: &[(&str, &[Arch])] = &[
    ("x86_64", &[Arch::ScmpArchX86_64, Arch::ScmpArchX86]),
    ("aarch64", &[Arch::ScmpArchAarch64, Arch::ScmpArchArm]),
    ("riscv64", &[Arch::ScmpArchRiscv64]),
];

/// In a user namespace of its own a program may make a mount namespace that lacks our mounts (pivot_root(2), then umount(2) of the
/// old root). Nothing there keeps it from renaming `.git` away, through a directory that it opened before, as a mount point is
/// protected only where it is mounted. The last two make a namespace in one call (OPEN_TREE_NAMESPACE, FSMOUNT_NAMESPACE).
const MOUNTS: &[Rule] = &[
    call("pivot_root"),
    call("umount"), // i386
    call("umount2"),
    call("mount"),
    call("move_mount"),
    call("open_tree"),
    call("open_tree_attr"),
    call("fsmount"),
];

/// Session keyrings are inherited through every namespace: the caller's tickets and secrets could be read and changed.
const KEYS: &[Rule] = &[call("keyctl"), call("add_key"), call("request_key")];

/// The filter of a sandbox.
pub(super) fn filter(network: Network, arch: &str) -> Result<LinuxSeccomp> {
    let (rules, more) = of_network(network);
    built(rules.iter().chain(more), arch)
}

/// The filter where there are no namespaces. Without `attributes` nobody's are changed.
pub(super) fn alone(network: Network, attributes: bool, arch: &str) -> Result<LinuxSeccomp> {
    let (rules, more) = of_network(network);
    let network = match network {
        Network::Restricted => ALONE_OFF,
        Network::Proxy => ALONE_PROXY,
        Network::Enabled => &[],
    };
    let attributes = if attributes { &[] } else { ATTRIBUTES };
    built(rules.iter().chain(more).chain(network).chain(ALONE).chain(attributes), arch)
}

fn of_network(network: Network) -> (&'static [Rule], &'static [Rule]) {
    match network {
        Network::Restricted => (RESTRICTED, &[][..]),
        Network::Proxy => (RESTRICTED, PROXY),
        Network::Enabled => (ENABLED, &[][..]),
    }
}

fn built<'a>(rules: impl Iterator<Item = &'a Rule>, arch: &str) -> Result<LinuxSeccomp> {
    let missing = || Error::new(format!("there is no system-call filter for the architecture `{arch}` yet"));
    let (_, arches) = ARCHES.iter().find(|(name, _)| *name == arch).ok_or_else(missing)?;
    let syscalls = rules.chain(MOUNTS).chain(KEYS).map(syscall).collect::<Result<_, _>>();
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(LinuxSeccompAction::ScmpActAllow)
        .set_architectures(Some(arches.to_vec()))
        .set_syscalls(Some(syscalls.map_err(|e| Error::new("cannot write the system-call filter").cause(e))?));
    Ok(seccomp)
}

fn syscall(rule: &Rule) -> Result<LinuxSyscall, OciSpecError> {
    let args = rule.when.iter().map(arg).collect::<Result<Vec<_>, _>>()?;
    let mut out = LinuxSyscall::default();
    out.set_names(vec![rule.call.into()])
        .set_action(LinuxSeccompAction::ScmpActErrno)
        .set_errno_ret(Some(libc::EPERM as u32))
        .set_args((!args.is_empty()).then_some(args));
    Ok(out)
}

fn arg(when: &When) -> Result<LinuxSeccompArg, OciSpecError> {
    let arg = |index, op, value| LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    match *when {
        Less(i, v) => arg(i, Op::ScmpCmpLt, v),
        Greater(i, v) => arg(i, Op::ScmpCmpGt, v),
        Not(i, v) => arg(i, Op::ScmpCmpNe, v),
        Is(i, v) => arg(i, Op::ScmpCmpEq, v),
        // OCI: `value` is the mask, `valueTwo` what must remain.
        Masked(i, mask, v) => arg(i, Op::ScmpCmpMaskedEq, mask).value_two(v),
    }
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says of one call, by the meaning of the tables.
    fn refused(rules: &[Rule], name: &str, args: [u64; 6]) -> bool {
        let holds = |when: &When| match *when {
            Less(i, v) => args[i] < v,
            Greater(i, v) => args[i] > v,
            Not(i, v) => args[i] != v,
            Is(i, v) => args[i] == v,
            Masked(i, mask, v) => args[i] & mask == v,
        };
        rules.iter().any(|rule| rule.call == name && rule.when.iter().all(holds))
    }

    #[test]
    fn a_restricted_network_has_ip_and_route_sockets_and_no_others() {
        for family in 0..64u64 {
            let open = [AF_INET, 10, AF_NETLINK].contains(&family);
            assert_eq!(refused(RESTRICTED, "socket", [family, 1, 0, 0, 0, 0]), !open, "{family}");
            assert!(refused(RESTRICTED, "socket", [family | 1 << 32, 1, 0, 0, 0, 0]), "{family} with upper bits");
            assert_eq!(refused(RESTRICTED, "socketpair", [family, 1, 0, 0, 0, 0]), family != AF_UNIX, "{family}");
        }
        assert!(refused(RESTRICTED, "socket", [AF_NETLINK, 3, 9, 0, 0, 0]), "NETLINK_AUDIT");
        assert!(refused(RESTRICTED, "socket", [u64::MAX, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn pairs_are_streams_or_packets_in_order() {
        for (kind, want) in [(1, false), (2, true), (3, true), (5, false)] {
            for flags in [0, 0o2000000, 0o4000, 1 << 32] {
                assert_eq!(refused(RESTRICTED, "socketpair", [1, kind | flags, 0, 0, 0, 0]), want, "{kind} {flags:o}");
            }
        }
    }

    #[test]
    fn a_network_of_proxies_has_ip_sockets_only() {
        let rules = |network| filter(network, "x86_64").unwrap().syscalls().clone().unwrap();
        let (off, proxy) = (rules(Network::Restricted), rules(Network::Proxy));
        let more: Vec<_> = proxy.iter().filter(|rule| !off.contains(rule)).collect();
        assert!(more.len() == 1 && off.iter().all(|rule| proxy.contains(rule)));
        assert!(refused(PROXY, "socket", [AF_NETLINK, 3, 0, 0, 0, 0]) && !refused(PROXY, "socket", [AF_INET, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn an_open_network_still_has_no_vsock() {
        assert!(refused(ENABLED, "socket", [AF_VSOCK | 7 << 40, 1, 0, 0, 0, 0]));
        assert!(!refused(ENABLED, "socket", [AF_UNIX, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn no_rule_has_two_conditions_on_one_argument() {
        for rule in RESTRICTED.iter().chain(ENABLED).chain(MOUNTS) {
            let mut seen: Vec<usize> = rule.when.iter().map(|w| arg(w).unwrap().index()).collect();
            seen.dedup();
            assert_eq!(seen.len(), rule.when.len(), "{}", rule.call);
        }
    }

    #[test]
    fn an_architecture_without_a_table_has_no_filter() {
        assert!(filter(Network::Restricted, "x86_64").is_ok());
        assert!(filter(Network::Restricted, "pdp11").is_err());
    }
}
