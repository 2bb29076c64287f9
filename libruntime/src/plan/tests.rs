//! Every field that is not applied is refused by name; what is applied shows in the listing.

use super::op::{ParentOp, Sync, UnixStreams};
use super::{Op, Options, Plan};
use crate::annotation;
use crate::bundle::{Bundle, Rootfs};
use crate::host::Host;
use crate::sys::file::Resolve;
use serde_json::{Value, json};

fn minimal() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    })
}

/// The minimal spec with one value put at a JSON pointer; a new last component is added to its object.
fn with(pointer: &str, value: Value) -> Value {
    let mut spec = minimal();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}")) {
        Value::Object(object) => drop(object.insert(name.to_owned(), value)),
        Value::Array(list) => list.push(value),
        other => panic!("{pointer}: {other}"),
    }
    spec
}

fn plan(spec: Value, options: &Options) -> Result<Plan, Vec<String>> {
    plan_on(&Host::recorded(0, 0), spec, options)
}

pub(super) fn plan_on(host: &Host, spec: Value, options: &Options) -> Result<Plan, Vec<String>> {
    let spec = serde_json::from_value(spec).unwrap();
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown: vec!["hoks".into()] };
    Plan::new(&bundle, host, options).map_err(|list| list.iter().map(ToString::to_string).collect())
}

#[test]
fn more_steps_than_the_child_can_count_are_refused() {
    let mounts: Vec<Value> = (0..70_000).map(|n| json!({"destination": format!("/m{n}"), "type": "tmpfs"})).collect();
    let said = plan(with("/mounts", json!(mounts)), &Options::default()).unwrap_err();
    assert!(said.len() == 1 && said[0].ends_with("steps, and 65535 are the most"), "{said:?}");
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let mount = |options: &[&str]| json!({"destination": "/proc", "type": "proc", "options": options});
    let cases = [
        ("/ociVersion", json!("2.0.0"), "ociVersion: `2.0.0` is not a version 1.x.y of the runtime specification"),
        ("/ociVersion", json!("01.0.2"), "ociVersion: `01.0.2` is not a version 1.x.y of the runtime specification"),
        ("/ociVersion", json!("1.0.2-!!"), "ociVersion: `1.0.2-!!` is not a version 1.x.y of the runtime specification"),
        ("/ociVersion", json!("1.0.2.5"), "ociVersion: `1.0.2.5` is not a version 1.x.y of the runtime specification"),
        ("/hostname", json!("x".repeat(65)), "hostname: has 65 bytes, and the kernel takes 64"),
        ("/domainname", json!("a\0b"), "domainname: contains a NUL byte"),
        ("/process/oomScoreAdj", json!(5000), "process.oomScoreAdj: 5000 is not from -1000 to 1000"),
        ("/process/user", json!({"uid": 0, "gid": 0, "umask": 4096}), "process.user.umask: 4096 is above 511 (octal 777)"),
        (
            "/process/execCPUAffinity",
            json!({"final": "0,99999"}),
            "process.execCPUAffinity.final: CPU 99999 is above 1023, the last that is supported",
        ),
        (
            "/process/execCPUAffinity",
            json!({"initial": "3-1"}),
            "process.execCPUAffinity.initial: `3-1` is not a list of CPUs like `0-3,7`",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0-1024"}),
            "linux.memoryPolicy.nodes: node 1024 is above 1023, the last that is supported",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}),
            "linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other",
        ),
        ("/process/cwd", json!("x"), "process.cwd: `x` is not an absolute path"),
        ("/process/args", json!([]), "process.args: is empty: there is nothing to run"),
        ("/process/args", json!(["a", "b\0c"]), "process.args: `b\0c` contains a NUL byte"),
        ("/hostname", json!("x"), "hostname: `x` needs a uts namespace"),
        ("/annotations", json!({"dev.codexrun.init": "tini"}), "annotations[dev.codexrun.init]: `tini` is not `reaper`"),
        ("/hooks", json!({"prestart": [{"path": "x"}]}), "hooks.prestart[0].path: `x` is not an absolute path"),
        ("/hooks", json!({"prestart": [{"path": "/x", "timeout": 0}]}), "hooks.prestart[0].timeout: 0 is not above 0"),
        ("/hooks", json!({"prestart": [{"path": "/x", "env": ["A"]}]}), "hooks.prestart[0].env: `A` is not NAME=VALUE"),
        ("/mounts/-", json!({"destination": "/x"}), "mounts[1].type: is missing, and the options do not say `bind`"),
        ("/mounts/-", json!({"destination": "", "type": "tmpfs"}), "mounts[1].destination: is empty"),
        (
            "/mounts/-",
            json!({"destination": "/x", "type": "ramfs", "options": ["mode=700", "sync", "size=5"]}),
            "mounts[1].options: `size` is no option of ramfs, which would not say so",
        ),
        (
            "/mounts/-",
            json!({"destination": "/x", "source": "", "options": ["bind"]}),
            "mounts[1].source: is missing: what is to be bound?",
        ),
        (
            "/linux/maskedPaths",
            json!(["/x/.."]),
            "linux.maskedPaths[0]: `/` cannot be covered: there would be nothing left to run",
        ),
        ("/mounts/-", json!({"destination": "/x", "options": ["bind"]}), "mounts[1].source: is missing: what is to be bound?"),
        (
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1"}),
            "linux.sysctl[net.ipv4.ip_forward]: belongs to the network namespace, of which the container has none of its own",
        ),
        (
            "/linux/sysctl",
            json!({"kernel.core_pattern": "x"}),
            "linux.sysctl[kernel.core_pattern]: belongs to no namespace: it would be changed for the whole machine",
        ),
        (
            "/linux",
            json!({
                "namespaces": [{"type": "mount"}, {"type": "network"}],
                "sysctl": {"net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0"},
            }),
            "linux.sysctl[net/ipv4/ip_forward]: is `net.ipv4.ip_forward`, which stands there already",
        ),
        (
            "/linux",
            json!({"namespaces": [{"type": "mount"}, {"type": "uts"}], "sysctl": {"kernel.domainname": "d".repeat(65)}}),
            "linux.sysctl[kernel.domainname]: has 65 bytes, and the kernel takes 64",
        ),
        (
            "/linux",
            json!({"namespaces": [{"type": "mount"}, {"type": "uts"}], "sysctl": {"kernel.domainname": "a\nb\n"}}),
            "linux.sysctl[kernel.domainname]: has more than one line, of which the kernel would read the first",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_ISO"}),
            "process.scheduler.policy: SCHED_ISO is a name that Linux keeps for a policy which it does not have (sched(7))",
        ),
        ("/linux/sysctl", json!({"kernel.hostname": "x"}), "linux.sysctl[kernel.hostname]: is what `hostname` is for"),
        ("/linux/sysctl", json!({"net/../x": "1"}), "linux.sysctl[net/../x]: is not the name of a kernel parameter"),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), "linux.timeOffsets: needs a new time namespace"),
        ("/linux/namespaces/-", json!({"type": "uts", "path": "x"}), "linux.namespaces[2].path: `x` is not an absolute path"),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "a"}]), "linux.devices[0].type: `a` is no type of a device node"),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": -1}]),
            "linux.devices[0]: 1:-1 is no device number",
        ),
        (
            "/linux/devices",
            json!([{"path": "x", "type": "p"}]),
            "linux.devices[0].path: `x` is not an absolute path (hint: paths inside the container begin with `/`)",
        ),
        ("/linux/devices", json!([{"path": "/dev/\0", "type": "p"}]), "linux.devices[0].path: `/dev/\0` contains a NUL byte"),
        (
            "/linux/devices",
            json!([{"path": "/dev/../etc/pw", "type": "p"}]),
            "linux.devices[0].path: `/dev/../etc/pw` has `..` in it",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/null/x/y", "type": "p"}]),
            "linux.devices[0].path: `/dev/null/x/y` lies below `/dev/null`, which is no directory",
        ),
        (
            "/linux/devices",
            json!([{"path": "/opt/x/y", "type": "p"}, {"path": "/opt//x", "type": "p"}]),
            "linux.devices[0].path: `/opt/x/y` lies below `/opt/x`, which is no directory",
        ),
        (
            "/annotations",
            json!({"dev.codexrun.placeholders": json!(vec!["/x"; 1001]).to_string()}),
            "annotations[dev.codexrun.placeholders]: has 1001 paths, and no more than 1000 are held",
        ),
        ("/mounts/-", mount(&["copy-symlink"]), "mounts[1].options: mount option `copy-symlink` is not supported"),
        ("/mounts/-", mount(&["idmap"]), "mounts[1].options: only a bind mount can be id-mapped"),
        ("/mounts/-", mount(&["tmpcopyup"]), "mounts[1].options: `tmpcopyup` is for a `tmpfs`"),
        (
            "/process/apparmorProfile",
            json!("x"),
            "process.apparmorProfile: `x` cannot be applied: the kernel does not run this security module",
        ),
        (
            "/process/selinuxLabel",
            json!("x"),
            "process.selinuxLabel: `x` cannot be applied: the kernel does not run this security module",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_RT", "priority": 8}),
            "process.ioPriority.priority: 8 is not between 0 and 7",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "priority": 1}),
            "process.scheduler.priority: 1 is not between 0 and 0, which the policy takes",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 20}),
            "process.scheduler.nice: 20 is not between -20 and 19",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_STATIC_NODES"]}),
            "linux.memoryPolicy.flags: have no effect with MPOL_DEFAULT",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": u32::MAX}]),
            "linux.devices[0].uid: 4294967295 is nobody's id: chown(2) would leave the owner as it is",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "p", "gid": u32::MAX}]),
            "linux.devices[0].gid: 4294967295 is nobody's id: chown(2) would leave the owner as it is",
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o060_600}]),
            "linux.devices[0].fileMode: 060600 says another type of file than `type`",
        ),
        (
            "/linux/sysctl",
            json!({"user.max_net_namespaces": "1"}),
            "linux.sysctl[user.max_net_namespaces]: belongs to the user namespace, of which the container has none of its own",
        ),
        (
            "/linux/sysctl",
            json!({"kernel.pid_max": "999"}),
            "linux.sysctl[kernel.pid_max]: is not supported: before Linux 6.14 it is the whole machine's, and only then the pid namespace's",
        ),
        (
            "/linux/personality",
            json!({"domain": "LINUX", "flags": ["x"]}),
            "linux.personality.flags: `x` is not known, and the specification has none",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0-"}),
            "linux.memoryPolicy.nodes: `0-` is not a list of nodes like `0-3,7`",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "linux.memoryPolicy.flags: MPOL_F_NUMA_BALANCING is for MPOL_BIND, and since Linux 6.10 for MPOL_PREFERRED_MANY",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_LOCAL", "flags": ["MPOL_F_STATIC_NODES"]}),
            "linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES are about nodes, and there are none",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000, "period": 1000}),
            "process.scheduler: `runtime`, `deadline` and `period` are 3000, 2000 and 1000: none may be above the next (sched(7))",
        ),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 2000}),
            "process.scheduler.runtime: 1023 ns are below 1024, the least",
        ),
        (
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a\0",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
            }),
            "linux.seccomp.listenerPath: contains a NUL byte",
        ),
        (
            "/process/capabilities",
            json!({"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL", "CAP_CHOWN"]}),
            "process.capabilities.inheritable: has CAP_CHOWN, which `bounding` lacks",
        ),
        (
            "/process/user/additionalGids",
            json!(vec![5; 65_537]),
            "process.user.additionalGids: are 65537, and the kernel takes 65536",
        ),
        ("/hooks", json!({"poststop": [{"path": "/x\0"}]}), "hooks.poststop[0]: `/x\\x00` contains a NUL byte"),
        (
            "/hooks",
            json!({"startContainer": [{"path": "/x", "args": ["x", "a\0"]}]}),
            "hooks.startContainer[0]: `a\\x00` contains a NUL byte",
        ),
        ("/process/user/username", json!("x"), "process.user.username: belongs to another platform"),
        ("/linux/rootfsPropagation", json!("x"), "linux.rootfsPropagation: `x` is not a propagation type"),
    ];
    for (pointer, value, reason) in cases {
        assert_eq!(plan(with(pointer, value), &Options::default()).unwrap_err(), [format!("config.json: {reason}")], "{pointer}");
    }
}

