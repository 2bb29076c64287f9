//! One JSON object a line for each request: refused ones on standard error, and all of them in the file, when there is one.

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
    pub fn open(path: Option<&str>) -> Result<Log, String> {
        use std::os::unix::fs::OpenOptionsExt;
        let open = |path| File::options().append(true).create(true).mode(0o600).open(path).map_err(|e| format!("`{path}`: {e}"));
        Ok(Log { file: path.map(open).transpose()?, full: AtomicBool::new(false) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_full_is_told_once() {
        let log = Log::open(Some("/dev/full")).unwrap();
        let said = log.keep("{}\n").unwrap();
        assert!(said.contains("the network log lacks requests") && said.contains("No space left on device"), "{said}");
        assert_eq!(log.keep("{}\n"), None);
        assert_eq!(Log::open(None).unwrap().keep("{}\n"), None);
    }
}
