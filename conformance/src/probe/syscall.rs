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
    let mut status = [0; 4];
    call(libc::SYS_wait4, [Arg::Int(pid), Arg::Out(&mut status), Arg::Int(0), Arg::Null]).ok()?;
    let status = i32::from_ne_bytes(status);
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}

/// SIGALRM ends this process in so many seconds.
pub fn alarm(seconds: i64) {
    let seconds = u32::try_from(seconds).unwrap_or(1);
    // SAFETY: alarm(2) touches no memory.
    unsafe { libc::alarm(seconds) };
}

/// A page below 4 GiB that holds `bytes`: 32-bit calls see nothing above.
#[cfg(target_arch = "x86_64")]
pub fn low_page(bytes: &[u8]) -> Result<u32, i32> {
    let prot = Arg::Int((libc::PROT_READ | libc::PROT_WRITE).into());
    let flags = Arg::Int((libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT).into());
    let page = call(libc::SYS_mmap, [Arg::Null, Arg::Int(4096), prot, flags, Arg::Int(-1), Arg::Int(0)])?;
    let n = bytes.len().min(4096);
    // SAFETY: the page was just mapped, is writable, 4096 bytes long, and nobody else knows it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), page as *mut u8, n) };
    u32::try_from(page).map_err(|_| libc::EFAULT)
}

/// `int 0x80`: a call through the i386 table, which a filter written for x86-64 alone does not see.
#[cfg(target_arch = "x86_64")]
pub fn int80(number: u32, args: [u32; 3]) -> Ret {
    let ret: i64;
    // SAFETY: the arguments are numbers or addresses of pages from `low_page`, which are never unmapped. The kernel keeps
    // every register but rax; rbx is saved by hand because LLVM reserves it; r8 to r11 are listed as older kernels clear them.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {b}", "int 0x80", "xchg rbx, {b}",
            b = inout(reg) u64::from(args[0]) => _,
            inlateout("rax") u64::from(number) as i64 => ret,
            in("rcx") u64::from(args[1]), in("rdx") u64::from(args[2]),
            in("rsi") 0u64, in("rdi") 0u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let ret = i64::from(ret as i32);
    if (-4095..0).contains(&ret) { Err(-ret as i32) } else { Ok(ret) }
}
