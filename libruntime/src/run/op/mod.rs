//! One arm per operation, no decisions. After the clone: no allocation, no lock, no formatting, no panic.

pub(crate) mod agent;
mod chroot;
pub(crate) mod copy;
mod device;
pub(crate) mod exec;
pub(crate) mod home;
mod hook;
mod join;
mod label;
mod landlock;
mod mask;
pub(super) mod mounts;
pub(super) mod pin;
mod place;
pub(super) mod walk;

use super::child::Child;
use super::fault::Heard;
use crate::plan::op::{Op, SelfMap, Sync};
use crate::sys::file::Resolve;
use crate::sys::{Errno, Result, cred, file, mount, namespace, net, process, schedule, signal, tty};
use place::{DIR, made, touch};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// Performs one operation.
pub(super) fn run(op: &Op, child: &mut Child) -> Result<()> {
    match op {
        Op::DieWithParent => die_with_parent(child),
        Op::Umask(mask) => umask(*mask, child),
        Op::UmaskOfCaller => umask(child.umask.ok_or(Errno::EBADF)?, child),
        Op::EnterCgroup => enter_cgroup(child),
        Op::Wait(sync) => wait(child, *sync),
        Op::Tell(sync) => file::write_all(child.gate.as_fd(), &[*sync as u8]),
        Op::MapSelf(map) => map_self(map, child),
        Op::NestUser(map) => process::unshare(libc::CLONE_NEWUSER as u64).and_then(|()| map_self(map, child)),
        Op::Unshare(flags) => process::unshare(*flags),
        Op::Lend { own_network } => agent::lend(*own_network, child),
        Op::Become { uid, gid } => cred::set_gid(*gid).and_then(|()| cred::set_uid(*uid)),
        Op::Time(offsets) => time(offsets),
        Op::Sysctl { path, value } => sysctl(path, value.to_bytes()),
        Op::Loopback => net::loopback_up(),
        Op::Propagation { flag, recursive } => mount::set_propagation(mount::recursive(*recursive), *flag),
        Op::Receive(slot) => mounts::receive(*slot, child),
        Op::Root(root) => mounts::root(root, child),
        Op::Tree(root) => chroot::tree(root, child),
        Op::Mkdir { at, mode } => made(at, child, |dir, name| file::mkdir_at(dir, name, *mode)),
        Op::Touch(at) => made(at, child, touch),
        Op::Symlink { at, target } => made(at, child, |dir, name| file::symlink_at(target, dir, name)),
        Op::Bind(bind) => mounts::bind(bind, child),
        Op::BindOr { bind, other } => mounts::bind_or(bind, other, child),
        Op::Mount(fs) => mounts::new_fs(fs, child),
        Op::Again { slot, at } => mounts::again(*slot, at, child),
        Op::Remount { at, attrs, parameters } => mounts::remount(at, attrs, parameters, child),
        Op::OpenDev(at) => device::open_dev(at, child),
        Op::Device(plan) => device::device(plan, child),
        Op::Node { name, device } => device::node(child, name, *device),
        Op::BindNode { name, source } => device::bind_node(child, name, source),
        Op::Link { name, target } => device::link(child, name, target),
        Op::Console { ptmx, console, size } => device::console(child, ptmx, console, *size),
        Op::OwnTerminal(uid) => device::own_terminal(*uid, child),
        Op::Dir(at) => place::dir(at, child),
        Op::OpenNull(path) => mask::open_null(path, child),
        Op::Mask(at) => mask::mask(at, child),
        Op::ReadOnly(at) => mask::read_only(at, child),
        Op::RootAttr { attr, recursive } => mount::setattr(child.root()?, mount::recursive(*recursive), attr),
        Op::MoveRoot(path) => mounts::move_root(path, child),
        Op::Pivot { layers, shared } => mounts::pivot(*layers, *shared, child),
        Op::Chroot => chroot::enter(child),
        Op::Hostname(name) => process::sethostname(name),
        Op::Domainname(name) => process::setdomainname(name),
        Op::OomScore(score) => write_proc(c"/proc/self/oom_score_adj", score.to_bytes()),
        Op::Rlimit { resource, soft, hard } => process::setrlimit(*resource, *soft, *hard),
        Op::Scheduler(s) => schedule::set_scheduler(s.policy, s.flags, s.nice, s.priority, s.deadline),
        Op::IoPriority(value) => schedule::set_io_priority(*value),
        Op::Affinity(cpus) => schedule::set_affinity(cpus),
        Op::MemoryPolicy { mode, nodes } => schedule::set_memory_policy(*mode, nodes),
        Op::Personality(persona) => schedule::set_personality(*persona),
        Op::OpenProc => label::open_proc(child),
        Op::Label(label) => label::say(label, child),
        Op::Keyring => keyring(),
        Op::Groups { gids, denied_is_fine } => match cred::set_groups(gids) {
            Err(Errno::EPERM) if *denied_is_fine => Ok(()),
            other => other,
        },
        Op::KeepCapabilities => process::set_keep_capabilities(true),
        Op::Gid(gid) => cred::set_gid(*gid),
        Op::Uid(uid) => cred::set_uid(*uid),
        Op::Bounding { keep, last } => bounding(*keep, *last),
        Op::Capabilities { effective, permitted, inheritable, ambient } => {
            let sets = cred::Capabilities { effective: *effective, permitted: *permitted, inheritable: *inheritable };
            capabilities(sets, *ambient)
        }
        Op::Undumpable => process::set_undumpable(),
        Op::Home(uid) => home::add(*uid, child),
        Op::Enter(path) => enter(path, child),
        Op::Chdir(_) if child.entered => Ok(()),
        Op::Chdir(path) => chdir(path),
        Op::NoNewPrivs => process::set_no_new_privs(),
        Op::CloexecFrom(first) => file::cloexec_from(*first),
        Op::TakeRelay => take_relay(child),
        Op::Join(flags) => join::join(child, *flags),
        Op::JoinRoot => chroot::join(child),
        Op::Descend => join::descend(child),
        Op::Terminal { size } => join::terminal(child, *size),
        Op::Stdio => child.tty.as_ref().map_or(Err(Errno::EBADF), |tty| file::become_stdio(tty.as_fd())),
        Op::Find(candidates) => exec::find(candidates).map(drop),
        Op::Pin(candidates) => pin::pin(candidates, child),
        Op::Park => park(child),
        Op::Hook(one) => hook::run(one, child),
        Op::Hooked => Heard::say_hooked(child.faults.as_fd()),
        Op::Init => super::init::fork(child),
        Op::Session => session(child),
        Op::Signals => signal::set_mask(&child.mask).map(drop),
        Op::Permit(permit) => landlock::permit(permit, child),
        Op::Restrict => landlock::restrict(child),
        Op::Seccomp(program) => process::seccomp(&program.insns, program.flags),
        Op::Supervised { program, sends } => {
            agent::supervised(|| process::seccomp_listener(&program.insns, program.flags), *sends, child)
        }
        Op::Exec(exec) => Err(match &child.program {
            Some(program) => pin::exec(program, child),
            None => exec::exec(&exec.candidates, child),
        }),
    }
}

