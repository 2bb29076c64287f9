//! What a sandbox could reach on the host: listeners that count who called, and a process of the same user.

use crate::actor::Actor;
use crate::launch::{Launch, Running};
use crate::scene::Scene;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often each listener was called.
type Calls = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// The things of the host, for the time of one launch.
pub struct Outside {
    /// `127.0.0.1:PORT`, stream.
    pub tcp: String,
    /// `127.0.0.1:PORT`, datagram.
    pub udp: String,
    /// A name in the abstract namespace of a stream listener; with `.dgram` behind it of one of datagrams.
    pub name: String,
    /// A port that is called all the time, by TCP and by UDP: who listens there without a right is found out by what it says.
    pub bait: u16,
    /// Queues, a segment and a semaphore, as words of `probe attack`.
    pub shared: Vec<String>,
    /// Below /tmp: `.sock` is a stream listener, `.dgram` a datagram one, `.txt` a file.
    pub tmp: PathBuf,
    bystander: Running,
    probe: PathBuf,
    calls: Calls,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One listener: its name, and a look whether somebody called.
type Listener = (&'static str, Box<dyn Fn() -> bool + Send>);

impl Outside {
    /// Opens the listeners and starts the bystander.
    pub fn new(scene: &Scene, actor: &Actor) -> io::Result<Outside> {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let (tcp_at, udp_at) = (tcp.local_addr()?.to_string(), udp.local_addr()?.to_string());
        let tag = format!("codexrun-test-{}-{}", std::process::id(), tcp.local_addr()?.port());
        let tmp = PathBuf::from("/tmp").join(&tag);
        // Below those that the kernel chooses from.
        let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let bait = (tcp.local_addr()?.port() / 2..).find(free).unwrap_or_default();
        std::fs::write(tmp.with_extension("txt"), "host\n")?;
        let unix = |path: PathBuf| open_to_all(UnixListener::bind(&path), &path);
        let dgram = |path: PathBuf| open_to_all(UnixDatagram::bind(&path), &path);
        let listeners: Vec<Listener> = vec![
            ("tcp", tcp_look(tcp)?),
            ("udp", udp_look(udp)?),
            ("who listens at the bait", bait_look(bait)?),
            ("unix in the workspace", unix_look(unix(scene.w().join("host.sock"))?)?),
            ("unix in /tmp", unix_look(unix(tmp.with_extension("sock"))?)?),
            ("unix abstract", unix_look(UnixListener::bind_addr(&SocketAddr::from_abstract_name(&tag)?)?)?),
            (
                "datagram abstract",
                dgram_look(UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(format!("{tag}.dgram"))?)?)?,
            ),
            ("datagram in the workspace", dgram_look(dgram(scene.w().join("host.dgram"))?)?),
            ("datagram in /tmp", dgram_look(dgram(tmp.with_extension("dgram"))?)?),
        ];
        // It blocks every signal, so that those that come can be seen.
        let bystander = Launch::new(&["/usr/bin/env", "--block-signal", "/bin/sleep", "600"], Path::new("/")).start(actor)?;
        let probe = scene.w().join("bin/probe");
        let shared = share(&probe, &[&tag])?;
        let (calls, stop) = (Calls::default(), Arc::new(AtomicBool::new(false)));
        let thread = watch(listeners, calls.clone(), stop.clone());
        let thread = Some(thread);
        Ok(Outside { tcp: tcp_at, udp: udp_at, name: tag, bait, shared, tmp, bystander, probe, calls, stop, thread })
    }

    /// A process of the host that belongs to the caller.
    pub fn pid(&self) -> i32 {
        self.bystander.pid().as_raw()
    }

    /// The signals that have come to that process, by their numbers.
    pub fn signals(&self) -> io::Result<Vec<u32>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let pending = status.lines().filter_map(|line| line.strip_prefix("SigPnd:").or(line.strip_prefix("ShdPnd:")));
        let pending = pending.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).fold(0, |all, mask| all | mask);
        Ok((1..=64).filter(|signal| pending >> (signal - 1) & 1 == 1).collect())
    }

    /// Who was called, in words; empty when nobody was.
    pub fn called(&self) -> String {
        let calls = self.calls.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        calls.iter().map(|(name, n)| format!("{name} ×{n}")).collect::<Vec<_>>().join(", ")
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let words: Vec<&str> = self.shared.iter().map(String::as_str).collect();
        let _ = share(&self.probe, &words);
        for extension in ["txt", "sock", "dgram"] {
            let _ = std::fs::remove_file(self.tmp.with_extension(extension));
        }
    }
}

