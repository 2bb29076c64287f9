//! Unix datagrams of the sandbox's own, and all that sendmsg(2) does where another process does it for the caller.

use crate::Verb;
use crate::outcome::{Outcome, word};
use crate::socket::{address, socket};
use crate::syscall::{Arg, Ret, call};
use std::io::{Error, Read, Result};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Every verb of this file.
pub const VERBS: &[Verb] = &[
    ("dgram-own", |a| own(a[0])),
    ("dgram-own-abstract", |_| own_abstract()),
    ("dgram-abstract", |a| {
        Ok(UnixDatagram::unbound()?.send_to_addr(b"probe", &SocketAddr::from_abstract_name(a[0])?)?.to_string())
    }),
    ("dgram-descriptor", |a| descriptor(a[0])),
    ("dgram-credentials", |a| credentials(a[0])),
    ("dgram-waits", |a| waits(a[0])),
    ("dgram-race", |a| race(a[0], a[1])),
    ("sendmsg-stream", |_| stream()),
    ("sendmsg-pipe", |_| broken()),
    ("sendmmsg-udp", |_| many()),
];

/// A message for sendmsg(2), which borrows what it is made of.
struct Message<'a> {
    name: &'a [u8],
    data: &'a [u8],
    control: &'a [u8],
}

impl Message<'_> {
    fn words(&self, vector: &[u64; 2]) -> [u64; 8] {
        let at = |bytes: &[u8]| if bytes.is_empty() { 0 } else { bytes.as_ptr() as u64 };
        let control = (at(self.control), self.control.len() as u64);
        [at(self.name), self.name.len() as u64, vector.as_ptr() as u64, 1, control.0, control.1, 0, 0]
    }

    fn send(&self, from: i32, flags: i32) -> Ret {
        let vector = [self.data.as_ptr() as u64, self.data.len() as u64];
        let header = bytes(&self.words(&vector));
        call(libc::SYS_sendmsg, [Arg::Int(from.into()), Arg::In(&header), Arg::Int(flags.into())])
    }
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn errno(ret: Ret) -> Result<i64> {
    ret.map_err(Error::from_raw_os_error)
}

/// A server answers whoever has sent, by the name that it has: sendto(2), sendmsg(2), connect(2) and write(2).
fn own(path: &str) -> Outcome {
    let (server, client) = (UnixDatagram::bind(path)?, UnixDatagram::bind(format!("{path}.c"))?);
    let to = address(path);
    let mut text = [0; 16];
    let mut answered = |sent: usize| -> Result<bool> {
        let (length, from) = server.recv_from(&mut text)?;
        server.send_to(&text[..length], from.as_pathname().ok_or(Error::other("no name"))?)?;
        Ok(length == sent && client.recv(&mut text)? == sent)
    };
    let by_sendto = client.send_to(b"one", path)?;
    let mut right = answered(by_sendto)?;
    right &= errno(Message { name: &to, data: b"three", control: &[] }.send(client.as_raw_fd(), 0))? == 5 && answered(5)?;
    client.connect(path)?;
    client.send(b"fours")?;
    right &=
        answered(5)? && errno(Message { name: &[], data: b"", control: &[] }.send(client.as_raw_fd(), 0))? == 0 && answered(0)?;
    for name in [path, &format!("{path}.c")] {
        std::fs::remove_file(name)?;
    }
    let gone = UnixDatagram::unbound()?.send_to(b"x", path).err().and_then(|e| e.raw_os_error());
    if right && gone == Some(libc::ENOENT) { Ok(String::new()) } else { word("differs", format!("{gone:?}")) }
}

fn own_abstract() -> Outcome {
    let name = SocketAddr::from_abstract_name("codexrun-test-datagrams")?;
    let server = UnixDatagram::bind_addr(&name)?;
    UnixDatagram::unbound()?.send_to_addr(b"one", &name)?;
    Ok(server.recv(&mut [0; 8])?.to_string())
}