/// The parent may have died before the death signal was set: then its end of the gate is closed.
fn die_with_parent(child: &Child) -> Result<()> {
    process::set_death_signal(libc::SIGKILL)?;
    if file::hung_up(child.gate.as_fd())? { Err(Errno::ESRCH) } else { Ok(()) }
}

/// The old one can only be had by setting a new one.
fn umask(mask: u32, child: &mut Child) -> Result<()> {
    let old = process::umask(mask);
    child.umask.get_or_insert(old);
    Ok(())
}

/// Each descriptor leads to the host's cgroups, and is closed at once.
fn enter_cgroup(child: &mut Child) -> Result<()> {
    for file in &mut child.cgroup {
        let entered = file.take().map_or(Ok(()), |file| file::write_once(file.as_fd(), b"0"));
        match entered {
            Err(Errno::EACCES | Errno::EPERM) if child.may_stay_outside => {}
            entered => entered?,
        }
    }
    Ok(())
}

/// Hooks still speak to the caller: while they run nobody relays.
fn take_relay(child: &mut Child) -> Result<()> {
    if child.streams.has_errors() && child.plan.child.iter().any(|step| step.op == Op::Hooked) {
        child.stderr = Some(file::duplicate(file::stderr())?);
    }
    child.streams.become_streams()
}

fn wait(child: &Child, sync: Sync) -> Result<()> {
    let mut byte = [0];
    match file::read(child.gate.as_fd(), &mut byte)? {
        1 if byte[0] == sync as u8 => Ok(()),
        1 => Err(Errno::EPROTO),
        _ => Err(Errno::EPIPE),
    }
}

