//! What `read-only` and `workspace-write` look like from inside, as one list; bwrap's command line and the floor's steps are both
//! rendered from it, so that they are equal because they cannot differ.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::{sys, view};

/// One entry of the view, in mount order. Paths are the same inside and outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A recursive read-only bind; at the top level its mount point has to be made.
    ReadOnly(PathBuf),
    /// A recursive writable bind.
    Writable(PathBuf),
    /// A name that must stay missing: an empty read-only directory over it.
    Missing(PathBuf),
    /// A symbolic link at the top level.
    Link(PathBuf, PathBuf),
    /// A fresh /dev.
    Dev,
    /// A fresh /proc.
    Proc,
}

/// How the host's root appears below the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// One recursive bind of `/`: what Codex tells bwrap.
    Whole,
    /// One recursive bind per top-level directory and file: what works under any OCI runtime, and what our config.json says.
    PerDirectory,
}

const METADATA: &[&str] = &[".git", ".agents", ".codex"];
const FRESH: &[&str] = &["/dev", "/proc"];

/// The policy's writable roots that exist, outermost first.
pub fn writable_roots(cwd: &Path) -> Vec<PathBuf> {
    let tmpdir = env::var_os("TMPDIR").filter(|t| !t.is_empty()).map(PathBuf::from);
    let mut roots: Vec<_> = [Some(cwd.to_path_buf()), Some("/tmp".into()), tmpdir].into_iter().flatten().collect();
    roots.retain(|root| root.is_dir());
    roots.sort_by_key(|root| root.components().count());
    roots.dedup();
    roots
}

/// The whole view of `read-only`, wherever.
pub fn read_only(base: Base) -> Vec<Item> {
    let mut items = match base {
        Base::Whole => vec![Item::ReadOnly("/".into())],
        Base::PerDirectory => top_level(),
    };
    items.extend([Item::Dev, Item::Proc]);
    items
}

/// The whole view of `workspace-write` for a working directory.
pub fn workspace_write(cwd: &Path, base: Base) -> Vec<Item> {
    let mut items = read_only(base);
    for root in writable_roots(cwd) {
        items.push(Item::Writable(root.clone()));
        items.extend(METADATA.iter().map(|name| protect(root.join(name))));
    }
    items
}

fn protect(path: PathBuf) -> Item {
    if path.exists() { Item::ReadOnly(path) } else { Item::Missing(path) }
}

fn top_level() -> Vec<Item> {
    let entries = fs::read_dir("/").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| !is_fresh(path)).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| link(&path).or_else(|| bind(path))).collect()
}

fn is_fresh(path: &Path) -> bool {
    FRESH.iter().any(|fresh| Path::new(fresh) == path)
}

fn link(path: &Path) -> Option<Item> {
    Some(Item::Link(fs::read_link(path).ok()?, path.to_path_buf()))
}

// A directory that the caller may not enter is left out: crun cannot bind it.
fn bind(path: PathBuf) -> Option<Item> {
    let enterable = || path.is_dir() && view::text(&path).is_ok_and(|text| sys::enterable(&text));
    let bound = path.is_file() || enterable();
    bound.then_some(Item::ReadOnly(path))
}

/// The names that a contender may leave behind on the host.
pub fn placeholders(items: &[Item]) -> Vec<PathBuf> {
    let missing = |item: &Item| match item {
        Item::Missing(path) => Some(path.clone()),
        _ => None,
    };
    items.iter().filter_map(missing).collect()
}

/// bwrap's options for it, those that Codex always gives included.
pub fn bwrap(items: &[Item]) -> Vec<OsString> {
    let mut line = Line(words("--new-session --die-with-parent"));
    for item in items {
        match item {
            Item::ReadOnly(path) => line.add(&["--ro-bind"], &[path, path]),
            Item::Writable(path) => line.add(&["--bind"], &[path, path]),
            Item::Missing(path) => {
                line.add(&["--perms", "555", "--tmpfs"], &[path]);
                line.add(&["--remount-ro"], &[path]);
            }
            Item::Link(text, path) => line.add(&["--symlink"], &[text, path]),
            Item::Dev => line.add(&["--dev", "/dev"], &[]),
            Item::Proc => line.add(&["--proc", "/proc"], &[]),
        }
    }
    if !items.contains(&Item::ReadOnly("/".into())) {
        line.add(&["--remount-ro", "/"], &[]);
    }
    line.0.extend(words("--unshare-user --unshare-pid --unshare-ipc --unshare-net --cap-drop ALL --"));
    line.0
}

