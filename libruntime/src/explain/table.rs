//! Mounts, and what lies on them: the host's as mountinfo tells them, and the container's as the plan makes them. In one table,
//! since a bind is a copy of a part of it.

use super::look::Look;
use super::node::Node;
use crate::sys::mount::attr;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

/// A mount by its number, and a place in its file system: on the host's file systems the host's path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub mount: usize,
    pub path: PathBuf,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum System {
    /// What the host's mount of this number shows.
    Host(usize),
    /// What the plan puts there: [`Table::memory`].
    Memory(usize),
    /// What only the kernel knows, and when it is asked: `proc`, `devpts`, …
    Kernel(String),
}

#[derive(Debug, Clone)]
pub(super) struct Mount {
    pub system: System,
    /// Which of its places is the mount's root.
    pub root: PathBuf,
    /// Where it lies, in the namespace that it belongs to.
    pub at: PathBuf,
    /// Where config.json asks for it; on the host, `the host`.
    pub origin: String,
    /// MOUNT_ATTR_* one by one, and who has set it.
    flags: Vec<(u64, String)>,
    /// Ids are translated on the way, how is not followed here.
    pub mapped: bool,
    /// Nobody but the kernel makes entries.
    pub closed: bool,
    unbindable: bool,
}

impl Mount {
    pub fn new(system: System, origin: &str, at: &Path) -> Mount {
        let (root, at, origin) = ("/".into(), at.into(), origin.to_owned());
        let closed = matches!(&system, System::Kernel(fstype) if CLOSED.contains(&fstype.as_str()));
        Mount { system, root, at, origin, flags: Vec::new(), mapped: false, closed, unbindable: false }
    }

    /// Who has set a flag, if it is set.
    pub fn flag(&self, flag: u64) -> Option<&str> {
        self.flags.iter().find(|(set, _)| *set == flag).map(|(_, by)| by.as_str())
    }

    /// Every flag is set by `origin` too.
    pub fn blame(&mut self, origin: &str) {
        self.flags.iter_mut().for_each(|(_, by)| origin.clone_into(by));
    }

    pub fn change(&mut self, set: u64, clear: u64, by: &str) {
        self.flags.retain(|(flag, _)| clear & flag == 0);
        for flag in FLAGS.iter().filter(|flag| set & **flag != 0) {
            if self.flag(*flag).is_none() {
                self.flags.push((*flag, by.to_owned()));
            }
        }
    }
}

/// File systems without mkdir(2) and unlink(2).
const CLOSED: [&str; 3] = ["proc", "sysfs", "devpts"];

/// Those that decide what may be done.
const FLAGS: [u64; 5] = [attr::RDONLY, attr::NOSUID, attr::NODEV, attr::NOEXEC, attr::NOSYMFOLLOW];

/// What of /proc differs from one process to the next.
const OWN: [&str; 5] = ["self", "thread-self", "net", "mounts", "sys"];

/// Why there is no [`Node`] at a spot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// There is nothing.
    Missing,
    /// The caller itself may not look there, and its sandbox can no more.
    Barred(String),
    /// It cannot be told beforehand.
    Unknown(String),
}

pub(super) struct Table<'a> {
    pub look: &'a dyn Look,
    pub mounts: Vec<Mount>,
    /// What lies directly on a spot.
    on: HashMap<Spot, usize>,
    memory: Vec<BTreeMap<PathBuf, Node>>,
    /// Mount points that are missing on the host, and that a launch makes there.
    made: BTreeMap<PathBuf, Node>,
    seen: RefCell<HashMap<PathBuf, Result<Node, Absent>>>,
    /// The root of the host, and of the container.
    pub host: usize,
    pub root: usize,
}

