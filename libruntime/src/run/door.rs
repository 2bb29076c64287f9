//! How the container's first process gets into namespaces that exist already: a process in between joins them and makes it, as a
//! child of ours (CLONE_PARENT) that engines can wait for. We stay where we are, and so do hooks and the keeper.

use super::op::write_proc;
use super::{fault, launch};
use crate::plan::ParentStep;
use crate::plan::op::{Join, ParentOp};
use crate::sys::process::{self, Cloned, Pid};
use crate::sys::{Errno, Result as SysResult, file, namespace};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An open namespace.
pub struct Door<'a> {
    namespace: OwnedFd,
    join: &'a Join,
    origin: &'a str,
}

/// Why there is no container, and at which door, or, behind those, at which of the early steps.
pub struct Stuck {
    errno: Errno,
    at: Option<usize>,
}

/// What the first process inherits from the one that makes it.
pub(super) fn early(steps: &[ParentStep]) -> Vec<&ParentStep> {
    steps.iter().filter(|step| matches!(step.op, ParentOp::OomScore(_) | ParentOp::Undumpable)).collect()
}

/// Whether another process than ours makes it.
pub(super) fn is_between(doors: &[Door], early: &[&ParentStep]) -> bool {
    // A score of ours would stay.
    !doors.is_empty() || early.iter().any(|step| matches!(step.op, ParentOp::OomScore(_)))
}

/// The early steps; of the first that fails which it is.
fn precede(early: &[&ParentStep]) -> Result<(), (usize, Errno)> {
    early.iter().enumerate().try_for_each(|(at, step)| {
        let done = match &step.op {
            ParentOp::OomScore(score) => write_proc(c"/proc/self/oom_score_adj", score.to_bytes()),
            ParentOp::Undumpable => process::set_undumpable(),
            _ => Ok(()),
        };
        done.map_err(|errno| (at, errno))
    })
}

/// Opens what the plan joins; what is no namespace, or one of another kind, is refused here.
pub(super) fn open(steps: &[ParentStep]) -> Result<Vec<Door<'_>>> {
    joins(steps).filter_map(|(join, origin)| one(join, origin).transpose()).collect()
}

/// Everything that [`open`] would refuse.
pub(super) fn faults(steps: &[ParentStep]) -> Vec<Error> {
    joins(steps).filter_map(|(join, origin)| one(join, origin).err()).collect()
}

fn joins(steps: &[ParentStep]) -> impl Iterator<Item = (&Join, &str)> {
    steps.iter().filter_map(|s| if let ParentOp::Join(join) = &s.op { Some((join, s.origin.as_str())) } else { None })
}

fn one<'a>(join: &'a Join, origin: &'a str) -> Result<Option<Door<'a>>> {
    let path = join.path.to_string_lossy();
    let at = |error: Error| error.at(format!("config.json: {origin}"));
    let failed = |e| at(Error::new(format!("cannot open the namespace `{path}`")).cause(fault::describe(e)));
    // What is no namespace may be a FIFO without a writer, which would be waited for, or a terminal, which would become ours.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let namespace = file::open_at(file::cwd(), &join.path, flags).map_err(failed)?;
    let wanted = name(join.flag);
    match namespace::kind(namespace.as_fd()) {
        Ok(kind) if kind == join.flag => {}
        Ok(kind) => return Err(at(Error::new(format!("`{path}` is not a {wanted} namespace, but a {} namespace", name(kind))))),
        Err(_) => return Err(at(Error::new(format!("`{path}` is not a {wanted} namespace")))),
    }
    match ours(&namespace, join.flag).map_err(failed)? {
        // What is mounted for the container, and the pivot, would be the host's.
        true if join.flag == libc::CLONE_NEWNS as u64 => {
            let error =
                Error::new(format!("`{path}` is the runtime's own namespace, in which nothing may be mounted for a container"));
            Err(at(error.hint("a container without an entry of the type `mount` stays in it")))
        }
        true if let Some(field) = join.changed_by => {
            Err(at(Error::new(format!("`{path}` is the runtime's own namespace, which `{field}` must not change"))))
        }
        // setns(2) refuses the user namespace that one is in, and the others would change nothing.
        true => Ok(None),
        false => Ok(Some(Door { namespace, join, origin })),
    }
}

