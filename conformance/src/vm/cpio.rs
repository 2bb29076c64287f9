//! An archive as the kernel unpacks it into its first file system: cpio(5), "New ASCII Format".

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// An archive in the making. Everything in it belongs to root.
pub struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W) -> Archive<W> {
        Archive { out, inode: 0 }
    }

    /// A directory; those above it must be there already.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY, &[])
    }

    /// A file that everybody may execute.
    pub fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.entry(path, PROGRAM, content)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK, target.as_bytes())
    }

    /// Ends the archive.
    pub fn end(mut self) -> io::Result<W> {
        self.entry(TRAILER, 0, &[])?;
        Ok(self.out)
    }

    /// Thirteen numbers of eight hex digits, then name and content, each padded to a multiple of four.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        let size = u32::try_from(content.len()).map_err(|_| io::Error::other(format!("{path} is too large for cpio")))?;
        let name = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        self.inode += 1;
        let mut head = String::from("070701");
        for number in [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0] {
            head += &format!("{number:08x}");
        }
        self.padded(&[head.as_bytes(), path.as_bytes(), b"\0"].concat())?;
        self.padded(content)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 3][..bytes.len().wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busybox_unpacks_what_was_packed() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = Archive::new(Vec::new());
        archive.directory("/a").unwrap();
        archive.file("/a/odd", b"12345").unwrap();
        archive.link("/a/l", "odd").unwrap();
        std::fs::write(dir.path().join("x.cpio"), archive.end().unwrap()).unwrap();
        let unpack = std::process::Command::new("busybox").args(["cpio", "-i", "-F", "x.cpio"]).current_dir(dir.path()).output();
        assert!(unpack.unwrap().status.success());
        assert_eq!(std::fs::read(dir.path().join("a/l")).unwrap(), b"12345");
    }
}
