//! Where in a JSON text a line and a column lie, as people write it: `mounts[0].destination`. A second deserializer that knows its path
//! would do, at the price of a second copy of every type's code in memory.

use std::ops::Range;
use std::path::Path;

/// What a text is the text of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub file: &'a Path,
    /// Members of config.json: the file holds only what is there, and the text begins with a line that is not the file's.
    pub within: &'a [&'a str],
}

impl<'a> Source<'a> {
    /// A whole config.json.
    pub fn whole(file: &'a Path) -> Self {
        Source { file, within: &[] }
    }

    /// A path of config.json as one of the file.
    pub fn path<'p>(&self, path: &'p str) -> &'p str {
        let inner = |path: &'p str, name: &&str| path.strip_prefix(name).map(|inner| inner.strip_prefix('.').unwrap_or(inner));
        self.within.iter().try_fold(path, inner).unwrap_or(path)
    }

    /// `FILE: PATH`.
    pub fn place(&self, path: &str) -> String {
        format!("{}: {}", self.file.display(), self.path(path))
    }

    /// A line of the text as one of the file.
    pub fn line(&self, line: usize) -> usize {
        line.saturating_sub(usize::from(!self.within.is_empty()))
    }
}

/// Where a text has more bytes than the file, so that what follows in that line has another column.
#[derive(Debug, Default)]
pub(crate) struct Grown(Vec<(usize, usize)>);

impl Grown {
    /// What stands there is replaced by so many bytes, no fewer.
    pub fn at(&mut self, span: Range<usize>, length: usize) {
        let more = length - span.len();
        self.0.iter_mut().filter(|(end, _)| *end > span.start).for_each(|(end, _)| *end += more);
        self.0.push((span.start + length, more));
    }

    /// Of a place in the text.
    pub fn before(&self, text: &[u8], line: usize, column: usize) -> usize {
        let line = begin(text, line).map_or(0..=0, |begin| begin..=begin + column);
        self.0.iter().filter(|(end, _)| line.contains(end)).map(|(_, more)| more).sum()
    }
}

/// One step down. Escapes of a key stay as they are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way by these members.
pub(super) fn way(members: &[&str]) -> Vec<Step> {
    members.iter().map(|name| Step::Key((*name).to_owned())).collect()
}

/// The way to the value that ends at, or holds, this place (both count from 1, columns in bytes); none at the top.
pub(super) fn steps(text: &[u8], line: usize, column: usize) -> Vec<Step> {
    begin(text, line).and_then(|begin| text.get(..(begin + column).min(text.len()))).map_or(Vec::new(), open)
}

/// Where the name of the member begins that ends at this place, behind its quote.
pub(super) fn name(text: &[u8], line: usize, column: usize) -> Option<usize> {
    let end = text[..begin(text, line)? + column].iter().rposition(|byte| *byte == b'"')?;
    text[..end].iter().rposition(|byte| *byte == b'"').map(|quote| quote + 1)
}

/// The byte behind this place.
pub(super) fn next(text: &[u8], line: usize, column: usize) -> Option<u8> {
    text.get(begin(text, line)? + column).copied()
}

/// Where a line begins.
fn begin(text: &[u8], line: usize) -> Option<usize> {
    match line {
        0 | 1 => Some(0),
        _ => text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(line - 2).map(|(at, _)| at + 1),
    }
}

/// As people write it.
pub(super) fn written(steps: &[Step]) -> String {
    let written = steps.iter().map(|step| match step {
        Step::Key(key) => format!(".{key}"),
        Step::Index(index) => format!("[{index}]"),
    });
    let path: String = written.collect();
    path.strip_prefix('.').unwrap_or(&path).to_owned()
}

/// What is open at the end of the text.
fn open(text: &[u8]) -> Vec<Step> {
    let (mut steps, mut last) = (Vec::new(), String::new());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => last = string(&mut bytes),
            b'{' => steps.push(Step::Key(String::new())),
            b'[' => steps.push(Step::Index(0)),
            b'}' | b']' => drop(steps.pop()),
            b':' => {
                if let Some(Step::Key(key)) = steps.last_mut() {
                    *key = std::mem::take(&mut last);
                }
            }
            b',' => match steps.last_mut() {
                Some(Step::Index(index)) => *index += 1,
                Some(Step::Key(key)) => key.clear(),
                None => {}
            },
            _ => {}
        }
    }
    // Of an object none of whose keys has come there is only the object to name.
    steps.retain(|step| !matches!(step, Step::Key(key) if key.is_empty()));
    steps
}

/// The rest of a string after its first quote. Escapes stay as they are written: it is shown, not compared.
fn string(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut text = Vec::new();
    while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
        text.push(byte);
        if byte == b'\\' {
            text.extend(bytes.next());
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{steps, written};

    fn path(text: &[u8], line: usize, column: usize) -> String {
        written(&steps(text, line, column))
    }

    #[test]
    fn a_place_is_named_by_the_keys_and_indices_that_lead_to_it() {
        let text = "{\"a\": [1, {\"b,]\\\"\": \"x\"}],\n \"c\": {\"d\": 7}}";
        let at = |needle: &str| {
            let end = text.find(needle).unwrap() + needle.len();
            let line = text[..end].matches('\n').count() + 1;
            let column = end - text[..end].rfind('\n').map_or(0, |n| n + 1);
            path(text.as_bytes(), line, column)
        };
        assert_eq!(at("{"), "");
        assert_eq!(at("[1"), "a[0]");
        assert_eq!(at("\"x\""), "a[1].b,]\\\"");
        assert_eq!(at("\"}"), "a[1]", "what is closed is no longer named");
        assert_eq!(at("7"), "c.d");
        assert_eq!(at("7}}"), "");
    }

    #[test]
    fn a_place_outside_of_the_text_is_nowhere() {
        assert_eq!(path(b"", 1, 0), "");
        assert_eq!(path(b"[1]", 9, 9), "");
        assert_eq!(path(b"[[\"", 1, 99), "[0][0]");
    }
}
