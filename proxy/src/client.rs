//! Who is at the other end of the bridge: it says so before every connection, in 28 bytes, and which process that is /proc is asked only
//! when a line is to be written about it.

use crate::hurry::Hurry;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// With which the bridge begins.
const MAGIC: &[u8; 8] = b"codexrun";

/// A program of the sandbox, by its socket.
#[derive(Debug, PartialEq)]
pub struct Client {
    /// Inode of its network namespace.
    namespace: u64,
    /// Its own address there.
    from: SocketAddrV4,
    /// What it has connected to there.
    to: SocketAddrV4,
}

impl Client {
    /// Who has just connected. `direct`: there is no bridge, and all that is said is the client's own, also what a bridge would say.
    pub fn of(hurry: &mut Hurry, direct: bool) -> Option<Client> {
        if direct { Client::direct(hurry.client) } else { Client::read(hurry) }
    }

    /// `None`: not the bridge, but somebody else on this machine.
    pub fn read(mut bridge: impl Read) -> Option<Client> {
        let mut bytes = [0; 28];
        bridge.read_exact(&mut bytes).ok()?;
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (namespace, rest) = rest.split_first_chunk::<8>()?;
        let (from, to) = rest.split_first_chunk::<6>()?;
        let client = Client { namespace: u64::from_be_bytes(*namespace), from: place(from), to: place(to.first_chunk()?) };
        (magic == MAGIC).then_some(client)
    }

    /// One that came by no bridge, from the network that the proxy is in.
    fn direct(stream: &TcpStream) -> Option<Client> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (stream.peer_addr().ok()?, stream.local_addr().ok()?) else {
            return None;
        };
        Some(Client { namespace: fs::metadata("/proc/self/ns/net").ok()?.ino(), from, to })
    }

    /// `{"pid": …, "comm": …}`, the number being that of the sandbox; null when the process has gone or hides.
    pub fn process(&self) -> Value {
        self.find().unwrap_or(Value::Null)
    }

    /// Of several that share the socket the oldest: it is a parent that has made it. One search at a time: a sandbox with many processes
    /// and descriptors must not keep every processor busy by what it is refused.
    fn find(&self) -> Option<Value> {
        static SEARCH: Mutex<()> = Mutex::new(());
        let _one = SEARCH.lock().unwrap_or_else(PoisonError::into_inner);
        let mut there: Vec<(u32, PathBuf)> = processes().filter(|(_, dir)| self.is_in_namespace(dir)).collect();
        there.sort_unstable();
        let inode = there.iter().find_map(|(_, dir)| self.inode(dir))?;
        let socket = PathBuf::from(format!("socket:[{inode}]"));
        let (_, dir) = there.iter().find(|(_, dir)| holds(dir, &socket))?;
        Some(json!({ "comm": comm(dir)?, "pid": inner_pid(dir)? }))
    }

    fn is_in_namespace(&self, process: &Path) -> bool {
        fs::metadata(process.join("ns/net")).is_ok_and(|net| net.ino() == self.namespace)
    }

    /// proc_net_tcp(5) of the namespace: the client's end is the one that has these two addresses in this order. A socket of version 6
    /// has the same address behind a prefix.
    fn inode(&self, process: &Path) -> Option<u64> {
        let (from, to) = (hex(self.from), hex(self.to));
        ["net/tcp", "net/tcp6"].iter().find_map(|table| {
            let table = fs::read_to_string(process.join(table)).ok()?;
            let near = table.lines().filter(|line| line.contains(&from));
            let mut lines = near.map(|line| line.split_whitespace().collect::<Vec<_>>());
            let line = lines.find(|fields| fields.len() > 9 && fields[1].ends_with(&from) && fields[2].ends_with(&to))?;
            line[9].parse().ok().filter(|inode| *inode != 0)
        })
    }
}

fn place(bytes: &[u8; 6]) -> SocketAddrV4 {
    let [a, b, c, d, p, q] = *bytes;
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q]))
}

/// As the kernel prints it: the address as a number of this machine's order.
fn hex(at: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port())
}

fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

fn holds(process: &Path, socket: &Path) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.map(|entry| entry.path()).any(|fd| fs::read_link(fd).is_ok_and(|to| to == socket))
}

/// The name that the process has given itself, which is no text that one may show to a terminal.
fn comm(process: &Path) -> Option<String> {
    let bytes = fs::read(process.join("comm")).ok()?;
    Some(shown(&String::from_utf8_lossy(bytes.trim_ascii_end())))
}

/// Characters of what no parser has taken for a host: more than a name has.
const SHOWN: usize = 300;

/// Nothing that a terminal obeys.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// NSpid begins with the number here; the next is that in the namespace below, if the sandbox has one.
fn inner_pid(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let mut pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace();
    let own = pids.next();
    pids.next().or(own)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn v4(at: SocketAddr) -> SocketAddrV4 {
        let SocketAddr::V4(at) = at else { panic!("{at}") };
        at
    }

    #[test]
    fn a_connection_is_found_to_be_ours_and_one_that_is_closed_nobodys() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let ours = TcpStream::connect(to).unwrap();
        let namespace = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let client = Client { namespace, from: v4(ours.local_addr().unwrap()), to: v4(to) };
        (&ours).write_all(&[&MAGIC[..], &[7; 20]].concat()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(
            Client::of(&mut Hurry::new(&accepted, crate::PATIENCE), true).as_ref(),
            Some(&client),
            "whoever it says it is"
        );
        let comm = comm(Path::new("/proc/self")).unwrap();
        let (process, pid) = (client.process(), inner_pid(Path::new("/proc/self")).unwrap());
        assert_eq!((&process["comm"], &process["pid"]), (&json!(comm), &json!(pid)));
        assert_eq!(Client { namespace: 1, ..client }.process(), Value::Null);
    }

    #[test]
    fn the_bridge_says_who_it_is_for_and_nobody_else_is_heard() {
        let said = [&b"codexrun\0\0\0\0\0\0\0\x07"[..], &[127, 0, 0, 1, 1, 2], &[127, 64, 0, 1, 1, 187]].concat();
        let (from, to) = ("127.0.0.1:258".parse().unwrap(), "127.64.0.1:443".parse().unwrap());
        assert_eq!(Client::read(&said[..]), Some(Client { namespace: 7, from, to }));
        assert_eq!(Client::read(&said[..27]), None);
        assert_eq!(Client::read(&b"CONNECT x.y:443 HTTP/1.1\r\n\r\n"[..]), None);
    }
}
