//! The tree → the ordered list of mounts. Parents before children, whatever made them: a mask or a protection below a
//! bind always comes after the bind.

use super::Proc;
use super::roots::Ground;
use super::top::Style;
use super::tree::{Spot, Tree};
use crate::policy::Access;
use oci_spec::runtime::Mount;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A mount and what it needs to land on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    pub at: PathBuf,
    pub dir: bool,
    pub mount: Mount,
}

/// The mounts, and the denied directories which need none because they lie in the skeleton.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub layers: Vec<Layer>,
    /// Path and mode.
    pub bare: Vec<(PathBuf, u32)>,
}

type Options = &'static [&'static str];

// No `rw`: it would take `ro` off a source that the caller cannot write to either.
// `ro` covers the top of a recursive bind only; `rro` every mount below it too (mount_setattr(2), AT_RECURSIVE).
const READ_DIR: Options = &["rbind", "rro", "rnosuid", "rnodev"];
const WRITE_DIR: Options = &["rbind", "rnosuid", "rnodev"];
// The recursive words make crun open the target as a directory.
const READ_FILE: Options = &["bind", "ro", "nosuid", "nodev"];
const WRITE_FILE: Options = &["bind", "nosuid", "nodev"];
// A place below /dev is granted for its devices.
const READ_DEV_DIR: Options = &["rbind", "rro", "rnosuid"];
const WRITE_DEV_DIR: Options = &["rbind", "rnosuid"];
const READ_DEV: Options = &["bind", "ro", "nosuid"];
const WRITE_DEV: Options = &["bind", "nosuid"];
const HOST_DIR: Options = &["rbind"];
const HOST_FILE: Options = &["bind"];
/// A device on a nodev mount cannot be opened, not even by root: EACCES.
const MASK_FILE: Options = &["bind", "ro", "nosuid", "nodev", "noexec"];
// ramfs, not tmpfs: runc gives a tmpfs the mode of the directory below it, and the mode is what denies here.
const MASK_DIR: Options = &["ro", "nosuid", "nodev", "noexec", "mode=0000"];
const MASK_OPEN: Options = &["nosuid", "nodev", "noexec", "mode=0111"];
// Not `bind`: crun would bind the host's directory over the mask.
const MASK_CLOSE: Options = &["remount", "ro", "nosuid", "nodev", "noexec", "mode=0111"];
/// The same words every time, so that one superblock can serve all of them.
const PLACEHOLDER: Options = &["ro", "nosuid", "nodev", "noexec", "mode=0555", "size=4k"];

const PRIVATE_TMP: Options = &["nosuid", "nodev", "mode=1777"];

struct Made {
    at: &'static str,
    typ: &'static str,
    source: &'static str,
    options: Options,
}

const PROC: Made = Made { at: "/proc", typ: "proc", source: "proc", options: &["nosuid", "noexec", "nodev"] };
const OUTER_PROC: Made =
    Made { at: "/proc", typ: "none", source: "/proc", options: &["rbind", "rro", "rnosuid", "rnodev", "rnoexec"] };
