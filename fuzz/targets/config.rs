//! The text of a config.json → spec → plan → listing: whatever it says, it is planned or refused with reasons, each with its place. What
//! was read is written and read again as the same, an array in place of an object is refused, and what is wrong with it stands in the
//! text. Behind `p` or `r` stands a part of one: the process of `exec --process`, the limits of `update --resources`, of which the same is
//! said as of the whole.
#![no_main]

#[path = "../src/tree.rs"]
mod tree;

use libfuzzer_sys::fuzz_target;
use libruntime::Error;
use libruntime::bundle::{self, Bundle, Rootfs, part};
use libruntime::fuzz::{self, Config};
use libruntime::host::Host;
use libruntime::plan::{Options, Plan, op::Op};
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::path::Path;
use tree::Tree;

fuzz_target!(|text: &[u8]| {
    match text.split_first() {
        Some((b'p', text)) => process(text),
        Some((b'r', text)) => resources(text),
        _ => whole(text),
    }
});

fn whole(text: &[u8]) {
    let json = serde_json::from_slice::<Value>(text);
    match fuzz::config(text) {
        Ok(config) => accepted(text, &json.expect("what is read is JSON"), config),
        Err(reason) => refused(text, json.is_ok(), &reason),
    }
}

fn accepted(text: &[u8], json: &Value, Config { spec, unknown, warned }: Config) {
    assert_eq!(fuzz::missing(text), [""; 0], "and the specification requires it");
    // Nothing stands twice, so nothing is lost in a value.
    assert!(warned || bundle::spec(json).expect("a spec") == spec, "as the value says");
    if !warned {
        array(text, json, &unknown);
    }
    let tree = Tree::of(text);
    assert!(tree.is_none_or(|tree| unknown.iter().all(|path| tree.has(path))), "{unknown:?}");
    again(&spec, &serde_json::to_string(&spec).expect("what was read can be written"));
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/rootfs".into()), unknown: Vec::new() };
    again(&bundle.spec, &bundle.to_json().expect("what was read can be written"));
    for (uid, park) in [(0, true), (1000, false)] {
        let options = Options { id: Some("x".into()), bundle_dir: Some("/b".into()), park, record: park, ..Options::default() };
        match Plan::new(&bundle, &Host::recorded(uid, uid), &options) {
            Ok(plan) => {
                assert!(plan.child.is_sorted_by_key(|step| step.stage), "in the order of the stages");
                assert!(matches!(plan.child.last().map(|step| &step.op), Some(Op::Exec(_))), "the program comes last");
                assert!(!plan.to_string().is_empty());
            }
            Err(reasons) => {
                assert!(!reasons.is_empty(), "a refusal has a reason");
                assert!(reasons.iter().all(|reason| reason.place.is_some()), "{reasons:?}");
            }
        }
    }
}

/// In place of an object the array of its members' values is refused, wherever somebody knows the object; of another one with each text.
fn array(text: &[u8], json: &Value, unknown: &[String]) {
    let mut all = Vec::new();
    objects(json, ["", ""], unknown, &mut all);
    let at = &all[text.len() % all.len()];
    let mut json = json.clone();
    let object = json.pointer_mut(at).expect("an object");
    *object = object.as_object().into_iter().flat_map(|object| object.values()).cloned().collect();
    let said = bundle::spec(&json).expect_err(at).to_string();
    assert!(said.starts_with("invalid type: sequence"), "{at}: {said}");
}

/// The pointers of all; beside each the way as sentences have it.
fn objects(json: &Value, [at, path]: [&str; 2], unknown: &[String], all: &mut Vec<String>) {
    match json {
        _ if unknown.iter().any(|unknown| path.strip_prefix('.') == Some(unknown)) => {}
        Value::Object(object) => {
            all.push(at.to_owned());
            for (name, value) in object {
                let step = name.replace('~', "~0").replace('/', "~1");
                objects(value, [&format!("{at}/{step}"), &format!("{path}.{name}")], unknown, all);
            }
        }
        Value::Array(list) => {
            for (i, value) in list.iter().enumerate() {
                objects(value, [&format!("{at}/{i}"), &format!("{path}[{i}]")], unknown, all);
            }
        }
        _ => {}
    }
}

/// As a container's record and a bundle keep it: the same spec is the same plan.
fn again(spec: &Spec, text: &str) {
    let Config { spec: read, unknown, warned } = fuzz::config(text.as_bytes()).expect("and read again");
    assert!(read == *spec && unknown.is_empty() && !warned, "{text}");
}

fn refused(text: &[u8], is_json: bool, reason: &Error) {
    assert!(!is_json || !reason.what.starts_with("not JSON"), "{reason}");
    within(text, reason, fuzz::CONFIG);
    let Some(faults) = fuzz::faults(text) else { return };
    assert!(!faults.is_empty(), "{reason}");
    let tree = Tree::of(text);
    for (path, fault) in &faults {
        within(text, fault, fuzz::CONFIG);
        assert!(tree.as_ref().is_none_or(|tree| tree.has(path) || is_missing(tree, path, fault)), "{fault}");
    }
}

/// Of a member that should be there its object is.
fn is_missing(tree: &Tree, path: &str, fault: &Error) -> bool {
    let above = path.rsplit_once('.').map_or("", |(above, _)| above);
    fault.what.starts_with("missing") && tree.has(above)
}

/// `FILE`, or `FILE:LINE:COLUMN`, of which the text has so many.
fn within(text: &[u8], error: &Error, file: &str) {
    let place = error.place.as_deref().and_then(|place| place.strip_prefix(file)).expect("a place in the file");
    let mut numbers = place.split(':').skip(1).take(2).map_while(|number| number.parse::<usize>().ok());
    if let (Some(line), Some(column)) = (numbers.next(), numbers.next()) {
        let line = text.split(|byte| *byte == b'\n').nth(line - 1).expect("a line of the text");
        assert!(column <= line.len() + 1, "{error}: {} bytes", line.len());
    }
}

const PART: &str = "/p.json";

fn process(text: &[u8]) {
    let read = part::process(Path::new(PART), text, None, &mut drop);
    part(text, "process", read, |spec| spec.process().clone().expect("a process"));
}

fn resources(text: &[u8]) {
    let read = part::resources(Path::new(PART), text, &mut drop);
    let of = |spec: &Spec| spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default();
    part(text, "linux\":{\"resources", read, of);
}

/// What is said of a part is said of a config.json that has nothing else.
fn part<T: PartialEq>(text: &[u8], members: &str, read: Result<T, Vec<Error>>, of: impl Fn(&Spec) -> T) {
    let closes = if members.contains('{') { "}}" } else { "}" };
    let whole = [format!("{{\"ociVersion\":\"\",\"{members}\":").as_bytes(), text, closes.as_bytes()].concat();
    let is_one = serde_json::from_slice::<Value>(text).is_ok_and(|json| json.is_object());
    match (read, fuzz::config(&whole)) {
        (Ok(part), config) => assert!(is_one && of(&config.expect("the whole").spec) == part),
        (Err(errors), config) => {
            assert!(!errors.is_empty() && (!is_one || config.is_err()), "{errors:?}");
            errors.iter().for_each(|error| within(text, error, PART));
        }
    }
}
