//! Descriptors that somebody outside has sent by standard input, a stream of Unix sockets: a file to read, the directory of a process in
//! /proc (which is a pidfd to some calls), a network and a mount namespace, sockets of the host's network; and the process at the other end.
//! What was handed in to be read is read, and nothing else.

use super::bytes::{self, words};
use super::entry::{ENTRIES, Entry};
use super::unix::{WAYS, make};
use super::{Attempt, Wall, World, absent};
use crate::outcome::{Fail, Outcome, word};
use crate::syscall::{Arg, Ret, call, fork, page, text};
use std::os::fd::AsRawFd;

/// So many, and which is which.
const SENT: usize = 11;
const FILE: usize = 0;
const PROCESS: usize = 1;
const NAMESPACES: [usize; 2] = [2, 3];
/// One of each that is neither connected nor bound, and one that listens and that somebody has called.
const STREAM: usize = 4;
const TCP: usize = 5;
const UDP: usize = 6;
const DATAGRAM: usize = 7;
const LISTENER: usize = 8;
/// TCP too: what one attempt does to a socket stays done.
const UNBOUND: usize = 9;
const BOUND: usize = 10;
const SPACE: usize = 64;
const SO_PEERPIDFD: i64 = 77;
const PIDFD_GET_FIRST_NAMESPACE: i64 = 0xff01;
const PIDFD_GET_LAST_NAMESPACE: i64 = 0xff0a;
/// One that no other attempt sends.
const SIGNAL: i64 = 60;

/// All of them, which stay there for the next attempt.
fn sent(world: &World) -> Result<[i64; SENT], Fail> {
    match world.number("handed") {
        Some(_) => received(0, libc::MSG_PEEK),
        None => absent(),
    }
}

