//! What the kernel says of one process, and a handle to signal it by.

use crate::passwd;
use crate::sys::pidfd;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The facts of `/proc/PID/stat` that a status, and a family, are derived from.
pub(crate) struct Stat {
    /// Neither a zombie nor on its way out.
    pub alive: bool,
    /// By SIGSTOP or one of its kind, until SIGCONT.
    pub stopped: bool,
    /// 0 when it is outside of the caller's pid namespace.
    pub parent: i32,
    /// Clock ticks since boot.
    pub start_time: u64,
}

impl Stat {
    /// `None`: there is no such process. What the kernel does not tell is an error, and not an end.
    pub fn of(pid: i32) -> Result<Option<Stat>> {
        let path = format!("/proc/{pid}/stat");
        // The longest name and the largest numbers fit, up to the last field that is asked for.
        let mut line = [0; 1024];
        let read = File::open(&path).and_then(|mut file| {
            loop {
                match file.read(&mut line) {
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    read => return read,
                }
            }
        });
        match read {
            Ok(length) => Ok(Stat::parse(&line[..length])),
            Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(e) => Err(Error::new(format!("cannot read {path}")).cause(e)),
        }
    }

    /// proc_pid_stat(5). The second field is the command's name in parentheses and may hold anything, `)` and spaces too:
    /// the fields are counted from the last `)`.
    pub fn parse(text: &[u8]) -> Option<Stat> {
        let after = text.iter().rposition(|&b| b == b')')? + 1;
        let rest = std::str::from_utf8(&text[after..]).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // Fields 3 and 4 are taken; field 22 is the eighteenth from there.
        let start_time = fields.nth(17)?.parse().ok()?;
        Some(Stat { alive: !matches!(state, "Z" | "X" | "x"), stopped: state == "T", parent, start_time })
    }
}

/// A process that stays the same one, whatever becomes of its number; `None` if there is none.
pub(super) fn open(pid: i32) -> Result<Option<OwnedFd>> {
    match pidfd::pidfd_open(Pid::from_raw(pid)) {
        Ok(process) => Ok(Some(process)),
        // EINVAL: no process can have that number.
        Err(Errno::ESRCH | Errno::EINVAL) => Ok(None),
        Err(e) => Err(Error::new(format!("cannot refer to process {pid} (pidfd_open)")).cause(e)),
    }
}

/// The link of its mount namespace; `None` if there is no such process, or the caller may not look into it.
pub(super) fn mount_namespace(pid: i32) -> Result<Option<PathBuf>> {
    let path = format!("/proc/{pid}/ns/mnt");
    match fs::read_link(&path) {
        Ok(link) => Ok(Some(link)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(Error::new(format!("cannot read {path}")).cause(e)),
    }
}

/// Its root directory, to go there.
pub(super) fn root(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/root");
    let opened = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&path);
    opened.map(OwnedFd::from).map_err(|e| Error::new(format!("cannot open {path}")).cause(e))
}

/// The children of its main thread (proc_tid_children(5)).
pub(crate) fn children(pid: i32) -> Result<Vec<i32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = match fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        read => read.map_err(|e| Error::new(format!("cannot read {path}")).cause(e))?,
    };
    Ok(text.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// The name of a user, for people; `#UID` when none can be found.
pub(super) fn name(uid: u32) -> String {
    let entry = passwd::entry(uid).ok().flatten();
    entry.map_or_else(|| format!("#{uid}"), |entry| entry.name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = |state: &str| format!("7 (a) Z 1 (b) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 99\n");
        let found = Stat::parse(stat("S").as_bytes()).unwrap();
        assert!(found.alive && found.parent == 1 && found.start_time == 4242);
        assert!(!Stat::parse(stat("Z").as_bytes()).unwrap().alive);
        assert!(!found.stopped && Stat::parse(stat("T").as_bytes()).unwrap().stopped);
        assert!(Stat::parse(b"7 (a) S 1 2").is_none() && Stat::parse(b"").is_none());
    }

    #[test]
    fn a_user_without_a_name_is_shown_by_number() {
        assert_eq!((name(0).as_str(), name(4_294_967_294).as_str()), ("root", "#4294967294"));
    }

    #[test]
    fn start_time_is_the_kernels() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(Stat::of(own).unwrap().is_some_and(|s| s.alive && s.start_time > 0));
        assert!(Stat::of(-1).unwrap().is_none());
    }
}
