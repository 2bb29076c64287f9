//! Files and directories, always by descriptor and never through a link that was not meant.

use super::{Errno, Result, again, check, done, owned};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

/// How openat2(2) treats what it meets on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    /// RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: `dir` is the root, for `/`, `..` and every symbolic link.
    InRoot,
    /// The same, and a symbolic link anywhere is ELOOP.
    NoLinks,
    /// A path of the host, on which a symbolic link anywhere is ELOOP.
    HostNoLinks,
    /// A path as execve(2) takes it; only a link of /proc that is no path (RESOLVE_NO_MAGICLINKS) is ELOOP.
    NoMagicLinks,
    /// The same, and what leads out of `dir`, or names a path from the root, is EXDEV.
    Beneath,
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// How often a path is tried that openat2(2) could not follow for a rename or a mount anywhere on the machine (EAGAIN).
const TRIES: usize = 128;

/// openat2(2) of `path` below `dir`, close-on-exec.
pub fn open_in(dir: BorrowedFd, path: &CStr, flags: i32, resolve: Resolve) -> Result<OwnedFd> {
    let resolve = match resolve {
        Resolve::InRoot => 0x10 | 0x02,
        Resolve::NoLinks => 0x10 | 0x02 | 0x04,
        Resolve::HostNoLinks => 0x02 | 0x04,
        Resolve::NoMagicLinks => 0x02,
        Resolve::Beneath => 0x08 | 0x02,
    };
    let how = OpenHow { flags: (flags | libc::O_CLOEXEC) as u64, mode: 0, resolve };
    let (dir, path, how, size) = (dir.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<OpenHow>());
    // SAFETY: `path` is NUL-terminated; `how` is a live struct open_how of the size given.
    let once = || owned(unsafe { libc::syscall(libc::SYS_openat2, dir, path, how, size) });
    let once = || again(once);
    (1..TRIES).map(|_| once()).find(|opened| !matches!(opened, Err(super::Errno::EAGAIN))).unwrap_or_else(once)
}

/// The current directory, as `dir` of the calls here (AT_FDCWD).
pub fn cwd() -> BorrowedFd<'static> {
    // SAFETY: AT_FDCWD is a constant that no close can invalidate.
    unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) }
}

/// openat(2), close-on-exec.
pub fn open_at(dir: BorrowedFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    again(|| owned(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC) }.into()))
}

/// mkdirat(2).
pub fn mkdir_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    done(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }.into())
}

/// unlinkat(2) with AT_REMOVEDIR.
pub fn rmdir_at(dir: BorrowedFd, name: &CStr) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    done(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) }.into())
}

/// symlinkat(2): `name` below `dir` says `target`.
pub fn symlink_at(target: &CStr, dir: BorrowedFd, name: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated and outlive the call.
    done(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }.into())
}

/// mknodat(2); with `S_IFREG` an empty file.
pub fn mknod_at(dir: BorrowedFd, name: &CStr, mode: u32, device: u64) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    done(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) }.into())
}

/// fchownat(2) of an entry, which is not followed when it is a link.
pub fn chown_at(dir: BorrowedFd, name: &CStr, (uid, gid): (u32, u32)) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    done(unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) }.into())
}

/// fchown(2): another user, the same group.
pub fn give(file: BorrowedFd, uid: u32) -> Result<()> {
    // SAFETY: no pointers; a group of -1 is left as it is.
    done(unsafe { libc::fchown(file.as_raw_fd(), uid, libc::gid_t::MAX) }.into())
}

/// fchmodat(2), which follows links: the entry must be none.
pub fn chmod_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    done(unsafe { libc::fchmodat(dir.as_raw_fd(), name.as_ptr(), mode, 0) }.into())
}

/// openat(2) of a file that must not be there yet, for writing, close-on-exec.
pub fn create_at(dir: BorrowedFd, name: &CStr, mode: u32) -> Result<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    again(|| owned(unsafe { libc::openat(dir.as_raw_fd(), name.as_ptr(), flags, mode) }.into()))
}

