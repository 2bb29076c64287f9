//! No field is dropped in silence: each one that `oci_spec` knows is set here, and when it is taken away, or is another, the plan is
//! another or is refused.

use super::{Options, Plan};
use crate::bundle::locate::Source;
use crate::bundle::{Bundle, OF_ANOTHER_PLATFORM, PLATFORMS, Rootfs};
use crate::host::{Host, resctrl::Resctrl};
use oci_spec::runtime::Spec;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Every field that can be applied, but for those that exclude another one: [`variants`] has them.
fn full() -> Value {
    let hook = |path: &str| json!([{"path": path, "args": ["a"], "env": ["A=b"], "timeout": 3}]);
    let map = json!([{"containerID": 1, "hostID": 5, "size": 9}]);
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "host", "domainname": "domain",
        "annotations": {"dev.codexrun.wall-time": "9"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts"},
            {"destination": "/m", "source": "/s", "options": ["rbind", "ridmap"], "uidMappings": map, "gidMappings": map},
        ],
        "hooks": {
            "prestart": hook("/1"), "createRuntime": hook("/2"), "createContainer": hook("/3"),
            "startContainer": hook("/4"), "poststart": hook("/5"), "poststop": hook("/6"),
        },
        "process": process(),
        "linux": linux(),
    })
}

fn process() -> Value {
    let set = json!(["CAP_CHOWN"]);
    json!({
        "terminal": true, "consoleSize": {"height": 3, "width": 4},
        "user": {"uid": 1, "gid": 2, "umask": 7, "additionalGids": [3]},
        "args": ["true"], "env": ["A=b"], "cwd": "/w", "noNewPrivileges": true, "oomScoreAdj": 5,
        "capabilities": {"bounding": set, "effective": set, "permitted": set, "inheritable": set, "ambient": set},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
        "apparmorProfile": "profile", "selinuxLabel": "u:r:t:s0",
        "ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 3},
        "scheduler": {"policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_FLAG_KEEP_PARAMS"]},
        "execCPUAffinity": {"initial": "0", "final": "1"},
    })
}

fn linux() -> Value {
    json!({
        "namespaces": [
            {"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "uts"}, {"type": "time"},
            {"type": "ipc", "path": "/ipc"},
        ],
        "timeOffsets": {"boottime": {"secs": 7, "nanosecs": 1}},
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "netDevices": {"eth9": {"name": "eth0"}},
        "devices": [{"path": "/dev/x", "type": "c", "major": 7, "minor": 9, "fileMode": 416, "uid": 3, "gid": 4}],
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        "rootfsPropagation": "rshared", "mountLabel": "u:o:t:s0", "cgroupsPath": "/x",
        "personality": {"domain": "LINUX"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "intelRdt": {
            "closID": "c", "schemata": ["L2:0=1"], "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "enableCMT": true,
        },
        "seccomp": seccomp(),
        "resources": resources(),
    })
}

fn seccomp() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 7, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/agent", "listenerMetadata": "m",
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
             "args": [{"index": 1, "value": 7, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]},
        ],
    })
}

fn resources() -> Value {
    let throttle = json!([{"major": 8, "minor": 1, "rate": 5}]);
    json!({
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}],
        "memory": {
            "limit": 1000, "reservation": 500, "swap": 2000, "kernelTCP": 1, "swappiness": 10,
            "disableOOMKiller": true, "useHierarchy": false, "checkBeforeUpdate": true,
        },
        "cpu": {
            "shares": 5, "quota": 5000, "burst": 100, "period": 10000, "realtimeRuntime": 5, "realtimePeriod": 6,
            "idle": 0, "cpus": "0", "mems": "0",
        },
        "blockIO": {
            "weight": 20, "leafWeight": 30, "weightDevice": [{"major": 8, "minor": 0, "weight": 40, "leafWeight": 50}],
            "throttleReadBpsDevice": throttle, "throttleWriteBpsDevice": throttle,
            "throttleReadIOPSDevice": throttle, "throttleWriteIOPSDevice": throttle,
        },
        "pids": {"limit": 5}, "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
        "network": {"classID": 7, "priorities": [{"name": "lo", "priority": 3}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 4}},
        "unified": {"memory.high": "1"},
    })
}

