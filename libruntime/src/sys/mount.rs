//! The mount API of Linux 5.2 and later, mount(2) only where it has no successor.

use super::{Errno, Result, again, done, owned};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// open_tree(2): make a copy of the mount instead of only referring to it.
pub const CLONE: u32 = 1;
/// Apply to the whole tree below (AT_RECURSIVE).
pub const RECURSIVE: u32 = 0x8000;

/// [`RECURSIVE`] or 0.
pub const fn recursive(yes: bool) -> u32 {
    if yes { RECURSIVE } else { 0 }
}

const CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;
const NOFOLLOW: u32 = libc::AT_SYMLINK_NOFOLLOW as u32;
const OPEN_TREE_ATTR: libc::c_long = 467;
const NOCWD: libc::c_int = libc::AT_FDCWD;

/// MOUNT_ATTR_* of mount_setattr(2).
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-ID bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The field that holds one of the three below (zero is relatime).
    pub const ATIME: u64 = 0x70;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// Access times always.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times on directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids are those that the user namespace in `userns` maps them to.
    pub const IDMAP: u64 = 0x10_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear, before `set`.
    pub clear: u64,
    /// MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0 to leave it.
    pub propagation: u64,
    /// A user namespace, for MOUNT_ATTR_IDMAP.
    pub userns: u64,
}

impl MountAttr {
    /// Whether a call with it would change nothing.
    pub fn is_empty(&self) -> bool {
        *self == MountAttr::default()
    }
}

/// open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at an absolute host path; `follow` speaks of its last component.
pub fn clone_path(path: &CStr, recursive: u32, follow: bool) -> Result<OwnedFd> {
    let flags = CLONE | CLOEXEC | recursive | if follow { 0 } else { NOFOLLOW };
    // SAFETY: `path` is NUL-terminated and outlives the call.
    again(|| owned(unsafe { libc::syscall(libc::SYS_open_tree, NOCWD, path.as_ptr(), flags) }))
}

/// open_tree(2) with OPEN_TREE_CLONE of what `at` refers to.
pub fn clone_fd(at: BorrowedFd, recursive: u32) -> Result<OwnedFd> {
    let flags = CLONE | CLOEXEC | EMPTY_PATH | recursive;
    // SAFETY: the empty string is NUL-terminated and static.
    again(|| owned(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) }))
}

/// open_tree_attr(2), Linux 6.15: [`clone_path`] and [`setattr`] in one call.
pub fn clone_path_attr(path: &CStr, recursive: u32, follow: bool, attr: &MountAttr) -> Result<OwnedFd> {
    let flags = CLONE | CLOEXEC | recursive | if follow { 0 } else { NOFOLLOW };
    let size = size_of::<MountAttr>();
    // SAFETY: `path` is NUL-terminated, `attr` is a live struct mount_attr of the size given.
    again(|| owned(unsafe { libc::syscall(OPEN_TREE_ATTR, NOCWD, path.as_ptr(), flags, ptr::from_ref(attr), size) }))
}

/// Whether there is open_tree_attr(2): this kernel may lack it, and an outer filter may not know it yet.
pub fn has_open_tree_attr() -> bool {
    // SAFETY: a null path can only make the call fail: EFAULT where it exists, ENOSYS (or a filter's EPERM) where it does not.
    let r = unsafe { libc::syscall(OPEN_TREE_ATTR, -1, ptr::null::<u8>(), 0, ptr::null::<u8>(), 0) };
    r != -1 || !matches!(Errno::last(), Errno::ENOSYS | Errno::EPERM)
}

/// mount_setattr(2) on what `at` refers to; `recursive` is 0 or [`RECURSIVE`].
pub fn setattr(at: BorrowedFd, recursive: u32, attr: &MountAttr) -> Result<()> {
    let (flags, size) = (EMPTY_PATH | recursive, size_of::<MountAttr>());
    // SAFETY: the string is static; `attr` is a live struct mount_attr of the size given.
    done(unsafe { libc::syscall(libc::SYS_mount_setattr, at.as_raw_fd(), c"".as_ptr(), flags, ptr::from_ref(attr), size) })
}

/// fstatvfs(3): those of [`attr`] that the mount has, but for how it treats access times. `ro` may be the file system's own.
pub fn attributes(at: BorrowedFd) -> Result<u64> {
    const NOSYMFOLLOW: libc::c_ulong = 0x2000;
    // SAFETY: `struct statvfs` is plain data, valid when zeroed.
    let mut st: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `st` is a live `struct statvfs` that is filled.
    done(unsafe { libc::fstatvfs(at.as_raw_fd(), &raw mut st) }.into())?;
    let table = [
        (libc::ST_RDONLY, attr::RDONLY),
        (libc::ST_NOSUID, attr::NOSUID),
        (libc::ST_NODEV, attr::NODEV),
        (libc::ST_NOEXEC, attr::NOEXEC),
        (libc::ST_NODIRATIME, attr::NODIRATIME),
        (NOSYMFOLLOW, attr::NOSYMFOLLOW),
    ];
    Ok(table.iter().filter(|(bit, _)| st.f_flag & bit != 0).fold(0, |all, (_, attr)| all | attr))
}

