//! Words of a command line, and names of config.json that are joined to a path of the host's. The first byte says which.
#![no_main]

#[path = "../../cmd/src/quantity.rs"]
mod quantity;

use libfuzzer_sys::fuzz_target;
use libruntime::bridge::{Route, Side};
use libruntime::bundle::{self, Bundle, Rootfs};
use libruntime::host::Host;
use libruntime::host::resctrl::Resctrl;
use libruntime::plan::op::ParentOp;
use libruntime::plan::{Options, Plan};
use libruntime::policy::choice::Choices;
use libruntime::state::{ContainerId, Signal};
use serde_json::{Value, json};
use std::path::{Component, Path};

fuzz_target!(|text: &str| {
    let Some(which) = text.chars().next() else { return };
    let text = &text[which.len_utf8()..];
    match u32::from(which) % 7 {
        0 => route(text),
        1 => port(text),
        2 => drop((quantity::size(text), quantity::duration(text))),
        3 => socket(text),
        4 => unit(text),
        5 => resctrl(text),
        _ => id(text),
    }
});

/// A word of the bridge's.
fn route(text: &str) {
    if let Ok(route) = text.parse::<Route>() {
        assert_eq!(route.to_string().parse::<Route>(), Ok(route));
    }
}

/// `--publish`, `--allow-host-port`: between the two loopbacks.
fn port(text: &str) {
    for side in [Side::Outside, Side::Inside] {
        match Route::between_loopbacks(side, text) {
            Ok(route) => assert!([route.listen, route.dial].iter().all(|at| at.ip().is_loopback() && at.port() != 0)),
            Err(word) => assert!(text.contains(word)),
        }
    }
}

/// `--unix-socket`: a path from the root that does not climb.
fn socket(text: &str) {
    if Choices::default().unix_socket(text).is_ok() {
        let path = Path::new(text);
        assert!(path.is_absolute() && path.components().all(|name| name != Component::ParentDir) && !text.contains('\0'));
    }
}

fn plan(linux: Value, host: &Host, systemd: bool) -> Result<Plan, Vec<libruntime::Error>> {
    let json = json!({
        "ociVersion": "1.2.0", "root": {"path": "r"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/"},
        "linux": linux,
    });
    let bundle = Bundle { spec: bundle::spec(&json).expect("a spec"), rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
    Plan::new(&bundle, host, &Options { id: Some("x".into()), systemd, record: true, ..Options::default() })
}

/// Whether it is `top`, or lies below it and nowhere else.
fn is_below(top: &Path, path: &Path) -> bool {
    path.strip_prefix(top).is_ok_and(|rest| rest.components().all(|name| matches!(name, Component::Normal(_))))
}

const NAMESPACES: &str = r#"[{"type": "mount"}, {"type": "pid"}]"#;

/// `linux.cgroupsPath`, as a path and as SLICE:PREFIX:NAME.
fn unit(text: &str) {
    let namespaces: Value = serde_json::from_str(NAMESPACES).expect("JSON");
    for systemd in [false, true] {
        match plan(json!({"namespaces": namespaces, "cgroupsPath": text}), &Host::recorded(0, 0), systemd) {
            Ok(plan) => {
                let made =
                    plan.parent.iter().find_map(|step| if let ParentOp::Cgroup(plan) = &step.op { Some(plan) } else { None });
                let groups = made.iter().flat_map(|made| &made.groups);
                groups.for_each(|group| assert!(is_below(Path::new("/"), &Path::new("/").join(&group.path)), "{group:?}"));
                let unit = made.and_then(|made| made.unit.as_ref());
                assert!(
                    unit.is_none_or(|unit| unit.name.len() <= 255 && !unit.name.contains(['/', '\n', '\0', ' '])),
                    "{unit:?}"
                );
            }
            Err(reasons) => assert!(reasons.iter().all(|reason| reason.place.is_some()), "{reasons:?}"),
        }
    }
}

/// `linux.intelRdt.closID` is one directory of the file system's.
fn resctrl(text: &str) {
    let mount = Path::new("/resctrl");
    let host = Host { resctrl: Some(Resctrl { mount: mount.into(), monitored: vec![] }), ..Host::recorded(0, 0) };
    let namespaces: Value = serde_json::from_str(NAMESPACES).expect("JSON");
    let planned = plan(json!({"namespaces": namespaces, "intelRdt": {"closID": text, "schemata": [text]}}), &host, false);
    let group = |plan: &Plan| {
        plan.parent.iter().find_map(|step| if let ParentOp::Resctrl(group) = &step.op { Some(group.path.clone()) } else { None })
    };
    match planned {
        Ok(plan) => {
            assert!(group(&plan).is_some_and(|path| path == mount || path.parent() == Some(mount) && is_below(mount, &path)))
        }
        Err(reasons) => assert!(reasons.iter().all(|reason| reason.place.is_some()), "{reasons:?}"),
    }
}

/// Of a container: the name of a directory. And a signal, by name or number; 0 only asks (kill(2)).
fn id(text: &str) {
    if let Ok(id) = text.parse::<ContainerId>() {
        assert!(is_below(Path::new("/"), &Path::new("/").join(id.as_str())) && !id.as_str().contains('/'));
    }
    assert!(text.parse::<Signal>().map_or(true, |signal| (0..=64).contains(&signal.number())));
}
