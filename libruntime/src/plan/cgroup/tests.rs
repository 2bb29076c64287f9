//! `linux.resources` as tables: for each field what is written in version 1 and in version 2.

use super::super::{Plan, tests::plan_on};
use super::*;
use serde_json::{Value, json};

/// Every controller in a hierarchy of its own.
pub(in crate::plan) fn v1() -> Cgroups {
    let names = [
        "name=systemd",
        "memory",
        "cpu,cpuacct",
        "cpuset",
        "blkio",
        "pids",
        "hugetlb",
        "net_cls,net_prio",
        "rdma",
        "devices",
        "freezer",
    ];
    let hierarchy = |name: &&str| {
        let mount = Path::new("/c").join(name.trim_start_matches("name="));
        let own = mount.join("me");
        Hierarchy { version: Version::V1, controllers: name.split(',').map(str::to_owned).collect(), mount, own }
    };
    Cgroups { hierarchies: names.iter().map(hierarchy).collect(), user_namespace: false, systemd: None }
}

fn hybrid() -> Cgroups {
    let mut all = v1();
    all.hierarchies.retain(|h| h.controllers[0] != "hugetlb");
    let (mount, own) = ("/c/unified".into(), "/c/unified/me".into());
    all.hierarchies.push(Hierarchy { version: Version::V2, controllers: vec!["hugetlb".into()], mount, own });
    all
}

fn groups(cgroups: &Cgroups) -> Vec<Group> {
    cgroups.hierarchies.iter().map(|h| Group::new(h, Path::new("/x"))).collect()
}

/// `file value`, and `file value or file value`, of each write; the errors otherwise.
fn table(cgroups: &Cgroups, resources: Value, update: bool) -> Result<Vec<String>, Vec<String>> {
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let (change, errors) = limits(Some(&resources), &groups(cgroups), update);
    let text = |w: &Write| {
        let choice = |(file, value): &(String, String)| format!("{file} {value}");
        w.choices.iter().map(choice).collect::<Vec<_>>().join(" or ")
    };
    if errors.is_empty() {
        Ok(change.writes.iter().map(text).collect())
    } else {
        Err(errors.iter().map(ToString::to_string).collect())
    }
}

#[test]
fn what_no_kernel_would_take_is_refused_by_every_name() {
    let refused = |cgroups: &Cgroups, resources: Value| table(cgroups, resources, false).unwrap_err();
    let cases = [
        (
            json!({"memory": {"limit": 20_000_000, "swap": 10_000_000}}),
            "memory.swap: is the sum of memory and swap, and below `memory.limit`",
        ),
        (json!({"cpu": {"quota": -5}}), "cpu.quota: -5 is no limit: -1 takes it away"),
        (json!({"cpu": {"shares": 300_000}}), "cpu.shares: 300000 is above 262144"),
        (json!({"cpu": {"shares": 1}}), "cpu.shares: 1 is below 2, the least on cgroup version 1"),
        (json!({"cpu": {"quota": 999}}), "cpu.quota: 999 is below 1000, the least"),
        (json!({"pids": {"limit": 4_194_305}}), "pids.limit: 4194305 is above 4194304"),
        (json!({"cpu": {"period": 999}}), "cpu.period: 999 is not from 1000 to 1000000"),
        (json!({"cpu": {"period": 1_000_001}}), "cpu.period: 1000001 is not from 1000 to 1000000"),
        (json!({"cpu": {"realtimeRuntime": 9, "realtimePeriod": 8}}), "cpu.realtimeRuntime: 9 is above `cpu.realtimePeriod`, 8"),
        (json!({"cpu": {"cpus": "banana"}}), "cpu.cpus: `banana` is not a list like `0-3,7`"),
        (
            json!({"cpu": {"cpus": "0-4294967296"}}),
            "cpu.cpus: `0-4294967296` has a number above 4294967295, the last that the kernel reads",
        ),
        (json!({"cpu": {"mems": "1-"}}), "cpu.mems: `1-` is not a list like `0-3,7`"),
        (
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": -1, "minor": 0, "rate": 1}]}}),
            "blockIO.throttleReadBpsDevice[0]: -1:0 is no device number",
        ),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 1 << 20, "weight": 10}]}}),
            "blockIO.weightDevice[0]: 8:1048576 is no device number",
        ),
        (
            json!({"cpu": {"shares": 2048, "idle": 1}}),
            "cpu.shares: is dropped by the kernel where `cpu.idle` is 1, which has the least weight of all",
        ),
        (json!({"cpu": {"idle": 9}}), "cpu.idle: 9 is neither 0 nor 1"),
        (json!({"blockIO": {"weight": 5}}), "blockIO.weight: 5 is not from 10 to 1000"),
        (json!({"blockIO": {"leafWeight": 1001}}), "blockIO.leafWeight: 1001 is not from 10 to 1000"),
        (
            json!({"network": {"priorities": [{"name": "a b", "priority": 1}]}}),
            "network.priorities[0].name: `a b` is no name of a network device",
        ),
        (json!({"rdma": {"a\nb": {"hcaHandles": 1}}}), "rdma[a\\nb]: is no name of a device"),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 5000}]}}),
            "blockIO.weightDevice[0].weight: 5000 is not from 10 to 1000",
        ),
    ];
    for (resources, said) in cases {
        assert_eq!(refused(&v1(), resources), [format!("linux.resources.{said}")]);
    }
    let none = Cgroups::default();
    let all = refused(&none, json!({"memory": {"limit": 1, "swap": 2}, "cpu": {"shares": 2, "quota": 9000, "period": 9000}}));
    let places = ["memory.limit", "memory.swap", "cpu.shares", "cpu.quota", "cpu.period"];
    assert!(all.len() == 5 && all.iter().zip(places).all(|(said, place)| said.contains(place)), "{all:?}");
    assert!(refused(&hybrid(), json!({"unified": {"hugetlb.2MB.max": ""}}))[0].contains("is empty"), "unified");
    assert!(refused(&hybrid(), json!({"unified": {"hugetlb.2MB.max": "1\0"}}))[0].contains("contains a NUL byte"), "unified");
}

