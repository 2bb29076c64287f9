//! An attempt that is one system call: as data, made by every entry.

use super::entry::{ENTRIES, Entry};
use super::{Attempt, Wall, World, absent};
use crate::outcome::{Fail, Outcome};
use crate::syscall::{Arg, call, page, text};

/// One argument.
#[derive(Debug, Clone, Copy)]
pub enum Word {
    /// A number.
    N(i64),
    /// The address of a text, in which `{w}` and the like are filled in.
    T(&'static str),
    /// The address of numbers of 64 bits.
    Q(&'static [u64]),
    /// The address of a page of zeros.
    Room,
    /// A descriptor of that path, opened to read.
    Read(&'static str),
    /// A descriptor of that path by O_PATH.
    Path(&'static str),
    /// The end of a pipe that is written to; it has a byte in it.
    Pipe,
    /// The process outside.
    Pid,
    /// Another number of something outside, if there is one.
    Is(&'static str),
    /// A descriptor of the host's message queue.
    Queue,
}

/// What shows that it got through.
#[derive(Debug, Clone, Copy)]
pub enum Through {
    /// Success.
    Done,
    /// An errno that is only found behind the question whether one may: where success would do harm.
    Past(i32),
    /// A descriptor, of a directory or of something that is not empty.
    Read,
    /// A child was made.
    Child,
    /// Success, and nothing to say.
    Idle,
}

/// One line of a table.
pub struct Row {
    pub wall: Wall,
    pub name: &'static str,
    pub call: &'static str,
    pub words: &'static [Word],
    pub through: Through,
}

pub const fn row(wall: Wall, name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    Row { wall, name, call, words, through: Through::Done }
}

/// A call with which success would do harm: `errno` is what it says instead, once it has found that we may.
pub const fn past(errno: i32, name: &'static str, call: &'static str, words: &'static [Word]) -> Row {
    Row { wall: Wall::Always, name, call, words, through: Through::Past(errno) }
}

impl Row {
    /// By every entry.
    pub fn attempts<'a>(&'a self, world: &'a World) -> impl Iterator<Item = Attempt<'a>> {
        self.at("", world)
    }

    /// The same about a target: `{t}` in its texts, `{d}` its directory.
    pub fn at<'a>(&'a self, target: &'a str, world: &'a World) -> impl Iterator<Item = Attempt<'a>> {
        ENTRIES.iter().map(move |entry| {
            let at = if target.is_empty() { String::new() } else { format!(" {target}") };
            let run = move || self.attempt(*entry, target, world);
            Attempt::new(self.wall, format!("{}\t{}{at}", entry.name(), self.name), run).by(std::slice::from_ref(&self.call))
        })
    }

    fn attempt(&self, entry: Entry, target: &str, world: &World) -> Outcome {
        let Some(number) = entry.number(self.call) else { return absent() };
        let mut words = [0; 6];
        for (word, from) in words.iter_mut().zip(self.words) {
            *word = from.value(target, world)?;
        }
        match (entry.call(number, words), self.through) {
            // The child that was made.
            (Ok(0), Through::Child) => std::process::exit(0),
            (Ok(fd), Through::Read) => read(fd),
            (Ok(n), Through::Idle) if n > 0 => crate::outcome::word("closed", n),
            (Ok(n), _) => Ok(format!("{} = {n}", self.call)),
            (Err(errno), Through::Past(past)) if errno == past => Ok(format!("{}: past the question", self.call)),
            (Err(errno), _) => Err(Fail::Errno(errno)),
        }
    }
}

impl Word {
    fn value(self, target: &str, world: &World) -> Result<i64, Fail> {
        let above = target.rsplit_once('/').map_or("/", |(above, _)| above);
        let fill = |template: &str| world.fill(&template.replace("{t}", target).replace("{d}", above));
        Ok(match self {
            Word::N(n) => n,
            Word::T(template) => page(text(&fill(template)).as_bytes_with_nul())?,
            Word::Q(words) => page(&words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>())?,
            Word::Room => page(&[])?,
            Word::Read(path) => open(&fill(path), libc::O_RDONLY | libc::O_NONBLOCK)?,
            Word::Path(path) => open(&fill(path), libc::O_PATH)?,
            Word::Pipe => pipe()?.1,
            Word::Pid => world.pid()?,
            Word::Is(name) => world.number(name).map_or_else(absent, Ok)?,
            Word::Queue => {
                let (name, flags) = (text(&world.fill("{mq}")), libc::O_RDWR | libc::O_NONBLOCK);
                call(libc::SYS_mq_open, [Arg::Text(&name), Arg::Int(flags.into()), Arg::Int(0), Arg::Null])?
            }
        })
    }
}

/// Both ends, a byte in it.
pub fn pipe() -> Result<(i64, i64), Fail> {
    let mut ends = [0; 8];
    call(libc::SYS_pipe2, [Arg::Out(&mut ends), Arg::Int(0)])?;
    let [a, b, c, d, e, f, g, h] = ends;
    let (from, to) = (i32::from_ne_bytes([a, b, c, d]).into(), i32::from_ne_bytes([e, f, g, h]).into());
    call(libc::SYS_write, [Arg::Int(to), Arg::In(b"X"), Arg::Int(1)])?;
    Ok((from, to))
}

fn read(fd: i64) -> Outcome {
    match call(libc::SYS_read, [Arg::Int(fd), Arg::Out(&mut [0]), Arg::Int(1)]) {
        Ok(0) => crate::outcome::word("empty", ""),
        Ok(_) => Ok("a byte of it".into()),
        Err(libc::EISDIR) => Ok("a directory".into()),
        Err(errno) => Err(Fail::Errno(errno)),
    }
}

/// A descriptor, or why the attempt does not come about.
pub fn open(path: &str, flags: i32) -> Result<i64, Fail> {
    let (at, path) = (Arg::Int(libc::AT_FDCWD.into()), text(path));
    Ok(call(libc::SYS_openat, [at, Arg::Text(&path), Arg::Int(flags.into()), Arg::Int(0)])?)
}
