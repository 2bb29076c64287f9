//! The one error type: made where the facts are, printed once, in `main`.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// What went wrong, where in the user's file, and what to do about it.
///
/// `Display` gives one line, `PLACE: WHAT: CAUSE (HINT)`; the parts that are absent leave no trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// File, line and column, or the path inside it: `policy.json:3:14`, `config.json: mounts[3].source`.
    pub place: Option<String>,
    /// One clause, lower case, no final period, literals in backticks.
    pub what: String,
    /// The source: an errno and the call that gave it.
    pub cause: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
    /// Exit code that `main` leaves with; 1 unless the command itself could not be executed (126, 127).
    pub code: u8,
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What `config.json` is in sentences of this process.
static CONFIG: OnceLock<String> = OnceLock::new();

/// The caller has named another file in place of config.json: from here on places name it.
pub fn name_config(file: &Path) {
    // The first stays: a process makes one container.
    CONFIG.get_or_init(|| file.display().to_string());
}

impl Error {
    /// An error that says only what.
    pub fn new(what: impl Into<String>) -> Self {
        Error { place: None, what: what.into(), cause: None, hint: None, code: 1 }
    }
    /// Names the place in the user's file.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }
    /// Adds the source, e.g. an errno.
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
    /// Adds a remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Says it on standard error: for what has stopped us.
    pub fn tell(&self) {
        say(&format!("error: {self}"));
    }
    /// Says it on standard error as a warning: for what must not stop anything.
    pub fn warn(&self) {
        say(&format!("warning: {self}"));
    }
    /// Sets the exit code.
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.as_deref(), CONFIG.get()) {
            (Some(place), Some(file)) if place.starts_with("config.json") => {
                write!(f, "{}: ", place.replacen("config.json", file, 1))?
            }
            (Some(place), _) => write!(f, "{place}: ")?,
            (None, _) => {}
        }
        f.write_str(&self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " (hint: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// What is told of a sentence, at its beginning and at its end; room for two of the longest paths.
const TOLD: (usize, usize) = (8192, 2048);

/// Says it on standard error: a reason is one line, and one write, so that lines of several processes do not mix.
pub fn say(text: &str) {
    // Who has closed it, or has no room for it, cannot be told, and nothing stops for that.
    let _ = std::io::stderr().write_all(format!("codexrun: {}\n", line(text)).as_bytes());
}

/// A text on one line, with nothing in it that a terminal would obey: names and paths may hold any byte.
pub fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(shown).collect()
}

/// The same of any length, which is not told whole.
pub fn line(text: &str) -> String {
    let line = plain(text);
    match line.len().checked_sub(TOLD.0 + TOLD.1) {
        Some(1..) => {
            let (begin, end) = (line.floor_char_boundary(TOLD.0), line.ceil_char_boundary(line.len() - TOLD.1));
            format!("{} [{} bytes] {}", &line[..begin], end - begin, &line[end..])
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_no_orders_to_a_terminal() {
        let long = line(&"é".repeat(1 << 20));
        assert!(long.len() < 10_300 && long.contains(" [2086912 bytes] "), "{}", long.len());
        assert_eq!(line("a \"b\" é\n\0\x1b[2J\u{9b}"), "a \"b\" é\\n\\u{0}\\u{1b}[2J\\u{9b}");
    }
}
