//! Values that know where they begin, and the cursor by which the forms read them: each question either has its answer
//! or an error that names the place and what was expected there.

use super::Format;
use super::source::Source;
use crate::{Error, Result};
use std::fmt::Write;

/// A value and the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub offset: usize,
    pub value: Value,
}

/// What both languages have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// `None`: a number that is not a natural one.
    Number(Option<u64>),
    Text(String),
    /// A TOML date, which no form uses.
    Date,
    List(Vec<Node>),
    /// In written order.
    Table(Vec<Field>),
    /// It was wrong, and that has been told: as if it were not there.
    Gone,
}

impl Node {
    /// Takes out what stands at the end of these keys, except the whole document; whether it was there.
    pub fn take_out(&mut self, path: &str) -> bool {
        self.find("", path).is_some_and(|node| std::mem::replace(&mut node.value, Value::Gone) != Value::Gone)
    }

    fn find(&mut self, here: &str, path: &str) -> Option<&mut Node> {
        if here == path {
            return (!path.is_empty()).then_some(self);
        }
        match &mut self.value {
            _ if !path.starts_with(here) => None,
            Value::List(nodes) => nodes.iter_mut().enumerate().find_map(|(i, node)| node.find(&format!("{here}[{i}]"), path)),
            Value::Table(fields) => fields.iter_mut().find_map(|field| field.node.find(&join(here, &field.key), path)),
            _ => None,
        }
    }
}

/// One key of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub key: String,
    pub offset: usize,
    pub node: Node,
}

/// One value of the document, with the keys that lead to it.
#[derive(Clone)]
pub(super) struct At<'a> {
    source: &'a Source<'a>,
    node: &'a Node,
    /// Empty for the document and for items of a list.
    key: &'a str,
    key_offset: usize,
    path: String,
}

impl<'a> At<'a> {
    pub fn document(source: &'a Source<'a>, node: &'a Node) -> Self {
        At { source, node, key: "", key_offset: node.offset, path: String::new() }
    }

    pub fn error(&self, what: impl Into<String>) -> Error {
        self.source.error(self.node.offset, &self.path, what)
    }

    /// The error of a value that is not what the form has there.
    pub fn expected(&self, what: &str) -> Error {
        self.error(format!("expected {what}, found {}", self.found()))
    }

    pub fn warn(&self, what: &str) {
        self.source.warn(self.node.offset, &self.path, what);
    }

    fn found(&self) -> String {
        match &self.node.value {
            Value::Null => "`null`".into(),
            Value::Bool(b) => format!("`{b}`"),
            Value::Number(Some(n)) => format!("`{n}`"),
            Value::Number(None) => "a number that is not a natural one".into(),
            Value::Text(text) => quote(text),
            Value::Date => "a date".into(),
            Value::Gone => "nothing".into(),
            Value::List(_) => "a list".into(),
            Value::Table(_) => self.table_word().into(),
        }
    }