#[test]
fn what_can_be_no_directory_is_no_path() {
    for path in ["a/x\ny", "a\0b", &format!("/{}/b", "x".repeat(256))] {
        let said = clean(path.as_ref()).unwrap_err().to_string();
        assert!(said.contains("is no name of a cgroup"), "{said}");
    }
    assert_eq!(clean(format!("/{}", "x".repeat(255)).as_ref()).unwrap().iter().count(), 2);
    let deep = |times: usize| launch(v1(), 0, json!({"cgroupsPath": format!("/{}", "x/".repeat(times))}));
    let said = deep(2050).unwrap_err();
    assert!(said[0].starts_with("config.json: linux.cgroupsPath: makes a path of 41"), "{said:?}");
    assert!(said[0].ends_with(" bytes; 4082 are the most") && said.len() == 1 && deep(2000).is_ok(), "{said:?}");
}

fn ok(list: &[&str]) -> Result<Vec<String>, Vec<String>> {
    Ok(list.iter().map(|s| (*s).to_owned()).collect())
}

fn no(list: &[&str]) -> Result<Vec<String>, Vec<String>> {
    Err(list.iter().map(|s| format!("linux.resources.{s}")).collect())
}

#[test]
fn memory_in_both_versions() {
    let both = |resources: Value, one: &[&str], two: &[&str]| {
        let resources = json!({"memory": resources});
        assert_eq!(table(&v1(), resources.clone(), false), ok(one), "{resources}");
        assert_eq!(table(&Cgroups::recorded(), resources.clone(), false), ok(two), "{resources}");
    };
    both(json!({"limit": 100}), &["memory.limit_in_bytes 100"], &["memory.max 100"]);
    let one = ["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 300"];
    both(json!({"limit": 100, "swap": 300}), &one, &["memory.swap.max 200", "memory.max 100"]);
    let one = ["memory.limit_in_bytes 100", "memory.memsw.limit_in_bytes 100"];
    both(json!({"limit": 100, "swap": 100}), &one, &["memory.swap.max 0", "memory.max 100"]);
    let one = ["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1"];
    both(json!({"limit": -1}), &one, &["memory.swap.max max", "memory.max max"]);
    both(json!({"swap": -1}), &["memory.memsw.limit_in_bytes -1"], &["memory.swap.max max"]);
    both(json!({"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0, "disableOOMKiller": false}), &[], &[]);
    both(json!({"reservation": 7}), &["memory.soft_limit_in_bytes 7"], &["memory.low 7"]);
    both(json!({"reservation": -1}), &["memory.soft_limit_in_bytes -1"], &["memory.low max"]);
    both(json!({"useHierarchy": true}), &["memory.use_hierarchy 1"], &[]);
    let one = ["memory.swappiness 0", "memory.oom_control 1"];
    assert_eq!(table(&v1(), json!({"memory": {"swappiness": 0, "disableOOMKiller": true}}), false), ok(&one));
    assert_eq!(table(&v1(), json!({"memory": {"disableOOMKiller": false}}), true), ok(&["memory.oom_control 0"]));
}

#[test]
fn of_two_limits_of_one_thing_neither_is_lost_in_silence() {
    let device = |minor: i64, rate: u64| json!({"major": 8, "minor": minor, "rate": rate});
    let pages = |limit: u64| json!({"pageSize": "2MB", "limit": limit});
    let twice = json!({
        "blockIO": {"throttleReadBpsDevice": [device(0, 1), device(1, 1), device(0, 2)],
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}, {"major": 8, "minor": 0, "leafWeight": 10}]},
        "hugepageLimits": [pages(2), pages(4)],
        "network": {"priorities": [{"name": "lo", "priority": 1}, {"name": "lo", "priority": 2}]},
    });
    let says = |field: &str, name: &str| format!("{field} says something else of `{name}` than [0], and only one can hold");
    let why = [
        says("blockIO.weightDevice[1]:", "8:0"),
        says("blockIO.throttleReadBpsDevice[2]:", "8:0"),
        says("hugepageLimits[1]:", "2MB"),
        says("network.priorities[1]:", "lo"),
    ];
    assert_eq!(table(&v1(), twice, true), no(&why.each_ref().map(String::as_str)));
    let same =
        json!({"blockIO": {"throttleReadBpsDevice": [device(0, 1), device(0, 1)]}, "hugepageLimits": [pages(2), pages(2)]});
    assert!(table(&v1(), same, false).is_ok());
}

#[test]
fn memory_that_cannot_be_is_refused() {
    let all = json!({"memory": {"swappiness": 1, "disableOOMKiller": true, "useHierarchy": false, "swap": 5}});
    let why = [
        "memory.swap: is the sum of memory and swap: it needs `memory.limit`",
        "memory.swappiness: cgroup version 2 has no swappiness",
        "memory.disableOOMKiller: cgroup version 2 cannot disable the OOM killer",
        "memory.useHierarchy: cgroup version 2 is always hierarchical",
    ];
    assert_eq!(table(&Cgroups::recorded(), all, false), no(&why));
    let below = json!({"memory": {"limit": 9, "swap": 5}});
    let why = ["memory.swap: is the sum of memory and swap, and below `memory.limit`"];
    assert_eq!(table(&Cgroups::recorded(), below, false), no(&why));
    assert_eq!(table(&v1(), json!({"memory": {"swappiness": 101}}), false), no(&["memory.swappiness: 101 is not from 0 to 100"]));
}

#[test]
fn kernel_memory_is_limited_where_it_can_be_and_refused_elsewhere() {
    let (tcp, none) = (json!({"memory": {"kernelTCP": 5}}), json!({"memory": {"kernel": -1, "kernelTCP": -1}}));
    assert_eq!(table(&v1(), tcp.clone(), false), ok(&["memory.kmem.tcp.limit_in_bytes 5"]));
    assert_eq!(table(&v1(), none.clone(), false), ok(&["memory.kmem.tcp.limit_in_bytes -1"]));
    assert_eq!(table(&Cgroups::recorded(), none, false), ok(&[]));
    let why = ["memory.kernelTCP: cgroup version 2 has no limit of TCP's memory"];
    assert_eq!(table(&Cgroups::recorded(), tcp, false), no(&why));
    let why = ["memory.kernel: Linux limits no kernel memory to 5 by itself: `memory.limit` includes it"];
    for cgroups in [v1(), Cgroups::recorded()] {
        assert_eq!(table(&cgroups, json!({"memory": {"kernel": 5}}), true), no(&why));
    }
}

#[test]
fn values_that_bound_each_other_may_come_in_either_order() {
    let again = |resources: Value| {
        let resources = serde_json::from_value(resources).unwrap();
        let (change, _) = limits(Some(&resources), &groups(&v1()), false);
        change.writes.into_iter().filter(|w| w.again).map(|w| w.choices[0].0.clone()).collect::<Vec<_>>()
    };
    assert_eq!(again(json!({"memory": {"limit": 1, "swap": 2}})), ["memory.limit_in_bytes"]);
    let cpu = json!({"cpu": {"shares": 2, "quota": 1000, "period": 1000, "burst": 1, "realtimePeriod": 1, "realtimeRuntime": 1}});
    assert_eq!(again(cpu), ["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_burst_us", "cpu.rt_period_us"]);
}

#[test]
fn a_check_before_an_update_compares_with_what_is_in_use() {
    let above = |limit: i64| {
        let resources = serde_json::from_value(json!({"memory": {"limit": limit, "checkBeforeUpdate": true}})).unwrap();
        limits(Some(&resources), &groups(&Cgroups::recorded()), true).0.writes.last().unwrap().above.clone()
    };
    assert_eq!((above(5).as_deref(), above(-1)), (Some("memory.current"), None));
}

#[test]
fn cpu_in_both_versions() {
    let both = |resources: Value, one: &[&str], two: &[&str]| {
        let resources = json!({"cpu": resources});
        assert_eq!(table(&v1(), resources.clone(), false), ok(one), "{resources}");
        assert_eq!(table(&Cgroups::recorded(), resources.clone(), false), ok(two), "{resources}");
    };
    both(json!({"shares": 1024}), &["cpu.shares 1024"], &["cpu.weight 100"]);
    both(json!({"quota": 5000}), &["cpu.cfs_quota_us 5000"], &["cpu.max 5000"]);
    both(json!({"quota": -1}), &["cpu.cfs_quota_us -1"], &["cpu.max max"]);
    both(json!({"period": 9000}), &["cpu.cfs_period_us 9000"], &["cpu.max max 9000"]);
    let one = ["cpu.cfs_period_us 9000", "cpu.cfs_burst_us 10", "cpu.cfs_quota_us 5000"];
    both(json!({"quota": 5000, "period": 9000, "burst": 10}), &one, &["cpu.max.burst 10", "cpu.max 5000 9000"]);
    both(json!({"idle": 0, "shares": 2}), &["cpu.shares 2", "cpu.idle 0"], &["cpu.weight 1", "cpu.idle 0"]);
    both(json!({"cpus": "0-1", "mems": "0"}), &["cpuset.cpus 0-1", "cpuset.mems 0"], &["cpuset.cpus 0-1", "cpuset.mems 0"]);
    both(
        json!({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""}),
        &[],
        &[],
    );
    let realtime = json!({"cpu": {"realtimeRuntime": 5, "realtimePeriod": 9}});
    assert_eq!(table(&v1(), realtime.clone(), false), ok(&["cpu.rt_period_us 9", "cpu.rt_runtime_us 5"]));
    let why = "cgroup version 2 has no limit for realtime processes";
    let why = [format!("cpu.realtimeRuntime: {why}"), format!("cpu.realtimePeriod: {why}")];
    assert_eq!(table(&Cgroups::recorded(), realtime, false), no(&[&why[0], &why[1]]));
    let burst = json!({"cpu": {"burst": 6000, "quota": 5000}});
    assert_eq!(table(&v1(), burst, false), no(&["cpu.burst: 6000 is above `cpu.quota`, 5000"]));
}

#[test]
fn block_io_in_both_versions() {
    let io = json!({"blockIO": {
        "weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}], "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}], "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
    }});
    let one = [
        "blkio.weight 500 or blkio.bfq.weight 500",
        "blkio.weight_device 8:0 10 or blkio.bfq.weight_device 8:0 10",
        "blkio.throttle.read_bps_device 8:0 1",
        "blkio.throttle.write_bps_device 8:0 2",
        "blkio.throttle.read_iops_device 8:0 3",
        "blkio.throttle.write_iops_device 8:0 0",
    ];
    assert_eq!(table(&v1(), io.clone(), false), ok(&one));
    let two = [
        "io.bfq.weight 500 or io.weight default 4950",
        "io.bfq.weight 8:0 10 or io.weight 8:0 1",
        "io.max 8:0 rbps=1",
        "io.max 8:0 wbps=2",
        "io.max 8:0 riops=3",
        "io.max 8:0 wiops=max",
    ];
    assert_eq!(table(&Cgroups::recorded(), io, false), ok(&two));
    let leaf = json!({"blockIO": {"leafWeight": 50, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 60}, {"major": 8, "minor": 1}]}});
    let why = [
        "blockIO.leafWeight: cgroup version 2 has no leaf weight",
        "blockIO.weightDevice[0].leafWeight: cgroup version 2 has no leaf weight",
        "blockIO.weightDevice[1]: has neither `weight` nor `leafWeight`",
    ];
    assert_eq!(table(&Cgroups::recorded(), leaf, false), no(&why));
    let leaf = json!({"blockIO": {"leafWeight": 50, "weightDevice": [{"major": 8, "minor": 0, "leafWeight": 60}]}});
    assert_eq!(table(&v1(), leaf, false), ok(&["blkio.leaf_weight 50", "blkio.leaf_weight_device 8:0 60"]));
    assert_eq!(table(&v1(), json!({"blockIO": {"weight": 0}}), true), ok(&[]));
}