impl<'a> Table<'a> {
    /// The host alone.
    pub fn new(look: &'a dyn Look) -> Table<'a> {
        let (memory, made, seen) = (Vec::new(), BTreeMap::new(), RefCell::default());
        let mut table = Table { look, mounts: Vec::new(), on: HashMap::new(), memory, made, seen, host: 0, root: 0 };
        table.take_over_hosts();
        table
    }

    fn take_over_hosts(&mut self) {
        let all = self.look.mounts();
        let number = |id: u32| all.iter().position(|mount| mount.id.0 == id);
        for (n, host) in all.iter().enumerate() {
            let proc = host.fstype == "proc" && host.at == Path::new("/proc");
            let system = if proc { System::Kernel("proc".into()) } else { System::Host(n) };
            let mut mount = Mount::new(system, "the host", &host.at);
            if !proc {
                mount.root.clone_from(&host.at);
            }
            mount.unbindable = host.unbindable;
            mount.closed |= CLOSED.contains(&host.fstype.as_str());
            mount.change(host.flags, 0, &format!("the host's mount on `{}`", host.at.display()));
            self.mounts.push(mount);
            match number(host.id.1).filter(|parent| *parent != n) {
                Some(mount) => drop(self.on.insert(Spot { mount, path: host.at.clone() }, n)),
                None if host.at == Path::new("/") => self.host = n,
                None => {} // of another root: no path leads there
            }
        }
        if self.mounts.is_empty() {
            self.mounts.push(Mount::new(System::Host(0), "the host", Path::new("/")));
        }
        // Unless the plan makes one.
        self.root = self.host;
    }

    /// An empty file system with this root.
    pub fn memory(&mut self, root: Node) -> System {
        self.memory.push(BTreeMap::from([("/".into(), root)]));
        System::Memory(self.memory.len() - 1)
    }

    /// Adds a mount that lies nowhere yet.
    pub fn add(&mut self, mount: Mount) -> usize {
        self.mounts.push(mount);
        self.mounts.len() - 1
    }

    /// What a path leads to at last that leads to this spot: mounts hide each other.
    pub fn top(&self, mut spot: Spot) -> Spot {
        while let Some(mount) = self.on.get(&spot) {
            spot = self.root_of(*mount);
        }
        spot
    }

    pub fn root_of(&self, mount: usize) -> Spot {
        Spot { mount, path: self.mounts[mount].root.clone() }
    }

    /// Lays a mount over a spot, or over what lies there.
    pub fn attach(&mut self, mount: usize, spot: Spot) {
        let spot = self.top(spot);
        self.on.insert(spot, mount);
    }

    /// The spot of a path without symbolic links.
    pub fn locate(&self, root: usize, path: &Path) -> Spot {
        let names = path.components().skip(1);
        names.fold(self.top(self.root_of(root)), |spot, name| self.below(&spot, name.as_ref()))
    }

    pub fn below(&self, spot: &Spot, name: &Path) -> Spot {
        self.top(Spot { mount: spot.mount, path: spot.path.join(name) })
    }

    /// A copy of the mount from this spot on, with every mount below when `recursive`; it lies nowhere yet.
    pub fn copy(&mut self, from: &Spot, recursive: bool, origin: &str, at: &Path) -> usize {
        let copy = Mount { root: from.path.clone(), origin: origin.to_owned(), at: at.into(), ..self.mounts[from.mount].clone() };
        let new = self.add(copy);
        if !recursive {
            return new;
        }
        let inside = |spot: &Spot| spot.mount == from.mount && spot.path.starts_with(&from.path) && spot.path != from.path;
        let below = self.on.iter().filter(|(spot, mount)| inside(spot) && !self.mounts[**mount].unbindable);
        let below: Vec<(PathBuf, usize)> = below.map(|(spot, mount)| (spot.path.clone(), *mount)).collect();
        for (path, mount) in below {
            let place = path.strip_prefix(&from.path).map_or(at.into(), |rest| at.join(rest));
            let copy = self.copy(&self.root_of(mount), true, origin, &place);
            self.on.insert(Spot { mount: new, path }, copy);
        }
        new
    }

    /// A mount and every mount on it.
    pub fn tree(&self, mount: usize) -> Vec<usize> {
        let on = self.on.iter().filter(|(spot, _)| spot.mount == mount);
        std::iter::once(mount).chain(on.flat_map(|(_, child)| self.tree(*child))).collect()
    }

    /// Puts something into memory, or what a launch would make on the host.
    pub fn put(&mut self, spot: Spot, node: Node) {
        match self.mounts[spot.mount].system {
            System::Memory(n) => drop(self.memory[n].insert(spot.path, node)),
            System::Host(_) => drop(self.made.insert(spot.path, node)),
            System::Kernel(_) => {}
        }
    }

    /// What lies at a spot.
    pub fn node(&self, spot: &Spot) -> Result<Node, Absent> {
        let mount = &self.mounts[spot.mount];
        match &mount.system {
            _ if mount.mapped => Err(Absent::Unknown("its ids are mapped".into())),
            System::Memory(n) => self.memory[*n].get(&spot.path).cloned().ok_or(Absent::Missing),
            System::Kernel(fstype) if fstype == "proc" => self.in_proc(&spot.path),
            System::Kernel(fstype) => Err(Absent::Unknown(format!("`{fstype}` decides when it is asked"))),
            System::Host(n) => match self.made.get(&spot.path) {
                Some(node) => Ok(node.clone()),
                None if self.locate(self.host, &spot.path).mount != *n => {
                    Err(Absent::Unknown("on the host another mount hides it".into()))
                }
                None => self.seen.borrow_mut().entry(spot.path.clone()).or_insert_with(|| self.ask(&spot.path)).clone(),
            },
        }
    }

    /// What is not of a process or of its namespaces is the same in every /proc.
    fn in_proc(&self, path: &Path) -> Result<Node, Absent> {
        let rest = path.strip_prefix("/").unwrap_or(path);
        let first = rest.components().next().map_or("".into(), |name| name.as_os_str().to_string_lossy());
        let own = OWN.contains(&&*first) && path != Path::new("/sys");
        if own || first.bytes().any(|b| b.is_ascii_digit()) {
            return Err(Absent::Unknown("/proc decides when it is asked".into()));
        }
        match self.look.node(&Path::new("/proc").join(rest)) {
            Ok(node) => Ok(node),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Absent::Missing),
            Err(e) => Err(Absent::Unknown(format!("/proc decides when it is asked: {e}"))),
        }
    }

    fn ask(&self, path: &Path) -> Result<Node, Absent> {
        self.look.node(path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Absent::Missing,
            _ => Absent::Barred(format!("the caller cannot look at the host's `{}`: {e}", path.display())),
        })
    }
}