const DEV: &[Made] = &[
    Made { at: "/dev", typ: "tmpfs", source: "tmpfs", options: &["nosuid", "strictatime", "mode=755", "size=65536k"] },
    // No gid=5: the group is not mapped in the user namespace.
    Made {
        at: "/dev/pts",
        typ: "devpts",
        source: "devpts",
        options: &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
    // POSIX semaphores and shared memory, of the sandbox alone.
    Made { at: "/dev/shm", typ: "tmpfs", source: "shm", options: &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
];

/// Every mount of a sandbox, in order.
pub(super) fn layers(ground: &Ground, style: Style, proc: Proc) -> Layers {
    let mut out = Layers::default();
    if style == Style::Sandbox {
        system(&ground.tree, proc, &mut out);
    }
    for (path, spot) in ground.tree.iter() {
        if ground.tree.around(path) != Some(spot.access) {
            place(path, spot, &ground.tree, style, &mut out);
        }
    }
    out.layers.extend(ground.placeholders.iter().map(|at| layer(at, true, "tmpfs", Path::new("tmpfs"), PLACEHOLDER)));
    pin(&ground.tree, style, &mut out.layers);
    // Who is told of no resolver asks 127.0.0.1 (resolv.conf(5)), so that nothing needs to be written anywhere.
    out.layers.extend(ground.resolver.iter().map(|at| layer(at, false, "none", Path::new("/dev/null"), READ_DEV)));
    out.layers.sort_by_cached_key(|layer| layer.at.components().count());
    let closing: Vec<Layer> = out.layers.iter().filter_map(close).collect();
    out.layers.extend(closing); // when everything inside has its mount point
    out
}

/// A directory that the sandbox could rename, with something protected below it, is bound on itself: rename(2) of a mount point is
/// EBUSY. Otherwise the protected thing would move away with its directory, and another could be put where it was.
fn pin(tree: &Tree, style: Style, layers: &mut Vec<Layer>) {
    let mut seen: HashSet<PathBuf> = layers.iter().map(|layer| layer.at.clone()).collect();
    let mut pins = Vec::new();
    for layer in layers.iter() {
        for at in layer.at.ancestors().skip(1).filter(|at| tree.replaceable(at) && !tree.in_fresh(at)) {
            if seen.insert(at.into()) {
                pins.push(at.to_path_buf());
            }
        }
    }
    let spot = Spot { access: Access::Write, dir: true };
    let mut out = Layers::default();
    pins.iter().for_each(|at| place(at, &spot, tree, style, &mut out));
    layers.append(&mut out.layers);
}

fn system(tree: &Tree, proc: Proc, out: &mut Layers) {
    let proc = match proc {
        Proc::Fresh => &PROC,
        Proc::Outer => &OUTER_PROC,
    };
    let fresh = DEV.iter().filter(|made| tree.get(Path::new(made.at)).is_none());
    let made = |made: &Made| layer(Path::new(made.at), true, made.typ, Path::new(made.source), made.options);
    out.layers.extend(std::iter::once(proc).chain(fresh).map(made));
}

/// The mount that one spot needs, where it differs from what is around it.
fn place(path: &Path, spot: &Spot, tree: &Tree, style: Style, out: &mut Layers) {
    let dev = path.starts_with("/dev") && style == Style::Sandbox;
    if tree.is_fresh(path) {
        return out.layers.push(layer(path, true, "tmpfs", Path::new("tmpfs"), PRIVATE_TMP));
    }
    let options = match (spot.access, spot.dir, style) {
        (Access::Deny, dir, _) => return deny(path, dir, dev, tree, out),
        (_, true, Style::Host) => HOST_DIR,
        (_, false, Style::Host) => HOST_FILE,
        (Access::Read, true, Style::Sandbox) => [READ_DIR, READ_DEV_DIR][usize::from(dev)],
        (Access::Read, false, Style::Sandbox) => [READ_FILE, READ_DEV][usize::from(dev)],
        (Access::Write, true, Style::Sandbox) => [WRITE_DIR, WRITE_DEV_DIR][usize::from(dev)],
        (Access::Write, false, Style::Sandbox) => [WRITE_FILE, WRITE_DEV][usize::from(dev)],
    };
    out.layers.push(layer(path, spot.dir, "none", path, options));
}

fn deny(path: &Path, dir: bool, dev: bool, tree: &Tree, out: &mut Layers) {
    let open = tree.below(path).any(|(_, spot)| spot.access != Access::Deny);
    let bare = tree.around(path).is_none();
    let shm = path == Path::new("/dev/shm");
    match (dir, bare && !shm) {
        (_, true) if dev => {} // a fresh /dev does not have it
        (true, true) => out.bare.push((path.into(), if open { 0o111 } else { 0 })),
        // Outside every bind there is nothing to see, except the entries of `/` itself.
        (false, true) if path.components().count() > 2 => {}
        (true, false) => {
            let options = if open { MASK_OPEN } else { MASK_DIR };
            out.layers.push(layer(path, true, "ramfs", Path::new("ramfs"), options));
        }
        (false, _) => out.layers.push(layer(path, false, "none", Path::new("/dev/null"), MASK_FILE)),
    }
}

/// The second half of a mask with something granted below it: read-only, once the mount points are made.
fn close(mask: &Layer) -> Option<Layer> {
    let open = mask.mount.options().as_ref().is_some_and(|options| options.iter().eq(MASK_OPEN));
    open.then(|| layer(&mask.at, true, "ramfs", Path::new("ramfs"), MASK_CLOSE))
}

fn layer(at: &Path, dir: bool, typ: &str, source: &Path, options: Options) -> Layer {
    let mut mount = Mount::default();
    mount
        .set_destination(at.into())
        .set_typ(Some(typ.into()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(ToString::to_string).collect()));
    Layer { at: at.into(), dir, mount }
}
