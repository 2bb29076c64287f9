//! What `codexrun features` tells engines (features.md and features-linux.md of the specification): what is implemented, whatever
//! this host has. Nothing is claimed by hand: every word of the specification is put into a small spec, and the plan is asked.

use crate::bundle::{Bundle, Rootfs};
use crate::host::{Host, resctrl};
use crate::plan::{self, Plan};
use crate::{annotation, bpf, sys};
use serde_json::{Value, json};

/// The oldest version of the specification that a bundle may be of.
pub const OLDEST: &str = "1.0.0";
/// The newest version of the specification of which every field is applied, or refused by name.
pub const NEWEST: &str = "1.3.0";

/// The features structure. Of the host it depends in `seccomp.supportedFlags` alone, as the specification has it.
pub fn features() -> Value {
    json!({
        "ociVersionMin": OLDEST,
        "ociVersionMax": NEWEST,
        "hooks": those(HOOKS, |kind| json!({ "hooks": { kind: [{ "path": "/hook" }] } })),
        "mountOptions": plan::options::names(),
        "linux": linux(),
        "annotations": { "dev.codexrun.version": env!("CARGO_PKG_VERSION") },
        "potentiallyUnsafeConfigAnnotations": [annotation::PREFIX, annotation::SYSTEMD_PROPERTY, annotation::KEEP_GROUPS],
    })
}

const HOOKS: &[&str] = &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
const NAMESPACES: &[&str] = &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
const MODES: &[&str] = &[
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];
const NO_NODES: [&str; 2] = ["MPOL_DEFAULT", "MPOL_LOCAL"];
const MODE_FLAGS: &[&str] = &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];
const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];
const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// An ordinary user.
const USER: u32 = 1000;

fn linux() -> Value {
    let on = |linux: Value| implemented(json!({ "linux": linux }));
    let process = |process: Value| implemented(json!({ "process": process }));
    let mapping = json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
    let idmap = json!({ "destination": "/m", "source": "/s", "type": "bind", "options": ["bind", "idmap"],
        "uidMappings": mapping, "gidMappings": mapping });
    let limit = json!({ "linux": { "resources": { "memory": { "limit": 1 << 30 } } } });
    let systemd = |part: &Value, uid| applied(part.clone(), uid, plan::Options { systemd: true, ..plan::Options::default() });
    let mut own = limit.clone();
    let itself = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    merge(&mut own, json!({ "linux": { "namespaces": namespaces("user"), "uidMappings": itself, "gidMappings": itself } }));
    let cgroup = implemented(limit.clone());
    json!({
        "namespaces": those(NAMESPACES, |typ| {
            let mappings = (typ == "user").then_some(&mapping);
            json!({ "linux": { "namespaces": namespaces(typ), "uidMappings": mappings, "gidMappings": mappings } })
        }),
        "capabilities": plan::capabilities(),
        "cgroup": {
            "v1": cgroup, "v2": cgroup, "systemd": systemd(&limit, 0), "systemdUser": systemd(&own, USER),
            "rdma": on(json!({ "resources": { "rdma": { "mlx5_1": { "hcaHandles": 3 } } } })),
        },
        "seccomp": seccomp(),
        "apparmor": { "enabled": process(json!({ "apparmorProfile": "x" })) },
        "selinux": { "enabled": process(json!({ "selinuxLabel": "x" })) },
        "intelRdt": {
            "enabled": on(json!({ "intelRdt": { "closID": "x" } })),
            "schemata": on(json!({ "intelRdt": { "schemata": ["L3:0=f"] } })),
            "monitoring": on(json!({ "intelRdt": { "enableMonitoring": true } })),
        },
        "memoryPolicy": {
            "modes": those(MODES, |mode| {
                let nodes = (!NO_NODES.contains(&mode)).then_some("0");
                json!({ "linux": { "memoryPolicy": { "mode": mode, "nodes": nodes } } })
            }),
            "flags": those(MODE_FLAGS, |flag| {
                json!({ "linux": { "memoryPolicy": { "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] } } })
            }),
        },
        "mountExtensions": { "idmap": { "enabled": implemented(json!({ "mounts": [idmap] })) } },
        "netDevices": { "enabled": on(json!({ "netDevices": { "eth0": { "name": "eth1" } }, "namespaces": namespaces("network") })) },
    })
}

fn seccomp() -> Value {
    let filter = |seccomp: Value| json!({ "linux": { "seccomp": seccomp } });
    let rule = |mut rule: Value| {
        let listener = (rule["action"] == "SCMP_ACT_NOTIFY").then_some("/l");
        rule["names"] = json!(["getcwd"]);
        filter(json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": listener, "syscalls": [rule] }))
    };
    let known = those(FLAGS, |flag| filter(json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag] })));
    let supported: Vec<_> = known.iter().copied().filter(|flag| in_kernel(flag)).collect();
    json!({
        "enabled": implemented(filter(json!({ "defaultAction": "SCMP_ACT_ALLOW" }))),
        "actions": those(ACTIONS, |action| rule(json!({ "action": action }))),
        "operators": those(OPERATORS, |op| {
            rule(json!({ "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": op }] }))
        }),
        // Others may be named too and are passed over: no machine that runs this program executes them.
        "archs": bpf::architectures().collect::<Vec<_>>(),
        "knownFlags": known,
        "supportedFlags": supported,
    })
}

