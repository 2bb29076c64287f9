//! A thread beside the only one of a process between its clone and its execve(2). It shares memory and descriptors, and no seccomp
//! filter that is loaded after it began.

use super::{Result, check};
use std::sync::atomic::{AtomicI32, Ordering::Acquire};

/// What the thread is told.
struct Start<'a, T> {
    run: fn(&T),
    with: &'a T,
}

/// Lets a thread do `run` while the caller does `meanwhile`; returns when both have ended. The end of the thread is waited for without a
/// system call, by looking: a filter that `meanwhile` loads may permit none.
///
/// The thread has the caller's `errno`: one of both may make calls that fail at a time.
pub fn beside<T: Sync, R>(stack: &mut [u8], run: fn(&T), with: &T, meanwhile: impl FnOnce() -> R) -> Result<R> {
    extern "C" fn start<T>(start: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `beside` passes a pointer to its own `Start<T>`, and does not return before this thread has ended.
        let start = unsafe { &*start.cast::<Start<T>>() };
        (start.run)(start.with);
        // SAFETY: ends this thread alone, whatever the C library would make of a return.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        0
    }
    let alive = AtomicI32::new(1);
    let with = Start { run, with };
    let end = stack.as_mut_ptr_range().end as usize & !15;
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_SYSVSEM
        | libc::CLONE_THREAD
        | libc::CLONE_CHILD_CLEARTID;
    let (none, with) = (std::ptr::null_mut::<libc::c_void>(), (&raw const with).cast_mut().cast());
    // SAFETY: the stack is ours and aligned; it, `with` and `alive` stay until the kernel has cleared `alive` at the thread's end.
    check(unsafe { libc::clone(start::<T>, end as *mut libc::c_void, flags, with, none, none, alive.as_ptr()) }.into())?;
    let done = meanwhile();
    while alive.load(Acquire) != 0 {
        std::hint::spin_loop();
    }
    Ok(done)
}

/// nanosleep(2); a signal may end it early.
pub fn sleep(time: std::time::Duration) {
    let time = libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() };
    // SAFETY: `time` is a live struct timespec; what was left is not asked for.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Release;

    #[test]
    fn both_run_at_once_and_the_end_of_both_is_waited_for() {
        let said = [const { AtomicI32::new(0) }; 2];
        let answer = |said: &[AtomicI32; 2]| {
            while said[0].load(Acquire) == 0 {
                sleep(std::time::Duration::from_micros(10));
            }
            said[1].store(said[0].load(Acquire) + 1, Release);
        };
        let done = beside(&mut [0; 16 * 1024], answer, &said, || said[0].store(41, Release));
        assert_eq!((done, said[1].load(Acquire)), (Ok(()), 42));
    }
}
