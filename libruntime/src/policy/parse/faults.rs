//! Every fault of a policy, for whoever asks what is wrong with it: the forms are read to the first one, so what that is about is taken out
//! of the document, and the rest is read again.

use super::cursor::Node;
use super::source::Source;
use super::{Base, Format, Parsed, document, understand};
use crate::Error;

/// Faults that are told of one policy.
const MOST: usize = 100;
/// Bytes that may be read again and again for it.
const BUDGET: usize = 64 << 20;

/// As [`super::parse`]; all faults in the order of the text. What only follows from one that is told, such as a field that was taken out and
/// is missing now, is none, and hides what else is wrong in the same entry.
pub(crate) fn parse(name: &str, text: &str, format: Format, base: &Base) -> Result<Parsed, Vec<Error>> {
    let first = match super::parse(name, text, format, base) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let source = || Source::new(name, text, format, base);
    match document(&source()) {
        Ok(document) => Err(all(&source, document, &first)),
        Err(_) => Err(vec![first]),
    }
}

fn all<'a>(source: &dyn Fn() -> Source<'a>, mut document: Node, first: &Error) -> Vec<Error> {
    let mut told: Vec<(usize, String, Error)> = Vec::new();
    for _ in 0..BUDGET / source().text.len().max(1) {
        let source = source();
        let Err(error) = understand(&source, &document) else { break };
        let Some((offset, path)) = source.spot(&error) else { break };
        if form(&error) != form(first) && form(&error).is_some() {
            break; // without what was taken out it looks like another one
        }
        let follows = told.iter().any(|(_, fault, _)| leads_to(&path, fault));
        if !follows && told.len() == MOST {
            break;
        }
        if !follows {
            told.push((offset, path.clone(), error));
        }
        if !document.take_out(&path) {
            break;
        }
    }
    told.sort_by_key(|(offset, ..)| *offset);
    let faults: Vec<Error> = told.into_iter().map(|(.., error)| error).collect();
    if faults.is_empty() { vec![first.clone()] } else { faults }
}

/// What the policy was taken for: [`super::form::read_as`].
fn form(error: &Error) -> Option<&str> {
    error.hint.as_deref()?.rsplit_once("read as ").map(|(_, form)| form)
}

/// Whether `below` stands in what `path` names.
fn leads_to(path: &str, below: &str) -> bool {
    below.strip_prefix(path).is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn said(text: &str) -> Vec<String> {
        let format = if text.starts_with('{') { Format::Json } else { Format::Toml };
        let faults = parse("p", text, format, &Base { cwd: Path::new("/w"), home: None }).unwrap_err();
        faults.into_iter().map(|e| format!("{}: {}", e.place.unwrap_or_default(), e.what)).collect()
    }

    #[test]
    fn every_entry_has_its_fault_told_at_its_own_place() {
        let entry =
            |path: &str, access: &str| format!(r#"{{"path": {{"type": "path", "path": "{path}"}}, "access": "{access}"}}"#);
        let entries =
            [entry("/a", "readwrite"), entry("/b", "read"), entry("c", "deny"), r#"{"access": "read"}"#.into()].join(",\n");
        let text = format!(
            "{{\"file_system\": {{\"kind\": \"restricted\", \"entries\": [\n{entries}], \"glob_scan_max_depth\": 0}},\n\"network\": \"on\", \
             \"codexrun\": {{\"dns\": [0, 443, \"x\"], \"caches\": [\"cargo\", \"cobol\"], \"colour\": 1}}}}"
        );
        let said = said(&text);
        let places: Vec<&str> = said.iter().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
        let expected = [
            "file_system.entries[0].access",
            "file_system.entries[2].path.path",
            "file_system.entries[3]",
            "file_system.glob_scan_max_depth",
            "network",
            "codexrun.dns[0]",
            "codexrun.dns[2]",
            "codexrun.caches[1]",
            "codexrun.colour",
        ];
        assert_eq!(places, expected, "{said:#?}");
        assert!(said[1].starts_with("p:4:") && said[8].contains("unknown field `colour`"), "{said:#?}");
    }

    #[test]
    fn a_table_of_toml_too() {
        let text = "default_permissions = 'a'\n[permissions.a]\nextends = 'b'\ncolour = 1\n[permissions.a.filesystem]\n'src' = 'read'\n\
                    '/x' = 'rw'\n'/y' = 'read'\n[permissions.b.network]\nenabled = 'yes'\n";
        let said = said(text);
        assert_eq!(said.len(), 4, "{said:#?}");
        assert!(said.iter().zip(["p:4:", "p:6:", "p:7:", "p:10:"]).all(|(line, place)| line.starts_with(place)), "{said:#?}");
    }

    #[test]
    fn what_follows_from_a_fault_is_none() {
        for text in [
            r#"{"type": "read-olny"}"#,
            r#"{"file_sytem": {}}"#,
            "sandbox_mode = 'x'",
            "{",
            "x = ",
            "{\"a\": 1, \"a\": 2}",
            "{}x",
        ] {
            assert_eq!(said(text).len(), 1, "{text}: {:#?}", said(text));
        }
        // As a split policy it has a fault, and without it would be another form.
        let pair = r#"{"file_system": {"entries": [{"path": "x"}]}, "network": "on"}"#;
        assert!(said(pair).iter().all(|line| line.contains("entries[0]") || line.contains("network")), "{:#?}", said(pair));
    }

    #[test]
    fn of_very_many_only_so_many_are_told() {
        let wrong = vec!["\"x\""; 5000].join(",");
        assert_eq!(said(&format!("{{\"type\": \"workspace-write\", \"writable_roots\": [{wrong}]}}")).len(), MOST);
    }
}