#[test]
fn a_clock_stands_neither_below_zero_nor_beyond_what_it_counts_to() {
    let said = |offsets: Value| {
        let mut spec = with("/linux/timeOffsets", offsets);
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        plan(spec, &Options::default()).err().unwrap_or_default()
    };
    assert_eq!(said(json!({"monotonic": {"secs": -86_400}, "boottime": {"secs": 4_000_000_000_u64}})), Vec::<String>::new());
    let both = said(json!({"monotonic": {"secs": -86_401}, "boottime": {"secs": i64::MAX}}));
    let wanted = ["boottime: 9223372036854775807 s are more than the 4611686018 s", "monotonic: -86401 s would set the clock"];
    assert!(both.len() == 2 && wanted.iter().zip(&both).all(|(wanted, said)| said.contains(wanted)), "{both:#?}");
}

#[test]
fn more_ids_than_the_kernel_reads_at_once_are_refused() {
    let user = |n: u32, first: u32| {
        let list: Vec<Value> = (0..n).map(|n| json!({"containerID": n, "hostID": first + n, "size": 1})).collect();
        let mut spec = with("/linux/uidMappings", json!(list));
        spec["linux"]["gidMappings"] = json!(list);
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        plan(spec, &Options::default()).err().unwrap_or_default()
    };
    assert_eq!(user(340, 1), Vec::<String>::new());
    let many = "has 341 mappings, and the kernel takes 340";
    assert_eq!(user(341, 1), ["uid", "gid"].map(|of| format!("config.json: linux.{of}Mappings: {many}")));
    let long = user(300, 100_000_000);
    assert!(long.len() == 2 && long[0].contains("linux.uidMappings: is 4"), "{long:?}");
    assert!(long[0].ends_with(" bytes long as the kernel reads it, and it takes 4095"), "{long:?}");
}

/// The places above one took the square of its length: a plan of some megabytes of config.json filled the memory.
#[test]
fn deep_paths_are_refused_before_they_fill_the_memory() {
    let deep = |n: usize, depth: usize| {
        let mounts: Vec<Value> =
            (0..n).map(|n| json!({"destination": "/a".repeat(depth) + &n.to_string(), "type": "tmpfs"})).collect();
        plan(with("/mounts", json!(mounts)), &Options::default())
    };
    assert_eq!(deep(1, 500_000).unwrap_err(), ["config.json: mounts[0].destination: a path of 1000001 bytes; 4095 are the most"]);
    let said = deep(4000, 2000).unwrap_err();
    assert!(said.len() == 1 && said[0].contains("].destination: is one of so many deep paths"), "{said:?}");
    assert!(deep(10, 2000).is_ok());
}

