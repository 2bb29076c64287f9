//! A connection to systemd: by a bus, or directly by the socket that its own tools use.

use super::wire::{Message, Method, Writer, call, rest};
use crate::sys::file::tell;
use crate::sys::socket;
use crate::{Error, Result};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an answer may take, to its last byte: as long as libdbus waits. A scope without dependencies is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(25);
/// Signals that are kept until somebody waits for them, and the longest; the end of a job has a few hundred bytes.
const KEPT: (usize, usize) = (1024, 4096);

/// A connection that has been let in.
#[derive(Debug)]
pub struct Bus {
    socket: UnixStream,
    /// For an answer.
    patience: Duration,
    /// When the one that is waited for must be there.
    deadline: Instant,
    serial: u32,
    /// Nobody else is on it: messages have no destination, and signals come unasked.
    pub direct: bool,
    /// Signals that came before somebody waited for them.
    signals: VecDeque<Message>,
}

/// Why a call has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The connection is broken.
    Broken(io::Error),
    /// The other side says no: the name of the error, and a sentence.
    Refused(String, String),
}

/// Where one may listen.
struct Address {
    socket: SocketAddr,
    direct: bool,
}

impl Bus {
    /// The system's, or the user's. The first that answers: the bus of the environment or the usual one, then systemd's own socket.
    pub fn connect(user: bool) -> Result<Bus> {
        let mut said = Vec::new();
        for address in addresses(user)? {
            match Bus::at(&address, PATIENCE) {
                Ok(bus) => return Ok(bus),
                Err(e) => said.push(format!("{}: {e}", name(&address.socket))),
            }
        }
        let of = if user { "the user's systemd" } else { "systemd" };
        let error = Error::new(format!("cannot reach {of} over D-Bus")).cause(said.join("; "));
        Err(error.hint("without it, `--cgroup-manager cgroupfs` and a `linux.cgroupsPath` that is a path"))
    }

    /// By systemd's own socket.
    #[cfg(test)]
    pub fn direct(path: &Path) -> io::Result<Bus> {
        let socket = SocketAddr::from_pathname(path)?;
        Bus::at(&Address { socket, direct: true }, PATIENCE)
    }

    fn at(address: &Address, patience: Duration) -> io::Result<Bus> {
        let socket = match address.socket.as_pathname() {
            Some(path) => socket::unix(path, Some(patience))?.into(),
            None => UnixStream::connect_addr(&address.socket)?,
        };
        socket.set_write_timeout(Some(patience))?;
        let deadline = Instant::now() + patience;
        let mut bus = Bus { socket, patience, deadline, serial: 0, direct: address.direct, signals: VecDeque::new() };
        bus.authenticate()?;
        Ok(bus)
    }

