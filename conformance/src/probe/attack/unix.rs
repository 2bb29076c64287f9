//! The host's Unix sockets by name, in all the ways in which a name is given to the kernel. A sandbox of codexrun's has sockets of this
//! family, and connect(2) and what sends are not refused: they reach only who is meant to be reached.

use super::entry::{ENTRIES, Entry};
use super::{Attempt, Wall, World, absent};
use crate::outcome::{Fail, Outcome};
use crate::socket::address;
use crate::syscall::page;

const KINDS: [(i32, &str); 3] = [(libc::SOCK_STREAM, "stream"), (libc::SOCK_DGRAM, "datagram"), (libc::SOCK_SEQPACKET, "packet")];
/// A name without a `/` is abstract.
const STREAMS: &[&str] = &["{w}/host.sock", "{w}/../w/host.sock", "/proc/self/root{w}/host.sock", "{tmp}.sock", "{name}"];
const DATAGRAMS: &[&str] =
    &["{w}/host.dgram", "{w}/../w/host.dgram", "/proc/self/root{w}/host.dgram", "{tmp}.dgram", "{name}.dgram"];

/// What is done with a socket and a name, both on pages that every entry can see.
pub type Way = fn(Entry, i64, &[u8]) -> Result<i64, Fail>;

pub const WAYS: &[(&str, Way)] = &[
    ("connect", |by, fd, to| make(by, "connect", [fd, page(to)?, to.len() as i64, 0, 0, 0])),
    ("sendto", |by, fd, to| make(by, "sendto", [fd, page(b"attack")?, 6, 0, page(to)?, to.len() as i64])),
    ("sendmsg", |by, fd, to| make(by, "sendmsg", [fd, page(&header(by, to)?)?, 0, 0, 0, 0])),
    ("sendmmsg", |by, fd, to| make(by, "sendmmsg", [fd, page(&header(by, to)?)?, 1, 0, 0, 0])),
    ("connect to a friend, then sendmsg", |by, fd, to| {
        let own = [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"\0codexrun-friend"].concat();
        let friend = make(by, "socket", [libc::AF_UNIX.into(), libc::SOCK_DGRAM.into(), 0, 0, 0, 0])?;
        make(by, "bind", [friend, page(&own)?, own.len() as i64, 0, 0, 0])?;
        make(by, "connect", [fd, page(&own)?, own.len() as i64, 0, 0, 0])?;
        make(by, "sendmsg", [fd, page(&header(by, to)?)?, 0, 0, 0, 0])
    }),
];

/// A struct mmsghdr, which begins with a struct msghdr, of the words of this entry.
fn header(by: Entry, to: &[u8]) -> Result<Vec<u8>, Fail> {
    let wide = by == Entry::Native && cfg!(target_pointer_width = "64");
    let words = |words: &[i64]| -> Vec<u8> {
        let word = |word: &i64| if wide { word.to_ne_bytes().to_vec() } else { (*word as i32).to_ne_bytes().to_vec() };
        words.iter().flat_map(word).collect()
    };
    let vector = page(&words(&[page(b"attack")?, 6]))?;
    Ok(words(&[page(to)?, to.len() as i64, vector, 1, 0, 0, 0, 0]))
}

pub fn make(by: Entry, name: &str, words: [i64; 6]) -> Result<i64, Fail> {
    match by.number(name) {
        Some(number) => Ok(by.call(number, words)?),
        None => absent(),
    }
}

fn reach(by: Entry, kind: i32, way: Way, name: &str) -> Outcome {
    let to = if name.contains('/') {
        address(name)
    } else {
        [&(libc::AF_UNIX as u16).to_ne_bytes()[..], b"\0", name.as_bytes()].concat()
    };
    let fd = make(by, "socket", [libc::AF_UNIX.into(), kind.into(), 0, 0, 0, 0])?;
    way(by, fd, &to).map(|n| n.to_string())
}

type Name = fn(&str, &str) -> std::io::Result<()>;

/// Ways to give the host's socket a name in a directory whose sockets are granted, or by it.
const NAMED: &[(&str, &[&str], Name)] = &[
    ("a hard link", &["link"], |host, name| std::fs::hard_link(host, name)),
    ("another name", &["rename"], |host, name| {
        let friend = format!("{host}.friend");
        std::fs::hard_link(host, &friend).and_then(|()| std::fs::rename(friend, name))
    }),
    ("a link", &["symlink"], |host, name| std::os::unix::fs::symlink(host, name)),
    ("the way up", &[], |_, _| Ok(())),
];

fn smuggled(world: &World, name: Name, up: bool) -> Outcome {
    let (host, new) = (world.fill("{w}/host.sock"), world.fill("{w}/granted/smuggled.sock"));
    // Of the attempt before; and a link may be refused, when nothing is there to be connected to.
    let _ = std::fs::remove_file(&new);
    name(&host, &new)?;
    let at = if up { world.fill("{w}/granted/../host.sock") } else { new };
    std::os::unix::net::UnixStream::connect(at)?;
    Ok("connected".into())
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    // With the network on only codexrun tells the host's from others.
    let wall = if world.has(Wall::Network) { Wall::Network } else { Wall::Ours };
    let mut all = Vec::new();
    for (called, calls, name) in NAMED {
        let run = move || smuggled(world, *name, calls.is_empty());
        all.push(Attempt::new(wall, format!("steps\tthe host's socket in a granted directory: {called}"), run).by(calls));
    }
    for entry in ENTRIES {
        for (kind, called) in KINDS {
            for name in if kind == libc::SOCK_DGRAM { DATAGRAMS } else { STREAMS } {
                for (way, step) in WAYS {
                    let run = move || reach(*entry, kind, *step, &world.fill(name));
                    all.push(Attempt::new(wall, format!("{}\t{called} {way} {name}", entry.name()), run));
                }
            }
        }
    }
    all
}
