//! Who is at the other end of the bridge: it says so before every connection, in 20 bytes, and which process that is /proc is asked only
//! when a line is to be written about it. The broker, who makes the sandbox's connections, has written down who it was; without one /proc is asked.

use crate::hurry::Hurry;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// With which the bridge begins.
pub const MAGIC: &[u8; 8] = b"codexrun";

/// A program of the sandbox, by its socket.
#[derive(Debug, PartialEq)]
pub enum Client {
    /// The bridge has asked the kernel for the socket's inode.
    Bridged {
        /// The container's first process.
        init: u32,
        /// 0: it had gone.
        socket: u32,
        /// The ports that it comes from and goes to, inside.
        ports: (u16, u16),
    },
    /// One that came by no bridge, from the network that the proxy is in.
    Direct {
        /// Its own address.
        from: SocketAddrV4,
        /// What it has connected to.
        to: SocketAddrV4,
    },
}

/// Descriptors that one search looks at: more than a program has that is not made to be searched.
const MOST: usize = 1 << 16;
/// What searches may take at once, and after that one part in so many of the time.
const AT_ONCE: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;

/// The time that searches may take. It is the caller's, whatever limit the sandbox has.
struct Budget {
    /// What they have taken and time has not paid back.
    debt: Duration,
    at: Option<Instant>,
}

impl Budget {
    fn has_any(&mut self, now: Instant) -> bool {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (self.debt, self.at) = (self.debt.saturating_sub(passed / SHARE), Some(now));
        self.debt < AT_ONCE
    }

    fn spend(&mut self, time: Duration) {
        self.debt += time;
    }
}

/// A process by its number and its place in /proc.
type Process = (u32, PathBuf);

impl Client {
    /// Who has just connected. `direct`: there is no bridge, and all that is said is the client's own, also what a bridge would say.
    pub fn of(hurry: &mut Hurry, direct: bool) -> Option<Client> {
        if direct { Client::direct(hurry.client) } else { Client::read(hurry) }
    }

    /// `None`: not the bridge, but somebody else on this machine.
    pub fn read(mut bridge: impl Read) -> Option<Client> {
        let mut bytes = [0; 20];
        bridge.read_exact(&mut bytes).ok()?;
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (init, rest) = rest.split_first_chunk::<4>()?;
        let (socket, rest) = rest.split_first_chunk::<4>()?;
        let (from, to) = rest.split_first_chunk::<2>()?;
        let ports = (u16::from_be_bytes(*from), u16::from_be_bytes(to.try_into().ok()?));
        let client = Client::Bridged { init: u32::from_be_bytes(*init), socket: u32::from_be_bytes(*socket), ports };
        (magic == MAGIC).then_some(client)
    }

    /// Whether it is the bridge itself: nobody comes from no port.
    pub fn is_the_bridge(&self) -> bool {
        matches!(self, Client::Bridged { ports: (0, 0), .. })
    }

    fn direct(stream: &TcpStream) -> Option<Client> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (stream.peer_addr().ok()?, stream.local_addr().ok()?) else {
            return None;
        };
        Some(Client::Direct { from, to })
    }

    /// `{"pid": …, "comm": …}`, the number being that of the sandbox; null when the process has gone or hides.
    pub fn process(&self) -> Value {
        let known = match self {
            Client::Bridged { ports, .. } => BOOK.get().and_then(|book| noted(book, *ports)),
            Client::Direct { .. } => None,
        };
        known.or_else(|| self.find()).unwrap_or(Value::Null)
    }

    /// Of several that share the socket the oldest: it is a parent that has made it. One search at a time, and no more than [`Budget`] says: a
    /// sandbox with many processes and descriptors must not keep a processor busy by what it is refused.
    fn find(&self) -> Option<Value> {
        static SEARCH: Mutex<Budget> = Mutex::new(Budget { debt: Duration::ZERO, at: None });
        let mut budget = SEARCH.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        let found = budget.has_any(begun).then(|| self.search(begun + AT_ONCE));
        budget.spend(begun.elapsed());
        found.flatten()
    }

    /// `None` also when `end` comes first: processes and threads are as many as the sandbox likes, and more of them while they are counted.
    fn search(&self, end: Instant) -> Option<Value> {
        let (mut there, inode) = match self {
            Client::Bridged { socket: 0, .. } => return None,
            Client::Bridged { init, socket, ports: _ } => (descendants(*init, end)?, *socket),
            Client::Direct { from, to } => (processes(end)?, inode(*from, *to)?),
        };
        there.sort_unstable();
        let socket = PathBuf::from(format!("socket:[{inode}]"));
        let mut left = MOST;
        for (_, dir) in there {
            if holds(&dir, &socket, &mut left, end)? {
                return Some(json!({ "comm": comm(&dir)?, "pid": inner_pid(&dir)? }));
            }
        }
        None
    }
}

