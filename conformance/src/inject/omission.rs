//! Calls whose whole effect is on what runs afterwards, so that they can be left out and say that they were made. Each must be missed: by the
//! payload, by whoever looks around afterwards, or because nothing runs. Otherwise the testimony is blind to what the call does, and a
//! launch that does not do it would pass for a whole one.

use super::course::Course;
use super::tracer::Call;
use libc::user_regs_struct;
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A call that can be left out.
#[derive(Debug, Clone, Copy)]
pub struct Omission {
    /// Which one.
    pub call: Call,
    /// What it would have returned.
    pub said: i64,
}

/// They return 0, or what nobody needs. Not unshare(2) and setns(2), without which the rest would be done to the host: which namespaces are the
/// payload's own stands in `asked.rs`. Nor what permits (landlock_add_rule(2)).
const SILENT: &[i64] = &[
    libc::SYS_capset,
    libc::SYS_chdir,
    libc::SYS_chroot,
    libc::SYS_close_range,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_ioprio_set,
    libc::SYS_keyctl,
    libc::SYS_landlock_restrict_self,
    libc::SYS_linkat,
    libc::SYS_mount,
    libc::SYS_pivot_root,
    libc::SYS_sched_setattr,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_setgroups,
    libc::SYS_sethostname,
    libc::SYS_setresgid,
    libc::SYS_setresuid,
    libc::SYS_setsid,
    libc::SYS_symlinkat,
    libc::SYS_umount2,
];

/// What the others have to be about, lest they only ask. Of prctl(2) not what execve(2) undoes or has (PR_SET_DUMPABLE), nor what shows only
/// when somebody is killed (PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER: *each moment is hit by a signal*), nor that nothing stays ambient,
/// where nothing was (`hole/identity.rs`).
const PRCTL: [i32; 3] = [libc::PR_CAPBSET_DROP, libc::PR_SET_KEEPCAPS, libc::PR_SET_NO_NEW_PRIVS];
const IOCTL: [u64; 4] = [libc::SIOCSIFFLAGS, libc::TIOCSCTTY, libc::TIOCSWINSZ, libc::TCSETS];
/// fsconfig(2): a parameter with a value. The only one without is `newinstance`, which the kernel ignores.
const FSCONFIG_SET_STRING: u64 = 1;
/// The mode that a tmpfs has by itself.
const OWN_MODE: &[u8] = b"1777\0";

/// All CPUs that a cgroup has: the suite is bound to none of them, and `cmd/tests/lifecycle.rs` tells of who is.
const ALL_CPUS: &[u8] = &[0xff; 128];

/// personality(2): only what it is.
const ASKS: u64 = 0xffff_ffff;

/// What is not left out of a course, as nobody there can miss it.
struct Unmissed {
    courses: &'static [Course],
    /// All that could be left out, if there is none.
    calls: &'static [i64],
    why: &'static str,
    /// In which course it is missed.
    told_by: &'static str,
}

use Course::{
    Alone, Auto, Delete, Outlet, PolicyCreate, PolicyDelete, PolicyDetached, PolicyExec, PolicyRun, RunHere, Sandbox, Start,
};

const POLICIES: &[Course] = &[Sandbox, Auto, Alone, Outlet, PolicyRun, PolicyDetached, PolicyExec];

#[rustfmt::skip]
const UNMISSED: &[Unmissed] = &[
    Unmissed { courses: POLICIES, calls: &[libc::SYS_capset, libc::SYS_setsid, libc::SYS_umask, libc::SYS_setgroups],
        why: "with an empty bounding set execve(2) leaves no capability, init has a session and the payload another, whatever a umask could \
              be for is mounted over, and the suite's root is in no group",
        told_by: "`run`, `exec`" },
    Unmissed { courses: &[RunHere], calls: &[libc::SYS_fsconfig, libc::SYS_mount_setattr, libc::SYS_move_mount],
        why: "no table has the mounts of a container without a mount namespace",
        told_by: "`run`, which makes the same mounts" },
    Unmissed { courses: &[Outlet], calls: &[libc::SYS_ioctl],
        why: "the helper of the bridge brings the loopback up once more",
        told_by: "`sandbox`" },
    Unmissed { courses: &[Start], calls: &[libc::SYS_close_range],
        why: "`create` has seen to it that execve(2) closes what a hook must not have",
        told_by: "`run`" },
    Unmissed { courses: &[PolicyCreate], calls: &[],
        why: "what it has made is no payload's before its start, which is another command's",
        told_by: "`run` of the same bundle" },
    Unmissed { courses: &[Delete, PolicyDelete], calls: &[],
        why: "they make nothing of a payload's; of their hooks only what shows when somebody is killed",
        told_by: "`create`; *each moment is hit by a signal*" },
];

/// Why nothing is left out of a course; none where something is.
pub fn untried(course: Course) -> Option<String> {
    let all = UNMISSED.iter().find(|unmissed| unmissed.calls.is_empty() && unmissed.courses.contains(&course))?;
    Some(format!("{}: told by {}", all.why, all.told_by))
}

impl Omission {
    /// Whether a payload can miss it.
    pub fn is_of(&self, course: Course) -> bool {
        let has = |unmissed: &&Unmissed| unmissed.calls.is_empty() || unmissed.calls.contains(&self.call.nr);
        !UNMISSED.iter().filter(has).any(|unmissed| unmissed.courses.contains(&course))
    }

