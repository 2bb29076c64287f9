//! Named sockets of the sandbox's own, and attacks on whoever tells them from the host's.

use crate::Verb;
use crate::outcome::{Outcome, word};
use crate::socket::{address, socket};
use crate::syscall::{Arg, call};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Every verb of this file.
pub const VERBS: &[Verb] = &[
    ("unix-own", |a| own(a[0])),
    ("unix-own-abstract", |_| own_abstract()),
    ("unix-own-packets", |a| own_packets(a[0])),
    ("unix-stale", |a| stale(a[0])),
    ("unix-race", |a| race(a[0], a[1])),
    ("unix-swap", |a| swap(a[0], a[1], a[2])),
    ("unix-serve", |a| serve(a[0], a[1], a[2])),
    ("unix-reuse", |a| reuse(a[0], a[1], a[2])),
    ("unix-received", |a| received(a[0], a[1], a[2], a[3])),
    ("tcp-received", |a| tcp_received(a[0], a[1], a[2])),
    ("unix-handed", |_| handed()),
    ("unix-patience", |a| patience(a[0])),
    ("unix-toggled", |a| toggled(a[0])),
    ("unix-limited", |a| limited(a[0])),
    ("unix-waits", |a| waits(a[0], a[1])),
    ("unix-connect", |a| Ok(UnixStream::connect(a[0]).map(|_| String::new())?)),
    ("i386-connect", |a| i386_connect(a[0])),
];

/// How long an attack that depends on luck is tried.
const ATTACK: Duration = Duration::from_millis(400);

fn say(mut from: UnixStream, to: &UnixListener) -> Outcome {
    let (mut peer, _) = to.accept()?;
    from.write_all(b"hello")?;
    drop(from);
    let mut text = String::new();
    peer.read_to_string(&mut text)?;
    if text == "hello" { Ok(String::new()) } else { word("differs", text) }
}

/// By an absolute path, a relative one, and one with `..` and a link; names are those that were given.
fn own(path: &str) -> Outcome {
    let server = UnixListener::bind(path)?;
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    let link = format!("{path}.link");
    symlink(name, &link)?;
    std::env::set_current_dir(dir)?;
    let up = format!("../{}/{name}", dir.rsplit('/').next().unwrap_or_default());
    for by in [path, name, &up, &link] {
        let client = UnixStream::connect(by)?;
        let peer = client.peer_addr()?;
        if peer.as_pathname().is_none_or(|peer| peer.to_str() != Some(path)) {
            return word("misnamed", format!("{peer:?}"));
        }
        say(client, &server)?;
    }
    std::fs::remove_file(&link)?;
    Ok(std::fs::remove_file(path).map(|()| String::new())?)
}

fn own_abstract() -> Outcome {
    let name = SocketAddr::from_abstract_name("codexrun-test-own")?;
    let server = UnixListener::bind_addr(&name)?;
    say(UnixStream::connect_addr(&name)?, &server)
}

fn own_packets(path: &str) -> Outcome {
    let [server, client] = [(), ()].map(|()| socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0));
    let (server, client, name) = (server?, client?, address(path));
    let at = |fd: &OwnedFd| Arg::Int(fd.as_raw_fd().into());
    call(libc::SYS_bind, [at(&server), Arg::In(&name), Arg::Int(name.len() as i64)])?;
    call(libc::SYS_listen, [at(&server), Arg::Int(1)])?;
    call(libc::SYS_connect, [at(&client), Arg::In(&name), Arg::Int(name.len() as i64)])?;
    Ok(std::fs::remove_file(path).map(|()| String::new())?)
}

/// What tmux, gradle and postgres go by: a name that nobody listens at any more.
fn stale(path: &str) -> Outcome {
    drop(UnixListener::bind(path)?);
    let refused = UnixStream::connect(path);
    std::fs::remove_file(path)?;
    match refused {
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => Ok(String::new()),
        other => word("not-refused", format!("{other:?}")),
    }
}

/// Many connections, while something changes; none may have reached another name than `own`.
fn only(own: &str, connect: impl Fn() -> std::io::Result<UnixStream>) -> Outcome {
    let (end, mut reached, mut refused) = (Instant::now() + ATTACK, 0, 0);
    while Instant::now() < end {
        match connect().and_then(|stream| stream.peer_addr()) {
            Ok(peer) if peer.as_pathname().is_some_and(|peer| peer.to_str() == Some(own)) => reached += 1,
            Ok(peer) => return word("reached", format!("{peer:?}")),
            Err(_) => refused += 1,
        }
    }
    match (reached, refused) {
        (1.., 1..) => Ok(format!("{reached} of its own, {refused} refused")),
        counts => word("no-race", format!("{counts:?}")),
    }
}

