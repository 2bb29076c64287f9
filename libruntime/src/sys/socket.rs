//! Sockets that std cannot make: ones that do not wait, ones that are connected in two halves, and ones whose connect(2) gives up.

use super::{Errno, Result, again, check, done, owned};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// socket(2): a TCP socket of the address's family, close-on-exec, that never waits. It stays in the network namespace that it is made in.
pub fn tcp(of: &SocketAddr) -> Result<OwnedFd> {
    let family = if of.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) }.into())
}

/// connect(2), begun: when the socket can be written, SO_ERROR says what came of it.
pub fn connect(socket: BorrowedFd, to: &SocketAddr) -> Result<()> {
    let connect = || match to {
        SocketAddr::V4(v4) => {
            let address = inet(v4);
            // SAFETY: `address` is a live sockaddr_in, and as long as said.
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) }
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: `address` is a live sockaddr_in6, and as long as said.
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) }
        }
    };
    // The second: what was interrupted has begun.
    match again(|| done(connect().into())) {
        Err(Errno::EINPROGRESS | Errno::EALREADY) => Ok(()),
        other => other,
    }
}

/// ip(7).
fn inet(at: &SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: at.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(at.ip().octets()) },
        sin_zero: [0; 8],
    }
}

/// bind(2): to a port of 127.0.0.1 that nobody has.
pub fn bind(socket: BorrowedFd) -> Result<()> {
    let address = inet(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    // SAFETY: `address` is a live sockaddr_in, and as long as said.
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) }.into())
}

/// SO_REUSEADDR: whether others may bind its port that say so too, while neither listens (socket(7)).
pub fn share_port(socket: BorrowedFd, on: bool) -> Result<()> {
    set(socket, libc::SO_REUSEADDR, i32::from(on))
}

/// setsockopt(2), SOL_SOCKET: an option whose value is an int.
fn set(socket: BorrowedFd, name: i32, value: i32) -> Result<()> {
    let (level, size) = (libc::SOL_SOCKET, size_of_val(&value) as libc::socklen_t);
    // SAFETY: `value` is a live int, and as long as said.
    done(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) }.into())
}

/// SO_RCVBUF and SO_SNDBUF: the kernel takes twice as much, and lets neither grow any more (socket(7)).
pub fn limit_buffers(socket: BorrowedFd, bytes: i32) -> Result<()> {
    [libc::SO_RCVBUF, libc::SO_SNDBUF].into_iter().try_for_each(|name| set(socket, name, bytes))
}

/// A Unix stream socket, close-on-exec, that is connected to `path`. Where nobody accepts and the queue is full, connect(2) waits for
/// room, and so do what is sent and what is read: EAGAIN after `patience` (SO_SNDTIMEO, SO_RCVTIMEO, socket(7)); without any at once, and
/// the socket never waits.
pub fn unix(path: &Path, patience: Option<Duration>) -> Result<OwnedFd> {
    let address = unix_address(path)?;
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | if patience.is_none() { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: takes no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    if let Some(patience) = patience {
        let time = libc::timeval { tv_sec: patience.as_secs() as _, tv_usec: patience.subsec_micros() as _ };
        for name in [libc::SO_SNDTIMEO, libc::SO_RCVTIMEO] {
            let (level, size) = (libc::SOL_SOCKET, size_of_val(&time) as libc::socklen_t);
            // SAFETY: `time` is a live struct timeval, and as long as said.
            done(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const time).cast(), size) }.into())?;
        }
    }
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: `address` is a live sockaddr_un, and as long as said; its path ends with a zero byte.
    let once = || done(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size) }.into());
    // With a time limit SIGCONT interrupts it without any handler (signal(7)).
    again(once)?;
    Ok(socket)
}

/// unix(7); a path that does not fit, or is none, is refused.
fn unix_address(path: &Path) -> Result<libc::sockaddr_un> {
    let bytes = path.as_os_str().as_bytes();
    // SAFETY: `struct sockaddr_un` is plain data, valid when zeroed.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Errno::EINVAL);
    }
    if bytes.len() >= address.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    address.sun_path.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as libc::c_char);
    Ok(address)
}