#[test]
fn the_other_controllers_in_both_versions() {
    let all = json!({
        "pids": {"limit": 7}, "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
        "rdma": {"b": {"hcaObjects": 2}, "a": {"hcaHandles": 1, "hcaObjects": 3}},
    });
    let one = [
        "pids.max 7",
        "hugetlb.2MB.rsvd.limit_in_bytes 9",
        "hugetlb.2MB.limit_in_bytes 9",
        "rdma.max a hca_handle=1 hca_object=3",
        "rdma.max b hca_object=2",
    ];
    assert_eq!(table(&v1(), all.clone(), false), ok(&one));
    let two = one.map(|line| line.replace("limit_in_bytes", "max"));
    assert_eq!(table(&Cgroups::recorded(), all, false), Ok(two.to_vec()));
    assert_eq!(table(&v1(), json!({"pids": {"limit": -1}}), false), ok(&["pids.max max"]));
    assert_eq!(table(&v1(), json!({"pids": {"limit": 0}}), true), ok(&[]));
    let network = json!({"network": {"classID": 5, "priorities": [{"name": "eth0", "priority": 3}]}});
    assert_eq!(table(&v1(), network.clone(), false), ok(&["net_cls.classid 5", "net_prio.ifpriomap eth0 3"]));
    let why = [
        "network.classID: this host has no cgroup controller `net_cls`",
        "network.priorities[0]: this host has no cgroup controller `net_prio`",
    ];
    assert_eq!(table(&Cgroups::recorded(), network, false), no(&why));
    let bad = json!({"hugepageLimits": [{"pageSize": "../x", "limit": 1}], "rdma": {"a": {}}});
    let why =
        ["hugepageLimits[0].pageSize: `../x` is no page size such as 2MB", "rdma[a]: has neither `hcaHandles` nor `hcaObjects`"];
    assert_eq!(table(&v1(), bad, false), no(&why));
}

