//! landlock(7). Not the crate `landlock`: rules are added after the clone, where nothing may allocate.

use super::{Result, check, done, owned};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

const VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;
const NET_PORT: u32 = 2;

/// `struct landlock_ruleset_attr` as of ABI 6: what a ruleset denies unless a rule permits it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handled {
    /// LANDLOCK_ACCESS_FS_*.
    pub files: u64,
    /// LANDLOCK_ACCESS_NET_*.
    pub network: u64,
    /// LANDLOCK_SCOPE_*.
    pub scoped: u64,
}

impl Handled {
    /// An older kernel takes a shorter one (E2BIG): what ends in zeros need not be passed.
    fn size(&self) -> usize {
        match (self.network, self.scoped) {
            (0, 0) => 8,
            (_, 0) => 16,
            _ => 24,
        }
    }
}

/// The kernel's version of the interface.
///
/// # Errors
/// ENOSYS or EOPNOTSUPP: there is none, or it is not enabled.
pub fn version() -> Result<u32> {
    // SAFETY: with this flag the pointer must be null and the size 0.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<Handled>(), 0, VERSION) };
    check(version).map(|version| version as u32)
}

/// landlock_create_ruleset(2).
pub fn create(handled: &Handled) -> Result<OwnedFd> {
    // SAFETY: `handled` is live and at least of the size given.
    owned(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::from_ref(handled), handled.size(), 0) })
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    parent: libc::c_int,
}

/// landlock_add_rule(2): `access` to a file, or to all below a directory.
///
/// # Errors
/// EINVAL: a right of directories to what is none.
pub fn allow_beneath(ruleset: BorrowedFd, parent: BorrowedFd, access: u64) -> Result<()> {
    let rule = PathBeneath { access, parent: parent.as_raw_fd() };
    add(ruleset, PATH_BENEATH, (&raw const rule).cast())
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    access: u64,
    port: u64,
}

/// landlock_add_rule(2): `access` to a TCP port, of any address.
pub fn allow_port(ruleset: BorrowedFd, port: u16, access: u64) -> Result<()> {
    let rule = NetPort { access, port: port.into() };
    add(ruleset, NET_PORT, (&raw const rule).cast())
}

fn add(ruleset: BorrowedFd, kind: u32, rule: *const libc::c_void) -> Result<()> {
    // SAFETY: both callers pass a live rule of the kind that they name.
    done(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), kind, rule, 0) })
}

/// landlock_restrict_self(2) of the calling thread; needs no_new_privs, or CAP_SYS_ADMIN.
///
/// # Errors
/// E2BIG: sixteen rulesets are in force already.
pub fn restrict_self(ruleset: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
}