/// The descriptors of one message (cmsg(3)).
fn received<const N: usize>(socket: i64, flags: i32) -> Result<[i64; N], Fail> {
    let mut control = [0u8; SPACE];
    let vector = words(&[page(&[])?, 1])?;
    let mut header: Vec<u8> =
        [0, 0, vector, 1, control.as_mut_ptr() as i64, SPACE as i64, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    call(libc::SYS_recvmsg, [Arg::Int(socket), Arg::Out(&mut header), Arg::Int(flags.into())])?;
    let fd = |n: usize| control[16 + 4 * n..][..4].try_into().map_or(-1, i32::from_ne_bytes);
    Ok(std::array::from_fn(|n| fd(n).into()))
}

fn done(made: Ret) -> Outcome {
    Ok(made?.to_string())
}

/// What it has open, is in, and maps.
const BELOW: &[&str] = &["mem", "environ", "auxv", "root/", "cwd/", "exe", "fd/0", "ns/mnt", "ns/net", "stack", "syscall"];

fn below(process: i64, name: &str) -> Outcome {
    let fd = call(libc::SYS_openat, [Arg::Int(process), Arg::Text(&text(name)), Arg::Int(0), Arg::Int(0)])?;
    if matches!(name, "stack" | "syscall") {
        return done(call(libc::SYS_read, [Arg::Int(fd), Arg::Out(&mut [0]), Arg::Int(1)]));
    }
    done(Ok(fd))
}

/// What a pidfd is good for, with a signal: of the other end, who is not to be harmed, it is only asked whether it could be.
type Ask = fn(i64, i64) -> Ret;

#[rustfmt::skip]
const PIDFD: &[(&str, &[&str], Ask)] = &[
    ("signal", &["pidfd_send_signal"], |fd, signal| call(libc::SYS_pidfd_send_signal, [Arg::Int(fd), Arg::Int(signal), Arg::Null, Arg::Int(0)])),
    ("descriptor", &["pidfd_getfd"], |fd, _| call(libc::SYS_pidfd_getfd, [Arg::Int(fd), Arg::Int(0), Arg::Int(0)])),
    ("advice", &["process_madvise"], |fd, _| {
        call(libc::SYS_process_madvise, [Arg::Int(fd), Arg::In(&[0; 16]), Arg::Int(1), Arg::Int(libc::MADV_COLD.into()), Arg::Int(0)])
    }),
    ("namespaces", &["setns"], |fd, _| call(libc::SYS_setns, [Arg::Int(fd), Arg::Int((libc::CLONE_NEWNET | libc::CLONE_NEWNS).into())])),
    ("namespaces as descriptors", &["ioctl"], |fd, _| {
        let ask = |what| call(libc::SYS_ioctl, [Arg::Int(fd), Arg::Int(what), Arg::Int(0)]);
        (PIDFD_GET_FIRST_NAMESPACE..=PIDFD_GET_LAST_NAMESPACE).find_map(|what| ask(what).ok()).ok_or(libc::EACCES)
    }),
    ("end", &["waitid"], |fd, _| call(libc::SYS_waitid, [Arg::Int(3), Arg::Int(fd), Arg::Null, Arg::Int((libc::WEXITED | libc::WNOHANG).into()), Arg::Null])),
];

fn peer(world: &World) -> Result<i64, Fail> {
    sent(world)?;
    let (mut fd, mut size) = ([0; 4], 4i32.to_ne_bytes());
    let words = [Arg::Int(0), Arg::Int(libc::SOL_SOCKET.into()), Arg::Int(SO_PEERPIDFD), Arg::Out(&mut fd), Arg::Out(&mut size)];
    call(libc::SYS_getsockopt, words)?;
    Ok(i32::from_ne_bytes(fd).into())
}

/// A socket that was made in the sandbox, sent to another process of it, which connects it to the host's listener.
fn sent_on(world: &World) -> Outcome {
    let (mut pair, to) = ([0; 8], bytes::listener(world)?);
    let words = [Arg::Int(libc::AF_UNIX.into()), Arg::Int(libc::SOCK_STREAM.into()), Arg::Int(0), Arg::Out(&mut pair)];
    call(libc::SYS_socketpair, words)?;
    let [a, b, c, d, e, f, g, h] = pair;
    let (ours, theirs) = (i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
    let socket = crate::socket::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    // Before the other process is there: it never waits.
    pass(ours, socket.as_raw_fd())?;
    let child = fork()?;
    if child == 0 {
        let connected = received(theirs.into(), 0)
            .map(|[socket]| call(libc::SYS_connect, [Arg::Int(socket), Arg::In(&to), Arg::Int(to.len() as i64)]).is_ok());
        std::process::exit((!connected.unwrap_or(false)).into())
    }
    match crate::syscall::end(child) {
        Ok(0) => Ok("connected".into()),
        other => word("held", format!("{other:?}")),
    }
}

/// sendmsg(2) with one descriptor.
fn pass(to: i32, fd: i32) -> Result<i64, Fail> {
    let rights = i64::from(libc::SOL_SOCKET) | i64::from(libc::SCM_RIGHTS) << 32;
    let (control, vector) = (words(&[20, rights, fd.into()])?, words(&[page(b"s")?, 1])?);
    Ok(call(libc::SYS_sendmsg, [Arg::Int(to.into()), Arg::Int(words(&[0, 0, vector, 1, control, 24, 0])?), Arg::Int(0)])?)
}

fn always<'a>(name: String, calls: &'a [&'a str], run: impl Fn() -> Outcome + 'a) -> Attempt<'a> {
    Attempt::new(Wall::Always, format!("handed\t{name}"), run).by(calls)
}

/// To whom each is connected, and sends.
const REACH: &[(usize, &str, &str)] = &[
    (STREAM, "a Unix socket", "{w}/host.sock"),
    (STREAM, "a Unix socket", "{tmp}.sock"),
    (DATAGRAM, "a Unix datagram socket", "{w}/host.dgram"),
    (DATAGRAM, "a Unix datagram socket", "{tmp}.dgram"),
    (TCP, "a TCP socket", "{tcp}"),
    (UDP, "a UDP socket", "{udp}"),
];

/// Of a path, or of an address of IP.
fn address(name: &str) -> Result<Vec<u8>, Fail> {
    if name.contains('/') {
        return Ok(crate::socket::address(name));
    }
    let to: std::net::SocketAddrV4 = name.parse().or_else(|_| absent())?;
    Ok([&(libc::AF_INET as u16).to_ne_bytes()[..], &to.port().to_be_bytes(), &to.ip().octets(), &[0; 8]].concat())
}

/// With a name and without: a listener that is bound to nothing gets a port.
fn listens(by: Entry, socket: i64, name: Option<&str>) -> Outcome {
    if let Some(name) = name {
        let to = address(name)?;
        make(by, "bind", [socket, page(&to)?, to.len() as i64, 0, 0, 0])?;
    }
    done(Ok(make(by, "listen", [socket, 5, 0, 0, 0, 0])?))
}

fn sockets<'a>(world: &'a World) -> Vec<Attempt<'a>> {
    let mut all = Vec::new();
    for by in ENTRIES {
        let mut held = |wall, what: String, run: Box<dyn Fn() -> Outcome + 'a>| {
            all.push(Attempt::new(wall, format!("handed\tsocket, {}: {what}", by.name()), run));
        };
        for (which, called, name) in REACH {
            for (way, step) in WAYS.iter().filter(|(way, _)| !way.starts_with("connect to")) {
                let wall = if *way == "connect" { Wall::Ours } else { Wall::Sends };
                let run = move || done(Ok(step(*by, sent(world)?[*which], &address(&world.fill(name))?)?));
                // TCP and streams send to no name.
                if wall == Wall::Ours || matches!(*which, UDP | DATAGRAM) {
                    held(wall, format!("{called}, {way} {name}"), Box::new(run));
                }
            }
        }
        let listens = move |which: usize, name| move || listens(*by, sent(world)?[which], name);
        held(Wall::Ours, "TCP, listens".into(), Box::new(listens(UNBOUND, None)));
        held(Wall::Ours, "TCP, bound, listens".into(), Box::new(listens(BOUND, Some("127.0.0.1:0"))));
        for (call, flags) in [("accept", 0), ("accept4", libc::SOCK_CLOEXEC)] {
            let run = move || done(Ok(make(*by, call, [sent(world)?[LISTENER], 0, 0, flags.into(), 0, 0])?));
            held(Wall::Accepts, format!("a listener, {call}"), Box::new(run));
        }
    }
    all
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let mut all = Vec::new();
    for (name, calls, way) in bytes::ways() {
        let run = move || bytes::changed(&world.fill("{out}/file.txt"), sent(world)?[FILE], *way);
        all.push(always(format!("a file to read: {name}"), calls, run));
    }
    for name in BELOW {
        all.push(always(format!("a process: {name}"), &["openat"], move || below(sent(world)?[PROCESS], name)));
    }
    for (name, calls, ask) in PIDFD {
        all.push(always(format!("a process: its {name}"), calls, move || done(ask(sent(world)?[PROCESS], SIGNAL))));
        all.push(always(format!("who is at the other end: its {name}"), calls, move || done(ask(peer(world)?, 0))));
    }
    for n in NAMESPACES {
        let run = move || done(call(libc::SYS_setns, [Arg::Int(sent(world)?[n]), Arg::Int(0)]));
        all.push(always(format!("namespace {n}"), &["setns"], run));
    }
    // Their names are those of the host, and a filter does not see whose they are.
    all.extend(sockets(world));
    let run = move || sent_on(world);
    all.push(Attempt::new(Wall::Network, "handed\ta socket of its own, sent on", run).by(&["sendmsg", "recvmsg", "connect"]));
    all
}
