//! The system-call filter, as tables: docs/seccomp.md has them too. Default ALLOW, match → EPERM. Portable to libseccomp: runc takes two conditions on
//! the same argument of one rule as alternatives, so no rule here has that.

use crate::argument::{AF_INET, AF_NETLINK, AF_UNIX, AF_VSOCK, INT, MSG_FASTOPEN, SOCK_DGRAM, SOCK_MASK, SOCK_RAW};
use crate::policy::Network;
use crate::{Error, Result};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator as Op, LinuxSyscall,
};

/// Lines with one reason.
struct Part {
    /// The choice that lifts it (`allow_syscalls`), if one does.
    lift: Option<&'static str>,
    /// Why it is refused.
    because: &'static str,
    /// What is refused.
    rules: &'static [Rule],
}

/// One system call that is refused when every condition holds.
struct Rule {
    call: &'static str,
    when: &'static [When],
    errno: i32,
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

const NETLINK_ROUTE: u64 = 0;
const IPPROTO_TCP: u64 = 6;
const TCP_ULP: u64 = 31;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const TIOCSETD: u64 = 0x5423;
const TCXONC: u64 = 0x540a;
const TCOOFF: u64 = 0;
const CLONE_NEWUSER: u64 = libc::CLONE_NEWUSER as u64;

const fn call(call: &'static str) -> Rule {
    rule(call, &[])
}
const fn rule(call: &'static str, when: &'static [When]) -> Rule {
    Rule { call, when, errno: libc::EPERM }
}
const fn part(because: &'static str, rules: &'static [Rule]) -> Part {
    Part { lift: None, because, rules }
}
const fn lifted(lift: &'static str, because: &'static str, rules: &'static [Rule]) -> Part {
    Part { lift: Some(lift), because, rules }
}

/// Whatever the network.
#[rustfmt::skip]
const PAIRS: Part =
    part("a pair of datagrams could be connected again, or `sendmsg` to a socket of the host by path; SOCK_RAW becomes SOCK_DGRAM", &[
        rule("socketpair", &[Masked(1, SOCK_MASK, SOCK_DGRAM)]),
        rule("socketpair", &[Masked(1, SOCK_MASK, SOCK_RAW)]),
    ]);

/// Off and proxy-only. The network namespace is empty, so IP needs no filter; what is refused reaches around it.
#[rustfmt::skip]
const SHUT: &[Part] = &[
    part("AF_UNIX: named sockets of the host (docker, ssh-agent, D-Bus) are inodes that mounts show", &[
        rule("socket", &[Less(0, AF_INET)]),
    ]),
    // A range needs two conditions on one argument, so there is a line per number. What is above, and every number with a bit in its
    // upper half (the kernel would cut it off), is in the last.
    part("AF_PACKET, AF_ALG, AF_VSOCK, AF_BLUETOOTH …: the hypervisor, or kernel code that needs no network", &[
        rule("socket", &[Is(0, 3)]),
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
        rule("socket", &[Greater(0, AF_NETLINK)]),
    ]),
    part("netlink but NETLINK_ROUTE, which getifaddrs(3) needs: the others do not all know namespaces", &[
        rule("socket", &[Is(0, AF_NETLINK), Not(2, NETLINK_ROUTE)]),
    ]),
    part("only AF_UNIX has pairs, by which programs talk to their children (node, asyncio)", &[
        rule("socketpair", &[Less(0, AF_UNIX)]),
        rule("socketpair", &[Greater(0, AF_UNIX)]),
    ]),
    PAIRS,
    part("TCP Fast Open connects without connect(2): a socket of the host's that was handed in, when it listens or its connection has ended", &[
        rule("sendto", &[Masked(3, MSG_FASTOPEN, MSG_FASTOPEN)]),
        rule("sendmsg", &[Masked(2, MSG_FASTOPEN, MSG_FASTOPEN)]),
        rule("sendmmsg", &[Masked(3, MSG_FASTOPEN, MSG_FASTOPEN)]),
    ]),
    lifted("tracing", "take over another process of the sandbox, which may have been given more (a socket, another filter)", &[
        call("ptrace"),
        call("process_vm_readv"),
        call("process_vm_writev"),
        call("pidfd_getfd"),
        call("kcmp"),
    ]),
];

/// With a proxy TCP to it is all that there is.
#[rustfmt::skip]
const PROXY: &[Part] = &[
    lifted("interfaces", "netlink, NETLINK_ROUTE too, as Codex has it: who goes by a proxy need not ask for interfaces", &[
        rule("socket", &[Is(0, AF_NETLINK)]),
    ]),
];

/// With `tcp_ports`, in both.
#[rustfmt::skip]
const PORTS: &[Part] =
    &[part("with `tcp_ports`: what is TCP to a program and not to Landlock (MPTCP, SMC), and what makes a socket of TCP that (TCP_ULP)", &[
        rule("socket", &[Greater(2, 255)]),
        rule("setsockopt", &[Masked(1, INT, IPPROTO_TCP), Masked(2, INT, TCP_ULP)]),
    ])];

/// The host's network is granted.
#[rustfmt::skip]
const ENABLED: &[Part] = &[
    part("AF_UNIX: named sockets of the host are no network; codexrun's broker opens the sandbox's own", &[
        rule("socket", &[Less(0, AF_INET)]),
        rule("socket", &[Greater(0, INT)]), // the kernel would cut an upper half off
    ]),
    PAIRS,
    part("AF_VSOCK: the hypervisor's is not a network that anybody means", &[
        rule("socket", &[Masked(0, INT, AF_VSOCK)]),
        rule("socketpair", &[Masked(0, INT, AF_VSOCK)]),
    ]),
];

/// In every mode.
#[rustfmt::skip]
const ALWAYS: &[Part] = &[
    part("i386: its arguments lie behind a pointer, where a filter cannot look; libc has had direct calls since Linux 4.3", &[
        call("socketcall"),
    ]),
    part("opens and connects sockets, and files, without the calls that a filter sees", &[
        call("io_uring_setup"),
        call("io_uring_enter"),
        call("io_uring_register"),
    ]),
    // In a mount namespace of its own a program has none of our mounts (pivot_root(2), then umount(2) of the old root), and a mount point
    // is protected only where it is mounted. open_tree(2) and fsmount(2) make one in a single call (OPEN_TREE_NAMESPACE).
    lifted("mounts", "in a mount namespace of its own nothing keeps a program from renaming `.git` away, by a directory that it opened before", &[
        call("pivot_root"),
        call("umount"), // i386
        call("umount2"),
        call("mount"),
        call("move_mount"),
        call("open_tree"),
        call("open_tree_attr"),
        call("fsmount"),
        call("fsopen"),
        call("fspick"),
        call("fsconfig"),
        call("mount_setattr"),
    ]),
    // The other namespaces need CAP_SYS_ADMIN, which nobody has but in a user namespace of his own. Of clone3(2) the flags lie behind a
    // pointer: as if the kernel did not have it, and libc takes clone(2).
    lifted("namespaces", "root of a user namespace reaches much of the kernel that nobody else does, where most of its holes are", &[
        rule("unshare", &[Masked(0, CLONE_NEWUSER, CLONE_NEWUSER)]),
        rule("clone", &[Masked(0, CLONE_NEWUSER, CLONE_NEWUSER)]),
        Rule { errno: libc::ENOSYS, ..call("clone3") },
        call("setns"),
    ]),
    // A new session keeps them from a terminal that another one controls. One that no session does, as a pty that a harness has just opened, becomes that
    // of who asks for it.
    part("a terminal that was handed in: to type into it what its next reader executes (TIOCSTI, TIOCLINUX), and to give it another line discipline (TIOCSETD)", &[
        rule("ioctl", &[Masked(1, INT, TIOCSTI)]),
        rule("ioctl", &[Masked(1, INT, TIOCLINUX)]),
        rule("ioctl", &[Masked(1, INT, TIOCSETD)]),
    ]),
    part("and to stop it (tcflow(3), TCOOFF): its next reader would wait for ever, and no key starts it again", &[
        rule("ioctl", &[Masked(1, INT, TCXONC), Is(2, TCOOFF)]),
    ]),
    lifted("keys", "the session keyring is the caller's and crosses every namespace: its keys could be read, and others planted", &[
        call("keyctl"),
        call("add_key"),
        call("request_key"),
    ]),
    lifted("bpf", "programs that run in the kernel, whose verifier has been fooled often; unprivileged where the host permits it", &[
        call("bpf"),
    ]),
    lifted("perf", "counts what other processes do to shared hardware; much code of the kernel's, reachable by everybody", &[
        call("perf_event_open"),
    ]),
    lifted("userfaultfd", "stops the kernel in the middle of a copy: what makes a race in it certain", &[
        call("userfaultfd"),
    ]),
    part("the machine's own: without power over it they fail, and a hole in the kernel's question for that power is shut too", &[
        call("acct"),
        call("clock_settime"),
        call("clock_settime64"), // i386
        call("delete_module"),
        call("finit_module"),
        call("init_module"),
        call("ioperm"),
        call("iopl"),
        call("kexec_file_load"),
        call("kexec_load"),
        call("open_by_handle_at"), // CVE-2014-9357's kin: a file by its number, past every mount
        call("quotactl"),
        call("quotactl_fd"),
        call("reboot"),
        call("settimeofday"),
        call("stime"), // i386
        call("swapoff"),
        call("swapon"),
        call("syslog"), // the kernel's log: addresses, and the host's affairs
        call("vhangup"),
    ]),
];

/// Without namespaces: in the caller's IPC and PID namespace.
#[rustfmt::skip]
const ALONE: &[Part] = &[
    part("System V and POSIX queues, segments and semaphores of the host: no file of theirs has a path that Landlock knows", &[
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
    ]),
    part("a limit of another process of the user's ends that process as a signal would", &[
        rule("prlimit64", &[Not(0, 0)]),
    ]),
];

/// The same, in the caller's network namespace.
#[rustfmt::skip]
const ALONE_OFF: &[Part] = &[
    part("not even loopback is the sandbox's own: what is left are pairs", &[call("socket")]),
    part("a connection that was handed in could be dissolved (AF_UNSPEC), to listen or to be made again in the caller's network", &[
        call("connect"),
        call("bind"),
        call("listen"),
    ]),
];

/// The same, with a proxy.
#[rustfmt::skip]
const ALONE_PROXY: &[Part] = &[
    part("Landlock's rules about ports are about TCP: not UDP, nor what only looks like TCP to a program (MPTCP), or is made that (SMC, by TCP_ULP)", &[
        rule("socket", &[Masked(1, SOCK_MASK, SOCK_DGRAM)]),
        rule("socket", &[Masked(1, SOCK_MASK, SOCK_RAW)]),
        rule("socket", &[Masked(1, SOCK_MASK, 4)]), // SOCK_RDM
        rule("socket", &[Masked(1, SOCK_MASK, 5)]), // SOCK_SEQPACKET: SCTP
        rule("socket", &[Masked(1, SOCK_MASK, 6)]), // SOCK_DCCP
        rule("socket", &[Greater(2, IPPROTO_TCP)]),
        rule("setsockopt", &[Masked(1, INT, IPPROTO_TCP), Masked(2, INT, TCP_ULP)]),
    ]),
    part("binds to some port without bind(2)", &[call("listen")]),
];

/// Off and with a proxy: what was handed in.
#[rustfmt::skip]
const HANDED: &[Part] = &[
    lifted("stdio_sockets", "nobody has a listener or a socket of datagrams of his own: one that was handed in hears nobody, and sends to no name", &[
        call("accept"),
        call("accept4"),
        rule("sendto", &[Not(4, 0)]),
    ]),
];

/// The same, where nobody's attributes are to change.
#[rustfmt::skip]
const ATTRIBUTES: &[Part] = &[
    part("Landlock knows nothing of a file's mode, owner, times and attributes", &[
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
    ]),
    part("the same by descriptors that were opened for reading only: chattr(1) and its like", &[
        rule("ioctl", &[Masked(1, INT, 0x4008_6602)]), // FS_IOC_SETFLAGS
        rule("ioctl", &[Masked(1, INT, 0x4004_6602)]), // the same of 32 bits
        rule("ioctl", &[Masked(1, INT, 0x401c_5820)]), // FS_IOC_FSSETXATTR
        rule("ioctl", &[Masked(1, INT, 0x4008_7602)]), // FS_IOC_SETVERSION
        rule("ioctl", &[Masked(1, INT, 0x4004_7602)]),
        rule("ioctl", &[Masked(1, INT, 0x4080_6685)]), // FS_IOC_ENABLE_VERITY
        rule("ioctl", &[Masked(1, INT, 0x800c_6613)]), // FS_IOC_SET_ENCRYPTION_POLICY
    ]),
];

/// Native first, then its 32-bit calls. x32 is not listed, so its calls kill.
const ARCHES: &[(&str, &[Arch])] = &[
    ("x86_64", &[Arch::ScmpArchX86_64, Arch::ScmpArchX86]),
    ("aarch64", &[Arch::ScmpArchAarch64, Arch::ScmpArchArm]),
    ("riscv64", &[Arch::ScmpArchRiscv64]),
];

/// The tables of a network.
fn parts(network: Network) -> impl Iterator<Item = &'static Part> {
    let (first, second) = match network {
        Network::Restricted => (SHUT, &[][..]),
        Network::Proxy => (SHUT, PROXY),
        Network::Enabled => (ENABLED, &[][..]),
    };
    first.iter().chain(second).chain(ALWAYS)
}

