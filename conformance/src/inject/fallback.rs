//! Calls that the kernel or whatever is around codexrun may not have: refused throughout, in every process of a launch. Those that a launch
//! comes up without all the same stand here, with the reason why what runs is protected as well; without any other it must not come up.

use nix::errno::Errno;

/// What a kernel without the call says, and most filters; other filters.
pub const REFUSALS: [Errno; 2] = [Errno::ENOSYS, Errno::EPERM];

/// Younger than Linux 3.0, or refused by the default filter of docker and podman.
const REFUSABLE: &[i64] = &[
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clone3,
    libc::SYS_close_range,
    libc::SYS_execveat,
    libc::SYS_faccessat2,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_getrandom,
    libc::SYS_keyctl,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_memfd_create,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_openat2,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_ptrace,
    libc::SYS_rseq,
    libc::SYS_seccomp,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_statx,
    libc::SYS_umount2,
    libc::SYS_unshare,
];

/// Not in `libc` yet.
const OPEN_TREE_ATTR: i64 = 467;

const HOOKS: &str = "`start`, whose poststart hooks fail: a warning, where a bundle is older than 1.3.0";

const FALLBACKS: &[(i64, &str)] = &[
    (libc::SYS_clone3, "clone(2) with the same flags; into a cgroup of version 2, which it cannot, the launch fails"),
    (libc::SYS_faccessat2, "execve(2) tells whether it may; who may not look at a place does nothing there"),
    (libc::SYS_getrandom, "seeds of hash tables, from /dev/urandom"),
    (libc::SYS_keyctl, "nobody has keyrings there; a filter around codexrun holds for what is inside, too"),
    (libc::SYS_landlock_create_ruleset, "a look at what there is; who asks for rules is refused"),
    (OPEN_TREE_ATTR, "open_tree(2), then mount_setattr(2) on the copy, before it is attached"),
    (libc::SYS_memfd_create, HOOKS),
    (libc::SYS_pidfd_open, HOOKS),
    (libc::SYS_openat2, "`exec`, which mounts nothing: the program is opened by openat(2) and compared with codexrun's own file"),
    (libc::SYS_pidfd_getfd, "the broker's, without whom a filter shuts every Unix socket; who grants one is refused"),
    (libc::SYS_rseq, "the C library's own"),
    (libc::SYS_setns, "the broker's, who ends: no connection is made for anybody"),
    (libc::SYS_statx, "fstatat(2) says what is asked"),
];

/// Whether the call of this number may not be there.
pub fn is_refusable(nr: i64) -> bool {
    REFUSABLE.contains(&nr)
}

/// Whether a launch may come up without it.
pub fn is_known(nr: i64) -> bool {
    FALLBACKS.iter().any(|(known, _)| *known == nr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_is_from_a_call_that_may_be_refused_and_has_a_reason() {
        assert!(FALLBACKS.iter().all(|(nr, why)| is_refusable(*nr) && !why.is_empty()));
    }
}
