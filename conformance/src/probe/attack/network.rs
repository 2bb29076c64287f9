//! Sockets: every family, type and protocol that could reach beyond the sandbox, and the host's own listeners.

use super::entry::{ENTRIES, Entry};
use super::row::{Row, Word, row};
use super::{Attempt, Wall, World, absent};
use crate::outcome::{Fail, Outcome};
use crate::syscall::{Arg, Ret, call, page};
use Word::{N, Room};

const UNIX: i32 = libc::AF_UNIX;
const INET: i32 = libc::AF_INET;
const INET6: i32 = libc::AF_INET6;
const NETLINK: i32 = libc::AF_NETLINK;
const VSOCK: i32 = libc::AF_VSOCK;

/// One more than the kernel has.
const FAMILIES: std::ops::RangeInclusive<i32> = 0..=47;
/// Stream, datagram, raw, reliably delivered, in sequence, DCCP, packet.
const TYPES: [i32; 7] = [1, 2, 3, 4, 5, 6, 10];
/// Families whose protocols are worlds of their own.
const PROTOCOLS: &[(i32, i32, std::ops::RangeInclusive<i32>)] = &[
    (NETLINK, libc::SOCK_RAW, 1..=22),
    (libc::AF_PACKET, libc::SOCK_RAW, 768..=768),
    (libc::AF_PACKET, libc::SOCK_DGRAM, 768..=768),
    (libc::AF_BLUETOOTH, libc::SOCK_RAW, 0..=8),
    (libc::AF_CAN, libc::SOCK_RAW, 1..=7),
    (INET, libc::SOCK_RAW, 1..=2),
    (INET, libc::SOCK_RAW, 255..=255),
    (INET6, libc::SOCK_RAW, 58..=58),
];

/// What keeps a socket out, if anything should: IP works in a namespace of its own, and its raw sockets need power over that.
fn wall(family: i32, kind: i32, protocol: i32) -> Option<Wall> {
    match (family, kind) {
        (VSOCK, _) => Some(Wall::Always),
        (INET | INET6, libc::SOCK_RAW | 10) => Some(Wall::Always),
        (INET | INET6, _) => None,
        (NETLINK, _) if protocol == 0 => Some(Wall::Proxy),
        _ => Some(Wall::Network),
    }
}

/// socket(2), socketpair(2), and i386's socketcall(2) for both.
fn made(world: &World, family: i32, kind: i32, protocol: i32) -> Vec<Attempt<'_>> {
    let Some(wall) = wall(family, kind, protocol) else { return Vec::new() };
    let name = format!("socket {family} {kind} {protocol}");
    let words = [family.into(), kind.into(), protocol.into(), 0, 0, 0];
    let socket = move |entry, words| done(make(entry, "socket", words).and_then(|fd| reaching(world, entry, family, kind, fd)));
    let by = |entry: Entry| Attempt::new(wall, format!("{}\t{name}", entry.name()), move || socket(entry, words)).by(&["socket"]);
    let mut all: Vec<Attempt> = ENTRIES.iter().map(|entry| by(*entry)).collect();
    if kind <= libc::SOCK_DGRAM {
        all.push(
            Attempt::new(wall, format!("i386 socketcall\t{name}"), move || done(socketcall(1, [family, kind, protocol])))
                .by(&["socketcall"]),
        );
        // The kernel cuts the upper half off, a filter compares it.
        let upper = [words[0] | 1 << 32, words[1], words[2], 0, 0, 0];
        let run = move || socket(Entry::Native, upper);
        all.push(Attempt::new(wall, format!("{}\t{name}, with an upper half", Entry::Native.name()), run));
    }
    all
}

/// A Unix socket may be the sandbox's own: then it has got through when it reaches the host's.
fn reaching(world: &World, entry: Entry, family: i32, kind: i32, fd: i64) -> Result<i64, Fail> {
    let host = match kind {
        libc::SOCK_STREAM | libc::SOCK_SEQPACKET if family == UNIX => "{w}/host.sock",
        libc::SOCK_DGRAM if family == UNIX => "{w}/host.dgram",
        _ => return Ok(fd),
    };
    let to = crate::socket::address(&world.fill(host));
    make(entry, "connect", [fd, page(&to)?, to.len() as i64, 0, 0, 0])
}

