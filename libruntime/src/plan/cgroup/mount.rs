//! Mounts of type `cgroup` and `cgroup2`: the container's cgroup as it sees it.
//!
//! Version 2 is one mount. Version 1 is a tmpfs with a directory for each hierarchy. In a cgroup namespace these are mounts of the
//! kernel's, whose root is the container's cgroup; without one they are binds of its directories.

use super::super::Draft;
use super::super::mount::DEFAULTS;
use super::super::op::{Attrs, Bind, Follow, NewFs, Op, ParentOp};
use super::super::options::{self, Options};
use super::super::order::Stage;
use super::super::place::{At, c_path, c_string};
use super::Plan;
use crate::host::cgroup::{Cgroups, Hierarchy, Version};
use crate::namespace::{all, is_new};
use crate::sys::mount::{MountAttr, attr};
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use std::ffi::CString;
use std::path::{Path, PathBuf};

const TYPES: &[&str] = &["cgroup", "cgroup2"];

/// Whether it is one of these types.
pub(in super::super) fn is_cgroup(mount: &Mount) -> bool {
    mount.typ().as_deref().is_some_and(|typ| TYPES.contains(&typ)) && !options::is_bind(mount)
}

/// Whether the spec has one.
pub(super) fn is_in(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(is_cgroup)
}

/// config-linux.md, "Cgroup ownership": the user who is to own the version 2 directory, as the host numbers it.
pub(super) fn owner(spec: &Spec) -> Option<u32> {
    let read_only = |o: Options| o.attrs.alone().own.set & attr::RDONLY != 0;
    let writable = |m: &Mount| {
        m.source().as_deref() == Some(Path::new("cgroup"))
            && m.destination() == Path::new("/sys/fs/cgroup")
            && !Options::of(m).is_ok_and(read_only)
    };
    let uid = spec.process().as_ref()?.user().uid();
    if !is_new(spec, LinuxNamespaceType::Cgroup) || !spec.mounts().iter().flatten().any(writable) {
        return None;
    }
    let maps = spec.linux().as_ref()?.uid_mappings().as_deref().unwrap_or_default();
    if maps.is_empty() {
        return Some(uid);
    }
    let map = maps.iter().find(|m| (m.container_id()..m.container_id().saturating_add(m.size())).contains(&uid))?;
    map.host_id().checked_add(uid - map.container_id())
}

/// Plans one such mount.
pub(in super::super) fn plan(draft: &mut Draft, spec: &Spec, place: &str, mount: &Mount, options: Options, at: At) {
    let none = Cgroups::default();
    let host = draft.host;
    let hierarchies = &host.cgroups.as_ref().unwrap_or(&none).hierarchies;
    if let Some((key, _)) = options.data.iter().find(|(key, _)| !DEFAULTS.contains(&key.as_str())) {
        return draft.refuse(format!("{place}.options"), format!("`{key}` is decided by the host's own mount of the hierarchy"));
    }
    let v1 = hierarchies.iter().any(|h| h.version == Version::V1);
    let v2 = hierarchies.iter().position(|h| h.version == Version::V2);
    let frame = Frame { place, namespace: has_any_namespace(spec), attrs: options.attrs.alone() };
    match (v1 && mount.typ().as_deref() == Some("cgroup"), v2) {
        (true, _) => frame.all(draft, mount.destination(), hierarchies, at),
        (false, Some(i)) => frame.one(draft, i, &hierarchies[i], at),
        (false, None) => draft.refuse(format!("{place}.type"), "this host has not mounted the cgroup hierarchy"),
    }
}

/// New or joined.
fn has_any_namespace(spec: &Spec) -> bool {
    all(spec).any(|n| n.typ() == LinuxNamespaceType::Cgroup)
}

struct Frame<'a> {
    place: &'a str,
    namespace: bool,
    attrs: Attrs,
}

