//! One arm per operation, no decisions. After the clone: no allocation, no lock, no formatting, no panic.

use super::child::Child;
use crate::plan::op::{Attrs, Bind, Follow, NewFs, Op, Root, SelfMap, Sync};
use crate::plan::place::At;
use crate::sys::file::{self, Resolve};
use crate::sys::mount::{self, MountAttr, RECURSIVE, attr};
use crate::sys::{Errno, Result, cred, net, process, signal, tty};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const PATH: i32 = libc::O_PATH;
const DIR: i32 = libc::O_PATH | libc::O_DIRECTORY;

/// Performs one operation.
pub(super) fn run(op: &Op, child: &mut Child) -> Result<()> {
    match op {
        Op::DieWithParent => die_with_parent(child),
        Op::Umask(mask) => {
            process::umask(*mask);
            Ok(())
        }
        Op::Wait(sync) => wait(child, *sync),
        Op::Tell(sync) => file::write_all(child.gate.as_fd(), &[*sync as u8]),
        Op::MapSelf(map) => map_self(map, child),
        Op::NestUser(map) => process::unshare(libc::CLONE_NEWUSER as u64).and_then(|()| map_self(map, child)),
        Op::Unshare(flags) => process::unshare(*flags),
        Op::BecomeRoot => cred::set_gid(0).and_then(|()| cred::set_uid(0)),
        Op::Loopback => net::loopback_up(),
        Op::Propagation(flag) => mount::set_propagation(*flag),
        Op::Root(root) => self::root(root, child),
        Op::Mkdir { at, mode } => made(at, child, |dir, name| file::mkdir_at(dir, name, *mode)),
        Op::Touch(at) => made(at, child, touch),
        Op::Symlink { at, target } => made(at, child, |dir, name| file::symlink_at(target, dir, name)),
        Op::Bind(bind) => self::bind(bind, child),
        Op::Mount(fs) => new_fs(fs, child),
        Op::Again { slot, at } => again(*slot, at, child),
        Op::Remount { at, attrs } => set_attrs(open(at, PATH, child)?.as_fd(), attrs),
        Op::OpenDev(at) => open_dev(at, child),
        Op::Node { name, device } => node(child, name, *device),
        Op::BindNode { name, source } => bind_node(child, name, source),
        Op::Link { name, target } => exists_is_fine(file::symlink_at(target, dev(child)?, name)),
        Op::Console { ptmx, console, size } => self::console(child, ptmx, console, *size),
        Op::OpenNull(path) => open_null(path, child),
        Op::Mask(at) => mask(at, child),
        Op::ReadOnly(at) => read_only(at, child),
        Op::RootAttr(attr) => mount::setattr(child.root()?, 0, attr),
        Op::Pivot => pivot(child),
        Op::Hostname(name) => process::sethostname(name),
        Op::Domainname(name) => process::setdomainname(name),
        Op::OomScore(score) => write_proc(c"/proc/self/oom_score_adj", score.to_bytes()),
        Op::Rlimit { resource, soft, hard } => process::setrlimit(*resource, *soft, *hard),
        Op::Keyring => keyring(),
        Op::Groups(gids) => cred::set_groups(gids),
        Op::KeepCapabilities => process::set_keep_capabilities(true),
        Op::Gid(gid) => cred::set_gid(*gid),
        Op::Uid(uid) => cred::set_uid(*uid),
        Op::Bounding { keep, last } => bounding(*keep, *last),
        Op::Capabilities { effective, permitted, inheritable, ambient } => {
            let sets = cred::Capabilities { effective: *effective, permitted: *permitted, inheritable: *inheritable };
            capabilities(sets, *ambient)
        }
        Op::Undumpable => process::set_undumpable(),
        Op::Chdir(path) => file::chdir(path),
        Op::NoNewPrivs => process::set_no_new_privs(),
        Op::CloexecFrom(first) => file::cloexec_from(*first),
        Op::Init => super::init::fork(child),
        Op::Session => session(child),
        Op::Signals => signal::set_mask(&child.mask).map(drop),
        Op::Seccomp(program) => process::seccomp(&program.insns, program.flags),
        Op::Exec(exec) => Err(self::exec(&exec.candidates, child)),
    }
}