/// The broker's (`libruntime/src/broker/book.rs`): an entry for each port that a client may come from.
static BOOK: OnceLock<File> = OnceLock::new();
/// Bytes of an entry, and where its name begins; before it the process's number, and the port that the client goes to.
const ENTRY: usize = 64;
const NAME: usize = 6;

/// Looks there first who has connected. The descriptor, by which the broker finds it.
pub fn look_in(book: File) -> RawFd {
    BOOK.get_or_init(|| book).as_raw_fd()
}

/// Whoever has connected from the one port to the other.
fn noted(book: &File, (from, to): (u16, u16)) -> Option<Value> {
    let mut entry = [0; ENTRY];
    book.read_exact_at(&mut entry, u64::from(from) * ENTRY as u64).ok()?;
    let (pid, rest) = entry.split_first_chunk::<4>()?;
    let pid = Some(u32::from_be_bytes(*pid)).filter(|pid| *pid != 0 && rest[..2] == to.to_be_bytes())?;
    let name = entry[NAME..].split(|byte| *byte == 0).next()?;
    Some(json!({ "comm": shown(&String::from_utf8_lossy(name)), "pid": pid }))
}

/// `None` when the time is over.
fn in_time(end: Instant) -> Option<()> {
    (Instant::now() < end).then_some(())
}

/// A process and those below it (proc_pid_task(5)): all of a PID namespace, if it is the first there.
fn descendants(first: u32, end: Instant) -> Option<Vec<Process>> {
    let mut all = vec![named(first)];
    let mut seen = 0;
    while let Some((_, dir)) = all.get(seen) {
        for thread in fs::read_dir(dir.join("task")).into_iter().flatten().flatten() {
            in_time(end)?;
            let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(list.split(' ').filter_map(|pid| Some(named(pid.parse().ok()?))));
        }
        seen += 1;
    }
    Some(all)
}

fn named(pid: u32) -> Process {
    (pid, PathBuf::from(format!("/proc/{pid}")))
}

fn processes(end: Instant) -> Option<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        in_time(end)?;
        all.extend(entry.file_name().to_str().and_then(|pid| pid.parse().ok()).map(named));
    }
    Some(all)
}

/// proc_net_tcp(5): the client's end is the one that has these two addresses in this order. A socket of version 6 has the same address
/// behind a prefix.
fn inode(from: SocketAddrV4, to: SocketAddrV4) -> Option<u32> {
    let (from, to) = (hex(from), hex(to));
    ["tcp", "tcp6"].iter().find_map(|table| {
        let table = fs::read_to_string(Path::new("/proc/self/net").join(table)).ok()?;
        let near = table.lines().filter(|line| line.contains(&from));
        let mut lines = near.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|fields| fields.len() > 9 && fields[1].ends_with(&from) && fields[2].ends_with(&to))?;
        line[9].parse().ok().filter(|inode| *inode != 0)
    })
}

/// As the kernel prints it: the address as a number of this machine's order.
fn hex(at: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port())
}

/// Looks at no more than what is left, of descriptors and of time.
fn holds(process: &Path, socket: &Path, left: &mut usize, end: Instant) -> Option<bool> {
    in_time(end)?;
    for fd in fs::read_dir(process.join("fd")).into_iter().flatten().flatten().take(*left) {
        in_time(end)?;
        *left -= 1;
        if fs::read_link(fd.path()).is_ok_and(|to| to == socket) {
            return Some(true);
        }
    }
    Some(false)
}

/// The name that the process has given itself, which is no text that one may show to a terminal.
fn comm(process: &Path) -> Option<String> {
    let bytes = fs::read(process.join("comm")).ok()?;
    Some(shown(&String::from_utf8_lossy(bytes.trim_ascii_end())))
}

/// Characters of what no parser has taken for a host: more than a name has.
const SHOWN: usize = 300;

