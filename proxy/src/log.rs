//! One JSON object a line for each request: refused ones on standard error, and all of them in the file, when there is one.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, retry_on_intr};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where lines go.
pub struct Log {
    file: Option<File>,
    /// It has been said that lines are lost.
    full: AtomicBool,
}

impl Log {
    /// Appends to `path`, which is the user's alone if it is made.
    ///
    /// # Errors
    /// It cannot be opened, is no regular file, or a symbolic link lies on the way: where an earlier sandbox could write, it may have put
    /// one there, or a FIFO, to be waited for without end.
    pub fn open(path: Option<&str>) -> Result<Log, String> {
        Ok(Log { file: path.map(append).transpose()?, full: AtomicBool::new(false) })
    }

    /// Whether anybody hears of it.
    pub fn hears(&self, refused: bool) -> bool {
        refused || self.file.is_some()
    }

    /// `event` gets the time; one write, so that lines of several threads do not mix.
    pub fn say(&self, mut event: Value, refused: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        event["time"] = now.as_secs_f64().into();
        let line = format!("{event}\n");
        let lost = self.keep(&line).unwrap_or_default();
        let refused = if refused { line.as_str() } else { "" };
        // Who cannot be told is no reason to let anything through, or to stop.
        let _ = std::io::stderr().write_all([refused, &lost].concat().as_bytes());
    }

    /// Appends to the file. What to say, once, when that cannot be done.
    fn keep(&self, line: &str) -> Option<String> {
        let failed = (&mut self.file.as_ref()?).write_all(line.as_bytes()).err()?;
        let said = self.full.swap(true, Relaxed);
        (!said).then(|| format!("codexrun: warning: the network log lacks requests from here on: {failed}\n"))
    }
}

/// How often a path is tried that openat2(2) could not follow for a rename or a mount anywhere on the machine (EAGAIN).
const TRIES: usize = 128;

fn append(path: &str) -> Result<File, String> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let once = || retry_on_intr(|| openat2(CWD, path, flags, Mode::RUSR | Mode::WUSR, resolve));
    let opened = (1..TRIES).map(|_| once()).find(|opened| !matches!(opened, Err(Errno::AGAIN))).unwrap_or_else(once);
    let file = File::from(opened.map_err(|errno| cannot(path, errno))?);
    match file.metadata() {
        Ok(found) if found.is_file() => Ok(file),
        // A socket, and a FIFO that nobody reads, say this.
        Ok(_) => Err(cannot(path, Errno::NXIO)),
        Err(e) => Err(format!("`{path}`: {e}")),
    }
}

fn cannot(path: &str, errno: Errno) -> String {
    match errno {
        Errno::LOOP => {
            format!("`{path}`: a symbolic link lies on the way, which a sandbox may have made; name the log by its real path")
        }
        Errno::NXIO => format!("`{path}` is no regular file, and takes no log"),
        errno => format!("`{path}`: {errno}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A directory of the test's own, by its real path.
    fn dir(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().canonicalize().unwrap().join(format!("codexrun-proxy-log-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    fn tried(path: &std::path::Path) -> Result<Log, String> {
        Log::open(path.to_str())
    }

    #[test]
    fn a_log_grows_and_is_the_users_alone() {
        let dir = dir("grows");
        let path = dir.join("log");
        for _ in 0..2 {
            tried(&path).unwrap().say(serde_json::json!({}), false);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_a_sandbox_may_have_planted_is_not_written_to() {
        let dir = dir("planted");
        std::fs::create_dir(dir.join("real")).unwrap();
        symlink(dir.join("real/rc"), dir.join("link")).unwrap();
        symlink("real", dir.join("swapped")).unwrap();
        for path in ["link", "swapped/rc"] {
            let why = tried(&dir.join(path)).err().expect(path);
            assert!(why.contains("a symbolic link lies on the way"), "{why}");
        }
        assert!(!dir.join("real/rc").exists());
        assert!(std::process::Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
        let _reader = std::fs::File::options().read(true).write(true).open(dir.join("fifo")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
        for path in ["fifo", "socket"] {
            let why = tried(&dir.join(path)).err().expect(path);
            assert!(why.contains("no regular file"), "{why}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_disk_that_is_full_is_told_once() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let log = Log { file: Some(full), full: AtomicBool::new(false) };
        let said = log.keep("{}\n").unwrap();
        assert!(said.contains("the network log lacks requests") && said.contains("No space left on device"), "{said}");
        assert_eq!(log.keep("{}\n"), None);
        assert_eq!(Log::open(None).unwrap().keep("{}\n"), None);
    }
}