/// mount_setattr(2) on `/`: sets its propagation; `recursive` is 0 or [`RECURSIVE`], for all below it too.
pub fn set_propagation(recursive: u32, propagation: u64) -> Result<()> {
    let attr = MountAttr { propagation, ..MountAttr::default() };
    let size = size_of::<MountAttr>();
    // SAFETY: as in `setattr`.
    done(unsafe { libc::syscall(libc::SYS_mount_setattr, NOCWD, c"/".as_ptr(), recursive, ptr::from_ref(&attr), size) })
}

/// fspick(2): a context in which the file system that `at` is on is configured anew.
pub fn fspick(at: BorrowedFd) -> Result<OwnedFd> {
    // SAFETY: the empty string is static and NUL-terminated.
    owned(unsafe { libc::syscall(libc::SYS_fspick, at.as_raw_fd(), c"".as_ptr(), 1 | 8) })
}

/// fsconfig(2), FSCONFIG_CMD_RECONFIGURE: applies what was configured after [`fspick`].
pub fn fsreconfigure(fs: BorrowedFd) -> Result<()> {
    // SAFETY: the command takes no pointers.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), 7, ptr::null::<u8>(), ptr::null::<u8>(), 0) })
}

/// mount(2) of a new file system over the current directory: the only way for a parameter of more than 255 bytes (fsconfig(2)).
pub fn mount_over_cwd(source: &CStr, fstype: &CStr, data: &CStr) -> Result<()> {
    // SAFETY: all four strings are NUL-terminated and outlive the call.
    done(unsafe { libc::mount(source.as_ptr(), c".".as_ptr(), fstype.as_ptr(), 0, data.as_ptr().cast()) }.into())
}

const MOVE_F_EMPTY_PATH: u32 = 0x4;
const MOVE_T_EMPTY_PATH: u32 = 0x40;

/// move_mount(2): attaches `mount` over what `target` refers to.
pub fn attach(mount: BorrowedFd, target: BorrowedFd) -> Result<()> {
    let (from, to) = (mount.as_raw_fd(), target.as_raw_fd());
    let flags = MOVE_F_EMPTY_PATH | MOVE_T_EMPTY_PATH;
    // SAFETY: both strings are static and NUL-terminated.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) })
}

/// move_mount(2): attaches `mount` over the entry `name` of `dir`. `name` is one component, and is not followed when it is a link.
pub fn attach_at(mount: BorrowedFd, dir: BorrowedFd, name: &CStr) -> Result<()> {
    let (from, to) = (mount.as_raw_fd(), dir.as_raw_fd());
    // SAFETY: both strings are NUL-terminated and outlive the call.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, name.as_ptr(), MOVE_F_EMPTY_PATH) })
}

/// move_mount(2): attaches `mount` over `/`. Lookups of the caller still start below it, until pivot_root(2).
pub fn attach_root(mount: BorrowedFd) -> Result<()> {
    let from = mount.as_raw_fd();
    // SAFETY: both strings are static and NUL-terminated.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), NOCWD, c"/".as_ptr(), MOVE_F_EMPTY_PATH) })
}

/// fsopen(2): a context in which a new file system of this type is configured.
pub fn fsopen(fstype: &CStr) -> Result<OwnedFd> {
    // SAFETY: `fstype` is NUL-terminated and outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), 1) })
}

/// fsconfig(2), FSCONFIG_SET_STRING or, without a value, FSCONFIG_SET_FLAG.
pub fn fsconfig(fs: BorrowedFd, key: &CStr, value: Option<&CStr>) -> Result<()> {
    let (command, value) = value.map_or((0, ptr::null()), |v| (1, v.as_ptr()));
    // SAFETY: both strings are NUL-terminated and outlive the call.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key.as_ptr(), value, 0) })
}

/// fsconfig(2), FSCONFIG_CMD_CREATE: makes the superblock.
pub fn fscreate(fs: BorrowedFd) -> Result<()> {
    // SAFETY: the command takes no pointers.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), 6, ptr::null::<u8>(), ptr::null::<u8>(), 0) })
}

/// fsmount(2): a detached mount of the new file system, with these attributes.
pub fn fsmount(fs: BorrowedFd, attr: u64) -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), 1, attr) })
}

/// pivot_root(".", "."), the idiom of pivot_root(2): the current directory becomes the root, and the old root is stacked over it.
pub fn pivot_to_cwd() -> Result<()> {
    // SAFETY: the strings are static and NUL-terminated.
    done(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })
}

/// chroot(2) into the current directory.
pub fn chroot_to_cwd() -> Result<()> {
    // SAFETY: the string is static and NUL-terminated.
    done(unsafe { libc::chroot(c".".as_ptr()) }.into())
}

/// umount2(2) with MNT_DETACH of what is stacked highest over the current directory.
pub fn detach_over_cwd() -> Result<()> {
    // SAFETY: the string is static and NUL-terminated.
    done(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())
}