fn ours(namespace: &OwnedFd, flag: u64) -> SysResult<bool> {
    let own = file::open_at(file::cwd(), own(flag), libc::O_RDONLY)?;
    Ok(file::stat(own.as_fd())?.id == file::stat(namespace.as_fd())?.id)
}

const KINDS: &[(libc::c_int, &str, &std::ffi::CStr)] = &[
    (libc::CLONE_NEWUSER, "user", c"/proc/self/ns/user"),
    (libc::CLONE_NEWNS, "mount", c"/proc/self/ns/mnt"),
    (libc::CLONE_NEWPID, "pid", c"/proc/self/ns/pid"),
    (libc::CLONE_NEWNET, "network", c"/proc/self/ns/net"),
    (libc::CLONE_NEWIPC, "ipc", c"/proc/self/ns/ipc"),
    (libc::CLONE_NEWUTS, "uts", c"/proc/self/ns/uts"),
    (libc::CLONE_NEWCGROUP, "cgroup", c"/proc/self/ns/cgroup"),
    (libc::CLONE_NEWTIME, "time", c"/proc/self/ns/time"),
];

fn kind(flag: u64) -> Option<&'static (libc::c_int, &'static str, &'static std::ffi::CStr)> {
    KINDS.iter().find(|(of, ..)| *of as u64 == flag)
}

fn name(flag: u64) -> &'static str {
    kind(flag).map_or("nameless", |(_, name, _)| name)
}

fn own(flag: u64) -> &'static std::ffi::CStr {
    kind(flag).map_or(c"/proc/self/ns", |(.., path)| path)
}

/// As [`process::clone`], inside of all these namespaces. The new process is our child in any case.
///
/// Without a process in between it is born in `cgroup`.
pub(super) fn clone(doors: &[Door], early: &[&ParentStep], namespaces: u64, cgroup: Option<BorrowedFd>) -> Result<Cloned, Stuck> {
    let stuck = |errno| Stuck { errno, at: None };
    let precede = || precede(early).map_err(|(at, errno)| Stuck { errno, at: Some(doors.len() + at) });
    if !is_between(doors, early) {
        return precede().and_then(|()| process::clone_into(namespaces, cgroup).map_err(stuck));
    }
    let (hear, say) = file::socketpair().map_err(stuck)?;
    match process::clone(0).map_err(stuck)? {
        Cloned::Child => {
            match precede().and_then(|()| pass(doors)).and_then(|()| process::clone_sibling(namespaces).map_err(stuck)) {
                Ok(Cloned::Child) => Ok(Cloned::Child),
                Ok(Cloned::Parent(pid, pidfd)) => tell(say.as_fd(), [pid, -1], Some(pidfd)),
                Err(Stuck { errno, at }) => tell(say.as_fd(), [-(errno as i32), at.map_or(-1, |at| at as i32)], None),
            }
        }
        Cloned::Parent(between, _) => {
            drop(say);
            let told = hear_from(hear.as_fd());
            process::wait(between, 0).map_err(stuck)?;
            told
        }
    }
}

/// The process in between has done its part. Allocates nothing, as every copy of us.
fn tell(say: BorrowedFd, words: [i32; 2], pidfd: Option<OwnedFd>) -> ! {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&words[0].to_ne_bytes());
    bytes[4..].copy_from_slice(&words[1].to_ne_bytes());
    let said = file::write_all(say, &bytes);
    let sent = said.and_then(|()| pidfd.map_or(Ok(()), |pidfd| file::send_fd(say, pidfd.as_fd(), 0)));
    process::exit(if sent.is_ok() { 0 } else { 1 })
}

fn hear_from(hear: BorrowedFd) -> Result<Cloned, Stuck> {
    let stuck = |errno| Stuck { errno, at: None };
    let mut bytes = [0; 8];
    if file::read(hear, &mut bytes).map_err(stuck)? < bytes.len() {
        return Err(stuck(Errno::ECHILD));
    }
    let pid = told(bytes)?;
    let pidfd = file::receive_fd(hear, 0).map_err(stuck)?;
    pidfd.map(|pidfd| Cloned::Parent(pid, pidfd)).ok_or(stuck(Errno::ECHILD))
}

