//! Follows a path component by component and remembers every lstat(2), so that two paths with a common parent ask the
//! host once. Says which symbolic links were crossed and where a missing path ends; decides nothing. What the host could not answer is
//! kept: no decision that was made without the answer counts.

use crate::Error;
use crate::policy::view::{Kind, View, speaks_of_the_path};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// path_resolution(7): the kernel gives up after 40 links.
const MAX_LINKS: usize = 40;

/// A view and what it has already answered.
pub(super) struct Walk<'a> {
    pub view: &'a dyn View,
    /// By bytes: a `Path` is hashed and compared component by component.
    seen: RefCell<HashMap<OsString, Result<Kind, ErrorKind>>>,
    unanswered: RefCell<Vec<Error>>,
    entered: RefCell<HashMap<OsString, bool>>,
    /// Every directory is entered.
    power: bool,
}

/// A symbolic link: where it lies (its parents are no links) and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub at: PathBuf,
    pub target: PathBuf,
}

/// Where a path leads, without any symbolic link in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Dir(PathBuf),
    File(PathBuf),
    /// The first component that does not exist; its parent is a directory.
    Missing(PathBuf),
    /// The caller cannot go on here: no permission, a file on the way, a loop of links.
    Barred(PathBuf),
}

/// A path after the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    pub end: End,
    /// In the order they were crossed.
    pub links: Vec<Link>,
}

impl End {
    /// Where there is something.
    pub fn place(self) -> Option<PathBuf> {
        match self {
            End::Dir(at) | End::File(at) => Some(at),
            End::Missing(_) | End::Barred(_) => None,
        }
    }
}

impl Trace {
    /// Whether the path exists and can be reached.
    pub fn found(&self) -> bool {
        matches!(self.end, End::Dir(_) | End::File(_))
    }
}

impl<'a> Walk<'a> {
    pub fn new(view: &'a dyn View) -> Self {
        Walk { view, seen: RefCell::default(), unanswered: RefCell::default(), entered: RefCell::default(), power: false }
    }

    /// With all of the caller's capabilities, as where there is no sandbox.
    pub fn with_power(view: &'a dyn View) -> Self {
        Walk { power: true, ..Walk::new(view) }
    }

    /// lstat(2), asked at most once per path.
    pub fn kind(&self, path: &Path) -> Result<Kind, ErrorKind> {
        if let Some(known) = self.seen.borrow().get(path.as_os_str()) {
            return *known;
        }
        let kind = match path.parent() {
            Some(dir) if !self.enters(dir) => Err(ErrorKind::PermissionDenied),
            _ => self.heard("look at", path, self.view.kind(path)).map_err(|e| e.kind()),
        };
        self.seen.borrow_mut().insert(path.into(), kind);
        kind
    }

    /// Why the caller cannot go on here, in words.
    pub fn barred(&self, at: &Path) -> String {
        let said = self.kind(at).err().map(|kind| format!(": {kind}")).unwrap_or_default();
        format!("`{}` cannot be entered{said}", at.display())
    }

    /// readlink(2).
    pub fn link(&self, path: &Path) -> io::Result<PathBuf> {
        self.heard("read the link", path, self.view.link(path))
    }

    /// The entries of a directory; none where they cannot be listed.
    pub fn list(&self, dir: &Path) -> Vec<PathBuf> {
        self.heard("list", dir, self.view.list(dir)).unwrap_or_default()
    }

