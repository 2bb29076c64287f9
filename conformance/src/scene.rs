//! The directory a case plays in: a workspace, a second writable root, things outside, and a place for bundles; made
//! anew for each launch and removed after it.

use crate::actor::Actor;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where everything of one run of the suite is: outside /tmp, which policies open.
pub struct Stage {
    dir: tempfile::TempDir,
    _owner: fs::File,
    next: AtomicU32,
    /// The codexrun under test, copied to where every user can execute it.
    pub codexrun: PathBuf,
    /// The probe.
    pub probe: PathBuf,
}

const PLACE: &str = "/var/tmp";
const PREFIX: &str = "codexrun-test-";
/// Locked for as long as the suite lives that a stage belongs to; process ids would be those of other namespaces.
const OWNER: &str = "owner";

/// Removes the stages of suites that were killed.
fn sweep() {
    let dead = |dir: &Path| fs::File::open(dir.join(OWNER)).is_ok_and(|owner| owner.try_lock().is_ok());
    let all = fs::read_dir(PLACE).into_iter().flatten().flatten().map(|e| e.path());
    let stages = all.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PREFIX)));
    stages.filter(|p| dead(p)).for_each(|p| drop(fs::remove_dir_all(p)));
}

/// A directory of our own and the lock that says so.
fn place() -> io::Result<(tempfile::TempDir, fs::File)> {
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(PLACE)?;
    let owner = fs::File::create(dir.path().join(OWNER))?;
    owner.lock()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    Ok((dir, owner))
}

/// One scene. Removed when dropped.
pub struct Scene {
    /// Its top.
    pub dir: PathBuf,
}

impl Stage {
    /// Makes the directory and copies the programs into it.
    pub fn new(codexrun: &Path, probe: &Path) -> io::Result<Stage> {
        sweep();
        let (dir, owner) = place()?;
        let copy = |from: &Path, name: &str| {
            let to = dir.path().join(name);
            fs::copy(from, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).map(|()| to)
        };
        let proxy = codexrun.with_file_name("codexrun-proxy");
        if proxy.exists() {
            copy(&proxy, "codexrun-proxy")?;
        }
        let (codexrun, probe) = (copy(codexrun, "codexrun")?, copy(probe, "probe")?);
        Ok(Stage { dir, _owner: owner, next: AtomicU32::new(0), codexrun, probe })
    }

    /// A stage of its own that uses the programs of another one.
    pub fn sharing(programs: &Path) -> io::Result<Stage> {
        let (dir, owner) = place()?;
        let (codexrun, probe) = (programs.join("codexrun"), programs.join("probe"));
        Ok(Stage { dir, _owner: owner, next: AtomicU32::new(0), codexrun, probe })
    }

    /// Where its programs are.
    pub fn programs(&self) -> &Path {
        self.dir.path()
    }

    /// A fresh, empty directory, and a word that no other suite on this machine uses for anything.
    pub fn place(&self, kind: &str) -> io::Result<(PathBuf, String)> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.path().join(format!("{kind}-{n}"));
        fs::create_dir(&dir)?;
        let name = self.dir.path().file_name().unwrap_or_default().to_string_lossy();
        Ok((dir, format!("{name}-{n}")))
    }

    /// A program of the host's, copied to where it can be linked from; once.
    pub fn program(&self, from: &Path) -> io::Result<PathBuf> {
        let to = self.dir.path().join(from.file_name().unwrap_or_default());
        if !to.exists() {
            fs::copy(from, &to)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755))?;
        }
        Ok(to)
    }

    /// A fresh scene that belongs to `actor`.
    pub fn scene(&self, actor: &Actor) -> io::Result<Scene> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let scene = Scene { dir: self.dir.path().join(n.to_string()) };
        for dir in DIRS {
            fs::create_dir_all(scene.dir.join(dir))?;
        }
        for (file, text) in FILES {
            fs::write(scene.dir.join(file), text)?;
        }
        for (link, target) in LINKS {
            symlink(target, scene.dir.join(link))?;
        }
        fs::copy(&self.probe, scene.w().join("bin/probe"))?;
        actor.own(&scene.dir)?;
        fs::set_permissions(scene.run(), fs::Permissions::from_mode(0o700))?;
        Ok(scene)
    }
}