/// Whether this kernel takes the flag, in the company in which it has a meaning.
fn in_kernel(flag: &str) -> bool {
    let notify = json!({ "names": ["getcwd"], "action": "SCMP_ACT_NOTIFY" });
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": [notify] });
    let profile = serde_json::from_value(profile).ok();
    let program = profile.and_then(|profile| bpf::compile(&profile, bpf::Native::host()).ok());
    program.is_some_and(|program| sys::process::takes_seccomp_flags(program.flags).is_ok())
}

/// With a mount namespace, which a user namespace needs; a list has each once.
fn namespaces(typ: &str) -> Value {
    match typ {
        "mount" => json!([{ "type": "mount" }]),
        typ => json!([{ "type": "mount" }, { "type": typ }]),
    }
}

/// The words whose use, put into a spec, is implemented.
fn those(words: &[&'static str], used: impl Fn(&str) -> Value) -> Vec<&'static str> {
    words.iter().copied().filter(|word| implemented(used(word))).collect()
}

/// Whether there is a plan for what `part` asks, on a host that has everything.
fn implemented(part: Value) -> bool {
    applied(part, 0, plan::Options::default())
}

fn applied(part: Value, uid: u32, options: plan::Options) -> bool {
    let mut spec = json!({
        "ociVersion": NEWEST, "root": { "path": "/r" },
        "process": { "cwd": "/", "args": ["x"], "user": { "uid": 0, "gid": 0 } },
        "linux": { "namespaces": [{ "type": "mount" }] },
    });
    merge(&mut spec, part);
    let Ok(spec) = crate::bundle::spec(&spec) else { return false };
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown: Vec::new() };
    let options = plan::Options { bundle_dir: Some("/b".into()), ..options };
    let resctrl = resctrl::Resctrl { mount: "/sys/fs/resctrl".into(), monitored: vec!["llc_occupancy".into()] };
    let host = Host { apparmor: true, selinux: true, resctrl: Some(resctrl), ..Host::recorded(uid, uid) };
    Plan::new(&bundle, &host, &options).is_ok()
}

/// Objects grow together; anything else is replaced.
fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            part.into_iter().for_each(|(key, part)| merge(into.entry(key).or_insert(Value::Null), part));
        }
        (into, part) => *into = part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(pointer: &str) -> Vec<String> {
        serde_json::from_value(features().pointer(pointer).unwrap().clone()).unwrap()
    }

    /// Whether a bind, or else a new file system, can be mounted with it.
    fn mounts(option: &str) -> bool {
        let mapping = option.ends_with("idmap").then(|| json!([{ "containerID": 0, "hostID": 1, "size": 1 }]));
        [("bind", json!(["bind", option])), ("tmpfs", json!([option]))].into_iter().any(|(typ, options)| {
            let proc = json!({ "destination": "/m", "type": "proc", "source": "proc" });
            let mount = json!({ "destination": "/m", "source": "/s", "type": typ, "options": options, "uidMappings": mapping,
                "gidMappings": mapping });
            let spec = json!({ "ociVersion": NEWEST, "root": { "path": "/r" }, "mounts": [proc, mount],
                "process": { "cwd": "/", "args": ["x"], "user": { "uid": 0, "gid": 0 } },
                "linux": { "namespaces": [{ "type": "mount" }] } });
            let bundle =
                Bundle { spec: serde_json::from_value(spec).unwrap(), rootfs: Rootfs::Dir("/r".into()), unknown: Vec::new() };
            Plan::new(&bundle, &Host::recorded(0, 0), &plan::Options::default()).is_ok()
        })
    }

    /// features.md has them as an example; `acl` and `noacl` are in it, but a file system's own (mount(2) has no such flag any more).
    const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime \
        noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime \
        remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro \
        rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync \
        tmpcopyup unbindable idmap ridmap";

    #[test]
    fn every_mount_option_of_the_specification_is_listed_and_every_one_listed_can_be_used() {
        let names = listed("/mountOptions");
        let missing: Vec<_> = OPTIONS.split_whitespace().filter(|word| !names.iter().any(|name| name == word)).collect();
        assert_eq!(missing, [""; 0]);
        let useless: Vec<_> = names.iter().filter(|name| !mounts(name)).collect();
        assert_eq!(useless, [""; 0]);
        // What is refused by name is not listed.
        assert!(!names.contains(&"copy-symlink".into()) && names.is_sorted());
    }

    #[test]
    fn what_the_plan_refuses_is_not_listed() {
        assert!(!implemented(json!({ "linux": { "namespaces": [{ "type": "no-such" }] } })));
        assert!(implemented(json!({})));
        let hooks = listed("/hooks");
        assert!(hooks.contains(&"prestart".into()) && hooks.contains(&"poststop".into()), "{hooks:?}");
        assert!(listed("/linux/namespaces").contains(&"mount".into()));
    }

    /// A filter with an action or operator that is listed compiles, and differs from one without.
    #[test]
    fn the_words_of_seccomp_are_those_that_the_compiler_knows() {
        for (list, all) in [("actions", ACTIONS), ("operators", OPERATORS), ("knownFlags", FLAGS)] {
            let names = listed(&format!("/linux/seccomp/{list}"));
            assert!(names.iter().all(|name| all.contains(&name.as_str())) && names.len() == all.len(), "{list}: {names:?}");
        }
        for arch in listed("/linux/seccomp/archs") {
            let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "architectures": [arch] });
            let profile = serde_json::from_value(profile).unwrap();
            let compiles =
                [bpf::Native::X86_64, bpf::Native::Aarch64].map(|native| bpf::compile(&profile, native).unwrap().insns);
            let plain = [bpf::Native::X86_64, bpf::Native::Aarch64].map(|native| {
                let plain = serde_json::from_value(json!({ "defaultAction": "SCMP_ACT_ERRNO" })).unwrap();
                bpf::compile(&plain, native).unwrap().insns
            });
            let native = arch == "SCMP_ARCH_X86_64" || arch == "SCMP_ARCH_AARCH64";
            assert!(native || compiles != plain, "{arch}");
        }
    }

    #[test]
    fn a_flag_that_no_kernel_has_is_not_supported() {
        assert!(sys::process::takes_seccomp_flags(1 << 30).is_err());
        let (known, supported) = (listed("/linux/seccomp/knownFlags"), listed("/linux/seccomp/supportedFlags"));
        assert!(supported.iter().all(|flag| known.contains(flag)) && supported.contains(&"SECCOMP_FILTER_FLAG_LOG".into()));
    }

    #[test]
    fn every_capability_is_listed_and_sets_its_own_bit() {
        let names = listed("/linux/capabilities");
        assert_eq!((names.len(), names[0].as_str(), names[21].as_str()), (41, "CAP_CHOWN", "CAP_SYS_ADMIN"));
        for name in names {
            assert!(implemented(json!({ "process": { "capabilities": { "bounding": [name] } } })));
        }
    }

    /// No key of the structure is misspelt or misplaced: the specification's own type keeps every one.
    #[test]
    fn the_structure_is_the_specifications() {
        let ours = features();
        let typed: oci_spec::runtime::Features = serde_json::from_value(ours.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), ours);
    }
}