    /// See [`View::read`].
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.heard("read", path, self.view.read(path))
    }

    /// See [`View::readable`].
    pub fn readable(&self, path: &Path) -> bool {
        self.heard("look at", path, self.view.readable(path)).unwrap_or(false)
    }

    /// See [`View::writable`].
    pub fn writable(&self, path: &Path) -> bool {
        self.heard("look at", path, self.view.writable(path)).unwrap_or(false)
    }

    /// See [`View::of_others`].
    pub fn of_others(&self, path: &Path) -> bool {
        self.heard("look at", path, self.view.of_others(path)).unwrap_or(false)
    }

    /// See [`View::owns`].
    pub fn owns(&self, dir: &Path) -> bool {
        self.heard("look at", dir, self.view.owns(dir)).unwrap_or(false)
    }

    /// What the host could not answer so far, one error each: whatever else was found out is a consequence, and not true.
    pub fn unanswered(&self) -> Vec<Error> {
        self.unanswered.take()
    }

    /// See [`View::home`].
    pub fn home(&self) -> Option<PathBuf> {
        self.told(self.view.home())
    }

    /// See [`View::home_of`].
    pub fn home_of(&self, user: &OsStr) -> Option<PathBuf> {
        self.told(self.view.home_of(user))
    }

    /// Where the caller's containers may be recorded.
    pub fn records(&self) -> Vec<PathBuf> {
        self.told(self.view.records())
    }

    fn told<T: Default>(&self, answer: Result<T, Error>) -> T {
        answer.unwrap_or_else(|error| {
            self.unanswered.borrow_mut().push(error);
            T::default()
        })
    }

    fn heard<T>(&self, what: &str, path: &Path, answer: io::Result<T>) -> io::Result<T> {
        answer.inspect_err(|cause| {
            if !speaks_of_the_path(cause) {
                let error = Error::new(format!("cannot {what} `{}`", path.display())).cause(cause);
                self.unanswered.borrow_mut().push(error);
            }
        })
    }

    fn enters(&self, dir: &Path) -> bool {
        if let Some(known) = self.entered.borrow().get(dir.as_os_str()) {
            return *known;
        }
        let enters = self.power || self.heard("look at", dir, self.view.enters(dir)).unwrap_or(false);
        self.entered.borrow_mut().insert(dir.into(), enters);
        enters
    }

    /// Follows an absolute path to its end.
    pub fn trace(&self, path: &Path) -> Trace {
        let mut links = Vec::new();
        let end = self.follow(path, &mut links);
        Trace { end, links }
    }

    fn follow(&self, path: &Path, links: &mut Vec<Link>) -> End {
        let mut todo = names(path);
        let mut here = PathBuf::from("/");
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            match self.kind(&next) {
                Ok(Kind::Dir) => here = next,
                Ok(Kind::File) if todo.is_empty() => return End::File(next),
                Ok(Kind::Symlink) if links.len() < MAX_LINKS => match self.link(&next) {
                    Ok(target) => {
                        if target.is_absolute() {
                            here = PathBuf::from("/");
                        }
                        todo = names(&target).into_iter().chain(todo).collect();
                        links.push(Link { at: next, target });
                    }
                    Err(_) => return End::Barred(next),
                },
                Err(ErrorKind::NotFound) => return End::Missing(next),
                Ok(Kind::File | Kind::Symlink) | Err(_) => return End::Barred(next),
            }
        }
        End::Dir(here)
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| c.as_os_str().to_os_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::view::Recorded;

    #[test]
    fn a_path_ends_where_its_links_lead() {
        let view = Recorded::parse(
            r#"{"paths": {"/a": "dir", "/a/up": {"link": "../b"}, "/b": "dir", "/b/f": {"file": ""},
                "/loop": {"link": "loop"}, "/abs": {"link": "/a/up/f"}, "/shut": {"dir": "unreadable"}}}"#,
        )
        .unwrap();
        let walk = Walk::new(&view);
        let end = |p: &str| walk.trace(Path::new(p)).end;
        for (path, want) in [
            ("/", End::Dir("/".into())),
            ("/a/up", End::Dir("/b".into())),
            ("/abs", End::File("/b/f".into())),
            ("/a/../b/./f", End::File("/b/f".into())),
            ("/a/up/x/y", End::Missing("/b/x".into())),
            ("/b/f/x", End::Barred("/b/f".into())),
            ("/loop/x", End::Barred("/loop".into())),
        ] {
            assert_eq!(end(path), want, "{path}");
        }
        let at: Vec<PathBuf> = walk.trace(Path::new("/abs")).links.into_iter().map(|l| l.at).collect();
        assert_eq!(at, [Path::new("/abs"), Path::new("/a/up")]);
    }

    #[test]
    fn what_the_host_cannot_answer_is_kept_and_what_it_answers_is_not() {
        let disk = crate::policy::view::Disk::new();
        let walk = Walk::new(&disk);
        for path in ["/none", "/proc/self/cmdline/x", "/proc/self/exe/.."] {
            assert!(!walk.trace(Path::new(path)).found() && walk.read(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(walk.unanswered(), []);
        // Nothing is mapped at address 0.
        assert!(walk.read(Path::new("/proc/self/mem")).is_err());
        let said: Vec<String> = walk.unanswered().iter().map(ToString::to_string).collect();
        assert_eq!(said, ["cannot read `/proc/self/mem`: Input/output error (os error 5)"]);
    }
}
