//! What explain may know of the host: asked through one trait, so that it is pure and can be tested without a kernel.

use super::mount::HostMount;
use super::node::{self, Kind, Node};
use crate::mountinfo;
use crate::sys::{cred, inode};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What explain asks of a host.
pub trait Look {
    /// lstat(2), statx(2), readlink(2) and the access control list.
    fn node(&self, path: &Path) -> io::Result<Node>;
    /// Every mount of the caller's mount namespace.
    fn mounts(&self) -> Vec<HostMount>;
    /// `fs.protected_symlinks` (proc_sys_fs(5)).
    fn protected_symlinks(&self) -> bool;
    /// The caller's supplementary groups.
    fn groups(&self) -> Vec<u32>;
}

/// The machine that codexrun runs on.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

/// More lines than any list has on ext4: 64 KiB is the limit of a value (xattr(7)).
const LONGEST: usize = 64 * 1024;

impl Look for Disk {
    fn node(&self, path: &Path) -> io::Result<Node> {
        let meta = fs::symlink_metadata(path)?;
        let kind = meta.file_type();
        let kind = match () {
            () if kind.is_dir() => Kind::Dir,
            () if kind.is_symlink() => Kind::Link(fs::read_link(path)?),
            () if kind.is_fifo() => Kind::Pipe,
            () if kind.is_socket() => Kind::Socket,
            () if kind.is_char_device() || kind.is_block_device() => Kind::Device,
            () => Kind::File,
        };
        let name = CString::new(path.as_os_str().as_bytes())?;
        // A file system without attributes or lists has none to say.
        let attributes = inode::attributes(&name).unwrap_or(0);
        let mut node = Node::made(kind, meta.mode() & 0o7777, (meta.uid(), meta.gid()));
        node.immutable = attributes & inode::IMMUTABLE != 0;
        node.append = attributes & inode::APPEND != 0;
        let mut list = [0; 256];
        node.acl = match inode::xattr(&name, c"system.posix_acl_access", &mut list) {
            Ok(length) => node::acl(&list[..length]),
            Err(crate::sys::Errno::ERANGE) => long_acl(&name),
            Err(_) => Vec::new(),
        };
        Ok(node)
    }

    fn mounts(&self) -> Vec<HostMount> {
        let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
        mountinfo::parse(&text).into_iter().map(HostMount::from).collect()
    }

    fn protected_symlinks(&self) -> bool {
        fs::read_to_string("/proc/sys/fs/protected_symlinks").is_ok_and(|text| text.trim() == "1")
    }

    fn groups(&self) -> Vec<u32> {
        cred::groups().unwrap_or_default()
    }
}

fn long_acl(path: &CString) -> Vec<node::Grant> {
    let mut list = vec![0; LONGEST];
    let read = inode::xattr(path, c"system.posix_acl_access", &mut list);
    read.map_or_else(|_| Vec::new(), |length| node::acl(&list[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_disk_answers_as_the_kernel_does() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("file", at("link")).unwrap();
        let file = Disk.node(&at("file")).unwrap();
        assert_eq!((file.kind, file.mode, file.uid), (Kind::File, 0o4751, nix::unistd::geteuid().as_raw()));
        assert_eq!(Disk.node(&at("link")).unwrap().kind, Kind::Link("file".into()));
        assert_eq!(Disk.node(Path::new("/dev/null")).unwrap().kind, Kind::Device);
        assert_eq!(Disk.node(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(Disk.mounts().iter().any(|mount| mount.at == Path::new("/")));
    }
}