/// sendfile(2) from where `from` stands, `most` bytes; how many it were, 0 at the end.
pub fn send(to: BorrowedFd, from: BorrowedFd, most: u64) -> Result<u64> {
    // SAFETY: a null offset means the file's own position.
    let once = || unsafe { libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), ptr::null_mut(), most.min(1 << 20) as usize) };
    again(|| check(once() as libc::c_long)).map(|n| n as u64)
}

/// lseek(2), SEEK_DATA and SEEK_HOLE: the next bytes at or behind `at` that are no hole; none behind the last.
pub fn extent(fd: BorrowedFd, at: u64) -> Result<Option<std::ops::Range<u64>>> {
    match lseek(fd, at, libc::SEEK_DATA) {
        Err(Errno::ENXIO) => Ok(None),
        begin => Ok(Some(begin?..lseek(fd, begin?, libc::SEEK_HOLE)?)),
    }
}

/// ftruncate(2): what is behind the end of the file is a hole.
pub fn set_size(fd: BorrowedFd, size: u64) -> Result<()> {
    // SAFETY: takes no pointers.
    again(|| done(unsafe { libc::ftruncate(fd.as_raw_fd(), size as i64) }.into()))
}

/// getdents64(2): the next entries as `struct linux_dirent64`; how much of `buffer` they fill, 0 at the end.
pub fn entries(dir: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    let (at, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the buffer is live, writable and as long as said.
    let once = || unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), at, room) };
    again(|| check(once())).map(|n| n as usize)
}

/// readlinkat(2) of the link that `link` refers to (O_PATH | O_NOFOLLOW); how much of `buffer` it fills.
pub fn read_link(link: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the empty string is static; the buffer is live, writable and as long as said.
    let n = unsafe { libc::readlinkat(link.as_raw_fd(), c"".as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(n as libc::c_long).map(|n| n as usize)
}

/// readlinkat(2) of the link `name` below `dir`; how much of `buffer` it fills. EINVAL: it is no link.
pub fn read_link_at(dir: BorrowedFd, name: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: `name` is NUL-terminated; the buffer is live, writable and as long as said.
    let n = unsafe { libc::readlinkat(dir.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(n as libc::c_long).map(|n| n as usize)
}

/// What stat(2) says of a file, as far as anybody here asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits.
    pub mode: u32,
    /// Device of the file system and inode on it: the file's identity.
    pub id: (u64, u64),
    /// Device, when the file is one.
    pub device: u64,
    /// User and group.
    pub owner: (u32, u32),
    /// Names it has; 0 once it has been removed.
    pub links: u64,
    /// Bytes.
    pub size: u64,
}

impl Stat {
    /// Whether it is this character device (makedev(3)).
    pub fn is_device(&self, device: u64) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFCHR && self.device == device
    }
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }
    /// Whether it is a socket's name.
    pub fn is_socket(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFSOCK
    }
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

/// fstat(2).
pub fn stat(fd: BorrowedFd) -> Result<Stat> {
    // SAFETY: `struct stat` is plain data, valid when zeroed.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `st` is a live `struct stat` that the kernel fills.
    done(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut st) }.into())?;
    Ok(Stat {
        mode: st.st_mode,
        id: (st.st_dev, st.st_ino),
        device: st.st_rdev,
        owner: (st.st_uid, st.st_gid),
        links: st.st_nlink as u64,
        size: st.st_size as u64,
    })
}

/// fstatvfs(3): whether nothing can be written through this mount.
pub fn is_read_only(fd: BorrowedFd) -> Result<bool> {
    // SAFETY: `struct statvfs` is plain data, valid when zeroed.
    let mut st: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `st` is a live `struct statvfs` that is filled.
    done(unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut st) }.into())?;
    Ok(st.f_flag & libc::ST_RDONLY != 0)
}

/// fstatfs(2): the magic number of the file system, e.g. `DEVPTS_SUPER_MAGIC`.
pub fn filesystem(fd: BorrowedFd) -> Result<i64> {
    // SAFETY: `struct statfs` is plain data, valid when zeroed.
    let mut st: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `st` is a live `struct statfs` that the kernel fills.
    done(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut st) }.into())?;
    Ok(st.f_type)
}

