//! A mount (destination, type, source, one option a line) → plan: every place in it is clean, whatever it was written like, and no
//! option is set and cleared.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libruntime::bundle::{self, Bundle, Rootfs};
use libruntime::host::Host;
use libruntime::plan::options::Options as Words;
use libruntime::plan::place::At;
use libruntime::plan::{Options, Plan};
use libruntime::sys::file::Resolve;
use libruntime::sys::mount::attr;
use serde_json::json;
use std::path::Path;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default().to_owned();
    let (destination, typ, source) = (next(), next(), next());
    let options: Vec<String> = lines.map(str::to_owned).collect();
    clean(&destination);
    let mount = json!({"destination": destination, "type": typ, "source": source, "options": options});
    if let Ok(words) = Words::of(&serde_json::from_value(mount.clone()).expect("texts are texts")) {
        // Access times are one field: to set it one clears it (mount_setattr(2)).
        let both = |set: u64, clear: u64| set & clear & !attr::ATIME;
        assert_eq!(both(words.attrs.own.set, words.attrs.own.clear) | both(words.attrs.tree.set, words.attrs.tree.clear), 0);
    }
    let json = json!({
        "ociVersion": "1.2.0", "root": {"path": "r"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/"},
        "mounts": [mount], "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    });
    let bundle =
        Bundle { spec: bundle::spec(&json).expect("texts are texts"), rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
    if let Err(reasons) =
        Plan::new(&bundle, &Host::recorded(0, 0), &Options { bundle_dir: Some("/b".into()), ..Options::default() })
    {
        assert!(
            reasons.iter().all(|reason| reason.place.as_deref().is_some_and(|place| place.contains("mounts[0]"))),
            "{reasons:?}"
        );
    }
});

fn clean(path: &str) {
    let Ok(at) = At::new(Path::new(path), Resolve::InRoot, true) else { return };
    let bytes = at.path.as_bytes();
    let names: Vec<&[u8]> = bytes[1..].split(|byte| *byte == b'/').filter(|_| bytes.len() > 1).collect();
    assert!(bytes[0] == b'/' && names.iter().all(|name| ![&b""[..], b".", b".."].contains(name)), "{at:?}");
    assert!(
        at.parents.len() == names.len().saturating_sub(1) && at.parents.iter().all(|p| bytes.starts_with(p.as_bytes())),
        "{at:?}"
    );
    assert_eq!(at.name.as_bytes(), names.last().copied().unwrap_or_default());
}
