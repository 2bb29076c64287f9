//! Where a run of the engines is: one directory, one cgroup in every hierarchy, and for each column a process that has its
//! own mount, PID, network and cgroup namespace. When that process dies, however it does, its daemons, containers, mounts
//! and networks die with it; the cgroups and the directory are removed here, or by the next run.

use super::hierarchy::{Hierarchy, make, remove};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const WHERE: &str = "/var/tmp";
const PREFIX: &str = "codexrun-engines-";
/// Locked for as long as the run lives: process ids would be those of other namespaces.
const OWNER: &str = "owner";
/// Tells the suite that it is the inside of a column, and which directory is its own.
pub const COLUMN: &str = "CODEXRUN_CONFORMANCE_ENGINE";

/// The place. Everything of it goes when it is dropped.
pub struct Place {
    dir: tempfile::TempDir,
    _owner: File,
    hierarchies: Vec<Hierarchy>,
}

impl Place {
    /// Makes the directory and the cgroups, after removing what runs that were killed have left.
    pub fn new() -> io::Result<Place> {
        let hierarchies = Hierarchy::all()?;
        sweep(&hierarchies);
        let dir = tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o755)).tempdir_in(WHERE)?;
        let owner = File::create(dir.path().join(OWNER))?;
        owner.lock()?;
        let place = Place { dir, _owner: owner, hierarchies };
        place.groups().try_for_each(|g| make(&g))?;
        Ok(place)
    }

    fn groups(&self) -> impl Iterator<Item = PathBuf> {
        let name = self.dir.path().file_name().map(PathBuf::from).unwrap_or_default();
        self.hierarchies.iter().map(move |h| h.own.join(&name))
    }

    /// Copies a runtime to where every user can execute it, under its own name.
    pub fn program(&self, number: usize, from: &Path) -> io::Result<PathBuf> {
        let dir = self.dir.path().join(format!("runtime-{number}"));
        fs::create_dir(&dir)?;
        let to = dir.join(from.file_name().unwrap_or_default());
        fs::copy(from, &to)?;
        fs::set_permissions(&to, Permissions::from_mode(0o755))?;
        Ok(to)
    }

    /// Starts the suite again as the inside of a column; what it finds is written to `out`.
    pub fn start(&self, column: &str, words: &[String], out: File) -> io::Result<Child> {
        let dir = self.dir.path().join(column.replace('/', "-"));
        fs::create_dir(&dir)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", JOIN, "sh"]);
        for group in self.groups() {
            let group = group.join(column.replace('/', "-"));
            make(&group)?;
            command.arg(group.join("cgroup.procs"));
        }
        command.arg("--").args(NAMESPACES).args(["/bin/sh", "-c", REAPER, "sh"]);
        command.arg(std::env::current_exe()?).args(words);
        // A process group of its own: Ctrl-C is for the supervisor, which ends the columns and then cleans up.
        command.env(COLUMN, dir).stdin(Stdio::null()).stdout(out).process_group(0).spawn()
    }
}

/// Enters the cgroups, then becomes what follows `--`.
const JOIN: &str = r#"while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@""#;
/// PID 1 of a column: engines let their orphans go, and somebody has to reap them. The shell must not exec its last command.
const REAPER: &str = r#""$@"; exit $?"#;
/// Dies with the supervisor, and everything in the PID namespace dies with it.
#[rustfmt::skip]
const NAMESPACES: &[&str] = &[
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--cgroup",
];

impl Drop for Place {
    fn drop(&mut self) {
        for group in self.groups().filter(|g| !remove(g)) {
            eprintln!("conformance: cannot remove {}", group.display());
        }
    }
}

/// Removes the directories and cgroups of runs that were killed.
fn sweep(hierarchies: &[Hierarchy]) {
    let dead = |dir: &Path| File::open(dir.join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok());
    let all = fs::read_dir(WHERE).into_iter().flatten().flatten().map(|e| e.path());
    let places = all.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PREFIX)));
    for place in places.filter(|p| dead(p)) {
        let name = place.file_name().unwrap_or_default();
        hierarchies
            .iter()
            .filter(|h| !remove(&h.own.join(name)))
            .for_each(|h| eprintln!("conformance: cannot remove {}", h.own.join(name).display()));
        drop(fs::remove_dir_all(&place));
    }
}
