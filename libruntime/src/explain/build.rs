//! What the steps of a plan make of the host's mounts: the same list that a launch walks, done on paper.

use super::node::{Kind, Node};
use super::right::{ENTER, WRITE, Who};
use super::table::{Mount, Spot, System, Table};
use super::walk::{End, Place};
use crate::plan::op::{Attrs, Bind, By, Device, NewFs, Op, Prepared, Root};
use crate::plan::place::At;
use crate::plan::{Plan, Step};
use crate::sys::mount::attr;
use crate::{Error, Result};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The table while it is built.
pub(super) struct Build<'t, 'a> {
    pub table: &'t mut Table<'a>,
    /// Who walks, and owns what is made.
    launcher: &'t Who,
    /// Who makes placeholders: the caller.
    keeper: &'t Who,
    /// File systems that are mounted again.
    kept: Vec<Option<usize>>,
    empty: Option<System>,
    origin: String,
}

/// Walks the plan as `launcher`; a step that a launch would fail at is an error.
pub(super) fn build(table: &mut Table, plan: &Plan, launcher: &Who, keeper: &Who) -> Result<()> {
    let mut build = Build { table, launcher, keeper, kept: Vec::new(), empty: None, origin: String::new() };
    for Step { op, origin, .. } in &plan.child {
        build.origin.clone_from(origin);
        build.step(op).map_err(|error| error.at(format!("config.json: {origin}")))?;
    }
    Ok(())
}

fn path(text: &CStr) -> PathBuf {
    OsStr::from_bytes(text.to_bytes()).into()
}

