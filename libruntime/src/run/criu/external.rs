//! Which mounts of a container come from outside: criu is told their names when it writes them down, and their sources when it makes
//! them anew. Pure.

use crate::mountinfo::Mount;
use crate::plan::Plan;
use crate::plan::op::{By, Op};
use crate::plan::place::At;
use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the plan puts at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put<'a> {
    /// The place as the plan says it.
    pub at: &'a At,
    /// Below it, for a node of `/dev`.
    pub node: Option<&'a CStr>,
    pub what: What<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// A mount of the host, or another one if that is missing.
    Bind(&'a CStr, Option<&'a CStr>),
    /// A file system of the container's own.
    Own,
    /// A directory of the container's own, or the host's `/dev/null`.
    Mask,
}

/// In the order in which it is put there.
pub(super) fn puts(plan: &Plan) -> Vec<Put<'_>> {
    let mut dev = None;
    let mut all = Vec::new();
    for step in &plan.child {
        let (at, node, what) = match &step.op {
            Op::OpenDev(at) => {
                dev = Some(at);
                continue;
            }
            Op::Bind(bind) => (&bind.at, None, What::Bind(&bind.source, None)),
            Op::BindOr { bind, other } => (&bind.at, None, What::Bind(&bind.source, Some(other))),
            Op::Mount(fs) => (&fs.at, None, What::Own),
            Op::Again { at, .. } => (at, None, What::Own),
            Op::BindNode { name, source } => match dev {
                Some(dev) => (dev, Some(name.as_c_str()), What::Bind(source, None)),
                None => continue,
            },
            Op::Device(device) => match &device.by {
                By::Host(source) => (&device.at, None, What::Bind(source, None)),
                By::Mknod | By::Parent(_) | By::Itself => continue,
            },
            Op::Mask(at) => (at, None, What::Mask),
            _ => continue,
        };
        all.push(Put { at, node, what });
    }
    all
}

/// A place as it is once links are followed, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<'a> {
    pub path: PathBuf,
    pub what: What<'a>,
}

/// The name of whatever covers a masked file.
const NULL: &str = "/dev/null";

/// `mnt[PLACE]:NAME` for each mount of the container, as its mountinfo has them, that is not its own.
pub(super) fn dumped(placed: &[Placed], mounts: &[Mount]) -> Vec<OsString> {
    let external = |mount: &Mount| {
        let over = deepest(placed, &mount.point)?;
        match over.what {
            What::Own => None,
            What::Bind(..) => Some(pair(&mount.point, &mount.point)),
            // A directory is covered by a file system of its own, whose root is there.
            What::Mask if over.path == mount.point && mount.root != Path::new("/") => Some(pair(&mount.point, Path::new(NULL))),
            What::Mask => None,
        }
    };
    mounts.iter().filter(|mount| mount.point != Path::new("/")).filter_map(external).collect()
}

/// `mnt[NAME]:SOURCE`: of each bind, and of each mount of the host's that lies below its source.
pub(super) fn restored(placed: &[Placed], sources: &[Option<PathBuf>], mounts: &[Mount]) -> Vec<OsString> {
    let mut all = Vec::new();
    for (placed, source) in placed.iter().zip(sources) {
        let Some(source) = source else { continue };
        all.push(pair(&placed.path, source));
        for mount in mounts {
            if let Ok(below) = mount.point.strip_prefix(source)
                && below != Path::new("")
            {
                all.push(pair(&placed.path.join(below), &mount.point));
            }
        }
    }
    if placed.iter().any(|placed| placed.what == What::Mask) {
        all.push(pair(Path::new(NULL), Path::new(NULL)));
    }
    all
}

/// What lies over a place: the last of the deepest that contain it.
pub(super) fn deepest<'a, 'b>(placed: &'b [Placed<'a>], path: &Path) -> Option<&'b Placed<'a>> {
    placed.iter().filter(|placed| path.starts_with(&placed.path)).max_by_key(|placed| placed.path.components().count())
}

fn pair(key: &Path, value: &Path) -> OsString {
    OsStr::from_bytes(&[b"mnt[", key.as_os_str().as_bytes(), b"]:", value.as_os_str().as_bytes()].concat()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: &str = "\
42 31 0:24 /b/rootfs / rw - tmpfs tmp rw
43 42 0:29 / /proc rw - proc proc rw
45 42 0:24 /data /data rw - tmpfs tmp rw
46 43 0:29 /sys /proc/sys ro - proc proc rw
47 43 0:5 /null /proc/kcore rw - devtmpfs dev rw
48 43 0:31 / /proc/acpi ro - tmpfs none rw
49 45 0:32 / /data/deep rw - ext4 /dev/x rw
50 45 0:33 / /data/own rw - tmpfs tmpfs rw
";

    fn mounts(text: &str) -> Vec<Mount> {
        text.lines().filter_map(|line| Mount::parse(line.as_bytes())).collect()
    }

    fn placed() -> Vec<Placed<'static>> {
        let place = |path: &str, what| Placed { path: path.into(), what };
        vec![
            place("/proc", What::Own),
            place("/data", What::Bind(c"/src", None)),
            place("/data/own", What::Own),
            place("/proc/kcore", What::Mask),
            place("/proc/acpi", What::Mask),
        ]
    }

    fn text(list: Vec<OsString>) -> Vec<String> {
        list.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn binds_what_came_with_them_and_masked_files_are_external() {
        let said = text(dumped(&placed(), &mounts(INSIDE)));
        assert_eq!(said, ["mnt[/data]:/data", "mnt[/proc/kcore]:/dev/null", "mnt[/data/deep]:/data/deep"]);
    }

    #[test]
    fn sources_are_told_for_the_same_names() {
        let host = mounts("1 0 8:1 / / rw - ext4 x rw\n2 1 8:2 / /src/deep rw - ext4 y rw\n3 1 8:3 / /srcs rw - ext4 z rw\n");
        let sources = [None, Some("/src".into()), None, None, None];
        let said = text(restored(&placed(), &sources, &host));
        assert_eq!(said, ["mnt[/data]:/src", "mnt[/data/deep]:/src/deep", "mnt[/dev/null]:/dev/null"]);
    }

    #[test]
    fn of_two_at_one_place_the_last_counts() {
        let place = |what| Placed { path: "/a".into(), what };
        let both = [place(What::Bind(c"/s", None)), place(What::Own)];
        assert_eq!(deepest(&both, Path::new("/a/b")).unwrap().what, What::Own);
        assert_eq!(deepest(&both, Path::new("/ab")), None);
    }
}