/// A control message of one number.
fn control(kind: i32, body: &[u8]) -> Vec<u8> {
    let mut text = bytes(&[16 + body.len() as u64, libc::SOL_SOCKET as u64 | (kind as u64) << 32]);
    text.extend(body);
    text.resize(text.len().next_multiple_of(8), 0);
    text
}

/// A descriptor goes with a datagram: it is the sender's.
fn descriptor(path: &str) -> Outcome {
    let (server, client, file) = (UnixDatagram::bind(path)?, UnixDatagram::unbound()?, format!("{path}.txt"));
    std::fs::write(&file, "of the sender")?;
    let (open, name) = (std::fs::File::open(&file)?, address(path));
    let rights = control(libc::SCM_RIGHTS, &open.as_raw_fd().to_ne_bytes());
    errno(Message { name: &name, data: b"x", control: &rights }.send(client.as_raw_fd(), 0))?;
    let (mut byte, mut room) = ([0], [0; 24]);
    let vector = [byte.as_mut_ptr() as u64, 1];
    let mut header = bytes(&[0, 0, vector.as_ptr() as u64, 1, room.as_mut_ptr() as u64, 24, 0]);
    errno(call(libc::SYS_recvmsg, [Arg::Int(server.as_raw_fd().into()), Arg::Out(&mut header), Arg::Int(0)]))?;
    let fd = i32::from_ne_bytes([room[16], room[17], room[18], room[19]]);
    #[allow(unsafe_code)]
    // SAFETY: the kernel has just given this descriptor to us and to nobody else.
    let mut got = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let mut text = String::new();
    got.read_to_string(&mut text)?;
    std::fs::remove_file(path)?;
    if text == "of the sender" { Ok(String::new()) } else { word("differs", text) }
}

/// Nobody says who he is: EPERM.
fn credentials(path: &str) -> Outcome {
    let (_server, client, name) = (UnixDatagram::bind(path)?, UnixDatagram::unbound()?, address(path));
    let me = [1i32, 0, 0].iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();
    let said = control(libc::SCM_CREDENTIALS, &me);
    let sent = Message { name: &name, data: b"x", control: &said }.send(client.as_raw_fd(), 0);
    std::fs::remove_file(path)?;
    Ok(sent.map(|n| n.to_string())?)
}

/// Who is to wait waits until there is room, and who is not does not; a signal ends it.
fn waits(path: &str) -> Outcome {
    static HANDLED: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handled(_: i32) {
        HANDLED.store(1, Relaxed);
    }
    let (server, client, name) = (UnixDatagram::bind(path)?, UnixDatagram::unbound()?, address(path));
    let send = |flags| Message { name: &name, data: b"fill", control: &[] }.send(client.as_raw_fd(), flags);
    let filled = std::iter::repeat_with(|| send(libc::MSG_DONTWAIT)).take(100_000).find_map(std::result::Result::err);
    if filled != Some(libc::EAGAIN) {
        return word("not-full", format!("{filled:?}"));
    }
    let waited = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| send(0));
        std::thread::sleep(Duration::from_millis(60));
        let early = waiter.is_finished();
        server.recv(&mut [0; 8])?;
        Ok::<_, Error>((early, waiter.join().unwrap_or(Err(0))))
    })?;
    let interrupted = crate::syscall::interrupted_in(100, handled, || send(0));
    // Not longer than it says itself (SO_SNDTIMEO).
    client.set_write_timeout(Some(Duration::from_millis(150)))?;
    let limited = send(0);
    std::fs::remove_file(path)?;
    match (waited, interrupted, HANDLED.load(Relaxed), limited) {
        ((false, Ok(4)), Err(libc::EINTR), 1, Err(libc::EAGAIN)) => Ok(String::new()),
        other => word("differs", format!("{other:?}")),
    }
}

