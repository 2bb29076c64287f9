//! The probe's only door to the kernel below std: any system call by number, so that calls which no library wraps (or
//! which a library would refuse to make) can be tried.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

/// An argument whose memory lives at least as long as the call.
pub enum Arg<'a> {
    Int(i64),
    Text(&'a CStr),
    In(&'a [u8]),
    Out(&'a mut [u8]),
    Null,
}

impl Arg<'_> {
    fn word(&mut self) -> i64 {
        match self {
            Arg::Int(n) => *n,
            Arg::Text(text) => text.as_ptr() as i64,
            Arg::In(bytes) => bytes.as_ptr() as i64,
            Arg::Out(bytes) => bytes.as_mut_ptr() as i64,
            Arg::Null => 0,
        }
    }
}

/// The result of a system call, or its errno.
pub type Ret = Result<i64, i32>;

/// Makes the call with up to six arguments.
pub fn call<const N: usize>(number: i64, mut args: [Arg; N]) -> Ret {
    let mut w = [0; 6];
    for (word, arg) in w.iter_mut().zip(&mut args) {
        *word = arg.word();
    }
    // SAFETY: every pointer comes from a borrow in `args`, which outlives the call; callers give lengths that are those
    // of the slices. Nothing here relies on memory that a probe could unmap, and each probe is a process of its own.
    let ret = unsafe { libc::syscall(number, w[0], w[1], w[2], w[3], w[4], w[5]) };
    if ret == -1 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(ret) }
}

/// A path or name for the kernel; an inner NUL ends it.
pub fn text(s: &str) -> CString {
    CString::new(s.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// fork(2): 0 in the child. The probe has one thread when it forks, so the child may do anything.
pub fn fork() -> Ret {
    // SAFETY: one thread; see above.
    let pid = unsafe { libc::fork() };
    if pid < 0 { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { Ok(pid.into()) }
}

/// Waits for a child; the signal that killed it, if one did.
pub fn wait(pid: i64) -> Option<i32> {
    end(pid).err().filter(|signal| *signal > 0)
}

/// Waits for a child: its exit code, or the signal that killed it.
pub fn end(pid: i64) -> Result<i32, i32> {
    let mut status = [0; 4];
    call(libc::SYS_wait4, [Arg::Int(pid), Arg::Out(&mut status), Arg::Int(0), Arg::Null]).map_err(|_| 0)?;
    let status = i32::from_ne_bytes(status);
    if libc::WIFSIGNALED(status) { Err(libc::WTERMSIG(status)) } else { Ok(libc::WEXITSTATUS(status)) }
}

/// SIGALRM ends this process in so many seconds.
pub fn alarm(seconds: i64) {
    let seconds = u32::try_from(seconds).unwrap_or(1);
    // SAFETY: alarm(2) touches no memory.
    unsafe { libc::alarm(seconds) };
}

/// Does something while, after so many milliseconds, SIGALRM is handled, without SA_RESTART.
pub fn interrupted_in<T>(milliseconds: i64, handler: extern "C" fn(i32), work: impl FnOnce() -> T) -> T {
    // SAFETY: `struct sigaction` is plain data, valid when zeroed; the handler stores one number.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        let mut timer: libc::itimerval = std::mem::zeroed();
        timer.it_value.tv_usec = milliseconds * 1000;
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
    }
    work()
}

/// A page of its own that holds `bytes`; on x86-64 below 4 GiB, as 32-bit calls see nothing above.
pub fn page(bytes: &[u8]) -> Ret {
    #[cfg(target_arch = "x86_64")]
    const LOW: i32 = libc::MAP_32BIT;
    #[cfg(not(target_arch = "x86_64"))]
    const LOW: i32 = 0;
    let prot = Arg::Int((libc::PROT_READ | libc::PROT_WRITE).into());
    let flags = Arg::Int((libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | LOW).into());
    let page = call(libc::SYS_mmap, [Arg::Null, Arg::Int(4096), prot, flags, Arg::Int(-1), Arg::Int(0)])?;
    let n = bytes.len().min(4096);
    // SAFETY: the page was just mapped, is writable, 4096 bytes long, and nobody else knows it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), page as *mut u8, n) };
    Ok(page)
}

/// `int 0x80`: a call through the i386 table, which a filter written for x86-64 alone does not see.
#[cfg(target_arch = "x86_64")]
pub fn int80(number: u32, args: [u32; 6]) -> Ret {
    let ret: i64;
    // SAFETY: the arguments are numbers or addresses of pages from `page`, which are never unmapped. The kernel keeps every register
    // but rax; rbx and rbp, which LLVM reserves, are saved by hand; r8 to r11 are listed as older kernels clear them.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp",
            "mov ebx, [r8]", "mov ecx, [r8 + 4]", "mov edx, [r8 + 8]",
            "mov esi, [r8 + 12]", "mov edi, [r8 + 16]", "mov ebp, [r8 + 20]",
            "int 0x80",
            "pop rbp", "pop rbx",
            inlateout("rax") u64::from(number) as i64 => ret,
            inlateout("r8") args.as_ptr() => _,
            lateout("rcx") _, lateout("rdx") _, lateout("rsi") _, lateout("rdi") _,
            lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    let ret = i64::from(ret as i32);
    if (-4095..0).contains(&ret) { Err(-ret as i32) } else { Ok(ret) }
}
