//! JSON → [`Node`]. serde_json judges the text and words the errors; the walk that follows only remembers where each
//! value begins, which serde_json does not tell. No crate does it better: `json-spanned-value` is abandoned and counts
//! lines by wrapping the reader, `jsonc-parser` is a second grammar to trust.

use super::MAX_DEPTH;
use super::cursor::{Field, Node, Value, quote};
use super::source::Source;
use crate::{Error, Result};
use std::collections::BTreeSet;

pub(super) fn read(source: &Source) -> Result<Node> {
    serde_json::from_str::<serde_json::Value>(source.text).map_err(|e| refused(source, &e))?;
    Walk { source, offset: 0 }.value(0)
}

fn refused(source: &Source, e: &serde_json::Error) -> Error {
    let text = e.to_string();
    // The place is said once, in front.
    let cause = text.rsplit_once(" at line ").map_or(text.as_str(), |(cause, _)| cause);
    let what = match cause {
        "recursion limit exceeded" => format!("nested deeper than {MAX_DEPTH} levels"),
        cause => format!("not JSON: {cause}"),
    };
    source.error(offset(source.text, e.line(), e.column()), "", what)
}

/// serde_json counts lines from 1 and the bytes of a line from 1, or 0 where the line has none.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    before + column.saturating_sub(1)
}

/// Walks text that is known to be JSON.
struct Walk<'a> {
    source: &'a Source<'a>,
    offset: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self, depth: usize) -> Result<Node> {
        let first = self.next();
        let offset = self.offset;
        let value = match first {
            _ if depth > MAX_DEPTH => return Err(self.lost()),
            Some(b'{') => Value::Table(self.table(depth)?),
            Some(b'[') => Value::List(self.list(depth)?),
            Some(b'"') => Value::Text(self.string()?),
            _ => self.word()?,
        };
        Ok(Node { offset, value })
    }

    fn table(&mut self, depth: usize) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        let mut seen = BTreeSet::new();
        self.offset += 1;
        loop {
            match self.next() {
                Some(b'"') => fields.push(self.field(&mut seen, depth)?),
                Some(b',') => self.offset += 1,
                Some(b'}') => break,
                _ => return Err(self.lost()),
            }
        }
        self.offset += 1;
        Ok(fields)
    }

    fn field(&mut self, seen: &mut BTreeSet<String>, depth: usize) -> Result<Field> {
        let offset = self.offset;
        let key = self.string()?;
        if !seen.insert(key.clone()) {
            return Err(self.source.error(offset, "", format!("duplicate key {}", quote(&key))));
        }
        match self.next() {
            Some(b':') => self.offset += 1,
            _ => return Err(self.lost()),
        }
        Ok(Field { key, offset, node: self.value(depth + 1)? })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        self.offset += 1;
        loop {
            match self.next() {
                Some(b',') => self.offset += 1,
                Some(b']') => break,
                Some(_) => nodes.push(self.value(depth + 1)?),
                None => return Err(self.lost()),
            }
        }
        self.offset += 1;
        Ok(nodes)
    }

    fn string(&mut self) -> Result<String> {
        let mut end = self.offset + 1;
        loop {
            match self.source.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return Err(self.lost()),
            }
        }
        serde_json::from_str(self.token(end + 1)).map_err(|_| self.lost())
    }

    fn word(&mut self) -> Result<Value> {
        let rest = self.source.text.as_bytes().get(self.offset..).unwrap_or_default();
        let length = rest.iter().take_while(|b| !matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r'));
        match self.token(self.offset + length.count()) {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "" => Err(self.lost()),
            number => Ok(Value::Number(number.parse().ok())),
        }
    }

    /// The text up to `end`, which is passed.
    fn token(&mut self, end: usize) -> &'a str {
        let token = self.source.text.get(self.offset..end).unwrap_or_default();
        self.offset = end;
        token
    }

    /// The next byte that is not space.
    fn next(&mut self) -> Option<u8> {
        let bytes = self.source.text.as_bytes();
        while matches!(bytes.get(self.offset), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.offset += 1;
        }
        bytes.get(self.offset).copied()
    }

    /// serde_json has accepted the text, so this is never seen; it is an error all the same, not a panic.
    fn lost(&self) -> Error {
        self.source.error(self.offset, "", "not JSON: unexpected text")
    }
}
