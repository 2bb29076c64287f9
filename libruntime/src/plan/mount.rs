//! `root` and `mounts`: the new root, and what is mounted on it in the order of the file.

use super::filled::{self, Places};
use super::kernels::KERNELS;
use super::op::{Attrs, Bind, Follow, NewFs, Op, Root, Source};
use super::options::{self, Options};
use super::order::Stage;
use super::place::{At, c_path, c_string};
use super::{Draft, cgroup, keeper, undone};
use crate::bundle::{Node, Rootfs, Skeleton};
use crate::sys::file::Resolve;
use crate::sys::mount::{MountAttr, attr};
use oci_spec::runtime::{Mount, Spec};
use std::ffi::CString;
use std::path::{Path, PathBuf};

pub(super) fn plan(draft: &mut Draft, spec: &Spec, rootfs: &Rootfs) {
    root(draft, rootfs);
    let placeholders = keeper::placeholders(draft, spec);
    draft.mount_label = super::label::of_mount(draft, spec);
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mut rest = Rest { mounts, places: Places::of(spec), shared: Vec::new() };
    for (i, mount) in mounts.iter().enumerate() {
        let kept = placeholders.contains(mount.destination());
        one(draft, spec, i, kept, &mut rest);
    }
    // Last: it speaks to the child when it likes.
    keeper::plan(draft, placeholders);
    if spec.root().as_ref().and_then(|r| r.readonly()).unwrap_or(false) {
        let attr = MountAttr { set: attr::RDONLY, ..MountAttr::default() };
        draft.step(Stage::RootAttr, Op::RootAttr { attr, recursive: false }, "root.readonly");
    }
    if let Some(path) = shown(draft, spec, rootfs) {
        draft.step(Stage::Hooks, Op::MoveRoot(path), "root.path");
    }
    let pivot = Op::Pivot { layers: draft.layers, shared: draft.shared };
    draft.step(Stage::Pivot, if draft.chroots { Op::Chroot } else { pivot }, "root.path");
}

/// Where hooks look for the root. Over a path that is shared with the host it would appear there; of several over `/` the lowest would stay.
#[allow(deprecated)] // `prestart` is what docker uses
fn shown(draft: &Draft, spec: &Spec, rootfs: &Rootfs) -> Option<CString> {
    let Rootfs::Dir(path) = rootfs else { return None };
    let hooks = spec.hooks().as_ref()?;
    let early = [hooks.prestart(), hooks.create_runtime(), hooks.create_container()];
    let any = early.iter().any(|list| list.as_ref().is_some_and(|list| !list.is_empty()));
    let apart = path != Path::new("/") && !draft.chroots && !draft.shared && draft.layers == 0;
    if any && apart { c_path(path).ok() } else { None }
}

fn root(draft: &mut Draft, rootfs: &Rootfs) {
    let op = if draft.chroots { Op::Tree } else { Op::Root };
    match rootfs {
        Rootfs::Dir(path) => {
            if let Some(path) = draft.take("root.path", c_path(path)) {
                draft.step(Stage::Rootfs, op(Root::Dir(path)), "root.path");
            }
        }
        Rootfs::Skeleton(skeleton) => {
            draft.step(Stage::Rootfs, op(Root::Memory), "root.path");
            self::skeleton(draft, skeleton);
        }
    }
}

fn skeleton(draft: &mut Draft, skeleton: &Skeleton) {
    for node in &skeleton.entries {
        let (Node::Dir { path, .. } | Node::File { path } | Node::Symlink { path, .. }) = node;
        // Nothing but the plan has put anything there, but one of its own links may stand in the way.
        let Some(at) = draft.take("root.path", At::new(path, Resolve::NoLinks, true)) else { continue };
        let op = match node {
            Node::Dir { mode, .. } => Some(Op::Mkdir { at, mode: *mode }),
            Node::File { .. } => Some(Op::Touch(at)),
            Node::Symlink { target, .. } => draft.take("root.path", c_path(target)).map(|target| Op::Symlink { at, target }),
        };
        if let Some(op) = op {
            draft.step(Stage::Rootfs, op, "root.path");
        }
    }
}

/// What a mount has to do with the others.
struct Rest<'a> {
    mounts: &'a [Mount],
    places: Places<'a>,
    shared: Vec<(Parameters, MountAttr)>,
}

