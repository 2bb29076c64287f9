//! One JSON object a line for each request: refused ones on standard error, and all of them in the file, when there is one.

use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where lines go.
pub struct Log {
    file: Option<File>,
}

impl Log {
    /// Appends to `path`, which is the user's alone if it is made.
    pub fn open(path: Option<&str>) -> Result<Log, String> {
        use std::os::unix::fs::OpenOptionsExt;
        let open = |path| File::options().append(true).create(true).mode(0o600).open(path).map_err(|e| format!("`{path}`: {e}"));
        Ok(Log { file: path.map(open).transpose()? })
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
        // Who cannot be told is no reason to let anything through, or to stop.
        if let Some(mut file) = self.file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
        if refused {
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}
