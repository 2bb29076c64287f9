//! Calls that the kernel or whatever is around codexrun may not have: refused throughout, in every process of a launch. Those that a launch
//! comes up without all the same stand here, with the reason why what runs is protected as well; without any other it must not come up.

use super::course::{self, Course};
use super::story;
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
pub const OPEN_TREE_ATTR: i64 = 467;

/// A way in which a launch comes up without a call.
struct Fallback {
    calls: &'static [i64],
    /// What they are refused with.
    errnos: &'static [Errno],
    /// Where; of another course's launch nobody has said that it may.
    courses: &'static [&'static [Course]],
    /// The same in words.
    place: &'static str,
    /// What is done instead, and why what runs is protected as well.
    way: &'static str,
    /// How `codexrun plan` shows it, or why it does not.
    plan: &'static str,
}

use Course::*;

const ALWAYS: &[Errno] = &REFUSALS;
const POLICIES: &[Course] = &[Sandbox, Auto, Outlet];
const MAKES: &[Course] = &[Run, RunHere, RunTerminal, Create, CreateTerminal];
const JOINS: &[Course] = &[Exec, ExecTerminal, ExecDetached];
const COMPILED: &[Course] = &[PolicyRun, PolicyDetached, PolicyCreate];
const MOUNTS: &[&[Course]] = &[POLICIES, MAKES, COMPILED];
const BUNDLES: &[&[Course]] = &[MAKES, JOINS];
const LAUNCHES: &[&[Course]] = &[POLICIES, MAKES, JOINS, COMPILED, &[PolicyExec]];
const SOCKETS: &[&[Course]] = &[&[Sandbox, Auto], COMPILED];
const PROGRAMS: &[&[Course]] = &[POLICIES, &[Alone], MAKES, JOINS, COMPILED, &[PolicyExec]];

#[rustfmt::skip]
const FALLBACKS: &[Fallback] = &[
    Fallback { calls: &[OPEN_TREE_ATTR], errnos: ALWAYS, courses: MOUNTS, place: "what mounts",
        way: "open_tree(2), and mount_setattr(2) on the copy before it is attached",
        plan: "`(open_tree_attr)` is missing from the bind" },
    Fallback { calls: &[libc::SYS_clone3], errnos: ALWAYS, courses: &[&course::ALL], place: "everywhere",
        way: "clone(2) with the same flags; into a cgroup of version 2, which it cannot, the launch fails",
        plan: "`no clone3`" },
    Fallback { calls: &[libc::SYS_openat2], errnos: ALWAYS, courses: &[&[Exec, ExecDetached, PolicyExec, Start]], place: "`exec`, which mounts nothing, without a terminal, and `start`",
        way: "the program is opened by openat(2) and compared with codexrun's own file; whoever could swap it runs from a read-only copy \
              (`run/own.rs`)",
        plan: "no: a filter of the container's decides it, and the launch is planned anew" },
    Fallback { calls: &[libc::SYS_close_range], errnos: ALWAYS, courses: &[&[Start]], place: "`start`, with a startContainer hook",
        way: "`create` has seen to it that execve(2) closes all but what the payload keeps, and that is closed one by one",
        plan: "a plan is a launch's" },
    Fallback { calls: &[libc::SYS_faccessat2], errnos: ALWAYS, courses: PROGRAMS, place: "where there is a program to look for",
        way: "execve(2) tells; in a policy a place that may not be looked at is shut",
        plan: "`no faccessat2`" },
    Fallback { calls: &[libc::SYS_keyctl], errnos: &[Errno::ENOSYS], courses: BUNDLES, place: "`run`, `create`, `exec`, by ENOSYS alone",
        way: "nobody has keyrings there, nor has the payload, which is behind the same filter",
        plan: "`no keyctl`" },
    Fallback { calls: &[libc::SYS_landlock_create_ruleset], errnos: ALWAYS, courses: LAUNCHES, place: "where nobody asks for rules",
        way: "a look at what there is; whoever asks for rules is refused",
        plan: "refused" },
    Fallback { calls: &[libc::SYS_setns], errnos: ALWAYS, courses: SOCKETS, place: "`sandbox` with sockets of the host's",
        way: "the broker's, which ends: connect(2) fails in the sandbox",
        plan: "`no setns`" },
    Fallback { calls: &[libc::SYS_pidfd_getfd, libc::SYS_process_vm_readv], errnos: ALWAYS, courses: &[&[Outlet]], place: "`sandbox` without sockets of the host's",
        way: "nobody can answer for a filter: AF_UNIX is refused but for pairs",
        plan: "no broker" },
    Fallback { calls: &[libc::SYS_memfd_create], errnos: ALWAYS, courses: &[&[Start, Delete, PolicyDelete], COMPILED], place: "`start`, `delete`",
        way: "a poststart hook fails, which a bundle before 1.3.0 is told by a warning; a poststop hook, which every bundle is",
        plan: "a plan is a launch's" },
    Fallback { calls: &[libc::SYS_statx, libc::SYS_getrandom, libc::SYS_rseq], errnos: ALWAYS, courses: &[&course::ALL], place: "everywhere",
        way: "the C library's and std's own ways",
        plan: "not codexrun's" },
];

/// Whether the call of this number may not be there.
pub fn is_refusable(nr: i64) -> bool {
    REFUSABLE.contains(&nr)
}

/// Why a launch of this course may not come up without the call; none if it may.
pub fn unknown(nr: i64, errno: Errno, course: Course) -> Option<String> {
    match FALLBACKS.iter().find(|fallback| fallback.calls.contains(&nr)) {
        None => Some("nobody has said why it may".into()),
        Some(known) if known.errnos.contains(&errno) && known.courses.concat().contains(&course) => None,
        Some(known) => Some(format!("it may elsewhere: {}", known.row())),
    }
}

impl Fallback {
    /// As docs/robustness.md has it.
    fn row(&self) -> String {
        let calls: Vec<String> = self.calls.iter().map(|nr| format!("`{}`", story::name(*nr))).collect();
        format!("| {} | {} | {} | {} |", calls.join(", "), self.place, self.way, self.plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fallback_is_from_a_call_that_may_be_refused_and_has_a_reason() {
        let refusable = |f: &Fallback| f.calls.iter().all(|nr| is_refusable(*nr));
        assert!(FALLBACKS.iter().all(|f| refusable(f) && !f.way.is_empty() && !f.courses.concat().is_empty()));
    }

    #[test]
    fn a_fallback_is_known_where_it_was_said_and_nowhere_else() {
        assert_eq!(unknown(libc::SYS_openat2, Errno::ENOSYS, Exec), None);
        assert!(unknown(libc::SYS_openat2, Errno::ENOSYS, Run).unwrap().contains("elsewhere: | `openat2` | `exec`"));
        assert_eq!(unknown(libc::SYS_keyctl, Errno::ENOSYS, Run), None);
        assert!(
            unknown(libc::SYS_keyctl, Errno::EPERM, Run).is_some() && unknown(libc::SYS_keyctl, Errno::ENOSYS, Sandbox).is_some()
        );
        assert!(unknown(libc::SYS_mount_setattr, Errno::ENOSYS, Run).unwrap().contains("nobody"));
    }

    #[test]
    fn the_page_has_the_same_table() {
        let page = include_str!("../../../docs/robustness.md");
        let (_, table) =
            page.split_once("| refused | where | what is done | in the plan |\n| --- | --- | --- | --- |\n").unwrap();
        let rows: Vec<String> = FALLBACKS.iter().map(Fallback::row).collect();
        assert_eq!(table.split("\n\n").next().unwrap(), rows.join("\n"));
    }
}
