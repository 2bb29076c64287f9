//! Which containers criu cannot bring back; said before it writes the first image.

use crate::annotation;
use crate::namespace::{all, path};
use crate::plan::op::{Op, ParentOp};
use crate::plan::{Plan, annotation_of};
use crate::{Error, Result};
use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};

/// Every reason, with its place in config.json.
pub(super) fn unfit(spec: &Spec, plan: &Plan) -> Result<(), Vec<Error>> {
    let why = |place: &str, what: &str| Error::new(what).at(format!("config.json: {place}"));
    let mut errors = Vec::new();
    if plan.terminal {
        let what = "a container with a terminal cannot be checkpointed: criu's command line does not give its master away";
        errors.push(why("process.terminal", what));
    }
    for (key, what) in [
        (annotation::INIT, "a container whose PID 1 is codexrun cannot be checkpointed: that program is not in it"),
        (annotation::PLACEHOLDERS, "placeholders cannot be checkpointed: who holds them is outside"),
    ] {
        if annotation_of(spec, key).is_some() {
            errors.push(why(&format!("annotations[{key}]"), what));
        }
    }
    let mapped = plan.parent.iter().filter(|step| matches!(step.op, ParentOp::IdMap(_)));
    errors.extend(mapped.map(|step| why(&step.origin, "criu cannot make an id-mapped mount anew")));
    let nodes = plan.parent.iter().filter(|step| matches!(step.op, ParentOp::Node(_)));
    errors.extend(
        nodes.map(|step| why(&step.origin, "criu cannot make a device node anew that the user namespace permits none of")),
    );
    let units = plan.parent.iter().filter(|step| matches!(&step.op, ParentOp::Cgroup(plan) if plan.unit.is_some()));
    errors.extend(units.map(|step| why(&step.origin, "criu cannot put processes into a unit of systemd's")));
    errors.extend(joined(spec).into_iter().map(|(i, typ)| {
        why(&format!("linux.namespaces[{i}].path"), &format!("criu cannot put processes into a {typ} namespace that is there"))
    }));
    let groups = plan.parent.iter().filter(|step| matches!(step.op, ParentOp::Resctrl(_)));
    errors.extend(groups.map(|step| why(&step.origin, "criu does not put processes back into a resctrl group")));
    let detached = plan.child.iter().filter(|step| step.op == Op::Chroot);
    errors.extend(detached.map(|_| why("linux.namespaces", "criu cannot make a root anew that is in no mount namespace")));
    let lost = plan.child.iter().filter(|step| is_lost(&step.op));
    errors.extend(lost.map(|step| why(&step.origin, "criu does not bring it back")));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// What a process has and criu does not write down.
fn is_lost(op: &Op) -> bool {
    matches!(op, Op::Supervised { .. } | Op::Restrict | Op::IoPriority(_) | Op::MemoryPolicy { .. } | Op::Personality(_))
}

/// criu writes it down since 3.19; without it a set-user-ID program would be one again.
pub(super) fn no_new_privileges(what: &str) -> Error {
    Error::new(what).at("config.json: process.noNewPrivileges").hint("criu 3.19 is the first that brings it back")
}

/// Whether criu, of this version, brings back what the plan asks for.
pub(super) fn too_old(version: (u32, u32), plan: &Plan) -> Result<()> {
    let wanted = plan.child.iter().any(|step| step.op == Op::NoNewPrivs);
    match wanted && version < (3, 19) {
        true => Err(no_new_privileges(&format!("criu {}.{} loses it", version.0, version.1))),
        false => Ok(()),
    }
}

fn joined(spec: &Spec) -> Vec<(usize, Type)> {
    let cannot = |typ| matches!(typ, Type::Mount | Type::Cgroup);
    all(spec).enumerate().filter(|(_, n)| path(n).is_some() && cannot(n.typ())).map(|(i, n)| (i, n.typ())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, Rootfs};
    use crate::host::Host;
    use crate::plan::Options;

    fn said(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let mut spec = serde_json::json!({
            "ociVersion": "1.0.2", "root": { "path": "r" }, "mounts": [],
            "process": { "cwd": "/", "args": ["x"], "user": { "uid": 0, "gid": 0 } },
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
        });
        change(&mut spec);
        let spec: Spec = serde_json::from_value(spec).unwrap();
        let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown: Vec::new() };
        let options = Options { bundle_dir: Some("/b".into()), id: Some("x".into()), ..Options::default() };
        let plan = Plan::new(&bundle, &Host::recorded(0, 0), &options).unwrap();
        unfit(&bundle.spec, &plan).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_cannot_come_back_is_refused_by_name() {
        assert_eq!(said(|_| {}), Vec::<String>::new());
        let init = said(|spec| spec["annotations"] = serde_json::json!({ "dev.codexrun.init": "reaper" }));
        assert!(init[0].starts_with("config.json: annotations[dev.codexrun.init]: "), "{init:?}");
        let cgroup = serde_json::json!({ "type": "cgroup", "path": "/proc/2/ns/cgroup" });
        let cgroup = said(|spec| spec["linux"]["namespaces"].as_array_mut().unwrap().push(cgroup));
        assert!(cgroup[0].starts_with("config.json: linux.namespaces[2].path: criu cannot"), "{cgroup:?}");
        let mounts = said(|spec| spec["linux"]["namespaces"] = serde_json::json!([{ "type": "pid" }]));
        assert!(mounts.len() == 1 && mounts[0].starts_with("config.json: linux.namespaces: criu cannot"), "{mounts:?}");
        let terminal = said(|spec| {
            spec["process"]["terminal"] = true.into();
            spec["mounts"] = serde_json::json!([{ "destination": "/dev/pts", "type": "devpts", "source": "devpts" }]);
        });
        assert!(terminal.len() == 1 && terminal[0].starts_with("config.json: process.terminal: "), "{terminal:?}");
    }
}