#[test]
fn below_zero_only_minus_one_is_a_limit() {
    let all = json!({"memory": {"limit": -5, "swap": -2, "reservation": -3}, "pids": {"limit": -7},
        "hugepageLimits": [{"pageSize": "2MB", "limit": -9}]});
    let why =
        [("memory.limit", -5), ("memory.swap", -2), ("memory.reservation", -3), ("pids.limit", -7), ("hugepageLimits[0]", -9)];
    let why = why.map(|(field, value)| format!("{field}: {value} is no limit: -1 takes it away"));
    let why: Vec<&str> = why.iter().map(String::as_str).collect();
    for cgroups in [v1(), Cgroups::recorded()] {
        assert_eq!(table(&cgroups, all.clone(), true), no(&why));
    }
}

#[test]
fn a_controller_is_looked_for_in_both_halves_of_a_hybrid_host() {
    let all =
        json!({"pids": {"limit": 7}, "hugepageLimits": [{"pageSize": "2MB", "limit": 9}], "unified": {"hugetlb.1GB.max": "3"}});
    let want = ["pids.max 7", "hugetlb.2MB.rsvd.max 9", "hugetlb.2MB.max 9", "hugetlb.1GB.max 3"];
    assert_eq!(table(&hybrid(), all, false), ok(&want));
    let why = ["unified[memory.max]: invalid configuration: the version 2 hierarchy of this host has no controller `memory`"];
    assert_eq!(table(&hybrid(), json!({"unified": {"memory.max": "1"}}), false), no(&why));
}

#[test]
fn unified_is_written_as_it_stands_last_and_line_by_line() {
    let all = json!({"unified": {"memory.high": "5", "io.max": "8:0 rbps=1\n8:16 rbps=2", "cgroup.max.depth": "1"}, "pids": {"limit": 1}});
    let want = ["pids.max 1", "cgroup.max.depth 1", "io.max 8:0 rbps=1", "io.max 8:16 rbps=2", "memory.high 5"];
    assert_eq!(table(&Cgroups::recorded(), all, false), ok(&want));
    let bad = json!({"unified": {"../memory.max": "1", "x": "1", "misc2.max": "1"}});
    let why = [
        "unified[../memory.max]: is not a file name, CONTROLLER.VALUE",
        "unified[misc2.max]: invalid configuration: the version 2 hierarchy of this host has no controller `misc2`",
        "unified[x]: is not a file name, CONTROLLER.VALUE",
    ];
    assert_eq!(table(&Cgroups::recorded(), bad, false), no(&why));
    let why = ["unified[memory.max]: invalid configuration: it needs cgroup version 2, which this host has not mounted"];
    assert_eq!(table(&v1(), json!({"unified": {"memory.max": "1"}}), false), no(&why));
}