#[test]
fn what_is_too_long_for_the_kernel_is_refused_by_its_place() {
    let (name, path) = ("n".repeat(256), "/p".repeat(2048));
    let mut spec = with("/linux/maskedPaths", json!([format!("/{name}"), "/ok"]));
    spec["linux"]["readonlyPaths"] = json!([path]);
    spec["linux"]["devices"] = json!([{"path": format!("/dev/{name}"), "type": "p"}]);
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "ipc", "path": path}));
    spec["process"]["cwd"] = json!(format!("/a/{name}/b"));
    spec["process"]["args"] = json!([path, "a".repeat(131_072), "b".repeat(131_071)]);
    spec["process"]["env"] = json!(["A=b", format!("B={}", "c".repeat(200_000))]);
    spec["hooks"] = json!({"poststop": [{"path": path, "args": ["x", "d".repeat(131_072)]}]});
    let bind = |source: &str| json!({"destination": "/m", "source": source, "options": ["bind"]});
    let overlay = json!({"destination": "/o", "type": "overlay", "source": path, "options": ["lowerdir=/a:/b"]});
    spec["mounts"].as_array_mut().unwrap().extend([bind(&path), bind(&format!("/{name}")), overlay]);
    let mut said = plan(spec, &Options::default()).unwrap_err();
    let long = "a path of 4096 bytes; 4095 are the most";
    let one = "a name of 256 bytes in a path; 255 are the most";
    let mut wanted = [
        "hooks.poststop[0].args[1]: has 131072 bytes, and execve(2) takes 131071".to_owned(),
        format!("hooks.poststop[0].path: {long}"),
        format!("linux.devices[0].path: {one}"),
        format!("linux.maskedPaths[0]: {one}"),
        format!("linux.namespaces[2].path: {long}"),
        format!("linux.readonlyPaths[0]: {long}"),
        format!("mounts[1].source: {long}"),
        // A file system of the host's may have longer names.
        format!("mounts[3].source: {long}"),
        format!("process.args[0]: {long}"),
        "process.args[1]: has 131072 bytes, and execve(2) takes 131071".to_owned(),
        format!("process.cwd: {one}"),
        "process.env[1]: has 200002 bytes, and execve(2) takes 131071".to_owned(),
    ];
    said.sort();
    wanted.sort();
    assert_eq!(said, wanted.map(|what| format!("config.json: {what}")));
}

#[test]
fn what_is_no_variable_is_refused_and_one_that_a_later_entry_replaces_is_mentioned() {
    let env = json!(["PATH=/bin", "A", "", "B\n", "=x", "A=1"]);
    let refused = plan(with("/process/env", env), &Options::default()).unwrap_err();
    let said = |n: usize, entry: &str| format!("config.json: process.env[{n}]: `{entry}` is no variable: it has no `=`");
    assert_eq!(refused, [said(1, "A"), said(2, ""), said(3, "B\\n")]);
    let plan = plan(with("/process/env", json!(["A=1", "B=", "A=2", "B=", "=x", "A=3"])), &Options::default()).unwrap();
    let mut said: Vec<_> = plan.warnings.iter().filter(|w| w.contains("process.env")).cloned().collect();
    said.sort();
    let lost = |n: usize| format!("config.json: process.env[{n}]: `A` has no effect: [5] gives it another value");
    assert_eq!(said, [lost(0), lost(2)]);
    let env: Vec<_> = plan.program().unwrap().env.iter().map(|variable| variable.to_str().unwrap().to_owned()).collect();
    assert_eq!(env, ["B=", "=x", "A=3"]);
}

#[test]
fn arguments_and_environment_fit_in_a_quarter_of_the_stack() {
    let words = |bytes: usize| json!(["true", "a".repeat(bytes / 2), "b".repeat(bytes / 2)]);
    let many = |n: usize| json!([vec!["true".to_owned()], vec!["c".repeat(131_071); n]].concat());
    // With the lists' first word, two NULs and three pointers.
    let most = (128 << 10) - 5 - 2 - 24;
    let mut spec = with("/process/args", words(most - most % 2));
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_STACK", "soft": 8192, "hard": 8192}]);
    assert!(plan(spec.clone(), &Options::default()).is_ok());
    spec["process"]["env"] = json!(["A="]);
    let said = plan(spec.clone(), &Options::default()).unwrap_err();
    assert!(said.len() == 1 && said[0].starts_with("config.json: process: `args` and `env` take 131"), "{said:?}");
    assert!(said[0].contains("has room for 131072: a quarter of RLIMIT_STACK"), "{said:?}");
    spec["process"]["rlimits"] = json!([]);
    assert!(plan(spec.clone(), &Options::default()).is_ok());
    spec["process"]["args"] = many(15);
    assert!(plan(spec.clone(), &Options::default()).is_ok(), "of 8 MiB a quarter");
    spec["process"]["args"] = many(16);
    assert!(plan(spec.clone(), &Options::default()).unwrap_err()[0].contains("has room for 2097152"));
    let host = Host { stack: u64::MAX, ..Host::recorded(0, 0) };
    assert!(plan_on(&host, spec.clone(), &Options::default()).is_ok());
    spec["process"]["args"] = many(48);
    assert!(plan_on(&host, spec, &Options::default()).unwrap_err()[0].contains("has room for 6291456"));
}

/// mount(2) would copy a page of it, and mount that.
#[test]
fn options_that_do_not_fit_in_a_page_are_refused() {
    let overlay = |bytes: usize| {
        let lower = format!("lowerdir=/{}", "a".repeat(bytes - "lowerdir=/".len()));
        plan(with("/mounts/-", json!({"destination": "/o", "type": "overlay", "options": [lower]})), &Options::default())
    };
    assert!(overlay(4095).is_ok());
    assert_eq!(overlay(4096).unwrap_err(), ["config.json: mounts[1].options: have 4096 bytes together, and mount(2) takes 4095"]);
}

#[test]
fn only_for_hooks_before_the_pivot_the_root_is_moved_to_its_own_path() {
    let moves = |change: &dyn Fn(&mut Value)| {
        let mut spec = minimal();
        change(&mut spec);
        let text = plan(spec, &Options::default()).unwrap().to_string();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("hooks ")).map(str::trim).collect();
        let at = lines.iter().position(|line| line.starts_with("move the root to /r "));
        assert!(at.is_none_or(|at| at == 0), "{text}");
        at.is_some()
    };
    let hooks = |kind: &str| json!({kind: [{"path": "/h"}]});
    for (kind, moved) in [
        ("prestart", true),
        ("createRuntime", true),
        ("createContainer", true),
        ("startContainer", false),
        ("poststart", false),
        ("poststop", false),
    ] {
        assert_eq!(moves(&|spec| spec["hooks"] = hooks(kind)), moved, "{kind}");
    }
    assert!(!moves(&|_| ()));
    assert!(!moves(&|spec| {
        spec["hooks"] = hooks("createRuntime");
        spec["linux"]["rootfsPropagation"] = json!("shared");
    }));
    assert!(!moves(&|spec| {
        spec["hooks"] = hooks("createRuntime");
        spec["mounts"] = json!([{"destination": "/", "type": "tmpfs"}]);
    }));
}

#[test]
fn a_hook_has_all_the_time_that_it_is_given() {
    for kind in ["createContainer", "startContainer", "poststop"] {
        let spec = with("/hooks", json!({ kind: [{"path": "/h", "timeout": 10_000_000_000_i64}] }));
        let listing = plan(spec, &Options::default()).unwrap().to_string();
        assert!(listing.contains("/h, within 10000000000 s"), "{kind}: {listing}");
    }
}

/// Its last word before the command is that the hooks have ended.
#[test]
fn a_filter_that_keeps_the_process_from_telling_of_its_hooks_is_refused() {
    let filtered = |action: &str, call: &str| {
        let rules = json!([{"names": [call], "action": action}]);
        let mut spec = with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        spec["hooks"] = json!({"startContainer": [{"path": "/h"}]});
        plan(spec, &Options::default())
    };
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_KILL"] {
        let said = filtered(action, "write").unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with("config.json: linux.seccomp: refuses write(2), by which"), "{said:?}");
    }
    assert!(filtered("SCMP_ACT_LOG", "write").is_ok() && filtered("SCMP_ACT_ERRNO", "mkdir").is_ok());
}

