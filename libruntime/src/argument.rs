//! The kernel's numbers for arguments of socket calls, as filters compare them: those of policies, and those of the broker's.

/// The lower half of an argument, all that the kernel looks at of an `int`.
pub const INT: u64 = 0xffff_ffff;
/// Of socket(2), the first argument.
pub const AF_UNIX: u64 = 1;
/// See [`AF_UNIX`].
pub const AF_INET: u64 = 2;
/// See [`AF_UNIX`].
pub const AF_NETLINK: u64 = 16;
/// See [`AF_UNIX`].
pub const AF_VSOCK: u64 = 40;
/// Of the second argument; the rest are SOCK_CLOEXEC and SOCK_NONBLOCK.
pub const SOCK_MASK: u64 = 0xf;
/// See [`SOCK_MASK`].
pub const SOCK_DGRAM: u64 = 2;
/// Of AF_UNIX the same as [`SOCK_DGRAM`].
pub const SOCK_RAW: u64 = 3;
/// A flag of sendto(2), sendmsg(2) and sendmmsg(2).
pub const MSG_FASTOPEN: u64 = 0x2000_0000;
