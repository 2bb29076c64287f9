//! Want of memory: one sentence and the exit code of any failure, in place of an abort or of none at all.
//!
//! Whoever is killed at any moment leaves nothing that the next command does not find; so who ends here does not either.
#![allow(unsafe_code)]

use libruntime::sys::{file, process};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// What codexrun may need of its stack; beyond its end there is only SIGSEGV.
const STACK: u64 = 256 * 1024;

/// The exit code.
static CODE: AtomicU8 = AtomicU8::new(1);

/// Of the command that is about to be performed.
pub fn fails_with(code: u8) {
    CODE.store(code, Relaxed);
}

/// Ends if the stack may not grow as far as it may have to (RLIMIT_STACK). A limit that cannot be read is none.
#[cfg_attr(test, expect(dead_code, reason = "the test harness has a `main` of its own"))]
pub fn need_stack() {
    if process::getrlimit(process::STACK).is_ok_and(|(soft, _)| soft < STACK) {
        end(b"codexrun: error: the stack may grow to less than 256 KiB (ulimit -s)\n");
    }
}

struct Told;

#[cfg_attr(not(feature = "alloc-trap"), global_allocator)]
#[cfg_attr(feature = "alloc-trap", expect(dead_code, reason = "a test build has another one"))]
static MEMORY: Told = Told;

// SAFETY: every call is passed to the system's allocator unchanged, or does not return.
unsafe impl GlobalAlloc for Told {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that `System` asks for; here and below.
        or_end(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        or_end(unsafe { System.realloc(pointer, layout, size) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn or_end(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() {
        end(b"codexrun: error: there is not enough memory: ENOMEM (Cannot allocate memory)\n");
    }
    pointer
}

#[cold]
fn end(sentence: &[u8]) -> ! {
    // Who cannot be told sees the exit code.
    file::write_all(file::stderr(), sentence).unwrap_or(());
    process::exit(CODE.load(Relaxed).into())
}
