//! What else is wrong with a config.json in which something has the wrong form: serde stops at the first. Each such value is replaced
//! by one that has the form, in place, and the text is read again.

use super::locate::{self, Grown, Source, Step};
use super::read::{deserialize, malformed, respelt, rootfs, text};
use super::{Bundle, FREEBSD, OF_ANOTHER_PLATFORM, Rootfs, capability};
use crate::Error;
use oci_spec::runtime::Spec;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

/// A bundle with every fault of form, and something of the right form in place of each.
#[derive(Debug)]
pub struct Mended {
    /// Not to be run.
    pub bundle: Bundle,
    /// In the order of the file.
    pub faults: Vec<Fault>,
}

/// What is wrong in one place.
#[derive(Debug)]
pub struct Fault {
    /// Where in the file: `mounts[3].options`.
    pub path: String,
    /// The reason.
    pub error: Error,
}

/// How often a text is mended before there is only its first fault to tell.
const MOST: usize = 256;
/// Bytes that may be read again and again for it.
const BUDGET: usize = 64 << 20;

impl Bundle {
    /// For a bundle that [`Bundle::read_as`] refuses; `None` where one reason is all that can be said: it is no JSON, or a file
    /// could not be read and now can.
    pub fn mend(dir: &Path, config: &Path) -> Option<Mended> {
        let dir = &*std::path::absolute(dir).ok()?;
        let file = dir.join(config);
        let text = text(&file).ok()?;
        let (spec, mut faults) = mend(&Source::whole(&file), respelt(&text))?;
        let root = rootfs(dir, &file, &spec).unwrap_or_else(|error| {
            // Of a root whose form was mended that says nothing.
            if !faults.iter().any(|fault| fault.path.starts_with("root")) {
                faults.push(Fault { path: "root".into(), error });
            }
            dir.to_owned()
        });
        // The one that the plan refuses.
        let unknown = span(&text, &locate::way(&[FREEBSD])).map(|_| FREEBSD.to_owned()).into_iter().collect();
        let bundle = Bundle { spec, rootfs: Rootfs::Dir(root), unknown };
        (!faults.is_empty()).then_some(Mended { bundle, faults })
    }
}

pub(crate) fn mend(source: &Source, (text, mut grown): (Cow<[u8]>, Grown)) -> Option<(Spec, Vec<Fault>)> {
    serde_json::from_slice::<serde::de::IgnoredAny>(&text).ok()?;
    let (mut faults, mut paths, mut text) = (Vec::<Fault>::new(), Vec::<String>::new(), text.into_owned());
    for _ in 0..MOST.min(BUDGET / text.len().max(1)) {
        let wrong = match deserialize(&text, |_| {}) {
            Ok(spec) => {
                // Of an object that was put there itself that says nothing.
                let theirs = |fault: &Fault| !paths.iter().any(|path| fault.path.starts_with(&format!("{path}.")));
                let missing = super::required::missing(source, &text, &spec).into_iter().filter(theirs);
                let missing: Vec<_> = missing.filter(|fault| !hangs_on(&fault.path, faults.iter().map(|f| &*f.path))).collect();
                faults.extend(missing);
                return Some((spec, faults));
            }
            Err(wrong) => wrong,
        };
        let (error, steps) = malformed(source, &wrong, &text, &grown);
        let path = locate::written(&steps);
        // What was put there has not got the form yet, and is no fault of the file; of a word that is none the next turn says which it may be.
        let said = wrong.to_string();
        let foreign = error.what == OF_ANOTHER_PLATFORM;
        if foreign || !paths.contains(&path) && !capability::is_unknown(&said) && !said.starts_with(NO_WORD) {
            faults.push(Fault { path: path.clone(), error });
        }
        if said.starts_with("duplicate field") && !foreign {
            // Renamed, it is one that nobody knows.
            let at = locate::name(&text, wrong.line(), wrong.column()).filter(|at| text[*at] != b'-')?;
            text[at] = b'-';
            continue;
        }
        let (span, new) = if foreign { (span(&text, &steps)?, "null".to_owned()) } else { repair(&text, &said, &steps)? };
        match missing(&said) {
            _ if foreign => {}
            None if said.starts_with(NO_WORD) => {}
            Some(field) if path.is_empty() => paths.push(field.to_owned()),
            Some(field) => paths.push(format!("{path}.{field}")),
            None => paths.push(path),
        }
        // What follows stays where it is, as far as that can be.
        let padding = " ".repeat(span.len().saturating_sub(new.len()));
        let new = new + &padding;
        grown.at(span.clone(), new.len());
        text.splice(span, new.into_bytes());
    }
    None
}