/// Accepts and forgets, so that the queue is never full.
fn listening(path: &str, over: &AtomicBool, during: impl FnOnce() -> Outcome) -> Outcome {
    let server = UnixListener::bind(path)?;
    server.set_nonblocking(true)?;
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                while server.accept().is_ok() {}
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let done = during();
        over.store(true, Relaxed);
        done
    });
    std::fs::remove_file(path)?;
    done
}

/// A thread rewrites the name all the time that connect(2) is made with it.
fn race(own: &str, host: &str) -> Outcome {
    use std::sync::atomic::AtomicU8;
    let (own_name, host_name, over) = (address(own), address(host), AtomicBool::new(false));
    let length = own_name.len().max(host_name.len());
    let name: Vec<AtomicU8> = (0..length).map(|n| AtomicU8::new(own_name.get(n).copied().unwrap_or(0))).collect();
    let write = |bytes: &[u8]| name.iter().enumerate().for_each(|(n, to)| to.store(bytes.get(n).copied().unwrap_or(0), Relaxed));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                write(&host_name);
                write(&own_name);
            }
        });
        listening(own, &over, || {
            only(own, || {
                let errno = std::io::Error::from_raw_os_error;
                let client = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).map_err(errno)?;
                let (at, length) = (name.as_ptr() as i64, length as i64);
                call(libc::SYS_connect, [Arg::Int(client.as_raw_fd().into()), Arg::Int(at), Arg::Int(length)]).map_err(errno)?;
                Ok(UnixStream::from(client))
            })
        })
    })
}

/// A link leads to its own socket and to the host's, by turns.
fn swap(own: &str, host: &str, link: &str) -> Outcome {
    let (over, new) = (AtomicBool::new(false), format!("{link}.new"));
    symlink(own, link)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                for target in [host, own] {
                    let _ = symlink(target, &new).and_then(|()| std::fs::rename(&new, link));
                }
            }
        });
        listening(own, &over, || only(own, || UnixStream::connect(link)))
    })?;
    Ok(std::fs::remove_file(link).map(|()| String::new())?)
}

