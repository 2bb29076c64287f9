//! cgroupsPath, and resources where the host's controllers are those of version 1. Version 2 is asked for in the machine of `--vm`.

use crate::mounted::Mounted;
use crate::oci::Who::Root;
use crate::oci::bundle::push;
use crate::oci::container::{Container, until};
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail, skip};
use crate::runtime::Kind;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub const CASES: &[Must] = &[
    must("linux.cgroups-path.absolute", "an absolute path is taken from the mount point of the hierarchy", Root, absolute),
    must("linux.cgroups-path.relative", "a relative one is a place of the runtime's choice, always the same", Root, relative),
    must("linux.cgroups-path.made", "what is missing on the way is made, and gone after delete", Root, made),
    must("linux.cgroups-path.invalid", "one that climbs is an error, or stays below the mount point", Root, climbing),
    must("linux.cgroups-path.in-use", "a cgroup with processes of others in it: an error, or they are left alone", Root, in_use),
    must("linux.resources.memory.limit", "limit, and -1 for none", Root, |t| {
        sets(t, json!({"memory": {"limit": 67_108_864}}), &[("memory", "memory.limit_in_bytes", "67108864")])?;
        sets(t, json!({"memory": {"limit": -1}}), &[("memory", "memory.limit_in_bytes", "9223372036854771712")])
    }),
    must("linux.resources.memory.reservation", "reservation is the soft limit", Root, |t| {
        sets(t, json!({"memory": {"reservation": 33_554_432}}), &[("memory", "memory.soft_limit_in_bytes", "33554432")])
    }),
    must("linux.resources.memory.swap", "swap is the limit of both", Root, |t| {
        let both = json!({"memory": {"limit": 67_108_864, "swap": 134_217_728}});
        sets(t, both, &[("memory", "memory.memsw.limit_in_bytes", "134217728"), ("memory", "memory.limit_in_bytes", "67108864")])
    }),
    must("linux.resources.memory.swappiness", "swappiness", Root, |t| {
        sets(t, json!({"memory": {"swappiness": 20}}), &[("memory", "memory.swappiness", "20")])
    }),
    must("linux.resources.memory.oom-killer", "disableOOMKiller", Root, |t| {
        let off = json!({"memory": {"limit": 67_108_864, "disableOOMKiller": true}});
        sets(t, off, &[("memory", "memory.oom_control", "oom_kill_disable 1")])
    }),
    must("linux.resources.cpu.shares", "shares", Root, |t| {
        sets(t, json!({"cpu": {"shares": 512}}), &[("cpu", "cpu.shares", "512")])
    }),
    must("linux.resources.cpu.quota", "quota and period", Root, |t| {
        let both = json!({"cpu": {"quota": 40_000, "period": 80_000}});
        sets(t, both, &[("cpu", "cpu.cfs_quota_us", "40000"), ("cpu", "cpu.cfs_period_us", "80000")])
    }),
    must("linux.resources.cpu.burst", "burst", Root, |t| {
        sets(t, json!({"cpu": {"quota": 40_000, "burst": 20_000}}), &[("cpu", "cpu.cfs_burst_us", "20000")])
    }),
    must("linux.resources.cpu.idle", "idle", Root, |t| sets(t, json!({"cpu": {"idle": 1}}), &[("cpu", "cpu.idle", "1")])),
    must("linux.resources.cpu.set", "cpus and mems", Root, |t| {
        sets(t, json!({"cpu": {"cpus": "0", "mems": "0"}}), &[("cpuset", "cpuset.cpus", "0"), ("cpuset", "cpuset.mems", "0")])
    }),
    must("linux.resources.pids", "limit of tasks", Root, |t| {
        sets(t, json!({"pids": {"limit": 1234}}), &[("pids", "pids.max", "1234")])
    }),
    must("linux.resources.memory.kernel", "kernel is a limit that holds, or an error", Root, kernel_memory),
    must("linux.resources.memory.kernel-tcp", "kernelTCP", Root, |t| {
        sets(t, json!({"memory": {"kernelTCP": 8_388_608}}), &[("memory", "memory.kmem.tcp.limit_in_bytes", "8388608")])
    }),
    must("linux.resources.cpu.burst.above-quota", "a burst above the quota is an error", Root, |t| {
        present("cpu")?;
        refused(t, json!({"cpu": {"quota": 40_000, "burst": 50_000}}))
    }),
    must(
        "linux.resources.cpu.realtime",
        "realtimePeriod and realtimeRuntime, or an error where the kernel has none",
        Root,
        |t| {
            let both = json!({"cpu": {"realtimePeriod": 900_000, "realtimeRuntime": 0}});
            sets_or_refused(t, both, "cpu", &[("cpu.rt_period_us", "900000")])
        },
    ),
    must("linux.resources.block-io.throttle", "the four rates of a device", Root, throttle),
    must("linux.resources.block-io.weight", "weight, or an error where the kernel has none", Root, |t| {
        sets_or_refused(t, json!({"blockIO": {"weight": 200}}), "blkio", &[("blkio.bfq.weight", "200"), ("blkio.weight", "200")])
    }),
    must(
        "linux.resources.block-io.weight-device",
        "weightDevice, or an error where the disk is not scheduled by weight",
        Root,
        |t| {
            let (major, minor) = disk()?;
            let device = json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 200}]}});
            let line = format!("{major}:{minor} 200");
            sets_or_refused(t, device, "blkio", &[("blkio.bfq.weight_device", &line), ("blkio.weight_device", &line)])
        },
    ),
    must(
        "linux.resources.block-io.weight-device.neither",
        "an entry with neither weight nor leafWeight is an error",
        Root,
        |t| {
            let (major, minor) = disk()?;
            refused(t, json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor}]}}))
        },
    ),
    must("linux.resources.block-io.leaf-weight", "leafWeight, or an error where the kernel has none", Root, |t| {
        sets_or_refused(t, json!({"blockIO": {"leafWeight": 200}}), "blkio", &[("blkio.leaf_weight", "200")])
    }),
    must("linux.resources.hugepage-limits", "the limit of a page size, and of its reservations", Root, |t| {
        let two = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
        unified_has(t, "hugetlb", two, &[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")])
    }),
    must("linux.resources.hugepage-limits.size", "a page size that the machine does not have is an error", Root, |t| {
        refused(t, json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 4_194_304}]}))
    }),
    must("linux.resources.network.absent", "network without net_cls and net_prio is an error", Root, |t| {
        NETWORK.iter().try_for_each(|controller| absent(controller))?;
        refused(t, json!({"network": {"classID": 1_048_577}}))?;
        refused(t, json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}}))
    }),
    must("linux.resources.network.class-id", "classID is that of the cgroup", Root, |t| {
        let _hierarchies = with_hierarchies(NETWORK)?;
        sets(t, json!({"network": {"classID": 1_048_577}}), &[("net_cls", "net_cls.classid", "1048577")])
    }),
    must("linux.resources.network.priorities", "priorities, by the name of a device", Root, |t| {
        let _hierarchies = with_hierarchies(NETWORK)?;
        let priority = json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}});
        sets(t, priority, &[("net_prio", "net_prio.ifpriomap", "lo 5")])
    }),
    must("linux.resources.rdma.neither", "an entry of rdma with neither hcaHandles nor hcaObjects is an error", Root, |t| {
        refused(t, json!({"rdma": {"mlx5_1": {}}}))
    }),
    must("linux.resources.rdma.absent", "rdma without such a controller, or such a device, is an error", Root, |t| {
        refused(t, json!({"rdma": {"no-such-device": {"hcaHandles": 3}}}))
    }),
    must("linux.resources.devices.order", "rules about devices are applied in the listed order", Root, device_order),
    must("linux.resources.devices.type", "a rule without type and numbers is about all", Root, device_all),
    must(
        "linux.resources.devices.exception",
        "a device that is denied where the rest of its kind is allowed: an error, or it is denied",
        Root,
        device_exception,
    ),
    must("linux.cgroup-mount.read-only", "a mount of type cgroup with ro or rro cannot be written to", Root, cgroup_mount),
    must("linux.resources.out-of-range", "a value that the controller does not take is an error", Root, out_of_range),
    must("linux.resources.unified.written", "a key is written as it stands where version 2 has the controller", Root, |t| {
        let keys = json!({"unified": {"hugetlb.2MB.max": "4194304", "cgroup.max.depth": "3"}});
        unified_has(t, "hugetlb", keys, &[("hugetlb.2MB.max", "4194304"), ("cgroup.max.depth", "3")])
    }),
    must("linux.resources.unified.absent", "a key of a controller that is not present is an error", Root, |t| {
        refused(t, json!({"unified": {"nosuch.max": "1"}}))
    }),
];

