//! Messages as they go over the socket (the D-Bus specification, "Message Protocol"), in this machine's byte order.
//!
//! Not a library: rustbus, the one that is small and blocks, was last released in 2023 and brings a second `nix`; zbus brings an async
//! runtime, and libdbus C. Nine methods are called here, and one signal is heard.

use super::value::Value;

/// A method that is called.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// The bus name of who has it; none on a connection of two.
    pub destination: Option<&'static str>,
    /// The object.
    pub path: &'static str,
    /// The interface.
    pub interface: &'static str,
    /// The name.
    pub name: &'static str,
}

const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
const CALL: u8 = 1;
const VERSION: u8 = 1;
/// Of the part with fixed places, and the length of the fields after it.
const FIXED: usize = 16;
/// Far above what systemd answers; the specification permits 128 MiB.
const LARGEST: usize = 1 << 20;

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR: u8 = 4;
const REPLY: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A message, or its body, in the making.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_ne_bytes());
    }

    /// `s`, or `o`.
    pub fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// `a`: its length does not count the padding before the first element.
    pub fn array<T>(&mut self, alignment: usize, items: &[T], mut each: impl FnMut(&mut Writer, &T)) {
        self.u32(0);
        let length = self.0.len() - 4;
        self.align(alignment);
        let first = self.0.len();
        items.iter().for_each(|item| each(self, item));
        let bytes = (self.0.len() - first) as u32;
        self.0[length..length + 4].copy_from_slice(&bytes.to_ne_bytes());
    }

    /// `(…)`
    pub fn tuple(&mut self, inside: impl FnOnce(&mut Writer)) {
        self.align(8);
        inside(self);
    }

    /// `v`
    pub fn variant(&mut self, value: &Value) {
        self.signature(&value.signature());
        self.value(value);
    }

    /// The value without its type.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.u32(u32::from(*value)),
            Value::Byte(value) => self.0.push(*value),
            Value::I32(value) => self.u32(value.cast_unsigned()),
            Value::U32(value) => self.u32(*value),
            Value::I64(value) => self.u64(value.cast_unsigned()),
            Value::U64(value) => self.u64(*value),
            Value::Text(value) => self.text(value),
            Value::Array(element, values) => self.array(alignment(element), values, Writer::value),
            Value::Tuple(values) => self.tuple(|inside| values.iter().for_each(|value| inside.value(value))),
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y') => 1,
        Some(b'x' | b't' | b'(') => 8,
        _ => 4,
    }
}

/// The bytes of a call.
pub fn call(serial: u32, method: &Method, signature: &str, body: Writer) -> Vec<u8> {
    let mut fields =
        vec![(PATH, Field::Object(method.path)), (INTERFACE, Field::Text(method.interface)), (MEMBER, Field::Text(method.name))];
    fields.extend(method.destination.map(|name| (DESTINATION, Field::Text(name))));
    fields.extend(Some(signature).filter(|signature| !signature.is_empty()).map(|typ| (SIGNATURE, Field::Signature(typ))));
    message(CALL, serial, &fields, body)
}

