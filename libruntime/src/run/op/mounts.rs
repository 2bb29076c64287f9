//! The root, the mounts on it, and the pivot.

use super::super::child::Child;
use super::chroot::copied;
use super::copy;
use super::place::{DIR, PATH, attach, below_root, open, open_or_make};
use crate::plan::op::{Attrs, Bind, Follow, NewFs, Prepared, Root};
use crate::plan::place::At;
use crate::sys::file::{self, Resolve};
use crate::sys::mount::{self, MountAttr, RECURSIVE, attr};
use crate::sys::{Errno, Result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) fn root(root: &Root, child: &mut Child) -> Result<()> {
    new_root(root, child)?;
    mount::attach_root(child.root()?)
}

/// The root, not attached yet.
pub(super) fn new_root(root: &Root, child: &mut Child) -> Result<()> {
    let mount = match root {
        Root::Dir(path) => copied(mount::clone_path(path, RECURSIVE, true)?, child)?,
        Root::Memory => {
            let parameters = [(c"mode", Some(c"0755")), (c"source", Some(c"codexrun"))];
            fresh(c"tmpfs", parameters.into_iter(), attr::NOSUID | attr::NODEV)?
        }
    };
    child.root_id = file::stat(mount.as_fd())?.id;
    child.root = Some(mount);
    Ok(())
}

/// A detached mount of a new file system; `attrs` are MOUNT_ATTR_*.
pub(in crate::run) fn fresh<'a>(
    fstype: &CStr,
    parameters: impl Iterator<Item = (&'a CStr, Option<&'a CStr>)>,
    attrs: u64,
) -> Result<OwnedFd> {
    let fs = mount::fsopen(fstype)?;
    for (key, value) in parameters {
        mount::fsconfig(fs.as_fd(), key, value)?;
    }
    mount::fscreate(fs.as_fd())?;
    mount::fsmount(fs.as_fd(), attrs)
}

pub(super) fn bind(bind: &Bind, child: &mut Child) -> Result<()> {
    let mount = match bind.prepared {
        Some(Prepared::Mapped(slot)) => child.mapped.get_mut(slot).and_then(Option::take).ok_or(Errno::EBADF)?,
        Some(Prepared::Sent(slot)) => child.sent.get_mut(slot).and_then(Option::take).ok_or(Errno::EBADF)?,
        None => copy_of(bind)?,
    };
    let mount = copied(mount, child)?;
    set_attrs(mount.as_fd(), &bind.attrs)?;
    attach(mount, &bind.at, child).map(drop)
}

pub(super) fn receive(slot: usize, child: &mut Child) -> Result<()> {
    let came = file::receive_fd(child.gate.as_fd(), 0)?;
    *child.sent.get_mut(slot).ok_or(Errno::EBADF)? = Some(came.ok_or(Errno::EPIPE)?);
    Ok(())
}

fn copy_of(bind: &Bind) -> Result<OwnedFd> {
    let tree = mount::recursive(bind.recursive);
    match bind.attrs.one_call {
        true => mount::clone_path_attr(&bind.source, tree, bind.follow == Follow::All, &bind.attrs.tree),
        false => clone_of(&bind.source, bind.follow, tree),
    }
}

/// open_tree(2): a copy of the mount at a path of the host's; `tree` is 0 or AT_RECURSIVE.
pub(in super::super) fn clone_of(path: &CStr, follow: Follow, tree: u32) -> Result<OwnedFd> {
    match follow {
        Follow::None => {
            let source = file::open_in(file::cwd(), path, PATH, Resolve::HostNoLinks)?;
            mount::clone_fd(source.as_fd(), tree)
        }
        follow => mount::clone_path(path, tree, follow == Follow::All),
    }
}

pub(super) fn remount(at: &At, attrs: &Attrs, parameters: &[(CString, Option<CString>)], child: &Child) -> Result<()> {
    let target = open(at, PATH, child)?;
    // Where nothing is to be changed it is asked all the same whether something is mounted there (EINVAL), as mount(2) does.
    if !parameters.is_empty() || attrs.own.is_empty() && attrs.tree.is_empty() {
        let fs = mount::fspick(target.as_fd())?;
        for (key, value) in parameters {
            mount::fsconfig(fs.as_fd(), key, value.as_deref())?;
        }
        if !parameters.is_empty() {
            mount::fsreconfigure(fs.as_fd())?;
        }
    }
    set_attrs(target.as_fd(), attrs)
}

pub(super) fn bind_or(plan: &Bind, other: &CStr, child: &mut Child) -> Result<()> {
    let mount = match mount::clone_path(&plan.source, 0, true) {
        Err(Errno::ENOENT) => mount::clone_path(other, 0, true)?,
        mount => mount?,
    };
    let mount = copied(mount, child)?;
    set_attrs(mount.as_fd(), &plan.attrs)?;
    attach(mount, &plan.at, child).map(drop)
}

pub(super) fn set_attrs(mount: BorrowedFd, attrs: &Attrs) -> Result<()> {
    if !attrs.tree.is_empty() && !attrs.one_call {
        change(mount, RECURSIVE, attrs.tree)?;
    }
    if attrs.own.is_empty() { Ok(()) } else { change(mount, 0, attrs.own) }
}

/// One call takes one kind of propagation: what a mount is before it becomes shared goes first.
fn change(mount: BorrowedFd, recursive: u32, attr: MountAttr) -> Result<()> {
    let (before, last) = (attr.propagation & !libc::MS_SHARED, attr.propagation & libc::MS_SHARED);
    if before == 0 || last == 0 {
        return mount::setattr(mount, recursive, &attr);
    }
    mount::setattr(mount, recursive, &MountAttr { propagation: before, ..MountAttr::default() })?;
    mount::setattr(mount, recursive, &MountAttr { propagation: last, ..attr })
}