/// As many bytes as any address of the kernel's has (struct sockaddr_storage).
pub const LONGEST: usize = size_of::<libc::sockaddr_storage>();

/// connect(2) to an address as the kernel reads it, of whatever family.
pub fn connect_as_written(socket: BorrowedFd, address: &[u8]) -> Result<()> {
    // SAFETY: the bytes are live, and as many as said.
    done(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), address.len() as libc::socklen_t) }.into())
}

/// The address of a Unix socket by its path, as [`connect_as_written`] takes it.
pub fn named(path: &[u8]) -> Vec<u8> {
    [&(libc::AF_UNIX as libc::sa_family_t).to_ne_bytes(), path, &[0]].concat()
}

/// socket(2), AF_UNIX.
pub fn unix_socket(kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::socket(libc::AF_UNIX, kind, protocol) }.into())
}

/// sendmsg(2): how many bytes of `data` went, to `name` if that is not empty. `control` is what cmsg(3) makes.
pub fn send_message(socket: BorrowedFd, name: &[u8], data: &[u8], control: &[u8], flags: i32) -> Result<usize> {
    let mut data = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: `struct msghdr` is plain data, valid when zeroed.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
    if !name.is_empty() {
        (message.msg_name, message.msg_namelen) = (name.as_ptr().cast_mut().cast(), name.len() as libc::socklen_t);
    }
    if !control.is_empty() {
        (message.msg_control, message.msg_controllen) = (control.as_ptr().cast_mut().cast(), control.len() as _);
    }
    // SAFETY: `message` refers to live buffers of the lengths given; sendmsg(2) only reads them.
    check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) } as libc::c_long).map(|n| n as usize)
}

/// SO_TYPE: SOCK_*, without flags.
pub fn kind(socket: BorrowedFd) -> Result<i32> {
    option(socket, libc::SO_TYPE, 0)
}

/// SO_PROTOCOL.
pub fn protocol(socket: BorrowedFd) -> Result<i32> {
    option(socket, libc::SO_PROTOCOL, 0)
}

/// SO_DOMAIN: AF_*. ENOTSOCK: it is none.
pub fn domain(socket: BorrowedFd) -> Result<i32> {
    option(socket, libc::SO_DOMAIN, 0)
}

/// SO_SNDTIMEO (socket(7)): how long a call on it waits, unless that has no end.
pub fn send_timeout(socket: BorrowedFd) -> Result<Option<Duration>> {
    let limit = option(socket, libc::SO_SNDTIMEO, libc::timeval { tv_sec: 0, tv_usec: 0 })?;
    let limit = Duration::from_secs(limit.tv_sec as u64) + Duration::from_micros(limit.tv_usec as u64);
    Ok((!limit.is_zero()).then_some(limit))
}

/// getpeername(2): whether it is connected. One that listens has no peer, and of datagrams who has may still send to others.
pub fn has_peer(socket: BorrowedFd) -> bool {
    let mut size = 0;
    // SAFETY: `size` is live and writable; of an address that has no room the kernel writes nothing.
    unsafe { libc::getpeername(socket.as_raw_fd(), std::ptr::null_mut(), &raw mut size) == 0 }
}

/// Not in `libc`; the same number wherever Linux has it.
const SO_NETNS_COOKIE: i32 = 71;

/// SO_NETNS_COOKIE, Linux 5.14: the network namespace in which it was made, by a number that no other ever has.
pub fn network(socket: BorrowedFd) -> Result<u64> {
    option(socket, SO_NETNS_COOKIE, 0)
}

/// Of the level SOL_SOCKET; `T` is a number, or some.
fn option<T: Copy>(socket: BorrowedFd, name: i32, mut value: T) -> Result<T> {
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is live, writable and as long as said, and every pattern of bits is a number.
    done(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut size) }.into())?;
    Ok(value)
}