fn launch(cgroups: Cgroups, uid: u32, linux: Value) -> Result<Plan, Vec<String>> {
    let mut host = crate::host::Host::recorded(uid, uid);
    (host.cgroups, host.privileged) = (Some(cgroups), true);
    let mut spec = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    });
    spec["mounts"] = linux.get("mounts").cloned().unwrap_or(json!([]));
    for (key, value) in linux.as_object().unwrap().iter().filter(|(key, _)| *key != "mounts") {
        spec["linux"][key] = value.clone();
    }
    plan_on(&host, spec, &Options { id: Some("box".into()), record: true, ..Options::default() })
}

fn cgroup(plan: &Plan) -> Option<&super::Plan> {
    plan.parent.iter().find_map(|step| if let ParentOp::Cgroup(plan) = &step.op { Some(plan) } else { None })
}

fn paths(cgroups: Cgroups, linux: Value) -> Vec<String> {
    let plan = launch(cgroups, 0, linux).unwrap();
    cgroup(&plan).map(|c| c.paths().iter().map(|p| p.display().to_string()).collect()).unwrap_or_default()
}

/// The first would have a process of the host's moved in, and killed with the container; the last would keep it from ever starting.
#[test]
fn what_moves_kills_or_freezes_processes_is_no_limit() {
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.subtree_control", "cgroup.type", "cgroup.freeze"] {
        let why = format!(
            "unified[{file}]: is no limit; of the files `cgroup.*` there are cgroup.max.depth, cgroup.max.descendants, cgroup.pressure"
        );
        assert_eq!(table(&hybrid(), json!({"unified": {file: "1"}}), false), no(&[&why]));
    }
}

#[test]
fn an_absolute_path_lies_below_the_mount_and_a_relative_one_by_the_caller() {
    assert_eq!(paths(hybrid(), json!({"cgroupsPath": "/a/./b"}))[1], "/c/memory/a/b");
    assert_eq!(paths(hybrid(), json!({"cgroupsPath": "a/b"}))[1], "/c/memory/me/a/b");
    assert_eq!(paths(hybrid(), json!({"cgroupsPath": "a"})).last().unwrap(), "/c/unified/a");
    assert_eq!(paths(Cgroups::recorded(), json!({"cgroupsPath": "a"})), ["/sys/fs/cgroup/user.slice/a"]);
    assert_eq!(paths(v1(), json!({"resources": {"pids": {"limit": 1}}}))[1], "/c/memory/me/box");
    for (path, why) in [("/a/../../b", "`/a/../../b` contains `..`"), ("/", "`/` is not the path of a cgroup below the root")] {
        let said = launch(v1(), 0, json!({"cgroupsPath": path})).unwrap_err();
        assert_eq!(said, [format!("config.json: linux.cgroupsPath: {why}")]);
        let device = json!({"allow": true, "access": "x"});
        let resources = json!({"pids": {"limit": -9}, "unified": {"pids.max": "1"}, "devices": [device]});
        let said = launch(v1(), 0, json!({"cgroupsPath": path, "resources": resources})).unwrap_err();
        assert!(said.len() == 4 && said[0].ends_with(why), "a path that cannot be hides no other reason: {said:?}");
    }
}

#[test]
fn a_cgroup_is_made_only_when_it_is_asked_for_or_needed_to_find_all_processes() {
    assert_eq!(paths(v1(), json!({})), Vec::<String>::new());
    assert_eq!(paths(v1(), json!({"resources": {}})), Vec::<String>::new());
    assert_eq!(paths(v1(), json!({"namespaces": [{"type": "mount"}]})).len(), 11);
    assert_eq!(paths(v1(), json!({"namespaces": [{"type": "mount"}, {"type": "pid", "path": ""}]})), Vec::<String>::new());
    assert_eq!(paths(v1(), json!({"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup"}]})).len(), 11);
    assert_eq!(paths(Cgroups::default(), json!({"namespaces": [{"type": "mount"}]})), Vec::<String>::new());
    let bare = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}]},
    });
    let nameless = plan_on(&crate::host::Host::recorded(0, 0), bare, &Options::default()).unwrap();
    assert!(cgroup(&nameless).is_none());
    let said = launch(Cgroups::default(), 0, json!({"cgroupsPath": "/a", "resources": {"pids": {"limit": 1}}})).unwrap_err();
    let want = [
        "linux.resources.pids.limit: this host has no cgroup controller `pids`",
        "linux.cgroupsPath: no cgroup hierarchy is mounted on this host",
    ];
    assert_eq!(said, want.map(|reason| format!("config.json: {reason}")));
}

