//! Processes: clone3(2), wait, prctl(2), execve(2).

use super::{Errno, Result, again, check, done, owned};
use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The name by which this process was executed, as execve(2) was given it (AT_EXECFN of getauxval(3)).
pub fn called() -> Option<&'static CStr> {
    // SAFETY: it takes a number and returns one.
    let at = unsafe { libc::getauxval(libc::AT_EXECFN) } as *const c_char;
    // SAFETY: the kernel has put the text above the first stack of the process, with a NUL behind it, and nobody here writes there.
    (!at.is_null()).then(|| unsafe { CStr::from_ptr(at) })
}

/// What clone3(2) returned, in the two processes that it returns to.
pub enum Cloned {
    /// The new process. It shares no memory with its parent and must leave by [`exit`] or [`exec`].
    Child,
    /// The caller: the new process's pid and a pidfd for it.
    Parent(Pid, OwnedFd),
}

/// A process id of this namespace.
pub type Pid = libc::pid_t;

/// clone3(2) with CLONE_PIDFD and SIGCHLD, as fork(2): `namespaces` are CLONE_NEW* flags.
///
/// The caller must be single-threaded: only the calling thread exists in the child, so a lock that another thread
/// held would stay locked for ever.
pub fn clone(namespaces: u64) -> Result<Cloned> {
    clone_into(namespaces, None)
}

/// As [`clone`]; the new process is born in the version 2 cgroup whose directory this is (CLONE_INTO_CGROUP).
pub fn clone_into(namespaces: u64, cgroup: Option<BorrowedFd>) -> Result<Cloned> {
    clone3(namespaces, libc::SIGCHLD as u64, cgroup)
}

/// As [`clone`], with CLONE_PARENT: the new process is a child of the caller's parent, which waits for it, and the caller has its pidfd.
pub fn clone_sibling(namespaces: u64) -> Result<Cloned> {
    // The exit signal is the caller's own (clone(2)).
    clone3(namespaces | libc::CLONE_PARENT as u64, 0, None)
}

/// Not in `libc` as a number that fits clone3(2).
const CLONE_INTO_CGROUP: u64 = 1 << 33;

fn clone3(flags: u64, exit_signal: u64, cgroup: Option<BorrowedFd>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let into = cgroup.map_or(0, |_| CLONE_INTO_CGROUP);
    let args = CloneArgs {
        flags: flags | into | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal,
        cgroup: cgroup.map_or(0, |dir| dir.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a live struct clone_args; without CLONE_VM the child runs on a copy of this stack.
    let pid = match check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) }) {
        Err(Errno::ENOSYS | Errno::EPERM) if cgroup.is_none() => clone2(args.flags | exit_signal, &mut pidfd)?,
        cloned => cloned?,
    };
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    Ok(Cloned::Parent(pid as Pid, owned(pidfd.into())?))
}

/// clone(2), for filters that shut clone3(2) because they cannot look into its argument: docker's, before 20.10.10 with EPERM. Who
/// lacks the power for these flags gets EPERM again.
fn clone2(flags: u64, pidfd: &mut RawFd) -> Result<libc::c_long> {
    // SAFETY: `pidfd` is live; a null stack means a copy of this one; the order of the last two, which are null, does not matter.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, ptr::from_mut(pidfd), 0usize, 0usize) })
}

/// Set once, in the process that a clone made to become a container.
static CHILD: AtomicBool = AtomicBool::new(false);

/// From here on this process allocates nothing; the allocator of a test build holds it to that.
pub fn become_child() {
    CHILD.store(true, Relaxed);
}

/// Whether [`become_child`] has been called.
pub fn is_child() -> bool {
    CHILD.load(Relaxed)
}

/// What [`clone_shared`] hands to the new process.
struct Start<'a, T> {
    run: fn(&mut T) -> libc::c_int,
    with: &'a mut T,
}

