//! A view written down as JSON: bundles are compiled for another machine, and the same policy gives the same bytes on
//! every machine.

use super::scan::{Found, Level, Source, scan};
use super::{Kind, PROXY, Search, View};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// What the JSON file says. Directories above a path need not be written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Effective user; root when absent.
    #[serde(default)]
    uid: u32,
    /// Effective group.
    #[serde(default)]
    gid: u32,
    /// The caller's capabilities, bit n = capability n.
    #[serde(default)]
    capabilities: u64,
    /// Of a cgroup that the caller could make.
    #[serde(default)]
    controllers: Vec<String>,
    /// `$HOME`.
    home: Option<PathBuf>,
    /// `$TMPDIR`.
    tmpdir: Option<PathBuf>,
    /// The codexrun executable.
    #[serde(default = "default_exe")]
    exe: PathBuf,
    /// `x86_64`, `aarch64`, …
    #[serde(default = "default_arch")]
    arch: String,
    /// Paths that are somebody else's, in sticky directories of everybody's.
    #[serde(default)]
    others: Vec<PathBuf>,
    /// Absolute path → what lies there.
    paths: BTreeMap<PathBuf, Item>,
}

/// One path: `"dir"`, `"file"`, `{"file": "text"}`, `{"link": "target"}`, `{"dir": "unreadable"}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Item {
    Plain(Plain),
    File { file: String },
    Link { link: PathBuf },
    Dir { dir: Mark },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Plain {
    Dir,
    File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    Unreadable,
    Unwritable,
    Placeholder,
}

fn default_exe() -> PathBuf {
    "/usr/bin/codexrun".into()
}

fn default_arch() -> String {
    "x86_64".into()
}

impl Recorded {
    /// Reads a view from its JSON text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut view: Recorded = serde_json::from_str(text).map_err(|e| Error::new("cannot read the recorded view").cause(e))?;
        if let Some(path) = view.paths.keys().find(|path| !path.is_absolute()) {
            return Err(Error::new(format!("`{}` in a recorded view is not absolute", path.display())));
        }
        let above: Vec<PathBuf> = view.paths.keys().flat_map(|p| p.ancestors().skip(1)).map(PathBuf::from).collect();
        for path in above.into_iter().chain(["/".into()]) {
            view.paths.entry(path).or_insert(Item::Plain(Plain::Dir));
        }
        Ok(view)
    }

    /// Reads a view from a file.
    pub fn load(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Error::new("cannot read").at(&place).cause(e))?;
        Self::parse(&text).map_err(|e| e.at(place))
    }

    fn item(&self, path: &Path) -> io::Result<&Item> {
        self.paths.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn marked(&self, path: &Path, mark: Mark) -> bool {
        matches!(self.paths.get(path), Some(Item::Dir { dir }) if *dir == mark)
    }
}

impl View for Recorded {
    fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    fn capabilities(&self) -> Result<u64> {
        Ok(self.capabilities)
    }

    fn home(&self) -> Result<Option<PathBuf>> {
        Ok(self.home.clone())
    }

    fn tmpdir(&self) -> Option<PathBuf> {
        self.tmpdir.clone()
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        Ok(match self.item(path)? {
            Item::Dir { dir: Mark::Placeholder } => return Err(io::ErrorKind::NotFound.into()),
            Item::Plain(Plain::Dir) | Item::Dir { .. } => Kind::Dir,
            Item::Plain(Plain::File) | Item::File { .. } => Kind::File,
            Item::Link { .. } => Kind::Symlink,
        })
    }

    fn link(&self, path: &Path) -> io::Result<PathBuf> {
        match self.item(path)? {
            Item::Link { link } => Ok(link.clone()),
            Item::Plain(_) | Item::File { .. } | Item::Dir { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.item(path)?;
        Ok(self.paths.keys().filter(|p| p.parent() == Some(path)).cloned().collect())
    }

    fn search(&self, search: &Search) -> io::Result<Found> {
        scan(search, self, 1)
    }

    fn caches(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn controllers(&self) -> Option<Vec<String>> {
        Some(self.controllers.clone())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.item(path)? {
            Item::File { file } => Ok(file.clone().into_bytes()),
            Item::Plain(Plain::File) => Ok(Vec::new()),
            Item::Plain(Plain::Dir) | Item::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
            Item::Link { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn readable(&self, path: &Path) -> io::Result<bool> {
        Ok(self.paths.contains_key(path) && !self.marked(path, Mark::Unreadable))
    }

    fn writable(&self, path: &Path) -> io::Result<bool> {
        Ok(self.paths.contains_key(path) && !self.marked(path, Mark::Unwritable))
    }

    /// Those that are written down.
    fn programs(&self) -> Vec<PathBuf> {
        let all = [self.exe.with_file_name(PROXY), self.exe.clone()].into_iter();
        all.filter(|_| self.paths.contains_key(&self.exe)).collect()
    }

    fn of_others(&self, path: &Path) -> io::Result<bool> {
        Ok(self.others.iter().any(|other| other == path))
    }

    /// Sticky directories of everybody's are root's.
    fn owns(&self, _dir: &Path) -> io::Result<bool> {
        Ok(self.uid == 0)
    }

    fn exe(&self) -> PathBuf {
        self.exe.clone()
    }

    fn arch(&self) -> &str {
        &self.arch
    }
}

impl Source for Recorded {
    fn level(&self, dir: &Path, see: &dyn Fn(&OsStr, Kind, &mut Level)) -> io::Result<Level> {
        if self.marked(dir, Mark::Unreadable) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut level = Level::default();
        for path in self.list(dir)? {
            if let (Some(name), Ok(kind)) = (path.file_name(), self.kind(&path)) {
                see(name, kind, &mut level);
            }
        }
        Ok(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_path_can_be_written() {
        let view = Recorded::parse(
            r#"{"uid": 7, "gid": 8, "home": "/home/u", "paths": {"/d/e": "dir", "/f": "file", "/t": {"file": "x"},
                "/l": {"link": "d"}, "/r": {"dir": "unreadable"}, "/w": {"dir": "unwritable"}, "/p": {"dir": "placeholder"}}}"#,
        )
        .unwrap();
        assert_eq!(view.ids(), (7, 8));
        assert_eq!(view.kind(Path::new("/d")).unwrap(), Kind::Dir, "implied by /d/e");
        assert_eq!(view.kind(Path::new("/f")).unwrap(), Kind::File);
        assert_eq!(view.link(Path::new("/l")).unwrap(), Path::new("d"));
        assert_eq!(view.read(Path::new("/t")).unwrap(), b"x");
        let (readable, writable) =
            (|p: &str| view.readable(Path::new(p)).unwrap(), |p: &str| view.writable(Path::new(p)).unwrap());
        assert!(!readable("/r") && readable("/w"));
        assert!(!writable("/w") && writable("/d"));
        assert!(view.kind(Path::new("/p")).is_err());
        assert_eq!(view.list(Path::new("/d")).unwrap(), [Path::new("/d/e")]);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for text in [r#"{"paths": {"/a": "dri"}}"#, r#"{"paths": {"a": "dir"}}"#, r#"{"uids": 1, "paths": {}}"#, "{}"] {
            assert!(Recorded::parse(text).is_err(), "{text}");
        }
    }
}
