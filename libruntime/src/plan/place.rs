//! A place inside the container's root: the path, and what may have to be made on the way to it.

use crate::sys::file::Resolve;
use crate::{Error, Result};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A place inside the new root, ready for openat2(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The whole path, absolute and lexically clean.
    pub path: CString,
    /// Its ancestors, shallow first, without `/` and without itself; made when they are missing.
    pub parents: Vec<CString>,
    /// Its last component; empty for `/`.
    pub name: CString,
    /// How symbolic links on the way are treated.
    pub resolve: Resolve,
    /// It is made by the keeper, or not at all: what is missing here is not made anew.
    pub kept: bool,
    /// One component, in a root that holds nothing but what the plan put there: no look-up needed.
    pub direct: bool,
    /// It is looked up from a mount that the child holds, whatever has become of the name of what that is mounted on.
    pub held: Option<Held>,
}

/// A place below a mount of the plan's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Where the child keeps the mount.
    pub slot: usize,
    /// The path from there, absolute.
    pub path: CString,
}

/// `PATH_MAX`, without the NUL (path_resolution(7)).
const LONGEST: usize = 4095;

/// `NAME_MAX` (path_resolution(7)).
const LONGEST_NAME: usize = 255;

impl At {
    /// `path` must be absolute, and no longer than the kernel takes. `..` never climbs out: openat2(2) sees to that, and cleaning here keeps the parents right.
    pub fn new(path: &Path, resolve: Resolve, own_root: bool) -> Result<Self> {
        if !path.is_absolute() {
            let what = format!("`{}` is not an absolute path", path.display());
            return Err(Error::new(what).hint("paths inside the container begin with `/`"));
        }
        not_too_long(path)?;
        let mut names: Vec<&[u8]> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name.as_bytes()),
                Component::ParentDir => drop(names.pop()),
                _ => {}
            }
        }
        if let Some(name) = names.iter().find(|name| name.len() > LONGEST_NAME) {
            return Err(Error::new(format!("a name of {} bytes in a path; {LONGEST_NAME} are the most", name.len())));
        }
        let prefix = |n: usize| [b"/".as_slice(), &names[..n].join(b"/".as_slice())].concat();
        Ok(At {
            path: c_string(&prefix(names.len()))?,
            parents: (1..names.len()).map(|n| c_string(&prefix(n))).collect::<Result<_>>()?,
            name: c_string(names.last().copied().unwrap_or_default())?,
            resolve,
            kept: false,
            direct: own_root && names.len() == 1,
            held: None,
        })
    }

    /// Bytes that the places above it take: of a path of many short names far more than the path itself.
    pub fn weight(&self) -> usize {
        self.parents.iter().map(|parent| parent.as_bytes().len() + size_of::<CString>()).sum()
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.name.is_empty()
    }

    /// The directory it lies in, `/` for the top level.
    pub fn parent(&self) -> &CStr {
        self.parents.last().map_or(c"/", CString::as_c_str)
    }
}

/// A C string, or a sentence: no kernel call can carry a NUL byte.
pub fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new(format!("`{}` contains a NUL byte", String::from_utf8_lossy(bytes))))
}

/// [`c_string`] of a path, no longer than the kernel takes.
pub fn c_path(path: &Path) -> Result<CString> {
    not_too_long(path).and_then(|()| c_string(path.as_os_str().as_bytes()))
}

/// Whether the kernel takes one of that length.
pub fn not_too_long(path: &Path) -> Result<()> {
    match path.as_os_str().len() {
        ..=LONGEST => Ok(()),
        bytes => Err(Error::new(format!("a path of {bytes} bytes; {LONGEST} are the most"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> At {
        At::new(Path::new(path), Resolve::InRoot, true).unwrap()
    }

    #[test]
    fn parents_are_listed_shallow_first_and_dots_never_climb_out() {
        let place = at("/../a//./b/../c/d");
        assert_eq!(place.path.as_c_str(), c"/a/c/d");
        assert_eq!(place.parents, [c"/a".to_owned(), c"/a/c".to_owned()]);
        assert_eq!((place.name.as_c_str(), place.parent(), place.direct), (c"d", c"/a/c", false));
    }

    #[test]
    fn the_root_has_no_name_and_the_top_level_is_direct() {
        assert!(at("/").is_root() && at("/..").is_root());
        assert!(at("/usr").direct && at("/usr").parent() == c"/");
    }

    #[test]
    fn relative_paths_and_nul_bytes_are_refused() {
        assert!(At::new(Path::new("a/b"), Resolve::InRoot, true).is_err());
        assert!(At::new(Path::new("/a\0b"), Resolve::InRoot, true).is_err());
        let long = |bytes: usize| At::new(Path::new(&format!("/{}", "a".repeat(bytes - 1))), Resolve::InRoot, true);
        assert_eq!(long(4096).unwrap_err().to_string(), "a path of 4096 bytes; 4095 are the most");
        assert_eq!(long(257).unwrap_err().to_string(), "a name of 256 bytes in a path; 255 are the most");
        assert!(long(256).is_ok() && At::new(Path::new(&"/ab".repeat(1365)), Resolve::InRoot, true).is_ok());
        assert!(At::new(Path::new(&format!("/{}/../a", "b".repeat(256))), Resolve::InRoot, true).is_ok(), "nobody looks it up");
        let path = |bytes: usize| c_path(Path::new(&"a".repeat(bytes)));
        assert!(path(4095).is_ok() && path(4096).unwrap_err().to_string() == "a path of 4096 bytes; 4095 are the most");
    }
}
