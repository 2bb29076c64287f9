//! What a system call may plausibly say no with: its man page's ERRORS, less those that blame the caller for a mistake in his
//! program (EFAULT, EBADF), plus what an older kernel, a security module, a filter or an empty machine would say. A launch that makes
//! a call which does not stand here has no verdict.

use super::fallback::OPEN_TREE_ATTR;
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
    libc::SYS_getsid,
    libc::SYS_getpgid,
    libc::SYS_getpgrp,
    libc::SYS_alarm,
    libc::SYS_restart_syscall,
    // But for who waits: [`of_request`].
    libc::SYS_futex,
];

/// Families of calls that fail alike.
const FAMILIES: &[(&[i64], &[Errno])] = &[
    (&[libc::SYS_brk], &[ENOMEM]),
    (&[libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap], &[ENOMEM, EAGAIN]),
    (&[libc::SYS_munmap, libc::SYS_madvise, libc::SYS_sigaltstack], &[ENOMEM]),
    (
        &[libc::SYS_open, libc::SYS_openat, libc::SYS_openat2, libc::SYS_open_tree, OPEN_TREE_ATTR, libc::SYS_creat],
        &[EACCES, EPERM, EMFILE, ENFILE, ENOMEM, EINTR, EIO, ENOSPC, ELOOP, EAGAIN, ENOSYS, ENOENT],
    ),
    (&[libc::SYS_read, libc::SYS_pread64, libc::SYS_readv, libc::SYS_getdents64], &[EINTR, EIO, EAGAIN, ENOMEM]),
    (
        &[libc::SYS_write, libc::SYS_pwrite64, libc::SYS_writev],
        &[EINTR, EIO, EAGAIN, ENOSPC, EPERM, EACCES, EDQUOT, ENOMEM, EINVAL],
    ),
    (
        &[
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_copy_file_range,
            libc::SYS_fallocate,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
        ],
        &[EINTR, EIO, ENOMEM, ENOSPC, EDQUOT, EPERM],
    ),
    // It says no by what the file is: not one with a position.
    (&[libc::SYS_lseek], &[ESPIPE, EINVAL]),
    (&[libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg], &[EINTR, ENOBUFS, ENOMEM, EPERM, EPIPE, EAGAIN]),
    (&[libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg], &[EINTR, ENOMEM, EMFILE, EAGAIN]),
    (
        &[
            libc::SYS_poll,
            libc::SYS_ppoll,
            libc::SYS_select,
            libc::SYS_pselect6,
            libc::SYS_epoll_wait,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
        ],
        &[EINTR, ENOMEM],
    ),
    (&[libc::SYS_epoll_ctl], &[ENOMEM, ENOSPC]),
    (&[libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_pause], &[EINTR]),
    (&[libc::SYS_clock_gettime, libc::SYS_gettimeofday, libc::SYS_times, libc::SYS_uname, libc::SYS_sysinfo], &[EPERM]),
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
            libc::SYS_mknod,
            libc::SYS_symlink,
            libc::SYS_link,
        ],
        &[EACCES, EPERM, ENOSPC, EDQUOT, ENOMEM, EIO, EROFS, EEXIST],
    ),
    (
        &[
            libc::SYS_ftruncate,
            libc::SYS_truncate,
            libc::SYS_chmod,
            libc::SYS_fchmod,
            libc::SYS_fchmodat,
            libc::SYS_chown,
            libc::SYS_lchown,
            libc::SYS_fchown,
            libc::SYS_fchownat,
            libc::SYS_utimensat,
        ],
        &[EACCES, EPERM, ENOSPC, EDQUOT, ENOMEM, EIO, EROFS],
    ),
    (&[libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_rmdir], &[EACCES, EPERM, EBUSY, EIO, EROFS, ENOENT, ENOTEMPTY]),
    (
        &[libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_fgetxattr, libc::SYS_setxattr, libc::SYS_fsetxattr],
        &[ENODATA, EOPNOTSUPP, EPERM, EACCES, ENOSPC],
    ),
    (&[libc::SYS_chroot], &[EACCES, EPERM, EIO, ENOMEM, ENOENT]),
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
        &[EACCES, ENOMEM, EIO, ENOSYS, ENOENT],
    ),
    (&[libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setgroups, libc::SYS_capset], &[EPERM, ENOMEM, EAGAIN, EINVAL]),
    (&[libc::SYS_capget, libc::SYS_getgroups], &[EPERM, EINVAL, ENOSYS]),
    (&[libc::SYS_getrandom], &[EPERM, EINVAL, ENOSYS, EINTR]),
    (&[libc::SYS_connect], &[EINTR, EAGAIN, ECONNREFUSED, EACCES, EPERM, ENOENT, ENOMEM]),
    (&[libc::SYS_accept, libc::SYS_accept4], &[EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM]),
    (&[libc::SYS_bind], &[EADDRINUSE, EADDRNOTAVAIL, EACCES, EPERM, ENOMEM, EROFS]),
    (&[libc::SYS_listen], &[EADDRINUSE, EPERM]),
    (&[libc::SYS_shutdown, libc::SYS_getpeername], &[ENOTCONN, EPERM]),
    (&[libc::SYS_getsockname], &[ENOBUFS, EPERM]),
    (&[libc::SYS_getsockopt, libc::SYS_setsockopt], &[ENOPROTOOPT, EINVAL, ENOMEM, EPERM]),
    // A kernel that does not know the request says ENOTTY; what else a filter's listener says: [`of_request`].
    (&[libc::SYS_ioctl], &[ENOTTY, EINVAL, EPERM, EIO, ENOMEM, ENODEV]),
    (&[libc::SYS_prctl], &[EPERM, EINVAL, EACCES, ENOMEM, ENOSYS]),
    (&[libc::SYS_arch_prctl], &[EPERM, EINVAL, ENODEV]),
    (&[libc::SYS_seccomp], &[EPERM, EACCES, EINVAL, ENOMEM, EBUSY, EOPNOTSUPP, ENOSYS]),
    (&[libc::SYS_keyctl], &[EPERM, EACCES, ENOMEM, EDQUOT, EINVAL, ENOSYS]),
    (&[libc::SYS_landlock_create_ruleset], &[EOPNOTSUPP, ENOSYS, EPERM, EINVAL, EMFILE, ENFILE, ENOMEM]),
    (&[libc::SYS_landlock_add_rule], &[EOPNOTSUPP, ENOSYS, EPERM, EINVAL, ENOMEM]),
    (&[libc::SYS_landlock_restrict_self], &[EOPNOTSUPP, ENOSYS, EPERM, EINVAL, E2BIG, ENOMEM]),
    (&[libc::SYS_bpf], &[EPERM, EACCES, EINVAL, E2BIG, ENOMEM, ENOSYS]),
    (&[libc::SYS_personality, libc::SYS_sched_getaffinity, libc::SYS_getpriority], &[EPERM, EINVAL]),
    (&[libc::SYS_ioprio_set, libc::SYS_sched_setaffinity, libc::SYS_setpriority], &[EPERM, EINVAL, ESRCH]),
    (&[libc::SYS_sched_setattr, libc::SYS_sched_setscheduler], &[EPERM, EINVAL, EBUSY, E2BIG, ESRCH, ENOSYS]),
    (&[libc::SYS_set_mempolicy, libc::SYS_get_mempolicy], &[EINVAL, ENOMEM, EPERM, ENOSYS]),
    (&[libc::SYS_close_range], &[EMFILE, ENOMEM, EINVAL, EPERM, ENOSYS]),
    (&[libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_setitimer, libc::SYS_timerfd_settime], &[EINVAL]),
    // The C library's own, where a thread begins.
    (&[libc::SYS_rseq], &[EINVAL, EBUSY, EPERM, ENOSYS]),
    (&[libc::SYS_set_robust_list], &[EINVAL, EPERM, ENOSYS]),
    (&[libc::SYS_process_vm_readv], &[EPERM, ESRCH, ENOMEM, EINVAL, ENOSYS]),
    (&[libc::SYS_ptrace], &[EPERM, ESRCH, EIO]),
    (
        &[libc::SYS_prlimit64, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_setsid, libc::SYS_setpgid],
        &[EPERM, EINVAL],
    ),
    (&[libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_send_signal], &[EPERM, ESRCH]),
    (&[libc::SYS_socket, libc::SYS_socketpair], &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EACCES, EPERM, EAFNOSUPPORT, EPROTONOSUPPORT]),
    (
        &[
            libc::SYS_pipe2,
            libc::SYS_eventfd2,
            libc::SYS_epoll_create1,
            libc::SYS_timerfd_create,
            libc::SYS_signalfd4,
            libc::SYS_inotify_init1,
            libc::SYS_memfd_create,
        ],
        &[EMFILE, ENFILE, ENOMEM, ENODEV, EACCES, EPERM, ENOSYS],
    ),
    (&[libc::SYS_pidfd_open, libc::SYS_pidfd_getfd], &[EMFILE, ENFILE, ENOMEM, ENODEV, ESRCH, EPERM, ENOSYS]),
    (&[libc::SYS_inotify_add_watch], &[EACCES, ENOMEM, ENOSPC]),
    // EINTR, by dup(2), on other systems: here nobody listens to the close that is in it.
    (&[libc::SYS_dup, libc::SYS_dup2, libc::SYS_dup3], &[EMFILE, EBUSY, ENOMEM]),
];

