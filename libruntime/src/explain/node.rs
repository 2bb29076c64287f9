//! A file as the kernel's permission check sees it.

use std::path::PathBuf;

/// One entry of a directory, a link not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-id and sticky.
    pub mode: u32,
    /// Owner, as the caller of codexrun sees it.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// acl(5), when there is more than the mode says.
    pub acl: Vec<Grant>,
    /// chattr(1) `+i`.
    pub immutable: bool,
    /// chattr(1) `+a`.
    pub append: bool,
}

/// The kind of a [`Node`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link and its text.
    Link(PathBuf),
    /// A device.
    Device,
    /// A named pipe.
    Pipe,
    /// A socket, which open(2) does not open.
    Socket,
}

/// One line of an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Of whom it speaks.
    pub whose: Whose,
    /// `rwx` as 4, 2, 1.
    pub bits: u32,
}

/// acl(5), "ACL ENTRIES".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// ACL_USER_OBJ.
    Owner,
    /// ACL_USER.
    User(u32),
    /// ACL_GROUP_OBJ.
    OwningGroup,
    /// ACL_GROUP.
    Group(u32),
    /// ACL_MASK.
    Mask,
    /// ACL_OTHER.
    Other,
}

impl Node {
    /// Something that the plan makes.
    pub fn made(kind: Kind, mode: u32, (uid, gid): (u32, u32)) -> Node {
        Node { kind, mode, uid, gid, acl: Vec::new(), immutable: false, append: false }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// In one word or two.
    pub fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Dir => "directory",
            Kind::File => "file",
            Kind::Link(_) => "symbolic link",
            Kind::Device => "device",
            Kind::Pipe => "pipe",
            Kind::Socket => "socket",
        }
    }
}

/// `system.posix_acl_access` as getxattr(2) gives it (linux/posix_acl_xattr.h): a version, then tag, bits and id of each line.
pub fn acl(bytes: &[u8]) -> Vec<Grant> {
    let lines = bytes.strip_prefix(&[2, 0, 0, 0]).unwrap_or_default();
    lines.chunks_exact(8).filter_map(|line| grant(line.try_into().ok()?)).collect()
}

fn grant(line: [u8; 8]) -> Option<Grant> {
    let [tag, tag_high, bits, _, id @ ..] = line;
    let id = u32::from_le_bytes(id);
    let whose = match u16::from_le_bytes([tag, tag_high]) {
        0x01 => Whose::Owner,
        0x02 => Whose::User(id),
        0x04 => Whose::OwningGroup,
        0x08 => Whose::Group(id),
        0x10 => Whose::Mask,
        0x20 => Whose::Other,
        _ => return None,
    };
    Some(Grant { whose, bits: bits.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_control_list_is_read_as_the_kernel_writes_it() {
        // setfacl -m u:1001:r,m::rx
        let text = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 0xe9, 3, 0, 0],
            &[0x10, 0, 5, 0, 255, 255, 255, 255],
        ];
        let grant = |whose, bits| Grant { whose, bits };
        assert_eq!(acl(&text.concat()), [grant(Whose::Owner, 6), grant(Whose::User(1001), 4), grant(Whose::Mask, 5)]);
        assert_eq!(acl(&[1, 0, 0, 0]), []);
        assert_eq!(acl(&[]), []);
    }
}
