//! The mounts of the host: proc_pid_mountinfo(5), line by line.

use crate::sys::mount::attr;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// Its number, and that of the mount on which it lies.
    pub id: (u32, u32),
    /// Where, in the caller's mount namespace.
    pub at: PathBuf,
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

/// Every line that can be understood, in the order of the file.
pub fn parse(text: &str) -> Vec<HostMount> {
    text.lines().filter_map(line).collect()
}

/// `36 35 98:0 /root /at rw,noatime shared:1 - ext3 /dev/root rw`.
fn line(line: &str) -> Option<HostMount> {
    let (mount, system) = line.split_once(" - ")?;
    let fields: Vec<&str> = mount.split(' ').collect();
    let [id, parent, _, _, at, options, tags @ ..] = &fields[..] else { return None };
    let system: Vec<&str> = system.split(' ').collect();
    let flag = |word: &str| WORDS.iter().find(|(name, _)| *name == word).map_or(0, |(_, flag)| *flag);
    let own: u64 = options.split(',').map(flag).sum();
    let read_only = system.get(2).is_some_and(|options| options.split(',').any(|word| word == "ro"));
    Some(HostMount {
        id: (id.parse().ok()?, parent.parse().ok()?),
        at: unescape(at),
        fstype: (*system.first()?).to_owned(),
        flags: own | if read_only { attr::RDONLY } else { 0 },
        unbindable: tags.contains(&"unbindable"),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let byte = escaped(rest);
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &rest[4..] } else { tail };
    }
    OsString::from_vec(bytes).into()
}

fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\")?.get(..3)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood_with_its_tags_and_escapes() {
        let text = "36 35 98:0 / /a\\040b\\134 rw,nosuid,noexec shared:1 unbindable - ext4 /dev/x ro,errors=continue\n\
                    1 0 0:1 / / rw - tmpfs none rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[0].id, mounts[0].at.to_str()), ((36, 35), Some("/a b\\")));
        assert_eq!(mounts[0].flags, attr::RDONLY | attr::NOSUID | attr::NOEXEC);
        assert!(mounts[0].unbindable && !mounts[1].unbindable);
        assert_eq!((mounts[1].fstype.as_str(), mounts[1].flags), ("tmpfs", 0));
    }
}
