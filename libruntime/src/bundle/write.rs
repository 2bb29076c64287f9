//! [`Bundle`] → a directory. Overwrites nothing, and a write that fails leaves nothing behind.

use super::{Bundle, CONFIG, Node, ROOTFS, Rootfs, Skeleton};
use crate::listing::entries;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

impl Bundle {
    /// Writes config.json and, for a [`Skeleton`], `rootfs/`. Makes `dir` when it is missing.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let mut made = Made::default();
        made.parents(dir)?;
        let mut config = made.config(&dir.join(CONFIG))?;
        if let Rootfs::Skeleton(skeleton) = &self.rootfs {
            made.skeleton(skeleton, &dir.join(ROOTFS))?;
        }
        config.write_all(self.to_json()?.as_bytes()).map_err(|e| failed("write", &dir.join(CONFIG), &e))?;
        made.keep();
        Ok(())
    }

    /// config.json: keys sorted, tabs like `runc spec`, a final newline. The same bundle gives the same bytes.
    ///
    /// # Errors
    /// A path that is not UTF-8, which JSON cannot carry.
    pub fn to_json(&self) -> Result<String> {
        let fail = |e| Error::new("config.json cannot be written").cause(e);
        let mut value = serde_json::to_value(&self.spec).map_err(fail)?;
        value.sort_all_objects();
        sort_capabilities(&mut value);
        pretty(&value).map_err(fail)
    }
}

/// oci-spec keeps capabilities in hash sets, whose order changes from run to run.
fn sort_capabilities(spec: &mut Value) {
    let Some(sets) = spec.pointer_mut("/process/capabilities").and_then(Value::as_object_mut) else {
        return;
    };
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

fn pretty(value: &Value) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut out = serde_json::Serializer::with_formatter(&mut text, tabs);
    serde::Serialize::serialize(value, &mut out)?;
    text.push(b'\n');
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// What has been made so far; removed again, last first, unless everything succeeds.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn keep(mut self) {
        self.0.clear();
    }

    fn parents(&mut self, dir: &Path) -> Result<()> {
        let missing: Vec<_> = dir.ancestors().take_while(|d| !d.as_os_str().is_empty() && !d.exists()).collect();
        missing.iter().rev().try_for_each(|d| self.dir(d, 0o755))
    }

    /// Made first and exclusively: of two writers in one directory, one stops here.
    fn config(&mut self, path: &Path) -> Result<File> {
        let file = File::create_new(path).map_err(|e| match e.kind() {
            // runc's sentence.
            ErrorKind::AlreadyExists => Error::new("File config.json exists. Remove it first").at(path.display().to_string()),
            _ => failed("create", path, &e),
        })?;
        self.0.push(path.to_owned());
        Ok(file)
    }

    fn skeleton(&mut self, skeleton: &Skeleton, root: &Path) -> Result<()> {
        match entries(root).map(|entries| !entries.is_empty()) {
            Ok(true) => {
                return Err(Error::new("rootfs is not empty. Remove it first").at(root.display().to_string()));
            }
            Ok(false) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => self.dir(root, 0o755)?,
            Err(e) => return Err(failed("read", root, &e)),
        }
        for (path, node) in places(skeleton, root)? {
            self.node(&path, node)?;
        }
        modes(skeleton, root)
    }

    fn node(&mut self, path: &Path, node: &Node) -> Result<()> {
        let done = match node {
            // Its own mode comes last (see `modes`): one without `w` or `x` could not be filled.
            Node::Dir { .. } => return self.dir(path, 0o700),
            Node::File { .. } => File::create_new(path).and_then(|f| f.set_permissions(Permissions::from_mode(0o644))),
            Node::Symlink { target, .. } => symlink(target, path),
        };
        done.map_err(|e| failed("create", path, &e))?;
        self.0.push(path.to_owned());
        Ok(())
    }

    fn dir(&mut self, path: &Path, mode: u32) -> Result<()> {
        DirBuilder::new().mode(mode).create(path).map_err(|e| failed("create", path, &e))?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Undoing is best effort: the failure that led here is the one to report.
        for path in self.0.iter().rev() {
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }
}

/// Deepest first, so that a directory is closed only when all below it has its mode; the umask has no say.
fn modes(skeleton: &Skeleton, root: &Path) -> Result<()> {
    fs::set_permissions(root, Permissions::from_mode(0o755)).map_err(|e| failed("chmod", root, &e))?;
    for (path, node) in places(skeleton, root)?.into_iter().rev() {
        if let Node::Dir { mode, .. } = node {
            fs::set_permissions(&path, Permissions::from_mode(*mode)).map_err(|e| failed("chmod", &path, &e))?;
        }
    }
    Ok(())
}