/// Words on which it depends what may stand beside them.
const DECIDE: &[(&str, &[&str])] = &[
    ("type", &["major", "minor"]),
    ("mode", &["nodes", "flags"]),
    ("action", &["errnoRet"]),
    ("defaultAction", &["defaultErrnoRet"]),
    ("policy", &["nice", "priority", "flags", "runtime", "deadline", "period"]),
];

/// Whether what is said of a place is about the word that was put where one of these faults is.
pub(crate) fn hangs_on<'a>(place: &str, mut faults: impl Iterator<Item = &'a str>) -> bool {
    let Some((parent, name)) = place.rsplit_once('.') else { return false };
    let decides = |word: &str| DECIDE.iter().any(|(decides, names)| *decides == word && names.contains(&name));
    faults.any(|fault| fault.rsplit_once('.').is_some_and(|(beside, word)| beside == parent && decides(word)))
}

/// How `serde_json` says that there is no word where one of several is wanted; it does not say which.
const NO_WORD: &str = "expected value";

/// What takes the place of which bytes.
fn repair(text: &[u8], said: &str, steps: &[Step]) -> Option<(Range<usize>, String)> {
    let span = span(text, steps)?;
    if said.starts_with(NO_WORD) {
        let word = serde_json::to_string(&*String::from_utf8_lossy(&text[span.clone()])).ok()?;
        return Some((span, word));
    }
    if said.starts_with("Invalid execCPUAffinity") {
        return Some((span, "null".to_owned()));
    }
    if said.starts_with("number out of range") {
        return Some((span, "0".to_owned()));
    }
    if let Some(field) = missing(said) {
        let empty = text[span.start + 1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
        let comma = if empty { "" } else { "," };
        return Some((span.start + 1..span.start + 1, format!("\"{field}\":\"\"{comma}")));
    }
    if capability::is_unknown(said) {
        // Of a set of capabilities, which is read as a whole before its members are.
        let set = &steps[..steps.len() - usize::from(matches!(steps.last(), Some(Step::Index(_))))];
        return Some((self::span(text, set)?, "[]".to_owned()));
    }
    let wanted = said.split("expected ").nth(1)?;
    let new = match wanted {
        _ if said.contains("unknown variant") => format!("\"{}\"", wanted.split('`').nth(1)?),
        _ if wanted.contains("string") => "\"\"".to_owned(),
        _ if wanted.starts_with("a boolean") => "false".to_owned(),
        _ if wanted.starts_with("a sequence") => "[]".to_owned(),
        _ if wanted.starts_with("a map") || wanted.starts_with("struct ") => "{}".to_owned(),
        _ => "0".to_owned(),
    };
    // The same again would change nothing.
    (text[span.clone()].trim_ascii() != new.as_bytes()).then_some((span, new))
}

fn missing(said: &str) -> Option<&str> {
    said.strip_prefix("missing field `")?.split('`').next()
}

/// The bytes of the value at the end of these steps, of a text that is JSON.
pub(super) fn span(text: &[u8], steps: &[Step]) -> Option<Range<usize>> {
    let mut at = blank(text, 0);
    for step in steps {
        at = blank(text, at + 1);
        match step {
            Step::Index(index) => {
                for _ in 0..*index {
                    at = blank(text, blank(text, value(text, at)) + 1);
                }
            }
            Step::Key(key) => loop {
                let name = at..value(text, at);
                let begin = blank(text, blank(text, name.end) + 1);
                if text.get(name.start + 1..name.end - 1)? == key.as_bytes() {
                    at = begin;
                    break;
                }
                at = blank(text, blank(text, value(text, begin)) + 1);
            },
        }
    }
    (at < text.len()).then(|| at..value(text, at))
}

/// The next byte that is no white space.
fn blank(text: &[u8], at: usize) -> usize {
    at + text.get(at..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count())
}

/// The end of the value that begins here.
fn value(text: &[u8], begin: usize) -> usize {
    let (mut depth, mut at) = (0usize, begin);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string(text, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' | b':' if depth == 0 => return at,
            byte if byte.is_ascii_whitespace() && depth == 0 => return at,
            _ => {}
        }
        at += 1;
        if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}

/// The closing quote of the string that begins here.
fn string(text: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while text.get(at).is_some_and(|byte| *byte != b'"') {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::CONFIG;
    use super::*;

    fn faults(config: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG), config).unwrap();
        let mended = Bundle::mend(dir.path(), CONFIG.as_ref()).unwrap();
        let file = format!("{}: ", dir.path().join(CONFIG).display());
        mended
            .faults
            .iter()
            .map(|fault| fault.error.to_string().replace(&file, "").replace(&file[..file.len() - 2], ""))
            .collect()
    }

    #[test]
    fn every_fault_of_form_is_found_with_its_place() {
        let config = r#"{
  "ociVersion": 1,
  "process": {"cwd": ["x"], "user": {"uid": -1, "gid": 0}, "terminal": "yes",
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}, {"type": "RLIMIT_X", "soft": 1, "hard": 1}]},
  "mounts": [{"destination": "/a\"b"}, {"type": "tmpfs"}, {"destination": "/c", "options": "ro"}],
  "linux": {"namespaces": [{"type": "pid"}, {"type": "pidd"}],
    "resources": {"memory": {"limit": "1G"}, "pids": 7},
    "seccomp": {"defaultAction": "SCMP_ACT_X", "architectures": {}, "syscalls": [{"names": [3], "action": "SCMP_ACT_ALLOW"}]}}
}"#;
        let said = faults(config);
        let places: Vec<&str> = said.iter().map(|text| text.split(": ").nth(1).unwrap()).collect();
        let expected = [
            "ociVersion",
            "process.cwd",
            "process.user.uid",
            "process.terminal",
            "process.rlimits[1].type",
            "mounts[1]",
            "mounts[2].options",
            "linux.namespaces[1].type",
            "linux.resources.memory.limit",
            "linux.resources.pids",
            "linux.seccomp.defaultAction",
            "linux.seccomp.architectures",
            "linux.seccomp.syscalls[0].names[0]",
            "root",
        ];
        assert_eq!(places[..13], expected[..13], "{said:#?}");
        assert!(said[2].starts_with(":3:46: ") && said[11].starts_with(":8:64: "), "columns are the file's: {said:#?}");
        assert!(said[13].starts_with("root: missing") && said.len() == 14, "{said:#?}");
        assert!(said[5].contains("missing field `destination`") && said[4].contains("unknown variant `RLIMIT_X`"), "{said:#?}");
    }

    #[test]
    fn neither_a_list_of_cpus_nor_what_is_no_word_nor_a_huge_number_nor_a_member_that_stands_twice_hides_another_fault() {
        let said = faults(
            r#"{"ociVersion":"1.3.0","hostname":7,
  "process":{"cwd":"/","user":{"uid":1e999,"gid":0},"cwd":"/","execCPUAffinity":{"initial":"z"},"terminal":1},
  "linux":{"namespaces":[{"type":5},{"type":null},{"type":["x"]}],"personality":{"domain":false},"memoryPolicy":{"mode":{}},
    "devices":[{"type":7,"path":"/d"}],"rootfsPropagation":3}}"#,
        );
        for (place, what) in [
            ("hostname", "invalid type: integer"),
            ("process.user.uid", "number out of range"),
            ("process", "duplicate field `cwd`"),
            ("process.execCPUAffinity", "Invalid execCPUAffinity"),
            ("process.terminal", "invalid type"),
            ("linux.namespaces[0].type", "unknown variant `5`, expected one of `mount`"),
            ("linux.namespaces[1].type", "unknown variant `null`"),
            ("linux.personality.domain", "unknown variant `false`"),
            ("linux.devices[0].type", "unknown variant `7`"),
            ("linux.rootfsPropagation", "invalid type"),
        ] {
            let wanted = format!(": {place}: {what}");
            assert!(said.iter().any(|line| line.contains(&wanted)), "{wanted}: {said:#?}");
        }
    }

    /// Nobody has said that it means nothing, and what it says is of no interest here.
    #[test]
    fn an_object_of_another_platform_is_one_fault_whatever_is_in_it() {
        for what in [
            r#""vm":{}"#,
            r#""vm":7"#,
            r#""vm":[]"#,
            r#""vm":{"kernel":{"path":1},"image":{"format":2}}"#,
            r#""windows":{"servicing":5,"devices":[{}]}"#,
            r#""vm":{"kernel":{"path":"/k"},"kernel":{"path":"/k"}}"#,
        ] {
            let said = faults(&format!(r#"{{"ociVersion":"1.3.0",{what},"hostname":7,"root":{{"path":"/"}}}}"#));
            let name = what.split('"').nth(1).unwrap();
            assert!(said.len() == 2 && said[1].contains(": hostname: invalid type"), "{said:#?}");
            assert!(
                said[0].starts_with(":1:") && said[0].ends_with(&format!(": {name}: belongs to another platform")),
                "{said:#?}"
            );
        }
    }

    /// `conformance --inject`: a read that failed once was followed by a mended bundle without a fault, and by no sentence.
    #[test]
    fn a_bundle_without_a_fault_is_not_mended() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("rootfs")).unwrap();
        std::fs::write(dir.path().join(CONFIG), r#"{"ociVersion": "1.0.2", "root": {"path": "rootfs"}}"#).unwrap();
        assert!(Bundle::read(dir.path()).is_ok() && Bundle::mend(dir.path(), CONFIG.as_ref()).is_none());
    }

    #[test]
    fn what_has_the_wrong_form_may_be_long() {
        let hostname = "x".repeat(70_000);
        let said = faults(&format!(r#"{{"ociVersion":"1.3.0","hostname":["{hostname}"]}}"#));
        assert!(said[0].ends_with("invalid type: sequence, expected a string"), "{said:?}");
    }

    #[test]
    fn an_array_in_the_wrong_place_hides_nothing_however_the_text_is_spaced() {
        for space in ["", " "] {
            let text = r#"{"ociVersion":"1.3.0","hostname":["h"],"annotations":[],"linux":{"maskedPaths":["a"],"sysctl":[1]}}"#;
            let said = faults(&text.replace(':', &format!(":{space}")));
            for place in ["hostname: ", "annotations: ", "linux.sysctl: ", "root: missing"] {
                assert!(said.iter().any(|line| line.contains(place)), "{place}: {said:#?}");
            }
        }
    }

    #[test]
    fn an_unknown_capability_hides_no_other_reason() {
        let process = r#"{"user":{"uid":0,"gid":0},"cwd":"/","args":["x"],"capabilities":{"bounding":["CAP_CHOWN","CAP_X"],"effective":["CAP_Z"]}}"#;
        let said = faults(&format!(r#"{{"ociVersion":"1.3.0","hostname":7,"process":{process}}}"#));
        let says = |word: &str| said.iter().any(|line| line.contains(word));
        assert!(says("hostname: ") && !says("capabilities"), "{said:#?}");
    }

    #[test]
    fn numbers_that_are_missing_are_all_named_beside_other_faults() {
        let devices = r#"[{"type":"c","path":"/a"},{"type":"p","path":"/b"},{"type":"b","path":"/c","major":8},"x"]"#;
        let said = faults(&format!(r#"{{"ociVersion":"1.3.0","hostname":7,"linux":{{"devices":{devices}}}}}"#));
        for place in [
            "hostname: ",
            "linux.devices[0].major: ",
            "linux.devices[0].minor: ",
            "linux.devices[2].minor: ",
            "linux.devices[3]: ",
        ] {
            assert!(said.iter().any(|line| line.contains(place)), "{place}: {said:#?}");
        }
        assert_eq!(said.len(), 6, "{said:#?}");
    }

    #[test]
    fn what_is_no_json_has_one_reason() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG), "{\"ociVersion\": 1, ]").unwrap();
        assert!(Bundle::mend(dir.path(), CONFIG.as_ref()).is_none());
    }
}
