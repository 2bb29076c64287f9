//! The text of a policy → policy → its canonical form, which means the same. JSON begins with a brace, anything else is TOML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::policy::parse::{Base, Format, parse};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Toml };
    let base = Base { cwd: Path::new("/work/here"), home: Some(Path::new("/home/me")) };
    let Ok(parsed) = parse("policy", text, format, &base) else { return };
    let canonical = parsed.policy.canonical_json().to_string();
    let again = parse("canonical", &canonical, Format::Json, &base).expect("a canonical policy is one");
    assert_eq!(again.policy, parsed.policy, "{canonical}");
});
