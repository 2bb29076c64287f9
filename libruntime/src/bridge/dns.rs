//! The messages of a resolver (RFC 1035, 4): one question, and an answer of at most one address. Pure.

use std::net::Ipv4Addr;

/// Bytes of a header.
const HEADER: usize = 12;
/// QTYPE A, and QCLASS IN.
const A: u16 = 1;
const INTERNET: u16 = 1;
/// Of a name: 255 bytes on the wire (RFC 1035, 2.3.4).
const LONGEST: usize = 253;
/// Seconds that an answer may be kept; it holds for as long as the sandbox.
const TTL: u32 = 60;
/// QR and RA: an answer of one who resolves by itself; and RD, which is repeated.
const ANSWER: u16 = 0x8080;
const RECURSION_DESIRED: u16 = 0x0100;

/// RCODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Fine = 0,
    NoSuchName = 3,
    Refused = 5,
}

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Question<'a> {
    id: u16,
    flags: u16,
    /// In lower case; `None` for what is no name of a host.
    pub name: Option<String>,
    /// Whether it is the address of version 4: all that there is of a name.
    pub address: bool,
    /// As it was sent, to be repeated.
    section: &'a [u8],
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

impl<'a> Question<'a> {
    /// `None`: no query, or not of exactly one thing. What follows the question (EDNS) is not looked at.
    pub fn read(message: &'a [u8]) -> Option<Question<'a>> {
        let (id, flags, count) = (word(message, 0)?, word(message, 2)?, word(message, 4)?);
        // Neither QR nor an OPCODE.
        if flags & 0xf800 != 0 || count != 1 {
            return None;
        }
        let (name, end) = name(message, HEADER)?;
        let (kind, class) = (word(message, end)?, word(message, end + 2)?);
        let section = &message[HEADER..end + 4];
        Some(Question { id, flags, name, address: (kind, class) == (A, INTERNET), section })
    }

    /// The message that answers.
    pub fn answer(&self, code: Code, address: Option<Ipv4Addr>) -> Vec<u8> {
        let flags = ANSWER | self.flags & RECURSION_DESIRED | code as u16;
        let counts = [1, u16::from(address.is_some()), 0, 0];
        let mut message: Vec<u8> = [self.id, flags].iter().chain(&counts).flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(self.section);
        if let Some(address) = address {
            // A pointer to the question's name.
            message.extend_from_slice(&[0xc0, HEADER as u8]);
            message.extend([A, INTERNET].iter().flat_map(|word| word.to_be_bytes()));
            message.extend_from_slice(&TTL.to_be_bytes());
            message.extend_from_slice(&[0, 4]);
            message.extend_from_slice(&address.octets());
        }
        message
    }
}

/// The name that begins at `at`, and where it ends. It goes into the head of a request, so that its letters matter.
fn name(message: &[u8], mut at: usize) -> Option<(Option<String>, usize)> {
    let (mut labels, mut good) = (Vec::new(), true);
    loop {
        let length = usize::from(*message.get(at)?);
        // A pointer has nothing to point to in the first name.
        if length > 63 || at > HEADER + LONGEST + 2 {
            return None;
        }
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if label.is_empty() {
            let name = labels.join(".");
            return Some(((good && !name.is_empty()).then_some(name), at));
        }
        good &= label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(labels: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            message.push(label.len() as u8);
            message.extend_from_slice(label);
        }
        message.push(0);
        message.extend(kind.to_be_bytes().into_iter().chain([0, 1]));
        message
    }

    #[test]
    fn a_question_is_repeated_and_its_address_follows() {
        let asked = query(&[b"Crates", b"io"], A);
        let question = Question::read(&asked).unwrap();
        assert_eq!((question.name.as_deref(), question.address), (Some("crates.io"), true));
        let said = question.answer(Code::Fine, Some(Ipv4Addr::new(127, 64, 0, 1)));
        assert_eq!(said[..12], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(said[12..12 + asked.len() - 12], asked[12..]);
        assert_eq!(said[asked.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 64, 0, 1]);
        let none = question.answer(Code::NoSuchName, None);
        assert_eq!((none[3], none[7], none.len()), (0x83, 0, asked.len()));
    }

    #[test]
    fn other_kinds_and_names_that_no_host_has_are_told_apart() {
        assert!(!Question::read(&query(&[b"a"], 28)).unwrap().address);
        for labels in [&[b"a\r\nb" as &[u8]][..], &[b"a b"], &[b"a", b"b.c"], &["ü".as_bytes()], &[]] {
            assert_eq!(Question::read(&query(labels, A)).unwrap().name, None, "{labels:?}");
        }
    }

    #[test]
    fn what_is_no_query_has_no_answer() {
        let whole = query(&[b"a", b"b"], A);
        assert!((0..whole.len()).all(|n| Question::read(&whole[..n]).is_none()));
        let with = |at: usize, byte: u8| [&whole[..at], &[byte], &whole[at + 1..]].concat();
        for changed in [with(2, 0x81), with(2, 0x10), with(5, 2), with(5, 0), with(12, 0xc0), with(12, 64)] {
            assert!(Question::read(&changed).is_none(), "{changed:?}");
        }
        assert!(Question::read(&query(&[&[b'a'; 63][..]; 5], A)).is_none(), "longer than names are");
    }
}