    /// "Authentication Protocol", EXTERNAL without a name: whom the kernel says we are. In a user namespace our own number for it would
    /// be another than the other side's. Said in one breath, as systemd's own tools do: what follows a `BEGIN` too closely it overlooks.
    fn authenticate(&mut self) -> io::Result<()> {
        tell(self.socket.as_fd(), b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        for expected in ["DATA", "OK "] {
            let line = self.line()?;
            if !line.starts_with(expected) {
                return Err(io::Error::new(ErrorKind::PermissionDenied, format!("not let in: {}", line.escape_debug())));
            }
        }
        Ok(())
    }

    /// Byte by byte: what follows the line is not ours to swallow.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < 1024 {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Calls a method and waits for its answer.
    pub fn call(&mut self, method: &Method, signature: &str, body: Writer) -> Result<Message, Failure> {
        self.serial += 1;
        let destination = method.destination.filter(|_| !self.direct);
        let bytes = call(self.serial, &Method { destination, ..*method }, signature, body);
        tell(self.socket.as_fd(), &bytes).map_err(|e| Failure::Broken(e.into()))?;
        self.be_patient();
        loop {
            let message = self.receive().map_err(Failure::Broken)?;
            match (message.reply, &message.error) {
                (Some(serial), None) if serial == self.serial => return Ok(message),
                (Some(serial), Some(name)) if serial == self.serial => {
                    let said = message.body().text().unwrap_or_default().to_owned();
                    return Err(Failure::Refused(name.clone(), said));
                }
                (Some(_), _) => {}
                (None, _) if self.signals.len() < KEPT.0 && message.length() <= KEPT.1 => self.signals.push_back(message),
                (None, _) => {}
            }
        }
    }

    /// The next signal, or whatever else nobody has asked for.
    pub fn signal(&mut self) -> io::Result<Message> {
        self.signals.pop_front().map_or_else(|| self.receive(), Ok)
    }

    fn receive(&mut self) -> io::Result<Message> {
        let garbled = || io::Error::new(ErrorKind::InvalidData, "this is no D-Bus message");
        let mut head = [0; 16];
        self.read_exact(&mut head)?;
        let mut bytes = vec![0; rest(&head).ok_or_else(garbled)?];
        self.read_exact(&mut bytes)?;
        Message::read(&head, &bytes).ok_or_else(garbled)
    }

    /// What is waited for from now on has its time from now on, whatever else comes meanwhile.
    pub fn be_patient(&mut self) {
        self.deadline = Instant::now() + self.patience;
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("no answer in {} s", self.patience.as_secs())));
            }
            // Asked for anew each time: a timeout that stayed would begin again with every byte.
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => buffer = &mut buffer[n..],
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn addresses(user: bool) -> Result<Vec<Address>> {
    let variable = if user { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" };
    let given = std::env::var(variable).unwrap_or_default();
    let (usual, own) = if user {
        let dir = runtime_dir();
        (dir.join("bus"), dir.join("systemd/private"))
    } else {
        ("/run/dbus/system_bus_socket".into(), "/run/systemd/private".into())
    };
    let at = |socket, direct| Address { socket, direct };
    let mut all: Vec<Address> = given.split(';').filter_map(parse).map(|socket| at(socket, false)).collect();
    if all.is_empty() {
        if !given.is_empty() {
            return Err(Error::new(format!("`{variable}` has no address of the form `unix:path=…`")).cause(given));
        }
        all.extend([(usual, false), (own, true)].into_iter().filter_map(|(path, direct)| Some(at(of(&path)?, direct))));
    }
    Ok(all)
}

fn runtime_dir() -> PathBuf {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    dir.unwrap_or_else(|| format!("/run/user/{}", crate::sys::cred::euid()).into())
}

fn of(path: &Path) -> Option<SocketAddr> {
    SocketAddr::from_pathname(path).ok()
}

/// `unix:path=/run/bus,guid=…` or `unix:abstract=…`; `%41` is a byte ("Server Addresses").
pub fn parse(address: &str) -> Option<SocketAddr> {
    let pairs = address.strip_prefix("unix:")?;
    pairs.split(',').find_map(|pair| match pair.split_once('=')? {
        ("path", value) => of(Path::new(std::ffi::OsStr::from_bytes(&unescape(value)?))),
        ("abstract", value) => SocketAddr::from_abstract_name(unescape(value)?).ok(),
        _ => None,
    })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

fn name(address: &SocketAddr) -> String {
    let path = address.as_pathname().map(|path| path.display().to_string());
    path.unwrap_or_else(|| address.as_abstract_name().map(|name| name.escape_ascii().to_string()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn addresses_are_read_as_the_specification_writes_them() {
        let named = |address: &str| parse(address).as_ref().map(name);
        assert_eq!(named("unix:path=/run/user/1000/bus,guid=0").as_deref(), Some("/run/user/1000/bus"));
        assert_eq!(named("unix:guid=0,abstract=/tmp/dbus-%41%2c").as_deref(), Some("/tmp/dbus-A,"));
        for wrong in ["", "tcp:host=x", "unix:", "unix:path=%4", "unix:path=%zz"] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    /// A peer that lets us in, or not even that, and then sends a byte every few milliseconds for as long as we listen.
    fn trickle(greeting: &'static [u8], each: &'static [u8]) -> (tempfile::TempDir, Address) {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.path().join("bus")).unwrap();
        std::thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            peer.write_all(greeting).unwrap();
            while each.iter().all(|byte| peer.write_all(&[*byte]).is_ok()) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let socket = SocketAddr::from_pathname(dir.path().join("bus")).unwrap();
        (dir, Address { socket, direct: true })
    }

    #[test]
    fn who_trickles_bytes_without_end_is_given_up() {
        let (patience, call) = (Duration::from_millis(100), Method { destination: None, path: "/", interface: "a.b", name: "C" });
        let (_dir, address) = trickle(b"", b"D");
        assert_eq!(Bus::at(&address, patience).unwrap_err().kind(), ErrorKind::TimedOut);
        // One message of sixteen bytes after the other that answers nothing, and one that never comes to its end.
        let endless: [&[u8]; 2] = [b"l\x04\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0", b"l\x02\0\x01\0\0\x01\0"];
        for each in endless {
            let (_dir, address) = trickle(b"DATA\r\nOK 0\r\n", each);
            let mut bus = Bus::at(&address, patience).unwrap();
            let began = Instant::now();
            assert!(bus.call(&call, "", Writer::default()).is_err() && began.elapsed() < 50 * patience);
        }
    }
}
