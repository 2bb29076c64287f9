//! The program from outside: when something is short, or in its way, it ends, or waits, and burns nothing; what it does not serve, it says.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Proxy {
    child: Child,
    port: u16,
    /// To which it says that it serves, and with whose end it ends.
    says: UnixStream,
}

/// Under a limit of ulimit(1), with these flags.
fn proxy(limit: &str, flags: &str) -> Proxy {
    let script = format!("ulimit {limit}; exec {} {flags}", env!("CARGO_BIN_EXE_codexrun-proxy"));
    let (listener, (says, its)) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixStream::pair().unwrap());
    let port = listener.local_addr().unwrap().port();
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(OwnedFd::from(listener)).stdout(OwnedFd::from(its)).stderr(Stdio::piped());
    Proxy { child: command.spawn().unwrap(), port, says }
}

/// The same, when it serves.
fn serving(limit: &str, flags: &str) -> Proxy {
    let mut proxy = proxy(limit, flags);
    let mut word = [0; 6];
    proxy.says.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    proxy
}

/// It ends by itself when nobody holds the other end of its standard output, and is not left behind if it does not.
fn ended(Proxy { mut child, says, .. }: Proxy) -> String {
    drop(says);
    let end = Instant::now() + Duration::from_secs(5);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().and_then(|()| child.wait()).unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

/// A server that holds whoever comes for as long as he stays.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let hold = |mut stream: TcpStream| std::thread::spawn(move || stream.read_to_end(&mut Vec::new()));
    std::thread::spawn(move || listener.incoming().flatten().map(hold).collect::<Vec<_>>());
    port
}

/// A tunnel, if it comes within the time.
fn tunnel(proxy: u16, server: u16, patience: Duration) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    write!(stream, "CONNECT localhost:{server} HTTP/1.1\r\n\r\n").ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    (&answer == b"HTTP/1.1 200").then_some(stream)
}

/// Hundredths of a second on a processor (proc_pid_stat(5), utime and stime).
fn burnt(proxy: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn the_soft_limit_of_descriptors_is_nobodys_measure() {
    let (proxy, server) = (serving("-S -n 32", "--direct --allow localhost"), server());
    let port = proxy.port;
    let held: Vec<_> = (0..60).map_while(|_| tunnel(port, server, Duration::from_secs(5))).collect();
    assert_eq!(held.len(), 60);
    ended(proxy);
}

#[test]
fn without_a_descriptor_it_waits_and_burns_nothing() {
    let (proxy, server) = (serving("-n 32", "--direct --allow localhost"), server());
    let port = proxy.port;
    let held: Vec<_> = (0..40).map_while(|_| tunnel(port, server, Duration::from_millis(200))).collect();
    assert!((5..40).contains(&held.len()), "{} are held", held.len());
    // They are in its queue.
    let waiting: Vec<_> = (0..5).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let before = burnt(&proxy.child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(burnt(&proxy.child) - before < 20, "{} ticks", burnt(&proxy.child) - before);
    drop((held, waiting));
    assert!(tunnel(port, server, Duration::from_secs(5)).is_some(), "others have gone");
    ended(proxy);
}

#[test]
fn a_client_without_a_thread_waits_until_there_is_one() {
    let (proxy, server) = (serving("-c 0", "--direct --allow localhost"), server());
    let pid = proxy.child.id().to_string();
    let limit = |data: &str| Command::new("prlimit").args(["--pid", &pid, &format!("--data={data}:")]).status();
    if limit("4096").is_err() {
        return eprintln!("skipped: there is no prlimit");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    write!(stream, "CONNECT localhost:{server} HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(stream.read(&mut answer).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(limit("unlimited").unwrap().success());
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    ended(proxy);
}

#[test]
fn a_log_that_is_a_fifo_keeps_nobody_waiting() {
    let fifo = std::env::temp_dir().canonicalize().unwrap().join(format!("codexrun-proxy-fifo-{}", std::process::id()));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (mut proxy, mut said) = (proxy("-c 0", &format!("--allow localhost --log {}", Path::display(&fifo))), String::new());
    proxy.says.read_to_string(&mut said).unwrap();
    ended(proxy);
    std::fs::remove_file(&fifo).unwrap();
    assert!(said.contains("is no regular file"), "{said}");
}

#[test]
fn what_is_not_served_is_a_line_too() {
    let proxy = serving("-c 0", "--direct --allow localhost");
    let port = proxy.port;
    let socks = |command: u8, name: &str| [&[5, 1, 0, 5, command, 0, 3, name.len() as u8], name.as_bytes(), &[1, 187]].concat();
    let strays = [
        (socks(3, "x.org"), r#""host":"x.org","method":null,"port":443"#),
        (socks(2, "y.org"), r#""host":"y.org","method":null,"port":443"#),
        (socks(1, "a b"), r#""host":"a b","method":null,"port":443"#),
        (b"CONNECT ev%il:80 HTTP/1.1\r\n\r\n".to_vec(), "ev%il"),
        (b"GET https://evil/ HTTP/1.1\r\n\r\n".to_vec(), "https://evil/"),
    ];
    for (bytes, _) in &strays {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write)).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let said = ended(proxy);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), strays.len(), "{said}");
    for (line, (_, names)) in lines.iter().zip(&strays) {
        let us = format!(r#""pid":{}"#, std::process::id());
        assert!(["refused", "not-served", names, &us].iter().all(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn socks_that_is_switched_off_is_a_line() {
    let proxy = serving("-c 0", "--direct --no-socks --allow localhost");
    let port = proxy.port;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&[5, 1, 0]).unwrap();
    // A reset is as good an end.
    let _ = stream.read_to_end(&mut Vec::new());
    let said = ended(proxy);
    assert!(said.lines().count() == 1 && said.contains("SOCKS is switched off"), "{said}");
}

/// Says `said` and an urgent byte to whoever has said what ends so, and what it has heard.
fn urgent(ends: &'static [u8], said: &'static [u8]) -> (u16, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let (mut stream, mut heard) = (listener.accept().unwrap().0, Vec::new());
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut byte = [0];
        while !heard.ends_with(ends) && stream.read_exact(&mut byte).is_ok() {
            heard.extend(byte);
        }
        stream.write_all(said).unwrap();
        rustix::net::send(&stream, b"!", rustix::net::SendFlags::OOB).unwrap();
        heard
    };
    (port, std::thread::spawn(serve))
}

#[test]
fn an_urgent_byte_goes_through_by_a_tunnel_and_by_plain_http() {
    let proxy = serving("-c 0", "--direct --allow localhost");
    let port = proxy.port;
    let heard = |mut stream: TcpStream| {
        rustix::net::send(&stream, b"?", rustix::net::SendFlags::OOB).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    let (at, server) = urgent(b"?", b"");
    let stream = tunnel(port, at, Duration::from_secs(5)).unwrap();
    assert!(heard(stream).ends_with('!') && server.join().unwrap().ends_with(b"?"));
    let (at, server) = urgent(b"body?", b"HTTP/1.1 200 OK\r\n\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "POST http://localhost:{at}/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nbody").unwrap();
    let said = heard(stream);
    assert!(server.join().unwrap().ends_with(b"body?") && said.ends_with('!'), "{said}");
    ended(proxy);
}
