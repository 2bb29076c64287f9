//! The annotation `isolation`: no namespace and no mount is made, and the root is the host's. What confines is Landlock and the filter.

use super::namespace::Maps;
use super::op::ParentOp;
use super::{
    Draft, Options, ParentStep, Plan, annotation_of, cgroup, check, hook, identity, landlock, process, seccomp, unknown,
};
use crate::Error;
use crate::annotation::{INIT, ISOLATION, PLACEHOLDERS};
use crate::bundle::{Bundle, NO_ROOT};
use crate::host::Host;
use oci_spec::runtime::{Linux, Process, Spec};
use std::path::Path;

/// Whether a spec asks for it.
pub(super) fn is_asked(spec: &Spec) -> bool {
    annotation_of(spec, ISOLATION).is_some()
}

pub(super) fn plan(bundle: &Bundle, host: &Host, options: &Options) -> Result<Plan, Vec<Error>> {
    let spec = &bundle.spec;
    let mut draft = Draft::new(bundle, host, options);
    check::spec(&mut draft, bundle);
    needless(&mut draft, spec);
    let origin = format!("annotations[{ISOLATION}]");
    draft.before.push(ParentStep { op: ParentOp::Clone(0), origin: origin.clone() });
    let mut warnings = cgroup::plan(&mut draft, spec);
    identity::drop_groups(&mut draft, spec);
    warnings.extend(root(&mut draft, spec));
    if let Some(process) = spec.process() {
        caller(&mut draft, process);
    }
    warnings.extend(identity::plan(&mut draft, spec, &Maps::Caller));
    process::plan(&mut draft, spec);
    warnings.extend(unknown(bundle));
    hook::plan(&mut draft, spec);
    let ports = landlock::plan(&mut draft, spec);
    warnings.extend(seccomp::plan(&mut draft, spec, ports));
    draft.finish(spec, warnings)
}

/// The process stays who the caller is: to be another takes a right that its rules would not confine.
fn caller(draft: &mut Draft, process: &Process) {
    let (user, host) = (process.user(), draft.host);
    for (place, wanted, only) in [("process.user.uid", user.uid(), host.uid), ("process.user.gid", user.gid(), host.gid)] {
        if wanted != only {
            draft.refuse(place, format!("{wanted} is not the caller's {only}, and there is no user namespace"));
        }
    }
    if user.additional_gids().as_ref().is_some_and(|gids| !gids.is_empty()) {
        draft.refuse("process.user.additionalGids", "cannot be set without a user namespace");
    }
    if process.terminal() == Some(true) {
        draft.refuse("process.terminal", "needs a devpts of the container's own");
    }
}

/// The host's `/`, by a name that says nothing to others: or they would mount over it, and run the command without any rules.
fn root(draft: &mut Draft, spec: &Spec) -> Option<String> {
    match spec.root().as_ref().map(|root| root.path().as_path()) {
        Some(path) if path == Path::new(NO_ROOT) => None,
        Some(path) if path == Path::new("/") => Some(format!(
            "config.json: root.path: `/` lets root's runc mount over the host's `/` and run the command without Landlock's rules: write \
             `{NO_ROOT}` there, which stops every other runtime"
        )),
        _ => {
            draft.refuse("root.path", format!("means nothing with `{ISOLATION}`, unless it is `{NO_ROOT}`"));
            None
        }
    }
}

/// What speaks of namespaces and mounts must not be taken for a protection.
fn needless(draft: &mut Draft, spec: &Spec) {
    let why = format!("means nothing with `{ISOLATION}`: there are no namespaces and no mounts");
    let root = spec.root().as_ref();
    let top = [
        (root.is_some_and(|root| root.readonly() == Some(true)), "root.readonly"),
        (some(spec.mounts().as_ref().map(Vec::len)), "mounts"),
        (spec.hostname().as_ref().is_some_and(|name| !name.is_empty()), "hostname"),
        (spec.domainname().as_ref().is_some_and(|name| !name.is_empty()), "domainname"),
    ];
    let linux = spec.linux().iter().flat_map(of_linux);
    let annotations = [INIT, PLACEHOLDERS].map(|key| (annotation_of(spec, key).is_some(), key));
    for (there, place) in top.into_iter().chain(linux).chain(annotations) {
        if there {
            draft.refuse(place, why.clone());
        }
    }
}

/// Whether a list, of which this is the length, is there and has something in it.
fn some(length: Option<usize>) -> bool {
    length.is_some_and(|n| n > 0)
}