/// The full spec, and with what excludes some of it.
fn variants() -> [Value; 3] {
    let [first, mut second, mut third] = [full(), full(), full()];
    second["process"]["scheduler"] = json!({"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048, "period": 4096});
    second["linux"]["intelRdt"] = json!({"enableMBM": true});
    third["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 1});
    third["linux"]["intelRdt"] = json!({"enableMonitoring": true});
    let map = json!([{"containerID": 0, "hostID": 5, "size": 9}]);
    third["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    (third["linux"]["uidMappings"], third["linux"]["gidMappings"]) = (map.clone(), map);
    [first, second, third]
}

/// What is refused wherever it stands.
fn refused() -> Vec<(&'static str, Value)> {
    vec![
        ("/linux/resources/memory/kernel", json!(1)),
        ("/windows", json!({"layerFolders": []})),
        ("/solaris", json!({})),
        ("/vm", json!({"kernel": {"path": "/k"}})),
        ("/zos", json!({})),
        ("/process/commandLine", json!("x")),
        ("/process/user/username", json!("x")),
        ("/linux/personality/flags", json!(["x"])),
    ]
}

/// What one interface of cgroups does not have.
const ONLY_V2: &[&str] = &["/linux/resources/unified/memory.high"];
const ONLY_V1: &[&str] = &[
    "/linux/resources/blockIO/leafWeight",
    "/linux/resources/blockIO/weightDevice/0/leafWeight",
    "/linux/resources/cpu/realtimePeriod",
    "/linux/resources/cpu/realtimeRuntime",
    "/linux/resources/memory/disableOOMKiller",
    "/linux/resources/memory/kernelTCP",
    "/linux/resources/memory/swappiness",
    "/linux/resources/memory/useHierarchy",
    "/linux/resources/network/classID",
    "/linux/resources/network/priorities/0",
];

/// What version 1 does by itself: the kernel refuses a limit below what is used.
const ALWAYS_V1: &str = "/linux/resources/memory/checkBeforeUpdate";

fn hosts() -> [(Host, &'static [&'static str]); 2] {
    let resctrl = Resctrl { mount: "/resctrl".into(), monitored: ["llc_occupancy", "mbm_total_bytes"].map(str::to_owned).into() };
    let v2 = Host { apparmor: true, selinux: true, resctrl: Some(resctrl), ..Host::recorded(0, 0) };
    let v1 = Host { cgroups: Some(super::cgroup::tests::v1()), ..v2.clone() };
    [(v1, ONLY_V2), (v2, ONLY_V1)]
}

type Planned = Result<Plan, Vec<crate::Error>>;

/// For its first process and for one that joins; outside of it, why there is no such spec.
fn plans(host: &Host, json: &Value) -> serde_json::Result<(Planned, Option<Planned>)> {
    let spec = crate::bundle::spec(json)?;
    let rootfs = Rootfs::Dir(spec.root().as_ref().map_or_else(Default::default, |root| root.path().clone()));
    let process = spec.process().clone();
    let bundle = Bundle { spec, rootfs, unknown: Vec::new() };
    let options = Options { id: Some("box".into()), record: true, ..Options::default() };
    Ok((Plan::new(&bundle, host, &options), process.map(|process| Plan::exec(&bundle, process, host, &options))))
}

/// All that is decided of a spec.
fn decided(host: &Host, json: &Value) -> serde_json::Result<Result<String, Vec<String>>> {
    let (first, joins) = plans(host, json)?;
    let place = |error: &crate::Error| error.place.clone().unwrap_or_default().replace("config.json: ", "");
    Ok(match first {
        Ok(plan) => Ok(format!("{plan:?}\n{joins:?}")),
        Err(errors) => Err(errors.iter().map(place).collect()),
    })
}

/// `a.b[c.d]` → `/a/b/c.d`.
fn pointer(place: &str) -> String {
    let mut inside = false;
    let step = |c: char| {
        inside = c == '[' || inside && c != ']';
        match c {
            '[' => Some('/'),
            ']' => None,
            '.' if !inside => Some('/'),
            c => Some(c),
        }
    };
    std::iter::once('/').chain(place.chars().filter_map(step)).collect()
}

/// Takes a value away, and what has become empty by that.
fn take(json: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let (taken, empty) = match json.pointer_mut(parent)? {
        Value::Object(object) => (object.remove(name), object.is_empty()),
        Value::Array(list) => (name.parse().ok().map(|at: usize| list.remove(at)), list.is_empty()),
        _ => (None, false),
    };
    if empty {
        take(json, parent);
    }
    taken
}

/// The pointers of all members of all objects; of what is an object itself its members speak.
fn members(json: &Value, at: &str, all: &mut Vec<String>) {
    match json {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            let at = format!("{at}/{name}");
            members(value, &at, all);
            all.extend(Some(at).filter(|_| !value.is_object()));
        }),
        Value::Array(list) => list.iter().enumerate().for_each(|(n, value)| members(value, &format!("{at}/{n}"), all)),
        _ => {}
    }
}

/// Other values of the same kind.
fn others(value: &Value) -> Vec<Value> {
    const WORDS: &[&str] = &[
        "other",
        "cgroup",
        "b",
        "RLIMIT_CPU",
        "IOPRIO_CLASS_BE",
        "SCHED_FIFO",
        "LINUX32",
        "MPOL_INTERLEAVE",
        "SCMP_ACT_LOG",
        "SCMP_CMP_NE",
    ];
    match value {
        Value::String(_) => WORDS.iter().map(|word| json!(word)).collect(),
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1)],
        Value::Bool(is) => vec![json!(!is)],
        Value::Array(_) => vec![json!([])],
        _ => Vec::new(),
    }
}