fn make(entry: Entry, name: &str, words: [i64; 6]) -> Result<i64, Fail> {
    match entry.number(name) {
        Some(number) => Ok(entry.call(number, words)?),
        None => absent(),
    }
}

fn done(made: Result<i64, Fail>) -> Outcome {
    made.map(|n| n.to_string())
}

#[cfg(target_arch = "x86_64")]
fn socketcall(which: u32, args: [i32; 3]) -> Result<i64, Fail> {
    Ok(crate::socket::socketcall(which, &args.map(|n| n as u32))?)
}

#[cfg(not(target_arch = "x86_64"))]
fn socketcall(_: u32, _: [i32; 3]) -> Result<i64, Fail> {
    absent()
}

const fn pair(family: i32, kind: i32) -> [Word; 4] {
    [N(family as i64), N(kind as i64), N(0), Room]
}

/// Pairs beyond those that programs use for their children.
#[rustfmt::skip]
static PAIRS: &[Row] = &[
    row(Wall::Streams, "a pair of datagrams", "socketpair", &pair(UNIX, libc::SOCK_DGRAM)),
    row(Wall::Network, "a raw pair", "socketpair", &pair(UNIX, libc::SOCK_RAW)),
    row(Wall::Streams, "a pair of datagrams, closed on exec", "socketpair", &pair(UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC)),
    row(Wall::Streams, "a pair of datagrams that does not block", "socketpair", &pair(UNIX, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK)),
    row(Wall::Network, "a pair of TIPC", "socketpair", &pair(30, libc::SOCK_STREAM)),
    row(Wall::Always, "a pair of vsock", "socketpair", &pair(VSOCK, libc::SOCK_STREAM)),
    row(Wall::Always, "a ring", "io_uring_setup", &[N(1), Room]),
];

/// A pair that is used as if it had been made by socket(2): what it is asked to do, step by step.
type Step = fn(i64, &[u8]) -> Ret;

const PAIR_TRICKS: &[(&str, Step)] = &[
    ("connected to the host", |fd, to| connect(fd, to)),
    ("sends to the host", |fd, to| sendto(fd, to)),
    ("disconnected, then connected to the host", |fd, to| {
        connect(fd, &0u16.to_ne_bytes()).or(Ok(0)).and_then(|_| connect(fd, to))
    }),
    ("shut down, then connected to the host", |fd, to| {
        call(libc::SYS_shutdown, [Arg::Int(fd), Arg::Int(2)]).and_then(|_| connect(fd, to))
    }),
    ("listens", |fd, _| call(libc::SYS_listen, [Arg::Int(fd), Arg::Int(1)])),
];

fn connect(fd: i64, to: &[u8]) -> Ret {
    call(libc::SYS_connect, [Arg::Int(fd), Arg::In(to), Arg::Int(to.len() as i64)])
}

fn sendto(fd: i64, to: &[u8]) -> Ret {
    call(libc::SYS_sendto, [Arg::Int(fd), Arg::In(b"attack"), Arg::Int(6), Arg::Int(0), Arg::In(to), Arg::Int(to.len() as i64)])
}

/// With its other end closed or not: only then has a stream no peer. What the other end gets has reached nobody outside.
fn of_a_pair(kind: i32, close: bool, step: Step, to: &str) -> Outcome {
    let mut fds = [0; 8];
    let words = [Arg::Int(UNIX.into()), Arg::Int(kind.into()), Arg::Int(0), Arg::Out(&mut fds)];
    call(libc::SYS_socketpair, words)?;
    let [a, b, c, d, e, f, g, h] = fds;
    let (ours, other) = (i64::from(i32::from_ne_bytes([a, b, c, d])), i64::from(i32::from_ne_bytes([e, f, g, h])));
    if close {
        call(libc::SYS_close, [Arg::Int(other)])?;
    }
    let done = step(ours, &crate::socket::address(to))?;
    let flags = Arg::Int(libc::MSG_DONTWAIT.into());
    match call(libc::SYS_recvfrom, [Arg::Int(other), Arg::Out(&mut [0; 8]), Arg::Int(8), flags, Arg::Null, Arg::Null]) {
        Ok(1..) => crate::outcome::word("peer", "the pair's other end got it"),
        _ => Ok(done.to_string()),
    }
}

