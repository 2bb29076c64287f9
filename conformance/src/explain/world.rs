//! A random tree with random owners, modes, links and mounts, and a random policy over it.

use crate::actor::Actor;
use crate::dice::Dice;
use crate::scene::Stage;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::Uid;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Where everything of a world is, until it is dropped.
pub struct World {
    dir: PathBuf,
    mounts: Vec<PathBuf>,
    /// The workspace.
    pub cwd: PathBuf,
    /// The policy, and the file that it is in.
    pub policy: PathBuf,
    pub policy_text: String,
    /// What goes with it on the command line.
    pub flags: Vec<String>,
    /// Whether it is asked as a bundle on disk, and where that is.
    pub as_bundle: bool,
    pub bundle: PathBuf,
    /// What is asked.
    pub paths: Vec<String>,
    /// The same, a line each, and as the probe wants it.
    pub questions: PathBuf,
    pub list: PathBuf,
}

const NAMES: &[&str] = &["a", "b", "c", "d", ".git", ".codex", ".agents"];
const DIR_MODES: &[u32] = &[0o755, 0o755, 0o755, 0o700, 0o700, 0o777, 0o1777, 0o711, 0o555, 0o500, 0o300, 0o000, 0o070, 0o2775];
const FILE_MODES: &[u32] = &[0o644, 0o644, 0o600, 0o755, 0o400, 0o444, 0o000, 0o007, 0o060, 0o711, 0o200, 0o4755];
const DEPTH: usize = 4;
/// Beside the tree: what is read-only, made afresh, or nobody's.
const OTHERS: &[&str] = &[
    "/",
    "/new",
    "/etc",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/new",
    "/usr/bin/env",
    "/bin/sh",
    "/root",
    "/root/new",
    "/home",
    "/tmp",
    "/tmp/new",
    "/var/tmp/new",
    "/dev",
    "/dev/new",
    "/dev/shm",
    "/dev/shm/new",
    "/dev/null",
    "/dev/zero",
    "/proc",
    "/proc/new",
    "/proc/meminfo",
    "/proc/kcore",
    "/proc/keys",
    "/proc/sys",
    "/nowhere/at/all",
];

impl World {
    /// The world of a seed.
    pub fn make(stage: &Stage, actor: &Actor, seed: u64) -> io::Result<World> {
        let (dir, _) = stage.place("world")?;
        let at = |name: &str| dir.join(name);
        let (cwd, policy, questions, list) = (at("w"), at("policy.json"), at("questions"), at("list"));
        let (policy_text, flags, paths, mounts) = (String::new(), Vec::new(), Vec::new(), Vec::new());
        let (bundle, as_bundle) = (at("bundle"), seed % 2 == 1);
        fs::create_dir(&bundle)?;
        lchown(&bundle, Some(actor.uid), Some(actor.gid))?;
        let mut world = World { dir, mounts, cwd, policy, policy_text, flags, as_bundle, bundle, paths, questions, list };
        let mut dice = Dice::new(seed);
        let mut tree = Tree { dice: &mut dice, dirs: Vec::new(), all: Vec::new() };
        for top in [&world.cwd, &world.dir.join("x"), &world.dir.join("y")] {
            tree.dir(top, 0)?;
        }
        tree.links(&world.dir)?;
        world.mounts = tree.mounts()?;
        let (mut all, dirs) = (std::mem::take(&mut tree.all), std::mem::take(&mut tree.dirs));
        all.extend(world.mounts.iter().flat_map(|at| [at.join("inner"), at.join("new")]));
        world.policy_text = random_policy(&mut dice, &all, &dirs, &[&stage.probe, &world.list]).to_string();
        if dice.one_in(3) {
            let more = json!({ "file_system": { "entries": random_entries(&mut dice, &all) } });
            world.flags = vec!["--additional".into(), more.to_string()];
        }
        tree_modes(&mut dice, actor, &all, &world)?;
        world.ask(all, &dirs)
    }