/// clone(2) with CLONE_VM and CLONE_VFORK: the new process runs `run` in our memory, on a stack of its own, while we sleep until it
/// executes a program or exits. As vfork(2), and without a copy of the page tables.
pub fn clone_shared<T>(stack: &mut [u8], run: fn(&mut T) -> libc::c_int, with: &mut T) -> Result<Pid> {
    extern "C" fn start<T>(start: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `clone_shared` passes a pointer to its own `Start<T>`, which lives until the new process is done with our memory.
        let start = unsafe { &mut *start.cast::<Start<T>>() };
        (start.run)(start.with)
    }
    let mut with = Start { run, with };
    let end = stack.as_mut_ptr_range().end as usize & !15;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is ours, aligned, and outlives the call; CLONE_VFORK keeps us from touching it meanwhile.
    let pid = unsafe { libc::clone(start::<T>, end as *mut libc::c_void, flags, (&raw mut with).cast()) };
    check(pid.into()).map(|pid| pid as Pid)
}

/// `_exit(2)`: no destructor, no atexit handler.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// NULL-terminated pointers to strings that live as long as this does: argv or envp, ready for execve(2).
pub struct Strings<'a> {
    pointers: Vec<*const c_char>,
    /// Of one string that is known only after the clone.
    room: Vec<u8>,
    strings: std::marker::PhantomData<&'a CStr>,
}

impl<'a> Strings<'a> {
    /// Allocates: to be made before the clone.
    pub fn new<T: AsRef<CStr>>(strings: &'a [T]) -> Self {
        Self::with_room(strings, 0)
    }

    /// As [`Strings::new`], with room for one more string of fewer than `bytes` bytes.
    pub fn with_room<T: AsRef<CStr>>(strings: &'a [T], bytes: usize) -> Self {
        let mut pointers = Vec::with_capacity(strings.len() + 2);
        pointers.extend(strings.iter().map(|s| s.as_ref().as_ptr()).chain([std::ptr::null()]));
        Strings { pointers, room: vec![0; bytes], strings: std::marker::PhantomData }
    }

    /// Adds the string that these parts make, once. Does not allocate.
    ///
    /// # Errors
    /// ENAMETOOLONG when it does not fit.
    pub fn add(&mut self, parts: &[&[u8]]) -> Result<()> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        if len >= self.room.len() || self.pointers.len() == self.pointers.capacity() {
            return Err(Errno::ENAMETOOLONG);
        }
        parts.iter().flat_map(|part| part.iter()).zip(&mut self.room).for_each(|(from, to)| *to = *from);
        self.room[len] = 0;
        self.pointers.pop();
        self.pointers.extend([self.room.as_ptr().cast(), std::ptr::null()]);
        Ok(())
    }
}

/// execve(2); returns only when it failed.
pub fn exec(path: &CStr, argv: &Strings, envp: &Strings) -> Errno {
    // SAFETY: the path is NUL-terminated, both arrays are NULL-terminated and their strings live.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Errno::last()
}