impl Build<'_, '_> {
    fn step(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Root(root) | Op::Tree(root) => self.root(root),
            Op::Mkdir { at, mode } => self.node(at, Kind::Dir, *mode),
            Op::Touch(at) => self.node(at, Kind::File, 0o644),
            Op::Symlink { at, target } => self.node(at, Kind::Link(path(target)), 0o777),
            Op::Bind(bind) => self.bind(bind, &bind.source),
            Op::BindOr { bind, other } => {
                let there =
                    matches!(self.table.follow(self.table.host, Some(self.launcher), &path(&bind.source), true), End::Found(_));
                self.bind(bind, if there { &bind.source } else { other })
            }
            Op::Mount(fs) => self.mount(fs),
            Op::Again { slot, at } => self.again(*slot, at),
            Op::Remount { at, attrs, .. } => self.remount(at, attrs),
            Op::OpenDev(at) | Op::Dir(at) => self.target(at, true).map(drop),
            Op::Device(device) => self.device(device),
            Op::Node { name, .. } => self.dev(name, Kind::Device, 0o666, true),
            Op::BindNode { name, source } => self.bind_node(&Path::new("/dev").join(path(name)), source),
            Op::Link { name, target } => self.dev(name, Kind::Link(path(target)), 0o777, false),
            Op::Console { console, .. } => self.console(console),
            Op::Mask(at) => self.mask(at),
            Op::ReadOnly(at) => self.read_only(at),
            Op::RootAttr { attr, .. } => {
                self.table.mounts[self.table.root].change(attr.set, attr.clear, &self.origin);
                Ok(())
            }
            // Nothing of these changes what a path leads to.
            Op::DieWithParent | Op::Umask(_) | Op::UmaskOfCaller | Op::EnterCgroup | Op::Wait(_) | Op::Tell(_) => Ok(()),
            Op::MapSelf(_)
            | Op::NestUser(_)
            | Op::Unshare(_)
            | Op::Lend { .. }
            | Op::Become { .. }
            | Op::Time(_)
            | Op::Loopback
            | Op::Receive(_) => Ok(()),
            Op::Sysctl { .. }
            | Op::Propagation { .. }
            | Op::OpenNull(_)
            | Op::MoveRoot(_)
            | Op::Pivot { .. }
            | Op::Chroot
            | Op::JoinRoot => Ok(()),
            Op::Hostname(_) | Op::Domainname(_) | Op::OomScore(_) | Op::Rlimit { .. } | Op::Scheduler(_) | Op::IoPriority(_) => {
                Ok(())
            }
            Op::Affinity(_) | Op::MemoryPolicy { .. } | Op::Personality(_) | Op::OpenProc | Op::Label(_) => Ok(()),
            Op::Keyring | Op::Groups { .. } | Op::KeepCapabilities | Op::Gid(_) | Op::Uid(_) | Op::Bounding { .. } => Ok(()),
            Op::Capabilities { .. } | Op::Undumpable | Op::Chdir(_) | Op::NoNewPrivs | Op::CloexecFrom(_) | Op::TakeRelay => {
                Ok(())
            }
            Op::Join(_) | Op::Descend | Op::Terminal { .. } | Op::Stdio | Op::Find(_) | Op::Pin(_) | Op::Park => Ok(()),
            Op::Hook(_)
            | Op::Hooked
            | Op::Init
            | Op::Session
            | Op::Signals
            | Op::Permit(_)
            | Op::Restrict
            | Op::Seccomp(_)
            | Op::Supervised { .. }
            | Op::Exec(_)
            | Op::Home(_)
            | Op::OwnTerminal(_)
            | Op::Enter(_) => Ok(()),
        }
    }

    fn root(&mut self, root: &Root) -> Result<()> {
        self.table.root = match root {
            Root::Memory => {
                let system = self.table.memory(self.made(Kind::Dir, 0o755));
                let mut mount = Mount::new(system, &self.origin, Path::new("/"));
                mount.change(attr::NOSUID | attr::NODEV, 0, &self.origin);
                self.table.add(mount)
            }
            Root::Dir(dir) => {
                let source = self.source(dir)?;
                self.table.copy(&source, true, &self.origin, Path::new("/"))
            }
        };
        Ok(())
    }

    fn made(&self, kind: Kind, mode: u32) -> Node {
        Node::made(kind, mode, (self.launcher.uid, self.launcher.gid))
    }

    /// What a path of the host leads to.
    fn source(&self, source: &CStr) -> Result<Spot> {
        match self.table.follow(self.table.host, Some(self.launcher), &path(source), true) {
            End::Found(place) => Ok(place.spot),
            End::Missing { at, .. } => Err(Error::new(format!("`{}` does not exist, so a launch fails", at.display()))),
            End::Stopped { at, why, .. } | End::Unknown { at, why, .. } => {
                Err(Error::new(format!("`{}` cannot be bound: {why}", at.display())))
            }
        }
    }

    /// The spot of a place inside, made when it is missing: directories on the way, at the end a directory or an empty file.
    /// A placeholder is made by the keeper, with the caller's own power.
    fn target(&mut self, place: &At, dir: bool) -> Result<Spot> {
        loop {
            match self.table.follow(self.table.root, Some(self.launcher), &path(&place.path), true) {
                End::Found(place) => return Ok(place.spot),
                End::Missing { at, last, dir: parent, .. } => {
                    self.may_make(&at, &parent, place.kept)?;
                    let node = if last && !dir { self.made(Kind::File, 0o644) } else { self.made(Kind::Dir, 0o755) };
                    self.table.put(self.table.locate(self.table.root, &at), node);
                }
                End::Unknown { .. } => return Ok(self.table.locate(self.table.root, &path(&place.path))),
                End::Stopped { at, why, .. } => {
                    return Err(Error::new(format!("nothing can be mounted below `{}`: {why}", at.display())));
                }
            }
        }
    }

    fn may_make(&self, at: &Path, dir: &Place, kept: bool) -> Result<()> {
        let fail = |why: &str| Error::new(format!("`{}` is missing and cannot be made: {why}", at.display()));
        if let Some(by) = self.table.mounts[dir.spot.mount].flag(attr::RDONLY) {
            return Err(fail(&format!("the mount is read-only ({by})")));
        }
        let maker = if kept { self.keeper } else { self.launcher };
        maker.may(&dir.node, WRITE | ENTER).map_err(|why| fail(&why))
    }

    /// A place that need not be there.
    fn present(&self, at: &At) -> Option<Spot> {
        match self.table.follow(self.table.root, Some(self.launcher), &path(&at.path), true) {
            End::Found(place) => Some(place.spot),
            End::Unknown { .. } => Some(self.table.locate(self.table.root, &path(&at.path))),
            End::Missing { .. } | End::Stopped { .. } => None,
        }
    }

    fn node(&mut self, at: &At, kind: Kind, mode: u32) -> Result<()> {
        let parent = path(&at.path).parent().map(PathBuf::from).unwrap_or_default();
        if let End::Found(dir) = self.table.follow(self.table.root, Some(self.launcher), &parent, true) {
            let spot = self.table.below(&dir.spot, &path(&at.name));
            if self.table.node(&spot).is_err() {
                self.table.put(spot, self.made(kind, mode));
            }
        }
        Ok(())
    }

    /// An entry of `/dev`, unless there is one.
    fn dev(&mut self, name: &CStr, kind: Kind, mode: u32, replace: bool) -> Result<()> {
        let dev = self.table.locate(self.table.root, Path::new("/dev"));
        let spot = self.table.below(&dev, &path(name));
        if replace || self.table.node(&spot).is_err() {
            self.table.put(spot, self.made(kind, mode));
        }
        Ok(())
    }

    fn bind(&mut self, bind: &Bind, source: &CStr) -> Result<()> {
        let source = self.source(source)?;
        let mount = self.table.copy(&source, bind.recursive, &self.origin, &path(&bind.at.path));
        self.table.mounts[mount].mapped |= matches!(bind.prepared, Some(Prepared::Mapped(_)));
        self.attributes(mount, &bind.attrs);
        let dir = self.table.node(&source).map_or(true, |node| node.is_dir());
        self.lay(mount, &bind.at, dir)
    }

    fn attributes(&mut self, mount: usize, attrs: &Attrs) {
        for below in self.table.tree(mount) {
            self.table.mounts[below].change(attrs.tree.set, attrs.tree.clear, &self.origin);
        }
        self.table.mounts[mount].change(attrs.own.set, attrs.own.clear, &self.origin);
    }

    fn lay(&mut self, mount: usize, at: &At, dir: bool) -> Result<()> {
        if at.is_root() {
            self.table.root = mount;
            return Ok(());
        }
        let spot = self.target(at, dir)?;
        self.table.attach(mount, spot);
        Ok(())
    }

    fn mount(&mut self, fs: &NewFs) -> Result<()> {
        let system = self.system(fs);
        let mut mount = Mount::new(system, &self.origin, &path(&fs.at.path));
        mount.change(fs.attrs.own.set, 0, &self.origin);
        let mount = self.table.add(mount);
        if let Some(slot) = fs.keep {
            self.kept.resize(self.kept.len().max(slot + 1), None);
            self.kept[slot] = Some(mount);
        }
        self.lay(mount, &fs.at, true)
    }

    fn system(&mut self, fs: &NewFs) -> System {
        let typ = fs.fstype.to_string_lossy();
        if !matches!(&*typ, "tmpfs" | "ramfs") || fs.copy_up || fs.data.is_some() {
            return System::Kernel(typ.into());
        }
        let octal = |key: &CStr| {
            let value = fs.parameters.iter().find(|(name, _)| name.as_c_str() == key)?.1.as_ref()?;
            u32::from_str_radix(value.to_str().ok()?, 8).ok()
        };
        let covered = || self.present(&fs.at).and_then(|spot| self.table.node(&spot).ok()).map(|node| node.mode);
        let usual = if typ == "tmpfs" { 0o1777 } else { 0o755 };
        let mode = octal(c"mode").or_else(|| covered().filter(|_| fs.mode_of_target)).unwrap_or(usual);
        let root = self.made(Kind::Dir, mode & 0o7777);
        self.table.memory(root)
    }

    fn again(&mut self, slot: usize, at: &At) -> Result<()> {
        if let Some(kept) = self.kept.get(slot).copied().flatten() {
            let root = self.table.root_of(kept);
            let copy = self.table.copy(&root, false, &self.origin, &path(&at.path));
            self.table.mounts[copy].blame(&self.origin);
            return self.lay(copy, at, true);
        }
        Ok(())
    }

    fn remount(&mut self, at: &At, attrs: &Attrs) -> Result<()> {
        let mount = if at.is_root() { self.table.root } else { self.target(at, true)?.mount };
        self.attributes(mount, attrs);
        Ok(())
    }

    fn device(&mut self, device: &Device) -> Result<()> {
        match &device.by {
            By::Host(source) => self.bind_node(&path(&device.at.path), source),
            By::Itself => Ok(()),
            By::Mknod | By::Parent(_) => {
                let spot = self.target(&device.at, false)?;
                let kind = if device.kind == libc::S_IFIFO { Kind::Pipe } else { Kind::Device };
                self.table.put(spot, Node::made(kind, device.mode, device.owner));
                Ok(())
            }
        }
    }

    fn bind_node(&mut self, at: &Path, source: &CStr) -> Result<()> {
        let source = self.source(source)?;
        let mount = self.table.copy(&source, false, &self.origin, at);
        let spot = self.table.locate(self.table.root, at);
        if self.table.node(&spot).is_err() {
            self.table.put(spot.clone(), self.made(Kind::File, 0o644));
        }
        self.table.attach(mount, spot);
        Ok(())
    }

    fn console(&mut self, at: &At) -> Result<()> {
        let system = self.table.memory(self.made(Kind::Device, 0o620));
        let mount = self.table.add(Mount::new(system, &self.origin, &path(&at.path)));
        self.lay(mount, at, false)
    }

    /// The host's own `/dev/null` over a file, an empty directory over a directory.
    fn mask(&mut self, at: &At) -> Result<()> {
        let Some(spot) = self.present(at) else { return Ok(()) };
        let mount = match self.table.node(&spot).is_ok_and(|node| !node.is_dir()) {
            true => {
                let null = self.source(c"/dev/null")?;
                self.table.copy(&null, false, &self.origin, &path(&at.path))
            }
            false => self.empty(&path(&at.path)),
        };
        self.table.attach(mount, spot);
        Ok(())
    }

    fn empty(&mut self, at: &Path) -> usize {
        let system = match self.empty.clone() {
            Some(system) => system,
            None => self.table.memory(self.made(Kind::Dir, 0o755)),
        };
        self.empty = Some(system.clone());
        let mut mount = Mount::new(system, &self.origin, at);
        mount.change(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC, 0, &self.origin);
        self.table.add(mount)
    }

    fn read_only(&mut self, at: &At) -> Result<()> {
        let Some(spot) = self.present(at) else { return Ok(()) };
        let mount = self.table.copy(&spot, true, &self.origin, &path(&at.path));
        for below in self.table.tree(mount) {
            self.table.mounts[below].change(attr::RDONLY, 0, &self.origin);
        }
        self.table.attach(mount, spot);
        Ok(())
    }
}
