//! The mounts of the host, as far as they bear on what may be done.

use crate::mountinfo::Mount;
use crate::sys::mount::attr;
use std::path::PathBuf;

/// One mount of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// Its number, and that of the mount on which it lies.
    pub id: (u32, u32),
    /// Where, in the caller's mount namespace.
    pub at: PathBuf,
    /// Of its file system: major and minor number.
    pub device: (u32, u32),
    /// The directory, or file, of its file system that is mounted.
    pub root: PathBuf,
    /// `ext4`, `proc`, …
    pub fstype: String,
    /// MOUNT_ATTR_*; RDONLY also when the file system itself is read-only.
    pub flags: u64,
    /// A recursive bind leaves it out.
    pub unbindable: bool,
}

const WORDS: &[(&str, u64)] = &[
    ("ro", attr::RDONLY),
    ("nosuid", attr::NOSUID),
    ("nodev", attr::NODEV),
    ("noexec", attr::NOEXEC),
    ("nosymfollow", attr::NOSYMFOLLOW),
];

impl From<Mount> for HostMount {
    fn from(mount: Mount) -> HostMount {
        let flag = |word: &str| WORDS.iter().find(|(name, _)| *name == word).map_or(0, |(_, flag)| *flag);
        let own: u64 = mount.options.split(',').map(flag).sum();
        let read_only = mount.system_options.split(',').any(|word| word == "ro");
        HostMount {
            id: (mount.id, mount.parent),
            at: mount.point,
            device: mount.device,
            root: mount.root,
            fstype: mount.fstype,
            flags: own | if read_only { attr::RDONLY } else { 0 },
            unbindable: mount.tags.iter().any(|tag| tag == "unbindable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood_with_its_tags_and_escapes() {
        let text = b"36 35 98:0 / /a\\040b\\134 rw,nosuid,noexec shared:1 unbindable - ext4 /dev/x ro,errors=continue\n\
                    1 0 0:1 / / rw - tmpfs none rw\nnonsense\n";
        let mounts: Vec<HostMount> = crate::mountinfo::parse(text).into_iter().map(HostMount::from).collect();
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].id, mounts[0].at.to_str()), ((36, 35), Some("/a b\\")));
        assert_eq!(mounts[0].flags, attr::RDONLY | attr::NOSUID | attr::NOEXEC);
        assert!(mounts[0].unbindable && !mounts[1].unbindable);
        assert_eq!((mounts[1].fstype.as_str(), mounts[1].flags), ("tmpfs", 0));
    }
}
