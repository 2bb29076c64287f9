//! Namespaces that config.json gives by path: they are not the container's, so criu neither writes them down nor makes them.

use super::command::Found;
use crate::namespace::{all, path};
use crate::sys::file;
use crate::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What criu calls them, and under which name they are found again; the names are runc's, so that its images can be restored.
const KEPT: &[(Type, &str, &str)] = &[(Type::Network, "net", "extRootNetNS"), (Type::Pid, "pid", "extRootPidNS")];
/// Of these criu writes down what it can, and joins what is there.
const JOINED: &[(Type, &str)] = &[(Type::Ipc, "ipc"), (Type::Uts, "uts"), (Type::Time, "time"), (Type::User, "user")];

fn by_path(spec: &Spec) -> Vec<(Type, &Path)> {
    all(spec).filter_map(|n| Some((n.typ(), path(n)?))).collect()
}

/// `net[INODE]:NAME` of those that criu leaves alone.
pub(super) fn dump(spec: &Spec, found: &mut Found) -> Result<()> {
    for (typ, path) in by_path(spec) {
        let Some((_, word, name)) = KEPT.iter().find(|(kept, ..)| *kept == typ) else { continue };
        let inode = std::fs::metadata(path).map_err(|e| failed(path, e))?.ino();
        found.external.push(format!("{word}[{inode}]:{name}").into());
    }
    Ok(())
}

/// Opens what criu is to inherit; it must outlive criu's start.
pub(super) fn restore(spec: &Spec, found: &mut Found) -> Result<Vec<OwnedFd>> {
    let mut kept = Vec::new();
    for (typ, path) in by_path(spec) {
        if let Some((.., name)) = KEPT.iter().find(|(kept, ..)| *kept == typ) {
            let open: OwnedFd = File::open(path).map_err(|e| failed(path, e))?.into();
            found.inherit.push(format!("fd[{}]:{name}", open.as_raw_fd()).into());
            kept.push(open);
        }
        if let Some((_, word)) = JOINED.iter().find(|(joined, _)| *joined == typ) {
            let mut join = OsString::from(format!("{word}:"));
            join.push(path);
            found.join.push(join);
        }
    }
    Ok(kept)
}

/// Lets them pass execve(2); for the process that becomes criu.
pub(super) fn pass_on(kept: &[OwnedFd]) -> crate::sys::Result<()> {
    kept.iter().try_for_each(|fd| file::keep(std::os::fd::AsFd::as_fd(fd)))
}

fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::new(format!("cannot open the namespace `{}`", path.display())).cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_kept_and_ipc_is_joined() {
        let namespaces = serde_json::json!([
            { "type": "network", "path": "/proc/self/ns/net" }, { "type": "ipc", "path": "/proc/self/ns/ipc" }, { "type": "mount" },
        ]);
        let spec = serde_json::json!({ "ociVersion": "1.0.2", "linux": { "namespaces": namespaces } });
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let mut found = Found::default();
        dump(&spec, &mut found).unwrap();
        let inode = std::fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_eq!(found.external, [OsString::from(format!("net[{inode}]:extRootNetNS"))]);
        let kept = restore(&spec, &mut found).unwrap();
        assert_eq!(found.inherit, [OsString::from(format!("fd[{}]:extRootNetNS", kept[0].as_raw_fd()))]);
        assert_eq!(found.join, ["ipc:/proc/self/ns/ipc"]);
    }
}