/// user_namespaces(7): one id each, and setgroups(2) given up first.
fn map_self(map: &SelfMap, child: &mut Child) -> Result<()> {
    if child.proc_self.is_none() {
        child.proc_self = Some(file::open_at(file::cwd(), c"/proc/self", DIR)?);
    }
    let dir = child.proc_self.as_ref().map_or(file::cwd(), AsFd::as_fd);
    let write = |name: &CStr, bytes: &[u8]| file::write_once(file::open_at(dir, name, libc::O_WRONLY)?.as_fd(), bytes);
    write(c"setgroups", b"deny")?;
    write(c"uid_map", map.uid.to_bytes())?;
    write(c"gid_map", map.gid.to_bytes())
}

/// The host's root may not be root of the directory's file system (NFS): then the user may.
fn enter(path: &CStr, child: &mut Child) -> Result<()> {
    match chdir(path) {
        Err(Errno::EACCES) => Ok(()),
        done => done.map(|()| child.entered = true),
    }
}

/// CVE-2024-21626: a path may lead through a descriptor that somebody left open to a directory outside of the root.
fn chdir(path: &CStr) -> Result<()> {
    file::chdir(path)?;
    match file::cwd_is_reachable() {
        Ok(reachable) => reachable.then_some(()).ok_or(Errno::EXDEV),
        // A filter that refuses getcwd(2): then without magic links, which are the only way out.
        Err(_) => file::open_in(file::cwd(), path, DIR, Resolve::NoMagicLinks).and_then(|dir| file::fchdir(dir.as_fd())),
    }
}

/// Until a byte comes through the FIFO. From then on whoever has sent it is the one to tell of a fault.
fn park(child: &mut Child) -> Result<()> {
    let start = child.start.take().ok_or(Errno::EBADF)?;
    let mut said = [0];
    let read = file::read(start.gate.as_fd(), &mut said)?;
    child.faults = start.faults;
    may_start(&said[..read])
}

/// What [`super::start`] says, and nothing else.
pub(crate) fn may_start(said: &[u8]) -> Result<()> {
    match said {
        [] => Err(Errno::EPIPE),
        [word] if *word == Sync::Start as u8 => Ok(()),
        _ => Err(Errno::EPROTO),
    }
}

/// time_namespaces(7): the offsets can be written as long as nobody is in it.
fn time(offsets: &CStr) -> Result<()> {
    process::unshare(libc::CLONE_NEWTIME as u64)?;
    if !offsets.is_empty() {
        write_proc(c"/proc/self/timens_offsets", offsets.to_bytes())?;
    }
    let made = file::open_at(file::cwd(), c"/proc/self/ns/time_for_children", libc::O_RDONLY)?;
    namespace::join(made.as_fd(), libc::CLONE_NEWTIME as u64)
}

fn sysctl(path: &CStr, value: &[u8]) -> Result<()> {
    let dir = file::open_at(file::cwd(), c"/proc/sys", DIR)?;
    // In a mount namespace that was joined by path it is somebody else's.
    if file::filesystem(dir.as_fd())? != libc::PROC_SUPER_MAGIC {
        return Err(Errno::ENODEV);
    }
    file::write_once(file::open_in(dir.as_fd(), path, libc::O_WRONLY, Resolve::NoLinks)?.as_fd(), value)
}

pub(super) fn write_proc(path: &CStr, bytes: &[u8]) -> Result<()> {
    file::write_once(file::open_at(file::cwd(), path, libc::O_WRONLY)?.as_fd(), bytes)
}
/// A kernel without keyrings has none to hide.
fn keyring() -> Result<()> {
    process::join_new_keyring().or_else(|e| if e == Errno::ENOSYS { Ok(()) } else { Err(e) })
}

fn bounding(keep: u64, last: u32) -> Result<()> {
    (0..=last).filter(|cap| keep >> cap & 1 == 0).try_for_each(process::drop_bounding)
}

/// capset(2) itself takes from the ambient set what is not in both the permitted and the inheritable one (capabilities(7)).
fn capabilities(sets: cred::Capabilities, ambient: u64) -> Result<()> {
    if sets.permitted & sets.inheritable != 0 {
        process::clear_ambient()?;
    }
    cred::set_capabilities(sets)?;
    (0..64).filter(|cap| ambient >> cap & 1 == 1).try_for_each(process::raise_ambient)
}

fn session(child: &Child) -> Result<()> {
    process::setsid()?;
    if let Some(tty) = &child.tty {
        tty::set_controlling(tty.as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_start_starts() {
        assert_eq!((may_start(b"s"), may_start(b"")), (Ok(()), Err(Errno::EPIPE)));
        assert_eq!([may_start(b"\n"), may_start(b"\0")], [Err(Errno::EPROTO); 2]);
    }
}