#[test]
fn the_child_enters_before_it_makes_a_cgroup_namespace() {
    let linux = json!({"cgroupsPath": "/a", "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}]});
    let text = launch(v1(), 0, linux).unwrap().to_string();
    let order = ["make the cgroup", "make /c/memory/a", "  clone mount pid", "enter the cgroup", "unshare cgroup"];
    let at: Vec<usize> = order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
    assert!(at.is_sorted(), "{text}");
}

#[test]
fn a_unit_is_asked_for_with_the_process_before_that_becomes_anybody_else() {
    let mut host = crate::host::Host::recorded(1000, 1000);
    host.cgroups.as_mut().unwrap().systemd = Some(Ok("/user.slice/user@1000.service".into()));
    let spec = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "annotations": {"org.systemd.property.TasksMax": "uint64 9"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "cgroup"}], "cgroupsPath": ":p:n",
            "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 10}],
            "resources": {"memory": {"limit": 4096}, "pids": {"limit": 7}}},
    });
    let options = Options { id: Some("box".into()), systemd: true, ..Options::default() };
    let text = plan_on(&host, spec.clone(), &options).unwrap().to_string();
    let dir = "/sys/fs/cgroup/user.slice/user@1000.service/user.slice/p-n.scope";
    let make = format!("make {dir}");
    let order = [
        "clone",
        "ask the user's systemd for p-n.scope with the process in it",
        "Slice user.slice",
        "MemoryMax 4096",
        "TasksMax 9",
        &make,
        "write pids.max 7",
        "tell cgroup",
        "map uid",
        "wait for cgroup",
        "wait for maps",
        "unshare cgroup",
    ];
    let at: Vec<usize> = order.iter().map(|line| text.find(line).unwrap_or_else(|| panic!("{line}: {text}"))).collect();
    assert!(at.is_sorted() && !text.contains("TasksMax 7") && !text.contains("enter the cgroup"), "{text}");
    // What cannot be is one list, with systemd or without.
    let mut wrong = spec;
    (wrong["linux"]["cgroupsPath"], wrong["annotations"]) = (json!("/a"), json!({}));
    let said = plan_on(&host, wrong.clone(), &options).unwrap_err();
    assert!(said[0].starts_with("config.json: linux.cgroupsPath: `/a` is not SLICE:PREFIX:NAME"), "{said:?}");
    wrong["linux"]["resources"]["unified"] = json!({"memory.max": "4M4", "memory.oom.group": "1"});
    wrong["annotations"] = json!({"org.systemd.property.Slice": "'a.slice'"});
    let said = plan_on(&host, wrong.clone(), &options).unwrap_err().join("\n");
    for why in
        ["`/a` is not", "unified[memory.max]: `4M4` is nothing that systemd has a word for as `MemoryMax=`", "cannot be changed"]
    {
        assert!(said.contains(why), "{why}: {said}");
    }
    (wrong["linux"]["resources"]["unified"], wrong["annotations"]) = (json!({"memory.oom.group": "1"}), json!({}));
    wrong["linux"]["cgroupsPath"] = json!(":p:n");
    let told = plan_on(&host, wrong.clone(), &options).unwrap().warnings.join("\n");
    assert!(
        told.contains("unified[memory.oom.group]: systemd has no property for `memory.oom.group`, and writes 0 again"),
        "{told}"
    );
    host.cgroups.as_mut().unwrap().systemd = Some(Err(Error::new("cannot reach the user's systemd over D-Bus")));
    let said = plan_on(&host, wrong, &options).unwrap_err();
    assert_eq!(said, ["config.json: linux.cgroupsPath: cannot reach the user's systemd over D-Bus"]);
}

#[test]
fn who_names_a_cgroup_has_it_unless_rootless_says_otherwise() {
    let asked = json!({"cgroupsPath": "/a"});
    let tolerant = |uid, linux: &Value| cgroup(&launch(v1(), uid, linux.clone()).unwrap()).unwrap().tolerant;
    assert!(!tolerant(0, &asked) && !tolerant(1000, &asked));
    assert!(tolerant(0, &json!({"namespaces": [{"type": "mount"}]})) && tolerant(1000, &json!({"resources": {"devices": []}})));
    let inside = Cgroups { user_namespace: true, ..v1() };
    assert!(!cgroup(&launch(inside.clone(), 0, asked.clone()).unwrap()).unwrap().tolerant);
    let spec = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}], "cgroupsPath": "/a"},
    });
    let options = Options { may_lack_cgroup: true, ..Options::default() };
    let host = crate::host::Host { cgroups: Some(inside), ..crate::host::Host::recorded(0, 0) };
    assert!(cgroup(&plan_on(&host, spec, &options).unwrap()).unwrap().tolerant);
}

fn device_lines(devices: Value) -> Vec<String> {
    let plan = launch(v1(), 0, json!({"resources": {"devices": devices}})).unwrap();
    cgroup(&plan).unwrap().writes.iter().map(|w| format!("{} {}", w.choices[0].0, w.choices[0].1)).collect()
}