fn one(draft: &mut Draft, spec: &Spec, i: usize, kept: bool, rest: &mut Rest) {
    let (mount, earlier, place) = (&rest.mounts[i], &rest.mounts[..i], &format!("mounts[{i}]"));
    if mount.destination().as_os_str().is_empty() {
        return draft.refuse(format!("{place}.destination"), "is empty");
    }
    draft.warnings.extend(options::idle(mount).map(|word| format!("config.json: {place}.options: `{word}` has no effect")));
    let options = Options::of(mount);
    let options = draft.take_all(&format!("{place}.options"), options);
    // config.md, "Mounts": a relative one, as old tools write it, is relative to `/`.
    let at = draft.at(&format!("{place}.destination"), &Path::new("/").join(mount.destination()));
    let (Some(options), Some(at)) = (options, at.map(|at| At { kept, ..at })) else { return };
    for (lost, by) in undone::words_of(mount, &options) {
        draft.warnings.push(format!("config.json: {place}.options: `{lost}` has no effect: `{by}` says otherwise"));
    }
    let root = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default();
    for lost in undone::by_the_root(mount, root) {
        let why = format!("`linux.rootfsPropagation`, `{root}`, is for every mount of the container");
        draft.warnings.push(format!("config.json: {place}.options: `{lost}` has no effect: {why}"));
    }
    if at.is_root() && !options.remount {
        draft.layers += 1;
    }
    let bound = bound(mount, &options);
    let mut options = options;
    if draft.apart && !options.remount && (bound.is_some() || cgroup::mount::is_cgroup(mount)) {
        options.private_unless_said();
    }
    let some = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let mapped = [
        ("options", options.idmap.is_some()),
        ("uidMappings", some(mount.uid_mappings())),
        ("gidMappings", some(mount.gid_mappings())),
    ];
    for (field, _) in mapped.iter().filter(|(_, asked)| *asked && (bound.is_none() || options.remount)) {
        draft.refuse(format!("{place}.{field}"), "only a bind mount can be id-mapped");
    }
    if options.copy_up && mount.typ().as_deref() != Some("tmpfs") {
        draft.refuse(format!("{place}.options"), "`tmpcopyup` is for a `tmpfs`");
    }
    match bound {
        _ if options.remount => remount(draft, place, options, at, earlier, mount),
        _ if cgroup::mount::is_cgroup(mount) => cgroup::mount::plan(draft, spec, place, mount, options, at),
        Some(recursive) => bind(draft, place, mount, options, recursive, at),
        None => {
            if mount.typ().as_deref() == Some("tmpfs") && !draft.chroots && rest.places.fill(mount, i + 1) {
                filled::read_only_later(draft, place, &mut options, &at);
            }
            new_fs(draft, place, mount, options, at, &mut rest.shared)
        }
    }
}

/// Whether it is a bind, and a recursive one.
fn bound(mount: &Mount, options: &Options) -> Option<bool> {
    options.bind.or((mount.typ().as_deref() == Some("bind")).then_some(false))
}

/// The first bind whose words mean what its source is on the host: to be a slave of it, or to leave alone what is mounted below.
pub(super) fn first_peer(spec: &Spec) -> Option<usize> {
    let asks = |mount: &Mount| {
        let options = Options::of(mount).ok();
        options.is_some_and(|o| bound(mount, &o).is_some() && !o.remount && o.ask_for_peers())
    };
    spec.mounts().iter().flatten().position(asks)
}

/// A word for the file system that stood there when it was mounted changes nothing.
fn remount(draft: &mut Draft, place: &str, options: Options, at: At, earlier: &[Mount], mount: &Mount) {
    let same = earlier.iter().filter(|other| other.destination() == mount.destination());
    let said: Vec<&str> = same.flat_map(options::words).collect();
    let word = |(key, value): &(String, Option<String>)| value.as_ref().map_or(key.clone(), |value| format!("{key}={value}"));
    let new: Vec<_> = options.data.iter().filter(|data| !said.contains(&&*word(data))).cloned().collect();
    if let Some(mut parameters) = draft.take(&format!("{place}.options"), strings(&new)) {
        let options_of = |other: &Mount| Options::of(other).unwrap_or_default();
        let made = |other: &&Mount| other.destination() == mount.destination() && !options_of(other).remount;
        if earlier.iter().rfind(made).is_some_and(|made| bound(made, &options_of(made)).is_none() && is_on_disk(made)) {
            parameters.extend(access(options.attrs.alone().own));
        }
        draft.step(Stage::Mounts, Op::Remount { at, attrs: options.attrs, parameters }, place);
    }
}

/// What a bind, which has no file system of its own, may say all the same, and a hierarchy of cgroups: it is so already.
pub(super) const DEFAULTS: &[&str] = &["async", "nolazytime", "nomand"];

/// What was written for a tmpfs: mount(2) does not look at it for a bind, and bundles that every other runtime takes have it.
const TMPFS: &[&str] = &["mode", "size", "nr_blocks", "nr_inodes", "uid", "gid"];

