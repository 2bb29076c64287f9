//! Texts of other programs: git's configuration, settings of other sandboxes, patterns. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::fuzz;
use libruntime::policy::glob::Pattern;
use libruntime::policy::import::{Base, Origin, import, origin};
use libruntime::policy::parse;
use std::path::Path;

fuzz_target!(|text: &str| {
    let Some(which) = text.chars().next() else { return };
    let text = &text[which.len_utf8()..];
    match u32::from(which) % 3 {
        0 => git(text),
        1 => settings(text),
        _ => pattern(text),
    }
});

/// A value that is written as git-config(1) writes it is read as it was.
fn git(text: &str) {
    fuzz::git_settings(text);
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    let (name, _) = text.split_once('\n').unwrap_or((text, ""));
    let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
    let all = fuzz::git_settings(&format!("[a \"{quoted}\"]\n\tKey = \"{escaped}\"\n[b]\nc=d\n"));
    assert_eq!(all, [["a", name, "key", text], ["b", "", "c", "d"]].map(|row| row.map(str::to_owned)));
}

/// What was imported is a policy, and the same one when it is read again.
fn settings(text: &str) {
    let Ok(settings) = serde_json::from_str(text) else { return };
    let (cwd, home) = (Path::new("/work/here"), Some(Path::new("/home/me")));
    let origin = origin(&settings).unwrap_or(Origin::Srt);
    let Ok(imported) = import(&settings, origin, &Base { cwd, home }) else { return };
    let canonical = imported.policy.canonical_json().to_string();
    let again = parse::parse("imported", &canonical, parse::Format::Json, &parse::Base { cwd, home });
    assert_eq!(again.expect("what is imported is a policy").policy, imported.policy, "{canonical}");
}

/// Any pattern is read, or refused; one in which every character is escaped matches that one path.
fn pattern(text: &str) {
    let below = Path::new("/w");
    if let Ok(patterns) = Pattern::parse(below, text) {
        assert!(patterns.iter().all(|pattern| !pattern.matches(Path::new("/elsewhere"))));
    }
    let name: String = text.chars().filter(|c| *c != '/').take(100).collect();
    if [".", "..", ""].contains(&name.as_str()) || name.contains('\0') {
        return;
    }
    let escaped: String = name.chars().flat_map(|c| ['\\', c]).collect();
    let patterns = Pattern::parse(below, &escaped).expect("a plain name");
    assert!(patterns.len() == 1 && patterns[0].is_exact() && patterns[0].matches(&below.join(&name)), "{patterns:?}");
    assert!(!patterns[0].matches(&below.join(format!("{name}x"))));
}
