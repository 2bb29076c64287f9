//! Calls of a launch with arguments that the kernel refuses before it looks at any right: another answer than its own is a seccomp filter's.
//! None of them ever does anything.

use super::{Errno, Result, done};

/// One of them.
pub struct Call {
    /// For the reader.
    pub name: &'static str,
    /// What the kernel says.
    pub kernels: Errno,
    number: libc::c_long,
    words: [libc::c_long; 3],
}

impl Call {
    /// What is said of it here; in a process of its own, as a filter may kill.
    ///
    /// # Errors
    /// Always: nothing that is asked can be had.
    pub fn ask(&self) -> Result<()> {
        let [a, b, c] = self.words;
        // SAFETY: the only pointers are null, which makes the call fail; clone(2) fails for its flags, so nobody returns twice.
        done(unsafe { libc::syscall(self.number, a, b, c, 0usize, 0usize) })
    }
}

const fn call(name: &'static str, kernels: Errno, number: libc::c_long, words: [libc::c_long; 3]) -> Call {
    Call { name, kernels, number, words }
}

/// All bits: no call has so many flags.
const FLAGS: libc::c_long = 0xffff_ffff;
/// Of clone(2)'s flags those that say which signal; unshare(2) has none.
const SIGNAL: libc::c_long = 1;
const USER: libc::c_long = libc::CLONE_NEWUSER as libc::c_long;
const SHARED: libc::c_long = (libc::CLONE_NEWNS | libc::CLONE_FS) as libc::c_long;

/// Filters look at flags, so those of user namespaces are among them; a null path is none.
pub const CALLS: &[Call] = &[
    call("unshare(2) with CLONE_NEWUSER", Errno::EINVAL, libc::SYS_unshare, [USER | SIGNAL, 0, 0]), // check_unshare_flags()
    call("clone(2) with CLONE_NEWUSER", Errno::EINVAL, libc::SYS_clone, [USER | SHARED, 0, 0]),     // copy_process()
    call("mount(2)", Errno::EFAULT, libc::SYS_mount, [0, 0, 0]),
    call("umount2(2)", Errno::EINVAL, libc::SYS_umount2, [0, FLAGS, 0]),
    call("open_tree(2)", Errno::EINVAL, libc::SYS_open_tree, [-1, 0, FLAGS]),
    call("mount_setattr(2)", Errno::EINVAL, libc::SYS_mount_setattr, [-1, 0, FLAGS]),
];
