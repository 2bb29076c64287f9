//! Old holes of container runtimes: one attack for each, named after its CVE. What each was, and what stops it here, stands in
//! docs/threat-model.md. runc 1.1.5 and crun 1.8.1 are older than some of the repairs, and show that an attack can succeed.

mod console;
mod dev;
mod fd;
mod identity;
mod mount;
mod own;
mod proc;
mod race;

use crate::oci::Who::{Both, Root};
use crate::oci::turn::Turn;
use crate::oci::{Must, attack};
use crate::report::{No, Verdict, fail};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub const CASES: &[Must] = &[
    attack("cve-2016-9962", "nobody in the container can look into a process that `exec` brings in", Both, own::joining),
    attack("shared-pids", "nor into the first process of one that joins its user and PID namespace", Both, own::neighbour),
    attack("cve-2019-5736", "no program of the image leads to the runtime's own file, to be written to", Both, own::file),
    attack("cve-2019-16884", "a volume on /proc does not swallow the label of a security module", Both, proc::label),
    attack(
        "cve-2019-19921",
        "/proc is mounted and masked where it is seen, while a link is swapped in for it",
        Both,
        proc::swapped,
    ),
    attack("cve-2021-30465", "no mount lands outside while a link is swapped in on a shared volume", Both, mount::landing),
    attack("cve-2022-29162", "no inheritable or ambient capability that config.json does not name", Both, identity::inheritable),
    attack("cve-2023-27561", "the same as in 2019 with a link that leads to a volume and lies still", Both, proc::onto_a_volume),
    attack("cve-2023-28642", "/proc and /sys of the image that are links carry nothing away", Both, proc::links),
    attack(
        "cve-2024-21626",
        "no descriptor of the host's is a working directory, of run, create or exec",
        Both,
        fd::working_directory,
    ),
    attack("cve-2024-45310", "no missing target is made outside while a link is swapped in", Both, mount::making),
    attack("cve-2025-31133", "masks cover whatever lies at the container's /dev/null", Both, dev::masks),
    attack("cve-2025-52565", "what lies at /dev/console and /dev/pts does not lead the terminal out", Both, console::redirected),
    attack("cve-2025-52881", "kernel parameters are written to no /proc of the image's or a volume's", Both, proc::parameters),
    attack("cve-2026-30892", "`exec --user 1` is user 1", Root, identity::user_one),
    attack("cve-2026-41579", "a /dev that is a link: nothing is removed or made where it leads", Both, dev::link),
    attack("cve-2026-47766", "the same when nothing is mounted on /dev", Both, dev::link_uncovered),
    attack("cve-2026-87766", "no missing target is made outside through a link that an earlier run left", Both, mount::planted),
];

/// A bundle whose root file system has been worked over.
fn image(turn: &Turn, config: &serde_json::Value, change: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf, No> {
    let bundle = turn.bundle(config)?;
    change(&bundle.join("rootfs"))?;
    turn.column.actor.own(&bundle)?;
    Ok(bundle)
}

/// A directory of the host, in which the caller may make things.
fn directory(turn: &Turn, name: &str) -> Result<PathBuf, No> {
    let path = turn.dir.join(name);
    fs::create_dir_all(&path)?;
    turn.column.actor.own(&path)?;
    Ok(path)
}

/// Where the host's path lies when somebody takes it from the container's root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The host's path as a link that climbs, higher than any root is deep.
fn climbing(path: &Path) -> PathBuf {
    inside(Path::new(&"../".repeat(40)), path)
}

/// A directory of the host has these entries and no others.
fn holds(dir: &Path, expected: &[&str]) -> Verdict {
    let names = fs::read_dir(dir)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    if names == expected { Ok(()) } else { fail(format!("ls {}", dir.display()), format!("{expected:?}"), format!("{names:?}")) }
}

/// `run`, to its end: what it printed, or nothing when it was refused.
fn run(turn: &Turn, bundle: &Path) -> Result<Option<String>, No> {
    let ran = turn.call(&["run", "--bundle", &bundle.display().to_string(), &turn.fresh()])?;
    Ok((ran.code == 0).then_some(ran.out))
}