/// faccessat(2) with AT_EACCESS: whether execve(2) of `path` would be permitted.
pub fn executable(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) }.into())
}

/// getcwd(2): whether the current directory lies below the root. One that was reached through a descriptor of another mount
/// namespace does not (CVE-2024-21626).
pub fn cwd_is_reachable() -> Result<bool> {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer is live, writable and as long as said. The system call, as getcwd(3) hides what we ask for.
    check(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    Ok(path[0] == b'/')
}

/// flock(2), e.g. `LOCK_SH`, `LOCK_EX | LOCK_NB`.
pub fn flock(fd: BorrowedFd, operation: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    again(|| done(unsafe { libc::flock(fd.as_raw_fd(), operation) }.into()))
}

/// write(2), all of it.
pub fn write_all(fd: BorrowedFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[write_some(fd, bytes)?..];
    }
    Ok(())
}

/// As [`write_all`], to a socket: EPIPE when nobody listens any more, without the signal that would end us.
pub fn tell(socket: BorrowedFd, bytes: &[u8]) -> Result<()> {
    if send_some(socket, bytes)? == bytes.len() { Ok(()) } else { Err(super::Errno::EIO) }
}

/// send(2), MSG_NOSIGNAL: how many bytes went.
fn send_some(socket: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the buffer is live and as long as said.
    let once = || unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// One write(2), restarted when interrupted: what the files of /proc need.
pub fn write_once(fd: BorrowedFd, bytes: &[u8]) -> Result<()> {
    if write_some(fd, bytes)? == bytes.len() { Ok(()) } else { Err(super::Errno::EIO) }
}

/// write(2), restarted when interrupted: how many bytes went.
pub fn write_some(fd: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the buffer is live and as long as said.
    let once = || unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// read(2), restarted when interrupted; 0 is end of file.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> Result<usize> {
    let (at, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is live, writable and as long as said.
    let once = || unsafe { libc::read(fd.as_raw_fd(), at, room) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// pread(2): what the file has from `offset` on.
pub fn read_at(fd: BorrowedFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| super::Errno::EINVAL)?;
    let (at, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the buffer is live, writable and as long as said.
    let once = || unsafe { libc::pread(fd.as_raw_fd(), at, room, offset) };
    again(|| check(once() as libc::c_long)).map(|n| n as usize)
}

/// fchdir(2).
pub fn fchdir(fd: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::fchdir(fd.as_raw_fd()) }.into())
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { libc::chdir(path.as_ptr()) }.into())
}

/// pipe2(2), close-on-exec: (read end, write end).
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors that the kernel writes.
    done(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((owned(fds[0].into())?, owned(fds[1].into())?))
}

/// memfd_create(2), close-on-exec: a file that has no name.
pub fn memory(name: &CStr) -> Result<OwnedFd> {
    // SAFETY: `name` is NUL-terminated and outlives the call.
    owned(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) }.into())
}

/// memfd_create(2) of a program, close-on-exec, which [`seal`] makes one that nobody can change.
pub fn sealable(name: &CStr) -> Result<OwnedFd> {
    let create = |flags| {
        // SAFETY: `name` is NUL-terminated and outlives the call.
        owned(unsafe { libc::memfd_create(name.as_ptr(), flags | libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) }.into())
    };
    // Before Linux 6.3 there is no such flag, and every one can be executed.
    create(libc::MFD_EXEC).or_else(|errno| if errno == Errno::EINVAL { create(0) } else { Err(errno) })
}

/// fcntl(2), F_ADD_SEALS: no byte more or less or another, nor another seal.
pub fn seal(memory: BorrowedFd) -> Result<()> {
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no pointers.
    done(unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into())
}

/// socketpair(2), AF_UNIX stream, close-on-exec.
pub fn socketpair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for the two descriptors that the kernel writes.
    done(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    Ok((owned(fds[0].into())?, owned(fds[1].into())?))
}

/// close_range(2) with CLOSE_RANGE_CLOEXEC: nothing from `first` on crosses execve(2).
pub fn cloexec_from(first: u32) -> Result<()> {
    // SAFETY: takes no pointers; only sets a flag.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 4) })
}

