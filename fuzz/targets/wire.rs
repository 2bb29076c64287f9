//! What one process tells another, and the kernel's tables: the first byte says which. Nothing is read that is not there, and what
//! somebody else may choose (the name of a process, of a mount point) moves nothing else. A message of our own that was garbled is an
//! error, and never another one.
#![no_main]

#[path = "../../cmd/src/ready.rs"]
mod ready;

use libfuzzer_sys::fuzz_target;
use libruntime::bundle::{self, Bundle, Rootfs};
use libruntime::fuzz::Wire;
use libruntime::host::Host;
use libruntime::plan::{Options, Plan};
use libruntime::{annotation, fuzz, systemd};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match which % 28 {
        0 => fault(bytes),
        1 => assert!(fuzz::bus_message(bytes).is_none_or(|words| words.iter().map(String::len).sum::<usize>() <= bytes.len())),
        2 => assert!(!fuzz::bus_address(&text) || text.starts_with("unix:")),
        3 => gvariant(&text),
        4 => assert!(!fuzz::oci_state(&text) || text.contains("id")),
        5 => assert!(bytes.first_chunk().and_then(|bytes| fuzz::not_cloned(*bytes)).is_none_or(|said| !said.is_empty())),
        6 => mount_point(bytes),
        7 => process_name(bytes),
        8 => assert!(fuzz::tables(&text) <= 1 << 17),
        9 => assert!(fuzz::listed(bytes) <= bytes.len()),
        10 => status(bytes),
        11 => annotation(bytes),
        12 => control(bytes),
        13 => resolved(bytes),
        14 => welcomed(bytes),
        15 => assert!(fuzz::devices(bytes) <= bytes.len()),
        16 => assert!(fuzz::is_remembered(bytes)),
        17 => ours(Wire::Faults, bytes),
        18 => ours(Wire::Hook, bytes),
        19 => ours(Wire::Sibling, bytes),
        20 => ours(Wire::Between, bytes),
        21 => ours(Wire::Criu, bytes),
        22 => ours(Wire::Question, bytes),
        23 => ours(Wire::Answer, bytes),
        24 => ours(Wire::Start, bytes),
        25 => ready(&text),
        26 => descriptors(bytes),
        _ => given(bytes),
    }
});

/// With one annotation of codexrun's; none: without.
fn plan(key: Option<&str>, value: &str) -> Result<Plan, Vec<libruntime::Error>> {
    let json = json!({
        "ociVersion": "1.2.0", "root": {"path": "r"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        "annotations": key.map_or(json!({}), |key| json!({key: value})),
    });
    let bundle = Bundle { spec: bundle::spec(&json).expect("a spec"), rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
    Plan::new(&bundle, &Host::recorded(0, 0), &Options::default())
}

/// Of one message there is one way to write it: who changes a byte of it changes what is said, or nobody goes on.
fn ours(wire: Wire, bytes: &[u8]) {
    assert!(fuzz::understood(wire, bytes).is_none_or(|again| again == bytes));
}

/// The proxy's first line.
fn ready(line: &str) {
    if let Ok(book) = ready::ready(line) {
        assert_eq!(book.map_or("ready\n".to_owned(), |number| format!("ready {number}\n")), line);
    }
}

/// Each of a checkpoint's standard streams is named once, by its number.
fn descriptors(text: &[u8]) {
    let inherited = fuzz::descriptors(text).unwrap_or_default();
    let mut numbers: Vec<&[u8]> = inherited.iter().filter_map(|word| word.as_bytes().get(..6)).collect();
    assert!(numbers.iter().all(|number| matches!(number, [b'f', b'd', b'[', b'0'..=b'2', b']', b':'])), "{inherited:?}");
    numbers.dedup();
    assert_eq!(numbers.len(), inherited.len());
}

/// The first byte says whether a descriptor comes: it is taken with the byte that announces one. No filter is behind it, so nobody is let in.
fn given(bytes: &[u8]) {
    let Some((comes, bytes)) = bytes.split_first() else { return };
    let (comes, bytes) = (comes % 2 == 1, &bytes[..bytes.len().min(64)]);
    let wanted = match bytes {
        [] => Some(false),
        [0, ..] if comes => Some(true),
        _ => None,
    };
    assert_eq!(fuzz::given(bytes, comes), [wanted, Some(false)]);
}

/// A fault of any bytes is a sentence, or none of ours.
fn fault(bytes: &[u8]) {
    static PLAN: LazyLock<Plan> = LazyLock::new(|| plan(None, "").expect("a plan"));
    if let Some(bytes) = bytes.first_chunk() {
        assert!(fuzz::fault(*bytes, &PLAN).is_none_or(|said| !said.is_empty()));
    }
}

fn gvariant(text: &str) {
    if let Ok(value) = systemd::text::value(text) {
        assert!(!value.signature().is_empty() && value.to_string().len() <= 16 * text.len().max(4));
    }
}

/// proc_pid_mountinfo(5): what the kernel escapes comes back, on a line of its own.
fn mount_point(name: &[u8]) {
    let escaped: Vec<u8> = name
        .iter()
        .flat_map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            byte => vec![*byte],
        })
        .collect();
    let line = [b"2 1 0:2 / /", &escaped[..], b" rw shared:1 - tmpfs none rw\n3 1 0:3 / /x rw - tmpfs none rw\n"].concat();
    let points = fuzz::mount_points(&line);
    assert_eq!(points.len(), 2);
    assert_eq!(points[0].as_os_str().as_bytes(), [b"/", name].concat());
    fuzz::mount_points(name);
}