/// Every operation that a field can become stands in one of these lists.
#[test]
fn the_lists_of_every_field_are_as_written_down() {
    for (version, (host, _)) in ["v1", "v2"].into_iter().zip(hosts()) {
        for (n, mut spec) in variants().into_iter().enumerate() {
            for place in decided(&host, &spec).unwrap().err().unwrap_or_default() {
                take(&mut spec, &pointer(&place));
            }
            let (first, joins) = plans(&host, &spec).unwrap();
            written(&format!("every-{version}-{}", n + 1), &format!("{}\nexec\n{}", first.unwrap(), joins.unwrap().unwrap()));
        }
    }
}

fn written(name: &str, text: &str) {
    let file = format!("{}/src/plan/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CODEXRUN_UPDATE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, wanted, "{file}: CODEXRUN_UPDATE=1 cargo test -p libruntime every");
}

/// What the lists of every field have nothing of: a unit of systemd's, maps that are written by newuidmap(1), a root without a mount
/// namespace.
#[test]
fn the_lists_of_the_other_ways_are_as_written_down() {
    let small = |linux: Value| {
        json!({
            "ociVersion": "1.3.0", "root": {"path": "/r"}, "linux": linux,
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "env": ["A=b"], "cwd": "/"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/m", "source": "/s", "options": ["bind", "ro"]}],
        })
    };
    let listing = |host: &Host, linux: Value, systemd: bool| {
        let spec = crate::bundle::spec(&small(linux)).unwrap();
        let process = spec.process().clone().unwrap();
        let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown: Vec::new() };
        let options = Options { id: Some("box".into()), record: true, systemd, ..Options::default() };
        let (first, joins) = (Plan::new(&bundle, host, &options).unwrap(), Plan::exec(&bundle, process, host, &options).unwrap());
        format!("{first}\nexec\n{joins}")
    };
    let mut manager = Host::recorded(0, 0);
    manager.cgroups.as_mut().unwrap().systemd = Some(Ok("/".into()));
    let limits = json!({"memory": {"limit": 1 << 20}, "cpu": {"shares": 5, "cpus": "0"}, "pids": {"limit": 5}});
    let unit = json!({"namespaces": [{"type": "mount"}, {"type": "pid"}], "cgroupsPath": "a-b.slice:p:n", "resources": limits});
    written("systemd", &listing(&manager, unit, true));
    let user = Host::recorded(1000, 1000);
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 100_000, "size": 65_536}]);
    let user_namespace =
        json!({"namespaces": [{"type": "user"}, {"type": "mount"}, {"type": "pid"}], "uidMappings": maps, "gidMappings": maps});
    written("newuidmap", &listing(&user, user_namespace, false));
    written("chroot", &listing(&Host::recorded(0, 0), json!({"namespaces": [{"type": "pid"}]}), false));
}