fn pairs(world: &World) -> Vec<Attempt<'_>> {
    let mut all = Vec::new();
    for (kind, name) in [(libc::SOCK_STREAM, "stream"), (libc::SOCK_SEQPACKET, "packets"), (libc::SOCK_DGRAM, "datagrams")] {
        for (trick, step) in PAIR_TRICKS {
            for (close, whose) in [(false, ""), (true, " without a peer")] {
                for host in ["{w}/host.sock", "{w}/host.dgram"] {
                    let run = move || of_a_pair(kind, close, *step, &world.fill(host));
                    let name = format!("pair\t{name}{whose} {trick} {host}");
                    all.push(Attempt::new(Wall::Network, name, run).by(&["socketpair", "recvfrom"]));
                }
            }
        }
    }
    all
}

/// The host's TCP listener by i386's calls; a refusal to make the socket is none to reach it.
fn by_i386(world: &World, family: i32) -> Outcome {
    let at: std::net::SocketAddr = world.fill("{tcp}").parse().map_err(|_| Fail::Errno(libc::EINVAL))?;
    let mut to = (family as u16).to_ne_bytes().to_vec();
    to.extend(at.port().to_be_bytes());
    if family == INET {
        to.extend([127, 0, 0, 1]);
    } else {
        // ::ffff:127.0.0.1, by which an IPv6 socket reaches an IPv4 listener.
        to.extend([0; 4]);
        to.extend(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets());
    }
    to.resize(28, 0);
    let entry = *ENTRIES.last().unwrap_or(&Entry::Native);
    let fd = make(entry, "socket", [family.into(), 1, 0, 0, 0, 0])?;
    done(make(entry, "connect", [fd, page(&to)?, if family == INET { 16 } else { 28 }, 0, 0, 0]))
}

/// Where every family is permitted, the kernel loads a module for each that is asked for: only those that it has.
const USUAL: &[i32] = &[UNIX, INET, NETLINK, libc::AF_PACKET];

/// Sockets of the host's services: a connection is enough, nothing is said.
const SERVICES: &[&str] = &[
    "/run/systemd/private",
    "/run/systemd/journal/stdout",
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/snapd.socket",
    "/tmp/.X11-unix/X0",
    "/run/nscd/socket",
];

fn service(path: &str) -> Outcome {
    Ok(format!("{:?}", std::os::unix::net::UnixStream::connect(path)?.peer_addr()?))
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let usual = |family: &i32| !world.is_control() || USUAL.contains(family);
    let plain = FAMILIES.flat_map(|family| TYPES.map(|kind| (family, kind, 0)));
    let plain = plain.filter(move |(family, ..)| usual(family));
    let special = PROTOCOLS
        .iter()
        .filter(move |(family, ..)| usual(family) && *family != NETLINK || !world.is_control())
        .flat_map(|(family, kind, range)| range.clone().map(|protocol| (*family, *kind, protocol)));
    let mut all: Vec<Attempt> =
        plain.chain(special).flat_map(|(family, kind, protocol)| made(world, family, kind, protocol)).collect();
    all.extend(PAIRS.iter().flat_map(|row| row.attempts(world)));
    all.extend(pairs(world));
    all.extend(SERVICES.iter().map(|path| Attempt::new(Wall::Network, format!("connect\t{path}"), || service(path))));
    for family in [INET, INET6] {
        all.push(Attempt::new(Wall::Network, format!("i386\tthe host's TCP by family {family}"), move || by_i386(world, family)));
    }
    all
}