/// fcntl(2), F_SETFD: the descriptor of that number, if there is one, does not cross execve(2).
pub fn cloexec(fd: i32) -> Result<()> {
    // SAFETY: takes no pointers; only sets a flag.
    match done(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into()) {
        Err(super::Errno::EBADF) => Ok(()),
        done => done,
    }
}

/// fcntl(2), F_SETFD: it crosses execve(2). For a process that is about to execute.
pub fn keep(fd: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) }.into())
}

/// fcntl(2), F_DUPFD_CLOEXEC.
pub fn duplicate(fd: BorrowedFd) -> Result<OwnedFd> {
    // The standard library makes the call and says what it returned; every error of a call has a number.
    fd.try_clone_to_owned().map_err(|e| super::Errno::from_raw(e.raw_os_error().unwrap_or(libc::EMFILE)))
}

/// close(2) of a copied process's descriptor, whose owner is a value that this process never uses or drops again.
pub fn close_copy(fd: BorrowedFd) -> Result<()> {
    // SAFETY: see above; the caller is the child of a clone that leaves by `_exit` or execve(2).
    done(unsafe { libc::close(fd.as_raw_fd()) }.into())
}

/// close_range(2): every descriptor from `first` on is closed. Only for a process that owns none of them: one that has just begun.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: the caller owns none of these descriptors, so no value refers to them.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })
}

/// close_range(2): everything but `keep` is closed. Only for a process that owns nothing else, as it invalidates every other
/// descriptor: the keeper, the broker and init, which leave by `_exit`.
pub fn close_all_but(mut keep: impl AsMut<[RawFd]>) -> Result<()> {
    let keep = keep.as_mut();
    keep.sort_unstable();
    let mut first = 0;
    for fd in keep.iter().copied().filter(|fd| *fd >= 0) {
        close_range(first, fd - 1)?;
        first = fd + 1;
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<()> {
    if last < first {
        return Ok(());
    }
    // SAFETY: see `close_all_but`, the only caller: nobody uses these descriptors any more.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// dup2(2) of `fd` onto standard input, output and error.
pub fn become_stdio(fd: BorrowedFd) -> Result<()> {
    (0..=2).try_for_each(|number| become_stdio_number(fd, number))
}

/// dup2(2) onto one of standard input, output and error.
pub fn become_stdio_number(fd: BorrowedFd, number: i32) -> Result<()> {
    // SAFETY: takes no pointers; 0 to 2 are not owned by any Rust value.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number.clamp(0, 2)) }.into()).map(drop)
}

/// dup3(2): `slot` becomes what `fd` is, close-on-exec; what it was is closed.
pub fn put_into(slot: BorrowedFd, fd: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers; the number keeps its owner.
    check(unsafe { libc::dup3(fd.as_raw_fd(), slot.as_raw_fd(), libc::O_CLOEXEC) }.into()).map(drop)
}

/// lseek(2) to so many bytes from the beginning.
pub fn seek(fd: BorrowedFd, at: u64) -> Result<()> {
    lseek(fd, at, libc::SEEK_SET).map(drop)
}

fn lseek(fd: BorrowedFd, at: u64, whence: i32) -> Result<u64> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::lseek(fd.as_raw_fd(), at as i64, whence) }).map(|at| at as u64)
}

/// A control message that carries descriptors (cmsg(3)); aligned as `struct cmsghdr` asks.
#[repr(C)]
struct Rights<const N: usize> {
    header: libc::cmsghdr,
    fds: [RawFd; N],
}

impl<const N: usize> Rights<N> {
    const LENGTH: usize = size_of::<libc::cmsghdr>() + size_of::<[RawFd; N]>();

    fn new(fds: [RawFd; N]) -> Self {
        let header = libc::cmsghdr { cmsg_len: Self::LENGTH as _, cmsg_level: libc::SOL_SOCKET, cmsg_type: libc::SCM_RIGHTS };
        Rights { header, fds }
    }
}

/// Sends one byte and one descriptor (SCM_RIGHTS, unix(7)).
pub fn send_fd(socket: BorrowedFd, fd: BorrowedFd, byte: u8) -> Result<()> {
    send_with_fds(socket, [fd], &[byte])
}

