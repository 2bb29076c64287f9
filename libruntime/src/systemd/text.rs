//! A value in GVariant's text form, in which annotations give properties: `uint64 5`, `'text'`, `['a', 'b']`, `(true, 1)`.

use super::value::Value;
use crate::{Error, Result};

/// Reads one value and nothing after it. What no property of a unit is (dictionaries, variants, floating point) is refused.
pub fn value(text: &str) -> Result<Value> {
    let mut rest = Text(text, DEPTH);
    let value = rest.value(None)?;
    match rest.peek() {
        None => Ok(value),
        Some(_) => Err(Error::new(format!("`{}` stands after the value", rest.0.escape_debug()))),
    }
}

/// As deep as D-Bus lets values be nested (the D-Bus specification, "Valid Signatures"): 32 arrays and 32 tuples.
const DEPTH: usize = 64;

/// What has not been read yet, and how much deeper it may go.
struct Text<'a>(&'a str, usize);

/// The words that name a type, and its letter.
const WORDS: &[(&str, char)] =
    &[("boolean", 'b'), ("byte", 'y'), ("int32", 'i'), ("uint32", 'u'), ("int64", 'x'), ("uint64", 't'), ("string", 's')];

impl Text<'_> {
    /// A value of this type; without one, of the type that it says or that such a value has by itself.
    fn value(&mut self, typ: Option<&str>) -> Result<Value> {
        self.1 = self.1.checked_sub(1).ok_or_else(|| Error::new(format!("is nested more than {DEPTH} deep")))?;
        let value = self.one(typ);
        self.1 += 1;
        value
    }

    fn one(&mut self, typ: Option<&str>) -> Result<Value> {
        match self.peek() {
            Some('@') => {
                let written = self.word(|c| !c.is_whitespace());
                self.value(Some(&written[1..]))
            }
            Some('\'' | '"') => self.string().map(Value::Text),
            Some('[') => self.array(typ.and_then(|typ| typ.strip_prefix('a'))),
            Some('(') => self.list('(', ')', |_| None).map(Value::Tuple),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+') => self.number(typ.unwrap_or("i")),
            _ => self.named(),
        }
    }

    /// `true`, `false`, or a type and a value.
    fn named(&mut self) -> Result<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric());
        match (word.as_str(), WORDS.iter().find(|(name, _)| *name == word)) {
            ("true", _) => Ok(Value::Bool(true)),
            ("false", _) => Ok(Value::Bool(false)),
            (_, Some((_, letter))) => self.value(Some(&letter.to_string())),
            _ => Err(Error::new(format!(
                "`{}` is no value such as `uint64 5`, `'text'` or `['a', 'b']`",
                (word + self.0).escape_debug()
            ))),
        }
    }

    fn number(&mut self, typ: &str) -> Result<Value> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let (sign, digits) = match word.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, word.strip_prefix('+').unwrap_or(&word)),
        };
        let number = match digits.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        let number = number.ok().map(|number| sign * number);
        let value = number.and_then(|n| match typ {
            "y" => n.try_into().ok().map(Value::Byte),
            "i" => n.try_into().ok().map(Value::I32),
            "u" => n.try_into().ok().map(Value::U32),
            "x" => n.try_into().ok().map(Value::I64),
            "t" => n.try_into().ok().map(Value::U64),
            _ => None,
        });
        value.ok_or_else(|| Error::new(format!("`{word}` is no number of type `{}`", typ.escape_debug())))
    }

    fn array(&mut self, element: Option<&str>) -> Result<Value> {
        let values = self.list('[', ']', |before: Option<&Value>| element.map(str::to_owned).or(before.map(Value::signature)))?;
        let typ = element.map(str::to_owned).or(values.first().map(Value::signature));
        let typ = typ.ok_or_else(|| Error::new("an empty array needs its type, as in `@as []`"))?;
        match values.iter().find(|value| value.signature() != typ) {
            None => Ok(Value::Array(typ, values)),
            Some(other) => Err(Error::new(format!("`{other}` is not of the array's type, `{typ}`"))),
        }
    }

    /// Values between brackets; `typ` says of what type the next is, from the one before.
    fn list(&mut self, open: char, close: char, typ: impl Fn(Option<&Value>) -> Option<String>) -> Result<Vec<Value>> {
        let mut values: Vec<Value> = Vec::new();
        self.eat(open);
        while !self.eat(close) {
            if !values.is_empty() && !self.eat(',') {
                return Err(Error::new(format!("`,` or `{close}` is missing before `{}`", self.0.escape_debug())));
            }
            if !self.eat(close) {
                let typ = typ(values.last());
                values.push(self.value(typ.as_deref())?);
            } else {
                break;
            }
        }
        Ok(values)
    }

    /// Between quotes of one kind; `\` takes the next character as it is, but for the usual letters.
    fn string(&mut self) -> Result<String> {
        let mut chars = self.0.char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if Some(c) == quote => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                    _ => break,
                },
                c => text.push(c),
            }
        }
        Err(Error::new(format!("`{}` is no string between quotes", self.0.escape_debug())))
    }

    fn peek(&mut self) -> Option<char> {
        self.0 = self.0.trim_start();
        self.0.chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.0 = &self.0[wanted.len_utf8()..];
        }
        found
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> String {
        let end = self.0.find(|c| !of(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_glib_reads_them() {
        let text = |text: &str| Value::Text(text.into());
        let texts = |all: &[&str]| Value::Array("s".into(), all.iter().map(|one| text(one)).collect());
        let table = [
            ("true", Value::Bool(true)),
            (" 5 ", Value::I32(5)),
            ("-5", Value::I32(-5)),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("uint64 0xff", Value::U64(255)),
            ("byte 7", Value::Byte(7)),
            ("@t 18446744073709551615", Value::U64(u64::MAX)),
            ("int64 -1", Value::I64(-1)),
            ("'inactive-or-failed'", text("inactive-or-failed")),
            (r#""it's \"so\"""#, text(r#"it's "so""#)),
            (r"'a\'b\n'", text("a'b\n")),
            ("['a', 'b']", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[uint32 1, 2]", Value::Array("u".into(), vec![Value::U32(1), Value::U32(2)])),
            ("[('/dev/null', 'rw')]", Value::Array("(ss)".into(), vec![Value::Tuple(vec![text("/dev/null"), text("rw")])])),
        ];
        for (given, wanted) in table {
            assert_eq!(value(given), Ok(wanted), "{given}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for wrong in [
            "",
            "uint64",
            "uint64 -1",
            "byte 256",
            "5 6",
            "'open",
            "[1, 'a']",
            "[]",
            "[1 2]",
            "{'a': 1}",
            "<1>",
            "1.5",
            "frob",
            "(1",
            "@",
            "'\\",
        ] {
            assert!(value(wrong).is_err(), "{wrong}: {:?}", value(wrong));
        }
    }
    #[test]
    fn what_is_nested_without_end_is_refused() {
        for open in ["[", "(", "@a ", "boolean "] {
            let said = value(&open.repeat(1 << 20)).unwrap_err().to_string();
            assert_eq!(said, "is nested more than 64 deep", "{open}");
        }
        let deep = |n: usize| "[".repeat(n) + "1" + &"]".repeat(n);
        assert!(value(&deep(63)).is_ok() && value(&deep(64)).is_err());
    }
}