/// Nobody could say that it has not begun.
#[test]
fn a_filter_that_refuses_both_to_begin_the_command_and_to_tell_of_it_is_refused() {
    let filtered = |action: &str, permitted: &[&str]| {
        let rules: Vec<Value> = permitted.iter().map(|call| json!({"names": [call], "action": "SCMP_ACT_ALLOW"})).collect();
        plan(with("/linux/seccomp", json!({"defaultAction": action, "syscalls": rules})), &Options::default())
    };
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE", "SCMP_ACT_KILL_PROCESS"] {
        let said = filtered(action, &["read"]).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with("config.json: linux.seccomp: refuses execve(2), by which"), "{said:?}");
        assert!(filtered(action, &["write"]).is_ok() && filtered(action, &["execve"]).is_ok(), "{action}");
    }
}

#[test]
fn a_flag_of_the_scheduler_that_the_kernel_drops_or_that_drops_another_field_is_refused() {
    let of = |scheduler: Value| plan(with("/process/scheduler", scheduler), &Options::default());
    let deadline = json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048, "flags": ["SCHED_FLAG_RECLAIM"]});
    assert!(of(deadline).is_ok());
    for (scheduler, why) in [
        (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM"]}), "is for SCHED_DEADLINE"),
        (json!({"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_FLAG_KEEP_POLICY"]}), "keeps the policy"),
        (json!({"policy": "SCHED_OTHER", "nice": 1, "flags": ["SCHED_FLAG_KEEP_PARAMS"]}), "keeps the nice value"),
        (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"]}), "needs a value"),
    ] {
        let said = of(scheduler.clone()).unwrap_err();
        let begins = format!("config.json: process.scheduler.flags[0]: {why}");
        assert!(said.len() == 1 && said[0].starts_with(&begins), "{scheduler}: {said:?}");
    }
}

#[test]
fn a_nice_value_that_the_policy_drops_is_a_warning() {
    for (scheduler, lost) in [
        (json!({"policy": "SCHED_IDLE", "nice": 5}), true),
        (json!({"policy": "SCHED_DEADLINE", "nice": 5, "runtime": 1024, "deadline": 2048, "period": 4096}), true),
        (json!({"policy": "SCHED_FIFO", "priority": 1}), false),
        (json!({"policy": "SCHED_BATCH", "nice": 5}), false),
    ] {
        let warnings = plan(with("/process/scheduler", scheduler.clone()), &Options::default()).unwrap().warnings;
        let said = warnings.iter().any(|warning| warning.starts_with("config.json: process.scheduler.nice: has no effect: "));
        assert_eq!(said, lost, "{scheduler}: {warnings:?}");
    }
}

#[test]
fn what_has_no_effect_is_told_a_hundred_times() {
    let spec = serde_json::from_value(minimal()).unwrap();
    let unknown = (0..150).map(|n| format!("k{n}")).collect();
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown };
    let plan = Plan::new(&bundle, &Host::recorded(0, 0), &Options::default()).unwrap();
    assert_eq!((plan.warnings.len(), plan.warnings[100].as_str()), (101, "config.json: 50 more like these"));
}

#[test]
fn a_device_that_keeps_its_bad_name_has_one_reason() {
    let mut spec = with("/linux/netDevices", json!({"a b": {}, "c d": {"name": "e f"}}));
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
    let reasons = plan(spec, &Options::default()).unwrap_err();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(reasons[0], "config.json: linux.netDevices[a b]: `a b` is no name of a network device");
}

