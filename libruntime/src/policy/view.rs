//! What compile may know of the host: asked through one trait, so that the same policy and view give the same bytes.

mod automount;
pub(crate) mod cache;
mod disk;
mod recorded;
mod scan;

pub use disk::{Disk, speaks_of_the_path};
pub use recorded::Recorded;
pub use scan::Found;

use super::glob::Pattern;
use crate::Result;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The file name of codexrun's proxy, which lies beside codexrun.
pub const PROXY: &str = "codexrun-proxy";

/// The kind of a directory entry, as lstat(2) sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// Anything that is neither directory nor symbolic link.
    File,
    /// A symbolic link, not followed.
    Symlink,
}

/// What to look for below a directory.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The directory, without symbolic links; the base of all patterns.
    pub root: &'a Path,
    /// What matches.
    pub patterns: &'a [Pattern],
    /// How many directories deep; `None` is unbounded.
    pub max_depth: Option<usize>,
    /// Granted places: a directory that matches is entered only if one of them lies below it.
    pub open: &'a [PathBuf],
}

/// Something that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Below the search's root, crossing no symbolic link.
    pub path: PathBuf,
    /// A symbolic link is not followed.
    pub kind: Kind,
}

/// What compile asks of a host. Two implementations: the disk, and a recorded view (`--view FILE`) with which a bundle
/// is compiled for another machine and the golden examples are made.
pub trait View {
    /// Effective user and group of the caller.
    fn ids(&self) -> (u32, u32);
    /// The caller's capabilities (bit n = capability n), which `danger-full-access` passes on.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn capabilities(&self) -> Result<u64>;
    /// `$HOME`, else the password entry; absolute.
    ///
    /// # Errors
    /// There may be such an entry, and it cannot be read.
    fn home(&self) -> Result<Option<PathBuf>>;
    /// The home directory of somebody else, by name; a recorded view knows nobody.
    ///
    /// # Errors
    /// As of [`View::home`].
    fn home_of(&self, _user: &OsStr) -> Result<Option<PathBuf>> {
        Ok(None)
    }
    /// `$TMPDIR` as set, also when relative, empty or missing on disk: compile decides.
    fn tmpdir(&self) -> Option<PathBuf>;
    /// lstat(2); `NotFound` when missing, or when it is the placeholder of a concurrent sandbox (`run::keeper`): an empty directory
    /// of mode 01555, which may be gone at any moment. One question, so that there is no moment between two.
    fn kind(&self, path: &Path) -> io::Result<Kind>;
    /// Whether it certainly is a regular file, which nobody can connect to; a recorded view does not know.
    fn is_regular(&self, _path: &Path) -> bool {
        false
    }
    /// readlink(2).
    fn link(&self, path: &Path) -> io::Result<PathBuf>;
    /// The entries of a directory, sorted by bytes.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Everything below a directory that matches, whatever its file system, except what only automounting would bring there.
    fn search(&self, search: &Search) -> io::Result<Found>;
    /// Where results of searches are kept, in this environment or in another: compile lets no sandbox write there.
    fn caches(&self) -> Vec<PathBuf>;
    /// Where the caller's containers may be recorded: compile lets no sandbox look or write there.
    ///
    /// # Errors
    /// The kernel does not tell.
    fn records(&self) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
    /// The controllers of a cgroup that the caller could make, where the view says so; `None`: the host has to be asked.
    fn controllers(&self) -> Option<Vec<String>>;
    /// A regular file; EFBIG beyond 1 MiB, as a part of it would say less than it does.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether the caller could read and enter a directory (or read a file) with no capability left, as inside the
    /// sandbox: for root the mode counts too. An error is the host's, not a no.
    fn readable(&self, path: &Path) -> io::Result<bool>;
    /// Whether a directory can be gone through while the sandbox is made. Root's capabilities are then those of its own user namespace, and
    /// count only where owner and group are root's too (user_namespaces(7)); of everybody else lstat(2) has said it.
    fn enters(&self, _dir: &Path) -> io::Result<bool> {
        Ok(true)
    }
    /// Whether the caller may create entries in a directory. An error is the host's, not a no.
    fn writable(&self, path: &Path) -> io::Result<bool>;
    /// What is executed by its path outside, while a sandbox runs or next time: codexrun's own file, the proxy beside it, and the name that
    /// codexrun was called by. Compile lets no sandbox replace them.
    fn programs(&self) -> Vec<PathBuf>;
    /// Whether a file has other names, which lead past a mount on this one (hard links).
    fn has_other_names(&self, _path: &Path) -> bool {
        false
    }
    /// Whether `path` is somebody else's in a directory where everybody may make names, but remove only his own: sticky, as /tmp. No
    /// launch may depend on that.
    fn of_others(&self, path: &Path) -> io::Result<bool>;
    /// Whether the caller owns a directory: in a sticky one it may remove what others have put there.
    fn owns(&self, dir: &Path) -> io::Result<bool>;
    /// Whether a look at a name in a directory would have the automounter ask for it (autofs(5)), which may take a while.
    fn is_automounted(&self, _dir: &Path) -> bool {
        false
    }
    /// The codexrun executable, for the hook that removes placeholders under other runtimes.
    fn exe(&self) -> PathBuf;
    /// The machine's architecture, as `std::env::consts::ARCH` names it: which system calls a filter speaks of.
    fn arch(&self) -> &str;
}
