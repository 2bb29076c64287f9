//! A byte that gets outside: into a file that may only be read, or into a socket of the host's, by every call that moves one. Where the file
//! may be written, and the sockets be reached, each of these shows that it can.

use super::row::{open, pipe};
use super::{Attempt, Wall, World};
use crate::outcome::{Fail, Outcome, word};
use crate::socket;
use crate::syscall::{Arg, call, page, text};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Moves a text into a descriptor.
type Way = fn(i64, &[u8]) -> Result<i64, Fail>;
/// Its name, the calls that it is made of, and how it is done.
pub type Move = (&'static str, &'static [&'static str], Way);

/// Into whatever it is.
#[rustfmt::skip]
const MOVES: &[Move] = &[
    ("write", &["write"], |fd, text| Ok(call(libc::SYS_write, [Arg::Int(fd), Arg::In(text), length(text)])?)),
    ("writev", &["writev"], |fd, text| vector(libc::SYS_writev, fd, text)),
    ("pwritev2", &["pwritev2"], |fd, text| vector(libc::SYS_pwritev2, fd, text)),
    ("splice", &["splice"], |fd, text| splice(full(text)?, fd, text.len())),
    ("vmsplice and splice", &["vmsplice", "splice"], |fd, text| {
        let (from, to) = empty()?;
        vector(libc::SYS_vmsplice, to, text)?;
        splice(from, fd, text.len())
    }),
    ("tee and splice", &["tee", "splice"], |fd, text| {
        let (from, to) = empty()?;
        call(libc::SYS_tee, [Arg::Int(full(text)?), Arg::Int(to), length(text), Arg::Int(0)])?;
        splice(from, fd, text.len())
    }),
    ("sendfile from memory", &["sendfile", "memfd_create"], |fd, text| {
        Ok(call(libc::SYS_sendfile, [Arg::Int(fd), Arg::Int(memory(text)?), Arg::Null, length(text)])?)
    }),
    ("io_submit", &["io_setup", "io_submit", "io_getevents"], submitted),
];

/// Into a file.
#[rustfmt::skip]
const FILE: &[Move] = &[
    ("pwrite64", &["pwrite64"], |fd, text| Ok(call(libc::SYS_pwrite64, [Arg::Int(fd), Arg::In(text), length(text), Arg::Int(0)])?)),
    ("pwritev", &["pwritev"], |fd, text| vector(libc::SYS_pwritev, fd, text)),
    ("a map that is made writable", &["mmap", "mprotect"], |fd, text| made_writable(libc::SYS_mprotect, fd, text)),
    ("a map that is made writable with a key", &["pkey_mprotect"], |fd, text| made_writable(libc::SYS_pkey_mprotect, fd, text)),
    ("a map, by /proc/self/mem", &["mmap", "pwrite64"], |fd, text| {
        let words = [Arg::Int(open("/proc/self/mem", libc::O_RDWR)?), Arg::In(text), length(text), Arg::Int(map(fd)?)];
        Ok(call(libc::SYS_pwrite64, words)?)
    }),
    ("a map, as another process's", &["process_vm_writev"], |fd, text| {
        let (from, to) = (iovec(page(text)?, text.len())?, iovec(map(fd)?, text.len())?);
        let own = Arg::Int(std::process::id().into());
        Ok(call(libc::SYS_process_vm_writev, [own, Arg::Int(from), Arg::Int(1), Arg::Int(to), Arg::Int(1), Arg::Int(0)])?)
    }),
    ("a hole in a map", &["madvise"], |fd, _| {
        Ok(call(libc::SYS_madvise, [Arg::Int(map(fd)?), Arg::Int(4096), Arg::Int(libc::MADV_REMOVE.into())])?)
    }),
    // CVE-2022-0847: what is written to a pipe went on in the page of a file that had been spliced into it.
    ("a page of it in a pipe", &["splice"], |fd, text| dirty(text, |to| splice(fd, to, 1))),
    ("a page of it in a pipe, by its map", &["vmsplice"], |fd, text| {
        dirty(text, |to| Ok(call(libc::SYS_vmsplice, [Arg::Int(to), Arg::Int(iovec(map(fd)?, 1)?), Arg::Int(1), Arg::Int(0)])?))
    }),
    ("a page of it in a second pipe", &["tee"], |fd, text| {
        let (from, to) = empty()?;
        splice(fd, to, 1)?;
        dirty(text, |to| Ok(call(libc::SYS_tee, [Arg::Int(from), Arg::Int(to), Arg::Int(1), Arg::Int(0)])?))
    }),
];

/// Into a socket.
#[rustfmt::skip]
const SOCKET: &[Move] = &[
    ("sendto", &["sendto"], |fd, text| Ok(call(libc::SYS_sendto, [Arg::Int(fd), Arg::In(text), length(text), Arg::Int(0), Arg::Null, Arg::Null])?)),
    ("sendmsg", &["sendmsg"], |fd, text| Ok(call(libc::SYS_sendmsg, [Arg::Int(fd), Arg::Int(message(text)?), Arg::Int(0)])?)),
    ("sendmmsg", &["sendmmsg"], |fd, text| Ok(call(libc::SYS_sendmmsg, [Arg::Int(fd), Arg::Int(message(text)?), Arg::Int(1), Arg::Int(0)])?)),
];

/// What is asked of a socket before it is connected: level, name, value.
const OPTIONS: &[(&str, i32, i32, &[u8])] = &[
    ("SO_BINDTODEVICE", libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"eth0\0"),
    ("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK, &[1, 0, 0, 0]),
    ("SO_DONTROUTE", libc::SOL_SOCKET, libc::SO_DONTROUTE, &[1, 0, 0, 0]),
    ("IP_FREEBIND", libc::IPPROTO_IP, libc::IP_FREEBIND, &[1, 0, 0, 0]),
    ("IP_TRANSPARENT", libc::IPPROTO_IP, libc::IP_TRANSPARENT, &[1, 0, 0, 0]),
    ("TCP_FASTOPEN_CONNECT", libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &[1, 0, 0, 0]),
    ("TCP_REPAIR", libc::IPPROTO_TCP, libc::TCP_REPAIR, &[1, 0, 0, 0]),
    ("TCP_ULP", libc::IPPROTO_TCP, libc::TCP_ULP, b"tls\0"),
];

fn length(text: &[u8]) -> Arg<'_> {
    Arg::Int(text.len() as i64)
}

/// A page of them.
pub fn words(words: &[i64]) -> Result<i64, Fail> {
    Ok(page(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())?)
}

fn iovec(at: i64, length: usize) -> Result<i64, Fail> {
    words(&[at, length as i64])
}

/// A struct mmsghdr, which begins with a struct msghdr.
fn message(text: &[u8]) -> Result<i64, Fail> {
    words(&[0, 0, iovec(page(text)?, text.len())?, 1, 0, 0, 0, 0])
}

/// A call that takes a vector, then an offset in two words (-1: where it stands, with which a socket can be asked too), then flags.
fn vector(nr: i64, fd: i64, text: &[u8]) -> Result<i64, Fail> {
    let (at, offset) = (iovec(page(text)?, text.len())?, if nr == libc::SYS_pwritev2 { -1 } else { 0 });
    Ok(call(nr, [Arg::Int(fd), Arg::Int(at), Arg::Int(1), Arg::Int(offset), Arg::Int(0), Arg::Int(0)])?)
}

fn empty() -> Result<(i64, i64), Fail> {
    let (from, to) = pipe()?;
    call(libc::SYS_read, [Arg::Int(from), Arg::Out(&mut [0]), Arg::Int(1)])?;
    Ok((from, to))
}

/// The end from which a text can be read.
fn full(text: &[u8]) -> Result<i64, Fail> {
    let (from, to) = empty()?;
    call(libc::SYS_write, [Arg::Int(to), Arg::In(text), length(text)])?;
    Ok(from)
}

fn splice(from: i64, to: i64, length: usize) -> Result<i64, Fail> {
    Ok(call(libc::SYS_splice, [Arg::Int(from), Arg::Null, Arg::Int(to), Arg::Null, Arg::Int(length as i64), Arg::Int(0)])?)
}

fn memory(content: &[u8]) -> Result<i64, Fail> {
    let fd = call(libc::SYS_memfd_create, [Arg::Text(&text("attack")), Arg::Int(0)])?;
    call(libc::SYS_pwrite64, [Arg::Int(fd), Arg::In(content), length(content), Arg::Int(0)])?;
    Ok(fd)
}

fn map(fd: i64) -> Result<i64, Fail> {
    let (prot, flags) = (Arg::Int(libc::PROT_READ.into()), Arg::Int(libc::MAP_SHARED.into()));
    Ok(call(libc::SYS_mmap, [Arg::Null, Arg::Int(4096), prot, flags, Arg::Int(fd), Arg::Int(0)])?)
}

/// The kernel writes to the map, so that a refusal is an errno.
fn made_writable(nr: i64, fd: i64, text: &[u8]) -> Result<i64, Fail> {
    let (at, prot) = (map(fd)?, Arg::Int((libc::PROT_READ | libc::PROT_WRITE).into()));
    call(nr, [Arg::Int(at), Arg::Int(4096), prot, Arg::Int(-1)])?;
    Ok(call(libc::SYS_read, [Arg::Int(full(text)?), Arg::Int(at), length(text)])?)
}

/// A pipe all of whose pages have been written to once, then a page of something else in it, then a text.
fn dirty(text: &[u8], put: impl Fn(i64) -> Result<i64, Fail>) -> Result<i64, Fail> {
    let ((from, to), mut block) = (empty()?, [0; 4096]);
    for nr in [libc::SYS_write, libc::SYS_read] {
        for _ in 0..16 {
            let end = if nr == libc::SYS_write { to } else { from };
            call(nr, [Arg::Int(end), Arg::Out(&mut block), Arg::Int(4096)])?;
        }
    }
    put(to)?;
    Ok(call(libc::SYS_write, [Arg::Int(to), Arg::In(text), length(text)])?)
}

/// io_submit(2): IOCB_CMD_PWRITE.
fn submitted(fd: i64, text: &[u8]) -> Result<i64, Fail> {
    let (mut context, mut event) = ([0; 8], [0; 32]);
    call(libc::SYS_io_setup, [Arg::Int(1), Arg::Out(&mut context)])?;
    let context = i64::from_ne_bytes(context);
    let block = words(&[0, 0, 1 | fd << 32, page(text)?, text.len() as i64, 0, 0, 0])?;
    call(libc::SYS_io_submit, [Arg::Int(context), Arg::Int(1), Arg::Int(words(&[block])?)])?;
    call(libc::SYS_io_getevents, [Arg::Int(context), Arg::Int(1), Arg::Int(1), Arg::Out(&mut event), Arg::Null])?;
    let [_, result] = [0, 16].map(|at| i64::from_ne_bytes(event[at..at + 8].try_into().unwrap_or_default()));
    if result < 0 { Err(Fail::Errno(-result as i32)) } else { Ok(result) }
}

/// It is opened to write, too, if it can be.
fn into_file(world: &World, way: Way) -> Outcome {
    let path = world.fill("{out}/file.txt");
    changed(&path, open(&path, libc::O_RDWR).or_else(|_| open(&path, libc::O_RDONLY))?, way)
}

/// Every way into a file by a descriptor of it.
pub fn ways() -> impl Iterator<Item = &'static Move> {
    MOVES.iter().chain(FILE)
}

/// The file is another one afterwards.
pub fn changed(path: &str, fd: i64, way: Way) -> Outcome {
    let before = fs::read(path)?;
    let done = way(fd, format!("{:08}", std::process::id()).as_bytes());
    if fs::read(path)? == before { done.and_then(|_| word("whole", "")) } else { Ok("written".into()) }
}

/// A connection to the host, as the attempt with connect(2) itself may have failed for a reason of its own.
fn connected(world: &World, to: &str) -> Result<i64, Fail> {
    let tcp = || world.fill("{tcp}");
    Ok(match to {
        "TCP" => TcpStream::connect(tcp())?.into_raw_fd(),
        "UDP" => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(world.fill("{udp}"))?;
            // Nobody can be there: then the second word says so.
            socket.send(b"attack")?;
            std::thread::sleep(Duration::from_millis(2));
            socket.into_raw_fd()
        }
        _ => UnixStream::connect(world.fill("{w}/host.sock"))?.into_raw_fd(),
    }
    .into())
}