const TOP: &str = "/sys/fs/cgroup";

/// Where a hierarchy has the configuration's cgroup.
fn of(config: &Value, controller: &str) -> PathBuf {
    let path = config["linux"]["cgroupsPath"].as_str().unwrap_or_default();
    Path::new(TOP).join(controller).join(path.trim_start_matches('/'))
}

fn present(controller: &str) -> Verdict {
    if Path::new(TOP).join(controller).join("tasks").exists() {
        return Ok(());
    }
    skip(format!("no hierarchy of version 1 has the controller {controller} here"))
}

fn with(turn: &Turn, resources: Value) -> Value {
    let mut config = turn.sleeper();
    config["linux"]["resources"] = resources;
    config
}

/// What lies at [`TOP`], and hierarchies that the machine has not mounted: for as long as a case needs them.
fn with_hierarchies(controllers: &[&str]) -> Result<Mounted, No> {
    // Beside it until it is whole: what is mounted there is bound, not moved.
    let beside = tempfile::tempdir_in("/tmp")?;
    let mounted = Mounted::tmpfs("tmpfs", beside.path(), MsFlags::empty(), None)?;
    match fill(&mounted.at, controllers) {
        Err(Errno::EBUSY | Errno::EINVAL | Errno::ENOENT) => {
            skip(format!("this kernel gives no hierarchy of version 1 for {}", controllers.join(", ")))
        }
        filled => Ok(filled.map_err(io::Error::from).and_then(|()| mounted.moved(Path::new(TOP)))?),
    }
}

