//! What sendto(2), sendmsg(2) and sendmmsg(2) are to send: copied once from the caller's memory, with duplicates of the caller's
//! descriptors.

use super::call::Duplicate;
use crate::sys::notify::read_memory;
use crate::sys::process::Pid;
use crate::sys::{Errno, Result, socket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A message, in our own memory.
pub(super) struct Message {
    /// To whom; empty: to whom the socket is connected.
    pub name: Vec<u8>,
    pub data: Vec<u8>,
    /// As cmsg(3) has it, with our numbers of descriptors.
    pub control: Vec<u8>,
    /// What those numbers stand for.
    _descriptors: Vec<Duplicate>,
}

/// Whose message it is.
pub(super) struct Sender<'a> {
    pub thread: Pid,
    /// pidfd of the thread.
    pub owner: BorrowedFd<'a>,
    /// Of the socket: AF_*.
    pub family: i32,
    /// Whether what does not fit may be sent by another call.
    pub stream: bool,
}

/// How many bytes are sent at a time: twice what a socket holds that has not been enlarged by force (net.core.wmem_max, 212992).
const MOST: usize = 1 << 20;
/// UIO_MAXIOV.
const VECTORS: usize = 1024;
/// Bytes of control messages (net.core.optmem_max).
const CONTROL: usize = 128 * 1024;
/// SCM_MAX_FD.
const DESCRIPTORS: usize = 253;

impl Message {
    /// Of sendto(2).
    pub fn plain(from: &Sender, name: (u64, u64), data: (u64, u64)) -> Result<Message> {
        let name = address(from.thread, name.0, name.1 as i32)?;
        Ok(Message { name, data: gather(from, &[data])?, control: Vec::new(), _descriptors: Vec::new() })
    }

    /// Of a `struct msghdr`, made of words of so many bytes.
    pub fn read(from: &Sender, at: u64, word: usize) -> Result<Message> {
        let mut header = vec![0; 7 * word];
        read_memory(from.thread, at, &mut header)?;
        let field = |n: usize| number(&header[n * word..(n + 1) * word]);
        let half = |n: usize| number(&header[n * word..n * word + 4]);
        let name = match field(0) {
            0 => Vec::new(),
            at => address(from.thread, at, (half(1) as i32).min(socket::LONGEST as i32))?,
        };
        let (vectors, length) = (field(3) as usize, field(5) as usize);
        if vectors > VECTORS {
            return Err(Errno::EMSGSIZE);
        }
        if length > CONTROL {
            return Err(Errno::ENOBUFS);
        }
        let (mut list, mut control) = (vec![0; vectors * 2 * word], vec![0; if field(4) == 0 { 0 } else { length }]);
        read_memory(from.thread, field(2), &mut list)?;
        read_memory(from.thread, field(4), &mut control)?;
        let pairs = list.chunks_exact(2 * word).map(|pair| (number(&pair[..word]), number(&pair[word..])));
        let (control, descriptors) = rebuild(&control, word, |fd| duplicate(from, fd))?;
        Ok(Message { name, data: gather(from, &pairs.collect::<Vec<_>>())?, control, _descriptors: descriptors })
    }
}

/// An address, as connect(2) and sendto(2) read it.
pub(super) fn address(thread: Pid, at: u64, length: i32) -> Result<Vec<u8>> {
    let length = usize::try_from(length).ok().filter(|length| *length <= socket::LONGEST).ok_or(Errno::EINVAL)?;
    let mut address = vec![0; length];
    read_memory(thread, at, &mut address)?;
    Ok(address)
}

/// The bytes of all these places.
fn gather(from: &Sender, places: &[(u64, u64)]) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    for (at, length) in places {
        let room = MOST - data.len();
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        if length > room && !from.stream {
            return Err(Errno::EMSGSIZE);
        }
        let start = data.len();
        data.resize(start + length.min(room), 0);
        read_memory(from.thread, *at, &mut data[start..])?;
    }
    Ok(data)
}

/// One of the caller's, as SCM_RIGHTS names it.
fn duplicate(from: &Sender, fd: i32) -> Result<Duplicate> {
    if from.family == libc::AF_UNIX { Duplicate::of(from.owner, fd) } else { Err(Errno::EINVAL) }
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let (low, high) = (bytes.len().min(8), 8 - bytes.len().min(8));
    let place = if cfg!(target_endian = "little") { 0..low } else { high..8 };
    word[place].copy_from_slice(&bytes[..low]);
    u64::from_ne_bytes(word)
}