/// What call number `nr` is made to fail with, one at a time; none if nobody has said it yet.
pub fn plausible(nr: i64) -> Option<&'static [Errno]> {
    if CERTAIN.contains(&nr) {
        return Some(&[]);
    }
    FAMILIES.iter().find(|(calls, _)| calls.contains(&nr)).map(|(_, errnos)| *errnos)
}

/// What futex(2) says, and ioctl(2) of a filter's listener beside that (seccomp_unotify(2)): a signal came; whoever made the call has gone before it could be
/// told. Not that he has gone when he is answered: he would be there all the same, and wait.
pub fn of_request(nr: i64, request: u64) -> &'static [Errno] {
    // The upper bits are flags; who wakes others meets neither.
    let waits = [libc::FUTEX_WAIT, libc::FUTEX_WAIT_BITSET].contains(&(request as i32 & libc::FUTEX_CMD_MASK));
    match request {
        _ if nr == libc::SYS_futex => {
            if waits {
                &[EINTR, EAGAIN]
            } else {
                &[]
            }
        }
        libc::SECCOMP_IOCTL_NOTIF_RECV => &[ENOENT, EINTR],
        libc::SECCOMP_IOCTL_NOTIF_SEND | libc::SECCOMP_IOCTL_NOTIF_ID_VALID | libc::SECCOMP_IOCTL_NOTIF_ADDFD => &[EINTR],
        _ => &[],
    }
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
        assert_eq!(plausible(libc::SYS_exit_group), Some(&[][..]));
        assert_eq!(plausible(libc::SYS_wait4), Some(&[EINTR][..]));
        assert_eq!(plausible(libc::SYS_sysfs), None);
        let futex = |command: i32| of_request(libc::SYS_futex, (command | libc::FUTEX_PRIVATE_FLAG) as u64);
        assert_eq!((futex(libc::FUTEX_WAKE), futex(libc::FUTEX_WAIT_BITSET)), (&[][..], &[EINTR, EAGAIN][..]));
    }
}