#[test]
fn a_node_that_the_machine_lacks_is_refused_where_it_is_known() {
    let host = Host { nodes: super::schedule::set("0,2").ok(), ..Host::recorded(0, 0) };
    let with = |policy: Value| plan_on(&host, with("/linux/memoryPolicy", policy), &Options::default());
    let said = with(json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-1000"})).unwrap_err();
    let why = "linux.memoryPolicy.nodes: node 1 has no memory on this machine: the kernel would leave it out";
    assert_eq!(said, [format!("config.json: {why}")]);
    assert!(with(json!({"mode": "MPOL_INTERLEAVE", "nodes": "0,2"})).is_ok());
    assert!(with(json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_RELATIVE_NODES"]})).is_ok());
}

#[test]
fn a_cpu_that_the_machine_cannot_have_is_refused() {
    let host = Host { cpus: super::schedule::set("0-3").ok(), ..Host::recorded(0, 0) };
    let with = |affinity: Value| plan_on(&host, with("/process/execCPUAffinity", affinity), &Options::default());
    let said = |field: &str, cpu: &str| {
        let what = format!("there is no CPU {cpu} on this machine, whose last is 3: the kernel would leave it out");
        format!("config.json: process.execCPUAffinity.{field}: {what}")
    };
    let both = with(json!({"initial": "2-5", "final": "0,99999999999999999999"})).unwrap_err();
    assert_eq!(both, [said("initial", "4"), said("final", "99999999999999999999")]);
    assert!(with(json!({"initial": "2", "final": "0-3"})).is_ok());
}

#[test]
fn a_mode_that_engines_write_is_taken_and_bits_that_mean_nothing_are_told() {
    let node = |mode: u32| json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": mode}]);
    let plan = |mode| plan(with("/linux/devices", node(mode)), &Options::default()).unwrap();
    let engine = plan(0o020_640);
    assert!(engine.to_string().contains("mknod /dev/x c 1:3 0640 0:0"), "{engine}");
    assert!(engine.warnings.iter().all(|what| !what.contains("fileMode")), "{:?}", engine.warnings);
    let said = |bits: &str| format!("config.json: linux.devices[0].fileMode: bits that no device has, 0{bits}, have no effect");
    for (mode, bits) in [(0o400_640, "400000"), (0o6_755, "6000")] {
        assert!(plan(mode).warnings.contains(&said(bits)), "{:?}", plan(mode).warnings);
    }
}

#[test]
fn nothing_said_of_linux_is_an_empty_linux() {
    let said = |linux: Option<Value>| {
        let mut spec = minimal();
        match linux {
            Some(linux) => spec["linux"] = linux,
            None => drop(spec.as_object_mut().unwrap().remove("linux")),
        }
        plan(spec, &Options::default()).map(|plan| (plan.to_string(), plan.warnings))
    };
    let empty = said(Some(json!({})));
    assert!(empty.as_ref().is_ok_and(|(text, _)| !text.contains("unshare")), "{empty:?}");
    assert_eq!(said(None), empty);
}

#[test]
fn what_a_source_has_for_good_is_refused_by_name_and_rw_told() {
    let locked = crate::plan::options::LOCKABLE;
    let host = Host { locked: [("/s".into(), locked)].into(), ..Host::recorded(0, 0) };
    let bind = |options: &[&str]| {
        let bind = json!({"destination": "/m", "source": "/s", "options": options});
        plan_on(&host, with("/mounts/-", bind), &Options::default())
    };
    let why = "which nobody in a user namespace may take off (mount_namespaces(7))";
    for (word, has) in [("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), ("diratime", "nodiratime"), ("rrw", "ro")] {
        let said = bind(&["bind", word]).unwrap_err();
        assert_eq!(said, [format!("config.json: mounts[1].options: `{word}` cannot be had: the source is `{has}`, {why}")]);
    }
    let plan = bind(&["bind", "rw", "symfollow"]).unwrap();
    assert!(plan.to_string().contains("bind /s → /m symfollow "), "{plan}");
    assert!(plan.warnings.contains(&format!("config.json: mounts[1].options: `rw` has no effect: the source is `ro`, {why}")));
    let free = |options: &[&str]| {
        let bind = json!({"destination": "/m", "source": "/free", "options": options});
        plan_on(&host, with("/mounts/-", bind), &Options::default()).unwrap().to_string()
    };
    assert!(free(&["rbind", "rw", "exec"]).contains("rbind /free → /m rw exec "), "{}", free(&["rbind", "rw", "exec"]));
}

/// As `docker run -t -v /dev:/dev` has it.
#[test]
fn in_a_dev_of_the_hosts_devices_must_be_there_and_the_terminal_and_other_devices_are_made() {
    let mut spec = with("/process/terminal", json!(true));
    spec["mounts"] = json!([
        {"destination": "/dev", "source": "/dev", "options": ["rbind"]},
        {"destination": "/dev/pts", "type": "devpts"},
    ]);
    let device = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 3, "fileMode": 0o600});
    spec["linux"]["devices"] = json!([device("/dev/x"), device("/opt/x")]);
    let host = plan(spec.clone(), &Options::default()).unwrap();
    let (listing, said) =
        (host.to_string(), "config.json: linux.devices: fileMode, uid and gid have no effect below `/dev`, which is a bind");
    assert!(listing.contains("mknod /opt/x c 1:3") && listing.contains("/dev/console"), "{listing}");
    assert!(listing.contains("find /dev/x character 1:3") && !listing.contains("/dev/zero"), "{listing}");
    assert!(host.warnings.iter().any(|warning| warning.starts_with(said)), "{:?}", host.warnings);
    let mut wrong = spec.clone();
    wrong["linux"]["devices"] = json!([{"path": "/dev/x", "type": "a", "major": -5, "minor": 9_999_999_999_u64}]);
    let refused = plan(wrong, &Options::default()).unwrap_err();
    assert_eq!(refused, ["config.json: linux.devices[0].type: `a` is no type of a device node"]);
    spec["mounts"].as_array_mut().unwrap().insert(1, json!({"destination": "/dev", "type": "tmpfs"}));
    let covered = plan(spec, &Options::default()).unwrap();
    assert!(["/dev/x", "zero"].iter().all(|path| covered.to_string().contains(path)));
    assert!(covered.warnings.iter().all(|warning| !warning.starts_with(said)), "{:?}", covered.warnings);
}

#[test]
fn of_two_entries_for_one_thing_neither_is_lost_in_silence() {
    let device = |path: &str, minor: i64| json!({"path": path, "type": "c", "major": 10, "minor": minor});
    let devices = json!([device("/dev/a", 1), device("/dev/b", 2), device("/dev//a", 1), device("/dev/./a", 3)]);
    let mut spec = with("/linux/devices", devices);
    spec["linux"]["netDevices"] = json!({"v1": {"name": "eth0"}, "eth0": {}, "v2": {"name": "net%d"}, "v3": {"name": "net%d"}});
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.extend([json!({"type": "network"}), json!({"type": "network", "path": "/proc/1/ns/net"})]);
    let [first, last] = [namespaces.len() - 2, namespaces.len() - 1];
    let reasons = plan(spec, &Options::default()).unwrap_err();
    let wanted = [
        format!("linux.namespaces[{last}]: has the type of [{first}]"),
        "linux.devices[3].path: says something else of `/dev/a` than [0], and only one can hold".to_owned(),
        "linux.netDevices[v1]: `eth0` is the name of [eth0] already".to_owned(),
    ];
    for one in wanted {
        assert!(reasons.contains(&format!("config.json: {one}")), "{one}: {reasons:#?}");
    }
    assert_eq!(reasons.len(), 3, "{reasons:#?}");
}

#[test]
fn where_the_module_is_on_its_words_come_after_the_fork_and_mounts_have_the_context() {
    let mut spec = with("/mounts/-", json!({"destination": "/t", "type": "tmpfs"}));
    spec["process"]["apparmorProfile"] = json!("profile");
    spec["process"]["selinuxLabel"] = json!("u:r:t:s0");
    spec["linux"]["mountLabel"] = json!("u:o:t:s0");
    let bundle = Bundle { spec: serde_json::from_value(spec).unwrap(), rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
    let host = Host { apparmor: true, selinux: true, ..Host::recorded(0, 0) };
    let text = Plan::new(&bundle, &host, &Options::default()).unwrap().to_string();
    let order = [
        "open the host's /proc",
        "context=u:o:t:s0",
        "pivot",
        "exec profile",
        "new session  ",
        "tell SELinux: u:r:t:s0",
        "exec true",
    ];
    let at: Vec<usize> = order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
    assert!(at.is_sorted(), "{text}");
    assert_eq!(text.matches("context=").count(), 1, "proc takes none: {text}");
    assert_eq!(
        text.matches("exec profile").count(),
        2,
        "a profile that is not there is found before the container is ready: {text}"
    );
    assert!(text.rfind("exec profile") > text.find("new session  "), "{text}");
}

#[test]
fn without_selinux_mounts_have_no_label_and_that_is_said() {
    let spec = with("/linux/mountLabel", json!("u:o:t:s0"));
    let plan = plan(spec, &Options::default()).unwrap();
    let said = "config.json: linux.mountLabel: no mount has the label `u:o:t:s0`: the kernel does not run SELinux";
    assert!(plan.warnings.iter().any(|warning| warning == said), "{:?}", plan.warnings);
    assert!(!plan.to_string().contains("context="));
}

#[test]
fn who_enters_a_cgroup_has_its_cpus_and_a_sandbox_those_of_who_began_it() {
    let all = "cgroup        run on all CPUs of the cgroup ";
    let mut spec = with("/linux/cgroupsPath", json!("/box"));
    let text = |spec: &Value, record| {
        let options = Options { record, ..Options::default() };
        let bundle =
            Bundle { spec: serde_json::from_value(spec.clone()).unwrap(), rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
        Plan::new(&bundle, &Host::recorded(0, 0), &options).unwrap().to_string()
    };
    assert!(text(&spec, true).contains(all) && !text(&spec, false).contains(all), "{}", text(&spec, true));
    let joins = |spec: &Value| {
        let spec: oci_spec::runtime::Spec = serde_json::from_value(spec.clone()).unwrap();
        let process = spec.process().clone().unwrap();
        let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
        Plan::exec(&bundle, process, &Host::recorded(0, 0), &Options::default()).unwrap().to_string()
    };
    assert!(joins(&spec).contains(all), "{}", joins(&spec));
    spec["process"]["execCPUAffinity"] = json!({"initial": "0"});
    assert!(!joins(&spec).contains(all), "it has said which");
}

#[test]
fn the_cpus_are_for_a_process_that_joins() {
    let mut spec = minimal();
    spec["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1-2"});
    let first = plan(spec.clone(), &Options::default()).unwrap().to_string();
    let (run, joins) = first.split_once("\nwho joins\n").unwrap();
    assert!(!run.contains("CPUs") && joins.contains("guard         run on CPUs 0 "), "{first}");
    let spec: oci_spec::runtime::Spec = serde_json::from_value(spec).unwrap();
    let process = spec.process().clone().unwrap();
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown: vec![] };
    let text = Plan::exec(&bundle, process, &Host::recorded(0, 0), &Options::default()).unwrap().to_string();
    assert!(text.contains("guard         run on CPUs 0 ") && text.contains("scheduling    run on CPUs 1,2 "), "{text}");
}

#[test]
fn a_remount_tells_the_file_system_what_is_new_and_nothing_twice() {
    let mut spec =
        with("/mounts/-", json!({"destination": "/proc", "type": "proc", "options": ["remount", "ro", "hidepid=2", "gid=3"]}));
    spec["mounts"][0]["options"] = json!(["nosuid,gid=3"]);
    let text = plan(spec, &Options::default()).unwrap().to_string();
    assert!(text.contains("remount /proc ro hidepid=2  "), "{text}");
}

#[test]
fn mappings_that_the_kernel_would_refuse_as_a_whole_are_named_one_by_one() {
    let map = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    let uids = json!([map(0, 1000, 10), map(5, 5000, 1), map(20, 1009, 2), map(30, 30, 0), map(40, u32::MAX - 2, 3)]);
    let mut spec = with("/linux/uidMappings", uids);
    spec["linux"]["gidMappings"] = json!([map(0, 0, u32::MAX)]);
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let said = plan(spec, &Options::default()).unwrap_err();
    let wanted = [
        "linux.uidMappings[1]: maps ids that [0] maps already",
        "linux.uidMappings[2]: maps ids that [0] maps already",
        "linux.uidMappings[3]: maps no ids: `size` is 0",
        "linux.uidMappings[4]: goes beyond the last id, 4294967294",
    ];
    assert!(said.len() == 4 && said.iter().zip(wanted).all(|(said, wanted)| said.ends_with(wanted)), "{said:#?}");
}

#[test]
fn every_reason_is_said_at_once_and_with_the_file() {
    let mut spec = with("/linux/sysctl", json!({"a.b": "c"}));
    spec["process"]["cwd"] = json!("x");
    let options = Options { bundle_dir: Some("/b".into()), ..Options::default() };
    let said = plan(spec, &options).unwrap_err();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|reason| reason.starts_with("/b/config.json: ")), "{said:?}");
}