/// Control messages of words of so many bytes, as ours: each descriptor by the number of our duplicate. Credentials (SCM_CREDENTIALS) are
/// refused: nobody may say that he is another, and who sends is us.
pub fn rebuild<F: AsFd>(control: &[u8], word: usize, mut duplicate: impl FnMut(i32) -> Result<F>) -> Result<(Vec<u8>, Vec<F>)> {
    let (mut ours, mut descriptors, mut rest) = (Vec::new(), Vec::new(), control);
    let head = word + 8;
    // CMSG_FIRSTHDR, CMSG_NXTHDR: less than a header is the end.
    while rest.len() >= head {
        let length = number(&rest[..word]) as usize;
        let body = rest.get(head..length).ok_or(Errno::EINVAL)?;
        let [level, kind] = [word, word + 4].map(|at| number(&rest[at..at + 4]) as i32);
        let body = match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => return Err(Errno::EPERM),
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) if descriptors.len() + body.len() / 4 > DESCRIPTORS => {
                return Err(Errno::EINVAL);
            }
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                let named = body.chunks_exact(4).map(|fd| duplicate(number(fd) as i32)).collect::<Result<Vec<_>>>()?;
                let numbers = named.iter().flat_map(|fd| fd.as_fd().as_raw_fd().to_ne_bytes()).collect();
                descriptors.extend(named);
                numbers
            }
            _ => body.to_vec(),
        };
        ours.extend((size_of::<libc::cmsghdr>() + body.len()).to_ne_bytes());
        ours.extend([level, kind].iter().flat_map(|number| number.to_ne_bytes()));
        ours.extend(body);
        ours.resize(ours.len().next_multiple_of(size_of::<usize>()), 0);
        rest = rest.get(length.next_multiple_of(word)..).unwrap_or_default();
    }
    Ok((ours, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    fn one(word: usize, level: i32, kind: i32, body: &[u8]) -> Vec<u8> {
        let length = (word + 8 + body.len()) as u64;
        let mut text = if word == 8 { length.to_ne_bytes().to_vec() } else { (length as u32).to_ne_bytes().to_vec() };
        text.extend([level, kind].iter().flat_map(|number| number.to_ne_bytes()));
        text.extend(body);
        text.resize(text.len().next_multiple_of(word), 0);
        text
    }

    fn null(_: i32) -> Result<OwnedFd> {
        Ok(std::fs::File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn descriptors_get_our_numbers_and_the_rest_stays_in_words_of_either_size() {
        let rights = [7i32, 8].iter().flat_map(|fd| fd.to_ne_bytes()).collect::<Vec<_>>();
        let theirs =
            |word| [one(word, libc::IPPROTO_IP, 8, &[1, 2, 3]), one(word, libc::SOL_SOCKET, libc::SCM_RIGHTS, &rights)].concat();
        for word in [4, 8] {
            let (ours, fds) = rebuild(&theirs(word), word, null).unwrap();
            let numbers = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect::<Vec<_>>();
            let expected =
                [one(8, libc::IPPROTO_IP, 8, &[1, 2, 3]), one(8, libc::SOL_SOCKET, libc::SCM_RIGHTS, &numbers)].concat();
            assert_eq!((ours, fds.len()), (expected, 2));
        }
    }

    #[test]
    fn nobody_is_another_and_garbage_is_none() {
        let errno = |control: &[u8]| rebuild(control, 8, null).unwrap_err();
        assert_eq!(errno(&one(8, libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &[0; 12])), Errno::EPERM);
        assert_eq!(errno(&[255; 40]), Errno::EINVAL);
        assert_eq!(errno(&[0; 16]), Errno::EINVAL, "shorter than its own header");
        let many = one(8, libc::SOL_SOCKET, libc::SCM_RIGHTS, &[0; 4 * 254]);
        assert_eq!(errno(&many), Errno::EINVAL);
        let closed = rebuild(&one(8, libc::SOL_SOCKET, libc::SCM_RIGHTS, &[0; 4]), 8, |_| Err::<OwnedFd, _>(Errno::EBADF));
        assert_eq!(closed.unwrap_err(), Errno::EBADF);
        assert!(rebuild(&[0; 15], 8, null).unwrap().0.is_empty(), "less than a header");
    }

    #[test]
    fn a_header_is_read_from_another_process_s_memory_by_its_word() {
        let (name, parts) = (b"\x01\x00/x\0", [&b"one"[..], b"two"]);
        let list: Vec<u64> = parts.iter().flat_map(|part| [part.as_ptr() as u64, part.len() as u64]).collect();
        let mut header = [name.as_ptr() as u64, 5, list.as_ptr() as u64, 2, 0, 0, 0];
        let us = std::process::id() as Pid;
        let pidfd = crate::sys::pidfd::pidfd_open(nix::unistd::Pid::this()).unwrap();
        let from = Sender { thread: us, owner: std::os::fd::AsFd::as_fd(&pidfd), family: libc::AF_UNIX, stream: false };
        let read = |header: &[u64; 7]| Message::read(&from, header.as_ptr() as u64, 8);
        let message = read(&header).unwrap();
        assert_eq!((message.name.as_slice(), message.data.as_slice()), (&name[..], &b"onetwo"[..]));
        header[3] = 1025;
        assert_eq!(read(&header).err(), Some(Errno::EMSGSIZE));
        header[3..6].copy_from_slice(&[2, 1, 1 << 40]);
        assert_eq!(read(&header).err(), Some(Errno::ENOBUFS));
        assert_eq!(Message::read(&from, 8, 8).err(), Some(Errno::EFAULT));
    }
}