#[test]
fn what_is_set_is_applied_or_refused_by_name() {
    for (host, expected) in hosts() {
        for mut spec in variants() {
            // What this host has not is refused, all of it at once, and each with its place.
            if let Err(places) = decided(&host, &spec).unwrap() {
                let mut refused: Vec<String> = places.iter().map(|place| pointer(place)).collect();
                refused.sort();
                assert_eq!(refused, expected);
                refused.iter().for_each(|at| assert!(take(&mut spec, at).is_some(), "{at}"));
            }
            let whole = decided(&host, &spec).unwrap().unwrap();
            let mut all = Vec::new();
            members(&spec, "", &mut all);
            let counts = |at: &String| {
                let mut without = spec.clone();
                let value = take(&mut without, at).unwrap();
                let mut changed = others(&value).into_iter().map(|other| {
                    let mut changed = spec.clone();
                    *changed.pointer_mut(at).unwrap() = other;
                    changed
                });
                let differs = |json: Value| decided(&host, &json).is_ok_and(|decided| decided.as_ref() != Ok(&whole));
                differs(without) || changed.any(differs)
            };
            let silent: Vec<_> = all.into_iter().filter(|at| !counts(at)).collect();
            let quiet: &[&str] = if expected == ONLY_V2 { &[ALWAYS_V1] } else { &[] };
            assert_eq!(silent, quiet);
        }
    }
}

/// `oci_spec` knows them there; the specification does not.
const MISPLACED: [&str; 2] = ["uidMappings", "gidMappings"];

#[test]
fn mappings_that_stand_outside_of_linux_are_mentioned() {
    let host = Host::recorded(0, 0);
    for name in MISPLACED {
        let spec = json!({
            "ociVersion": "1.3.0", "root": {"path": "r"}, "linux": {"namespaces": [{"type": "mount"}]},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
            name: [{"containerID": 0, "hostID": 5, "size": 9}],
        });
        let said = decided(&host, &spec).unwrap().unwrap();
        assert!(
            said.contains(&format!("config.json: `{name}` is no known field, and has no effect: `linux.{name}` is")),
            "{said}"
        );
    }
}

#[test]
fn what_is_of_another_platform_is_refused_by_name() {
    let (host, _) = &hosts()[0];
    for (at, value) in refused() {
        let mut spec = full();
        set(&mut spec, at, value);
        let places = decided(host, &spec).unwrap().unwrap_err();
        assert!(places.iter().any(|place| pointer(place) == at), "{at}: {places:?}");
    }
}

/// Version 1.3.0 has it, and `oci_spec` does not.
#[test]
fn what_oci_spec_does_not_know_of_another_platform_is_refused_by_name_too() {
    let (host, _) = &hosts()[0];
    let mut json = full();
    json["freebsd"] = json!({"jail": {"parent": "x"}});
    let source = Source::whole("config.json".as_ref());
    let (spec, unknown) = crate::bundle::read::parse(&source, json.to_string().as_bytes(), &mut |_| {}).unwrap();
    let bundle = Bundle { spec, rootfs: Rootfs::Dir("/r".into()), unknown };
    let said = Plan::new(&bundle, host, &Options::default()).unwrap_err();
    assert!(said.iter().any(|error| error.to_string() == "config.json: freebsd: belongs to another platform"), "{said:?}");
}

