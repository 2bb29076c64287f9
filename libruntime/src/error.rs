//! The one error type: made where the facts are, printed once, in `main`.

use std::fmt;
use std::io::Write;
use std::path::Path;

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
    /// What else is wrong, each to be told in a line of its own.
    pub more: Box<[Error]>,
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that says only what.
    pub fn new(what: impl Into<String>) -> Self {
        Error { place: None, what: what.into(), cause: None, hint: None, code: 1, more: Box::default() }
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
    /// Names a place by where the user finds it.
    pub fn of(mut self, sources: Sources) -> Self {
        self.place = self.place.map(|place| sources.named(&place).unwrap_or(place));
        self.more = self.more.into_iter().map(|error| error.of(sources)).collect();
        self
    }
    /// One that stands for all of them, if there are any.
    pub fn all(errors: impl IntoIterator<Item = Error>) -> Result<()> {
        let mut errors = errors.into_iter();
        errors.next().map_or(Ok(()), |first| Err(first.and(errors)))
    }
    /// With others, but for those of a place of which there is one already.
    pub fn and(mut self, others: impl IntoIterator<Item = Error>) -> Self {
        let mut more = std::mem::take(&mut self.more).into_vec();
        for other in others {
            if std::iter::once(&self).chain(&more).all(|one| one.place.is_none() || one.place != other.place) {
                more.push(other);
            }
        }
        self.more = more.into();
        self
    }
    /// Each of those that it stands for.
    pub fn each(mut self) -> Vec<Error> {
        let more = std::mem::take(&mut self.more);
        std::iter::once(self).chain(more.into_iter().flat_map(Error::each)).collect()
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
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
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

/// Where the user finds what stands in config.json and its member `process`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The file that was read as config.json; none for one that exists only in memory.
    pub config: Option<&'a Path>,
    /// A file that was read in place of `process`.
    pub process: Option<&'a Path>,
    /// Members of `process`, each with the option that was given in its place.
    pub options: &'a [(&'static str, &'static str)],
}

impl<'a> Sources<'a> {
    /// Of one file alone.
    pub fn config(config: Option<&'a Path>) -> Self {
        Sources { config, ..Sources::default() }
    }

    /// Of a place in config.json the option that holds it, or the place in the file that was read.
    fn named(&self, place: &str) -> Option<String> {
        let rest = place.strip_prefix("config.json")?;
        let inside = rest.strip_prefix(": process").filter(|rest| rest.is_empty() || rest.starts_with('.'));
        let of = |member: &str| {
            inside?.strip_prefix('.')?.strip_prefix(member).filter(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let option = self.options.iter().find(|(member, _)| of(member).is_some());
        match (option, self.process, inside) {
            (Some((_, option)), ..) => Some((*option).to_owned()),
            (None, Some(file), Some("")) => Some(file.display().to_string()),
            (None, Some(file), Some(inside)) => Some(format!("{}: {}", file.display(), &inside[1..])),
            _ => self.config.map(|file| format!("{}{rest}", file.display())),
        }
    }
}

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
    fn a_place_is_in_the_file_that_was_read() {
        let place = |place: &str, config: &str, process: &str| {
            let path = |text| Some(Path::new(text)).filter(|path| *path != Path::new(""));
            let options = &[("user.additionalGids", "--gids"), ("user", "--user")];
            Error::new("x").at(place).of(Sources { config: path(config), process: path(process), options }).to_string()
        };
        for (at, config, process, wanted) in [
            ("config.json: mounts[3]", "", "", "config.json: mounts[3]: x"),
            ("config.json: mounts[3]", "/a.json", "/p.json", "/a.json: mounts[3]: x"),
            ("config.json", "/a.json", "", "/a.json: x"),
            ("config.json: process.cwd", "/a.json", "p.json", "p.json: cwd: x"),
            ("config.json: process", "", "p.json", "p.json: x"),
            ("config.json: processes", "", "p.json", "config.json: processes: x"),
            ("config.json: process.cwd", "/a.json", "", "/a.json: process.cwd: x"),
            ("/b/config.json: cwd", "/a.json", "p.json", "/b/config.json: cwd: x"),
            ("config.json: process.user.uid", "/a.json", "p.json", "--user: x"),
            ("config.json: process.users", "/a.json", "", "/a.json: process.users: x"),
            ("config.json: user", "/a.json", "", "/a.json: user: x"),
        ] {
            assert_eq!(place(at, config, process), wanted);
        }
        let more = Error::new("x").and([Error::new("y").at("config.json: root")]).of(Sources::config(Some("/a.json".as_ref())));
        assert_eq!(more.each()[1].to_string(), "/a.json: root: y");
    }

    #[test]
    fn an_error_that_stands_for_several_has_one_of_each_place() {
        let at = |place: &str| Error::new("x").at(place);
        let all = Error::all([at("a"), at("b"), at("a")]).unwrap_err().and([at("c"), at("b"), Error::new("y"), Error::new("z")]);
        let told: Vec<String> = all.each().iter().map(Error::to_string).collect();
        assert_eq!(told, ["a: x", "b: x", "c: x", "y", "z"]);
        assert_eq!(Error::all([]), Ok(()));
    }

    #[test]
    fn a_line_is_one_line_and_no_orders_to_a_terminal() {
        let long = line(&"é".repeat(1 << 20));
        assert!(long.len() < 10_300 && long.contains(" [2086912 bytes] "), "{}", long.len());
        assert_eq!(line("a \"b\" é\n\0\x1b[2J\u{9b}"), "a \"b\" é\\n\\u{0}\\u{1b}[2J\\u{9b}");
    }
}