#[test]
fn devices_are_denied_first_and_the_default_ones_allowed_last() {
    let lines = device_lines(
        json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]),
    );
    assert_eq!(lines[..4], ["devices.deny a", "devices.allow c 10:229 rw", "devices.allow c *:* m", "devices.allow b *:* m"]);
    assert_eq!(lines[4], "devices.allow c 1:3 rwm");
    assert_eq!(lines.last().unwrap(), "devices.allow c 136:* rwm");
    let lines =
        device_lines(json!([{"allow": true, "type": "a", "access": "r"}, {"allow": true, "type": "b", "major": 8, "minor": -1}]));
    assert_eq!(lines[..4], ["devices.deny a", "devices.allow b *:* rm", "devices.allow c *:* rm", "devices.allow b 8:* rwm"]);
    let all = json!({"allow": true, "access": "rwm"});
    assert_eq!(device_lines(json!([all])), ["devices.allow a"]);
    let but_one = json!([all, {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]);
    assert_eq!(device_lines(but_one), ["devices.allow a", "devices.deny c 10:229 rwm"]);
    // What is denied in particular is denied of the default devices too; that their nodes are made is not to say that they are used.
    let but_zero = json!([all, {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"}]);
    assert_eq!(device_lines(but_zero), ["devices.allow a", "devices.deny c 1:5 rw"]);
    let lines = device_lines(json!([{"allow": true, "access": "rw"}, {"allow": false, "access": "m"}]));
    for line in ["devices.deny a", "devices.allow b *:* rw", "devices.allow c *:* rw", "devices.allow c 1:5 rwm"] {
        assert!(lines.contains(&line.to_owned()), "{line}: {lines:?}");
    }
    assert!(!lines.iter().any(|line| line.contains("*:*") && line.contains('m')), "{lines:?}");
    let lines = device_lines(json!([all, {"allow": false, "type": "c", "access": "rw"}]));
    assert_eq!(lines, ["devices.allow a", "devices.deny c *:* rw"]);
    let last_word = json!([{"allow": false, "type": "c", "access": "rw"}, {"allow": false, "access": "rwm"}]);
    assert_eq!(device_lines(last_word), device_lines(json!([])));
    assert_eq!(device_lines(json!([]))[..2], ["devices.deny a", "devices.allow c *:* m"]);
    let said = launch(
        v1(),
        0,
        json!({"resources": {"devices": [
            {"allow": true, "type": "p", "access": "r"}, {"allow": true, "type": "c", "access": "x"}, {"allow": true, "access": ""},
        ]}}),
    );
    let want = [
        "[0]: `p` is a pipe, which is no device",
        "[1]: access `x` is none of r, w, m",
        "[2]: access is empty, and so a rule about nothing (hint: leave it out for `rwm`)",
    ];
    assert_eq!(said.unwrap_err(), want.map(|reason| format!("config.json: linux.resources.devices{reason}")));
    for number in [i64::from(u32::MAX), 1 << 32, -2] {
        let said =
            launch(v1(), 0, json!({"resources": {"devices": [{"allow": true, "type": "c", "major": number, "minor": 3}]}}));
        assert_eq!(said.unwrap_err(), [format!("config.json: linux.resources.devices[0]: {number} is no device number")]);
    }
}

#[test]
fn that_mknod_stays_permitted_is_told_where_version_1_cannot_say_otherwise() {
    let one = json!({"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
    let resources = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}, one]}});
    let told =
        |plan: &Plan| plan.warnings.iter().any(|what| what.contains("devices: mknod(2) of what is denied stays permitted"));
    let plan = launch(v1(), 0, resources.clone()).unwrap();
    assert!(told(&plan), "{:?}", plan.warnings);
    assert_eq!(cgroup(&plan).unwrap().writes[1].choices[0].1, "c *:* m");
    assert!(!told(&launch(Cgroups::recorded(), 0, resources).unwrap()));
}

#[test]
fn what_version_1_cannot_say_of_devices_is_refused() {
    let rule = |allow: bool, minor: i64| json!({"allow": allow, "type": "c", "major": 10, "minor": minor, "access": "rwm"});
    let hole = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}, rule(true, -1), rule(false, 229)]}});
    let said = launch(v1(), 0, hole.clone()).unwrap_err();
    let what =
        "`c 10:229 rwm` is an exception from `c 10:* rwm` (linux.resources.devices[1]), which cgroup version 1 does not have";
    assert!(said.len() == 1 && said[0].starts_with(&format!("config.json: linux.resources.devices[2]: {what}")), "{said:?}");
    assert!(launch(Cgroups::recorded(), 0, hole).is_ok());
}

const UNENFORCED: &str = "config.json: linux.resources.devices: has no effect: ";

