//! An engine's command line: its program with everything that keeps it in its own place. Every call has a time limit.

use super::inside::Site;
use crate::actor::Actor;
use crate::launch::{Launch, Ran, Running};
use crate::report::{No, Verdict, fail};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A program, its first words, and who calls it.
#[derive(Clone)]
pub struct Cli {
    words: Vec<String>,
    env: Vec<(String, String)>,
    actor: Actor,
    dir: PathBuf,
}

impl Cli {
    /// `program`, called by `actor` with a private home.
    pub fn new(site: &Site, actor: &Actor, words: &[&str]) -> Cli {
        let dir = site.home(actor);
        let env = vec![("TMPDIR".to_string(), dir.join("tmp").display().to_string())];
        let actor = Actor { home: dir.clone(), ..actor.clone() };
        Cli { words: words.iter().map(|w| w.to_string()).collect(), env, actor, dir }
    }

    /// The same with one more variable.
    pub fn env(mut self, name: &str, value: impl ToString) -> Cli {
        self.env.push((name.into(), value.to_string()));
        self
    }

    /// The same with more words before the subcommand.
    pub fn with(&self, words: &[&str]) -> Cli {
        let mut cli = self.clone();
        cli.words.extend(words.iter().map(|w| w.to_string()));
        cli
    }

    /// The same behind another program and its words.
    pub fn behind(&self, program: &std::path::Path, words: &[&str]) -> Cli {
        let before = std::iter::once(program.display().to_string()).chain(words.iter().map(|w| w.to_string()));
        Cli { words: before.chain(self.words.clone()).collect(), ..self.clone() }
    }

    /// Where its user's files are.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Writes a file that its user owns.
    pub fn put(&self, name: &str, text: &str) -> Result<String, No> {
        let file = self.dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap_or(&self.dir))?;
        std::fs::write(&file, text)?;
        self.actor.own(file.parent().unwrap_or(&file))?;
        Ok(file.display().to_string())
    }

    fn launch(&self, words: &[&str], stdin: &str) -> Launch {
        let argv: Vec<&str> = self.words.iter().map(String::as_str).chain(words.iter().copied()).collect();
        Launch { env: self.env.clone(), stdin: stdin.into(), ..Launch::new(&argv, &self.dir) }
    }

    /// Starts a call.
    pub fn start(&self, words: &[&str]) -> Result<Running, No> {
        Ok(self.launch(words, "").start(&self.actor)?)
    }

    /// One call, to its end.
    pub fn run(&self, words: &[&str]) -> Result<Ran, No> {
        self.fed(words, "")
    }

    /// One call that has something to read.
    pub fn fed(&self, words: &[&str], stdin: &str) -> Result<Ran, No> {
        Ok(self.launch(words, stdin).start(&self.actor)?.finish_beside_others()?)
    }

    /// One call that must succeed; what it says, without the last line's end.
    pub fn said(&self, words: &[&str]) -> Result<String, No> {
        let ran = self.run(words)?;
        ran.code_is(0)?;
        Ok(ran.out.trim_end().into())
    }

    /// One call on a terminal of its own, which has [`ROWS`] and [`COLUMNS`].
    pub fn on_terminal(&self, words: &[&str]) -> Result<Ran, No> {
        let line = format!("stty rows {ROWS} cols {COLUMNS}; {}", self.line(words));
        self.instead(&["script", "-qefc", &line, "/dev/null"])
    }

    /// One call by a shell that does something before.
    pub fn in_shell(&self, before: &str, words: &[&str]) -> Result<Ran, No> {
        self.instead(&["/bin/sh", "-c", &format!("{before}; exec {}", self.line(words))])
    }

    fn line(&self, words: &[&str]) -> String {
        let call = self.words.iter().map(String::as_str).chain(words.iter().copied()).map(crate::launch::quoted);
        call.collect::<Vec<_>>().join(" ")
    }

    fn instead(&self, words: &[&str]) -> Result<Ran, No> {
        Cli { words: words.iter().map(|w| w.to_string()).collect(), ..self.clone() }.run(&[])
    }
}

/// The terminal of [`Cli::on_terminal`].
pub const ROWS: u16 = 33;
/// Its width.
pub const COLUMNS: u16 = 101;

/// How long something that must come may take; on a loaded machine the slowest is a daemon's start.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Asks until the answer is as expected.
pub fn until(what: &str, expected: &str, ask: impl Fn() -> Result<String, No>) -> Verdict {
    let end = Instant::now() + PATIENCE;
    loop {
        let got = ask()?;
        if got == expected {
            return Ok(());
        }
        if Instant::now() > end {
            return fail(what, expected, got);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until something holds.
pub fn holds(what: &str, ask: impl Fn() -> bool) -> Verdict {
    until(what, "true", || Ok(ask().to_string()))
}

/// A value that must be another.
pub fn equal(what: &str, got: impl ToString, expected: impl ToString) -> Verdict {
    let (got, expected) = (got.to_string(), expected.to_string());
    if got == expected { Ok(()) } else { fail(what, expected, got) }
}