/// execveat(2) of the file `name` in `dir`, which must not be a link (ELOOP); returns only when it failed.
///
/// As `dir` is close-on-exec, the kernel executes nothing but the file itself: what takes an interpreter that opens it again (a script, a
/// format of binfmt_misc) is ENOENT (execveat(2), BUGS).
pub fn exec_at(dir: BorrowedFd, name: &CStr, argv: &Strings, envp: &Strings) -> Errno {
    let (dir, name, flags) = (dir.as_raw_fd(), name.as_ptr(), libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: the name is NUL-terminated, both arrays are NULL-terminated and their strings live.
    unsafe { libc::syscall(libc::SYS_execveat, dir, name, argv.pointers.as_ptr(), envp.pointers.as_ptr(), flags) };
    Errno::last()
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By `_exit`, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Ended {
    fn of(status: i32) -> Self {
        if libc::WIFSIGNALED(status) { Ended::Killed(libc::WTERMSIG(status)) } else { Ended::Exited(libc::WEXITSTATUS(status)) }
    }
    /// The shell's convention: the code, or 128+n for signal n.
    pub fn code(self) -> u8 {
        match self {
            Ended::Exited(code) => code as u8,
            Ended::Killed(signal) => 128 + signal as u8,
        }
    }
}

/// waitpid(2) for a child that has ended; `None` when WNOHANG finds none.
pub fn wait(pid: Pid, flags: i32) -> Result<Option<(Pid, Ended)>> {
    let mut status = 0;
    // SAFETY: `status` is a live int.
    let pid = again(|| check(unsafe { libc::waitpid(pid, &raw mut status, flags) }.into()))?;
    Ok((pid != 0).then(|| (pid as Pid, Ended::of(status))))
}

/// A process for what must not happen in this one, such as a change of its namespaces.
pub struct Apart {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Apart {
    /// Begins; `flags` as for [`clone`]. `work` keeps to the rule of [`become_child`].
    pub fn begin(flags: u64, work: impl FnOnce() -> Result<()>) -> Result<Self> {
        match clone(flags)? {
            Cloned::Child => {
                become_child();
                exit(work().map_or_else(|errno| errno as i32, |()| 0))
            }
            Cloned::Parent(pid, pidfd) => Ok(Apart { pid, pidfd }),
        }
    }

    /// Ends readable.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// SIGKILL. Nobody waits: in the middle of a call to a file system that does not answer it ends when it is answered.
    pub fn abandon(self) -> Result<()> {
        kill(self.pid, libc::SIGKILL)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Those of `work`, told by the exit code; ECHILD: it was killed.
    pub fn end(self) -> Result<()> {
        match wait(self.pid, 0)? {
            Some((_, Ended::Exited(0))) => Ok(()),
            Some((_, Ended::Exited(errno))) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        }
    }
}

/// [`Apart::begin`] and [`Apart::end`].
pub fn apart(flags: u64, work: impl FnOnce() -> Result<()>) -> Result<()> {
    Apart::begin(flags, work)?.end()
}

/// kill(2).
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::kill(pid, signal) }.into())
}

fn prctl(option: i32, a: libc::c_ulong, b: libc::c_ulong) -> Result<libc::c_int> {
    // SAFETY: only options that take integers are passed by this module.
    check(unsafe { libc::prctl(option, a, b, 0, 0) }.into()).map(|r| r as libc::c_int)
}

/// PR_SET_PDEATHSIG: this signal when the parent thread dies.
pub fn set_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0).map(drop)
}

/// PR_SET_DUMPABLE 0: nobody without CAP_SYS_PTRACE reads our memory, descriptors or executable through /proc (CVE-2016-9962,
/// CVE-2019-5736).
pub fn set_undumpable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// PR_SET_NO_NEW_PRIVS.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// PR_CAPBSET_DROP.
pub fn drop_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// PR_CAP_AMBIENT_CLEAR_ALL.
pub fn clear_ambient() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(drop)
}

/// PR_CAP_AMBIENT_RAISE.
pub fn raise_ambient(capability: u32) -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability.into()).map(drop)
}

/// PR_SET_KEEPCAPS: permitted capabilities survive the change of user id.
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING without a name: a new, empty session keyring.
pub fn join_new_keyring() -> Result<()> {
    // SAFETY: a null name asks for an anonymous keyring.
    done(unsafe { libc::syscall(libc::SYS_keyctl, 1, std::ptr::null::<c_char>()) })
}

/// setsid(2).
pub fn setsid() -> Result<()> {
    // SAFETY: takes no arguments.
    done(unsafe { libc::setsid() }.into())
}

/// umask(2), which cannot fail; what it was before.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: takes no pointers.
    unsafe { libc::umask(mask) }
}

/// sethostname(2).
pub fn sethostname(name: &[u8]) -> Result<()> {
    // SAFETY: the buffer is live and as long as said.
    done(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into())
}

/// setdomainname(2).
pub fn setdomainname(name: &[u8]) -> Result<()> {
    // SAFETY: the buffer is live and as long as said.
    done(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into())
}

/// RLIMIT_STACK.
pub const STACK: u32 = libc::RLIMIT_STACK;