#[test]
fn update_judges_rules_about_devices_and_says_that_they_stay() {
    let left = |devices: Value| {
        let (errors, told) = left_alone(&serde_json::from_value(json!({"devices": devices})).unwrap());
        (errors.iter().map(ToString::to_string).collect::<Vec<_>>(), told)
    };
    assert_eq!(left(json!([])), (vec![], None));
    let denied = json!({"allow": false, "access": "rwm"});
    assert_eq!(left(json!([denied])), (vec![], None), "docker sends it with every change");
    let (errors, told) = left(json!([denied, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]));
    assert!(errors.is_empty() && told.is_some_and(|told| told.contains("`update` leaves the rules")));
    let (errors, _) = left(json!([{"allow": false, "type": "p"}, {"allow": false, "access": "zzz"}]));
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn devices_are_a_program_on_version_2_and_left_alone_in_a_user_namespace() {
    let linux = json!({"resources": {"devices": [{"allow": false, "access": "rwm"}]}});
    let plan = launch(Cgroups::recorded(), 0, linux.clone()).unwrap();
    let devices = cgroup(&plan).unwrap().devices.clone().unwrap();
    assert_eq!(devices.group, 0);
    assert!(plan.to_string().contains(&format!("attach a device program of {} instructions", devices.program.len())));
    for rootless in [Cgroups { user_namespace: true, ..v1() }, Cgroups { user_namespace: true, ..Cgroups::recorded() }] {
        let plan = launch(rootless.clone(), 0, linux.clone()).unwrap();
        let cgroup = cgroup(&plan).unwrap();
        assert!(cgroup.devices.is_none() && cgroup.writes.is_empty());
        let unenforced = |plan: &Plan| plan.warnings.iter().any(|what| what.starts_with(UNENFORCED));
        assert!(!unenforced(&plan), "{:?}", plan.warnings);
        let more = json!({"resources": {"devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}});
        assert!(unenforced(&launch(rootless.clone(), 0, more).unwrap()));
        let wrong = json!({"resources": {"devices": [{"allow": true, "type": "p"}, {"allow": true, "major": -7}]}});
        let said = launch(rootless, 0, wrong).unwrap_err();
        let want = ["[0]: `p` is a pipe, which is no device", "[1]: -7 is no device number"];
        assert_eq!(said, want.map(|reason| format!("config.json: linux.resources.devices{reason}")));
    }
}

fn mounts(cgroups: Cgroups, namespace: bool, options: &[&str]) -> Vec<String> {
    let mut linux = json!({"cgroupsPath": "/a", "namespaces": [{"type": "mount"}, {"type": "pid"}]});
    if namespace {
        linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    }
    linux["mounts"] = json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}]);
    let plan = launch(cgroups, 0, linux).unwrap();
    plan.child.iter().filter(|s| s.stage == Stage::Mounts).map(|s| s.op.to_string()).collect()
}

#[test]
fn a_cgroup_mount_is_the_containers_own_cgroup() {
    let mut few = hybrid();
    few.hierarchies.retain(|h| ["name=systemd", "cpu", "hugetlb"].contains(&h.controllers[0].as_str()));
    let want = [
        "mount tmpfs → /sys/fs/cgroup nosuid source=cgroup mode=0755",
        "mount cgroup → /sys/fs/cgroup/systemd ro nosuid none name=systemd",
        "mount cgroup → /sys/fs/cgroup/cpu,cpuacct ro nosuid cpu cpuacct",
        "symlink /sys/fs/cgroup/cpu → cpu,cpuacct",
        "symlink /sys/fs/cgroup/cpuacct → cpu,cpuacct",
        "mount cgroup2 → /sys/fs/cgroup/unified ro nosuid source=cgroup",
        "remount /sys/fs/cgroup ro",
    ];
    assert_eq!(mounts(few.clone(), true, &["ro", "nosuid"]), want);
    assert_eq!(mounts(few.clone(), true, &["rro", "rnosuid", "async"]), want);
    let want = [
        "mount tmpfs → /sys/fs/cgroup source=cgroup mode=0755",
        "bind /c/systemd/a → /sys/fs/cgroup/systemd",
        "bind /c/cpu,cpuacct/a → /sys/fs/cgroup/cpu,cpuacct",
        "symlink /sys/fs/cgroup/cpu → cpu,cpuacct",
        "symlink /sys/fs/cgroup/cpuacct → cpu,cpuacct",
        "bind /c/unified/a → /sys/fs/cgroup/unified",
    ];
    assert_eq!(mounts(few, false, &[]), want);
    assert_eq!(mounts(Cgroups::recorded(), true, &["ro"]), ["mount cgroup2 → /sys/fs/cgroup ro source=cgroup"]);
    assert_eq!(mounts(Cgroups::recorded(), false, &["rro"]), ["bind /sys/fs/cgroup/a → /sys/fs/cgroup ro"]);
}

#[test]
fn a_cgroup_mount_has_no_options_of_a_file_system() {
    for (word, key) in [("size=1m", "size"), ("nsdelegate", "nsdelegate"), ("sync", "sync")] {
        for cgroups in [v1(), Cgroups::recorded()] {
            let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [word]});
            let said = launch(cgroups, 0, json!({"mounts": [mount], "namespaces": [{"type": "mount"}]})).unwrap_err();
            let why = format!("config.json: mounts[0].options: `{key}` is decided by the host's own mount of the hierarchy");
            assert_eq!(said, [why]);
        }
    }
}

#[test]
fn a_writable_version_2_mount_gives_the_directory_to_the_containers_user() {
    let linux = |source: &str, options: Value| {
        json!({
            "cgroupsPath": "/a", "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "cgroup"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 7000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 7000, "size": 10}],
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": source, "options": options}],
        })
    };
    let owner = |linux| cgroup(&launch(Cgroups::recorded(), 0, linux).unwrap()).unwrap().owner;
    assert_eq!(owner(linux("cgroup", json!([]))), Some(7000));
    assert_eq!((owner(linux("cgroup", json!(["ro"]))), owner(linux("cgroup", json!(["rro"])))), (None, None));
    assert_eq!(owner(linux("x", json!([]))), None);
}

#[test]
fn without_cgroups_a_limit_is_refused_and_rules_about_devices_are_told_of() {
    let spec = |resources: Value| {
        json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}], "cgroupsPath": "/a", "resources": resources},
        })
    };
    let options = Options { no_cgroup: true, record: true, ..Options::default() };
    let host = crate::host::Host::recorded(0, 0);
    let plan =
        plan_on(&host, spec(json!({"devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": 0}})), &options).unwrap();
    assert!(cgroup(&plan).is_none() && !plan.to_string().contains("cgroup"), "{plan}");
    assert!(plan.warnings.iter().any(|what| what.starts_with(UNENFORCED)), "{:?}", plan.warnings);
    let said = plan_on(&host, spec(json!({"devices": [{"allow": true, "access": "q"}]})), &options).unwrap_err();
    assert_eq!(said, ["config.json: linux.resources.devices[0]: access `q` is none of r, w, m"]);
    let said = plan_on(&host, spec(json!({"pids": {"limit": 3}})), &options).unwrap_err();
    assert_eq!(said, ["config.json: linux.resources.pids.limit: needs a cgroup, and `--cgroup-manager disabled` forbids one"]);
}
