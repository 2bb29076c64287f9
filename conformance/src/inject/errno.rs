//! What a system call may plausibly say no with: its man page's ERRORS, less those that blame the caller for a mistake in his
//! program (EFAULT, EBADF), plus what an older kernel, a security module or an empty machine would say.

use nix::errno::Errno::{self, *};

/// Calls that end the caller or cannot fail: there is nothing to inject. close(2) closes, whatever it returns: made again after EINTR it
/// could close what somebody else has opened meanwhile.
const CERTAIN: &[i64] = &[
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_umask,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
];

/// Families of calls that fail alike.
const FAMILIES: &[(&[i64], &[Errno])] = &[
    (&[libc::SYS_brk, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap], &[ENOMEM, EAGAIN]),
    (&[libc::SYS_munmap, libc::SYS_madvise, libc::SYS_sigaltstack], &[ENOMEM]),
    (
        &[libc::SYS_open, libc::SYS_openat, libc::SYS_openat2, libc::SYS_open_tree, libc::SYS_creat],
        &[EACCES, EPERM, EMFILE, ENFILE, ENOMEM, EINTR, EIO, ENOSPC, ELOOP, EAGAIN, ENOSYS],
    ),
    (&[libc::SYS_read, libc::SYS_pread64, libc::SYS_readv, libc::SYS_getdents64], &[EINTR, EIO, EAGAIN, ENOMEM]),
    (&[libc::SYS_write, libc::SYS_pwrite64, libc::SYS_writev], &[EINTR, EIO, EAGAIN, ENOSPC, EPERM, EACCES, EDQUOT]),
    (&[libc::SYS_sendto, libc::SYS_sendmsg], &[EINTR, ENOBUFS, ENOMEM, EPERM]),
    (&[libc::SYS_recvfrom, libc::SYS_recvmsg], &[EINTR, ENOMEM, EMFILE]),
    (&[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_epoll_wait], &[EINTR, ENOMEM]),
    (&[libc::SYS_wait4, libc::SYS_waitid, libc::SYS_rt_sigtimedwait], &[EINTR]),
    (&[libc::SYS_flock], &[EINTR, ENOLCK]),
    // EINTR and ENOLCK are of the locks that fcntl(2) sets, and codexrun sets none.
    (&[libc::SYS_fcntl], &[EPERM, EMFILE, EINVAL]),
    (
        &[libc::SYS_clone, libc::SYS_clone3, libc::SYS_fork, libc::SYS_vfork],
        &[EAGAIN, ENOMEM, ENOSPC, EPERM, EACCES, ENOSYS, EUSERS],
    ),
    (&[libc::SYS_execve, libc::SYS_execveat], &[EACCES, EPERM, ENOMEM, ETXTBSY, EIO, ENOEXEC, EAGAIN, ENOSYS]),
    (&[libc::SYS_unshare, libc::SYS_setns], &[EPERM, ENOMEM, ENOSPC, EUSERS, EINVAL]),
    (
        &[libc::SYS_mount, libc::SYS_umount2, libc::SYS_move_mount, libc::SYS_mount_setattr, libc::SYS_pivot_root],
        &[EPERM, EACCES, ENOMEM, ENOSPC, EBUSY, EINVAL, ENOSYS],
    ),
    (
        &[libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick],
        &[EPERM, ENOMEM, EMFILE, ENODEV, EINVAL, EBUSY, ENOSYS],
    ),
    (
        &[
            libc::SYS_mkdir,
            libc::SYS_mkdirat,
            libc::SYS_mknodat,
            libc::SYS_symlinkat,
            libc::SYS_linkat,
            libc::SYS_rename,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_ftruncate,
        ],
        &[EACCES, EPERM, ENOSPC, EDQUOT, ENOMEM, EIO, EROFS],
    ),
    (&[libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_rmdir], &[EACCES, EPERM, EBUSY, EIO, EROFS]),
    (
        &[libc::SYS_chdir, libc::SYS_fchdir, libc::SYS_getcwd, libc::SYS_readlink, libc::SYS_readlinkat],
        &[EACCES, ENOMEM, EIO, ENOENT],
    ),
    (
        &[
            libc::SYS_access,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_newfstatat,
            libc::SYS_fstat,
            libc::SYS_statx,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
        ],
        &[EACCES, ENOMEM, EIO, ENOSYS],
    ),
    (&[libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_capset], &[EPERM, ENOMEM, EAGAIN, EINVAL]),
    (&[libc::SYS_capget, libc::SYS_getgroups], &[EPERM, EINVAL, ENOSYS]),
    (&[libc::SYS_getrandom], &[EPERM, EINVAL, ENOSYS, EINTR]),
    (&[libc::SYS_connect], &[EINTR, EAGAIN, ECONNREFUSED, EACCES, EPERM, ENOENT, ENOMEM]),
    (&[libc::SYS_prctl, libc::SYS_seccomp, libc::SYS_keyctl], &[EPERM, EINVAL, ENOMEM, EACCES, ENOSYS, EDQUOT]),
    (&[libc::SYS_prlimit64, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_setsid], &[EPERM, EINVAL]),
    (&[libc::SYS_kill, libc::SYS_pidfd_send_signal], &[EPERM, ESRCH]),
    (
        &[
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_pipe2,
            libc::SYS_signalfd4,
            libc::SYS_pidfd_open,
            libc::SYS_memfd_create,
        ],
        &[EMFILE, ENFILE, ENOMEM, EACCES, EPERM, ENOSYS],
    ),
    // EINTR, by dup(2), on other systems: here nobody listens to the close that is in it.
    (&[libc::SYS_dup, libc::SYS_dup2, libc::SYS_dup3], &[EMFILE, EBUSY, ENOMEM]),
];

/// Everything that has no family.
const ANY: &[Errno] = &[EPERM, ENOMEM, EINVAL, ENOSYS];

/// What call number `nr` is made to fail with, one at a time.
pub fn plausible(nr: i64) -> &'static [Errno] {
    if CERTAIN.contains(&nr) {
        return &[];
    }
    FAMILIES.iter().find(|(calls, _)| calls.contains(&nr)).map_or(ANY, |(_, errnos)| errnos)
}

/// Whether a call that has failed so is made again, and nobody notices: EINTR (signal(7)), and what openat2(2) says when it could not follow
/// a path for a rename somewhere.
pub fn made_again(nr: i64, errno: Errno) -> bool {
    errno == EINTR || errno == EAGAIN && nr == libc::SYS_openat2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_has_two_families_and_none_is_without_an_errno() {
        let mut calls: Vec<i64> =
            FAMILIES.iter().flat_map(|(calls, _)| calls.iter().copied()).chain(CERTAIN.iter().copied()).collect();
        calls.sort_unstable();
        assert!(calls.windows(2).all(|w| w[0] != w[1]), "a call stands twice");
        assert!(FAMILIES.iter().all(|(_, errnos)| !errnos.is_empty()));
        assert_eq!(plausible(libc::SYS_exit_group), &[]);
        assert_eq!(plausible(libc::SYS_wait4), &[EINTR]);
    }
}
