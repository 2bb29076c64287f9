//! A test build's allocator: it aborts in the container's process, which must not allocate between clone(2) and execve(2) (another
//! thread of the caller could have held the lock). CI runs the conformance cases with it.
#![allow(unsafe_code)]

use libruntime::sys::process::is_child;
use std::alloc::{GlobalAlloc, Layout, System};

struct Trap;

#[global_allocator]
static TRAP: Trap = Trap;

// SAFETY: every call is passed to the system's allocator unchanged, or does not return.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_child() {
            std::process::abort();
        }
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_child() {
            std::process::abort();
        }
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use libruntime::sys::process::{Cloned, Ended, become_child, clone, exit, wait};

    #[test]
    fn an_allocation_in_the_child_aborts_it() {
        match clone(0).unwrap() {
            Cloned::Child => {
                become_child();
                std::hint::black_box(Box::new(1));
                exit(0)
            }
            Cloned::Parent(pid, _) => assert_eq!(wait(pid, 0).unwrap(), Some((pid, Ended::Killed(6)))),
        }
    }
}