    /// Of a call that is about to be made with these registers.
    pub fn of(pid: Pid, call: Call, regs: &user_regs_struct) -> Option<Omission> {
        said(pid, call.nr, regs).map(|said| Omission { call, said })
    }
}

fn said(pid: Pid, nr: i64, regs: &user_regs_struct) -> Option<i64> {
    let if_so = |does: bool| does.then_some(0);
    match nr {
        nr if SILENT.contains(&nr) => Some(0),
        libc::SYS_umask => status(pid, "Umask:", 8),
        libc::SYS_sched_setaffinity => if_so(!lies_at(pid, regs.rdx, ALL_CPUS)),
        libc::SYS_prlimit64 => if_so(regs.rdx != 0),
        libc::SYS_personality => if_so(regs.rdi != ASKS),
        // Without a filter it asks whether there could be one.
        libc::SYS_seccomp => if_so(regs.rdi == u64::from(libc::SECCOMP_SET_MODE_FILTER) && regs.rdx != 0),
        libc::SYS_fsconfig => if_so(regs.rsi == FSCONFIG_SET_STRING && !lies_at(pid, regs.r10, OWN_MODE)),
        // Over `/`: where hooks come before the pivot the root is moved from there; elsewhere pivot_root(2) misses it.
        libc::SYS_move_mount => if_so(regs.rdx as i32 != libc::AT_FDCWD),
        // `rw` takes off what the suite's sources do not have.
        libc::SYS_mount_setattr => if_so(![0, 16].iter().all(|field| lies_at(pid, regs.r10 + field, &[0; 8]))),
        // A file is a mount point, which whoever mounts makes when it is missing.
        libc::SYS_mknodat => if_so(regs.rdx as u32 & libc::S_IFMT != libc::S_IFREG),
        libc::SYS_ioctl => if_so(IOCTL.contains(&regs.rsi)),
        libc::SYS_prctl => if_so(PRCTL.contains(&(regs.rdi as i32)) && !is_dropped(pid, regs)),
        libc::SYS_write | libc::SYS_pwrite64 => is_the_kernels(pid, regs.rdi).then_some(regs.rdx.cast_signed()),
        _ => None,
    }
}

/// Whether it drops a capability that the caller does not have.
fn is_dropped(pid: Pid, regs: &user_regs_struct) -> bool {
    let has = |bounding: i64| regs.rsi < 64 && bounding >> regs.rsi & 1 == 1;
    regs.rdi as i32 == libc::PR_CAPBSET_DROP && !status(pid, "CapBnd:", 16).is_some_and(has)
}

/// A number of /proc/PID/status.
fn status(pid: Pid, field: &str, radix: u32) -> Option<i64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    i64::from_str_radix(status.lines().find_map(|line| line.strip_prefix(field))?.trim(), radix).ok()
}

/// Whether this is in a process's memory.
fn lies_at(pid: Pid, at: u64, bytes: &[u8]) -> bool {
    let mut there = vec![0; bytes.len()];
    let read = fs::File::open(format!("/proc/{pid}/mem")).and_then(|memory| memory.read_exact_at(&mut there, at));
    read.is_ok() && there == bytes
}

/// Whether a descriptor is of a file by which the kernel is told something.
fn is_the_kernels(pid: Pid, fd: u64) -> bool {
    let file = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
    ["/proc", "/sys"].iter().any(|dir| file.starts_with(Path::new(dir)))
}

/// Whether each call of this number does again what another does: of descriptors both codexrun and its child take care, and the working
/// directory is entered by who has the power to and by who has not. They are left out all together.
pub fn is_one_of_several(nr: i64) -> bool {
    [libc::SYS_close_range, libc::SYS_chdir].contains(&nr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::{course, story};

    #[test]
    fn what_is_left_out_of_no_course_has_a_reason_and_somebody_who_tells() {
        assert!(UNMISSED.iter().all(|unmissed| !unmissed.why.is_empty() && !unmissed.told_by.is_empty()));
        let of = |course, nr| Omission { call: Call { process: 1, nr, nth: 0 }, said: 0 }.is_of(course);
        for course in course::ALL {
            let some = SILENT.iter().any(|nr| of(course, *nr));
            assert_eq!(some, untried(course).is_none(), "{}", course.name());
        }
        assert!(of(Course::Run, libc::SYS_capset) && of(Course::Exec, libc::SYS_umask) && !of(Sandbox, libc::SYS_capset));
        assert!(
            of(Sandbox, libc::SYS_mount_setattr) && !of(RunHere, libc::SYS_mount_setattr) && of(RunHere, libc::SYS_setresuid)
        );
    }

    #[test]
    fn the_page_has_the_same_table() {
        let row = |unmissed: &Unmissed| {
            let courses: Vec<String> = unmissed.courses.iter().map(|course| format!("`{}`", course.name())).collect();
            let calls: Vec<String> = unmissed.calls.iter().map(|nr| format!("`{}`", story::name(*nr))).collect();
            let calls = if calls.is_empty() { "nothing".into() } else { format!("all but {}", calls.join(", ")) };
            format!("| {} | {calls} | {} | {} |", courses.join(", "), unmissed.why, unmissed.told_by)
        };
        let page = include_str!("../../../docs/robustness.md");
        let head = "| of | is left out | as nobody can miss it there | told by |\n| --- | --- | --- | --- |\n";
        let (_, table) = page.split_once(head).unwrap();
        let rows: Vec<String> = UNMISSED.iter().map(row).collect();
        assert_eq!(table.split("\n\n").next().unwrap(), rows.join("\n"));
    }
}