/// What `probe share` says. Who makes it does not matter: all may use it.
fn share(probe: &Path, words: &[&str]) -> io::Result<Vec<String>> {
    let made = std::process::Command::new(probe).arg("share").args(words).output()?;
    if !made.status.success() {
        return Err(io::Error::other(format!("probe share {words:?}: {}", made.status)));
    }
    Ok(String::from_utf8_lossy(&made.stdout).split_whitespace().map(str::to_owned).collect())
}

/// Permission to connect is the write bit of the socket's inode.
fn open_to_all<T>(bound: io::Result<T>, path: &Path) -> io::Result<T> {
    let socket = bound?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    Ok(socket)
}

fn watch(listeners: Vec<Listener>, calls: Calls, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // One more look after the order to stop: a datagram may have come just before.
        loop {
            let last = stop.load(Ordering::Relaxed);
            for (name, look) in &listeners {
                while look() {
                    *calls.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).entry(name).or_default() += 1;
                }
            }
            if last {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

/// Reads the caller's word before it answers: unread data would turn the answer into a reset.
fn greet(mut stream: impl Read + Write) {
    let _ = stream.read(&mut [0; 16]);
    let _ = stream.write_all(b"hello");
}

const PATIENCE: Option<Duration> = Some(Duration::from_millis(300));

fn tcp_look(listener: TcpListener) -> io::Result<Box<dyn Fn() -> bool + Send>> {
    listener.set_nonblocking(true)?;
    Ok(answer(move || {
        let (stream, _) = listener.accept()?;
        let _ = stream.set_read_timeout(PATIENCE);
        Ok(stream)
    }))
}

fn unix_look(listener: UnixListener) -> io::Result<Box<dyn Fn() -> bool + Send>> {
    listener.set_nonblocking(true)?;
    Ok(answer(move || {
        let (stream, _) = listener.accept()?;
        let _ = stream.set_read_timeout(PATIENCE);
        Ok(stream)
    }))
}

/// Greets whoever has connected.
fn answer<S: Read + Write>(accept: impl Fn() -> io::Result<S> + Send + 'static) -> Box<dyn Fn() -> bool + Send> {
    Box::new(move || accept().map(greet).is_ok())
}

/// Who answers by TCP what the attack says; a datagram each time for who only hears.
fn bait_look(port: u16) -> io::Result<Box<dyn Fn() -> bool + Send>> {
    let (socket, at) = (UdpSocket::bind("127.0.0.1:0")?, ("127.0.0.1", port));
    Ok(Box::new(move || {
        let _ = socket.send_to(b"bait", at);
        let Ok(mut stream) = TcpStream::connect(at) else {
            return false;
        };
        let mut said = [0; 6];
        stream.set_read_timeout(PATIENCE).is_ok() && stream.read_exact(&mut said).is_ok() && &said == b"attack"
    }))
}

fn udp_look(socket: UdpSocket) -> io::Result<Box<dyn Fn() -> bool + Send>> {
    socket.set_nonblocking(true)?;
    Ok(Box::new(move || {
        let Ok((_, from)) = socket.recv_from(&mut [0; 16]) else {
            return false;
        };
        let _ = socket.send_to(b"hello", from);
        true
    }))
}

fn dgram_look(socket: UnixDatagram) -> io::Result<Box<dyn Fn() -> bool + Send>> {
    socket.set_nonblocking(true)?;
    Ok(Box::new(move || socket.recv(&mut [0; 16]).is_ok()))
}
