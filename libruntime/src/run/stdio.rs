//! What may be a standard stream: the command has these three of its caller, and with them whatever they lead to.

use crate::plan::annotation_of;
use crate::sys::{file, socket};
use crate::{Error, Result, annotation};
use oci_spec::runtime::{Process, Spec};
use std::os::fd::BorrowedFd;

fn streams() -> [(&'static str, BorrowedFd<'static>); 3] {
    [("standard input", file::stdin()), ("standard output", file::stdout()), ("standard error", file::stderr())]
}

/// Through a directory of the host that the command inherits, every path below it is reached past all mounts (CVE-2024-21626).
///
/// # Errors
/// One is a directory.
pub(super) fn no_directory() -> Result<()> {
    match streams().iter().find(|(_, fd)| file::stat(*fd).is_ok_and(|stat| stat.is_dir())) {
        None => Ok(()),
        Some((name, _)) => {
            let what = format!("{name} is a directory, which would lead out of the container past every mount");
            Err(Error::new(what).hint("redirect it to a file, a pipe or /dev/null"))
        }
    }
}

/// What the policy permits ([`annotation::STDIO_SOCKETS`]); a terminal of its own is all that the process has.
///
/// # Errors
/// One is a socket that is not one conversation.
pub(super) fn sockets(spec: &Spec, process: Option<&Process>) -> Result<()> {
    let asked = annotation_of(spec, annotation::STDIO_SOCKETS);
    let terminal = process.is_some_and(|process| process.terminal().unwrap_or_default());
    let Some(permitted) = asked.filter(|_| !terminal) else { return Ok(()) };
    match streams().iter().find(|(_, fd)| !fits(*fd, permitted)) {
        None => Ok(()),
        Some((name, _)) => {
            let what = format!(
                "{name} is a socket that is no connection: by it the command would reach others than its caller, past the policy"
            );
            let hint = "give it a connection of TCP or of a Unix socket, a pipe or a file; `--stdio-sockets`, or `stdio_sockets` in the policy, permits any socket";
            Err(Error::new(what).hint(hint))
        }
    }
}

/// A socket of datagrams sends to anybody, one that listens is called by anybody, and one without a peer connects to anybody. A
/// connection of another protocol than TCP (MPTCP, SCTP) can be dissolved, and made anew past Landlock, whose ports are TCP's. What
/// cannot be asked is no socket.
fn fits(fd: BorrowedFd, permitted: &str) -> bool {
    let (Ok(family), Ok(kind)) = (socket::domain(fd), socket::kind(fd)) else { return true };
    let internet = matches!(family, libc::AF_INET | libc::AF_INET6);
    let plain = !internet || socket::protocol(fd) == Ok(libc::IPPROTO_TCP);
    let conversation = matches!(kind, libc::SOCK_STREAM | libc::SOCK_SEQPACKET) && socket::has_peer(fd) && plain;
    let internet = internet && matches!(kind, libc::SOCK_STREAM | libc::SOCK_DGRAM);
    conversation || permitted == annotation::STDIO_INTERNET && internet
}