/// The floor's words for the same.
pub fn floor(items: &[Item], cwd: &Path, uid: u32) -> Vec<OsString> {
    // devpts wants a uid 0 in its user namespace, so an ordinary user is root inside.
    let mut line = Line(words(&format!("user mnt pid ipc net map 0 {uid} lo scratch")));
    for item in items {
        match item {
            Item::ReadOnly(path) if is_top_level(path) => {
                line.add(&[if path.is_dir() { "dir" } else { "file" }], &[inside(path)]);
                line.add(&["ro"], &[path, inside(path)]);
            }
            Item::ReadOnly(path) => line.add(&["ro"], &[path, inside(path)]),
            Item::Writable(path) => line.add(&["rw"], &[path, inside(path)]),
            Item::Missing(path) => {
                line.add(&["dir"], &[inside(path)]);
                line.add(&["mount", "tmpfs"], &[inside(path)]);
                line.add(&["7", "mode=555", "rmdir"], &[path]);
            }
            Item::Link(text, path) => line.add(&["link"], &[text, inside(path)]),
            Item::Dev => line.0.extend(words(&format!("{FLOOR_DEV} {FLOOR_BOUND_NODES} dir dev/shm"))),
            Item::Proc => line.0.extend(floor_proc()),
        }
    }
    line.add(&["pivot", "cd"], &[cwd]);
    line.add(&["--"], &[]);
    line.0
}

// Mount flags: 2 nosuid, 10 nosuid+noexec, 14 nosuid+nodev+noexec, 7 ro+nosuid+nodev.

/// A /dev without nodes.
pub const FLOOR_DEV: &str = "dir dev mount tmpfs dev 2 mode=755 dir dev/pts \
    mount devpts dev/pts 10 newinstance,ptmxmode=0666,mode=620 link pts/ptmx dev/ptmx link /proc/self/fd dev/fd \
    link /proc/self/fd/0 dev/stdin link /proc/self/fd/1 dev/stdout link /proc/self/fd/2 dev/stderr link /proc/kcore dev/core";
/// The nodes of the host, bound: all that a user namespace may do.
pub const FLOOR_BOUND_NODES: &str = "file dev/null dev /dev/null dev/null file dev/zero dev /dev/zero dev/zero \
    file dev/full dev /dev/full dev/full file dev/random dev /dev/random dev/random \
    file dev/urandom dev /dev/urandom dev/urandom file dev/tty dev /dev/tty dev/tty";
/// The same six, made.
pub const FLOOR_MADE_NODES: &str =
    "node dev/null 3 node dev/zero 5 node dev/full 7 node dev/random 8 node dev/urandom 9 node dev/tty 0";
/// The kernel's own, whatever the namespace, and real root owns them: read-only. Not every kernel has each.
const KERNEL_WIDE: &[&str] = &["sys", "sysrq-trigger", "irq", "bus"];

fn floor_proc() -> Vec<OsString> {
    let mut line = words("dir proc mount proc proc 14 -");
    for name in KERNEL_WIDE.iter().filter(|name| Path::new("/proc").join(name).exists()) {
        line.extend(words(&format!("cover proc/{name}")));
    }
    line
}

struct Line(Vec<OsString>);

impl Line {
    fn add(&mut self, options: &[&str], paths: &[&Path]) {
        self.0.extend(options.iter().map(OsString::from));
        self.0.extend(paths.iter().map(OsString::from));
    }
}

/// A constant line as arguments.
pub fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn is_top_level(path: &Path) -> bool {
    path.parent() == Some(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[OsString]) -> String {
        words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_missing_name_is_an_empty_read_only_directory_for_both() {
        let items = [Item::Missing("/w/.codex".into())];
        assert!(line(&bwrap(&items)).contains("--perms 555 --tmpfs /w/.codex --remount-ro /w/.codex"));
        assert!(
            line(&floor(&items, Path::new("/w"), 0)).contains("dir w/.codex mount tmpfs w/.codex 7 mode=555 rmdir /w/.codex")
        );
    }

    #[test]
    fn codex_binds_the_whole_root_and_never_remounts_it() {
        let line = line(&bwrap(&[Item::ReadOnly("/".into()), Item::Dev, Item::Proc]));
        assert!(line.contains("--ro-bind / / --dev /dev --proc /proc --unshare-user"), "{line}");
    }

    #[test]
    fn every_writable_root_protects_three_names() {
        let dir = std::env::temp_dir();
        let items = workspace_write(&dir, Base::Whole);
        let protected =
            items.iter().filter(|i| matches!(i, Item::Missing(_)) || matches!(i, Item::ReadOnly(p) if p != Path::new("/")));
        assert_eq!(protected.count(), 3 * writable_roots(&dir).len());
    }
}
