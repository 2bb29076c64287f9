//! What a sandbox could reach on the host: listeners that count who called, and a process of the same user.

use crate::actor::Actor;
use crate::launch::{Launch, Running};
use crate::scene::Scene;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, UdpSocket};
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
    /// Below /tmp: `.sock` is a stream listener, `.dgram` a datagram one, `.txt` a file.
    pub tmp: PathBuf,
    bystander: Running,
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
        std::fs::write(tmp.with_extension("txt"), "host\n")?;
        let unix = |path: PathBuf| open_to_all(UnixListener::bind(&path), &path);
        let dgram = |path: PathBuf| open_to_all(UnixDatagram::bind(&path), &path);
        let listeners: Vec<Listener> = vec![
            ("tcp", tcp_look(tcp)?),
            ("udp", udp_look(udp)?),
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
        let bystander = Launch::new(&["/bin/sleep", "600"], Path::new("/")).start(actor)?;
        let (calls, stop) = (Calls::default(), Arc::new(AtomicBool::new(false)));
        let thread = watch(listeners, calls.clone(), stop.clone());
        let thread = Some(thread);
        Ok(Outside { tcp: tcp_at, udp: udp_at, name: tag, tmp, bystander, calls, stop, thread })
    }

    /// A process of the host that belongs to the caller.
    pub fn pid(&self) -> i32 {
        self.bystander.pid().as_raw()
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
        for extension in ["txt", "sock", "dgram"] {
            let _ = std::fs::remove_file(self.tmp.with_extension(extension));
        }
    }
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
