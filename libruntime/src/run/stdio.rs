//! What may be a standard stream: the command has these three of its caller, and with them whatever they lead to.

use super::fault::describe;
use super::relay::Relayed;
use crate::plan::op::{ParentOp, UnixStreams};
use crate::plan::{ParentStep, Plan};
use crate::sys::{Errno, Result as SysResult, file, socket};
use crate::{Error, Result, annotation};
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;

fn streams() -> [(&'static str, BorrowedFd<'static>); 3] {
    [("standard input", file::stdin()), ("standard output", file::stdout()), ("standard error", file::stderr())]
}

/// Through a directory of the host that the command inherits, every path below it is reached past all mounts (CVE-2024-21626).
///
/// # Errors
/// One is a directory, or cannot be looked at.
pub(super) fn no_directory() -> Result<()> {
    streams().into_iter().try_for_each(|(name, fd)| match file::stat(fd).map_err(unknown(name))?.is_dir() {
        false => Ok(()),
        true => {
            let what = format!("{name} is a directory, which would lead out of the container past every mount");
            Err(Error::new(what).hint("redirect it to a file, a pipe or /dev/null"))
        }
    })
}

fn unknown(name: &str) -> impl Fn(Errno) -> Error {
    move |errno| Error::new(format!("cannot learn what {name} is")).cause(describe(errno))
}

/// What the policy permits; of which streams the process has only the bytes.
///
/// # Errors
/// One is something else, or cannot be looked at.
pub(super) fn permitted(plan: &Plan) -> Result<Relayed> {
    let asked = |step: &ParentStep| {
        if let ParentOp::Streams { sockets, unix } = &step.op { Some((sockets.clone(), *unix)) } else { None }
    };
    let Some((sockets, unix)) = plan.parent.iter().find_map(asked) else { return Ok(Relayed::default()) };
    let mut relayed = [None; 3];
    for (socket, (name, fd)) in relayed.iter_mut().zip(streams()) {
        *socket = judge(name, fd, &sockets, unix)?;
    }
    Ok(Relayed::of(relayed))
}

/// Where nobody relays anything.
///
/// # Errors
/// Something should be relayed.
pub(super) fn none_relayed(relayed: Relayed) -> Result<Relayed> {
    if relayed.is_empty() { Ok(relayed) } else { Err(by_descriptors("a standard stream", NOBODY)) }
}

/// Why a Unix socket has no relay.
const NOBODY: &str = "and nobody stays to relay its bytes";

fn by_descriptors(name: &str, why: &str) -> Error {
    let what = format!("{name} is a Unix socket, {why}: by it whoever has its other end can send descriptors in");
    Error::new(what).hint("give it a pipe or a file; `--stdio-sockets any`, or `stdio_sockets` in the policy, permits any socket")
}

/// Which socket it is, if it is to be relayed.
fn judge(name: &str, fd: BorrowedFd, sockets: &str, unix: UnixStreams) -> Result<Option<u64>> {
    match kind(fd).map_err(unknown(name))? {
        Kind::Plain => Ok(None),
        Kind::Socket if sockets == annotation::STDIO_NONE => {
            let what =
                "is a socket, and the policy permits none: by one of Unix whoever has its other end can send descriptors in";
            Err(Error::new(format!("{name} {what}")).hint("give it a pipe, as a shell's `|` makes one, or a file"))
        }
        Kind::Socket if unix != UnixStreams::Passed && is_unix_connection(fd) => match (unix, socket::kind(fd)) {
            (UnixStreams::Relayed, Ok(libc::SOCK_STREAM)) => socket::identity(fd).map(Some).map_err(unknown(name)),
            (_, Ok(libc::SOCK_STREAM)) => Err(by_descriptors(name, NOBODY)),
            _ => Err(by_descriptors(name, "of packets, and only streams can be relayed")),
        },
        Kind::Socket if fits(fd, sockets) => Ok(None),
        Kind::Socket => {
            let what = "is a socket that is no connection: by it the command would reach others than its caller, past the policy";
            let hint = "give it a connection of TCP or of a Unix socket, a pipe or a file; `--stdio-sockets any`, or `stdio_sockets` in the policy, permits any socket";
            Err(Error::new(format!("{name} {what}")).hint(hint))
        }
        Kind::Other => {
            let what = "is no file, pipe, terminal or connection: by it the command could reach past the policy";
            Err(Error::new(format!("{name} {what}")).hint("redirect it to a file, a pipe or /dev/null"))
        }
    }
}

/// A conversation, but one by which more than bytes comes.
fn is_unix_connection(fd: BorrowedFd) -> bool {
    let conversation = matches!(socket::kind(fd), Ok(libc::SOCK_STREAM | libc::SOCK_SEQPACKET));
    socket::domain(fd) == Ok(libc::AF_UNIX) && conversation && socket::has_peer(fd)
}

enum Kind {
    /// Bytes, and nothing that they lead to.
    Plain,
    Socket,
    /// A disk, a namespace, a process, a ring of io_uring, a program of BPF, …: what is none of these by name is one of them.
    Other,
}

fn kind(fd: BorrowedFd) -> SysResult<Kind> {
    let stat = file::stat(fd)?;
    let plain = match stat.mode & libc::S_IFMT {
        libc::S_IFSOCK => return Ok(Kind::Socket),
        libc::S_IFIFO => true,
        libc::S_IFCHR => MEMORY.contains(&numbers(stat.device)) || fd.is_terminal(),
        libc::S_IFREG => !NO_FILES.contains(&file::filesystem(fd)?),
        _ => false,
    };
    Ok(if plain { Kind::Plain } else { Kind::Other })
}

/// Whose files are namespaces, processes and queues of messages (linux/magic.h, ipc/mqueue.c, fs/pidfs.c).
const NO_FILES: &[i64] = &[0x6e73_6673, 0x5049_4446, 0x1980_0202];

fn numbers(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}

/// null, zero, full, random, urandom (Documentation/admin-guide/devices.txt).
const MEMORY: &[(u32, u32)] = &[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9)];

/// A socket of datagrams sends to anybody, one that listens is called by anybody, and one without a peer connects to anybody. A
/// connection of another protocol than TCP (MPTCP, SCTP) can be dissolved, and made anew past Landlock, whose ports are TCP's.
fn fits(fd: BorrowedFd, permitted: &str) -> bool {
    if permitted == annotation::STDIO_ANY {
        return true;
    }
    let (Ok(family), Ok(kind)) = (socket::domain(fd), socket::kind(fd)) else { return false };
    let internet = matches!(family, libc::AF_INET | libc::AF_INET6);
    let plain = !internet || socket::protocol(fd) == Ok(libc::IPPROTO_TCP);
    let conversation = matches!(kind, libc::SOCK_STREAM | libc::SOCK_SEQPACKET) && socket::has_peer(fd) && plain;
    let internet = internet && matches!(kind, libc::SOCK_STREAM | libc::SOCK_DGRAM);
    conversation || permitted == annotation::STDIO_INTERNET && internet
}