fn fill(dir: &Path, controllers: &[&str]) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    let made = |name: &OsStr| {
        let at = dir.join(name);
        fs::create_dir(&at).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))).map(|()| at)
    };
    for there in fs::read_dir(TOP).into_iter().flatten().flatten() {
        mount(Some(&there.path()), &made(&there.file_name())?, NONE, MsFlags::MS_BIND, NONE)?;
    }
    for controller in controllers.iter().filter(|controller| present(controller).is_err()) {
        mount(Some("cgroup"), &made(controller.as_ref())?, Some("cgroup"), MsFlags::empty(), Some(*controller))?;
    }
    Ok(())
}

/// crun looks for both, whichever is asked for.
const NETWORK: &[&str] = &["net_cls", "net_prio"];

/// The first line of each file is this.
fn sets(turn: &Turn, resources: Value, files: &[(&str, &str, &str)]) -> Verdict {
    files.iter().try_for_each(|(controller, ..)| present(controller))?;
    let config = with(turn, resources);
    let _container = turn.created(&config)?;
    for (controller, file, expected) in files {
        let path = of(&config, controller).join(file);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return skip(format!("this kernel has no {file}")),
            text => text?,
        };
        let seen = text.lines().next().unwrap_or_default();
        if seen != *expected {
            return fail(path.display(), expected, seen);
        }
    }
    Ok(())
}

fn refused(turn: &Turn, resources: Value) -> Verdict {
    turn.refused(&with(turn, resources))
}

fn absent(controller: &str) -> Verdict {
    if present(controller).is_ok() { skip(format!("this host has the controller {controller}")) } else { Ok(()) }
}

/// One of the files says so, or `create` fails. What is taken and has no effect is neither.
fn sets_or_refused(turn: &Turn, resources: Value, controller: &str, files: &[(&str, &str)]) -> Verdict {
    present(controller)?;
    let config = with(turn, resources);
    let container = turn.create(&config)?;
    if container.made.code != 0 {
        return turn.unknown(&container.id);
    }
    let dir = of(&config, controller);
    let seen = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let holds = files.iter().any(|(file, expected)| seen(file).lines().any(|line| line == *expected));
    if holds { Ok(()) } else { fail(dir.display(), format!("one of {files:?}, or an error"), "neither") }
}