/// The parent may have died before the death signal was set: then its end of the gate is closed.
fn die_with_parent(child: &Child) -> Result<()> {
    process::set_death_signal(libc::SIGKILL)?;
    if file::hung_up(child.gate.as_fd())? { Err(Errno::ESRCH) } else { Ok(()) }
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

fn write_proc(path: &CStr, bytes: &[u8]) -> Result<()> {
    file::write_once(file::open_at(file::cwd(), path, libc::O_WRONLY)?.as_fd(), bytes)
}

fn root(root: &Root, child: &mut Child) -> Result<()> {
    let mount = match root {
        Root::Dir(path) => mount::clone_path(path, RECURSIVE, true)?,
        Root::Memory => {
            let fs = mount::fsopen(c"tmpfs")?;
            mount::fsconfig(fs.as_fd(), c"mode", Some(c"0755"))?;
            mount::fsconfig(fs.as_fd(), c"source", Some(c"codexrun"))?;
            mount::fscreate(fs.as_fd())?;
            mount::fsmount(fs.as_fd(), attr::NOSUID | attr::NODEV)?
        }
    };
    mount::attach_root(mount.as_fd())?;
    child.root = Some(mount);
    Ok(())
}

/// Makes an entry of the root in memory; its parent stands earlier in the plan.
fn made(at: &At, child: &Child, make: impl Fn(BorrowedFd, &CStr) -> Result<()>) -> Result<()> {
    if at.direct {
        return make(child.root()?, &at.name);
    }
    let parent = file::open_in(child.root()?, at.parent(), DIR, at.resolve)?;
    make(parent.as_fd(), &at.name)
}

fn touch(dir: BorrowedFd, name: &CStr) -> Result<()> {
    exists_is_fine(file::mknod_at(dir, name, libc::S_IFREG | 0o644, 0))
}

fn exists_is_fine(result: Result<()>) -> Result<()> {
    result.or_else(|e| if e == Errno::EEXIST { Ok(()) } else { Err(e) })
}

fn open(at: &At, flags: i32, child: &Child) -> Result<OwnedFd> {
    file::open_in(child.root()?, &at.path, flags, at.resolve)
}

/// Opens a place, making what is missing on the way: directories of mode 0755, at the end a directory or an empty file.
fn open_or_make(at: &At, dir: bool, child: &Child) -> Result<OwnedFd> {
    match open(at, PATH, child) {
        Err(Errno::ENOENT) => make(at, dir, child).and_then(|()| open(at, PATH, child)),
        other => other,
    }
}

fn make(at: &At, dir: bool, child: &Child) -> Result<()> {
    let mut parent = file::open_in(child.root()?, c"/", DIR, at.resolve)?;
    for ancestor in &at.parents {
        parent = match file::open_in(child.root()?, ancestor, DIR, at.resolve) {
            Err(Errno::ENOENT) => {
                exists_is_fine(file::mkdir_at(parent.as_fd(), last(ancestor), 0o755))?;
                file::open_in(child.root()?, ancestor, DIR, at.resolve)?
            }
            other => other?,
        };
    }
    if dir { exists_is_fine(file::mkdir_at(parent.as_fd(), &at.name, 0o755)) } else { touch(parent.as_fd(), &at.name) }
}

/// The last component of an absolute, clean path.
fn last(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    CStr::from_bytes_with_nul(&bytes[start..]).unwrap_or(path)
}

/// Attaches a detached mount at a place inside the root.
fn attach(mount: OwnedFd, at: &At, child: &mut Child) -> Result<OwnedFd> {
    if at.direct {
        match mount::attach_at(mount.as_fd(), child.root()?, &at.name) {
            Err(Errno::ENOENT) => {}
            other => return other.map(|()| mount),
        }
    }
    if at.is_root() {
        mount::attach_root(mount.as_fd())?;
        child.root = Some(mount.try_clone().map_err(|_| Errno::EMFILE)?);
        return Ok(mount);
    }
    let target = match open(at, PATH, child) {
        Err(Errno::ENOENT) if !at.kept => open_or_make(at, file::stat(mount.as_fd())?.is_dir(), child)?,
        other => other?,
    };
    mount::attach(mount.as_fd(), target.as_fd())?;
    Ok(mount)
}

fn bind(bind: &Bind, child: &mut Child) -> Result<()> {
    let recursive = if bind.recursive { RECURSIVE } else { 0 };
    let mount = match bind.follow {
        Follow::None => {
            let source = file::open_in(file::cwd(), &bind.source, PATH, Resolve::HostNoLinks)?;
            mount::clone_fd(source.as_fd(), recursive)?
        }
        follow if bind.attrs.one_call => {
            mount::clone_path_attr(&bind.source, recursive, follow == Follow::All, &bind.attrs.tree)?
        }
        follow => mount::clone_path(&bind.source, recursive, follow == Follow::All)?,
    };
    set_attrs(mount.as_fd(), &bind.attrs)?;
    attach(mount, &bind.at, child).map(drop)
}

fn set_attrs(mount: BorrowedFd, attrs: &Attrs) -> Result<()> {
    if !attrs.tree.is_empty() && !attrs.one_call {
        mount::setattr(mount, RECURSIVE, &attrs.tree)?;
    }
    if attrs.own.is_empty() { Ok(()) } else { mount::setattr(mount, 0, &attrs.own) }
}

fn new_fs(plan: &NewFs, child: &mut Child) -> Result<()> {
    let fs = mount::fsopen(&plan.fstype)?;
    for (key, value) in &plan.parameters {
        mount::fsconfig(fs.as_fd(), key, value.as_deref())?;
    }
    mount::fscreate(fs.as_fd())?;
    let mount = mount::fsmount(fs.as_fd(), plan.attrs.own.set)?;
    if plan.attrs.own.propagation != 0 {
        let attr = MountAttr { propagation: plan.attrs.own.propagation, ..MountAttr::default() };
        mount::setattr(mount.as_fd(), 0, &attr)?;
    }
    let mount = attach(mount, &plan.at, child)?;
    if let Some(slot) = plan.keep.and_then(|slot| child.kept.get_mut(slot)) {
        *slot = Some(mount);
    }
    Ok(())
}

fn again(slot: usize, at: &At, child: &mut Child) -> Result<()> {
    let kept = child.kept.get(slot).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
    let mount = mount::clone_fd(kept.as_fd(), 0)?;
    attach(mount, at, child).map(drop)
}

fn open_dev(at: &At, child: &mut Child) -> Result<()> {
    child.dev = Some(open_or_make(at, true, child)?);
    Ok(())
}

fn dev<'a>(child: &'a Child) -> Result<BorrowedFd<'a>> {
    child.dev.as_ref().map(AsFd::as_fd).ok_or(Errno::EBADF)
}

