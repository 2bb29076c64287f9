//! The policies that have a name, and the entries that the legacy forms stand for.

use super::cursor::one_of;
use crate::policy::{Access, Entry, FileSystem, Network, Policy, Restricted, Special, Target};
use std::path::PathBuf;

type Preset = (&'static str, fn() -> Policy);

/// Each also with a leading `:`.
const PRESETS: [Preset; 4] = [
    ("read-only", || read_only(Network::Restricted)),
    ("workspace-write", || Workspace::default().policy()),
    ("workspace", || Workspace::default().policy()),
    ("danger-full-access", full_access),
];

/// Read-only below every workspace root, because what they hold is run or obeyed outside the sandbox.
const PROTECTED: [&str; 3] = [".git", ".agents", ".codex"];

/// `read-only`, `workspace-write` (alias `workspace`) or `danger-full-access`, each also with a leading `:`.
pub fn preset(name: &str) -> Option<Policy> {
    let name = name.strip_prefix(':').unwrap_or(name);
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, policy)| policy())
}

/// Their names, in a sentence.
pub(super) fn known(prefix: &str) -> String {
    let names = PRESETS.map(|(name, _)| format!("{prefix}{name}"));
    one_of(&names.each_ref().map(|name| (name.as_str(), ())))
}

pub(super) fn full_access() -> Policy {
    Policy { file_system: FileSystem::Unrestricted, network: Network::Enabled, choices: Default::default() }
}

pub(super) fn read_only(network: Network) -> Policy {
    restricted(read_all(), network)
}

pub(super) fn restricted(entries: Vec<Entry>, network: Network) -> Policy {
    let file_system = FileSystem::Restricted(Restricted { entries, glob_scan_max_depth: None });
    Policy { file_system, network, choices: Default::default() }
}

/// What a legacy policy may read, unless it says otherwise.
pub(super) fn read_all() -> Vec<Entry> {
    vec![special(Special::Root, Access::Read)]
}

pub(super) fn entry(target: Target, access: Access) -> Entry {
    Entry { target, access, skip_missing: false }
}

pub(super) fn special(special: Special, access: Access) -> Entry {
    entry(Target::Special(special), access)
}

/// `workspace-write`, with its knobs.
pub(super) struct Workspace {
    pub reads: Vec<Entry>,
    pub writable_roots: Vec<PathBuf>,
    pub slash_tmp: bool,
    pub tmpdir: bool,
    pub network: Network,
}

impl Default for Workspace {
    fn default() -> Self {
        Workspace { reads: read_all(), writable_roots: Vec::new(), slash_tmp: true, tmpdir: true, network: Network::Restricted }
    }
}

impl Workspace {
    pub fn policy(self) -> Policy {
        let write = |place| special(place, Access::Write);
        let mut entries = self.reads;
        entries.push(write(Special::ProjectRoots { subpath: None }));
        entries.extend(self.slash_tmp.then(|| write(Special::SlashTmp)));
        entries.extend(self.tmpdir.then(|| write(Special::Tmpdir)));
        entries.extend(self.writable_roots.into_iter().map(|root| entry(Target::Path(root), Access::Write)));
        entries.extend(PROTECTED.map(protected));
        restricted(entries, self.network)
    }
}

fn protected(name: &str) -> Entry {
    let place = Special::ProjectRoots { subpath: Some(name.into()) };
    Entry { skip_missing: true, ..special(place, Access::Read) }
}