#[test]
fn the_seccomp_agent_is_there_before_the_clone_and_is_told_of_the_pid_before_the_filter() {
    let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    let mut spec =
        with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent", "syscalls": [rule]}));
    spec["hooks"] = json!({"prestart": [{"path": "/hook"}]});
    let options = Options { record: true, ..Options::default() };
    for (no_new_privileges, child) in [(false, ["its listener", "tell ready"]), (true, ["wait for start", "its listener"])] {
        spec["process"]["noNewPrivileges"] = no_new_privileges.into();
        let text = plan(spec.clone(), &options).unwrap().to_string();
        let (parent, inside) = text.split_once("child\n").unwrap();
        let order = |text: &str, lines: &[&str]| {
            let at: Vec<usize> = lines.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
            assert!(at.is_sorted(), "{text}");
        };
        let told = ["write what the seccomp agent is told", "tell seccomp agent", "wait for ready"];
        order(parent, &[&["connect to the seccomp agent at /agent", "clone", "run prestart /hook"][..], &told].concat());
        order(inside, &[&["wait for hooked", "wait for seccomp agent"][..], &child].concat());
    }
}

/// Undumpable before the clone, but for who writes his own map; the score before that where its file is somebody else's afterwards, or
/// the power over it gone.
#[test]
fn what_the_first_process_inherits_is_done_before_its_clone() {
    let (pids, user) = (json!({"type": "pid"}), json!({"type": "user"}));
    let joined = json!({"type": "user", "path": "/u"});
    let some_power = Host { privileged: true, ..Host::recorded(1000, 1000) };
    let cases = [
        (Host::recorded(0, 0), vec![pids.clone()], -5, (true, false)),
        (Host::recorded(0, 0), vec![pids.clone(), user.clone()], 5, (true, false)),
        (Host::recorded(0, 0), vec![pids.clone(), user.clone()], -5, (true, true)),
        (Host::recorded(1000, 1000), vec![pids.clone(), user.clone()], 5, (false, false)),
        (Host::recorded(1000, 1000), vec![pids.clone(), joined], 5, (true, true)),
        (some_power, vec![pids], 5, (true, true)),
    ];
    for (host, namespaces, score, want) in cases {
        let mut spec = with("/process/oomScoreAdj", json!(score));
        let maps = namespaces.contains(&user);
        spec["linux"]["namespaces"] = [vec![json!({"type": "mount"})], namespaces].concat().into();
        for list in ["uidMappings", "gidMappings"].iter().filter(|_| maps) {
            spec["linux"][list] = json!([{"containerID": 0, "hostID": host.uid, "size": 1}]);
        }
        let text = plan_on(&host, spec, &Options::default()).unwrap().to_string();
        let (parent, _) = text.split_once("child\n").unwrap();
        let (before, _) = parent.split_once("  clone").unwrap();
        assert_eq!((before.contains("become undumpable"), before.contains("set oom_score_adj")), want, "{text}");
        assert_eq!(text.matches("set oom_score_adj").count(), 1, "{text}");
    }
}

/// Who reads the listing decides by it.
#[test]
fn no_name_makes_a_line_of_its_own_in_the_listing() {
    let mut spec = with("/hostname", json!("h\n  exec          exec true\x1b[2K"));
    spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}, {"type": "uts"}]);
    spec["hooks"] = json!({"poststop": [{"path": "/h\nchild", "args": ["h\nchild"]}]});
    spec["mounts"][0]["options"] = json!(["ro"]);
    let listing = plan(spec, &Options::default()).unwrap().to_string();
    assert!(!listing.contains('\x1b') && listing.lines().filter(|line| line.trim() == "child").count() == 1, "{listing}");
    assert_eq!(listing.matches("\n  exec  ").count(), 1, "{listing}");
}

#[test]
fn what_is_wrong_with_a_device_or_a_terminal_hides_nothing_else_of_it() {
    let mut spec = with("/linux/devices", json!([{"path": "x", "type": "c", "major": -1}, {"path": "y", "type": "a"}]));
    spec["process"]["terminal"] = json!(true);
    spec["process"]["consoleSize"] = json!({"height": 70_000, "width": 1});
    let said = plan(spec, &Options::default()).unwrap_err();
    let wanted = [
        "linux.devices[0]: -1:0 is no device number",
        "linux.devices[0].path: `x` is not",
        "linux.devices[1].type: `a` is no type",
        "linux.devices[1].path: `y` is not",
        "process.consoleSize: is above 65535",
        "process.terminal: needs a `devpts` mount",
    ];
    assert_eq!(said.len(), wanted.len(), "{said:#?}");
    for (said, wanted) in said.iter().zip(wanted) {
        assert!(said.starts_with(&format!("config.json: {wanted}")), "{said}");
    }
}

#[test]
fn ids_that_the_user_namespace_has_not_are_refused_at_once() {
    let mut spec = with("/linux/namespaces/-", json!({"type": "user"}));
    let map = |size: u32| json!([{"containerID": 0, "hostID": 100_000, "size": size}]);
    (spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]) = (map(5), map(9));
    spec["process"]["user"] = json!({"uid": 5, "gid": 8, "additionalGids": [7, 9, 4_294_967_295_u32]});
    for user in [0, 1000] {
        let said = plan_on(&Host::recorded(user, user), spec.clone(), &Options::default()).unwrap_err();
        let wanted = [
            "additionalGids[2]: 4294967295 is not an id",
            "uid: 5 is not mapped in the user namespace",
            "additionalGids[1]: 9 is not mapped in the user namespace",
        ];
        assert_eq!(said, wanted.map(|what| format!("config.json: process.user.{what}")));
    }
    spec["process"]["user"] = json!({"uid": 4, "gid": 8, "additionalGids": [0]});
    assert!(plan(spec.clone(), &Options::default()).is_ok());
    spec["linux"]["devices"] = json!([{"path": "/dev/x", "type": "p", "uid": 5, "gid": 8}]);
    let said = plan(spec, &Options::default()).unwrap_err();
    assert_eq!(said, ["config.json: linux.devices[0].uid: 5 is not mapped in the user namespace"]);
}

#[test]
fn mappings_that_are_empty_ask_for_no_mapped_mount() {
    let mount = |uids: Value| json!({"destination": "/t", "type": "tmpfs", "uidMappings": uids, "gidMappings": []});
    assert!(plan(with("/mounts/-", mount(json!([]))), &Options::default()).is_ok());
    let uids = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let said = plan(with("/mounts/-", mount(uids)), &Options::default()).unwrap_err();
    assert_eq!(said, ["config.json: mounts[1].uidMappings: only a bind mount can be id-mapped"]);
}

