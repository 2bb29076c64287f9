//! Standard input, output and error of a container are mostly its caller's: what they were is kept with the images (in runc's file,
//! in runc's form), so that a restored container gets those of its new caller.

use crate::mountinfo::Mount;
use crate::put;
use crate::text;
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const FILE: &str = "descriptors.json";

/// What descriptors 0, 1 and 2 of a process are: `pipe:[7]`, `socket:[8]`, a path, or `file[MOUNT:INODE]` of a file whose mount is not
/// the container's. `mounts` are the container's.
pub(super) fn of(pid: i32, mounts: &[Mount]) -> Vec<String> {
    (0..3).map(|fd| one(pid, fd, mounts).unwrap_or_default()).collect()
}

fn one(pid: i32, fd: u8, mounts: &[Mount]) -> Option<String> {
    let link = format!("/proc/{pid}/fd/{fd}");
    let name = fs::read_link(&link).ok()?.to_string_lossy().into_owned();
    let meta = fs::metadata(&link).ok()?;
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let mount: u32 = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())?;
    let inside = mounts.iter().any(|m| m.id == mount);
    let file = meta.is_file() || meta.file_type().is_char_device() && !is_terminal(meta.rdev());
    Some(if file && !inside { format!("file[{mount:x}:{:x}]", meta.ino()) } else { name })
}

/// devpts(5) and the consoles.
fn is_terminal(device: u64) -> bool {
    matches!(libc::major(device), 4 | 5 | 136..=143)
}

/// What criu must not look for in the container.
pub(super) fn external(stdio: &[String]) -> Vec<OsString> {
    let mut all: Vec<OsString> = stdio.iter().filter(|name| name.starts_with("file[")).map(OsString::from).collect();
    all.dedup();
    all
}

/// Writes them to the directory of the images, in place of what somebody else may have put there.
pub(super) fn save(images: &Path, stdio: &[String]) -> Result<()> {
    let file = images.join(FILE);
    put::whole(&file, serde_json::json!(stdio).to_string().as_bytes(), 0o666)
        .map_err(|e| Error::new(format!("cannot write `{}`", file.display())).cause(e))
}

/// `fd[N]:WHAT` for each that was the caller's; ours takes its place.
pub(super) fn inherited(images: &Path) -> Result<Vec<OsString>> {
    let file = images.join(FILE);
    let failed = |cause: String| Error::new(format!("cannot read `{}`", file.display())).cause(cause);
    let opened =
        text::read(&file, text::LIMIT).map_err(|e| failed(e.to_string()).hint("is this the directory of a checkpoint?"))?;
    taken_over(&opened).map_err(|e| failed(e.to_string()))
}

/// Of the text of that file.
pub(crate) fn taken_over(text: &[u8]) -> serde_json::Result<Vec<OsString>> {
    serde_json::from_slice::<Vec<String>>(text).map(|stdio| inherit(&stdio))
}

/// What two of them share is named once.
fn inherit(stdio: &[String]) -> Vec<OsString> {
    let outside = |name: &str| ["pipe:", "socket:", "file["].iter().any(|kind| name.starts_with(kind));
    let first = |(fd, name): &(usize, &String)| outside(name) && !stdio[..*fd].contains(name);
    stdio.iter().enumerate().take(3).filter(first).map(|(fd, name)| format!("fd[{fd}]:{name}").into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn pipes_are_named_and_files_of_the_host_are_external() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let outside = of(pid, &[]);
        let own = crate::mountinfo::parse(&fs::read("/proc/self/mountinfo").unwrap());
        let inside = of(pid, &own);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(outside[0].starts_with("file[") && outside[1].starts_with("pipe:["), "{outside:?}");
        assert_eq!(inside[0], "/dev/null");
    }

    #[test]
    fn what_is_shared_is_inherited_once_and_paths_are_the_containers() {
        let stdio = ["/dev/null", "pipe:[7]", "pipe:[7]"].map(str::to_owned);
        assert_eq!(inherit(&stdio), ["fd[1]:pipe:[7]"]);
        let stdio = ["file[19:4]", "pipe:[7]", "socket:[8]"].map(str::to_owned);
        assert_eq!(inherit(&stdio), ["fd[0]:file[19:4]", "fd[1]:pipe:[7]", "fd[2]:socket:[8]"]);
        assert_eq!(external(&stdio), ["file[19:4]"]);
    }

    #[test]
    fn a_fifo_in_their_place_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join(FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(inherited(dir.path()).unwrap_err().to_string().contains("EOF while parsing"));
    }

    #[test]
    fn they_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(inherited(dir.path()).unwrap_err().to_string().contains("is this the directory of a checkpoint?"));
        let precious = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(precious.path(), dir.path().join(FILE)).unwrap();
        save(dir.path(), &["/dev/null".into(), "pipe:[7]".into(), String::new()]).unwrap();
        assert_eq!(precious.as_file().metadata().unwrap().len(), 0, "by a link nothing is written");
        assert_eq!(inherited(dir.path()).unwrap(), ["fd[1]:pipe:[7]"]);
    }
}