fn set(json: &mut Value, at: &str, value: Value) {
    let (parent, name) = at.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[name] = value;
}

/// The fields of each type that reading a spec comes to: those that there are, and those that were there.
type Fields = BTreeMap<&'static str, (BTreeSet<String>, BTreeSet<String>)>;

/// A value that writes down by which types it is read.
#[derive(Clone, Copy)]
struct Traced<'a>(&'a Value, &'a RefCell<Fields>);

impl<'de> Deserializer<'de> for Traced<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Object(object) => {
                visitor.visit_map(MapDeserializer::new(object.iter().map(|(name, value)| (name.as_str(), Traced(value, self.1)))))
            }
            Value::Array(list) => visitor.visit_seq(SeqDeserializer::new(list.iter().map(|value| Traced(value, self.1)))),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let lower = |name: &str| name.to_lowercase();
        let mut all = self.1.borrow_mut();
        let (known, set) = all.entry(name).or_default();
        known.extend(fields.iter().map(|name| lower(name)));
        set.extend(self.0.as_object().into_iter().flatten().map(|(name, _)| lower(name)));
        drop(all);
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, words, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Traced<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

/// `oci_spec` reads `enableCMT` as `enableCmt`.
fn trace(json: &Value, fields: &RefCell<Fields>) {
    let text = json.to_string().replace("\"enableCMT\"", "\"enableCmt\"").replace("\"enableMBM\"", "\"enableMbm\"");
    Spec::deserialize(Traced(&serde_json::from_str(&text).unwrap(), fields)).unwrap();
}

#[test]
fn no_field_is_missing_here() {
    let fields = RefCell::default();
    variants().iter().for_each(|spec| trace(spec, &fields));
    let types: BTreeSet<_> = fields.borrow().keys().copied().collect();
    let misplaced = MISPLACED.map(|name| (name, json!([])));
    for (at, value) in refused().into_iter().map(|(at, value)| (&at[1..], value)).chain(misplaced) {
        let mut spec = full();
        set(&mut spec, &format!("/{at}"), value);
        trace(&spec, &fields);
    }
    let fields = fields.into_inner();
    assert!(types.len() >= 37, "{types:?}");
    for name in types {
        let (known, set) = &fields[name];
        assert_eq!(known.difference(set).collect::<Vec<_>>(), [""; 0], "of {name}");
    }
}

/// The pointers of all objects.
fn objects(json: &Value, at: &str, all: &mut Vec<String>) {
    match json {
        Value::Object(object) => {
            all.push(at.to_owned());
            object.iter().for_each(|(name, value)| objects(value, &format!("{at}/{name}"), all));
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(n, value)| objects(value, &format!("{at}/{n}"), all)),
        _ => {}
    }
}

/// `serde_json` would read it by the order of the type's members.
#[test]
fn the_list_of_an_objects_members_is_no_such_object_in_any_field() {
    let foreign = refused().into_iter().map(|(at, value)| {
        let mut spec = full();
        set(&mut spec, at, value);
        spec
    });
    for spec in variants().into_iter().chain(foreign) {
        let mut all = Vec::new();
        objects(&spec, "", &mut all);
        for at in all {
            let mut changed = spec.clone();
            let object = changed.pointer_mut(&at).unwrap();
            *object = object.as_object().unwrap().values().cloned().collect();
            let text = changed.to_string();
            let read = crate::bundle::read::parse(&Source::whole("c".as_ref()), text.as_bytes(), &mut drop);
            let error = read.expect_err(&at);
            // Of another platform's nothing else is said.
            let foreign = PLATFORMS.iter().any(|platform| at.split('/').nth(1) == Some(platform));
            let what = if foreign { OF_ANOTHER_PLATFORM } else { "invalid type: sequence, expected an object" };
            assert_eq!(error.what, what, "{at}");
            let place = error.place.unwrap();
            let told = place.split_once(": ").map_or(String::new(), |(_, path)| pointer(path));
            assert!(told == at || foreign && at.starts_with(&told), "{told}, not {at}");
        }
    }
}
