//! What codexrun keeps of containers, out of reach of the sandbox that is launched: who can write there decides which hooks the user's next
//! `delete` runs, and who can read there can hold the lock of a container, and start one that waits.

use crate::explain::Subject;
use crate::report::Failure;
use libruntime::annotation::{LANDLOCK, POLICY_SHA256};
use libruntime::bundle::Bundle;
use libruntime::plan::annotation_of;
use libruntime::policy::view::{Disk, View};
use libruntime::state::Store;
use libruntime::{Error, Result};
use oci_spec::runtime::Spec;
use std::path::{Path, PathBuf};

/// Refuses a sandbox that could reach what is kept by this environment: its bundle, compiled in another one, hides other places.
/// `recorded`: the store is not only there, but this container is recorded in it.
pub fn out_of_reach(bundle: &Bundle, dir: &Path, store: &Store, recorded: bool) -> Result<(), Failure> {
    if !is_restricted(&bundle.spec) || store.is_hidden_anywhere() || (store.is_named() && !recorded) {
        return Ok(());
    }
    if recorded {
        // What is missing cannot be reached yet.
        store.make()?;
    }
    let subject = Subject { bundle: bundle.clone(), policy: None, dir: Some(dir.into()), cwd: "/".into() };
    let planned = subject.planned()?;
    let explained = planned.explained()?;
    let dir = real(store.root());
    // What `--root` names may be read: that is the caller's affair.
    let may_be_read = store.is_named() || !recorded;
    let reached = if may_be_read { explained.rewrites(&dir) } else { explained.reaches(&dir) };
    if let Some(inside) = reached {
        let error = within_reach("records of containers are kept", &dir, &inside);
        // Where the policy opens everything the caller has no other place to name.
        let opens_all = explained.path(Path::new("/etc")).mount.is_some_and(|mount| !mount.read_only);
        if !(store.is_named() && opens_all) {
            return Err(error.into());
        }
        error.warn();
    }
    let kept = Disk::new().caches().into_iter().filter(|_| !store.is_named()).map(|dir| real(&dir));
    match kept.into_iter().find_map(|dir| explained.rewrites(&dir).map(|inside| (dir, inside))) {
        Some((dir, inside)) => Err(within_reach("results of searches are kept", &dir, &inside).into()),
        None => Ok(()),
    }
}

/// A policy made it, and there is something that it forbids.
fn is_restricted(spec: &Spec) -> bool {
    let has = |options: &[String], names: [&str; 2]| options.iter().any(|option| names.contains(&option.as_str()));
    let read_only = |options: &Vec<String>| has(options, ["bind", "rbind"]) && has(options, ["ro", "rro"]);
    let mut mounts = spec.mounts().iter().flatten();
    let mut forbids =
        || mounts.any(|mount| mount.options().as_ref().is_some_and(read_only)) || annotation_of(spec, LANDLOCK).is_some();
    annotation_of(spec, POLICY_SHA256).is_some() && forbids()
}

fn within_reach(what: &str, dir: &Path, inside: &Path) -> Error {
    let alias = if inside == dir { String::new() } else { format!(", which it has as `{}`", inside.display()) };
    Error::new(format!("{what} in `{}`{alias}, and the sandbox could reach that", dir.display()))
        .hint("compile the bundle with the same XDG_RUNTIME_DIR, or set that, or `--root`, to a directory which the policy does not open")
}

/// What a link leads to; of what is missing, the directory above.
fn real(dir: &Path) -> PathBuf {
    let above = || Some(dir.parent()?.canonicalize().ok()?.join(dir.file_name()?));
    dir.canonicalize().ok().or_else(above).unwrap_or_else(|| dir.into())
}
