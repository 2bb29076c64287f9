//! proc_pid_mountinfo(5): the mounts of a mount namespace, as the kernel lists them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line: `36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/root rw,errors=continue`.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Of the mount.
    pub id: u32,
    /// Of the mount on which it lies.
    pub parent: u32,
    /// Of its file system: major and minor number.
    pub device: (u32, u32),
    /// The directory, or file, of its file system that is mounted.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Of the mount alone, with commas.
    pub options: String,
    /// `shared:1`, `master:2`, `unbindable`.
    pub tags: Vec<String>,
    /// `ext4`, `proc`, …
    pub fstype: String,
    /// Of the file system, with commas.
    pub system_options: String,
}

/// Every line that can be understood, in their order. Of a name the kernel escapes what would break a line, and no other byte.
pub(crate) fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect()
}

impl Mount {
    /// One line; none if it is no line of that file.
    pub fn parse(line: &[u8]) -> Option<Mount> {
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [id, parent, device, root, point, options, rest @ ..] = &words[..] else { return None };
        let dash = rest.iter().position(|word| *word == b"-")?;
        let text = |word: &&[u8]| String::from_utf8_lossy(word).into_owned();
        Some(Mount {
            id: text(id).parse().ok()?,
            parent: text(parent).parse().ok()?,
            device: text(device).split_once(':').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))?,
            root: unescape(root),
            point: unescape(point),
            options: text(options),
            tags: rest[..dash].iter().map(text).collect(),
            fstype: rest.get(dash + 1).map(text)?,
            system_options: rest.get(dash + 3).map(text).unwrap_or_default(),
        })
    }

    /// Whether its mount point leads to it, and not to something that was mounted over it or over a directory above it.
    pub fn is_visible(&self, mounts: &[Mount]) -> bool {
        let ids: Vec<u32> = mounts.iter().map(|m| m.id).collect();
        let Some(mut at) = mounts.iter().find(|m| m.point == Path::new("/") && (!ids.contains(&m.parent) || m.parent == m.id))
        else {
            return false;
        };
        let mut ancestors: Vec<&Path> = self.point.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            while let Some(next) = mounts.iter().find(|m| m.parent == at.id && m.id != at.id && m.point == ancestor) {
                at = next;
            }
        }
        at.id == self.id
    }
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
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
        let text = b"36 35 98:0 /r /a\\040b\\134c rw,nosuid shared:1 unbindable - ext4 /dev/x ro,errors=continue\n\
                    1 0 0:1 / / rw - tmpfs none rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        let first = &mounts[0];
        assert_eq!((first.id, first.parent, first.root.to_str(), first.point.to_str()), (36, 35, Some("/r"), Some("/a b\\c")));
        assert_eq!(first.device, (98, 0));
        assert_eq!((first.options.as_str(), first.system_options.as_str()), ("rw,nosuid", "ro,errors=continue"));
        assert_eq!((&first.tags[..], first.fstype.as_str()), (&["shared:1".to_owned(), "unbindable".to_owned()][..], "ext4"));
        assert!(mounts[1].tags.is_empty() && mounts[1].fstype == "tmpfs");
    }

    /// One such name made the whole table unreadable: no cgroup was found, and a placeholder in use was taken for nobody's.
    #[test]
    fn a_name_that_is_no_utf_8_is_a_name() {
        let mounts = parse(b"1 0 0:1 / / rw - tmpfs none rw\n2 1 0:2 /\xff /caf\xe9 rw - tmpfs none rw\n");
        assert_eq!((mounts.len(), mounts[1].point.as_os_str().as_encoded_bytes()), (2, &b"/caf\xe9"[..]));
    }
}