/// A part of the filter that a choice lifts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lift {
    /// The choice.
    pub name: &'static str,
    /// What it permits.
    pub calls: Vec<&'static str>,
    /// Why they are refused without it.
    pub because: &'static str,
}

/// What choices would lift of this filter, which was made of a policy. `alone`: without namespaces.
pub fn lifts(filter: &LinuxSeccomp, alone: bool) -> Vec<Lift> {
    let written = filter.syscalls().as_deref().unwrap_or_default();
    let there =
        |part: &&'static Part| entries(part).iter().any(|rules| syscall(rules).is_ok_and(|entry| written.contains(&entry)));
    let of = |part: &'static Part| {
        Some(Lift { name: part.lift?, calls: part.rules.iter().map(|rule| rule.call).collect(), because: part.because })
    };
    liftable(alone).filter(there).filter_map(of).collect()
}

/// Without namespaces what refuses netlink stays in any case (`ALONE_PROXY`).
fn liftable(alone: bool) -> impl Iterator<Item = &'static Part> {
    let proxy = if alone { &[] } else { PROXY };
    SHUT.iter().chain(proxy).chain(ALWAYS).filter(|part| part.lift.is_some())
}

/// The filter of a sandbox, without what its policy lifts. `ports`: those of TCP are listed.
pub(super) fn filter(network: Network, ports: bool, lift: &[String], arch: &str) -> Result<LinuxSeccomp> {
    let ports = if ports { PORTS } else { &[] };
    built(parts(network).chain(ports), lift, arch)
}