/// A thread rewrites the name all the time that sendmsg(2) is made with it. Whether the host's has got one the host sees.
fn race(own: &str, host: &str) -> Outcome {
    let (server, own_name, host_name, over) = (UnixDatagram::bind(own)?, address(own), address(host), AtomicBool::new(false));
    server.set_nonblocking(true)?;
    let name: Vec<AtomicU8> = own_name.iter().map(|byte| AtomicU8::new(*byte)).collect();
    let client = socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    let (end, mut sent, mut refused) = (Instant::now() + Duration::from_millis(400), 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                for bytes in [&host_name, &own_name] {
                    name.iter().zip(bytes).for_each(|(to, from)| to.store(*from, Relaxed));
                }
            }
        });
        while Instant::now() < end {
            let vector = [b"x".as_ptr() as u64, 1];
            let header = bytes(&[name.as_ptr() as u64, name.len() as u64, vector.as_ptr() as u64, 1, 0, 0, 0]);
            match call(libc::SYS_sendmsg, [Arg::Int(client.as_raw_fd().into()), Arg::In(&header), Arg::Int(0)]) {
                Ok(_) => sent += 1,
                Err(_) => refused += 1,
            }
            while server.recv(&mut [0]).is_ok() {}
        }
        over.store(true, Relaxed);
    });
    std::fs::remove_file(own)?;
    if sent > 0 && refused > 0 {
        Ok(format!("{sent} sent, {refused} refused"))
    } else {
        word("no-race", format!("{sent} {refused}"))
    }
}

/// More than is sent at a time arrives whole and in order, by a call that waits; what it returned is what has been sent.
fn stream() -> Outcome {
    let (ours, mut theirs) = UnixStream::pair()?;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| theirs.read_to_end(&mut back));
        let mut rest = sent.as_slice();
        while !rest.is_empty() {
            let n = errno(Message { name: &[], data: rest, control: &[] }.send(ours.as_raw_fd(), 0))?;
            rest = &rest[n as usize..];
        }
        drop(ours);
        reader.join().map_err(|_| Error::other("the reader"))?
    })?;
    if back == sent { Ok(String::new()) } else { word("differs", back.len()) }
}

/// EPIPE, and SIGPIPE for the one who sends.
fn broken() -> Outcome {
    let (ours, theirs) = UnixStream::pair()?;
    drop(theirs);
    let said = Message { name: &[], data: b"x", control: &[] };
    let quiet = said.send(ours.as_raw_fd(), libc::MSG_NOSIGNAL);
    let child = crate::syscall::fork()?;
    if child == 0 {
        let _ = call(libc::SYS_rt_sigaction, [Arg::Int(libc::SIGPIPE.into()), Arg::In(&[0; 32]), Arg::Null, Arg::Int(8)]);
        let _ = said.send(ours.as_raw_fd(), 0);
        std::process::exit(0)
    }
    match (quiet, crate::syscall::wait(child)) {
        (Err(libc::EPIPE), Some(libc::SIGPIPE)) => Ok(String::new()),
        other => word("differs", format!("{other:?}")),
    }
}

/// Two messages by one call, as the resolver of libc sends them: each has its length; and TCP by sendmsg(2).
fn many() -> Outcome {
    let (server, client) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    client.connect(server.local_addr()?)?;
    let vectors = [[b"one".as_ptr() as u64, 3], [b"four".as_ptr() as u64, 4]];
    let both =
        vectors.iter().flat_map(|vector| (Message { name: &[], data: &[], control: &[] }).words(vector)).collect::<Vec<_>>();
    let mut headers = bytes(&both);
    let (fd, room) = (Arg::Int(client.as_raw_fd().into()), Arg::Out(&mut headers));
    let sent = errno(call(libc::SYS_sendmmsg, [fd, room, Arg::Int(2), Arg::Int(0)]))?;
    let lengths = (sent, headers[56], headers[120], server.recv(&mut [0; 8])?, server.recv(&mut [0; 8])?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    errno(Message { name: &[], data: b"tcp", control: &[] }.send(stream.as_raw_fd(), 0))?;
    let mut three = [0; 3];
    listener.accept()?.0.read_exact(&mut three)?;
    if lengths == (2, 3, 4, 3, 4) && &three == b"tcp" { Ok(String::new()) } else { word("differs", format!("{lengths:?}")) }
}