fn of_linux(linux: &Linux) -> [(bool, &'static str); 14] {
    [
        (some(linux.namespaces().as_ref().map(Vec::len)), "linux.namespaces"),
        (some(linux.uid_mappings().as_ref().map(Vec::len)), "linux.uidMappings"),
        (some(linux.gid_mappings().as_ref().map(Vec::len)), "linux.gidMappings"),
        (some(linux.devices().as_ref().map(Vec::len)), "linux.devices"),
        (some(linux.masked_paths().as_ref().map(Vec::len)), "linux.maskedPaths"),
        (some(linux.readonly_paths().as_ref().map(Vec::len)), "linux.readonlyPaths"),
        (some(linux.sysctl().as_ref().map(std::collections::HashMap::len)), "linux.sysctl"),
        (some(linux.net_devices().as_ref().map(std::collections::HashMap::len)), "linux.netDevices"),
        (linux.rootfs_propagation().is_some(), "linux.rootfsPropagation"),
        (linux.mount_label().is_some(), "linux.mountLabel"),
        (linux.time_offsets().is_some(), "linux.timeOffsets"),
        (linux.intel_rdt().is_some(), "linux.intelRdt"),
        (linux.personality().is_some(), "linux.personality"),
        (linux.memory_policy().is_some(), "linux.memoryPolicy"),
    ]
}

/// Nobody's rights change on the way, and of capabilities only fewer are left.
pub(super) fn drops_bounding(draft: &Draft) -> bool {
    const CAP_SETPCAP: u64 = 1 << 8;
    draft.host.permitted & CAP_SETPCAP != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Rootfs;
    use serde_json::{Value, json};

    fn bundle(host: &Host, change: impl FnOnce(&mut Value)) -> Bundle {
        let mut spec = json!({
            "ociVersion": "1.0.0", "root": { "path": NO_ROOT },
            "process": { "cwd": "/", "args": ["/x"], "env": ["HOME=/h"], "user": { "uid": host.uid, "gid": host.gid }, "noNewPrivileges": true },
            "linux": {},
            "annotations": { ISOLATION: "landlock", crate::annotation::LANDLOCK: r#"{"ruleset": [{"handledAccessFs": ["v1.all"]}]}"# },
        });
        change(&mut spec);
        Bundle { spec: serde_json::from_value(spec).unwrap(), rootfs: Rootfs::Dir("/".into()), unknown: Vec::new() }
    }

    fn planned(host: &Host, change: impl FnOnce(&mut Value)) -> Result<String, Vec<String>> {
        let plan = Plan::new(&bundle(host, change), host, &Options::default());
        plan.map(|plan| plan.to_string()).map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_is_made_and_nobody_becomes_another() {
        for host in [Host::recorded(0, 0), Host { permitted: 0, ..Host::recorded(1000, 1000) }] {
            let plan = planned(&host, |_| {}).unwrap();
            for word in ["unshare", "mount", "pivot", "set uid", "map uid", "bind "] {
                assert!(!plan.contains(word), "{word}:\n{plan}");
            }
            assert!(plan.contains("restrict to what is permitted") && plan.contains("  clone  "), "{plan}");
            assert_eq!(plan.contains("limit the bounding set"), host.uid == 0);
        }
    }

    #[test]
    fn a_root_that_another_runtime_would_find_is_warned_of() {
        let warned = |path: &str| {
            let bundle = bundle(&Host::recorded(0, 0), |spec| spec["root"]["path"] = json!(path));
            let plan = Plan::new(&bundle, &Host::recorded(0, 0), &Options::default()).unwrap();
            plan.warnings.iter().any(|line| line.starts_with("config.json: root.path: `/` ") && line.contains(NO_ROOT))
        };
        assert_eq!([NO_ROOT, "/"].map(warned), [false, true]);
    }

    #[test]
    fn what_would_need_a_namespace_or_a_mount_is_refused_by_name() {
        let host = Host::recorded(1000, 1000);
        for (pointer, value) in [
            ("/root/path", json!("rootfs")),
            ("/root/readonly", json!(true)),
            ("/mounts", json!([{ "destination": "/proc", "type": "proc" }])),
            ("/hostname", json!("x")),
            ("/linux/namespaces", json!([{ "type": "pid" }])),
            ("/linux/maskedPaths", json!(["/proc/kcore"])),
            ("/linux/readonlyPaths", json!(["/proc/sys"])),
            ("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })),
            ("/process/terminal", json!(true)),
            ("/process/user/uid", json!(0)),
            ("/annotations/dev.codexrun.init", json!("reaper")),
        ] {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let said = planned(&host, |spec| spec.pointer_mut(parent).unwrap()[key] = value).unwrap_err();
            let place = pointer[1..].replace('/', ".");
            assert!(said.iter().any(|line| line.contains(place.trim_start_matches("annotations."))), "{pointer}: {said:?}");
        }
    }
}