const DIRS: &[&str] = &[
    "w/bin",
    "w/sub",
    "w/swap",
    "w/ex",
    "w/locked",
    "w/secret",
    "w/store/x.git",
    "w/.git/hooks",
    "x/.agents",
    "x/.codex",
    "out/dir",
    "run",
    "state",
    "bundles",
];

const FILES: &[(&str, &str)] = &[
    ("w/plain.txt", "plain\n"),
    ("w/sub/inner.txt", "inner\n"),
    ("w/swap/file.txt", "swap\n"),
    ("w/script.txt", "#!/bin/sh\n"),
    ("w/a-rename", "a\n"),
    ("w/a-unlink", "a\n"),
    ("w/a-chmod", "a\n"),
    ("w/a-chown", "a\n"),
    ("w/a-xattr", "a\n"),
    ("w/a-utime", "a\n"),
    ("w/a-truncate", "a\n"),
    ("w/a-link", "a\n"),
    ("w/a-move", "a\n"),
    ("w/locked/file.txt", "locked\n"),
    ("w/secret/key.txt", "secret\n"),
    ("w/secret.env", "KEY=secret\n"),
    ("w/secret2.env", "KEY=secret\n"),
    ("w/.git/HEAD", "ref: refs/heads/main\n"),
    ("w/.git/config", "[core]\n"),
    ("w/store/x.git/HEAD", "ref: refs/heads/main\n"),
    ("w/store/x.git/config", "[core]\n"),
    ("x/plain.txt", "plain\n"),
    ("x/.git", "gitdir: ../w/store/x.git\n"),
    ("x/.agents/skill.md", "skill\n"),
    ("x/.codex/config.toml", "# config\n"),
    ("out/file.txt", "outside\n"),
    ("out/victim", "victim\n"),
    ("out/dir/inner.txt", "inner\n"),
];

const LINKS: &[(&str, &str)] = &[("w/escape", "../out/file.txt"), ("w/escapedir", "../out")];

impl Scene {
    /// The workspace: the policy's working directory. `.git` is a directory, `.agents` and `.codex` are missing.
    pub fn w(&self) -> PathBuf {
        self.dir.join("w")
    }
    /// A second writable root. `.git` is a pointer file into the workspace, `.agents` and `.codex` are directories.
    pub fn x(&self) -> PathBuf {
        self.dir.join("x")
    }
    /// Things that no policy but the last opens.
    pub fn out(&self) -> PathBuf {
        self.dir.join("out")
    }
    /// XDG_RUNTIME_DIR.
    pub fn run(&self) -> PathBuf {
        self.dir.join("run")
    }
    /// The runtime's `--root`.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A new, empty bundle directory.
    pub fn bundle(&self, actor: &Actor) -> io::Result<PathBuf> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = self.dir.join(format!("bundles/{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&dir)?;
        actor.own(&dir)?;
        Ok(dir)
    }

    /// Writes a file of the suite's own into the scene (a policy, a list of probes).
    pub fn put(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        Ok(path)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Everything below `dir` that a probe could change: kind, mode, link count excepted, and content.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    look(dir, &mut seen);
    seen
}

fn look(path: &Path, seen: &mut BTreeMap<PathBuf, String>) {
    let Ok(meta) = path.symlink_metadata() else {
        return;
    };
    let mut fact = format!("mode {:o}, owner {}:{}", meta.mode(), meta.uid(), meta.gid());
    if meta.is_file() {
        fact += &format!(", {:?}", fs::read_to_string(path).unwrap_or_default());
    }
    if meta.is_symlink() {
        fact += &format!(", -> {:?}", fs::read_link(path).unwrap_or_default());
    }
    seen.insert(path.into(), fact);
    if meta.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|e| look(&e.path(), seen));
    }
}

/// The first difference between two snapshots, in words.
pub fn difference(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Option<String> {
    let gone = before.iter().find(|(p, _)| !after.contains_key(*p)).map(|(p, _)| format!("{} is gone", p.display()));
    let new = || after.iter().find(|(p, _)| !before.contains_key(*p)).map(|(p, f)| format!("{} is new: {f}", p.display()));
    let other = || {
        let (path, was) = before.iter().find(|(p, f)| after.get(*p).is_some_and(|now| now != *f))?;
        Some(format!("{}: was {was}, is {}", path.display(), after[path]))
    };
    gone.or_else(new).or_else(other)
}