/// Sends all of `bytes`, and descriptors with the first of them; EPIPE without the signal.
pub fn send_with_fds<const N: usize>(socket: BorrowedFd, fds: [BorrowedFd; N], bytes: &[u8]) -> Result<()> {
    let mut control = Rights::new(fds.map(|fd| fd.as_raw_fd()));
    let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let message = message(&mut data, &mut control);
    // SAFETY: `message` refers to live buffers of the lengths given; sendmsg(2) only reads them.
    let once = || unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    let sent = again(|| check(once() as libc::c_long))?;
    let mut rest = &bytes[sent as usize..];
    while !rest.is_empty() {
        rest = &rest[send_some(socket, rest)?..];
    }
    Ok(())
}

/// shutdown(2) of both directions: the other end reads end of file, however many copies of this one are open.
pub fn hang_up(socket: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) }.into())
}

/// Receives one byte, and the descriptor that came with it; `None` at end of file.
///
/// # Errors
/// As [`receive_with_fds`].
pub fn receive(socket: BorrowedFd) -> Result<Option<(u8, Option<OwnedFd>)>> {
    Ok(receive_with_fds(socket)?.map(|(byte, [fd])| (byte, fd)))
}

/// The descriptor that comes with this byte; `None` at end of file.
///
/// # Errors
/// EPROTO: something else has come. Else as [`receive_with_fds`].
pub fn receive_fd(socket: BorrowedFd, byte: u8) -> Result<Option<OwnedFd>> {
    match receive(socket)? {
        Some((said, Some(fd))) if said == byte => Ok(Some(fd)),
        Some(_) => Err(super::Errno::EPROTO),
        None => Ok(None),
    }
}

/// Receives one byte, and up to N descriptors that came with it; `None` at end of file.
///
/// # Errors
/// EMFILE: a descriptor came, and there was no number or no room for it (unix(7), MSG_CTRUNC); it is lost.
pub fn receive_with_fds<const N: usize>(socket: BorrowedFd) -> Result<Option<(u8, [Option<OwnedFd>; N])>> {
    let mut byte = 0u8;
    let (mut control, mut data) = (Rights::new([-1; N]), libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 });
    let mut message = message(&mut data, &mut control);
    // SAFETY: `message` refers to live, writable buffers of the lengths given.
    let mut once = || unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let n = again(|| check(once() as libc::c_long))?;
    let came = message.msg_controllen > size_of::<libc::cmsghdr>() as _ && control.header.cmsg_type == libc::SCM_RIGHTS;
    let bytes = if came { control.header.cmsg_len - size_of::<libc::cmsghdr>() } else { 0 };
    let mut fds = [const { None }; N];
    for (fd, number) in fds.iter_mut().zip(control.fds).take(bytes / size_of::<RawFd>()) {
        *fd = Some(owned(number.into())?);
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(super::Errno::EMFILE);
    }
    Ok((n == 1).then_some((byte, fds)))
}

fn message<const N: usize>(data: &mut libc::iovec, control: &mut Rights<N>) -> libc::msghdr {
    // SAFETY: `struct msghdr` is plain data, valid when zeroed.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = data;
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(control).cast();
    message.msg_controllen = Rights::<N>::LENGTH as _;
    message
}

/// poll(2) for input or hang-up on each descriptor; which of them are ready.
pub fn poll<const N: usize>(fds: [Option<BorrowedFd>; N]) -> Result<[bool; N]> {
    poll_within(fds, -1)
}

/// The same, for about so many milliseconds; a signal makes them begin again.
pub fn poll_within<const N: usize>(fds: [Option<BorrowedFd>; N], milliseconds: i32) -> Result<[bool; N]> {
    poll_for_each(fds.map(|fd| fd.map(|fd| (fd, Ready::In))), milliseconds)
}

/// What is waited for on a descriptor; its end or an error of it counts for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// Something to read.
    In,
    /// Room to write.
    Out,
    /// That the other end of a socket has been closed, and nothing else.
    HungUp,
    /// That it has been closed in both directions: not that it only says no more.
    Gone,
}