/// getrlimit(2): (soft, hard).
pub fn getrlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable struct rlimit.
    done(unsafe { libc::getrlimit(resource, &raw mut limit) }.into())?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// setrlimit(2).
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is a live struct rlimit.
    done(unsafe { libc::setrlimit(resource, &raw const limit) }.into())
}

/// unshare(2).
pub fn unshare(namespaces: u64) -> Result<()> {
    // SAFETY: takes no pointers; CLONE_NEW* flags only change what this process refers to.
    done(unsafe { libc::unshare(namespaces as i32) }.into())
}

/// One instruction of classic BPF, `struct sock_filter`.
#[repr(C)]
struct FilterProgram {
    length: u16,
    instructions: *const crate::bpf::Insn,
}

/// seccomp(2), SECCOMP_SET_MODE_FILTER. Needs no_new_privs or CAP_SYS_ADMIN.
pub fn seccomp(program: &[crate::bpf::Insn], flags: u32) -> Result<()> {
    let program = FilterProgram { length: program.len() as u16, instructions: program.as_ptr() };
    // SAFETY: `program` is a live struct sock_fprog; the kernel copies the instructions and checks them.
    done(unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, &raw const program) })
}

/// As [`seccomp`], with SECCOMP_FILTER_FLAG_NEW_LISTENER: the descriptor through which somebody answers for the filter, close-on-exec.
pub fn seccomp_listener(program: &[crate::bpf::Insn], flags: u32) -> Result<OwnedFd> {
    let program = FilterProgram { length: program.len() as u16, instructions: program.as_ptr() };
    // SAFETY: as for `seccomp`.
    owned(unsafe { libc::syscall(libc::SYS_seccomp, 1, flags | super::notify::NEW_LISTENER, &raw const program) })
}

/// Whether seccomp(2) knows all of `flags`, or what it says instead: it looks at them before it looks for a program, and here there is
/// none.
pub fn takes_seccomp_flags(flags: u32) -> Result<()> {
    let none: *const FilterProgram = std::ptr::null();
    // SAFETY: a null pointer is answered by EFAULT; nothing is installed.
    match done(unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, none) }) {
        Err(Errno::EFAULT) => Ok(()),
        other => other,
    }
}

/// Whether the kernel has no call of this number, or a filter refuses it: ENOSYS or EPERM. For calls that take none of these arguments.
pub fn refusal(call: i64) -> Option<Errno> {
    let no: libc::c_long = -1;
    // SAFETY: it is no address, no descriptor, no process and no set of flags: nothing is read, written or made.
    let answer = done(unsafe { libc::syscall(call, no, no, no, no, no, no) });
    answer.err().filter(|errno| matches!(errno, Errno::ENOSYS | Errno::EPERM))
}

/// getpagesize(3).
pub fn page_size() -> usize {
    // SAFETY: takes no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// clock_gettime(2): the seconds of CLOCK_MONOTONIC and of CLOCK_BOOTTIME.
pub fn clocks() -> Result<[i64; 2]> {
    let mut seconds = [0; 2];
    for (clock, seconds) in [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME].into_iter().zip(&mut seconds) {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes into `now`, which is live.
        super::done(unsafe { libc::clock_gettime(clock, &raw mut now) }.into())?;
        *seconds = now.tv_sec;
    }
    Ok(seconds)
}

/// The highest capability that PR_CAPBSET_READ knows, by bisection (capabilities(7)); of one that it does not know it says EINVAL.
pub fn last_capability() -> Result<u32> {
    let knows = |cap: u32| match prctl(libc::PR_CAPBSET_READ, cap.into(), 0) {
        Err(Errno::EINVAL) => Ok(false),
        read => read.map(|_| true),
    };
    let (mut low, mut high) = (37, 64); // CAP_AUDIT_READ, 3.16; the sets have 64 bits
    if knows(40)? && !knows(41)? {
        return Ok(40);
    }
    while high - low > 1 {
        let middle = (low + high) / 2;
        if knows(middle)? { low = middle } else { high = middle }
    }
    Ok(low)
}