fn bind(draft: &mut Draft, place: &str, mount: &Mount, options: Options, recursive: bool, at: At) {
    for (key, _) in options.data.iter().filter(|(key, _)| !DEFAULTS.contains(&key.as_str())) {
        let said = format!("`{key}` means nothing to a bind mount");
        match TMPFS.contains(&key.as_str()) {
            true => draft.warnings.push(format!("config.json: {place}.options: {said}, and has no effect")),
            false => draft.refuse(format!("{place}.options"), said),
        }
    }
    let Some(source) = mount.source().as_ref().filter(|source| !source.as_os_str().is_empty()) else {
        return draft.refuse(format!("{place}.source"), "is missing: what is to be bound?");
    };
    let Some(path) = absolute(draft, place, source) else { return };
    let Some(source) = draft.take(&format!("{place}.source"), c_path(&path)) else { return };
    let follow = match (draft.resolve, path.components().count()) {
        (Resolve::InRoot, _) => Follow::All,
        (_, 0..=2) => Follow::NoneOfOne,
        _ => Follow::None,
    };
    let propagation = if draft.taken_over == libc::MS_SHARED { 0 } else { draft.taken_over };
    let copied = Source { path: source.clone(), follow, tree: recursive, propagation };
    let mapped = super::idmap::plan(draft, place, mount, options.idmap, &copied);
    // Copied before or behind what the container does about its mounts, it is the same: private, unless its words ask for what the host's is.
    let propagation = if options.ask_for_peers() { draft.taken_over } else { libc::MS_PRIVATE };
    let prepared = mapped.or_else(|| super::reach::plan(draft, place, &path, Source { propagation, ..copied }));
    let mut attrs = options.attrs;
    if prepared.is_none() {
        locked(draft, place, &path, &mut attrs);
    }
    let one_call = draft.host.open_tree_attr && !draft.chroots && recursive && follow != Follow::None && !attrs.tree.is_empty();
    attrs.one_call = one_call && prepared.is_none() && attrs.tree.propagation.count_ones() < 2;
    draft.step(Stage::Mounts, Op::Bind(Bind { source, follow, recursive, prepared, attrs, at }), place);
}

/// What the source has for good. Engines write `rw` on every bind that is not to be read-only, and it would end containers that need
/// nothing of it; any other word somebody has chosen.
fn locked(draft: &mut Draft, place: &str, path: &Path, attrs: &mut Attrs) {
    let Some(locked) = draft.host.locked.get(path).copied() else { return };
    let place = format!("{place}.options");
    for (word, bit, has) in options::FREEING.iter().filter(|(_, bit, _)| locked & bit != 0) {
        let source = format!("the source is `{has}`, which nobody in a user namespace may take off (mount_namespaces(7))");
        if attrs.tree.clear & bit != 0 {
            draft.refuse(&place, format!("`r{word}` cannot be had: {source}"));
        } else if *bit == attr::RDONLY && attrs.own.clear & bit != 0 {
            attrs.own.clear &= !bit;
            draft.warnings.push(format!("config.json: {place}: `{word}` has no effect: {source}"));
        } else if attrs.own.clear & bit != 0 {
            draft.refuse(&place, format!("`{word}` cannot be had: {source}"));
        }
    }
}

fn absolute(draft: &mut Draft, place: &str, source: &Path) -> Option<PathBuf> {
    if source.is_absolute() {
        return Some(source.to_owned());
    }
    match &draft.options.bundle_dir {
        Some(dir) => Some(dir.join(source)),
        None => {
            draft.refuse(
                format!("{place}.source"),
                format!("`{}` is relative, and there is no bundle directory", source.display()),
            );
            None
        }
    }
}

type Parameters = (CString, Vec<(CString, Option<CString>)>);