/// poll(2) for what each descriptor is to be ready for, for about so many milliseconds (-1: without end).
pub fn poll_for_each<const N: usize>(fds: [Option<(BorrowedFd, Ready)>; N], milliseconds: i32) -> Result<[bool; N]> {
    let mut set = fds.map(|fd| {
        let events = match fd {
            Some((_, Ready::Out)) => libc::POLLOUT,
            Some((_, Ready::HungUp)) => libc::POLLRDHUP,
            // POLLHUP and POLLERR are told in any case.
            Some((_, Ready::Gone)) => 0,
            Some((_, Ready::In)) | None => libc::POLLIN,
        };
        libc::pollfd { fd: fd.map_or(-1, |(fd, _)| fd.as_raw_fd()), events, revents: 0 }
    });
    poll_set(&mut set, milliseconds)?;
    Ok(set.map(|p| p.revents != 0))
}

/// poll(2) of these, begun again after a signal.
fn poll_set(set: &mut [libc::pollfd], milliseconds: i32) -> Result<()> {
    // SAFETY: `set` is live and as long as said.
    again(|| done(unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, milliseconds) }.into()))
}

/// poll(2) for input or hang-up, for about so many milliseconds; a signal makes them begin again.
pub fn poll_for(fd: BorrowedFd, milliseconds: i32) -> Result<bool> {
    poll_within([Some(fd)], milliseconds).map(|[ready]| ready)
}

/// Waits for any length of time (none: without end) until something is ready, by a `wait` that takes milliseconds as poll(2) does: not
/// more than 24 days of them.
pub fn wait_long<const N: usize>(time: Option<Duration>, mut wait: impl FnMut(i32) -> Result<[bool; N]>) -> Result<[bool; N]> {
    let mut left = time.map(|time| time.as_millis());
    loop {
        let piece = left.map_or(-1, |left| i32::try_from(left).unwrap_or(i32::MAX));
        let ready = wait(piece)?;
        left = left.map(|left| left.saturating_sub(piece as u128));
        if ready.contains(&true) || left == Some(0) {
            return Ok(ready);
        }
    }
}

/// What poll(2) says of a descriptor that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is something to read.
    Input,
    /// There will be nothing more.
    End,
    /// Neither, yet.
    Open,
}

impl State {
    fn of(polled: &libc::pollfd) -> State {
        match polled.revents {
            0 => State::Open,
            events if events & libc::POLLIN != 0 => State::Input,
            _ => State::End,
        }
    }
}

/// poll(2) for input, or for the end, for about so many milliseconds (-1: without end).
pub fn state(fd: BorrowedFd, milliseconds: i32) -> Result<State> {
    let mut set = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    poll_set(&mut set, milliseconds)?;
    Ok(State::of(&set[0]))
}

/// The same of several, until there is one that is not [`State::Open`].
pub fn states(fds: &[BorrowedFd]) -> Result<Vec<State>> {
    let one = |fd: &BorrowedFd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut set: Vec<libc::pollfd> = fds.iter().map(one).collect();
    poll_set(&mut set, -1)?;
    Ok(set.iter().map(State::of).collect())
}

/// Whether the other end of a socket has been closed; does not wait, and leaves what is there to be read.
pub fn hung_up(socket: BorrowedFd) -> Result<bool> {
    let mut set = [libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 }];
    poll_set(&mut set, 0)?;
    Ok(set[0].revents & (libc::POLLRDHUP | libc::POLLHUP) != 0)
}

/// Standard input, borrowed: nobody in this crate closes it.
pub fn stdin() -> BorrowedFd<'static> {
    // SAFETY: 0 is never owned by a Rust value here, so it stays what it is.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Standard output, borrowed likewise.
pub fn stdout() -> BorrowedFd<'static> {
    // SAFETY: as for `stdin`.
    unsafe { BorrowedFd::borrow_raw(1) }
}

/// Standard error, borrowed likewise.
pub fn stderr() -> BorrowedFd<'static> {
    // SAFETY: as for `stdin`.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// Makes reads return EAGAIN rather than wait.
pub fn set_nonblocking(fd: BorrowedFd) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }.into())
}