/// fcntl(2), F_GETFL: whether calls on it wait.
pub fn waits(socket: BorrowedFd) -> Result<bool> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) }.into()).map(|flags| flags as i32 & libc::O_NONBLOCK == 0)
}

/// SO_ACCEPTCONN: whether it listens.
pub fn listens(socket: BorrowedFd) -> Result<bool> {
    option(socket, libc::SO_ACCEPTCONN, 0).map(|listens: i32| listens != 0)
}

/// listen(2): listens, or changes how many connections may wait to be accepted.
pub fn listen(socket: BorrowedFd, waiting: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::listen(socket.as_raw_fd(), waiting) }.into())
}

/// SO_LINGER (socket(7)): whether close(2), or the end of the process, sends a reset and forgets what is not sent yet.
pub fn reset_on_close(socket: BorrowedFd, on: bool) -> Result<()> {
    linger(socket, on, 0)
}

/// SO_LINGER: whether close(2) waits, and for how many seconds at most.
pub fn linger(socket: BorrowedFd, on: bool, seconds: i32) -> Result<()> {
    let linger = libc::linger { l_onoff: on.into(), l_linger: seconds };
    let (level, name, size) = (libc::SOL_SOCKET, libc::SO_LINGER, size_of_val(&linger) as libc::socklen_t);
    // SAFETY: `linger` is a live struct linger, and as long as said.
    done(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const linger).cast(), size) }.into())
}

/// SO_OOBINLINE (socket(7)): an urgent byte (tcp(7), MSG_OOB) is read in its place, as any other.
pub fn urgent_inline(socket: BorrowedFd) -> Result<()> {
    let on: libc::c_int = 1;
    let (level, name, size) = (libc::SOL_SOCKET, libc::SO_OOBINLINE, size_of_val(&on) as libc::socklen_t);
    // SAFETY: `on` is a live int, and as long as said.
    done(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size) }.into())
}

/// getsockname(2): the port of a socket of IP; 0: it has none.
pub fn port(socket: BorrowedFd) -> Result<u16> {
    // struct sockaddr_in6, in which a port lies where struct sockaddr_in has it.
    let mut address = [0u8; 28];
    let mut size = address.len() as libc::socklen_t;
    // SAFETY: `address` is live and writable, and as long as said; what is longer is cut off.
    done(unsafe { libc::getsockname(socket.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut size) }.into())?;
    Ok(u16::from_be_bytes([address[2], address[3]]))
}

/// SO_PEERCRED: the process that connected to a Unix socket, or listens on it, by its number here (0 for one that has none), and its user.
pub fn peer(socket: BorrowedFd) -> Result<(libc::pid_t, libc::uid_t)> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of_val(&peer) as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
    // SAFETY: `peer` is a live, writable struct ucred, and as long as said.
    done(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut peer).cast(), &raw mut size) }.into())?;
    Ok((peer.pid, peer.uid))
}

/// splice(2) from or to a pipe, without waiting: how many bytes were moved; 0 at the end of what is read.
pub fn splice(from: BorrowedFd, to: BorrowedFd, most: usize) -> Result<usize> {
    let (none, flags) = (std::ptr::null_mut(), libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK);
    // SAFETY: no offsets are passed; the bytes do not touch our memory.
    let once = || unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, most, flags) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// recv(2), MSG_PEEK: what is there, which stays there.
pub fn peek(socket: BorrowedFd, into: &mut [u8]) -> Result<usize> {
    recv(socket, into, libc::MSG_PEEK)
}

/// recv(2), which never waits, whatever the open file says: how many bytes were read; 0 at the end. Descriptors that come with them are closed
/// by the kernel (unix(7), MSG_CTRUNC).
pub fn receive_now(socket: BorrowedFd, into: &mut [u8]) -> Result<usize> {
    recv(socket, into, libc::MSG_DONTWAIT)
}