fn new_fs(draft: &mut Draft, place: &str, mount: &Mount, options: Options, at: At, shared: &mut Vec<(Parameters, MountAttr)>) {
    let Some(typ) = mount.typ().as_deref().filter(|t| !t.is_empty()) else {
        return draft.refuse(format!("{place}.type"), "is missing, and the options do not say `bind`");
    };
    let mut options = options;
    if let Some(label) = draft.mount_label.clone().filter(|_| !super::label::UNLABELLED.contains(&typ)) {
        options.data.push(("context".to_owned(), Some(label)));
    }
    let own = CARELESS.iter().find(|(name, _)| *name == typ).map(|(_, own)| own);
    // What a security module or the kernel itself takes is none of the file system's.
    let lost = |key: &str| own.is_some_and(|own| !own.contains(&key) && !key.ends_with("context") && !options::is_of_any(key));
    for (key, _) in options.data.iter().filter(|(key, _)| lost(key)) {
        draft.refuse(format!("{place}.options"), format!("`{key}` is no option of {typ}, which would not say so"));
    }
    let fstype = draft.take(&format!("{place}.type"), c_string(typ.as_bytes()));
    let source = draft.take(&format!("{place}.source"), mount.source().as_deref().map(c_path).transpose());
    let words = draft.take(&format!("{place}.options"), strings(&options.data));
    let (Some(fstype), Some(source), Some(words)) = (fstype, source, words) else { return };
    // tmpfs, proc and their like ignore the source; it is shown in mountinfo all the same.
    let mut parameters: Vec<_> = source.into_iter().map(|source| (c"source".to_owned(), Some(source))).chain(words).collect();
    let attrs = options.attrs.alone();
    if is_on_disk(mount) {
        parameters.extend(access(attrs.own));
    }
    // CVE-2019-19921, CVE-2023-27561: a link of the image would carry it away from the masks on `/proc` and `/sys`.
    let kernels = matches!(typ, "proc" | "sysfs");
    let at = At { resolve: if kernels { Resolve::NoLinks } else { at.resolve }, ..at };
    let key = ((fstype.clone(), parameters.clone()), attrs.own);
    let shareable = typ == "tmpfs" && attrs.own.set & attr::RDONLY != 0 && !options.copy_up;
    if let Some(slot) = shared.iter().position(|k| shareable && *k == key) {
        return draft.step(Stage::Mounts, Op::Again { slot, at }, place);
    }
    let keep = (shareable && shared.len() < SHARED).then_some(shared.len());
    if keep.is_some() {
        shared.push(key);
    }
    let keep =
        keep.or_else(|| KERNELS.iter().position(|(fs, point)| *fs == typ && *point == at.path.as_c_str()).map(|n| SHARED + n));
    let mode_of_target = typ == "tmpfs" && keep.is_none() && !draft.own_root && options.data.iter().all(|(key, _)| key != "mode");
    let too_long = parameters.iter().any(|(_, value)| value.as_ref().is_some_and(|v| v.count_bytes() > LONGEST));
    if too_long && draft.chroots {
        return draft.refuse(
            format!("{place}.options"),
            format!("a value of more than {LONGEST} bytes needs a mount namespace (mount(2))"),
        );
    }
    let data = if too_long { draft.take(place, data(&options.data)) } else { None };
    // Of a longer text mount(2) copies the first page, and says nothing.
    if let Some(bytes) = data.as_ref().map(|data| data.count_bytes()).filter(|bytes| *bytes >= draft.host.page) {
        let most = draft.host.page - 1;
        return draft.refuse(format!("{place}.options"), format!("have {bytes} bytes together, and mount(2) takes {most}"));
    }
    let fs = NewFs { fstype, parameters, attrs, at, mode_of_target, copy_up: options.copy_up, data, keep };
    draft.step(Stage::Mounts, Op::Mount(fs), place);
}

/// File systems that pass over every option but their own, and say nothing.
const CARELESS: &[(&str, &[&str])] = &[
    ("ramfs", &["mode"]),
    ("bpf", &["uid", "gid", "mode", "delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"]),
    ("debugfs", &["uid", "gid", "mode"]),
    ("tracefs", &["uid", "gid", "mode"]),
    ("pstore", &["kmsg_bytes"]),
];

/// What fsconfig(2) takes as one value; an overlay of many layers has more.
const LONGEST: usize = 255;

/// As mount(2) takes them.
fn data(list: &[(String, Option<String>)]) -> crate::Result<CString> {
    let word = |(key, value): &(String, Option<String>)| value.as_ref().map_or(key.clone(), |value| format!("{key}={value}"));
    c_string(list.iter().map(word).collect::<Vec<_>>().join(",").as_bytes())
}

/// How many different empty read-only file systems the child remembers.
pub(super) const SHARED: usize = 4;

/// How many mounts the child remembers.
pub const SLOTS: usize = SHARED + KERNELS.len();

/// Whether a file system has a disk that it reads; what the kernel's own have for a source is a mere word.
fn is_on_disk(mount: &Mount) -> bool {
    mount.source().as_deref().is_some_and(Path::is_absolute) && mount.typ().as_deref() != Some("tmpfs")
}

/// A file system that only its mount forbids to write to writes all the same: its journal, its own state (mount(8), `ro`).
fn access(own: MountAttr) -> Option<(CString, Option<CString>)> {
    let word = [(own.set, c"ro"), (own.clear, c"rw")].into_iter().find(|(bits, _)| bits & attr::RDONLY != 0);
    word.map(|(_, word)| (word.to_owned(), None))
}

fn strings(data: &[(String, Option<String>)]) -> crate::Result<Vec<(CString, Option<CString>)>> {
    let string = |text: &String| c_string(text.as_bytes());
    data.iter().map(|(key, value)| Ok((string(key)?, value.as_ref().map(string).transpose()?))).collect()
}