/// What [`tell`] has said: which process there is now, or why there is none.
pub fn told(b: [u8; 8]) -> Result<Pid, Stuck> {
    let (pid, at) = (i32::from_ne_bytes([b[0], b[1], b[2], b[3]]), i32::from_ne_bytes([b[4], b[5], b[6], b[7]]));
    match (pid, at) {
        (1.., -1) => Ok(pid),
        (0.., _) => Err(Stuck { errno: Errno::EPROTO, at: None }),
        _ => Err(Stuck { errno: Errno::from_raw(pid.saturating_neg()), at: usize::try_from(at).ok() }),
    }
}

/// As runc does: with the caller's own right what it has a right to, then the user namespace, then with the right that comes from it
/// the rest. The mount namespace is the last of each turn, as it takes the root along.
fn pass(doors: &[Door]) -> Result<(), Stuck> {
    let mut left = doors.iter().fold(0, |flags, door| flags | door.join.flag);
    let (user, mount) = (libc::CLONE_NEWUSER as u64, libc::CLONE_NEWNS as u64);
    let with_user = left & user != 0;
    let may_wait = |errno| with_user && errno == Errno::EPERM;
    for turn in [!user & !mount, mount, user, !user & !mount, mount] {
        for (at, door) in doors.iter().enumerate().filter(|(_, door)| door.join.flag & turn != 0) {
            if left & door.join.flag == 0 {
                continue;
            }
            match namespace::join(door.namespace.as_fd(), door.join.flag) {
                Ok(()) => left &= !door.join.flag,
                Err(errno) if left & user != 0 && door.join.flag != user && may_wait(errno) => {}
                Err(errno) => return Err(Stuck { errno, at: Some(at) }),
            }
        }
    }
    Ok(())
}

/// The sentence for it.
pub fn failed(stuck: Stuck, (doors, early): (&[Door], &[&ParentStep]), namespaces: u64, cgroup: bool) -> Error {
    if cgroup && matches!(stuck.errno, Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::EACCES) {
        let error = Error::new("cannot make the process in its cgroup").at("config.json: linux.cgroupsPath");
        return error
            .cause(fault::describe(stuck.errno))
            .hint("a cgroup with controllers for its children may hold no process (cgroups(7))");
    }
    let Some(at) = stuck.at else { return launch::not_cloned(stuck.errno, namespaces) };
    let Some(door) = doors.get(at) else {
        let step = early.get(at - doors.len());
        return step.map_or_else(|| launch::not_cloned(stuck.errno, namespaces), |step| launch::failed(step, stuck.errno));
    };
    let what = format!("cannot join the {} namespace `{}`", name(door.join.flag), door.join.path.to_string_lossy());
    let error = Error::new(what).at(format!("config.json: {}", door.origin)).cause(fault::describe(stuck.errno));
    match (stuck.errno, door.join.flag as i32) {
        (Errno::EPERM, libc::CLONE_NEWUSER) => error.hint("it takes CAP_SYS_ADMIN in it, which its maker has"),
        (Errno::EPERM, _) => error.hint("it takes CAP_SYS_ADMIN in the user namespace that it belongs to: join that one too"),
        (Errno::EINVAL, libc::CLONE_NEWPID) => {
            error.hint("only the runtime's own pid namespace and those below it can be joined")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_made_has_failed_at_no_door() {
        let said = |words: [i32; 2]| told(words.map(i32::to_ne_bytes).concat().try_into().unwrap()).map_err(|stuck| stuck.errno);
        assert_eq!(said([7, -1]), Ok(7));
        assert_eq!(said([-libc::EPERM, 0]), Err(Errno::EPERM));
        for garbled in [[7, 0], [7, i32::MIN], [0, -1], [0, 0]] {
            assert_eq!(said(garbled), Err(Errno::EPROTO));
        }
    }
}
