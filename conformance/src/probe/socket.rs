//! Probes of sockets: who can be reached outside, and what must work inside.

use crate::Verb;
use crate::outcome::{Fail, Outcome, word};
use crate::syscall::{Arg, Ret, call};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

/// Every verb of this file.
pub const VERBS: &[Verb] = &[
    ("tcp", |a| tcp(a[0])),
    ("tcp-fast", |a| tcp_fast(a[0])),
    ("udp", |a| udp(a[0])),
    ("unix-stream", |a| greeted(UnixStream::connect(a[0])?)),
    ("unix-abstract", |a| abstract_stream(a[0])),
    ("unix-sendto", |a| dgram(libc::SYS_sendto, a[0])),
    ("unix-sendmsg", |a| dgram(libc::SYS_sendmsg, a[0])),
    ("unix-sendmmsg", |a| dgram(libc::SYS_sendmmsg, a[0])),
    ("unix-dgram-connect", |a| dgram_connect(socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?, a[0])),
    ("pair-dgram-connect", |a| dgram_connect(pair(libc::SOCK_DGRAM)?, a[0])),
    ("pair-dgram-sendto", |a| send(libc::SYS_sendto, pair(libc::SOCK_DGRAM)?, a[0])),
    ("pair-seqpacket-connect", |a| dgram_connect(pair(libc::SOCK_SEQPACKET)?, a[0])),
    ("socket", |a| numbers(a).and_then(|n| socket(n[0], n[1], n[2]).map(|_| String::new()).map_err(Fail::Errno))),
    ("lo-down", |_| lo_down()),
    ("tcp-bulk", |a| tcp_bulk(a[0], a[1])),
    ("tcp-many", |a| tcp_many(a[0], a[1])),
    ("tcp-end", |a| tcp_end(a[0])),
    ("by-name", |a| by_name(&ask_udp(a[0])?, a[1])),
    ("by-name-tcp", |a| by_name(&ask_tcp(a[0])?, a[1])),
    ("by-http", |a| by_http(a[0], a[1])),
    ("by-socks", |a| by_socks(a[0], a[1])),
    ("serve-once", |a| serve_once(a[0], a[1])),
    ("serve-called", |a| serve_called(a[0], a[1])),
    ("tcp-self", |a| tcp_self(a.first().unwrap_or(&"127.0.0.1:0"))),
    ("tcp-self-v6", |_| tcp_self("[::1]:0")),
    ("udp-self", |_| udp_self()),
    ("pair-stream", |_| pair_stream()),
    ("unix-self", |a| unix_self(a[0])),
    ("x32", |_| x32()),
    ("i386-sendto", |a| i386_sendto(a[0])),
    ("i386-netlink", |_| i386_socket(libc::AF_NETLINK)),
];

const PATIENCE: Duration = Duration::from_millis(400);

fn numbers(args: &[&str]) -> Result<Vec<i32>, Fail> {
    args.iter().map(|a| a.parse().map_err(|e| Fail::Word("bad-argument".into(), format!("{a}: {e}")))).collect()
}