/// recvmsg(2), MSG_PEEK: how many bytes there are up to the first descriptor, and whether one comes with them. Nothing is taken away.
pub fn look_ahead(socket: BorrowedFd, into: &mut [u8]) -> Result<(usize, bool)> {
    let mut data = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: `struct msghdr` is plain data, valid when zeroed.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut data, 1);
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: `message` refers to a live, writable buffer of the length given, and to nothing else.
    let mut once = || unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let read = again(|| check(once() as libc::c_long))?;
    Ok((read as usize, message.msg_flags & libc::MSG_CTRUNC != 0))
}

/// send(2), which never waits, whatever the open file says, and brings no signal about: how many bytes went.
pub fn send_now(socket: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the buffer is live and as long as said.
    let once = || unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// ioctl(2), SIOCINQ (unix(7)): how many bytes there are to be read.
pub fn unread(socket: BorrowedFd) -> Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: `bytes` is a live, writable int.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) }.into())?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// shutdown(2) of what it reads: whoever writes to its other end is told EPIPE.
pub fn hear_no_more(socket: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) }.into())
}

/// shutdown(2) of what it writes: its other end reads end of file.
pub fn say_no_more(socket: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }.into())
}

/// Not in `libc`; asm-generic/socket.h, which every machine of ours has.
const SO_PASSRIGHTS: i32 = 83;

/// SO_PASSRIGHTS, Linux 6.16: whoever sends it a descriptor is told EPERM. ENOPROTOOPT: the kernel is older.
pub fn refuse_descriptors(socket: BorrowedFd) -> Result<()> {
    set(socket, SO_PASSRIGHTS, 0)
}

/// SO_COOKIE (socket(7)): which socket it is, by a number that no other ever has.
pub fn identity(socket: BorrowedFd) -> Result<u64> {
    option(socket, libc::SO_COOKIE, 0)
}

/// recv(2): how many bytes were read; 0 at the end.
pub fn receive(socket: BorrowedFd, into: &mut [u8]) -> Result<usize> {
    recv(socket, into, 0)
}

fn recv(socket: BorrowedFd, into: &mut [u8], flags: i32) -> Result<usize> {
    // SAFETY: `into` is live, writable and as long as said.
    let mut once = || unsafe { libc::recv(socket.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), flags) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// fcntl(2), F_SETPIPE_SZ: how many bytes a pipe holds.
pub fn set_pipe_size(pipe: BorrowedFd, bytes: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn both_families_connect_and_bytes_go_from_pipe_to_socket() {
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(loopback).unwrap();
            let to = listener.local_addr().unwrap();
            let socket = tcp(&to).unwrap();
            connect(socket.as_fd(), &to).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let (out, into) = crate::sys::file::pipe().unwrap();
            crate::sys::file::write_all(into.as_fd(), b"through").unwrap();
            assert_eq!(splice(out.as_fd(), socket.as_fd(), 100), Ok(7));
            assert_eq!(splice(out.as_fd(), socket.as_fd(), 100), Err(Errno::EAGAIN));
            drop(TcpStream::from(socket));
            let mut text = String::new();
            peer.read_to_string(&mut text).unwrap();
            assert_eq!(text, "through");
        }
    }

    #[test]
    fn who_never_accepts_is_not_waited_for_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listen(listener.as_fd(), 0).unwrap();
        let short = Duration::from_millis(20);
        let first = unix(&path, Some(short)).unwrap();
        assert_eq!(unix(&path, Some(short)).unwrap_err(), Errno::EAGAIN);
        assert_eq!(unix(&path, None).unwrap_err(), Errno::EAGAIN);
        drop(first);
        assert_eq!(unix(Path::new("/a\0b"), Some(short)).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn a_refused_connection_is_told_at_once_or_by_the_socket() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = tcp(&closed).unwrap();
        let told = connect(socket.as_fd(), &closed).is_err() || TcpStream::from(socket).take_error().unwrap().is_some();
        assert!(told);
    }
}
