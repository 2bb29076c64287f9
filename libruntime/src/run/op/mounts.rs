//! The root, the mounts on it, and the pivot.

use super::super::child::Child;
use super::place::{PATH, attach};
use crate::plan::op::{Attrs, Bind, Follow, NewFs, Root};
use crate::plan::place::At;
use crate::sys::file::{self, Resolve};
use crate::sys::mount::{self, MountAttr, RECURSIVE, attr};
use crate::sys::{Errno, Result};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub(super) fn root(root: &Root, child: &mut Child) -> Result<()> {
    let mount = match root {
        Root::Dir(path) => mount::clone_path(path, RECURSIVE, true)?,
        Root::Memory => {
            let parameters = [(c"mode", Some(c"0755")), (c"source", Some(c"codexrun"))];
            fresh(c"tmpfs", parameters.into_iter(), attr::NOSUID | attr::NODEV)?
        }
    };
    mount::attach_root(mount.as_fd())?;
    child.root_id = file::stat(mount.as_fd())?.id;
    child.root = Some(mount);
    Ok(())
}

/// A detached mount of a new file system; `attrs` are MOUNT_ATTR_*.
pub(super) fn fresh<'a>(
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

pub(super) fn bind_or(plan: &Bind, other: &CStr, child: &mut Child) -> Result<()> {
    let mount = match mount::clone_path(&plan.source, 0, true) {
        Err(Errno::ENOENT) => mount::clone_path(other, 0, true)?,
        mount => mount?,
    };
    set_attrs(mount.as_fd(), &plan.attrs)?;
    attach(mount, &plan.at, child).map(drop)
}

pub(super) fn set_attrs(mount: BorrowedFd, attrs: &Attrs) -> Result<()> {
    if !attrs.tree.is_empty() && !attrs.one_call {
        mount::setattr(mount, RECURSIVE, &attrs.tree)?;
    }
    if attrs.own.is_empty() { Ok(()) } else { mount::setattr(mount, 0, &attrs.own) }
}

pub(super) fn new_fs(plan: &NewFs, child: &mut Child) -> Result<()> {
    let parameters = plan.parameters.iter().map(|(key, value)| (key.as_c_str(), value.as_deref()));
    let mount = fresh(&plan.fstype, parameters, plan.attrs.own.set)?;
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

pub(super) fn again(slot: usize, at: &At, child: &mut Child) -> Result<()> {
    let kept = child.kept.get(slot).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
    let mount = mount::clone_fd(kept.as_fd(), 0)?;
    attach(mount, at, child).map(drop)
}

pub(super) fn pivot(child: &mut Child) -> Result<()> {
    file::fchdir(child.root()?)?;
    mount::pivot_to_cwd()?;
    file::chdir(c"/")?;
    child.forget_host();
    Ok(())
}
