//! `exec`: one more process in a running container, as confined as the first one. It makes nothing and mounts nothing: it joins.

use super::namespace::{self, Maps};
use super::op::{Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, Options, ParentStep, Plan, alone, check, device, identity, landlock, process, resctrl, schedule, seccomp};
use crate::Error;
use crate::annotation::ISOLATION;
use crate::bundle::Bundle;
use crate::host::Host;
use oci_spec::runtime::Process;

/// `first` is the container's own process.
pub(super) fn plan(bundle: &Bundle, first: Option<&Process>, host: &Host, options: &Options) -> Result<Plan, Vec<Error>> {
    let spec = &bundle.spec;
    let mut draft = Draft::new(bundle, host, options);
    // It is not PID 1, and what the container dies with is the container's affair.
    draft.init = false;
    draft.joins = true;
    if alone::is_asked(spec) {
        draft.refuse(format!("annotations[{ISOLATION}]"), "leaves nothing to join: `run` the bundle once more");
    }
    if let Some(process) = spec.process() {
        check::process(&mut draft, process);
    }
    let maps = join(&mut draft, bundle);
    device::terminal(&mut draft, spec);
    let mut warnings = identity::plan(&mut draft, spec, &maps);
    process::plan(&mut draft, spec);
    let ports = landlock::plan(&mut draft, spec);
    warnings.extend(seccomp::plan(&mut draft, spec, ports));
    draft.pin = options.pin && keeps_to_itself(&draft, [first, spec.process().as_ref()]);
    draft.hand_over("exec");
    draft.settle(warnings)
}

/// Whether codexrun's own file is out of reach for everybody inside as long as its path is not executed: who may look into others could
/// open it by way of this process before its execve(2), or afterwards where the program names it as the interpreter that the kernel maps
/// (/proc/PID/map_files). In the caller's own pid namespace codexrun itself is within sight.
fn keeps_to_itself(draft: &Draft, processes: [Option<&Process>; 2]) -> bool {
    let powerless = draft.spaces.own(libc::CLONE_NEWUSER) || !processes.into_iter().flatten().any(identity::may_look_into_others);
    powerless && draft.spaces.own(libc::CLONE_NEWPID) && seccomp::lets_execveat(draft)
}

/// CVE-2016-9962: from the moment that the container sees the process, nobody in it may look into it.
fn join(draft: &mut Draft, bundle: &Bundle) -> Maps {
    let linux = bundle.spec.linux().as_ref();
    let flags = linux.map_or(0, namespace::joined);
    draft.spaces.joined = flags;
    let origin = "linux.namespaces";
    draft.before.push(ParentStep { op: ParentOp::Clone(0), origin: origin.to_owned() });
    // Before it joins: whatever it does inside counts as the container's.
    match draft.options {
        Options { no_cgroup: true, .. } => {}
        // Of an ordinary user, who may be outside of everything that was delegated: nobody is born across that border.
        Options { systemd: true, .. } => {
            let step = |op| ParentStep { op, origin: "linux.cgroupsPath".to_owned() };
            draft.parent.extend([step(ParentOp::Attach), step(ParentOp::Tell(Sync::Cgroup))]);
            draft.step(Stage::Unit, Op::Wait(Sync::Cgroup), "linux.cgroupsPath");
        }
        _ => draft.step(Stage::Cgroup, Op::EnterCgroup, "linux.cgroupsPath"),
    }
    let affinity = bundle.spec.process().as_ref().and_then(|process| process.exec_cpu_affinity().as_ref());
    if !draft.options.no_cgroup && affinity.and_then(|affinity| affinity.initial().as_ref()).is_none() {
        schedule::all_cpus(draft);
    }
    resctrl::join(draft, &bundle.spec);
    draft.step(Stage::Join, Op::Undumpable, "exec");
    // A change of credentials may undo it (proc(5), /proc/sys/fs/suid_dumpable).
    draft.step(Stage::GuardAgain, Op::Undumpable, "exec");
    if flags != 0 {
        draft.step(Stage::Join, Op::Join(flags), origin);
    }
    if flags & libc::CLONE_NEWNS as u64 == 0 {
        draft.step(Stage::Join, Op::JoinRoot, "root.path");
    }
    if flags & libc::CLONE_NEWPID as u64 != 0 {
        draft.step(Stage::Join, Op::Descend, origin);
        draft.step(Stage::Join, Op::Wait(Sync::Joined), origin);
        draft.parent.push(ParentStep { op: ParentOp::Joined, origin: origin.to_owned() });
        draft.parent.push(ParentStep { op: ParentOp::Tell(Sync::Joined), origin: origin.to_owned() });
    }
    let maps = linux.map_or(Maps::None, |linux| namespace::maps_of(linux, draft.host, &bundle.spec, flags));
    if matches!(maps, Maps::Parent | Maps::Foreign) {
        let op = linux.map_or(Op::Become { uid: 0, gid: 0 }, namespace::first_ids);
        draft.step(Stage::Join, op, "linux.uidMappings");
    }
    maps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Rootfs;
    use serde_json::{Value, json};

    fn pins(change: impl FnOnce(&mut Value)) -> bool {
        let process = json!({ "cwd": "/", "args": ["/x"], "user": { "uid": 0, "gid": 0 }, "noNewPrivileges": true });
        let mut spec = json!({
            "ociVersion": "1.0.2", "root": { "path": "r" }, "mounts": [], "process": process,
            "linux": { "namespaces": [{ "type": "mount" }, { "type": "pid" }] },
        });
        change(&mut spec);
        let bundle =
            Bundle { spec: serde_json::from_value(spec).unwrap(), rootfs: Rootfs::Dir("/r".into()), unknown: Vec::new() };
        let process = serde_json::from_value(process).unwrap();
        let options = Options { record: true, pin: true, no_cgroup: true, ..Options::default() };
        Plan::exec(&bundle, process, &Host::recorded(0, 0), &options).unwrap().pins()
    }

    #[test]
    fn the_program_is_kept_where_nobody_inside_can_look_into_others() {
        let may = |set: &str, capability: &str| {
            let capabilities = json!({ set: [capability] });
            move |spec: &mut Value| spec["process"]["capabilities"] = capabilities
        };
        let user = |spec: &mut Value| {
            spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
            spec["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
            spec["linux"]["gidMappings"] = spec["linux"]["uidMappings"].clone();
        };
        let filter = |call: &str| {
            let rule = json!({ "names": [call], "action": "SCMP_ACT_ERRNO" });
            let filter = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule] });
            move |spec: &mut Value| spec["linux"]["seccomp"] = filter
        };
        assert!(pins(|_| {}) && pins(may("bounding", "CAP_CHOWN")) && pins(user) && pins(filter("mount")));
        for power in ["CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"] {
            assert!(!pins(may("bounding", power)) && !pins(may("permitted", power)), "{power}");
            assert!(pins(|spec| (user(spec), may("bounding", power)(spec)).1), "{power}");
        }
        assert!(!pins(filter("execveat")));
        assert!(!pins(|spec| spec["linux"]["namespaces"] = json!([{ "type": "mount" }])));
    }
}