/// A value in the header.
enum Field<'a> {
    Object(&'a str),
    Text(&'a str),
    Signature(&'a str),
    #[cfg(test)]
    Number(u32),
}

fn message(kind: u8, serial: u32, fields: &[(u8, Field)], body: Writer) -> Vec<u8> {
    let mut out = Writer(vec![ENDIAN, kind, 0, VERSION]);
    out.u32(body.0.len() as u32);
    out.u32(serial);
    out.array(8, fields, |out, (code, field)| {
        out.align(8);
        out.0.push(*code);
        let (typ, text) = match field {
            Field::Object(text) => ("o", text),
            Field::Text(text) => ("s", text),
            Field::Signature(text) => ("g", text),
            #[cfg(test)]
            Field::Number(number) => {
                out.signature("u");
                return out.u32(*number);
            }
        };
        out.signature(typ);
        if typ == "g" { out.signature(text) } else { out.text(text) }
    });
    out.align(8);
    out.0.extend(body.0);
    out.0
}

/// What came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The serial of the call that it answers.
    pub reply: Option<u32>,
    /// The name of the error that it is.
    pub error: Option<String>,
    /// The name of the signal that it is.
    pub member: Option<String>,
    body: Vec<u8>,
}

/// How many bytes follow these first ones; `None`: they begin no message.
pub fn rest(head: &[u8; FIXED]) -> Option<usize> {
    if head[0] != ENDIAN || head[3] != VERSION {
        return None;
    }
    let mut reader = Reader { bytes: head, at: 4 };
    let (body, _serial, fields) = (reader.u32()? as usize, reader.u32()?, reader.u32()? as usize);
    (body <= LARGEST && fields <= LARGEST).then(|| fields.next_multiple_of(8) + body)
}

impl Message {
    /// Of the fixed part and what follows it; `None`: it is no message.
    pub fn read(head: &[u8; FIXED], rest: &[u8]) -> Option<Message> {
        let fields = Reader { bytes: head, at: 12 }.u32()? as usize;
        let mut message = Message { body: rest.get(fields.next_multiple_of(8)..)?.to_vec(), ..Message::default() };
        let mut reader = Reader { bytes: rest.get(..fields)?, at: 0 };
        while reader.at < fields {
            reader.align(8);
            let code = reader.take(1)?[0];
            match (code, reader.signature()?) {
                (REPLY, "u") => message.reply = Some(reader.u32()?),
                (ERROR, "s") => message.error = Some(reader.text()?.to_owned()),
                (MEMBER, "s") => message.member = Some(reader.text()?.to_owned()),
                (_, "u") => drop(reader.u32()?),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                _ => return None,
            }
        }
        Some(message)
    }

    /// Bytes of its body.
    pub fn length(&self) -> usize {
        self.body.len()
    }

    /// For its body, from the beginning.
    pub fn body(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Reads what must be there; `None` where it is not.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    /// `u`
    pub fn u32(&mut self) -> Option<u32> {
        self.align(4);
        self.take(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    /// `s`, or `o`
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()? as usize;
        let text = self.take(length.checked_add(1)?)?;
        std::str::from_utf8(&text[..length]).ok()
    }

    /// `g`, also the one in front of a variant
    pub fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.take(1)?[0]);
        let text = self.take(length + 1)?;
        std::str::from_utf8(&text[..length]).ok()
    }
}

/// What the other side would send.
#[cfg(test)]
pub mod peer {
    use super::*;

    /// The answer to a call; with a name, an error.
    pub fn answer(to: u32, error: Option<&str>, body: Writer) -> Vec<u8> {
        let mut fields = vec![(REPLY, Field::Number(to)), (SIGNATURE, Field::Signature("s"))];
        fields.extend(error.map(|name| (ERROR, Field::Text(name))));
        message(if error.is_some() { 3 } else { 2 }, 1, &fields, body)
    }

    /// A signal of the manager's.
    pub fn signal(member: &str, body: Writer) -> Vec<u8> {
        message(4, 2, &[(PATH, Field::Object("/x")), (MEMBER, Field::Text(member)), (SIGNATURE, Field::Signature("uoss"))], body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method = Method { destination: Some("a.b"), path: "/p", interface: "i.f", name: "Call" };

    fn received(bytes: &[u8]) -> Option<Message> {
        let head: [u8; FIXED] = bytes.get(..FIXED)?.try_into().ok()?;
        let after = bytes.get(FIXED..)?;
        (rest(&head)? == after.len()).then(|| Message::read(&head, after))?
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_call_is_laid_out_as_the_specification_says() {
        let method = Method {
            destination: Some("org.freedesktop.DBus"),
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            name: "Hello",
        };
        let wanted = b"l\x01\0\x01\0\0\0\0\x01\0\0\0\x6d\0\0\0\x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0\
            \x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\x03\x01s\0\x05\0\0\0Hello\0\0\0\
            \x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0";
        assert_eq!(call(1, &method, "", Writer::default()), wanted);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut body = Writer::default();
        body.text("first");
        body.value(&Value::U32(7));
        body.variant(&Value::Text("inside".into()));
        let message = received(&call(9, &METHOD, "suv", body)).unwrap();
        assert_eq!((message.member.as_deref(), message.reply, message.error.as_deref()), (Some("Call"), None, None));
        let mut reader = message.body();
        assert_eq!((reader.text(), reader.u32()), (Some("first"), Some(7)));
        assert_eq!((reader.signature(), reader.text(), reader.u32()), (Some("s"), Some("inside"), None));
    }

    #[test]
    fn values_lie_where_their_types_want_them() {
        let bytes = |value: Value| {
            let mut out = Writer(vec![1]);
            out.variant(&value);
            out.0
        };
        let le = cfg!(target_endian = "little");
        assert!(le, "the table below is of a little-endian machine");
        assert_eq!(bytes(Value::U64(5)), b"\x01\x01t\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        assert_eq!(bytes(Value::Array("y".into(), vec![Value::Byte(3)])), b"\x01\x02ay\0\0\0\0\x01\0\0\0\x03");
        // The four bytes of padding before the first element do not count.
        let pair = Value::Tuple(vec![Value::Text("a".into()), Value::Bool(true)]);
        let wanted = b"\x01\x05a(sb)\0\x0c\0\0\0\0\0\0\0\x01\0\0\0a\0\0\0\x01\0\0\0";
        assert_eq!(bytes(Value::Array("(sb)".into(), vec![pair]))[..8], wanted[..8]);
    }

    #[test]
    fn a_message_that_is_cut_or_garbled_is_none() {
        let mut body = Writer::default();
        body.text("text");
        let whole = call(1, &METHOD, "s", body);
        assert!(received(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(received(&whole[..end]), None, "{end}");
        }
        // Whatever one byte is changed to, nothing is read outside of it.
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut other = whole.clone();
                other[at] = byte;
                if let Some(message) = received(&other) {
                    message.body().text();
                }
            }
        }
    }
}