/// The struct sockaddr_in of the host's listener.
pub fn listener(world: &World) -> Result<Vec<u8>, Fail> {
    let at: SocketAddr = world.fill("{tcp}").parse().map_err(|_| Fail::Errno(libc::EINVAL))?;
    Ok([&(libc::AF_INET as u16).to_ne_bytes()[..], &at.port().to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat())
}

fn with_option(world: &World, level: i32, name: i32, value: &[u8]) -> Outcome {
    let socket = socket::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let fd = i64::from(socket.as_raw_fd());
    let option = [Arg::Int(fd), Arg::Int(level.into()), Arg::Int(name.into()), Arg::In(value), length(value)];
    call(libc::SYS_setsockopt, option)?;
    let to = listener(world)?;
    call(libc::SYS_connect, [Arg::Int(fd), Arg::In(&to), length(&to)])?;
    call(libc::SYS_write, [Arg::Int(fd), Arg::In(b"attack"), Arg::Int(6)])?;
    call(libc::SYS_read, [Arg::Int(fd), Arg::Out(&mut [0; 8]), Arg::Int(8)]).map(|n| n.to_string()).map_err(Fail::Errno)
}

/// Somebody outside calls this port all the time, by TCP and by UDP.
fn bait(world: &World) -> Outcome {
    let at = world.fill("0.0.0.0:{bait}");
    let (listener, socket, end) = (TcpListener::bind(&at)?, UdpSocket::bind(&at)?, Instant::now() + Duration::from_millis(60));
    listener.set_nonblocking(true)?;
    let (listening, message) = (listener.as_raw_fd().into(), message(&[0; 8])?);
    while Instant::now() < end {
        if let Ok(fd) = call(libc::SYS_accept4, [Arg::Int(listening), Arg::Null, Arg::Null, Arg::Int(0)]) {
            call(libc::SYS_write, [Arg::Int(fd), Arg::In(b"attack"), Arg::Int(6)])?;
            return Ok("a connection from outside".into());
        }
        let flags = Arg::Int(libc::MSG_DONTWAIT.into());
        let words = [Arg::Int(socket.as_raw_fd().into()), Arg::Int(message), Arg::Int(1), flags, Arg::Null];
        if let Ok(1) = call(libc::SYS_recvmmsg, words) {
            return Ok("a datagram from outside".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    word("nobody", "")
}

pub fn attempts(world: &World) -> Vec<Attempt<'_>> {
    let mut all = vec![
        Attempt::new(Wall::Network, "bytes\tfrom who calls a port", || bait(world))
            .by(&["bind", "listen", "accept4", "recvmmsg"]),
    ];
    for (name, calls, way) in ways() {
        all.push(Attempt::new(Wall::Files, format!("bytes\tinto a file: {name}"), || into_file(world, *way)).by(calls));
    }
    for (name, calls, way) in MOVES.iter().chain(SOCKET) {
        for to in ["TCP", "UDP", "a Unix socket"] {
            let run = move || way(connected(world, to)?, b"attack").map(|n| n.to_string());
            all.push(Attempt::new(Wall::Network, format!("bytes\tinto {to}: {name}"), run).by(calls));
        }
    }
    for (option, level, name, value) in OPTIONS {
        let run = move || with_option(world, *level, *name, value);
        all.push(Attempt::new(Wall::Network, format!("bytes\tinto TCP with {option}"), run).by(&["setsockopt", "connect"]));
    }
    all
}
