//! What a deny pattern means, component by component: how far it has got in one directory says which names it takes there and where it
//! can still match below, so that a search enters nothing else. Pure.
//!
//! The meaning is that of the crate globset, with which Codex matches (`*` and `?` stop at `/`), and the tests compare the two; but
//! here `[!a]` stops at `/` too. It is not used itself: it judges whole paths by a regular expression, and cannot say that below this
//! directory nothing can match any more.

use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A pattern that begins so is relative to each workspace root.
pub const WORKSPACE: &str = "codex-project-roots://";
/// More alternatives than these in one pattern are a mistake.
const MAX_CHOICES: usize = 1024;

/// As are more braces, and more bytes, than these; both bound the time that it takes to read one.
const MAX_BRACES: usize = 64;
const MAX_BYTES: usize = 16 << 10;

/// One pattern without `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The directory below which it can match: everything before the first component that is no plain name.
    pub base: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of directories; at the end everything below.
    Deep,
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Run,
    /// `[a-z]`, `[!a-z]`
    Class {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// The patterns that `text`, relative to `below`, stands for: one for each choice of `{a,b}`.
    pub fn parse(below: &Path, text: &str) -> Result<Vec<Pattern>> {
        if text.len() > MAX_BYTES {
            return Err(Error::new(format!("a pattern of {} bytes; {MAX_BYTES} are the most", text.len())));
        }
        let mut choices = Vec::new();
        if braces(text) > MAX_BRACES {
            return Err(Error::new(format!("more than {MAX_BRACES} braces in the pattern `{text}`")));
        }
        choose(String::new(), text, &mut choices).map_err(|what| Error::new(format!("{what} in the pattern `{text}`")))?;
        Ok(choices.iter().map(|choice| Pattern::plain(below, choice)).collect())
    }

    fn plain(below: &Path, text: &str) -> Pattern {
        let mut parts = text.split('/').filter(|part| !matches!(*part, "" | ".")).map(Part::parse).peekable();
        let mut base = below.to_path_buf();
        while let Some(name) = parts.peek().and_then(Part::literal) {
            base.push(name);
            parts.next();
        }
        let mut parts: Vec<Part> = parts.collect();
        parts.dedup_by(|next, part| (&*next, &*part) == (&Part::Deep, &Part::Deep)); // `**/**` is `**`
        Pattern { base, parts }
    }

    /// Whether it matches `path`, by words alone.
    pub fn matches(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.base) else { return false };
        let one = std::slice::from_ref(self);
        let mut reached = (self.is_exact(), Progress::start(one));
        for name in below {
            reached = reached.1.step(one, name);
        }
        reached.0
    }

    /// Whether it names one path, its base.
    pub fn is_exact(&self) -> bool {
        self.parts.is_empty()
    }
}

/// How far a set of patterns has got in one directory: (pattern, part).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress(Vec<(u32, u32)>);

impl Progress {
    /// In the directory that is the base of them all.
    pub fn start(patterns: &[Pattern]) -> Progress {
        let mut progress = Progress::default();
        (0..patterns.len()).for_each(|i| progress.reach(patterns, i as u32, 0));
        progress
    }

    /// Whether nothing below can match.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a name in the directory is matched, and how far the patterns have got below it.
    pub fn step(&self, patterns: &[Pattern], name: &OsStr) -> (bool, Progress) {
        let (mut hit, mut below) = (false, Progress::default());
        for (pattern, at) in &self.0 {
            let parts = &patterns[*pattern as usize].parts;
            let last = *at as usize + 1 == parts.len();
            match &parts[*at as usize] {
                Part::Deep => {
                    hit |= last;
                    below.reach(patterns, *pattern, *at);
                }
                Part::Name(tokens) if takes(tokens, name.as_bytes()) => {
                    hit |= last;
                    below.reach(patterns, *pattern, *at + 1);
                }
                Part::Name(_) => {}
            }
        }
        (hit, below)
    }

    /// `**` may also stand for no directory at all.
    fn reach(&mut self, patterns: &[Pattern], pattern: u32, at: u32) {
        let parts = &patterns[pattern as usize].parts;
        // Those of one pattern follow each other.
        let mut same = self.0.iter().rev().take_while(|(of, _)| *of == pattern);
        if (at as usize) < parts.len() && !same.any(|(_, known)| *known == at) {
            self.0.push((pattern, at));
            if parts[at as usize] == Part::Deep {
                self.reach(patterns, pattern, at + 1);
            }
        }
    }
}

