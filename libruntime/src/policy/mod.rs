//! What an agent may do, as the Codex forms say it: the types that every form is parsed into, and compile(policy, view)
//! → bundle. Never launches anything.

pub mod choice;
pub mod compile;
pub mod digest;
pub mod domain;
pub mod glob;
pub mod import;
pub mod isolation;
mod merge;
pub mod parse;
pub mod view;

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// One policy, whatever form it was written in. A permission profile `disabled` is `Unrestricted` + `Enabled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What may be read and written.
    pub file_system: FileSystem,
    /// What may be reached.
    pub network: Network,
    /// What Codex has no word for.
    pub choices: choice::Choices,
}

/// `FileSystemSandboxPolicy.kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSystem {
    /// Only what the entries permit.
    Restricted(Restricted),
    /// Everything that the caller may do.
    Unrestricted,
    /// Somebody else confines the file system; codexrun adds nothing.
    External,
}

/// The entries of a restricted file system, in the order they were written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restricted {
    /// Longest match decides; on a tie deny > write > read.
    pub entries: Vec<Entry>,
    /// How deep deny globs are expanded; `None` is unbounded.
    pub glob_scan_max_depth: Option<NonZeroUsize>,
}

/// One line of a restricted policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it speaks of.
    pub target: Target,
    /// What is permitted there.
    pub access: Access,
    /// `missing_path_behavior: skip`.
    pub skip_missing: bool,
}

/// What an entry speaks of, before it is resolved against a working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An absolute, lexically clean path.
    Path(PathBuf),
    /// A glob; only meaningful with [`Access::Deny`].
    Glob(String),
    /// A symbolic place.
    Special(Special),
}

/// `path.value.kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Special {
    /// `/`.
    Root,
    /// The system directories a program needs (`/bin /sbin /usr /etc /lib /lib64 …`).
    Minimal,
    /// The workspace root, or a relative path below it.
    ProjectRoots {
        /// Relative, without `..`.
        subpath: Option<PathBuf>,
    },
    /// `$TMPDIR`.
    Tmpdir,
    /// `/tmp`.
    SlashTmp,
    /// A token of a later version: kept, warned about, without effect.
    Unknown {
        /// As written, e.g. `:future`.
        path: String,
        /// As written.
        subpath: Option<String>,
    },
}

/// `read` | `write` | `deny` (alias `none`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Look, do not touch.
    Read,
    /// Read and write.
    Write,
    /// Neither.
    Deny,
}

/// `NetworkSandboxPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Loopback inside the sandbox only.
    Restricted,
    /// The same, and the proxies that the environment names.
    Proxy,
    /// The host's network.
    Enabled,
}
