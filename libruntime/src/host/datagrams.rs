//! Which of the Unix sockets that a spec grants are of datagrams: where nobody asked for those, a grant of one opens nothing.

use crate::annotation::{UNIX_DATAGRAMS, UNIX_SOCKETS};
use crate::plan::annotation_of;
use crate::sys::file;
use oci_spec::runtime::Spec;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Of a grant that cannot be judged, nothing is said: whoever connects to it will hear.
pub(super) fn granted(spec: &Spec) -> BTreeSet<PathBuf> {
    let asked = annotation_of(spec, UNIX_SOCKETS).filter(|_| annotation_of(spec, UNIX_DATAGRAMS).is_none());
    let paths: Vec<PathBuf> = asked.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    paths.into_iter().filter(|path| takes_datagrams(path).is_some()).collect()
}

/// connect(2) of a datagram socket sends nothing and nobody accepts it; to any other kind of socket it is EPROTOTYPE (unix(7)).
fn takes_datagrams(path: &Path) -> Option<()> {
    // An address is shorter than a path may be.
    let dir = CString::new(path.parent()?.as_os_str().as_bytes()).ok()?;
    let dir = file::open_at(file::cwd(), &dir, libc::O_PATH | libc::O_DIRECTORY).ok()?;
    let at = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(path.file_name()?);
    UnixDatagram::unbound().ok()?.connect(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_grant_is_known_for_one_of_datagrams_without_a_word_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("long".repeat(40));
        std::fs::create_dir(&deep).unwrap();
        let [packets, stream, file, gone] = ["packets", "stream", "file", "gone"].map(|name| deep.join(name));
        let socket = UnixDatagram::bind(dir.path().join("short")).unwrap();
        socket.set_nonblocking(true).unwrap();
        std::fs::rename(dir.path().join("short"), &packets).unwrap();
        let _listener = UnixListener::bind(dir.path().join("short")).unwrap();
        std::fs::rename(dir.path().join("short"), &stream).unwrap();
        std::fs::write(&file, "").unwrap();
        let all = json!([packets, stream, file, gone, deep, "/"]).to_string();
        let found =
            |annotations| granted(&serde_json::from_value(json!({ "ociVersion": "1.0.2", "annotations": annotations })).unwrap());
        assert_eq!(found(json!({ UNIX_SOCKETS: all })), [packets].into());
        assert!(socket.recv(&mut [0; 8]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
        assert_eq!(found(json!({ UNIX_SOCKETS: all, UNIX_DATAGRAMS: "true" })), BTreeSet::new(), "nothing is missing");
        assert_eq!(found(json!({})), BTreeSet::new());
    }
}