impl Part {
    fn parse(text: &str) -> Part {
        if text == "**" { Part::Deep } else { Part::Name(tokens(text)) }
    }

    fn literal(&self) -> Option<OsString> {
        let Part::Name(tokens) = self else { return None };
        let byte = |token: &Token| if let Token::Byte(byte) = token { Some(*byte) } else { None };
        tokens.iter().map(byte).collect::<Option<Vec<u8>>>().map(OsString::from_vec)
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let mut after = &rest[first.len_utf8()..];
        match first {
            '?' => tokens.push(Token::One),
            '*' if tokens.last() == Some(&Token::Run) => {}
            '*' => tokens.push(Token::Run),
            '[' if let Some((class, end)) = class(after) => {
                tokens.extend(class);
                after = &after[end..];
            }
            '\\' if let Some(escaped) = after.chars().next() => {
                tokens.extend(bytes(escaped));
                after = &after[escaped.len_utf8()..];
            }
            plain => tokens.extend(bytes(plain)), // a `[` that is not closed, too
        }
        rest = after;
    }
    tokens
}

fn bytes(c: char) -> Vec<Token> {
    c.encode_utf8(&mut [0; 4]).bytes().map(Token::Byte).collect()
}

/// What stands behind a `[`: its tokens, and where it ends. A class of one character is that character.
fn class(text: &str) -> Option<(Vec<Token>, usize)> {
    let body = text.strip_prefix(['!', '^']).unwrap_or(text);
    let not = body.len() < text.len();
    let close = body.char_indices().skip(1).find(|(_, c)| *c == ']')?.0;
    let chars: Vec<char> = body[..close].chars().collect();
    let (mut ranges, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        let range = chars.get(i + 1) == Some(&'-') && i + 2 < chars.len();
        let last = if range { chars[i + 2] } else { chars[i] };
        ranges.push((chars[i], last));
        i += if range { 3 } else { 1 };
    }
    let tokens = match ranges[..] {
        [(one, same)] if !not && one == same => bytes(one),
        _ => vec![Token::Class { not, ranges }],
    };
    Some((tokens, text.len() - body.len() + close + 1))
}

/// Whether the tokens take the whole name. A star that has taken too little takes one byte more: only the last one ever has to.
fn takes(tokens: &[Token], name: &[u8]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() || t < tokens.len() {
        let step = match tokens.get(t) {
            Some(Token::Run) => {
                star = Some((t, n));
                t += 1;
                continue;
            }
            Some(token) => token.take(&name[n..]),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => (t, n) = (t + 1, n + length),
            (None, Some((at, from))) if from < name.len() => {
                star = Some((at, from + 1));
                (t, n) = (at + 1, from + 1);
            }
            (None, _) => return false,
        }
    }
    true
}

impl Token {
    /// How many bytes of the name it takes.
    fn take(&self, name: &[u8]) -> Option<usize> {
        match self {
            Token::Byte(byte) => (name.first() == Some(byte)).then_some(1),
            Token::One => first(name).map(|(_, length)| length),
            Token::Class { not, ranges } => {
                let (c, length) = first(name)?;
                (ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *not).then_some(length)
            }
            Token::Run => None,
        }
    }
}

/// The first character of a name; a byte that is none counts as one.
fn first(name: &[u8]) -> Option<(char, usize)> {
    let length = (1..=name.len().min(4)).find(|n| std::str::from_utf8(&name[..*n]).is_ok());
    match length {
        Some(n) => std::str::from_utf8(&name[..n]).ok()?.chars().next().map(|c| (c, n)),
        None => name.first().map(|_| (char::REPLACEMENT_CHARACTER, 1)),
    }
}

/// Those that are no mere characters.
fn braces(text: &str) -> usize {
    let mut bytes = text.bytes();
    let escaped = |byte: u8, bytes: &mut std::str::Bytes| byte == b'\\' && bytes.next().is_some();
    std::iter::from_fn(|| bytes.next().map(|byte| !escaped(byte, &mut bytes) && byte == b'{')).filter(|open| *open).count()
}

