//! What the process may do with one path, and what keeps it from the rest.

use super::because::Because;
use super::node::{Kind, Node};
use super::right::{ENTER, READ, WRITE, Who};
use super::table::{Absent, Spot, System, Table};
use super::walk::{End, Place};
use crate::annotation;
use crate::sys::mount::attr;
use std::path::{Path, PathBuf};

/// One right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The system call succeeds.
    Yes,
    /// It fails.
    No {
        /// A clause.
        why: String,
        /// Where in config.json the cause stands, when it stands there.
        by: Option<String>,
    },
    /// Whether it does is decided when it is made.
    Unknown {
        /// A clause.
        why: String,
    },
}

/// What may be done with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// As it was asked.
    pub path: PathBuf,
    /// Without symbolic links; as far as it goes.
    pub at: PathBuf,
    /// `file`, `directory`, `device`, `pipe`, `socket`, `symbolic link`; `missing`, `unreachable`, `unknown`.
    pub kind: &'static str,
    /// open(2) for reading; a directory: listing it.
    pub read: Verdict,
    /// open(2) for writing; a directory: making an entry in it.
    pub write: Verdict,
    /// A missing path: making it, and what is missing above it.
    pub create: Verdict,
    /// Removing or renaming the entry itself (a link, not its target); a directory when it is empty.
    pub delete: Verdict,
    /// execve(2) of a file; a directory: going through it.
    pub execute: Verdict,
    /// connect(2) to a socket, of streams; `None` of what is none, and where the filter alone decides.
    pub connect: Option<Verdict>,
    /// The mount that shows it.
    pub mount: Option<Shown>,
    /// The entry of the policy, when the policy is known.
    pub because: Option<Because>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Where config.json asks for it.
    pub origin: String,
    /// Where it lies.
    pub at: PathBuf,
    /// Nothing on it is written.
    pub read_only: bool,
}

impl Answer {
    /// Each right by its name.
    pub fn rights(&self) -> [(&'static str, &Verdict); 5] {
        let Answer { read, write, create, delete, execute, .. } = self;
        [("read", read), ("write", write), ("create", create), ("delete", delete), ("execute", execute)]
    }

    /// And that of a socket.
    pub(super) fn all_rights(&self) -> impl Iterator<Item = (&'static str, &Verdict)> {
        self.rights().into_iter().chain(self.connect.iter().map(|connect| ("connect", connect)))
    }
}

fn no(why: impl Into<String>) -> Verdict {
    Verdict::No { why: why.into(), by: None }
}

/// A right by mode, list or capability.
fn right(may: Result<(), String>) -> Verdict {
    may.map_or_else(no, |()| Verdict::Yes)
}

/// Answers for one process in one table.
pub(super) struct Asker<'t, 'a> {
    pub table: &'t Table<'a>,
    pub who: &'t Who,
    /// The host's sockets that may be connected to, where somebody looks.
    pub granted: Option<&'t [PathBuf]>,
}

impl Asker<'_, '_> {
    /// `path` is absolute.
    pub fn ask(&self, path: &Path) -> Answer {
        let end = self.table.follow(self.table.root, Some(self.who), path, true);
        let delete = self.delete(path);
        let (at, spot) = match &end {
            End::Found(Place { at, spot, .. }) | End::Stopped { at, spot, .. } | End::Unknown { at, spot, .. } => (at, spot),
            End::Missing { at, dir, .. } => (at, &dir.spot),
        };
        let mount = &self.table.mounts[spot.mount];
        let mut answer = Answer {
            path: path.into(),
            at: at.clone(),
            kind: "missing",
            read: no("it is missing"),
            write: no("it is missing"),
            create: no("it exists"),
            delete,
            execute: no("it is missing"),
            connect: None,
            mount: Some(Shown {
                origin: mount.origin.clone(),
                at: mount.at.clone(),
                read_only: mount.flag(attr::RDONLY).is_some(),
            }),
            because: None,
        };
        match &end {
            End::Found(place) => self.found(place, &mut answer),
            // mkdir(2) does not follow a link.
            End::Missing { at, last: false, linked: true, .. } => {
                answer.create = no(format!("a link leads to `{}`, which is missing", at.display()));
            }
            End::Missing { dir, .. } => answer.create = self.entry(dir),
            End::Stopped { at, why, .. } => stopped(at, why, &mut answer),
            End::Unknown { spot, why, .. } => self.unknown(spot, why, &mut answer),
        }
        answer
    }

    fn found(&self, place: &Place, answer: &mut Answer) {
        answer.kind = place.node.noun();
        answer.read = self.open(place, READ);
        answer.write = if place.node.is_dir() { self.entry(place) } else { self.open(place, WRITE) };
        answer.execute = self.execute(place);
        answer.connect = self.granted.filter(|_| place.node.kind == Kind::Socket).map(|granted| self.connect(place, granted));
    }

    /// What is there before the launch is the host's.
    fn connect(&self, place: &Place, granted: &[PathBuf]) -> Verdict {
        let Spot { mount, path } = &place.spot;
        match self.table.mounts[*mount].system {
            System::Host(_) if granted.iter().any(|grant| path.starts_with(grant)) => self.by_right(place, WRITE),
            System::Host(_) | System::Memory(_) | System::Kernel(_) => Verdict::No {
                why: "it is the host's, and not granted".into(),
                by: Some(format!("annotations[{}]", annotation::UNIX_SOCKETS)),
            },
        }
    }

