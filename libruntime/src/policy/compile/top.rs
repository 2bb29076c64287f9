//! The entries of `/` one by one: `root.path: "/"` fails in runc and crun, a bind of each top-level directory works.

use super::Findings;
use super::roots::Ground;
use super::tree::Spot;
use super::walk::{Link, Walk};
use crate::Error;
use crate::policy::Access;
use crate::policy::view::Kind;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Who makes `/proc` and `/dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// The runtime, afresh.
    Sandbox,
    /// Nobody: the host's are bound like every other directory, and nothing is taken away.
    Host,
}

/// Replaces the spot of `/` by one per entry. Answers the directories that the caller may not enter: they become
/// skeleton directories of mode 0, the same EACCES as outside (crun cannot bind what it cannot open).
pub(super) fn expand(ground: &mut Ground, style: Style, walk: &Walk, found: &mut Findings) -> Vec<PathBuf> {
    let root = Path::new("/");
    let Some(Spot { access: access @ (Access::Read | Access::Write), .. }) = ground.tree.take(root) else {
        return Vec::new();
    };
    let entries = walk.view.list(root).unwrap_or_else(|cause| {
        found.errors.push(Error::new("cannot list `/`").cause(cause).hint(
            "of `/` each entry is granted by itself; what codexrun runs in forbids to read that directory: an outer sandbox that denies something below it, or its mode",
        ));
        Vec::new()
    });
    let mut barred = Vec::new();
    for path in entries {
        if ground.tree.get(&path).is_some() || (style == Style::Sandbox && fresh(&path)) {
            continue;
        }
        match walk.kind(&path) {
            Ok(Kind::Symlink) => {
                let target = walk.link(&path);
                ground.links.extend(target.ok().map(|target| Link { at: path, target }));
            }
            Ok(Kind::Dir) if !enterable(&path, style, walk) => barred.push(path),
            Ok(kind) => ground.tree.put(path, Spot { access, dir: kind == Kind::Dir }),
            Err(ErrorKind::NotFound) => {} // gone since it was listed
            Err(_) => barred.push(path),   // somebody's FUSE mount, which shows itself to its owner only
        }
    }
    barred
}

fn fresh(path: &Path) -> bool {
    path == Path::new("/proc") || path == Path::new("/dev")
}

/// Root keeps its capabilities in the host style, and with them its way into every directory.
fn enterable(path: &Path, style: Style, walk: &Walk) -> bool {
    (style == Style::Host && walk.view.ids().0 == 0) || walk.readable(path)
}