/// Its first words would have CR LF in a file, and its window no size.
#[test]
fn a_program_with_a_terminal_waits_until_that_was_looked_after() {
    let mut spec = with("/mounts/-", json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts"}));
    spec["process"]["terminal"] = json!(true);
    for record in [false, true] {
        let plan = plan(spec.clone(), &Options { record, ..Options::default() }).unwrap();
        let parent = |op: &ParentOp| plan.parent.iter().position(|step| step.op == *op);
        let terminal = parent(&ParentOp::Terminal);
        assert!(terminal.is_some() && parent(&ParentOp::Wait(Sync::Ready)) < terminal, "{plan}");
        assert!(terminal < parent(&ParentOp::Tell(Sync::Start)), "{plan}");
        assert_eq!(parent(&ParentOp::Record).is_some(), record, "{plan}");
        let child = |op: &Op| plan.child.iter().position(|step| step.op == *op);
        assert!(child(&Op::Wait(Sync::Start)).is_some_and(|at| at > child(&Op::Stdio).unwrap()), "{plan}");
    }
}

/// Somebody has to stay for it; a terminal of the process's own needs none; and no filter needs to permit dup2(2) for it.
#[test]
fn unix_sockets_as_streams_are_relayed_in_the_foreground_and_refused_elsewhere() {
    let key = annotation::STDIO_SOCKETS;
    let mut spec = with("/annotations", json!({ key: "connected" }));
    let rule = json!({"names": ["dup2"], "action": "SCMP_ACT_ERRNO"});
    spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let unix = |spec: &serde_json::Value, options: Options| {
        let plan = plan(spec.clone(), &options).unwrap();
        let taken = plan.child.iter().position(|step| step.op == Op::TakeRelay);
        let filter = plan.child.iter().position(|step| matches!(step.op, Op::Seccomp(_)));
        assert!(taken.is_none() || taken < filter, "{plan}");
        let streams =
            plan.parent.iter().find_map(|step| if let ParentOp::Streams { unix, .. } = &step.op { Some(*unix) } else { None });
        (streams, taken.is_some())
    };
    let (here, alone) = (Options::default, || Options { detach: true, ..Options::default() });
    for kind in ["connected", annotation::STDIO_INTERNET] {
        spec["annotations"][key] = json!(kind);
        assert_eq!(unix(&spec, here()), (Some(UnixStreams::Relayed), true), "{kind}");
        assert_eq!(unix(&spec, alone()), (Some(UnixStreams::Refused), false), "{kind}");
    }
    for (kind, fate) in [(annotation::STDIO_ANY, UnixStreams::Passed), (annotation::STDIO_NONE, UnixStreams::Refused)] {
        spec["annotations"][key] = json!(kind);
        assert_eq!(unix(&spec, here()), (Some(fate), false), "{kind}");
        assert_eq!(unix(&spec, alone()), (Some(fate), false), "{kind}");
    }
    spec["annotations"] = json!({});
    assert_eq!(unix(&spec, here()), (None, false));
}

#[test]
fn a_filter_that_would_stop_the_process_from_telling_the_agent_is_told_of_by_a_thread() {
    for (notified, thread) in
        [("mkdir", false), ("sendmsg", true), ("sendto", true), ("read", true), ("shutdown", true), ("close", true)]
    {
        let rule = json!({"names": [notified], "action": "SCMP_ACT_NOTIFY"});
        let spec = with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a", "syscalls": [rule]}));
        let text = plan(spec, &Options::default()).unwrap().to_string();
        assert_eq!(text.contains("its listener is handed on, by a thread without it"), thread, "{notified}: {text}");
    }
}

/// CVE-2019-19921: behind a link of the image it would lie beside what is masked.
#[test]
fn proc_is_mounted_behind_no_link_and_other_mounts_may_be() {
    let plan = plan(with("/mounts/-", json!({"destination": "/x", "type": "tmpfs"})), &Options::default()).unwrap();
    let mounts = plan.child.iter().filter_map(|s| if let Op::Mount(fs) = &s.op { Some(fs) } else { None });
    let got: Vec<_> = mounts.map(|fs| (fs.fstype.to_str().unwrap(), fs.at.resolve)).collect();
    assert_eq!(got, [("proc", Resolve::NoLinks), ("tmpfs", Resolve::InRoot)]);
}

/// CVE-2019-19921: whoever may rename what lies in the root could give the name of /proc to something else before it is masked.
#[test]
fn what_is_masked_below_the_kernels_own_is_looked_up_from_its_mount() {
    let held = |more: Value, path: &str| {
        let mut spec = with("/linux/maskedPaths", json!([path]));
        spec["mounts"].as_array_mut().unwrap().extend(more.as_array().unwrap().clone());
        let plan = plan(spec, &Options::default()).unwrap();
        let kept = plan.child.iter().find_map(|s| if let Op::Mount(fs) = &s.op { fs.keep } else { None });
        let masks = plan.child.iter().filter_map(|s| if let Op::Mask(at) = &s.op { Some(at) } else { None });
        let held: Vec<_> = masks.filter_map(|at| at.held.as_ref()).map(|h| (Some(h.slot) == kept, h.path.clone())).collect();
        held.first().cloned()
    };
    let mount =
        |at: &str, typ: &str, options: Value| json!([{"destination": at, "type": typ, "source": "/s", "options": options}]);
    let found = Some((true, c"/kcore".to_owned()));
    assert_eq!(held(json!([]), "/proc/kcore"), found);
    assert_eq!(held(mount("/proc", "proc", json!(["remount", "ro"])), "/proc/./kcore"), found);
    assert_eq!(held(json!([]), "/processes"), None);
    for covered in [mount("/proc", "tmpfs", json!([])), mount("/proc/", "bind", json!(["rbind"])), mount("/", "tmpfs", json!([]))]
    {
        assert_eq!(held(covered.clone(), "/proc/kcore"), None, "{covered}");
    }
}

#[test]
fn a_mount_option_that_no_kernel_looks_at_is_mentioned() {
    for (typ, source) in [("tmpfs", "tmpfs"), ("bind", "/s")] {
        let options = json!(["defaults", "iversion,noiversion", "silent", "loud"]);
        let mount = json!({"destination": "/x", "type": typ, "source": source, "options": options});
        let warnings = plan(with("/mounts/-", mount), &Options::default()).unwrap().warnings;
        let said: Vec<_> = warnings.iter().filter_map(|w| w.strip_prefix("config.json: mounts[1].options: ")).collect();
        let expected = ["iversion", "noiversion", "silent", "loud"].map(|word| format!("`{word}` has no effect"));
        assert_eq!(said, expected, "{typ}: {warnings:?}");
    }
}

#[test]
fn of_two_mount_options_that_exclude_each_other_one_is_mentioned_and_the_other_is_in_the_list() {
    for (options, line, lost) in [
        (json!(["rbind", "rro", "rw", "dev"]), "rbind /s → /x dev rro", "`rw` has no effect: `rro` says otherwise"),
        (
            json!(["bind", "slave", "ro", "shared", "rrw"]),
            "bind /s → /x slave shared rrw",
            "`ro` has no effect: `rrw` says otherwise",
        ),
    ] {
        let mount = json!({"destination": "/x", "source": "/s", "options": options});
        let plan = plan(with("/mounts/-", mount), &Options::default()).unwrap();
        assert!(plan.warnings.contains(&format!("config.json: mounts[1].options: {lost}")), "{:?}", plan.warnings);
        assert!(plan.to_string().contains(line), "{plan}");
    }
}

/// /proc/mounts has it.
#[test]
fn the_source_of_a_new_file_system_is_in_its_line_where_it_is_not_the_type() {
    for (typ, source, line) in [
        ("tmpfs", json!("shm"), "mount tmpfs → /x source=shm "),
        ("tmpfs", json!("tmpfs"), "mount tmpfs → /x "),
        ("devpts", json!("pts"), "mount devpts → /x source=pts "),
        ("proc", json!("p"), "mount proc → /x source=p"),
        ("proc", json!(null), "mount proc → /x "),
    ] {
        let mount = json!({"destination": "/x", "type": typ, "source": source});
        let listing = plan(with("/mounts/-", mount), &Options::default()).unwrap().to_string();
        assert!(listing.contains(line) && listing.contains("source=") == line.contains("source="), "{listing}");
    }
}

#[test]
fn a_field_that_nobody_knows_is_mentioned() {
    let plan = plan(minimal(), &Options::default()).unwrap();
    assert_eq!(plan.warnings, ["config.json: `hoks` is no known field, and has no effect"]);
}

#[test]
fn every_field_has_its_line_with_its_place() {
    let mut spec = minimal();
    spec["process"]["scheduler"] = json!({"policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_RESET_ON_FORK"]});
    spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 7});
    spec["linux"] = json!({
        "namespaces": [
            {"type": "mount"}, {"type": "pid", "path": "/ns/pid"}, {"type": "network", "path": "/ns/net"}, {"type": "time"},
        ],
        "timeOffsets": {"monotonic": {"secs": -5}, "boottime": {"secs": 7, "nanosecs": 1}},
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "netDevices": {"eth9": {"name": "eth0"}},
        "devices": [{"path": "/dev/a/b", "type": "b", "major": 7, "minor": 9, "fileMode": 0o640, "uid": 3, "gid": 4}],
        "rootfsPropagation": "rshared",
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1"},
        "personality": {"domain": "LINUX32"},
    });
    let map = json!([{"containerID": 0, "hostID": 5, "size": 9}]);
    spec["mounts"].as_array_mut().unwrap().extend([
        json!({"destination": "/", "type": "bind", "source": "/other", "options": ["rbind"]}),
        json!({"destination": "/m", "source": "/s", "options": ["rbind", "ridmap"], "uidMappings": map, "gidMappings": map}),
        json!({"destination": "/t", "type": "tmpfs", "options": ["tmpcopyup", "sync", "iversion", "shared"]}),
    ]);
    let text = plan(spec, &Options::default()).unwrap().to_string();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    for line in [
        "join pid of /ns/pid # linux.namespaces[1].path",
        "join network of /ns/net # linux.namespaces[2].path",
        "id-map /s: uid 0 5 9 gid 0 5 9 # mounts[2]",
        "move network device eth9 → eth0 # linux.netDevices[eth9]",
        "namespaces unshare time; offset boottime 7 1, monotonic -5 0 # linux.timeOffsets",
        "network wait for network devices # linux.netDevices",
        "sysctl write 1 to /proc/sys/net/ipv4/ip_forward # linux.sysctl[net.ipv4.ip_forward]",
        "propagation set propagation shared # linux.rootfsPropagation",
        "propagation set propagation private of / alone # linux.rootfsPropagation",
        "keeper make the root private # linux.rootfsPropagation",
        "mounts rbind /other → / # mounts[1]",
        "mounts rbind /s → /m id-mapped # mounts[2]",
        "mounts mount tmpfs → /t shared sync, with a copy of what is there # mounts[3]",
        "devices mknod /dev/a/b b 7:9 0640 3:4 # linux.devices[0]",
        "pivot pivot, detach 1 below # root.path",
        "scheduling set scheduler 2 flags 0x1 nice 0 priority 3 # process.scheduler",
        "scheduling set I/O priority class 3 level 7 # process.ioPriority",
        "scheduling set memory policy 0x2 nodes 0,1 # linux.memoryPolicy",
        "scheduling set personality 0x8 # linux.personality",
    ] {
        assert!(lines.iter().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains("bring lo up"), "a network that is joined is left as it is: {text}");
}

