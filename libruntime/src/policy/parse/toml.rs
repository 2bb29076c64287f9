//! TOML → [`Node`], by the `toml` crate, which keeps the span of every key and value.

use super::MAX_DEPTH;
use super::cursor::{Field, Node, Value};
use super::source::Source;
use crate::{Error, Result};
use ::toml::Spanned;
use ::toml::de::{DeInteger, DeString, DeTable, DeValue, Error as TomlError};

pub(super) fn read(source: &Source) -> Result<Node> {
    let document = DeTable::parse(source.text).map_err(|e| refused(source, &e))?;
    Ok(Node { offset: 0, value: Value::Table(fields(source, document.get_ref(), 0)?) })
}

fn refused(source: &Source, e: &TomlError) -> Error {
    let cause = e.message().trim().replace('\n', ", ");
    source.error(e.span().map_or(0, |span| span.start), "", format!("not TOML: {cause}"))
}

fn fields(source: &Source, table: &DeTable, depth: usize) -> Result<Vec<Field>> {
    let fields = table.iter().map(|(key, value)| field(source, key, value, depth));
    let mut fields = fields.collect::<Result<Vec<_>>>()?;
    fields.sort_by_key(|f| f.offset); // the crate sorts by name
    Ok(fields)
}

fn field(source: &Source, key: &Spanned<DeString>, value: &Spanned<DeValue>, depth: usize) -> Result<Field> {
    let node = node(source, value, depth + 1)?;
    Ok(Field { key: key.get_ref().to_string(), offset: key.span().start, node })
}

fn node(source: &Source, value: &Spanned<DeValue>, depth: usize) -> Result<Node> {
    let offset = value.span().start;
    if depth > MAX_DEPTH {
        return Err(source.error(offset, "", format!("nested deeper than {MAX_DEPTH} levels")));
    }
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Number(natural(number)),
        DeValue::Float(_) => Value::Number(None),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(source, item, depth + 1)).collect::<Result<_>>()?),
        DeValue::Table(table) => Value::Table(fields(source, table, depth)?),
    };
    Ok(Node { offset, value })
}

fn natural(number: &DeInteger) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}