    /// Whether a flag of the mount forbids it, and who has set it.
    fn flag(&self, spot: &Spot, flag: u64, why: &str) -> Option<Verdict> {
        let by = self.table.mounts[spot.mount].flag(flag)?;
        Some(Verdict::No { why: why.into(), by: Some(by.into()) })
    }

    fn read_only(&self, spot: &Spot) -> Option<Verdict> {
        self.flag(spot, attr::RDONLY, "the mount is read-only")
    }

    fn open(&self, place: &Place, want: u32) -> Verdict {
        let (node, spot) = (&place.node, &place.spot);
        let forbidden = match node.kind {
            Kind::Socket => Some(no("a socket is connected to, not opened")),
            Kind::Device => self.flag(spot, attr::NODEV, "devices cannot be opened on this mount"),
            Kind::File | Kind::Dir if want == WRITE => self.read_only(spot),
            Kind::File | Kind::Dir | Kind::Pipe | Kind::Link(_) => None,
        };
        match forbidden {
            Some(verdict) => verdict,
            None if want == WRITE && node.append => no("it is append-only (chattr +a)"),
            None => self.by_right(place, want),
        }
    }

    /// Its owner may change a mode that is in the way, so that it is no protection.
    fn by_right(&self, place: &Place, want: u32) -> Verdict {
        let changes = self.who.uid == place.node.uid && self.read_only(&place.spot).is_none();
        let hint = if changes { ", which its owner may change" } else { "" };
        right(self.who.may(&place.node, want).map_err(|why| why + hint))
    }

    /// Making an entry in a directory.
    fn entry(&self, dir: &Place) -> Verdict {
        let mount = &self.table.mounts[dir.spot.mount];
        match self.read_only(&dir.spot) {
            Some(verdict) => verdict,
            None if mount.closed => no("the kernel alone makes what is in it"),
            None => self.by_right(dir, WRITE | ENTER),
        }
    }

    fn execute(&self, place: &Place) -> Verdict {
        let forbidden = match place.node.kind {
            Kind::Dir => None,
            Kind::File => self.flag(&place.spot, attr::NOEXEC, "nothing is executed from this mount"),
            Kind::Link(_) | Kind::Device | Kind::Pipe | Kind::Socket => Some(no(format!("it is a {}", place.node.noun()))),
        };
        forbidden.unwrap_or_else(|| self.by_right(place, ENTER))
    }

    /// The entry itself: unlink(2), rmdir(2), rename(2).
    fn delete(&self, path: &Path) -> Verdict {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return no("the root, and what ends in `..`, stays");
        };
        let dir = match self.table.follow(self.table.root, Some(self.who), parent, true) {
            End::Found(dir) => dir,
            End::Missing { .. } => return no("it is missing"),
            End::Stopped { at, why, .. } => return no(format!("`{}`: {why}", at.display())),
            End::Unknown { spot, why, .. } => return self.read_only(&spot).unwrap_or(Verdict::Unknown { why }),
        };
        let spot = Spot { mount: dir.spot.mount, path: dir.spot.path.join(name) };
        let top = self.table.top(spot.clone());
        if top != spot {
            let by = self.table.mounts[top.mount].origin.clone();
            return Verdict::No { why: "it is a mount point".into(), by: Some(by) };
        }
        let (node, shut) = (self.table.node(&spot), self.read_only(&dir.spot));
        match (node, shut) {
            (Ok(_) | Err(Absent::Unknown(_)), Some(verdict)) => verdict,
            (node, _) => self.take(node, &dir, &spot),
        }
    }

    /// What lies in a directory that can be written to as far as its mount goes.
    fn take(&self, node: Result<Node, Absent>, dir: &Place, spot: &Spot) -> Verdict {
        match node {
            _ if self.table.mounts[spot.mount].closed => no("the kernel alone makes what is in it"),
            // Nobody may enter the directory, which is said by its mode.
            Ok(_) if self.who.may(&dir.node, ENTER).is_err() => right(self.who.may(&dir.node, ENTER)),
            Ok(node) => right(self.who.may_take(&node, &dir.node)),
            Err(Absent::Missing) => no("it is missing"),
            Err(Absent::Barred(why)) => no(why),
            Err(Absent::Unknown(why)) => Verdict::Unknown { why },
        }
    }

    /// Of what only the kernel knows, the mount is known all the same.
    fn unknown(&self, spot: &Spot, why: &str, answer: &mut Answer) {
        let unknown = || Verdict::Unknown { why: why.into() };
        let write = || self.read_only(spot).unwrap_or_else(unknown);
        answer.kind = "unknown";
        (answer.read, answer.execute) = (unknown(), unknown());
        (answer.write, answer.create) = (write(), write());
        if matches!(&self.table.mounts[spot.mount].system, System::Kernel(fstype) if fstype == "proc") {
            answer.create = no("the kernel alone makes what is in it");
        }
    }
}

fn stopped(at: &Path, why: &str, answer: &mut Answer) {
    let verdict = no(format!("`{}`: {why}", at.display()));
    answer.kind = "unreachable";
    (answer.read, answer.write) = (verdict.clone(), verdict.clone());
    (answer.create, answer.execute) = (verdict.clone(), verdict);
}