fn node(child: &Child, name: &CStr, device: u64) -> Result<()> {
    let dev = dev(child)?;
    match file::mknod_at(dev, name, libc::S_IFCHR | 0o666, device) {
        Err(Errno::EEXIST) => {}
        other => return other,
    }
    // What an image brings along must be the device that it says it is.
    let stat = file::stat(file::open_at(dev, name, PATH | libc::O_NOFOLLOW)?.as_fd())?;
    if stat.mode & libc::S_IFMT == libc::S_IFCHR && stat.device == device { Ok(()) } else { Err(Errno::EEXIST) }
}

/// The last component is not followed: a link that an image left there cannot redirect it.
fn bind_node(child: &Child, name: &CStr, source: &CStr) -> Result<()> {
    let dev = dev(child)?;
    touch(dev, name)?;
    mount::attach_at(mount::clone_path(source, 0, false)?.as_fd(), dev, name)
}

fn console(child: &mut Child, ptmx: &At, console: &At, size: Option<(u16, u16)>) -> Result<()> {
    let master = open(ptmx, libc::O_RDWR | libc::O_NOCTTY, child)?;
    let peer = tty::peer(master.as_fd())?;
    if let Some((rows, columns)) = size {
        tty::set_size(master.as_fd(), rows, columns)?;
    }
    // CVE-2025-52565: what is bound is the descriptor's file, and the target is resolved inside the root.
    let target = open_or_make(console, false, child)?;
    mount::attach(mount::clone_fd(peer.as_fd(), 0)?.as_fd(), target.as_fd())?;
    file::send_fd(child.gate.as_fd(), master.as_fd(), Sync::Console as u8)?;
    child.tty = Some(peer);
    Ok(())
}

fn open_null(path: &CStr, child: &mut Child) -> Result<()> {
    let null = file::open_at(file::cwd(), path, PATH | libc::O_NOFOLLOW)?;
    let stat = file::stat(null.as_fd())?;
    if stat.mode & libc::S_IFMT != libc::S_IFCHR || stat.device != libc::makedev(1, 3) {
        return Err(Errno::ENODEV);
    }
    child.null = Some(null);
    Ok(())
}

/// What is missing needs no mask: ENOENT, and ENOTDIR for something below a file.
fn present(at: &At, child: &Child) -> Result<Option<OwnedFd>> {
    match open(at, PATH, child) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => other.map(Some),
    }
}

fn mask(at: &At, child: &mut Child) -> Result<()> {
    let Some(target) = present(at, child)? else { return Ok(()) };
    let cover = if file::stat(target.as_fd())?.is_dir() {
        empty(child)?
    } else {
        mount::clone_fd(child.null.as_ref().ok_or(Errno::EBADF)?.as_fd(), 0)?
    };
    mount::attach(cover.as_fd(), target.as_fd())
}