/// The filter where there are no namespaces. Without `attributes` nobody's are changed.
pub(super) fn alone(network: Network, attributes: bool, lift: &[String], arch: &str) -> Result<LinuxSeccomp> {
    let (outer, handed) = match network {
        Network::Restricted => (ALONE_OFF, HANDED),
        Network::Proxy => (ALONE_PROXY, HANDED),
        Network::Enabled => (&[][..], &[][..]),
    };
    let attributes = if attributes { &[] } else { ATTRIBUTES };
    built(parts(network).chain(outer).chain(handed).chain(ALONE).chain(attributes), lift, arch)
}

fn built(parts: impl Iterator<Item = &'static Part>, lift: &[String], arch: &str) -> Result<LinuxSeccomp> {
    let missing = || Error::new(format!("there is no system-call filter for the architecture `{arch}`"));
    let (_, arches) = ARCHES.iter().find(|(name, _)| *name == arch).ok_or_else(missing)?;
    let stays = |part: &&Part| !lift.iter().any(|name| Some(name.as_str()) == part.lift);
    let syscalls = parts.filter(stays).flat_map(entries).map(|rules| syscall(&rules)).collect::<Result<_, _>>();
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(LinuxSeccompAction::ScmpActAllow)
        .set_architectures(Some(arches.to_vec()))
        .set_syscalls(Some(syscalls.map_err(|e| Error::new("cannot write the system-call filter").cause(e))?));
    Ok(seccomp)
}

