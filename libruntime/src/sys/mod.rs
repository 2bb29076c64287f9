//! See docs/.

pub mod pidfd;