fn owned(ret: Ret) -> Result<OwnedFd, i32> {
    #[allow(unsafe_code)]
    // SAFETY: the kernel has just given this descriptor to us and to nobody else.
    ret.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

pub fn socket(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, i32> {
    owned(call(libc::SYS_socket, [Arg::Int(domain.into()), Arg::Int(kind.into()), Arg::Int(protocol.into())]))
}

fn pair(kind: i32) -> Result<OwnedFd, i32> {
    let mut fds = [0; 8];
    let domain = Arg::Int(libc::AF_UNIX.into());
    call(libc::SYS_socketpair, [domain, Arg::Int(kind.into()), Arg::Int(0), Arg::Out(&mut fds)])?;
    let [a, b, c, d, e, f, g, h] = fds;
    let other = owned(Ok(i32::from_ne_bytes([e, f, g, h]).into()))?;
    // Kept open: a send to a closed peer would fail for the wrong reason.
    let _ = other.into_raw_fd();
    owned(Ok(i32::from_ne_bytes([a, b, c, d]).into()))
}

/// `sockaddr_un` of a path.
pub fn address(path: &str) -> Vec<u8> {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend(path.as_bytes());
    bytes.push(0);
    bytes
}

/// The host's listener says a word first: a connection that nobody answers is not proof of reach.
fn greeted(mut stream: impl Read + Write) -> Outcome {
    let mut word = [0; 5];
    stream.write_all(b"probe")?;
    stream.read_exact(&mut word)?;
    Ok(String::from_utf8_lossy(&word).into())
}

fn tcp(address: &str) -> Outcome {
    let address = address.parse().map_err(|e| Fail::Word("bad-argument".into(), format!("{e}")))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    greeted(stream)
}

/// TCP Fast Open: a connection without connect(2).
fn tcp_fast(address: &str) -> Outcome {
    let address: std::net::SocketAddrV4 =
        address.parse().map_err(|e| Fail::Word("bad-argument".into(), format!("{address}: {e}")))?;
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let mut to = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    to.extend(address.port().to_be_bytes());
    to.extend(address.ip().octets());
    to.extend([0; 8]);
    let (fd, flags) = (Arg::Int(socket.as_raw_fd().into()), Arg::Int(libc::MSG_FASTOPEN.into()));
    Ok(call(libc::SYS_sendto, [fd, Arg::In(b"probe"), Arg::Int(5), flags, Arg::In(&to), Arg::Int(16)])?.to_string())
}

fn count(text: &str) -> Result<usize, Fail> {
    text.parse().map_err(|e| Fail::Word("bad-argument".into(), format!("{text}: {e}")))
}

/// So many bytes, no two stretches of which are alike for long, and the end; the peer must answer with the same.
fn tcp_bulk(address: &str, bytes: &str) -> Outcome {
    let sent: Vec<u8> = (0..count(bytes)? as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&sent)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    if back == sent { Ok(bytes.into()) } else { word("differs", back.len()) }
}

/// So many connections, all of them open before the first is used.
fn tcp_many(address: &str, connections: &str) -> Outcome {
    let number = count(connections)?;
    let mut all = (0..number).map(|_| TcpStream::connect(address)).collect::<Result<Vec<_>, _>>()?;
    for (n, stream) in all.iter_mut().enumerate() {
        stream.write_all(&n.to_ne_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    for (n, stream) in all.iter_mut().enumerate() {
        let mut back = Vec::new();
        stream.read_to_end(&mut back)?;
        if back != n.to_ne_bytes() {
            return word("differs", n);
        }
    }
    Ok(connections.into())
}

/// What a server says by itself, and how it ends.
fn tcp_end(address: &str) -> Outcome {
    let mut said = String::new();
    TcpStream::connect(address)?.read_to_string(&mut said)?;
    Ok(said)
}

/// A query for the address of a name (RFC 1035), as a resolver of libc sends it.
fn query(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()));
    [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].into_iter().chain(labels).chain([0, 0, 1, 0, 1]).collect()
}

const RESOLVER: &str = "127.0.0.1:53";

fn ask_udp(name: &str) -> Result<Vec<u8>, Fail> {
    let (socket, mut answer) = (UdpSocket::bind("127.0.0.1:0")?, vec![0; 512]);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(&query(name), RESOLVER)?;
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// In two pieces, as a stream may come.
fn ask_tcp(name: &str) -> Result<Vec<u8>, Fail> {
    let (mut stream, query) = (TcpStream::connect(RESOLVER)?, query(name));
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let whole = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    stream.write_all(&whole[..5])?;
    stream.write_all(&whole[5..])?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The one address of an answer.
fn answered(answer: &[u8]) -> Result<Ipv4Addr, Fail> {
    let (code, answers) = (answer.get(3).map(|flags| flags & 15), answer.get(7));
    if (code, answers) != (Some(0), Some(&1)) {
        return Err(Fail::Word("no-address".into(), format!("{code:?} {answers:?}")));
    }
    Ok(<[u8; 4]>::try_from(&answer[answer.len() - 4..]).unwrap_or_default().into())
}

/// What the resolver inside says.
pub fn address_of(name: &str) -> Result<Ipv4Addr, Fail> {
    answered(&ask_udp(name)?)
}

/// A request to the one address of an answer; what is said to it.
fn by_name(answer: &[u8], port: &str) -> Outcome {
    let mut stream = TcpStream::connect((answered(answer)?, count(port)? as u16))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    if said.is_empty() { word("nothing", "") } else { word(said.split_whitespace().nth(1).unwrap_or("nothing"), said.trim()) }
}

/// The proxy that the environment names.
pub fn proxy() -> Result<TcpStream, Fail> {
    let url = std::env::var("HTTP_PROXY").unwrap_or_default();
    Ok(TcpStream::connect(url.strip_prefix("http://").unwrap_or(&url))?)
}

/// A request by way of the proxy: what it says is wrong, else the status.
fn by_http(method: &str, at: &str) -> Outcome {
    let mut stream = proxy()?;
    let target = if method == "CONNECT" { at.into() } else { format!("http://{at}/") };
    stream.write_all(format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes())?;
    let (mut answer, mut block) = (String::new(), [0; 1024]);
    while !answer.contains("\r\n\r\n") {
        match stream.read(&mut block)? {
            0 => break,
            n => answer += &String::from_utf8_lossy(&block[..n]),
        }
    }
    let status = answer.split(' ').nth(1).unwrap_or("nothing");
    match answer.lines().find_map(|line| line.strip_prefix("x-proxy-error: ")) {
        Some(error) => word(error, status),
        None if status == "200" => Ok(status.into()),
        None => word(status, &answer),
    }
}

/// A connection by SOCKS5, and a byte by it.
fn by_socks(host: &str, port: &str) -> Outcome {
    let mut stream = proxy()?;
    let port = u16::try_from(count(port)?).unwrap_or_default();
    let (name, mut reply) = (host.as_bytes(), [0; 12]);
    let ask = [&[5, 1, 0, 5, 1, 0, 3, name.len() as u8], name, &port.to_be_bytes()].concat();
    stream.write_all(&ask)?;
    stream.read_exact(&mut reply)?;
    match reply[3] {
        0 => Ok(String::new()),
        2 => word("refused", ""),
        other => word("failed", other),
    }
}

/// Makes a file, then says a word to whoever comes first.
fn serve_once(address: &str, ready: &str) -> Outcome {
    let server = TcpListener::bind(address)?;
    std::fs::write(ready, "")?;
    let (mut stream, from) = server.accept()?;
    stream.write_all(b"from inside")?;
    Ok(from.to_string())
}

/// Calls somebody outside, says a word to whoever comes, and hears from the one who was called what that was.
fn serve_called(address: &str, bell: &str) -> Outcome {
    let (server, mut bell, mut said) = (TcpListener::bind(address)?, TcpStream::connect(bell)?, String::new());
    bell.write_all(b"visit")?;
    server.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    loop {
        if let Ok((mut guest, _)) = server.accept() {
            guest.write_all(b"from inside")?;
            break;
        }
        match bell.read(&mut [0]) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            _ => return word("nobody-came", ""),
        }
    }
    bell.set_nonblocking(false)?;
    bell.read_to_string(&mut said)?;
    Ok(said)
}

fn udp(address: &str) -> Outcome {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"probe", address)?;
    socket.recv(&mut [0; 16])?;
    Ok(String::new())
}

fn abstract_stream(name: &str) -> Outcome {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    greeted(UnixStream::connect_addr(&address)?)
}

fn dgram(nr: i64, path: &str) -> Outcome {
    send(nr, socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?, path)
}

/// One datagram to a named socket by the call asked for: filters often know only the first of the three.
fn send(nr: i64, from: OwnedFd, path: &str) -> Outcome {
    let (fd, to, data) = (Arg::Int(from.as_raw_fd().into()), address(path), b"probe");
    let iov = words(&[data.as_ptr() as u64, 5]);
    let header = words(&[to.as_ptr() as u64, to.len() as u64, iov.as_ptr() as u64, 1, 0, 0, 0, 0]);
    let sent = match nr {
        libc::SYS_sendto => {
            let rest = [Arg::In(data), Arg::Int(5), Arg::Int(0), Arg::In(&to), Arg::Int(to.len() as i64)];
            let [a, b, c, d, e] = rest;
            call(nr, [fd, a, b, c, d, e])
        }
        libc::SYS_sendmmsg => call(nr, [fd, Arg::In(&header), Arg::Int(1), Arg::Int(0)]),
        _ => call(nr, [fd, Arg::In(&header), Arg::Int(0)]),
    };
    Ok(sent.map(|n| n.to_string())?)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_ne_bytes()).collect()
}

/// connect(2), then plain write(2), which no filter can look into.
fn dgram_connect(from: OwnedFd, path: &str) -> Outcome {
    let to = address(path);
    call(libc::SYS_connect, [Arg::Int(from.as_raw_fd().into()), Arg::In(&to), Arg::Int(to.len() as i64)])?;
    UnixDatagram::from(from).send(b"probe")?;
    Ok(String::new())
}

/// Takes the loopback interface down: needs CAP_NET_ADMIN over the network namespace.
fn lo_down() -> Outcome {
    let socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = [0; 40];
    request[..2].copy_from_slice(b"lo");
    let fd = Arg::Int(socket.as_raw_fd().into());
    call(libc::SYS_ioctl, [fd, Arg::Int(libc::SIOCSIFFLAGS as i64), Arg::In(&request)])?;
    Ok(String::new())
}

/// What a test suite does: a server and a client in one sandbox, with the calls that libraries make on the way.
fn tcp_self(address: &str) -> Outcome {
    let server = TcpListener::bind(address)?;
    let mut client = TcpStream::connect(server.local_addr()?)?;
    let (mut peer, from) = server.accept()?;
    client.set_nodelay(true)?;
    client.peer_addr()?;
    client.write_all(b"hello")?;
    client.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    peer.read_to_string(&mut text)?;
    if text == "hello" { Ok(from.to_string()) } else { word("differs", text) }
}

fn udp_self() -> Outcome {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    b.set_read_timeout(Some(PATIENCE))?;
    a.send_to(b"hello", b.local_addr()?)?;
    let mut text = [0; 5];
    b.recv_from(&mut text)?;
    if &text == b"hello" { Ok(String::new()) } else { word("differs", "") }
}

/// Node's spawnSync: a stream pair, one side shut down (codex#41175).
fn pair_stream() -> Outcome {
    let (mut a, mut b) = UnixStream::pair()?;
    a.write_all(b"hello")?;
    a.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    b.read_to_string(&mut text)?;
    b.peer_addr()?;
    if text == "hello" { Ok(String::new()) } else { word("differs", text) }
}

/// A named socket of the sandbox's own (tsx, Gradle, multiprocessing managers: codex#8343).
fn unix_self(path: &str) -> Outcome {
    let server = UnixListener::bind(path)?;
    let client = UnixStream::connect(path)?;
    drop((server.accept()?, client));
    Ok(std::fs::remove_file(path).map(|()| String::new())?)
}

/// socket(2) by its x32 number; a filter that compares numbers alone lets it through where the kernel has x32. Others kill.
fn x32() -> Outcome {
    const X32: i64 = 0x4000_0000;
    let args = [Arg::Int(libc::AF_UNIX.into()), Arg::Int(libc::SOCK_DGRAM.into()), Arg::Int(0)];
    call(X32 + 41, args)?;
    Ok(String::new())
}

#[cfg(target_arch = "x86_64")]
fn i386_sendto(path: &str) -> Outcome {
    use crate::syscall::page;
    const SENDTO: u32 = 11;
    let fd = socketcall(1, &[libc::AF_UNIX as u32, libc::SOCK_DGRAM as u32, 0])?;
    let to = address(path);
    let args = [fd as u32, page(b"probe")? as u32, 5, 0, page(&to)? as u32, to.len() as u32];
    Ok(socketcall(SENDTO, &args)?.to_string())
}

#[cfg(target_arch = "x86_64")]
fn i386_socket(domain: i32) -> Outcome {
    Ok(socketcall(1, &[domain as u32, libc::SOCK_RAW as u32, 0])?.to_string())
}

/// socketcall(2) of i386: its arguments are in memory, where no filter can look.
#[cfg(target_arch = "x86_64")]
pub fn socketcall(which: u32, args: &[u32]) -> Ret {
    const SOCKETCALL: u32 = 102;
    let bytes: Vec<u8> = args.iter().flat_map(|a| a.to_ne_bytes()).collect();
    crate::syscall::int80(SOCKETCALL, [which, crate::syscall::page(&bytes)? as u32, 0, 0, 0, 0])
}

#[cfg(not(target_arch = "x86_64"))]
fn i386_sendto(_: &str) -> Outcome {
    word("no-such-table", "")
}

#[cfg(not(target_arch = "x86_64"))]
fn i386_socket(_: i32) -> Outcome {
    word("no-such-table", "")
}