/// Since Linux 5.16 a limit is taken and forgotten.
fn kernel_memory(turn: &Turn) -> Verdict {
    let file = [("memory.kmem.limit_in_bytes", "67108864")];
    sets_or_refused(turn, json!({"memory": {"limit": 134_217_728, "kernel": 67_108_864}}), "memory", &file)
}

/// Of a hybrid host: the files of the hierarchy of version 2, which has this controller.
fn unified_has(turn: &Turn, controller: &str, resources: Value, files: &[(&str, &str)]) -> Verdict {
    if turn.column.runtime.kind == Kind::Crun {
        return skip("crun refuses a host with version 2 beside version 1, and is given one without");
    }
    let top = Path::new(TOP).join("unified");
    let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_whitespace().any(|name| name == controller) {
        return skip(format!("no hierarchy of version 2 has the controller {controller} here"));
    }
    let config = with(turn, resources);
    let _container = turn.created(&config)?;
    for (file, expected) in files {
        let path = of(&config, "unified").join(file);
        let seen = fs::read_to_string(&path)?;
        if seen.trim_end() != *expected {
            return fail(path.display(), expected, seen);
        }
    }
    Ok(())
}

/// The path of the container's process in the hierarchy of `pids`.
fn place(container: &Container) -> Result<String, No> {
    let text = container.proc("cgroup")?;
    let line = text.lines().find(|l| l.contains(":pids:"));
    Ok(line.and_then(|l| l.rsplit(':').next()).unwrap_or_default().into())
}

fn absolute(turn: &Turn) -> Verdict {
    present("pids")?;
    let config = turn.sleeper();
    let container = turn.created(&config)?;
    let procs = fs::read_to_string(of(&config, "pids").join("cgroup.procs"))?;
    let pid = container.pid()?.to_string();
    if procs.lines().any(|l| l == pid) { Ok(()) } else { fail("cgroup.procs", pid, procs) }
}

fn relative(turn: &Turn) -> Verdict {
    present("pids")?;
    let mut config = turn.sleeper();
    config["linux"]["cgroupsPath"] = json!(format!("{}-relative", turn.tag));
    let places = [0, 1].map(|_| turn.created(&config).and_then(|c| place(&c)));
    let [first, second] = places;
    let (first, second) = (first?, second?);
    if first == second && first.ends_with("-relative") { Ok(()) } else { fail("the place of one path", first, second) }
}

fn made(turn: &Turn) -> Verdict {
    present("pids")?;
    let mut config = turn.sleeper();
    config["linux"]["cgroupsPath"] = json!(format!("/{}/a/b", turn.tag));
    let dir = of(&config, "pids");
    let container = turn.created(&config)?;
    if !dir.is_dir() {
        return fail(dir.display(), "a directory", "none");
    }
    drop(container);
    let gone = until(|| !dir.exists());
    // Directories in between are the runtime's to keep: runc and crun do.
    for dir in fs::read_dir(TOP)?.flatten().map(|e| e.path().join(&turn.tag)) {
        let _ = fs::remove_dir(dir.join("a")).and_then(|()| fs::remove_dir(dir));
    }
    gone
}

fn climbing(turn: &Turn) -> Verdict {
    present("pids")?;
    let mut config = turn.sleeper();
    config["linux"]["cgroupsPath"] = json!(format!("/../../{}", turn.tag));
    let container = turn.create(&config)?;
    if container.made.code != 0 {
        return turn.unknown(&container.id);
    }
    let seen = place(&container)?;
    if seen == format!("/{}", turn.tag) { Ok(()) } else { fail("cgroup", format!("/{}", turn.tag), seen) }
}

/// Deleting one container must not end another's.
fn in_use(turn: &Turn) -> Verdict {
    present("pids")?;
    let config = turn.sleeper();
    let first = turn.started(&config)?;
    let second = turn.create(&config)?;
    let was_made = second.made.code == 0;
    drop(second);
    if !was_made || first.is("running").is_ok() {
        return first.is("running");
    }
    fail("delete of the other", "the first is running", "it is not")
}

