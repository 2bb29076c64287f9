//! The few questions and requests of rtnetlink(7) that moving a network device takes.

use crate::sys::{Errno, Result, netlink};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A conversation about one network namespace.
pub(super) struct Route(OwnedFd);

/// A device as it is there.
pub(super) struct Device {
    pub index: u32,
    pub name: Vec<u8>,
    pub up: bool,
}

/// An address of a device, ready to be given to another: `struct ifaddrmsg` and its attributes.
pub struct Address(Vec<u8>);

const SETLINK: u16 = 19;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const CREATE: u16 = 0x400 | 0x200;
const DUMP: u16 = 0x300;

const IFNAME: u16 = 3;
const NET_NS_FD: u16 = 28;
const ADDR_FLAGS: u16 = 8;
/// Address, local, broadcast, flags; the others (label, lifetime) are of the old name or the kernel's to say.
const KEPT: [u16; 4] = [1, 2, 4, ADDR_FLAGS];
const PERMANENT: u32 = 0x80;
const UP: u32 = 1;

impl Route {
    /// About the network namespace of the caller.
    pub fn open() -> Result<Self> {
        netlink::open().map(Route)
    }

    /// Every device.
    pub fn devices(&self) -> Result<Vec<Device>> {
        let device = |body: &[u8]| {
            let name = attributes(body.get(16..)?).find(|(kind, _)| *kind == IFNAME)?.1;
            let name = name.strip_suffix(&[0]).unwrap_or(name).to_vec();
            Some(Device { index: word(body, 4)?, name, up: word(body, 8)? & UP != 0 })
        };
        Ok(self.ask(GETLINK, DUMP, &[0; 16])?.iter().filter_map(|body| device(body)).collect())
    }

    /// config-linux.md, "Network Devices": the permanent addresses of global scope, of any family.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let ours = |body: &&Vec<u8>| word(body, 4) == Some(index) && body.get(3) == Some(&0) && flags(body) & PERMANENT != 0;
        Ok(self.ask(GETADDR, DUMP, &[0; 8])?.iter().filter(ours).filter_map(|body| Address::of(body)).collect())
    }

    /// Into the network namespace, under this name.
    pub fn send_away(&self, index: u32, namespace: BorrowedFd, name: &[u8]) -> Result<()> {
        let mut body = link(index, 0);
        attribute(&mut body, NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        attribute(&mut body, IFNAME, &[name, &[0]].concat());
        self.ask(SETLINK, ACK, &body).map(drop)
    }

    /// Gives a device an address that another had.
    pub fn add(&self, index: u32, address: &Address) -> Result<()> {
        let mut body = address.0.clone();
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        self.ask(NEWADDR, ACK | CREATE, &body).map(drop)
    }

    /// Sets a device up.
    pub fn up(&self, index: u32) -> Result<()> {
        self.ask(SETLINK, ACK, &link(index, UP)).map(drop)
    }

    /// The bodies of what the kernel answers.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>> {
        let len = (16 + body.len()) as u32;
        let header = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &(flags | REQUEST).to_ne_bytes(), &[0; 8]].concat();
        netlink::send(self.0.as_fd(), &[&header, body].concat())?;
        let (mut bodies, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let filled = netlink::receive(self.0.as_fd(), &mut buffer)?;
            let mut rest = buffer.get(..filled).ok_or(Errno::EIO)?;
            while let Some((kind, body, next)) = message(rest) {
                match kind {
                    DONE => return Ok(bodies),
                    ERROR => match word(body, 0).map_or(-libc::EIO, |errno| errno as i32) {
                        0 => return Ok(bodies),
                        errno => return Err(Errno::from_raw(-errno)),
                    },
                    _ => bodies.push(body.to_vec()),
                }
                rest = next;
            }
        }
    }
}

/// A socket of [`Route::open`], made elsewhere.
impl From<OwnedFd> for Route {
    fn from(socket: OwnedFd) -> Self {
        Route(socket)
    }
}

impl AsFd for Route {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Address {
    /// As the kernel tells it, less what is of the device or the kernel's to say.
    pub fn of(body: &[u8]) -> Option<Self> {
        let mut copy = body.get(..8)?.to_vec();
        attributes(body.get(8..)?)
            .filter(|(kind, _)| KEPT.contains(kind))
            .for_each(|(kind, data)| attribute(&mut copy, kind, data));
        Some(Address(copy))
    }
}

/// IFA_FLAGS has all of them, the field in front only the first eight.
fn flags(address: &[u8]) -> u32 {
    let attribute = attributes(address.get(8..).unwrap_or_default()).find(|(kind, _)| *kind == ADDR_FLAGS);
    let short = address.get(2).copied().map_or(0, u32::from);
    attribute.and_then(|(_, data)| word(data, 0)).unwrap_or(short)
}

/// `struct ifinfomsg`, with these flags set and no other touched.
fn link(index: u32, flags: u32) -> Vec<u8> {
    [&[0; 4][..], &index.to_ne_bytes(), &flags.to_ne_bytes(), &flags.to_ne_bytes()].concat()
}

/// `struct rtattr` and its data, padded to four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, data: &[u8]) {
    body.extend((4 + data.len() as u16).to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
}

pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (len, kind) = (half(rest, 0)?, half(rest, 2)?);
        let data = rest.get(4..usize::from(len))?;
        rest = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
        Some((kind, data))
    })
}

/// The first of several messages (`struct nlmsghdr`): its kind, its body, and the rest.
pub fn message(messages: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = word(messages, 0)? as usize;
    let rest = messages.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((half(messages, 4)?, messages.get(16..len)?, rest))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written_and_what_is_cut_off_is_none() {
        let mut body = Vec::new();
        attribute(&mut body, IFNAME, b"v0\0");
        attribute(&mut body, NET_NS_FD, &7u32.to_ne_bytes());
        let read: Vec<_> = attributes(&body).collect();
        assert_eq!(read, [(IFNAME, &b"v0\0"[..]), (NET_NS_FD, &7u32.to_ne_bytes()[..])]);
        assert_eq!(attributes(&body[..6]).count(), 0);
    }

    #[test]
    fn the_loopback_device_is_there_and_its_addresses_are_not_global() {
        let route = Route::open().unwrap();
        let devices = route.devices().unwrap();
        let lo = devices.iter().find(|one| one.name == b"lo").unwrap();
        assert!(route.addresses(lo.index).unwrap().is_empty());
    }
}
