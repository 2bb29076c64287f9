//! The text of a policy → policy → its canonical form, which means the same. JSON begins with a brace, anything else is TOML. What is wrong
//! with it stands in the text, and serde_json says of the same texts that they are JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::policy::parse::{Base, Format, parse};
use libruntime::{Error, fuzz};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Toml };
    let base = Base { cwd: Path::new("/work/here"), home: Some(Path::new("/home/me")) };
    let parsed = match parse("policy", text, format, &base) {
        Ok(parsed) => parsed,
        Err(first) => return refused(text, format, &base, &first),
    };
    let canonical = parsed.policy.canonical_json().to_string();
    let again = parse("canonical", &canonical, Format::Json, &base).expect("a canonical policy is one");
    assert_eq!(again.policy, parsed.policy, "{canonical}");
});

fn refused(text: &str, format: Format, base: &Base, first: &Error) {
    let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
    let broken = first.what.starts_with("not JSON") || first.what.starts_with("nested deeper");
    assert!(format == Format::Toml || broken != is_json, "{first}");
    let all = fuzz::policy_faults(text, format, base);
    assert!(all.contains(first), "{first}: {all:?}");
    all.iter().for_each(|fault| within(text, fault));
}

/// `policy:LINE:COLUMN`, of which the text has so many.
fn within(text: &str, error: &Error) {
    let mut place = error.place.as_deref().expect("a place").split(':').skip(1).map_while(|number| number.parse::<usize>().ok());
    let (Some(line), Some(column)) = (place.next(), place.next()) else { panic!("{error}") };
    let line = text.split('\n').nth(line - 1).expect("a line of the text");
    assert!(column <= line.chars().count() + 1, "{error}");
}