    fn ask(mut self, all: Vec<PathBuf>, dirs: &[PathBuf]) -> io::Result<World> {
        let new = dirs.iter().flat_map(|dir| [dir.join("new"), dir.join("new/deep"), dir.join("../new")]);
        let paths = all.iter().cloned().chain(new).chain(OTHERS.iter().map(PathBuf::from)).chain([self.dir.clone()]);
        let mut paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        paths.sort();
        paths.dedup();
        let probes: String = paths.iter().map(|path| format!("{path}\trights\t{path}\n")).collect();
        for (file, text) in [(&self.policy, &self.policy_text), (&self.questions, &paths.join("\n")), (&self.list, &probes)] {
            fs::write(file, text)?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o644))?;
        }
        self.paths = paths;
        Ok(self)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for at in self.mounts.iter().rev() {
            let _ = umount2(at, MntFlags::MNT_DETACH);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Tree<'a> {
    dice: &'a mut Dice,
    dirs: Vec<PathBuf>,
    all: Vec<PathBuf>,
}

impl Tree<'_> {
    fn dir(&mut self, at: &Path, depth: usize) -> io::Result<()> {
        fs::create_dir(at)?;
        self.dirs.push(at.into());
        self.all.push(at.into());
        let entries = if depth == 0 { 3 + self.dice.below(4) } else { self.dice.below(4) };
        for _ in 0..entries {
            let entry = at.join(self.dice.of(NAMES));
            match self.dice.below(5) {
                _ if entry.exists() => {}
                0 | 1 => {
                    fs::write(&entry, "text\n")?;
                    self.all.push(entry);
                }
                _ if depth < DEPTH => self.dir(&entry, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// To places of the tree, to itself, to nothing.
    fn links(&mut self, dir: &Path) -> io::Result<()> {
        for n in 0..self.dice.below(5) {
            let at = self.dice.of(&self.dirs).join(format!("l{n}"));
            let target = match self.dice.below(5) {
                0 => "nothing".into(),
                1 => PathBuf::from("../a/./b"),
                2 => at.clone(),
                _ => self.dice.of(&self.all),
            };
            let target = if self.dice.one_in(3) {
                target.strip_prefix(dir).map_or(target.clone(), |rest| Path::new("../").join(rest))
            } else {
                target
            };
            symlink(target, &at)?;
            self.all.push(at);
        }
        Ok(())
    }

    /// Mounts of the host's, which a recursive bind brings along with their own attributes. Only root can.
    fn mounts(&mut self) -> io::Result<Vec<PathBuf>> {
        let mut made = Vec::new();
        if !Uid::effective().is_root() || !self.dice.one_in(2) {
            return Ok(made);
        }
        for _ in 0..1 + self.dice.below(2) {
            let at = self.dice.of(&self.dirs);
            let covered = |path: &Path| made.iter().any(|done: &PathBuf| path.starts_with(done) || done.starts_with(path));
            if covered(&at) {
                continue;
            }
            mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=777"))?;
            fs::write(at.join("inner"), "")?;
            fs::set_permissions(at.join("inner"), fs::Permissions::from_mode(0o777))?;
            let flags = [MsFlags::empty(), MsFlags::MS_RDONLY, MsFlags::MS_NOEXEC];
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | self.dice.of(&flags);
            mount(None::<&str>, &at, None::<&str>, flags, None::<&str>)?;
            self.all.retain(|path| path == &at || !path.starts_with(&at));
            self.dirs.retain(|path| path == &at || !path.starts_with(&at));
            made.push(at);
        }
        Ok(made)
    }
}

/// Owners and modes last: they would be in the way before.
fn tree_modes(dice: &mut Dice, actor: &Actor, all: &[PathBuf], world: &World) -> io::Result<()> {
    let root = Uid::effective().is_root();
    for path in all.iter().rev() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        if root && !world.mounts.iter().any(|at| path.starts_with(at)) {
            let (uid, gid) = dice.of(&[
                (actor.uid, actor.gid),
                (actor.uid, actor.gid),
                (actor.uid, 0),
                (0, actor.gid),
                (0, 0),
                (65534, 65534),
            ]);
            lchown(path, Some(uid), Some(gid))?;
        }
        let mode = if meta.is_dir() { dice.of(DIR_MODES) } else { dice.of(FILE_MODES) };
        // The workspace is where the command starts.
        let mode = if *path == world.cwd || dice.one_in(2) { mode | 0o755 } else { mode };
        if !meta.is_symlink() && !world.mounts.iter().any(|at| path.starts_with(at)) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

fn special(kind: &str, access: &str) -> Value {
    json!({ "path": { "type": "special", "value": { "kind": kind } }, "access": access })
}

fn path(path: &Path, access: &str) -> Value {
    json!({ "path": { "type": "path", "path": path }, "access": access })
}

fn random_policy(dice: &mut Dice, all: &[PathBuf], dirs: &[PathBuf], needed: &[&Path]) -> Value {
    let mut entries = match dice.below(4) {
        0 => vec![special("minimal", "read")],
        _ => vec![special("root", "read")],
    };
    entries.push(special("project_roots", dice.of(&["write", "write", "write", "read"])));
    if dice.one_in(2) {
        entries.push(special("slash_tmp", "write"));
    }
    entries.extend(random_entries(dice, all));
    entries.extend(random_globs(dice, dirs));
    entries.extend(needed.iter().map(|file| path(file, "read")));
    let depth = dice.of(&[Value::Null, Value::Null, json!(1), json!(2)]);
    let file_system = json!({ "type": "restricted", "entries": entries, "glob_scan_max_depth": depth });
    json!({ "type": "managed", "file_system": file_system, "network": "restricted", "codexrun": random_choices(dice) })
}

fn random_entries(dice: &mut Dice, all: &[PathBuf]) -> Vec<Value> {
    let mut entries = Vec::new();
    for _ in 0..dice.below(6) {
        let at = dice.of(all);
        let at = if dice.one_in(6) { at.join("absent") } else { at };
        entries.push(path(&at, dice.of(&["read", "write", "write", "deny", "deny"])));
    }
    entries
}

/// Below directories of the tree, links to them, and the workspace.
fn random_globs(dice: &mut Dice, dirs: &[PathBuf]) -> Vec<Value> {
    let below = |dice: &mut Dice| dice.of(&["**/a", "**/[bc]", "*/c", "**/l?", "**/{a,.git}", "*/**", "**/b/**/d", "?/*", "a"]);
    let glob = |dice: &mut Dice| match dice.below(3) {
        0 => format!("codex-project-roots://{}", below(dice)),
        _ => format!("{}/{}", dice.of(dirs).display(), below(dice)),
    };
    let count = if dice.one_in(2) { 0 } else { 1 + dice.below(2) };
    let entry = |pattern: String| json!({ "path": { "type": "glob_pattern", "pattern": pattern }, "access": "deny" });
    (0..count).map(|_| entry(glob(dice))).collect()
}

fn random_choices(dice: &mut Dice) -> Value {
    let git = if dice.one_in(12) { "commit" } else { "protect" };
    let caches = if dice.one_in(4) { json!(["npm", "cargo"]) } else { json!([]) };
    let devices = if dice.one_in(4) { json!(["fuse", "/dev/net/*"]) } else { json!([]) };
    let isolation = if dice.one_in(4) { "landlock" } else { "namespaces" };
    json!({ "private_tmp": dice.one_in(4), "deny_secrets": dice.one_in(4), "nested_git": dice.one_in(3), "git": git,
        "caches": caches, "devices": devices, "landlock": dice.one_in(4), "isolation": isolation,
        "accept_loss": ["processes", "metadata", "carve-outs", "attributes", "private-tmp"] })
}
