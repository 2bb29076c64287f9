//! What one process tells another, and the kernel's tables: the first byte says which. Nothing is read that is not there, and what
//! somebody else may choose (the name of a process, of a mount point) moves nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::bridge::Route;
use libruntime::bundle::{self, Bundle, Rootfs};
use libruntime::host::Host;
use libruntime::plan::{Options, Plan};
use libruntime::{annotation, fuzz, systemd};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match which % 12 {
        0 => fault(bytes),
        1 => assert!(fuzz::bus_message(bytes).is_none_or(|words| words.iter().map(String::len).sum::<usize>() <= bytes.len())),
        2 => assert!(!fuzz::bus_address(&text) || text.starts_with("unix:")),
        3 => gvariant(&text),
        4 => assert!(!fuzz::oci_state(&text) || text.contains("id")),
        5 => route(&text),
        6 => mount_point(bytes),
        7 => process_name(bytes),
        8 => assert!(fuzz::tables(&text) <= 1 << 17),
        9 => assert!(fuzz::listed(bytes) <= bytes.len()),
        10 => status(bytes),
        _ => annotation(bytes),
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

/// A fault of any bytes is a sentence.
fn fault(bytes: &[u8]) {
    static PLAN: LazyLock<Plan> = LazyLock::new(|| plan(None, "").expect("a plan"));
    if let Some(bytes) = bytes.first_chunk() {
        assert!(!fuzz::fault(*bytes, &PLAN).is_empty());
    }
}

fn gvariant(text: &str) {
    if let Ok(value) = systemd::text::value(text) {
        assert!(!value.signature().is_empty() && value.to_string().len() <= 16 * text.len().max(4));
    }
}

fn route(text: &str) {
    if let Ok(route) = text.parse::<Route>() {
        assert_eq!(route.to_string().parse::<Route>(), Ok(route));
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