/// Writes `{a,b}` out. Brackets hide braces, and a backslash the next character.
fn choose(done: String, text: &str, all: &mut Vec<String>) -> Result<(), &'static str> {
    let Some(open) = find(text, |c, depth| c == '{' && depth == 1)? else {
        all.push(done + text);
        return if all.len() > MAX_CHOICES { Err("too many alternatives") } else { Ok(()) };
    };
    let inside = &text[open + 1..];
    let close = find(inside, |c, depth| c == '}' && depth == 0)?.ok_or("a `{` that is not closed")?;
    let (mut list, after) = (&inside[..close], &inside[close + 1..]);
    loop {
        let comma = find(list, |c, depth| c == ',' && depth == 1)?;
        let choice = &list[..comma.unwrap_or(list.len())];
        choose(format!("{done}{}", &text[..open]), &format!("{choice}{after}"), all)?;
        match comma {
            Some(comma) => list = &list[comma + 1..],
            None => return Ok(()),
        }
    }
}

/// The first character outside of brackets that `is` wanted; it is told how many braces are open, itself counted, from one on.
fn find(text: &str, is: impl Fn(char, usize) -> bool) -> Result<Option<usize>, &'static str> {
    let (mut depth, mut skip) = (1, 0);
    for (at, c) in text.char_indices() {
        if at < skip {
            continue;
        }
        match c {
            '\\' => skip = at + 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '[' => skip = at + 1 + class(&text[at + 1..]).map_or(0, |(_, end)| end),
            '{' if !is(c, depth) => depth += 1,
            '}' if depth == 1 && !is(c, 0) => return Err("a `}` without a `{`"),
            '}' if depth > 1 => depth -= 1,
            _ if is(c, if c == '}' { 0 } else { depth }) => return Ok(Some(at)),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_any_number_of_braces() {
        let name = "{".repeat(MAX_BRACES + 1);
        let pattern = |text: &str| Pattern::parse(Path::new("/w"), text);
        assert!(pattern(&name.replace('{', "\\{")).unwrap()[0].matches(&Path::new("/w").join(&name)));
        assert!(pattern(&name).is_err() && pattern(&name.replace('{', "\\\\{")).is_err());
    }

    #[test]
    fn no_pattern_takes_long_to_read_or_to_match() {
        let parse = |text: &str| Pattern::parse(Path::new("/"), text);
        for bomb in ["{".repeat(100_000), "{a,".repeat(65) + &"}".repeat(65), "[".repeat(100_000), "{a,b}".repeat(12)] {
            assert!(parse(&bomb).is_err(), "{}", &bomb[..9]);
        }
        let name = "a".repeat(255);
        let many: Vec<Pattern> = (0..2000).flat_map(|n| parse(&format!("w/**/{n}*{}b", "*a".repeat(9))).unwrap()).collect();
        let deep = parse(&format!("w/{}{}b", "**/*/".repeat(99), "*a".repeat(200))).unwrap();
        let wild = parse(&format!("w/{}x", "**/".repeat(999))).unwrap();
        assert_eq!(wild[0].parts.len(), 2);
        let started = std::time::Instant::now();
        for patterns in [&many, &deep, &wild] {
            let mut progress = Progress::start(patterns);
            for _ in 0..50 {
                progress = progress.step(patterns, OsStr::new(&name)).1;
            }
            assert!(!progress.is_over());
        }
        // Quadratic in the number of patterns it took minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    /// Whether any of the patterns takes the path or a directory above it.
    fn hits(patterns: &[Pattern], path: &str) -> bool {
        let of = |pattern: &Pattern| {
            let all = std::slice::from_ref(pattern);
            let Ok(below) = Path::new(path).strip_prefix(&pattern.base) else { return false };
            let mut progress = Progress::start(all);
            let mut hit = pattern.is_exact();
            for name in below.iter() {
                let (now, next) = progress.step(all, name);
                (hit, progress) = (now, next);
            }
            hit
        };
        patterns.iter().any(of)
    }

    fn parse(text: &str) -> Vec<Pattern> {
        Pattern::parse(Path::new("/"), text).unwrap()
    }

    #[test]
    fn a_pattern_takes_what_it_says() {
        for (pattern, yes, no) in [
            ("/w/**/*.env", &["/w/.env", "/w/a.env", "/w/a/b/c.env"][..], &["/w", "/w/env", "/x/a.env", "/w/a.env/x"][..]),
            ("/srv/**/id_*", &["/srv/id_rsa", "/srv/a/id_"], &["/srv/a/xid_", "/id_rsa"]),
            ("/w/*/key", &["/w/a/key"], &["/w/key", "/w/a/b/key"]),
            ("/w/**", &["/w/a", "/w/a/b"], &["/w", "/x"]),
            ("/w/a**b", &["/w/ab", "/w/axb"], &["/w/a/b"]),
            ("/w/?.c", &["/w/x.c", "/w/ü.c"], &["/w/.c", "/w/xy.c"]),
            ("/w/[a-c]x[!0-9]", &["/w/axz"], &["/w/dxz", "/w/ax0", "/w/ax"]),
            ("/w/[x", &["/w/[x"], &["/w/x"]),
            ("/w/[]]", &["/w/]"], &["/w/["]),
            ("/w/\\*.env", &["/w/*.env"], &["/w/a.env"]),
            ("/w/{a,b{c,d}}.{x,}", &["/w/a.x", "/w/bc.", "/w/bd.x"], &["/w/b.x", "/w/c.x"]),
            ("/w/[{]{[,],b}", &["/w/{,", "/w/{b"], &["/w/[{]b"]),
            ("/w/a", &["/w/a"], &["/w", "/w/b"]),
        ] {
            let all = parse(pattern);
            yes.iter().for_each(|path| assert!(hits(&all, path), "{pattern} {path}"));
            no.iter().for_each(|path| assert!(!hits(&all, path), "{pattern} {path}"));
        }
    }

    #[test]
    fn the_base_is_what_needs_no_search() {
        for (pattern, base) in [("/w/a/**/x", "/w/a"), ("/w/a[*]b/c?", "/w/a*b"), ("/**/x", "/"), ("/w//./x", "/w/x")] {
            assert_eq!(parse(pattern)[0].base, Path::new(base), "{pattern}");
        }
        assert!(parse("/w/x")[0].is_exact());
    }

    #[test]
    fn what_cannot_match_below_is_over() {
        let all = parse("/w/*/x/*.pem");
        let below = |progress: &Progress, name: &str| progress.step(&all, OsStr::new(name)).1;
        let start = Progress::start(&all);
        assert!(below(&below(&start, "a"), "y").is_over());
        assert!(!below(&below(&start, "a"), "x").is_over());
        assert!(below(&below(&below(&start, "a"), "x"), "b.pem").is_over());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (text, what) in [("/w/{a", "not closed"), ("/w/a}", "without a `{`"), ("/w/{a,{b,c}", "not closed")] {
            assert!(Pattern::parse(Path::new("/"), text).unwrap_err().what.contains(what), "{text}");
        }
        let many = format!("/w/{}", "{a,b}".repeat(11));
        assert!(Pattern::parse(Path::new("/"), &many).unwrap_err().what.starts_with("too many"));
    }

    #[test]
    fn names_that_are_not_text_are_matched_too() {
        let name = OsString::from_vec(b"\xff\xfe.env".to_vec());
        let all = parse("/w/??.env");
        assert!(Progress::start(&all).step(&all, &name).0);
    }

    /// Small and repeatable: Marsaglia's xorshift.
    fn roll(seed: &mut u64, sides: usize) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed % sides as u64) as usize
    }

    #[test]
    fn globset_says_the_same_of_random_patterns_and_paths() {
        const PATTERN: &[&str] = &["a", "b", "*", "?", "**", "/", "/", "/**/", "[ab]", "{a,b}", "{a,*b}", ".", "\\*"];
        const PATH: &[&str] = &["a", "b", "/", "/", ".", "*", "ab"];
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        let mut word = |list: &[&str]| -> String {
            let text: String = (0..=roll(&mut seed, 6)).map(|_| list[roll(&mut seed, list.len())]).collect();
            format!("/w/{text}").split('/').filter(|part| !matches!(*part, "" | "." | "..")).map(|p| format!("/{p}")).collect()
        };
        let mut compared = 0;
        for _ in 0..3000 {
            let text = word(PATTERN);
            let theirs = globset::GlobBuilder::new(&text).literal_separator(true).build();
            let (Ok(theirs), Ok(ours)) = (theirs, Pattern::parse(Path::new("/"), &text)) else { continue };
            let theirs = theirs.compile_matcher();
            for _ in 0..10 {
                let path = word(PATH);
                assert_eq!(hits(&ours, &path), theirs.is_match(&path), "{text} {path}");
                compared += 1;
            }
        }
        assert!(compared > 20_000, "{compared}");
    }
}