/// A disk of this machine.
fn disk() -> Result<(u64, u64), No> {
    let disks = fs::read_dir("/sys/block")?.flatten().map(|e| e.path()).filter(|p| p.join("device").exists());
    let number = disks.into_iter().find_map(|p| {
        let text = fs::read_to_string(p.join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    number.map_or_else(|| skip("no disk in /sys/block"), Ok)
}

fn throttle(turn: &Turn) -> Verdict {
    let (major, minor) = disk()?;
    let rate = |n: u64| json!([{"major": major, "minor": minor, "rate": n}]);
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteBpsDevice": rate(2_097_152),
        "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400),
    }});
    let line = |n: u64| format!("{major}:{minor} {n}");
    let lines = [line(1_048_576), line(2_097_152), line(300), line(400)];
    let names = ["read_bps", "write_bps", "read_iops", "write_iops"].map(|name| format!("blkio.throttle.{name}_device"));
    let files: Vec<_> = names.iter().zip(&lines).map(|(name, line)| ("blkio", name.as_str(), line.as_str())).collect();
    sets(turn, resources, &files)
}

/// A number that no driver has: what the cgroup permits fails with ENXIO.
fn opens(turn: &Turn, rules: Value) -> Result<Value, No> {
    present("devices")?;
    let mut config = turn.sh("cat /dev/local 2>&1");
    config["linux"]["devices"] = json!([{"type": "c", "path": "/dev/local", "major": 60, "minor": 77, "fileMode": 0o666}]);
    config["linux"]["resources"] = json!({"devices": rules});
    Ok(config)
}

fn opening(turn: &Turn, rules: Value) -> Result<String, No> {
    turn.output(&opens(turn, rules)?)
}

fn device_exception(turn: &Turn) -> Verdict {
    let rule = |allow: bool, minor: i64| json!({"allow": allow, "type": "c", "major": 60, "minor": minor, "access": "rw"});
    let all = |allow: bool| json!({"allow": allow, "access": "rwm"});
    for rules in [json!([all(true), rule(false, 77)]), json!([all(false), rule(true, -1), rule(false, 77)])] {
        let container = turn.create(&opens(turn, rules.clone())?)?;
        if container.made.code != 0 {
            turn.unknown(&container.id)?;
            continue;
        }
        container.start()?;
        container.ended()?;
        if !container.text().contains(DENIED) {
            return fail(rules, DENIED, container.text());
        }
    }
    Ok(())
}

fn cgroup_mount(turn: &Turn) -> Verdict {
    present("pids")?;
    let script = "for at in /sys/fs/cgroup/*/; do mkdir $at/s 2>/dev/null && { echo $at; rmdir $at/s; }; done; echo end";
    for word in ["ro", "rro"] {
        let mut config = turn.sh(script);
        let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [word]});
        push(&mut config["mounts"], mount);
        turn.prints(&config, "end\n")?;
    }
    Ok(())
}

const DENIED: &str = "Operation not permitted";
const PERMITTED: &str = "No such device or address";

fn device_order(turn: &Turn) -> Verdict {
    let rule = |allow: bool| json!({"allow": allow, "type": "c", "major": 60, "minor": 77, "access": "rwm"});
    let all = json!({"allow": false, "access": "rwm"});
    for (rules, expected) in [
        (json!([all, rule(true)]), PERMITTED),
        (json!([all, rule(true), rule(false)]), DENIED),
        (json!([all, rule(false), rule(true)]), PERMITTED),
        (json!([rule(true), all]), DENIED),
    ] {
        let text = opening(turn, rules.clone())?;
        if !text.contains(expected) {
            return fail(rules, expected, text);
        }
    }
    Ok(())
}

fn device_all(turn: &Turn) -> Verdict {
    for (allow, expected) in [(true, PERMITTED), (false, DENIED)] {
        let text = opening(turn, json!([{"allow": allow, "access": "rwm"}]))?;
        if !text.contains(expected) {
            return fail(format!("allow {allow}"), expected, text);
        }
    }
    Ok(())
}

fn out_of_range(turn: &Turn) -> Verdict {
    refused(turn, json!({"cpu": {"quota": 10, "period": 100_000}}))?;
    refused(turn, json!({"cpu": {"cpus": "99999"}}))?;
    refused(turn, json!({"memory": {"limit": "much"}}))?;
    refused(turn, json!({"pids": {"limit": "few"}}))
}
