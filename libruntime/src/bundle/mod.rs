//! A bundle: a spec and the root file system it names, in memory or on disk.

pub mod capability;
pub(crate) mod locate;
pub(crate) mod mend;
mod object;
pub mod part;
pub(crate) mod read;
pub(crate) mod required;
mod twice;
mod write;

pub use mend::{Fault, Mended};
pub use read::spec;

use crate::Error;
use oci_spec::runtime::Spec;
use std::path::{Path, PathBuf};

/// The file that makes a directory a bundle.
pub const CONFIG: &str = "config.json";

/// What was read as the config.json of a bundle: that in `dir`, or `config` in its place; none of a bundle that exists only in memory.
pub fn file(dir: Option<&Path>, config: Option<&Path>) -> Option<PathBuf> {
    dir.map(|dir| dir.join(config.unwrap_or(CONFIG.as_ref())))
}

/// The directory, inside a bundle, that a [`Skeleton`] is written to.
pub const ROOTFS: &str = "rootfs";

/// What `root.path` is in a bundle without mounts, relative to it and never made. codexrun knows that the host's root is meant; any other
/// runtime finds nothing, and stops before it mounts, where of root's `/` runc makes a mount on the host's.
pub const NO_ROOT: &str = "no-root-without-codexrun";

/// config.json's objects of other platforms.
pub(crate) const PLATFORMS: [&str; 5] = ["windows", "solaris", "vm", "zos", FREEBSD];
/// Since version 1.3.0; `oci_spec` does not know it.
pub(crate) const FREEBSD: &str = "freebsd";
/// What is said of them, whatever is in them.
pub(crate) const OF_ANOTHER_PLATFORM: &str = "belongs to another platform";

/// What is said of a member that nobody knows.
pub fn unknown(path: &str) -> Error {
    Error::new(format!("`{path}` is no known field, and has no effect"))
}

/// A spec and its root file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// config.json.
    pub spec: Spec,
    /// What `root.path` is.
    pub rootfs: Rootfs,
    /// Fields of config.json that no version of the specification known here has, by path. The specification says that they must
    /// not be an error; the plan mentions them, as one may be a misspelt protection.
    pub unknown: Vec<String>,
}

/// Where the container's root comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Rootfs {
    /// A directory of the host, absolute.
    Dir(PathBuf),
    /// Made in memory at launch, so that `codexrun sandbox` writes nothing to disk.
    Skeleton(Skeleton),
}

/// The empty directories, empty files and symbolic links that mounts land on; parents before children.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skeleton {
    /// Sorted by path.
    pub entries: Vec<Node>,
}

/// One entry of a [`Skeleton`]; paths are absolute inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// An empty directory with this mode.
    Dir {
        /// Where.
        path: PathBuf,
        /// Permission bits, e.g. 0o755; 0 for a host directory that the caller may not enter.
        mode: u32,
    },
    /// An empty file, to bind a file over.
    File {
        /// Where.
        path: PathBuf,
    },
    /// A symbolic link, as the host has it (`/bin` → `usr/bin`).
    Symlink {
        /// Where.
        path: PathBuf,
        /// Its text.
        target: PathBuf,
    },
}
