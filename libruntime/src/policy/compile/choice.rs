//! The choices of a policy → wishes: devices, caches and secrets are paths like those that entries name.

use super::Findings;
use super::resolve::{Wish, Wishes, wish};
use super::tree::Tree;
use super::walk::Walk;
use crate::Error;
use crate::policy::Access;
use crate::policy::choice::{CACHES, Choices, DEVICES, SECRETS};
use std::path::{Path, PathBuf};

/// Adds them to what the entries wish.
pub(super) fn wishes(choices: &Choices, wishes: &mut Wishes, walk: &Walk, found: &mut Findings) {
    for (_, path, new) in wished(choices, walk, found) {
        wish(wishes, path, new);
    }
    if choices.private_tmp {
        private_tmp(wishes, walk);
    }
    if (choices.deny_secrets || !choices.caches.is_empty()) && walk.home().is_none() {
        found.errors.push(Error::new("`deny_secrets` and `caches` need a home directory, and none is known"));
    }
}

/// Each with the name of its choice.
pub(super) fn wished(choices: &Choices, walk: &Walk, found: &mut Findings) -> Vec<(&'static str, PathBuf, Wish)> {
    let secrets = if choices.deny_secrets { below_home(SECRETS, walk) } else { Vec::new() };
    let all = [
        // A mount that is read-only keeps nobody from writing to a device, and nobody can make another one there.
        ("devices", Access::Read, devices(choices, walk, found)),
        ("caches", Access::Write, caches(choices, walk)),
        ("deny_secrets", Access::Deny, secrets),
        // Seen, and held in place by a mount of its own: no other socket can be moved there.
        ("unix_sockets", Access::Read, sockets(choices, walk).into_iter().map(|(path, _)| path.into()).collect()),
    ];
    let named = |(name, access, paths): (_, _, Vec<PathBuf>)| {
        paths.into_iter().map(move |path| (name, path, Wish { access, skip_missing: true }))
    };
    all.into_iter().flat_map(named).collect()
}

/// The granted caches: nobody keeps a repository or instructions at their top.
pub(super) fn caches(choices: &Choices, walk: &Walk) -> Vec<PathBuf> {
    let chosen = CACHES.iter().filter(|(name, _)| choices.caches.iter().any(|cache| cache == name));
    chosen.flat_map(|(_, paths)| below_home(paths, walk)).collect()
}

fn below_home(paths: &[&str], walk: &Walk) -> Vec<PathBuf> {
    let home = walk.home();
    home.iter().flat_map(|home| paths.iter().map(|path| home.join(path))).collect()
}

fn devices(choices: &Choices, walk: &Walk, found: &mut Findings) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for name in &choices.devices {
        let path = DEVICES.iter().find(|(known, _)| known == name).map_or(name.as_str(), |(_, path)| path);
        let there: Vec<PathBuf> = matching(path, walk);
        if there.is_empty() {
            found.warnings.push(format!("there is no device `{path}` on this host"));
        }
        all.extend(there);
    }
    all
}

fn matching(path: &str, walk: &Walk) -> Vec<PathBuf> {
    let exists = |path: &PathBuf| walk.trace(path).found();
    let Some(stem) = path.strip_suffix('*').map(Path::new) else { return vec![path.into()].into_iter().filter(exists).collect() };
    let (Some(dir), Some(start)) = (stem.parent(), stem.file_name().and_then(|name| name.to_str())) else { return Vec::new() };
    let starts = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start));
    walk.list(dir).into_iter().filter(starts).filter(exists).collect()
}

/// The granted sockets that are there, as written and without links.
pub(super) fn sockets<'a>(choices: &'a Choices, walk: &Walk) -> Vec<(&'a str, PathBuf)> {
    let place = |path: &'a String| Some((path.as_str(), walk.trace(Path::new(path)).end.place()?));
    choices.unix_sockets.iter().filter_map(place).collect()
}

/// The same, for those that make the connections; of what is not there, what is no socket, and what may be another one, it is said.
pub(super) fn granted(choices: &Choices, tree: &Tree, walk: &Walk, found: &mut Findings) -> Vec<String> {
    let there = sockets(choices, walk);
    let missing = choices.unix_sockets.iter().filter(|path| !there.iter().any(|(name, _)| name == path));
    found.warnings.extend(missing.map(|path| format!("there is no socket `{path}` on this host")));
    let files = there.iter().filter(|(_, place)| walk.view.is_regular(place));
    found.warnings.extend(files.map(|(name, _)| format!("`{name}` is a file and no socket: nobody can connect to it")));
    let moved = there.iter().filter(|(_, place)| tree.replaceable(place));
    found.warnings.extend(moved.map(|(name, _)| {
        format!("`{name}`, which is granted, lies where a sandbox can write: an earlier one may have moved another socket there")
    }));
    there.into_iter().map(|(_, place)| place.to_string_lossy().into_owned()).collect()
}

pub(super) const TMP: &str = "/tmp";

/// What the policy says of /tmp as a whole has no meaning for a new one, nor what it says of a temporary directory in the old one.
fn private_tmp(wishes: &mut Wishes, walk: &Walk) {
    wishes.remove(Path::new(TMP));
    if let Some(tmpdir) = tmpdir_in_tmp(walk) {
        wishes.remove(&tmpdir);
    }
}

/// `$TMPDIR` in the directory that is made anew.
pub(super) fn tmpdir_in_tmp(walk: &Walk) -> Option<PathBuf> {
    walk.view.tmpdir().filter(|path| path.starts_with(TMP))
}