    fn table_word(&self) -> &'static str {
        match self.source.format {
            Format::Json => "an object",
            Format::Toml => "a table",
        }
    }

    /// The key that the value stands under, as text with a place.
    pub fn name(&self) -> Text<'a> {
        Text { source: self.source, str: self.key, offset: self.key_offset, path: self.path.clone() }
    }

    pub fn text(&self, what: &str) -> Result<Text<'a>> {
        match &self.node.value {
            Value::Text(str) => Ok(Text { source: self.source, str, offset: self.node.offset, path: self.path.clone() }),
            _ => Err(self.expected(what)),
        }
    }

    /// A word out of a table of them.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        self.text(&one_of(words))?.word(words)
    }

    pub fn bool(&self) -> Result<bool> {
        match self.node.value {
            Value::Bool(b) => Ok(b),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    pub fn number(&self) -> Option<u64> {
        match self.node.value {
            Value::Number(n) => n,
            _ => None,
        }
    }

    pub fn is_text(&self) -> bool {
        matches!(self.node.value, Value::Text(_))
    }

    pub fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    pub fn list(&self, what: &str) -> Result<Vec<At<'a>>> {
        let Value::List(nodes) = &self.node.value else {
            return Err(self.expected(what));
        };
        let item = |(i, node): (usize, &'a Node)| At {
            source: self.source,
            node,
            key: "",
            key_offset: node.offset,
            path: format!("{}[{i}]", self.path),
        };
        Ok(nodes.iter().enumerate().filter(|(_, node)| node.value != Value::Gone).map(item).collect())
    }

    /// Every key of a table, when keys are the user's own.
    pub fn items(&self) -> Result<Vec<At<'a>>> {
        let Value::Table(fields) = &self.node.value else {
            return Err(self.expected(self.table_word()));
        };
        Ok(fields.iter().filter(|f| f.node.value != Value::Gone).map(|f| self.child(f)).collect())
    }

    /// The value under a key, if this is a table that has it.
    pub fn get(&self, key: &str) -> Option<At<'a>> {
        let Value::Table(fields) = &self.node.value else {
            return None;
        };
        fields.iter().find(|f| f.key == key && f.node.value != Value::Gone).map(|f| self.child(f))
    }

    /// As [`At::get`]; JSON's `null` counts as absent.
    pub fn option(&self, key: &str) -> Option<At<'a>> {
        self.get(key).filter(|at| at.node.value != Value::Null)
    }

    pub fn need(&self, key: &str) -> Result<At<'a>> {
        self.get(key).ok_or_else(|| self.error(format!("missing field `{key}`")))
    }

    /// Refuses what is not a table, and every key of it that `owner` does not have.
    pub fn only(&self, owner: &str, known: &[&str]) -> Result<()> {
        // What goes beside every form is read by itself.
        let beside = |at: &At| self.path.is_empty() && at.key == crate::policy::choice::KEY;
        let stranger = |at: &At| !known.contains(&at.key) && !beside(at);
        match self.items()?.into_iter().find(stranger) {
            None => Ok(()),
            Some(at) => Err(at.unknown(owner, known)),
        }
    }

    /// The error of a key that `owner` does not have.
    pub fn unknown(&self, owner: &str, known: &[&str]) -> Error {
        let known: Vec<(&str, ())> = known.iter().map(|k| (*k, ())).collect();
        let what = format!("unknown field {} in {owner}; expected {}", quote(self.key), one_of(&known));
        self.name().error(what)
    }

    fn child(&self, field: &'a Field) -> At<'a> {
        At {
            source: self.source,
            node: &field.node,
            key: &field.key,
            key_offset: field.offset,
            path: join(&self.path, &field.key),
        }
    }
}

/// A string of the document, a value or a key, with its place.
#[derive(Clone)]
pub(super) struct Text<'a> {
    pub source: &'a Source<'a>,
    pub str: &'a str,
    offset: usize,
    path: String,
}

impl<'a> Text<'a> {
    pub fn error(&self, what: impl Into<String>) -> Error {
        self.source.error(self.offset, &self.path, what)
    }

    pub fn expected(&self, what: &str) -> Error {
        self.error(format!("expected {what}, found {}", quote(self.str)))
    }

    pub fn warn(&self, what: &str) {
        self.source.warn(self.offset, &self.path, what);
    }

    /// A part of it, which keeps the place of the whole.
    pub fn part(&self, str: &'a str) -> Text<'a> {
        Text { str, ..self.clone() }
    }

    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let found = words.iter().find(|(word, _)| *word == self.str);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| self.expected(&one_of(words)))
    }
}

/// `a`, `b` or `c`.
pub(super) fn one_of<T>(words: &[(&str, T)]) -> String {
    let mut list = String::new();
    for (i, (word, _)) in words.iter().enumerate() {
        let before = match i {
            0 => "",
            _ if i + 1 == words.len() => " or ",
            _ => ", ",
        };
        let _ = write!(list, "{before}`{word}`"); // writing to a String cannot fail
    }
    list
}

/// Text of the user inside an error, which is one line and of bounded length.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(80).is_some() {
        quoted.push('…');
    }
    format!("`{quoted}`")
}

fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let dot = if path.is_empty() { "" } else { "." };
    if bare { format!("{path}{dot}{key}") } else { format!("{path}{dot}{key:?}") }
}
