//! A value as D-Bus has it: what a property of a unit is set to.

use std::fmt;

/// The types that properties of units are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `a` and the signature of each element, which one that is empty does not tell.
    Array(String, Vec<Value>),
    /// `(…)`
    Tuple(Vec<Value>),
}

/// A property of a unit, by systemd's name for D-Bus (org.freedesktop.systemd1(5)), which is not always the one in unit files.
pub type Property = (String, Value);

impl Value {
    /// The type, as D-Bus writes it.
    pub fn signature(&self) -> String {
        match self {
            Value::Bool(_) => "b".into(),
            Value::Byte(_) => "y".into(),
            Value::I32(_) => "i".into(),
            Value::U32(_) => "u".into(),
            Value::I64(_) => "x".into(),
            Value::U64(_) => "t".into(),
            Value::Text(_) => "s".into(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Tuple(values) => format!("({})", values.iter().map(Value::signature).collect::<String>()),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, values: &[Value]| {
            values.iter().enumerate().try_for_each(|(i, value)| write!(f, "{}{value}", if i == 0 { "" } else { " " }))
        };
        match self {
            Value::Bool(value) => value.fmt(f),
            Value::Byte(value) => write!(f, "{value:02x}"),
            Value::I32(value) => value.fmt(f),
            Value::U32(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::U64(u64::MAX) => f.write_str("infinity"),
            Value::U64(value) => value.fmt(f),
            Value::Text(value) => value.escape_debug().fmt(f),
            Value::Array(_, values) | Value::Tuple(values) => list(f, values),
        }
    }
}
