//! The text that is read: where an offset stands in it, and what is to be said about it.

use super::{Base, Format};
use crate::Error;
use std::cell::RefCell;

pub(super) struct Source<'a> {
    name: &'a str,
    pub text: &'a str,
    pub format: Format,
    pub base: &'a Base<'a>,
    warnings: RefCell<Vec<String>>,
    errors: RefCell<Vec<Spot>>,
}

/// What the place of an error says, and the offset and the keys that it was made of.
type Spot = (String, usize, String);

impl<'a> Source<'a> {
    pub fn new(name: &'a str, text: &'a str, format: Format, base: &'a Base<'a>) -> Self {
        Source { name, text, format, base, warnings: RefCell::default(), errors: RefCell::default() }
    }

    /// An error at a byte offset, `path` being the keys that lead there.
    pub fn error(&self, offset: usize, path: &str, what: impl Into<String>) -> Error {
        let place = self.place(offset, path);
        self.errors.borrow_mut().push((place.clone(), offset, path.to_owned()));
        Error::new(what).at(place)
    }

    /// Where an error of this text was made: the offset, and the keys that lead there.
    pub fn spot(&self, error: &Error) -> Option<(usize, String)> {
        let errors = self.errors.borrow();
        let (_, offset, path) = errors.iter().find(|(place, ..)| error.place.as_ref() == Some(place))?;
        Some((*offset, path.clone()))
    }

    pub fn warn(&self, offset: usize, path: &str, what: &str) {
        self.warnings.borrow_mut().push(format!("{}: {what}", self.place(offset, path)));
    }

    pub fn warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    fn place(&self, offset: usize, path: &str) -> String {
        let place = place(self.name, self.text, offset);
        if path.is_empty() { place } else { format!("{place}: {path}") }
    }
}

/// `FILE:LINE:COL`, both counted from 1, columns in characters as editors count them.
pub(super) fn place(name: &str, text: &str, offset: usize) -> String {
    let name = if name == "-" { "<stdin>" } else { name };
    let before: Vec<&[u8]> = text.as_bytes()[..offset.min(text.len())].rsplitn(2, |b| *b == b'\n').collect();
    let column = before.first().map_or(0, |line| line.iter().filter(|b| !is_continuation(**b)).count());
    let line = before.get(1).map_or(0, |rest| 1 + rest.iter().filter(|b| **b == b'\n').count());
    format!("{name}:{}:{}", line + 1, column + 1)
}

/// The second and later bytes of a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}
