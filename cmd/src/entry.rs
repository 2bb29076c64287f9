//! The C entry point. Rust's own start-up would ignore SIGPIPE, which the command would inherit, and do a dozen system calls that
//! nobody here needs.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

/// What the C library calls. `std::env::args` does not need what it passes.
// SAFETY: the one `main` of this program, with the signature that C gives it.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    if let Err(e) = libruntime::sys::file::ensure_stdio() {
        libruntime::Error::new("cannot open `/dev/null` in place of a closed descriptor").cause(e).tell();
        return 1;
    }
    // A file may become no larger (RLIMIT_FSIZE): that has a sentence too, and what was begun is undone.
    if let Err(e) = libruntime::sys::signal::survive(libruntime::sys::signal::FILE_TOO_LARGE) {
        libruntime::Error::new("cannot handle SIGXFSZ").cause(e).tell();
        return 1;
    }
    super::memory::need_stack();
    super::start().into()
}