impl Frame<'_> {
    /// Version 1 (and the unified hierarchy beside it).
    fn all(&self, draft: &mut Draft, destination: &Path, hierarchies: &[Hierarchy], at: At) {
        let mode = (c"mode".to_owned(), Some(c"0755".to_owned()));
        let own = MountAttr { set: self.attrs.own.set & !attr::RDONLY, ..self.attrs.own };
        let tmpfs = self.new_fs(c"tmpfs".to_owned(), vec![mode], Attrs { own, ..self.attrs }, at.clone());
        draft.step(Stage::Mounts, tmpfs, self.place);
        for (i, hierarchy) in hierarchies.iter().enumerate() {
            let names: Vec<&str> = hierarchy.controllers.iter().map(|name| name.trim_start_matches("name=")).collect();
            let name = if hierarchy.version == Version::V2 { "unified".to_owned() } else { names.join(",") };
            if let Some(at) = draft.at(self.place, &destination.join(&name)) {
                self.one(draft, i, hierarchy, at);
            }
            for link in names.iter().filter(|_| hierarchy.version == Version::V1 && names.len() > 1) {
                self.link(draft, &destination.join(link), &name);
            }
        }
        if self.attrs.own.set & attr::RDONLY != 0 {
            let attrs = Attrs { own: MountAttr { set: attr::RDONLY, ..MountAttr::default() }, ..Attrs::default() };
            let remount = Op::Remount { at: at.clone(), attrs, parameters: Vec::new() };
            // What is attached outside of a mount namespace cannot be changed, but covered.
            draft.step(Stage::Mounts, if draft.chroots { Op::ReadOnly(at) } else { remount }, self.place);
        }
    }

    fn link(&self, draft: &mut Draft, link: &Path, target: &str) {
        let target = draft.take(self.place, c_string(target.as_bytes()));
        if let (Some(at), Some(target)) = (draft.at(self.place, link), target) {
            draft.step(Stage::Mounts, Op::Symlink { at, target }, self.place);
        }
    }

    fn one(&self, draft: &mut Draft, i: usize, hierarchy: &Hierarchy, at: At) {
        let op = match (self.namespace, hierarchy.version) {
            (true, Version::V1) => Some(self.new_fs(c"cgroup".to_owned(), parameters(hierarchy), self.attrs, at)),
            (true, Version::V2) => Some(self.new_fs(c"cgroup2".to_owned(), Vec::new(), self.attrs, at)),
            (false, _) => self.bind(draft, i, hierarchy, at),
        };
        if let Some(op) = op {
            draft.step(Stage::Mounts, op, self.place);
        }
    }

    fn new_fs(&self, fstype: CString, mut parameters: Vec<(CString, Option<CString>)>, attrs: Attrs, at: At) -> Op {
        parameters.insert(0, (c"source".to_owned(), Some(c"cgroup".to_owned())));
        Op::Mount(NewFs { fstype, parameters, attrs, at, keep: None, copy_up: false, data: None, mode_of_target: false })
    }

    /// The container's directory; where it has none because the caller may make none, the caller's.
    fn bind(&self, draft: &mut Draft, i: usize, hierarchy: &Hierarchy, at: At) -> Option<Op> {
        let plan = planned(draft);
        let tolerant = plan.is_none_or(|plan| plan.tolerant);
        let dir = plan.and_then(|plan| plan.groups.get(i)).map_or_else(|| hierarchy.own.clone(), super::Group::dir);
        let mut path = |path: &PathBuf| draft.take(self.place, c_path(path));
        let (source, own) = (path(&dir)?, path(&hierarchy.own)?);
        let bind = Bind { source, follow: Follow::All, recursive: false, attrs: self.attrs, at, prepared: None };
        Some(if tolerant { Op::BindOr { bind, other: own } } else { Op::Bind(bind) })
    }
}

fn planned<'a>(draft: &'a Draft) -> Option<&'a Plan> {
    draft
        .before
        .iter()
        .chain(&draft.parent)
        .find_map(|step| if let ParentOp::Cgroup(plan) = &step.op { Some(plan) } else { None })
}

/// mount(2) of version 1: the hierarchy is found by its controllers, or by its name and the word that it has none.
fn parameters(hierarchy: &Hierarchy) -> Vec<(CString, Option<CString>)> {
    let text = |text: &str| c_string(text.as_bytes()).unwrap_or_default();
    let one = |name: &String| match name.strip_prefix("name=") {
        Some(name) => vec![(c"none".to_owned(), None), (c"name".to_owned(), Some(text(name)))],
        None => vec![(text(name), None)],
    };
    hierarchy.controllers.iter().flat_map(one).collect()
}