pub(super) fn new_fs(plan: &NewFs, child: &mut Child) -> Result<()> {
    if let Some(data) = &plan.data {
        return by_mount(plan, data, child);
    }
    let covered = if plan.mode_of_target || plan.copy_up { covered(plan, child)? } else { None };
    let mode = covered.as_ref().map(|dir| file::stat(dir.as_fd())).transpose()?.map(|stat| octal(stat.mode));
    let mode = mode.as_ref().filter(|_| plan.mode_of_target).map(|mode| Ok((c"mode", Some(c_octal(mode)?)))).transpose()?;
    let parameters = plan.parameters.iter().map(|(key, value)| (key.as_c_str(), value.as_deref()));
    // A read-only mount could not be filled.
    let (first, later) = if plan.copy_up { (0, plan.attrs.own.set) } else { (plan.attrs.own.set, 0) };
    let mount = fresh(&plan.fstype, mode.into_iter().chain(parameters), first)?;
    if let (Some(from), true) = (&covered, plan.copy_up) {
        copy::tree(from.as_fd(), mount.as_fd(), |option| plan.parameters.iter().any(|(key, _)| key.as_c_str() == option))?;
    }
    let attr = MountAttr { set: later, propagation: plan.attrs.own.propagation, ..MountAttr::default() };
    if !attr.is_empty() {
        change(mount.as_fd(), 0, attr)?;
    }
    let mount = attach(mount, &plan.at, child)?;
    if let Some(slot) = plan.keep.and_then(|slot| child.kept.get_mut(slot)) {
        *slot = Some(mount);
    }
    Ok(())
}

/// What it is that the file system does not know of its options, or the kernel not of it.
pub(in super::super) fn judge(plan: &NewFs) -> Result<()> {
    let said = || {
        let fs = mount::fsopen(&plan.fstype)?;
        plan.parameters.iter().try_for_each(|(key, value)| mount::fsconfig(fs.as_fd(), key, value.as_deref()))
    };
    match if plan.data.is_some() { Ok(()) } else { said() } {
        Err(errno @ (Errno::EINVAL | Errno::ENODEV)) => Err(errno),
        _ => Ok(()),
    }
}

/// The directory that will be covered, when there is one.
fn covered(plan: &NewFs, child: &Child) -> Result<Option<OwnedFd>> {
    match open(&plan.at, PATH | libc::O_DIRECTORY, child) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The permission bits as tmpfs reads them, with a NUL at the end.
fn octal(mode: u32) -> [u8; 5] {
    let digit = |shift: u32| b'0' + (mode >> shift & 7) as u8;
    [digit(9), digit(6), digit(3), digit(0), 0]
}

fn c_octal(digits: &[u8; 5]) -> Result<&CStr> {
    CStr::from_bytes_with_nul(digits).map_err(|_| Errno::EINVAL)
}

/// Over the current directory, which was reached by descriptor: no path is looked up a second time.
fn by_mount(plan: &NewFs, data: &CStr, child: &Child) -> Result<()> {
    let target = open_or_make(&plan.at, true, child)?;
    below_root(target.as_fd(), child)?;
    file::fchdir(target.as_fd())?;
    let source = plan.parameters.iter().find(|(key, _)| key.as_c_str() == c"source").and_then(|(_, value)| value.as_deref());
    mount::mount_over_cwd(source.unwrap_or(c"none"), &plan.fstype, data)?;
    set_attrs(open(&plan.at, PATH, child)?.as_fd(), &plan.attrs)
}

pub(super) fn again(slot: usize, at: &At, child: &mut Child) -> Result<()> {
    let mount = mount::clone_fd(kept(slot, child)?, 0)?;
    attach(mount, at, child).map(drop)
}

/// A mount that an earlier step has kept.
pub(super) fn kept<'a>(slot: usize, child: &'a Child) -> Result<BorrowedFd<'a>> {
    child.kept.get(slot).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(Errno::EBADF)
}

/// From over `/` to the directory that it is a copy of, whatever the path leads to by now (ESTALE: elsewhere).
pub(super) fn move_root(path: &CStr, child: &Child) -> Result<()> {
    let [host, place] = [file::open_at(file::cwd(), c"/", DIR)?, file::open_at(file::cwd(), path, DIR)?];
    let (host, id) = (file::stat(host.as_fd())?.id, file::stat(place.as_fd())?.id);
    match id == child.root_id {
        // `/` by another name: there it lies.
        true if id == host => Ok(()),
        true => mount::attach(child.root()?, place.as_fd()),
        false => Err(Errno::ESTALE),
    }
}

pub(super) fn pivot(layers: usize, shared: bool, child: &mut Child) -> Result<()> {
    let host = if shared { Some(file::open_at(file::cwd(), c"/", PATH)?) } else { None };
    file::fchdir(child.root()?)?;
    mount::pivot_to_cwd()?;
    if let Some(host) = &host {
        mount::setattr(host.as_fd(), RECURSIVE, &MountAttr { propagation: libc::MS_SLAVE, ..MountAttr::default() })?;
    }
    // A root that another covers still lies over the host's, and is the higher one.
    for _ in 0..=layers {
        mount::detach_over_cwd()?;
    }
    file::chdir(c"/")?;
    child.forget_host();
    Ok(())
}