#[test]
fn the_listing_has_each_operation_with_its_origin_in_order() {
    let mut spec = with("/hostname", json!("box"));
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "uts"}));
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}]);
    let text = plan(spec, &Options::default()).unwrap().to_string();
    let want =
        ["# mounts[0]", "# root.path", "set hostname box", "set rlimit 7 soft 1 hard 2", "# process.user.uid", "exec true"];
    let at: Vec<usize> = want.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
    assert!(at[0] > at[1] && at[2..].is_sorted(), "{text}");
}

/// config.md, "Mounts": for the sake of old tools.
#[test]
fn a_relative_destination_is_relative_to_the_root() {
    let at = |path: &str| plan(with("/mounts/-", json!({"destination": path, "type": "tmpfs"})), &Options::default()).unwrap();
    assert_eq!(at("x/y"), at("/x/y"));
}

/// As `user`, in a user namespace of ids from 100000 on, with this device and an annotation of crun's.
fn with_a_device(user: u32, size: u32) -> Plan {
    let mut spec = with("/linux/devices", json!([{"path": "/dev/n", "type": "b", "major": 7, "minor": 9, "uid": 3, "gid": 4}]));
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100000, "size": size}]);
    spec["linux"]["gidMappings"] = spec["linux"]["uidMappings"].clone();
    spec["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    plan_on(&Host::recorded(user, user), spec, &Options::default()).unwrap()
}

#[test]
fn a_node_is_made_outside_where_that_can_be_done_for_its_owner() {
    let plan = with_a_device(0, 9);
    let text = plan.to_string();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("mknod b 7:9 0666 100003:100004 in memory of its own # linux.devices[0]"), "{text}");
    assert!(words.contains("devices bind node 0 → /dev/n # linux.devices[0]"), "{text}");
    assert!(plan.warnings.iter().all(|warning| !warning.contains("devices")), "{:?}", plan.warnings);
    for (plan, why) in
        [(with_a_device(0, 4), "of an owner that is not mapped"), (with_a_device(1000, 9), "none can be made here")]
    {
        assert!(plan.to_string().contains("bind /dev/n → /dev/n"), "{plan}");
        let told =
            |field: &str| plan.warnings.iter().any(|w| w.contains(&format!("[0].{field} has no effect")) && w.contains(why));
        assert_eq!(["fileMode", "uid", "gid"].map(told), [false, true, true], "{:?}", plan.warnings);
    }
}

#[test]
fn devices_are_made_unless_the_hosts_are_bound_in_the_end() {
    let bind = |at: &str| json!({"destination": at, "type": "bind", "source": "/s", "options": ["bind"]});
    let remount = json!({"destination": "/dev", "options": ["remount", "ro"]});
    for (mounts, made) in [
        (json!([bind("/dev")]), false),
        (json!([bind("/"), bind("/dev"), remount]), false),
        (json!([bind("/dev"), bind("/")]), true),
        (json!([bind("/dev"), {"destination": "/dev", "type": "tmpfs"}]), true),
    ] {
        let text = plan(with("/mounts", mounts.clone()), &Options::default()).unwrap().to_string();
        assert_eq!(text.contains("default devices"), made, "{mounts}\n{text}");
    }
}

#[test]
fn groups_that_are_to_stay_are_not_set() {
    let text = with_a_device(0, 9).to_string();
    assert!(text.contains("set gid 0") && !text.contains("groups"), "{text}");
}

#[test]
fn a_source_out_of_reach_is_copied_from_outside() {
    let bind = json!({"destination": "/m", "source": "/s", "options": ["rbind", "ro"]});
    let host = Host { out_of_reach: ["/s".into()].into(), ..Host::recorded(0, 0) };
    let plan = plan_on(&host, with("/mounts/-", bind), &Options::default()).unwrap().to_string();
    let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "copy /s in the mount namespace, and send it # mounts[1]",
        "mounts receive mount 0 # mounts[1] rootfs make the root",
        "mounts rbind /s → /m ro, mount 0 # mounts[1]",
    ] {
        assert!(words.contains(line), "{line}\n{plan}");
    }
}
