//! What is kept of a container (`state.json`) → record, which is written as it was read; and the options of its plan. Behind a newline
//! stand four bytes, how the file is garbled: it is never another record, and its copy is read in its place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::fuzz;
use libruntime::plan::Options;
use libruntime::state::{ContainerId, Record, Store};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

fuzz_target!(|text: &[u8]| {
    let (text, edit) = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &text[text.len().saturating_sub(4)..]),
    };
    let Ok(record) = serde_json::from_slice::<Record>(text) else { return };
    assert!(!record.id.as_str().contains('/') && ![".", "..", ""].contains(&record.id.as_str()));
    let again = serde_json::to_vec(&record).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Record>(&again).expect("and read again"), record);
    if let Ok(options) = serde_json::from_value::<Options>(record.options.clone()) {
        let again = serde_json::to_value(&options).expect("options can be written");
        assert_eq!(serde_json::from_value::<Options>(again).expect("and read again"), options);
    }
    kept(record, edit);
});

const ID: &str = "seed";
/// One for each process; `scripts/fuzz` takes it away.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = std::env::temp_dir().join(format!("codexrun-fuzz-{}", std::process::id()));
    fs::create_dir_all(root.join(ID)).expect("a directory");
    root
});

fn kept(mut record: Record, edit: &[u8]) {
    let id: ContainerId = ID.parse().expect("an id");
    record.id = id.clone();
    let whole = fuzz::sealed(serde_json::to_vec(&record).expect("a record can be written"));
    let [file, copy] = ["state.json", "state.json.copy"].map(|name| ROOT.join(ID).join(name));
    let read = |text: &[u8], copied: &[u8]| {
        fs::write(&file, text).and_then(|()| fs::write(&copy, copied)).expect("room in memory");
        let found = Store::at(&*ROOT).load(&id).ok()?;
        // Where it was found is no part of what was written.
        Some(serde_json::to_vec(&found).expect("a record can be written"))
    };
    let written = serde_json::to_vec(&record).expect("a record can be written");
    let garbled = garbled(&whole, edit);
    assert_eq!(read(&whole, b"").as_ref(), Some(&written), "as it was saved");
    assert_eq!(read(&garbled, &whole).as_ref(), Some(&written), "its copy, where it was garbled");
    assert!(read(&garbled, &garbled).is_none_or(|found| found == written), "no other record");
}

/// A byte is another one, or there is one more, or one less, or there is no more from there on.
fn garbled(whole: &[u8], edit: &[u8]) -> Vec<u8> {
    let &[way, high, low, byte] = edit else { return whole[..whole.len() / 2].to_vec() };
    let at = (usize::from(high) << 8 | usize::from(low)) % whole.len();
    match way % 4 {
        0 => [&whole[..at], &[whole[at] ^ byte], &whole[at + 1..]].concat(),
        1 => [&whole[..at], &[byte], &whole[at..]].concat(),
        2 => [&whole[..at], &whole[at + 1..]].concat(),
        _ => whole[..at].to_vec(),
    }
}