/// Each node with its place on disk. One that would leave `root`, by `..` or through a link of the skeleton, is refused.
fn places<'a>(skeleton: &'a Skeleton, root: &Path) -> Result<Vec<(PathBuf, &'a Node)>> {
    let links: BTreeSet<&Path> = skeleton.entries.iter().filter(|n| matches!(n, Node::Symlink { .. })).map(path).collect();
    let place = |node: &'a Node| {
        let inside = path(node).strip_prefix("/").ok().filter(|p| p.components().all(|c| matches!(c, Component::Normal(_))));
        let through_link = path(node).ancestors().skip(1).any(|above| links.contains(above));
        match inside {
            Some(inside) if !through_link => Ok((root.join(inside), node)),
            _ => Err(Error::new(format!("skeleton entry `{}` would leave the root file system", path(node).display()))),
        }
    };
    skeleton.entries.iter().filter(|n| path(n) != Path::new("/")).map(place).collect()
}

fn path(node: &Node) -> &Path {
    match node {
        Node::Dir { path, .. } | Node::File { path } | Node::Symlink { path, .. } => path,
    }
}

fn failed(call: &str, path: &Path, e: &io::Error) -> Error {
    Error::new(format!("cannot {call} `{}`", path.display())).cause(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;
    use std::os::unix::ffi::OsStringExt;

    fn bundle() -> Bundle {
        let dir = |path: &str, mode| Node::Dir { path: path.into(), mode };
        let entries = vec![
            Node::Symlink { path: "/bin".into(), target: "usr/bin".into() },
            dir("/closed", 0),
            Node::File { path: "/file".into() },
            dir("/tmp", 0o1777),
            dir("/usr", 0o555),
            dir("/usr/bin", 0o755),
        ];
        Bundle { spec: Spec::default(), rootfs: Rootfs::Skeleton(Skeleton { entries }), unknown: Vec::new() }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("a/b");
        bundle().write(&at).unwrap();
        let back = Bundle::read(&at).unwrap();
        assert_eq!(back.spec, bundle().spec);
        assert_eq!(back.rootfs, Rootfs::Dir(at.join("rootfs")));
    }

    #[test]
    fn the_skeleton_has_its_exact_modes() {
        let dir = tempfile::tempdir().unwrap();
        bundle().write(dir.path()).unwrap();
        let root = dir.path().join("rootfs");
        assert_eq!(names(&root), ["bin", "closed", "file", "tmp", "usr"]);
        assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
        let modes = [("closed", 0), ("file", 0o644), ("tmp", 0o1777), ("usr", 0o555), ("usr/bin", 0o755), ("", 0o755)];
        for (name, bits) in modes {
            assert_eq!(mode(&root.join(name)), bits, "{name}");
        }
    }

    #[test]
    fn the_same_bundle_gives_the_same_bytes() {
        let first = bundle().to_json().unwrap();
        assert!(first.ends_with("}\n") && first.starts_with("{\n\t\""));
        assert!((0..20).all(|_| bundle().to_json().unwrap() == first));
        let at: Vec<_> = ["\"hostname\"", "\"linux\"", "\"mounts\"", "\"ociVersion\"", "\"process\"", "\"root\""]
            .map(|key| first.find(key).unwrap())
            .to_vec();
        assert!(at.is_sorted());
    }

    #[test]
    fn what_json_cannot_carry_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut bundle = bundle();
        let mut process = oci_spec::runtime::Process::default();
        process.set_cwd(std::ffi::OsString::from_vec(b"/\xff".into()).into());
        bundle.spec.set_process(Some(process));
        let said = bundle.write(dir.path()).unwrap_err().to_string();
        assert!(said.starts_with("config.json cannot be written"), "{said}");
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), "mine").unwrap();
        let said = bundle().write(dir.path()).unwrap_err().to_string();
        assert!(said.contains("File config.json exists. Remove it first"), "{said}");
        assert_eq!(names(dir.path()), [CONFIG]);
        assert_eq!(fs::read_to_string(dir.path().join(CONFIG)).unwrap(), "mine");
    }

    #[test]
    fn a_rootfs_with_something_in_it_is_refused_and_config_json_is_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rootfs/etc")).unwrap();
        assert!(bundle().write(dir.path()).unwrap_err().to_string().contains("rootfs is not empty"));
        assert_eq!(names(dir.path()), ["rootfs"]);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut broken = bundle();
        if let Rootfs::Skeleton(s) = &mut broken.rootfs {
            s.entries.push(Node::File { path: "/zz/parent/missing".into() });
        }
        assert!(broken.write(&dir.path().join("new/bundle")).is_err());
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn a_skeleton_cannot_leave_its_root() {
        let link = Node::Symlink { path: "/out".into(), target: "/tmp".into() };
        for bad in ["/../x", "relative", "/out/x"] {
            let entries = vec![link.clone(), Node::File { path: bad.into() }];
            assert!(places(&Skeleton { entries }, Path::new("/r")).is_err(), "{bad}");
        }
    }
}
