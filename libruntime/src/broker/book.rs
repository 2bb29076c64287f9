//! Who has connected, for a proxy that names him: the number and the name of the process, by the port that its connection comes from. When the
//! proxy looks he may have gone, or hide; as long as his connect(2) waits for the broker he is there.

use super::call::Call;
use crate::proc_status::ProcStatus;
use crate::sys::{Result, socket};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

/// Bytes of an entry, of which there is one for each port: the process's number, the port that its connection goes to, both in the order of the
/// network, and its name. All zero: nobody is known.
const ENTRY: usize = 64;
const NAME: usize = 6;

/// Writes who has just connected this socket, or begun to. Who cannot be found out is nobody: the connection is not the worse for it.
pub(super) fn note(book: &File, call: &Call, socket: BorrowedFd, address: &[u8]) -> Result<()> {
    let Some(to) = port(address) else { return Ok(()) };
    let entry = who(call.asked.thread, to);
    // From here on it is certain that it was the caller whom that number belongs to.
    let entry = entry.filter(|_| call.still_waits().unwrap_or(false)).unwrap_or([0; ENTRY]);
    let from = u64::from(socket::port(socket)?);
    book.write_all_at(&entry, from * ENTRY as u64).map_err(super::errno)
}

/// Of an address of IP, as the kernel is told it.
fn port(address: &[u8]) -> Option<u16> {
    let [a, b, high, low, ..] = address else { return None };
    let of_ip = [libc::AF_INET, libc::AF_INET6].contains(&i32::from(libc::sa_family_t::from_ne_bytes([*a, *b])));
    of_ip.then(|| u16::from_be_bytes([*high, *low]))
}

/// A thread goes by the number and the name of its process; the number is that in the sandbox.
fn who(thread: i32, to: u16) -> Option<[u8; ENTRY]> {
    let mut status = ProcStatus::of(thread).ok()?;
    let process = status.field("Tgid")?.parse().ok()?;
    if process != thread {
        status = ProcStatus::of(process).ok()?;
    }
    let mut numbers = status.field("NSpid")?.split_whitespace();
    let own = numbers.next();
    let pid: u32 = numbers.next().or(own)?.parse().ok()?;
    let mut entry = [0; ENTRY];
    entry[..4].copy_from_slice(&pid.to_be_bytes());
    entry[4..NAME].copy_from_slice(&to.to_be_bytes());
    let name = status.field("Name")?.bytes();
    entry[NAME..].iter_mut().zip(name).for_each(|(at, byte)| *at = byte);
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_by_its_process() {
        let name = ProcStatus::of(std::process::id() as i32).unwrap().field("Name").unwrap().to_owned();
        // Another one than the first, as every test is.
        let thread = nix::unistd::gettid().as_raw();
        assert_ne!(thread as u32, std::process::id());
        let entry = who(thread, 258).unwrap();
        assert_eq!(entry[..NAME], [&std::process::id().to_be_bytes()[..], &[1, 2]].concat());
        assert_eq!(entry[NAME..].split(|byte| *byte == 0).next(), Some(name.as_bytes()));
        assert_eq!(who(i32::MAX, 1), None, "there is none");
    }
}