/// Opens `/dev/null` for whichever of standard input, output and error is closed: otherwise the next descriptor that we make would
/// take its number, and the command would read or write it.
pub fn ensure_stdio() -> Result<()> {
    let mut set = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    poll_set(&mut set, 0)?;
    for _ in set.iter().filter(|p| p.revents & libc::POLLNVAL != 0) {
        // The lowest free number, in order; it stays open across execve(2), as the others do.
        // SAFETY: the path is static and NUL-terminated.
        check(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) }.into())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Errno;
    use std::os::fd::AsFd;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn a_time_of_any_length_is_waited_for_to_its_end() {
        let waits = |time: Option<Duration>, ready_at: usize| {
            let mut pieces = Vec::new();
            let [ready] = wait_long(time, |piece| {
                pieces.push(piece);
                Ok([pieces.len() == ready_at])
            })
            .unwrap();
            (ready, pieces)
        };
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!(waits(days(20), 9), (false, vec![1_728_000_000]));
        assert_eq!(waits(days(60), 9), (false, vec![i32::MAX, i32::MAX, 889_032_706]));
        assert_eq!(waits(days(60), 2), (true, vec![i32::MAX, i32::MAX]));
        assert_eq!(waits(None, 1), (true, vec![-1]));
        assert_eq!(waits(Some(Duration::ZERO), 9), (false, vec![0]));
        assert_eq!(waits(Some(Duration::MAX), 3), (true, vec![i32::MAX; 3]));
    }

    /// As the broker, its door and whoever gets a terminal read what is sent to them.
    #[test]
    fn descriptors_come_in_any_number_and_none_stays() {
        fn sent<const N: usize>(fd: BorrowedFd, bytes: &[u8]) -> Result<Option<usize>> {
            let (ours, theirs) = socketpair().unwrap();
            send_with_fds(theirs.as_fd(), [fd; N], bytes).unwrap();
            receive_with_fds::<2>(ours.as_fd()).map(|came| came.map(|(_, fds)| fds.iter().flatten().count()))
        }
        let (reads, writes) = pipe().unwrap();
        let fd = writes.as_fd();
        for bytes in [&b"b"[..], b"bytes"] {
            let came = [sent::<0>(fd, bytes), sent::<1>(fd, bytes), sent::<2>(fd, bytes)];
            assert_eq!(came, [Ok(Some(0)), Ok(Some(1)), Ok(Some(2))]);
            assert_eq!([sent::<3>(fd, bytes), sent::<9>(fd, bytes)], [Err(Errno::EMFILE), Err(Errno::EMFILE)]);
        }
        drop(writes);
        assert_eq!(poll_for(reads.as_fd(), 5000), Ok(true), "nobody has it open any more");
    }

    #[test]
    fn a_descriptor_is_taken_with_its_own_byte_alone() {
        let (_reads, writes) = pipe().unwrap();
        let taken = |send: &dyn Fn(BorrowedFd)| {
            let (ours, theirs) = socketpair().unwrap();
            send(theirs.as_fd());
            drop(theirs);
            receive_fd(ours.as_fd(), b'b').map(|fd| fd.is_some())
        };
        assert_eq!(taken(&|to| send_fd(to, writes.as_fd(), b'b').unwrap()), Ok(true));
        assert_eq!(taken(&|to| send_fd(to, writes.as_fd(), b'c').unwrap()), Err(Errno::EPROTO));
        assert_eq!(taken(&|to| write_all(to, b"b").unwrap()), Err(Errno::EPROTO));
        assert_eq!(taken(&|_| ()), Ok(false));
    }

    #[test]
    fn a_rename_elsewhere_does_not_fail_a_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("x"), "").unwrap();
        let root = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    std::fs::rename(dir.path().join("x"), dir.path().join("y")).unwrap();
                    std::fs::rename(dir.path().join("y"), dir.path().join("x")).unwrap();
                }
            });
            let open = |_| open_in(root.as_fd(), c"a/../a/../a/../a", libc::O_PATH, Resolve::InRoot).map(drop);
            let opened: Result<()> = (0..20_000).try_for_each(open);
            done.store(true, Relaxed);
            assert_eq!(opened, Ok(()));
        });
    }
}
