//! Follows a path as the kernel does (path_resolution(7)): component by component, over mounts and through links, each directory
//! on the way being one that may be entered.

use super::node::{Kind, Node};
use super::right::{ENTER, Who};
use super::table::{Absent, Spot, Table};
use crate::sys::mount::attr;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// path_resolution(7): the kernel gives up after 40 links.
const MAX_LINKS: usize = 40;

/// Something that is there, and where it was found.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub spot: Spot,
    pub node: Node,
    /// Its path without links.
    pub at: PathBuf,
}

/// Where a path ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    Found(Place),
    /// This is missing, in this directory; `last` when nothing more was to come, `linked` when a link names it and not the path.
    Missing {
        at: PathBuf,
        dir: Place,
        last: bool,
        linked: bool,
    },
    /// It goes no further than here.
    Stopped {
        at: PathBuf,
        spot: Spot,
        why: String,
    },
    /// Nobody can tell beforehand.
    Unknown {
        at: PathBuf,
        spot: Spot,
        why: String,
    },
}

/// One look-up.
struct Walk<'t, 'a> {
    table: &'t Table<'a>,
    root: usize,
    /// Whose right to enter counts; `None`: everybody may.
    who: Option<&'t Who>,
    here: Place,
    todo: VecDeque<OsString>,
    /// How many of these are of links.
    linked: usize,
    links: usize,
}

impl Table<'_> {
    /// Follows an absolute path from a root; a link at its very end only if `last`.
    pub fn follow(&self, root: usize, who: Option<&Who>, path: &Path, last: bool) -> End {
        let spot = self.top(self.root_of(root));
        let at = PathBuf::from("/");
        match self.node(&spot) {
            Ok(node) => {
                Walk { table: self, root, who, here: Place { spot, node, at }, todo: names(path), linked: 0, links: 0 }.run(last)
            }
            Err(absent) => stop(absent, at, spot),
        }
    }
}

impl Walk<'_, '_> {
    fn run(mut self, last: bool) -> End {
        while let Some(name) = self.todo.pop_front() {
            let linked = self.linked > 0;
            self.linked = self.linked.saturating_sub(1);
            if let Err(end) = self.enter() {
                return *end;
            }
            if name == ".." {
                if let Err(end) = self.climb() {
                    return *end;
                }
                continue;
            }
            let (spot, at) = (self.table.below(&self.here.spot, name.as_ref()), self.here.at.join(&name));
            let node = match self.table.node(&spot) {
                Ok(node) => node,
                Err(Absent::Missing) => return End::Missing { at, dir: self.here, last: self.todo.is_empty(), linked },
                Err(absent) => return stop(absent, at, spot),
            };
            match &node.kind {
                Kind::Link(target) if last || !self.todo.is_empty() => {
                    if let Err(end) = self.cross(target, &node, spot, at) {
                        return *end;
                    }
                }
                _ => self.here = Place { spot, node, at },
            }
        }
        End::Found(self.here)
    }

    fn enter(&self) -> Result<(), Box<End>> {
        let stopped = |why: String| Box::new(End::Stopped { at: self.here.at.clone(), spot: self.here.spot.clone(), why });
        if !self.here.node.is_dir() {
            return Err(stopped(format!("it is a {}, not a directory", self.here.node.noun())));
        }
        let right = self.who.map_or(Ok(()), |who| who.may(&self.here.node, ENTER));
        right.map_err(|why| stopped(format!("it cannot be entered: {why}")))
    }

    fn climb(&mut self) -> Result<(), Box<End>> {
        let at = self.here.at.parent().unwrap_or(Path::new("/")).to_owned();
        let spot = self.table.locate(self.root, &at);
        let node = self.table.node(&spot).map_err(|absent| Box::new(stop(absent, at.clone(), spot.clone())))?;
        self.here = Place { spot, node, at };
        Ok(())
    }

    /// Puts the text of a link in front of what is left.
    fn cross(&mut self, target: &Path, link: &Node, spot: Spot, at: PathBuf) -> Result<(), Box<End>> {
        self.links += 1;
        let why = match () {
            () if self.links > MAX_LINKS => Some("too many symbolic links".to_owned()),
            () if self.table.mounts[spot.mount].flag(attr::NOSYMFOLLOW).is_some() => {
                Some("links are not followed on this mount".into())
            }
            () if self.todo.is_empty() && self.is_protected(link) => Some("fs.protected_symlinks: another's link in /tmp".into()),
            () => None,
        };
        if let Some(why) = why {
            return Err(Box::new(End::Stopped { at, spot, why }));
        }
        let text = names(target);
        self.linked += text.len();
        self.todo = text.into_iter().chain(self.todo.drain(..)).collect();
        if target.is_absolute() {
            let spot = self.table.top(self.table.root_of(self.root));
            let at = PathBuf::from("/");
            let node = self.table.node(&spot).map_err(|absent| Box::new(stop(absent, at.clone(), spot.clone())))?;
            self.here = Place { spot, node, at };
        }
        Ok(())
    }

    /// proc_sys_fs(5): in a sticky directory that everybody may write to, only one's own links and those of its owner.
    fn is_protected(&self, link: &Node) -> bool {
        let dir = &self.here.node;
        let shared = dir.mode & 0o1002 == 0o1002 && dir.uid != link.uid;
        shared && self.who.is_some_and(|who| who.uid != link.uid) && self.table.look.protected_symlinks()
    }
}

fn stop(absent: Absent, at: PathBuf, spot: Spot) -> End {
    match absent {
        Absent::Missing => End::Stopped { at, spot, why: "it is gone".into() },
        Absent::Barred(why) => End::Stopped { at, spot, why },
        Absent::Unknown(why) => End::Unknown { at, spot, why },
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| c.as_os_str().to_os_string())
        .collect()
}
