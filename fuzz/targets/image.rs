//! What an image brings along, read by a process that may not panic. The first byte says which: a line of /etc/passwd, a program, a
//! directory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::fuzz;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 3 {
        0 => home(bytes),
        1 => interpreter(bytes),
        _ => assert!(fuzz::entries(bytes) <= bytes.len() / 20),
    }
});

/// Who has a home for codexrun itself has it inside too.
fn home(line: &[u8]) {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    for uid in [0, 7] {
        let [inside, hosts] = fuzz::homes(line, uid);
        assert!(hosts.is_none_or(|home| home.is_empty() || inside == Some(home)));
    }
}

/// What is opened is one path, which the file names.
fn interpreter(program: &[u8]) {
    let Some(path) = fuzz::interpreter(program) else { return };
    assert!(path.len() <= 256 && !path.contains(&0) && program.windows(path.len()).any(|bytes| bytes == path));
}