/// A mount of the one empty file system that covers every masked directory.
fn empty(child: &mut Child) -> Result<OwnedFd> {
    if let Some(empty) = &child.empty {
        return mount::clone_fd(empty.as_fd(), 0);
    }
    let fs = mount::fsopen(c"tmpfs")?;
    mount::fsconfig(fs.as_fd(), c"mode", Some(c"0755"))?;
    mount::fscreate(fs.as_fd())?;
    let mount = mount::fsmount(fs.as_fd(), attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    child.empty = Some(mount.try_clone().map_err(|_| Errno::EMFILE)?);
    Ok(mount)
}

fn read_only(at: &At, child: &Child) -> Result<()> {
    let Some(target) = present(at, child)? else { return Ok(()) };
    let copy = mount::clone_fd(target.as_fd(), RECURSIVE)?;
    mount::setattr(copy.as_fd(), RECURSIVE, &MountAttr { set: attr::RDONLY, ..MountAttr::default() })?;
    mount::attach(copy.as_fd(), target.as_fd())
}

fn pivot(child: &mut Child) -> Result<()> {
    file::fchdir(child.root()?)?;
    mount::pivot_to_cwd()?;
    file::chdir(c"/")?;
    child.forget_host();
    Ok(())
}

/// A kernel without keyrings has none to hide.
fn keyring() -> Result<()> {
    process::join_new_keyring().or_else(|e| if e == Errno::ENOSYS { Ok(()) } else { Err(e) })
}

fn bounding(keep: u64, last: u32) -> Result<()> {
    (0..=last).filter(|cap| keep >> cap & 1 == 0).try_for_each(process::drop_bounding)
}

fn capabilities(sets: cred::Capabilities, ambient: u64) -> Result<()> {
    process::clear_ambient()?;
    cred::set_capabilities(sets)?;
    (0..64).filter(|cap| ambient >> cap & 1 == 1).try_for_each(process::raise_ambient)
}

fn session(child: &Child) -> Result<()> {
    process::setsid()?;
    if let Some(tty) = &child.tty {
        tty::set_controlling(tty.as_fd())?;
        file::become_stdio(tty.as_fd())?;
    }
    Ok(())
}

/// As execvp(3): the first candidate that is there; one that may not be executed is remembered, and the search goes on.
fn exec(candidates: &[std::ffi::CString], child: &Child) -> Errno {
    let mut error = Errno::ENOENT;
    for path in candidates {
        if leads_to_us(path) {
            return Errno::ELOOP;
        }
        match process::exec(path, &child.args, &child.env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // A directory of $PATH that cannot be searched holds nothing; a file that is there is what was meant.
            Errno::EACCES if candidates.len() == 1 || exists(path) => error = Errno::EACCES,
            Errno::EACCES => {}
            other => return other,
        }
    }
    error
}

fn exists(path: &CStr) -> bool {
    file::open_at(file::cwd(), path, PATH).is_ok()
}

/// CVE-2019-5736: `/proc/self/exe`, as the command or as the interpreter of a script, is codexrun's own file on the host, through
/// a mount that the container's is not: it could be changed from inside. As deep as the kernel follows scripts.
fn leads_to_us(path: &CStr) -> bool {
    let mut line = [0; 256];
    let mut copy;
    let mut next = path;
    for _ in 0..6 {
        let read = match file::open_in(file::cwd(), next, libc::O_RDONLY | libc::O_NONBLOCK, Resolve::NoMagicLinks) {
            Ok(script) => file::read(script.as_fd(), &mut line[..255]),
            Err(Errno::ELOOP) => return true,
            // Executable but not readable: a program, or a script whose interpreter could not read it either.
            Err(_) => file::open_in(file::cwd(), next, PATH, Resolve::NoMagicLinks).map(|_| 0),
        };
        let read = match read {
            Ok(read) => read,
            Err(e) => return e == Errno::ELOOP,
        };
        let Some(interpreter) = interpreter(&line[..read]) else { return false };
        copy = [0; 256];
        copy[..interpreter.len()].copy_from_slice(interpreter);
        let Ok(name) = CStr::from_bytes_until_nul(&copy) else { return true };
        next = name;
    }
    false
}

/// What stands behind `#!`, as the kernel cuts it.
fn interpreter(text: &[u8]) -> Option<&[u8]> {
    let line = text.strip_prefix(b"#!")?.split(|b| *b == b'\n' || *b == 0).next()?;
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    line.split(blank).find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_command_that_is_codexruns_own_file_is_seen_through() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| CString::new(dir.path().join(name).as_os_str().as_bytes()).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("plain", "#!/bin/sh\n");
        write("direct", "#!  /proc/self/exe run\n");
        write("nested", &format!("#!{}/direct\n", dir.path().display()));
        std::os::unix::fs::symlink("/proc/self/exe", dir.path().join("link")).unwrap();
        for (path, ours) in [(c"/bin/sh", false), (c"/proc/self/exe", true), (c"/nonexistent", false), (c"/etc", false)] {
            assert_eq!(leads_to_us(path), ours, "{path:?}");
        }
        for (name, ours) in [("plain", false), ("direct", true), ("nested", true), ("link", true)] {
            assert_eq!(leads_to_us(&at(name)), ours, "{name}");
        }
    }
}