/// proc_pid_stat(5): the second field is what a process calls itself.
fn process_name(name: &[u8]) {
    let line = [b"7 (", name, b") S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 99\n"].concat();
    assert_eq!(fuzz::start_time(&line), Some(4242));
    fuzz::start_time(name);
}

/// proc_pid_status(5): the first line is what a process calls itself, newlines and backslashes escaped.
fn status(name: &[u8]) {
    let name = String::from_utf8_lossy(name).replace('\\', "\\\\").replace('\n', "\\n");
    let text = format!("Name:\t{name}\nTgid:\t7\nThreads:\t1\n");
    assert_eq!(fuzz::status_field(&text, "Tgid").as_deref(), Some("7"));
    fuzz::status_field(&name, "Tgid");
}

/// The first byte says which: it is planned, or the reason names it.
fn annotation(bytes: &[u8]) {
    let Some((which, value)) = bytes.split_first() else { return };
    let key = annotation::ALL[usize::from(*which) % annotation::ALL.len()];
    if let Err(reasons) = plan(Some(key), &String::from_utf8_lossy(value)) {
        assert!(reasons.iter().any(|reason| reason.place.as_ref().is_some_and(|place| place.contains(key))), "{reasons:?}");
    }
}

/// The first byte says how long a word of the caller's is: what the broker sends is of its own words, and says of nobody who he is.
fn control(bytes: &[u8]) {
    let Some((word, bytes)) = bytes.split_first() else { return };
    let Some((ours, mut fds)) = fuzz::control(bytes, if word % 2 == 0 { 4 } else { 8 }) else { return };
    let mut rest = &ours[..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let (length, kind) = (usize::from_ne_bytes(*length), after.first_chunk::<8>().expect("a level and a type"));
        assert!(length >= 16 && *kind != [1, 0, 0, 0, 2, 0, 0, 0], "SOL_SOCKET, SCM_CREDENTIALS");
        if *kind == [1, 0, 0, 0, 1, 0, 0, 0] {
            fds -= (length - 16) / 4;
        }
        rest = &rest[length.next_multiple_of(8)..];
    }
    assert!(rest.is_empty() && fds == 0);
}

/// An answer is to the question, and no longer than that and one address.
fn resolved(message: &[u8]) {
    if let Some(answer) = fuzz::resolved(message) {
        assert!(answer[..2] == message[..2] && answer[2] & 0x80 != 0 && answer.len() <= message.len() + 16);
    }
}

/// However the bytes come, the client gets what follows the head and no less.
fn welcomed(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(4096)];
    let whole = fuzz::welcomed([bytes]);
    assert_eq!(whole, fuzz::welcomed(bytes.chunks(1)));
    if let Some((head, welcome)) = whole {
        assert!(bytes[..head].ends_with(b"\r\n\r\n") && (!welcome || bytes.starts_with(b"HTTP/1.")));
    }
}