fn appears(path: &str) {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Listens until it is told to go on.
fn serve(path: &str, ready: &str, go: &str) -> Outcome {
    let server = UnixListener::bind(path)?;
    std::fs::write(ready, "")?;
    appears(go);
    server.set_nonblocking(true)?;
    match server.accept() {
        Ok(_) => word("reached", path),
        Err(_) => Ok(String::new()),
    }
}

/// Its own socket goes; the host makes one of the same name, perhaps of the same inode.
fn reuse(path: &str, ready: &str, go: &str) -> Outcome {
    let server = UnixListener::bind(path)?;
    UnixStream::connect(path)?;
    drop(server);
    std::fs::remove_file(path)?;
    std::fs::write(ready, "")?;
    appears(go);
    Ok(UnixStream::connect(path).map(|_| String::new())?)
}

/// The host sends a socket of its own, not connected: its names are those of the host's network namespace.
fn received(path: &str, ready: &str, host: &str, name: &str) -> Outcome {
    let fd = sent_in(path, ready)?;
    let abstracted = [&(libc::AF_UNIX as u16).to_ne_bytes(), &b"\0"[..], name.as_bytes()].concat();
    leads_nowhere(fd, &[address(host), address(path), abstracted])
}

/// The host sends a connection of its own: dissolved (connect(2), AF_UNSPEC), it could be made anew to anywhere.
fn tcp_received(path: &str, ready: &str, port: &str) -> Outcome {
    let fd = sent_in(path, ready)?;
    let Ok(port) = port.parse::<u16>() else { return word("no-port", port) };
    let host = [&(libc::AF_INET as u16).to_ne_bytes()[..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat();
    leads_nowhere(fd, &[vec![0; host.len()], host.clone()])?;
    let (data, fast) = (Arg::In(b"attack"), Arg::Int(libc::MSG_FASTOPEN.into()));
    match call(libc::SYS_sendto, [Arg::Int(fd.into()), data, Arg::Int(6), fast, Arg::In(&host), Arg::Int(16)]) {
        Err(libc::EPERM) => Ok(String::new()),
        other => word("not-refused", format!("MSG_FASTOPEN: {other:?}")),
    }
}

/// The descriptor that comes by `path`.
fn sent_in(path: &str, ready: &str) -> std::io::Result<i32> {
    let server = UnixListener::bind(path)?;
    std::fs::write(ready, "")?;
    let (peer, _) = server.accept()?;
    let mut control = [0; 24];
    let mut byte = [0];
    let iov = words(&[byte.as_mut_ptr() as u64, 1]);
    let mut header = words(&[0, 0, iov.as_ptr() as u64, 1, control.as_mut_ptr() as u64, control.len() as u64, 0]);
    call(libc::SYS_recvmsg, [Arg::Int(peer.as_raw_fd().into()), Arg::Out(&mut header), Arg::Int(0)])
        .map_err(std::io::Error::from_raw_os_error)?;
    Ok(i32::from_ne_bytes([control[16], control[17], control[18], control[19]]))
}

/// The byte that is sent by standard input comes without descriptors, and none is cut off (MSG_CTRUNC).
fn handed() -> Outcome {
    let (mut control, mut byte) = ([0_u8; 128], [0]);
    let iov = words(&[byte.as_mut_ptr() as u64, 1]);
    let mut header = words(&[0, 0, iov.as_ptr() as u64, 1, control.as_mut_ptr() as u64, control.len() as u64, 0]);
    match call(libc::SYS_recvmsg, [Arg::Int(0), Arg::Out(&mut header), Arg::Int(0)]) {
        Ok(1) if header[40..56].iter().all(|byte| *byte == 0) => Ok(String::new()),
        Ok(1) => word("handed-in", format!("{:?}", &control[..16])),
        other => word("not-received", format!("{other:?}")),
    }
}

fn leads_nowhere(fd: i32, addresses: &[Vec<u8>]) -> Outcome {
    for to in addresses {
        if call(libc::SYS_connect, [Arg::Int(fd.into()), Arg::In(to), Arg::Int(to.len() as i64)]) != Err(libc::EPERM) {
            return word("not-refused", String::from_utf8_lossy(to));
        }
    }
    Ok(String::new())
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

static HANDLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn handled(_: i32) {
    HANDLED.store(1, Relaxed);
}

/// A connection that waits keeps no other from being made, and ends for a signal that has a handler.
fn patience(path: &str) -> Outcome {
    let full = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?;
    let (name, other) = (address(path), format!("{path}.other"));
    call(libc::SYS_bind, [Arg::Int(full.as_raw_fd().into()), Arg::In(&name), Arg::Int(name.len() as i64)])?;
    call(libc::SYS_listen, [Arg::Int(full.as_raw_fd().into()), Arg::Int(0)])?;
    let _queued = UnixStream::connect(path)?;
    let began = Instant::now();
    let waiter = std::thread::spawn({
        let path = path.to_owned();
        move || UnixStream::connect(path).map(|_| ())
    });
    std::thread::sleep(Duration::from_millis(50));
    let server = UnixListener::bind(&other)?;
    say(UnixStream::connect(&other)?, &server)?;
    if waiter.is_finished() || began.elapsed() > Duration::from_secs(2) {
        return word("not-waiting", format!("{:?}", began.elapsed()));
    }
    // Now there is room: the waiter gets on.
    call(libc::SYS_accept, [Arg::Int(full.as_raw_fd().into()), Arg::Null, Arg::Null])?;
    waiter.join().map_err(|_| std::io::Error::other("the waiter"))??;
    let interrupted = crate::syscall::interrupted_in(100, handled, || UnixStream::connect(path).map(|_| ()));
    for made in [path, &other] {
        std::fs::remove_file(made)?;
    }
    match interrupted {
        Err(e) if e.raw_os_error() == Some(libc::EINTR) && HANDLED.load(Relaxed) == 1 => Ok(String::new()),
        other => word("not-interrupted", format!("{other:?}")),
    }
}

/// A listener whose queue is full.
fn full(path: &str) -> std::io::Result<(OwnedFd, UnixStream)> {
    let errno = std::io::Error::from_raw_os_error;
    let (socket, name) = (socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).map_err(errno)?, address(path));
    let fd = || Arg::Int(socket.as_raw_fd().into());
    call(libc::SYS_bind, [fd(), Arg::In(&name), Arg::Int(name.len() as i64)]).map_err(errno)?;
    call(libc::SYS_listen, [fd(), Arg::Int(0)]).map_err(errno)?;
    let queued = UnixStream::connect(path)?;
    Ok((socket, queued))
}

/// SO_SNDTIMEO is the time that connect(2) waits, by a Unix socket and by TCP, and its end has an errno of its own (socket(7)).
fn limited(path: &str) -> Outcome {
    let (_full, unix) = (full(path)?, UnixStream::from(socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?));
    unix.set_write_timeout(Some(LIMIT))?;
    let unix = ended(unix.as_raw_fd(), &address(path));
    std::fs::remove_file(path)?;
    let listener = TcpListener::from(socket(libc::AF_INET, libc::SOCK_STREAM, 0)?);
    call(libc::SYS_listen, [Arg::Int(listener.as_raw_fd().into()), Arg::Int(0)])?;
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
    let queued =
        std::iter::repeat_with(|| TcpStream::connect_timeout(&at, LIMIT)).take(8).take_while(Result::is_ok).collect::<Vec<_>>();
    let tcp = TcpStream::from(socket(libc::AF_INET, libc::SOCK_STREAM, 0)?);
    tcp.set_write_timeout(Some(LIMIT))?;
    let name = [&(libc::AF_INET as u16).to_ne_bytes()[..], &at.port().to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat();
    let tcp = ended(tcp.as_raw_fd(), &name);
    drop(queued);
    let right = |(errno, took): (Option<i32>, Duration), wanted| errno == Some(wanted) && (LIMIT..LIMIT * 10).contains(&took);
    if right(unix, libc::EAGAIN) && right(tcp, libc::EINPROGRESS) {
        Ok(String::new())
    } else {
        word("differs", format!("{unix:?} {tcp:?}"))
    }
}

const LIMIT: Duration = Duration::from_millis(150);

/// What connect(2) fails with, and when.
fn ended(fd: i32, name: &[u8]) -> (Option<i32>, Duration) {
    let began = Instant::now();
    let made = call(libc::SYS_connect, [Arg::Int(fd.into()), Arg::In(name), Arg::Int(name.len() as i64)]);
    (made.err(), began.elapsed())
}

/// A connection that never comes about.
fn waits(path: &str, ready: &str) -> Outcome {
    let _full = full(path)?;
    std::fs::write(ready, "")?;
    Ok(UnixStream::connect(path).map(|_| String::new())?)
}

/// A thread makes descriptors wait, and not wait, all the time that they are connected to who has no room. Each is so until one of its
/// connections waits, which is then left waiting.
fn toggled(path: &str) -> Outcome {
    let (_full, name, other) = (full(path)?, address(path), format!("{path}.other"));
    let (mut all, end) = (Vec::new(), Instant::now() + ATTACK);
    for _ in 0..32 {
        let client = UnixStream::from(socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)?);
        client.set_nonblocking(true)?;
        all.push(client.try_clone()?);
        let name = name.clone();
        std::thread::spawn(move || {
            while Instant::now() < end {
                let fd = Arg::Int(client.as_raw_fd().into());
                let _ = call(libc::SYS_connect, [fd, Arg::In(&name), Arg::Int(name.len() as i64)]);
            }
        });
    }
    std::thread::spawn(move || {
        while Instant::now() < end {
            for client in &all {
                let _ = client.set_nonblocking(false).and_then(|()| client.set_nonblocking(true));
            }
        }
        let _: Result<(), _> = all.iter().try_for_each(|client| client.set_nonblocking(false));
    });
    let server = UnixListener::bind(&other)?;
    while Instant::now() < end + ATTACK / 2 {
        let began = Instant::now();
        say(UnixStream::connect(&other)?, &server)?;
        if began.elapsed() > Duration::from_secs(2) {
            return word("held-up", format!("{:?}", began.elapsed()));
        }
    }
    Ok(String::new())
}

/// connect(2) by its own number in the i386 table.
#[cfg(target_arch = "x86_64")]
fn i386_connect(path: &str) -> Outcome {
    use crate::syscall::{int80, page};
    let (fd, to) = (int80(359, [libc::AF_UNIX as u32, libc::SOCK_STREAM as u32, 0, 0, 0, 0])?, address(path));
    Ok(int80(362, [fd as u32, page(&to)? as u32, to.len() as u32, 0, 0, 0])?.to_string())
}

#[cfg(not(target_arch = "x86_64"))]
fn i386_connect(_: &str) -> Outcome {
    word("no-such-table", "")
}