/// The rules of a part; neighbours that are alike but for the name share an entry of config.json.
fn entries(part: &'static Part) -> Vec<Vec<&'static Rule>> {
    let mut all: Vec<Vec<&Rule>> = Vec::new();
    let alike = |a: &Rule, b: &Rule| a.when.is_empty() && b.when.is_empty() && a.errno == b.errno;
    for rule in part.rules {
        match all.last_mut() {
            Some(last) if alike(last[0], rule) => last.push(rule),
            _ => all.push(vec![rule]),
        }
    }
    all
}

fn syscall(rules: &[&Rule]) -> Result<LinuxSyscall, OciSpecError> {
    let args = rules[0].when.iter().map(arg).collect::<Result<Vec<_>, _>>()?;
    let mut out = LinuxSyscall::default();
    out.set_names(rules.iter().map(|rule| rule.call.into()).collect())
        .set_action(LinuxSeccompAction::ScmpActErrno)
        .set_errno_ret(Some(rules[0].errno as u32))
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
    use crate::policy::choice::SYSCALLS;
    use Network::{Enabled, Proxy, Restricted};

    /// The errno of one call, by the meaning of the tables.
    fn answer(network: Network, name: &str, args: [u64; 6]) -> Option<i32> {
        let holds = |when: &When| match *when {
            Less(i, v) => args[i] < v,
            Greater(i, v) => args[i] > v,
            Not(i, v) => args[i] != v,
            Is(i, v) => args[i] == v,
            Masked(i, mask, v) => args[i] & mask == v,
        };
        let mut rules = parts(network).flat_map(|part| part.rules);
        rules.find(|rule| rule.call == name && rule.when.iter().all(holds)).map(|rule| rule.errno)
    }

    fn refused(network: Network, name: &str, args: [u64; 6]) -> bool {
        answer(network, name, args).is_some()
    }

    #[test]
    fn a_restricted_network_has_ip_and_route_sockets_and_no_others() {
        for family in 0..64u64 {
            let open = [AF_INET, 10, AF_NETLINK].contains(&family);
            assert_eq!(refused(Restricted, "socket", [family, 1, 0, 0, 0, 0]), !open, "{family}");
            assert!(refused(Restricted, "socket", [family | 1 << 32, 1, 0, 0, 0, 0]), "{family} with upper bits");
            assert_eq!(refused(Restricted, "socketpair", [family, 1, 0, 0, 0, 0]), family != AF_UNIX, "{family}");
        }
        assert!(refused(Restricted, "socket", [AF_NETLINK, 3, 9, 0, 0, 0]), "NETLINK_AUDIT");
        assert!(refused(Restricted, "socket", [u64::MAX, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn pairs_are_streams_or_packets_in_order() {
        for (kind, want) in [(1, false), (2, true), (3, true), (5, false)] {
            for flags in [0, 0o2000000, 0o4000, 1 << 32] {
                assert_eq!(refused(Restricted, "socketpair", [1, kind | flags, 0, 0, 0, 0]), want, "{kind} {flags:o}");
            }
        }
    }

    #[test]
    fn nothing_is_sent_that_connects() {
        const FAST: u64 = MSG_FASTOPEN;
        for network in [Restricted, Proxy] {
            for (call, flags) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
                let with = |word: u64| std::array::from_fn(|n| if n == flags { word } else { 0 });
                assert!(refused(network, call, with(FAST)) && refused(network, call, with(FAST | 0x4000 | 1 << 40)), "{call}");
                assert!(!refused(network, call, with(0x4000)), "{call} without a signal");
            }
        }
    }

    #[test]
    fn a_network_of_proxies_has_ip_sockets_only() {
        let rules = |network| filter(network, false, &[], "x86_64").unwrap().syscalls().clone().unwrap();
        let (off, proxy) = (rules(Restricted), rules(Proxy));
        let more: Vec<_> = proxy.iter().filter(|rule| !off.contains(rule)).collect();
        assert!(more.len() == 1 && off.iter().all(|rule| proxy.contains(rule)));
        assert!(refused(Proxy, "socket", [AF_NETLINK, 3, 0, 0, 0, 0]) && !refused(Proxy, "socket", [AF_INET, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn an_open_network_still_has_no_vsock_and_no_named_sockets_of_the_host() {
        for family in [AF_VSOCK, AF_VSOCK | 7 << 40, AF_UNIX, AF_UNIX | 7 << 40] {
            assert!(refused(Enabled, "socket", [family, 1, 0, 0, 0, 0]), "{family:x}");
        }
        assert!(refused(Enabled, "socketpair", [AF_UNIX, SOCK_DGRAM, 0, 0, 0, 0]));
        assert!(!refused(Enabled, "socketpair", [AF_UNIX, 1, 0, 0, 0, 0]));
        assert!(!refused(Enabled, "socket", [AF_INET, 1, 0, 0, 0, 0]));
    }

    #[test]
    fn nobody_types_into_a_terminal() {
        for network in [Restricted, Proxy, Enabled] {
            for request in [0x5412, 0x541c, 0x5423, 0x5412 | 1 << 40] {
                assert!(refused(network, "ioctl", [0, request, 0, 0, 0, 0]), "{request:x}");
            }
            // TIOCSCTTY, TIOCGWINSZ, FIONREAD
            assert!([0x540e, 0x5413, 0x541b].iter().all(|request| !refused(network, "ioctl", [0, *request, 0, 0, 0, 0])));
        }
    }

    #[test]
    fn processes_and_threads_are_made_and_user_namespaces_are_not() {
        let thread = 0x3d_0f00;
        for network in [Restricted, Proxy, Enabled] {
            for flags in [17, 0x4111, thread] {
                assert!(!refused(network, "clone", [flags, 0, 0, 0, 0, 0]), "{flags:x}");
            }
            for flags in [CLONE_NEWUSER, CLONE_NEWUSER | 0x6c02_0000 | 17, CLONE_NEWUSER | 1 << 40] {
                assert!(refused(network, "clone", [flags, 0, 0, 0, 0, 0]) && refused(network, "unshare", [flags, 0, 0, 0, 0, 0]));
            }
            assert_eq!(answer(network, "clone3", [0; 6]), Some(libc::ENOSYS));
        }
    }

    #[test]
    fn each_choice_lifts_its_part_and_no_other() {
        let rules = |lift: &[String]| filter(Proxy, false, lift, "x86_64").unwrap();
        let all = rules(&[]);
        for lift in lifts(&all, false) {
            let without = rules(&[lift.name.to_owned()]);
            let left = without.syscalls().clone().unwrap();
            let gone = all.syscalls().iter().flatten().filter(|entry| !left.contains(entry));
            let gone: Vec<&String> = gone.flat_map(|entry| entry.names()).collect();
            assert_eq!(gone, lift.calls, "{}", lift.name);
            assert!(lifts(&without, false).iter().all(|other| other.name != lift.name), "{}", lift.name);
        }
        let mut names: Vec<&str> = lifts(&all, false).iter().map(|lift| lift.name).collect();
        names.sort_unstable();
        assert_eq!(names, SYSCALLS);
    }

    #[test]
    fn interfaces_are_what_the_network_off_has_and_nothing_where_they_are_the_callers() {
        let rules = |network, lift: &[String]| filter(network, false, lift, "x86_64").unwrap();
        let lift = ["interfaces".to_owned()];
        assert_eq!(rules(Proxy, &lift), rules(Restricted, &[]));
        let named = |filter: &LinuxSeccomp, alone| lifts(filter, alone).iter().any(|lift| lift.name == "interfaces");
        assert!(!named(&rules(Restricted, &[]), false) && !named(&rules(Enabled, &[]), false));
        assert!(!named(&alone(Proxy, true, &[], "x86_64").unwrap(), true));
        // The kernel has netlink sockets of these two types.
        let refuses = |kind| {
            let of_kind = |rule: &Rule| matches!(rule.when, [Masked(1, SOCK_MASK, refused)] if *refused == kind);
            ALONE_PROXY.iter().flat_map(|part| part.rules).any(|rule| rule.call == "socket" && of_kind(rule))
        };
        assert!(refuses(SOCK_DGRAM) && refuses(SOCK_RAW));
    }

    #[test]
    fn what_stops_being_tcp_to_landlock_is_refused_where_its_ports_are_a_wall() {
        let ulp = |filter: LinuxSeccomp| {
            let rules = filter.syscalls().clone().unwrap_or_default();
            rules.iter().any(|rule| {
                rule.names() == &["setsockopt"] && rule.args().as_ref().is_some_and(|args| args[1].value_two() == Some(TCP_ULP))
            })
        };
        assert!(ulp(alone(Proxy, true, &[], "x86_64").unwrap()), "Landlock is the only one");
        assert!(ulp(filter(Proxy, true, &[], "x86_64").unwrap()) && !ulp(filter(Proxy, false, &[], "x86_64").unwrap()));
    }

    #[test]
    fn no_rule_has_two_conditions_on_one_argument_and_each_part_has_a_reason() {
        for part in [SHUT, PROXY, PORTS, ENABLED, ALWAYS, ALONE, ALONE_OFF, ALONE_PROXY, HANDED, ATTRIBUTES].into_iter().flatten()
        {
            assert!(!part.because.is_empty() && !part.rules.is_empty());
            for rule in part.rules {
                let mut seen: Vec<usize> = rule.when.iter().map(|w| arg(w).unwrap().index()).collect();
                seen.dedup();
                assert_eq!(seen.len(), rule.when.len(), "{}", rule.call);
            }
        }
    }

    #[test]
    fn an_architecture_without_a_table_has_no_filter() {
        assert!(filter(Restricted, false, &[], "x86_64").is_ok());
        assert!(filter(Restricted, false, &[], "pdp11").is_err());
    }

    /// As the page says it: `arg0 < 2`.
    fn condition(when: &When) -> String {
        match *when {
            Less(i, v) => format!("arg{i} < {v}"),
            Greater(i, v) => format!("arg{i} > {v}"),
            Not(i, v) => format!("arg{i} ≠ {v}"),
            Is(i, v) | Masked(i, INT, v) => format!("arg{i} = {v}"),
            Masked(i, mask, v) => format!("arg{i} & {mask:#x} = {v:#x}"),
        }
    }

    /// Each call once, with all its conditions.
    fn refusals(part: &Part) -> String {
        let mut calls: Vec<(&Rule, Vec<String>)> = Vec::new();
        for rule in part.rules {
            let when = rule.when.iter().map(condition).collect::<Vec<_>>().join(" and ");
            match calls.iter_mut().find(|(known, _)| known.call == rule.call) {
                Some((_, all)) => all.push(when),
                None => calls.push((rule, vec![when])),
            }
        }
        let one = |(rule, when): (&Rule, Vec<String>)| {
            let errno = if rule.errno == libc::ENOSYS { ": ENOSYS" } else { "" };
            let when =
                if when[0].is_empty() { String::new() } else { format!(" ({})", when.join(", ").replace(", arg0 = ", ", ")) };
            format!("`{}`{when}{errno}", rule.call)
        };
        calls.into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// The rows of docs/seccomp.md, of the filters with namespaces or of what comes to them without.
    fn rows(tables: &[(&[Part], &str)]) -> String {
        let row = |part: &Part, modes: &str| {
            let lift = part.lift.map_or(String::new(), |name| format!("`{name}` "));
            format!("| {} | {modes} | {} | {lift}|\n", refusals(part), part.because)
        };
        tables.iter().flat_map(|(parts, modes)| parts.iter().map(move |part| row(part, modes))).collect()
    }

    #[test]
    fn the_page_has_every_line_and_its_reason() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/seccomp.md");
        let (off, both, proxy, on, all) = ("✓ | |", "✓ | ✓ |", "| ✓ |", "| | ✓", "✓ | ✓ | ✓");
        let tables = [
            ("lifted by", rows(&[(SHUT, both), (PROXY, proxy), (PORTS, both), (ENABLED, on), (ALWAYS, all)])),
            ("unless", rows(&[(ALONE_OFF, off), (ALONE_PROXY, proxy), (HANDED, both), (ALONE, all), (ATTRIBUTES, all)])),
        ];
        for (last, rows) in tables {
            let text = std::fs::read_to_string(&file).unwrap();
            let head = format!("| refused | off | proxy | on | because | {last} |\n| --- | --- | --- | --- | --- | --- |\n");
            let (before, table) = text.split_once(&head).unwrap();
            let (_, after) = table.split_once("\n\n").unwrap();
            let wanted = format!("{before}{head}{rows}\n{after}");
            if std::env::var_os("CODEXRUN_UPDATE").is_some() {
                std::fs::write(&file, &wanted).unwrap();
            }
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(text, wanted, "CODEXRUN_UPDATE=1 cargo test -p libruntime seccomp");
        }
    }
}