/// Nothing that a terminal obeys: neither control characters nor those that change the direction in which the rest of the line is shown.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// Bidi_Control of the Unicode standard.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    use std::os::fd::AsRawFd;
    use std::process::{Child, Command, Stdio};

    #[test]
    fn a_connection_is_found_to_be_ours_and_one_that_is_closed_nobodys() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (&ours).write_all(&[&MAGIC[..], &[7; 8]].concat()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let client = Client::of(&mut Hurry::new(&accepted, crate::PATIENCE), true).unwrap();
        assert!(matches!(client, Client::Direct { .. }), "whoever it says it is");
        let comm = comm(Path::new("/proc/self")).unwrap();
        // The other tests may have spent the time that all searches have.
        let (process, pid) = (client.search(later()).unwrap(), inner_pid(Path::new("/proc/self")).unwrap());
        assert_eq!((&process["comm"], &process["pid"]), (&json!(comm), &json!(pid)));
        drop((ours, accepted));
        assert_eq!(client.search(later()), None);
    }

    /// A time that no test sees the end of.
    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[test]
    fn a_search_ends_with_its_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let client = Client::of(&mut Hurry::new(&accepted, crate::PATIENCE), true).unwrap();
        let (own, over) = (std::process::id(), Instant::now());
        assert_eq!((client.search(over), client.search(later()).is_some()), (None, true));
        assert_eq!((descendants(own, over), processes(over)), (None, None));
        let socket = fs::read_link(format!("/proc/self/fd/{}", ours.as_raw_fd())).unwrap();
        let held = |end| holds(Path::new("/proc/self"), &socket, &mut MOST.clone(), end);
        assert_eq!((held(over), held(later())), (None, Some(true)));
    }

    /// A shell with a child that holds the other end of our pipe.
    fn family() -> (Child, PathBuf) {
        let shell = Command::new("sh").args(["-c", "sleep 60 & echo; wait"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut shell = shell.unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pipe = fs::read_link(format!("/proc/{}/fd/1", shell.id())).unwrap();
        (shell, pipe)
    }

    #[test]
    fn no_name_says_to_a_terminal_how_the_rest_of_the_line_is_shown() {
        let turning = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        assert_eq!(shown(&format!("{turning}\x1b[2J")), format!("{}[2J", "\u{fffd}".repeat(13)));
        assert_eq!(shown("münchen 東京 עברית"), "münchen 東京 עברית");
    }

    #[test]
    fn who_is_searched_are_the_first_process_and_those_below_it() {
        let (mut shell, pipe) = family();
        let all = descendants(shell.id(), later()).unwrap();
        let holders = all.iter().filter(|(_, dir)| holds(dir, &pipe, &mut MOST.clone(), later()) == Some(true)).count();
        for (pid, _) in all.iter().rev() {
            Command::new("kill").arg(pid.to_string()).status().unwrap();
        }
        shell.wait().unwrap();
        assert_eq!((all[0].0, all.len(), holders), (shell.id(), 2, 2));
        assert_eq!(Client::Bridged { init: shell.id(), socket: 1, ports: (0, 0) }.process(), Value::Null, "it has gone");
    }

    #[test]
    fn the_book_is_by_both_ports_and_has_no_entry_of_who_is_not_known() {
        let path = std::env::temp_dir().join(format!("codexrun-proxy-book-{}", std::process::id()));
        let book = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
        let entry = [&7u32.to_be_bytes()[..], &443u16.to_be_bytes(), b"a\x1bb", &[0; ENTRY - NAME - 3]].concat();
        book.write_all_at(&entry, 65535 * ENTRY as u64).unwrap();
        assert_eq!(noted(&book, (65535, 443)), Some(json!({ "comm": "a\u{fffd}b", "pid": 7 })));
        assert_eq!([(65535, 80), (65534, 443), (65534, 0)].map(|ports| noted(&book, ports)), [None, None, None]);
    }

    #[test]
    fn no_more_descriptors_are_looked_at_than_are_left() {
        let (listener, own) = (TcpListener::bind("127.0.0.1:0").unwrap(), Path::new("/proc/self"));
        let socket = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let mut left = MOST;
        assert_eq!(holds(own, &socket, &mut left, later()), Some(true));
        let mut short = MOST - left - 1;
        assert_eq!((holds(own, &socket, &mut short, later()), short), (Some(false), 0), "it is the next");
    }

    #[test]
    fn searches_take_a_share_of_the_time_and_no_more() {
        let (mut budget, begun) = (Budget { debt: Duration::ZERO, at: None }, Instant::now());
        let dear = Duration::from_millis(50);
        let mut taken = Duration::ZERO;
        // One asks all the time for a minute.
        for n in 0..6000 {
            if budget.has_any(begun + Duration::from_millis(10) * n) {
                budget.spend(dear);
                taken += dear;
            }
        }
        assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&taken), "{taken:?}");
        assert!(budget.has_any(begun + Duration::from_secs(120)), "it is paid back");
    }

    #[test]
    fn the_bridge_says_who_it_is_for_and_nobody_else_is_heard() {
        let said = b"codexrun\0\0\0\x07\0\0\x01\x02\x02\x01\x01\xbb";
        assert_eq!(Client::read(&said[..]), Some(Client::Bridged { init: 7, socket: 258, ports: (513, 443) }));
        assert_eq!(Client::read(&said[..19]), None);
        assert_eq!(Client::read(&b"CONNECT x.y:443 HTTP/1.1\r\n\r\n"[..]), None);
    }
}
