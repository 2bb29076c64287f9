//! The systemd driver. The machine's first program is systemd by now; an ordinary user has one too.

use super::group::{TOP, capable, disk, exec, limit, reads, refused};
use crate::launch::Launch;
use crate::oci::Who::{Both, Root};
use crate::oci::bundle;
use crate::oci::container::{Container, until};
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub const CASES: &[Must] = &[
    must("systemd.scope", "the first process is in a scope of the slice that is named, and nobody is after delete", Root, scope),
    must("systemd.limits", "a limit is a property of the unit, and stands in the file", Root, limits),
    must("systemd.default", "without a slice it is system.slice, without a path :RUNTIME:ID", Root, default),
    must("systemd.slice", "a-b.slice lies in a.slice", Root, slice),
    must("systemd.update", "`update` changes the unit, and a reload of systemd changes nothing", Root, update),
    must("systemd.update.quota", "a quota alone keeps its period, as the unit knows", Root, update_quota),
    must("systemd.unified", "`unified` is told to systemd as the kernel reads it, or refused by name", Root, unified),
    must(
        "systemd.update.refused",
        "one that the kernel refuses leaves the unit and the files as they were",
        Root,
        update_refused,
    ),
    must("systemd.devices", "the rules for devices hold after a reload of systemd", Root, devices),
    must("systemd.exec", "exec is in the scope too", Root, exec_inside),
    must("systemd.annotation", "`org.systemd.property.` is a property of the unit", Root, annotation),
    must("systemd.annotation.wrong", "one that cannot be is refused by name", Root, wrong_annotation),
    must("systemd.oom", "a container that was killed for want of memory leaves no unit", Root, oom),
    must("systemd.namespace", "in a cgroup namespace the scope is the root", Root, namespace),
    must("systemd.refused", "a path, a slice or a unit that has no such form", Root, no_name),
    must("systemd.taken", "a unit that is there already", Root, taken),
    must("systemd.absent", "without a bus that answers: one sentence", Root, absent),
    super::inject::SYSTEMD,
];

/// Played by an ordinary user, who has a systemd and a cgroup of its own; see [`super::inside`].
pub const USER_CASES: &[Must] = &[
    must("user.systemd", "the user's systemd makes the scope, and the limits that were delegated hold", Both, user_scope),
    must("user.systemd.update", "`update` changes them, and delete leaves no unit", Both, user_update),
    must("user.systemd.exec", "exec is moved into the scope by the user's systemd", Both, user_exec),
    must("user.systemd.not-delegated", "a limit whose controller was not delegated is refused by name", Both, user_without),
    must("user.delegated", "in a cgroup that was delegated limits hold without systemd", Both, delegated),
    must("user.not-delegated", "elsewhere a limit is refused by name, with a hint", Both, not_delegated),
    must("user.not-delegated.nothing", "without limits a container runs there that names no cgroup", Both, nothing_limited),
    super::inject::USERS_SYSTEMD,
    super::inject::DELEGATED,
];

/// The cgroup that `systemd.sh` gives to an ordinary user, with memory and pids; the user's cases are played in one below it.
pub const DELEGATED: &str = "/sys/fs/cgroup/outer/delegated";

/// The sleeper by systemd: SLICE:p:NAME, and the name of its unit.
fn sleeper(t: &Turn, slice: &str) -> (Value, String) {
    t.globals.set(&["--systemd-cgroup"]);
    let (mut config, name) = (t.sleeper(), t.fresh());
    config["linux"]["cgroupsPath"] = json!(format!("{slice}:p:{name}"));
    (config, format!("p-{name}.scope"))
}

/// `systemctl`, as who asks.
fn systemctl(t: &Turn, words: &[&str]) -> Result<String, No> {
    let user: &[&str] = if t.column.actor.is_root() { &[] } else { &["--user"] };
    let mut launch = Launch::new(&[&["/usr/bin/systemctl"], user, words].concat(), Path::new("/"));
    launch.env.push(("XDG_RUNTIME_DIR".into(), "/run/user/1001".into()));
    let ran = launch.start(&t.column.actor)?.finish_beside_others()?;
    ran.must("exit 0", ran.code == 0)?;
    Ok(ran.out)
}

/// Properties of a unit, `NAME=VALUE`.
fn shows(t: &Turn, unit: &str, expected: &[&str]) -> Verdict {
    let text = systemctl(t, &["show", unit])?;
    let missing: Vec<_> = expected.iter().filter(|line| !text.lines().any(|l| l == **line)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let known: Vec<_> = text.lines().filter(|l| expected.iter().any(|e| e.split('=').next() == l.split('=').next())).collect();
    fail(format!("systemctl show {unit}"), format!("{missing:?}"), known.join(" "))
}

fn is_gone(t: &Turn, unit: &str, dir: &Path) -> Verdict {
    // The last word of a scope that is empty is systemd's.
    until(|| shows(t, unit, &["LoadState=not-found", "ActiveState=inactive"]).is_ok())?;
    if dir.exists() { fail(dir.display(), "it is gone", "it is there") } else { Ok(()) }
}

/// Where the first process is.
fn place(container: &Container) -> Result<PathBuf, No> {
    let text = container.proc("cgroup")?;
    Ok(Path::new(TOP).join(text.trim().trim_start_matches("0::/")))
}

fn is_in(container: &Container, below: &str) -> Verdict {
    let got = place(container)?;
    if got == Path::new(TOP).join(below) { Ok(()) } else { fail("/proc/PID/cgroup", below, got.display()) }
}

fn scope(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let container = t.started(&config)?;
    is_in(&container, &format!("system.slice/{unit}"))?;
    shows(t, &unit, &["ActiveState=active", "Slice=system.slice", "Delegate=yes"])?;
    let dir = place(&container)?;
    t.succeeds(&["pause", &container.id])?;
    container.is("paused")?;
    t.succeeds(&["resume", &container.id])?;
    container.stopped()?;
    container.delete()?;
    is_gone(t, &unit, &dir)
}

fn limits(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let resources = json!({
        "memory": {"limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432}, "pids": {"limit": 41},
        "cpu": {"shares": 2048, "quota": 25_000, "period": 50_000, "cpus": "0", "mems": "0"},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
    });
    let container = t.started(&limit(config, resources))?;
    let properties = [
        "MemoryMax=67108864",
        "MemorySwapMax=67108864",
        "MemoryLow=33554432",
        "TasksMax=41",
        "CPUQuotaPerSecUSec=500ms",
        "CPUQuotaPeriodUSec=50ms",
        "AllowedCPUs=0",
    ];
    shows(t, &unit, &properties)?;
    let files = [
        ("memory.max", "67108864"),
        ("memory.swap.max", "67108864"),
        ("memory.low", "33554432"),
        ("pids.max", "41"),
        ("cpu.max", "25000 50000"),
        ("cpuset.cpus", "0"),
        ("hugetlb.2MB.max", "4194304"),
    ];
    let dir = place(&container)?;
    files.iter().try_for_each(|(file, value)| reads(&dir, file, value))
}

fn default(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "");
    let container = t.started(&config)?;
    is_in(&container, &format!("system.slice/{unit}"))?;
    let (mut config, _) = sleeper(t, "");
    crate::oci::bundle::remove(&mut config["linux"], "cgroupsPath");
    let container = t.started(&config)?;
    let runtime = t.column.runtime.path.file_name().unwrap_or_default().to_string_lossy();
    is_in(&container, &format!("system.slice/{runtime}-{}.scope", container.id))
}

fn slice(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "kube-pod_x.slice");
    let container = t.started(&config)?;
    is_in(&container, &format!("kube.slice/kube-pod_x.slice/{unit}"))
}

fn change(t: &Turn, container: &Container, resources: Value) -> Verdict {
    let file = t.dir.join("resources.json");
    std::fs::write(&file, resources.to_string())?;
    t.succeeds(&["update", "--resources", &file.display().to_string(), &container.id]).map(drop)
}

fn update(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let container = t.started(&limit(config, json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 41}})))?;
    change(
        t,
        &container,
        json!({"memory": {"limit": 134_217_728}, "pids": {"limit": 17}, "cpu": {"quota": 12_345, "period": 100_000}}),
    )?;
    shows(t, &unit, &["MemoryMax=134217728", "TasksMax=17", "CPUQuotaPerSecUSec=130ms"])?;
    let dir = place(&container)?;
    let same = || -> Verdict {
        reads(&dir, "memory.max", "134217728")?;
        reads(&dir, "pids.max", "17")
    };
    reads(&dir, "cpu.max", "12345 100000")?;
    same()?;
    systemctl(t, &["daemon-reload"])?;
    same()
}

fn update_quota(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let container = t.started(&limit(config, json!({"cpu": {"quota": 25_000, "period": 50_000}})))?;
    let dir = place(&container)?;
    change(t, &container, json!({"cpu": {"quota": 40_000}}))?;
    reads(&dir, "cpu.max", "40000 50000")?;
    shows(t, &unit, &["CPUQuotaPerSecUSec=800ms", "CPUQuotaPeriodUSec=50ms"])?;
    systemctl(t, &["daemon-reload"])?;
    reads(&dir, "cpu.max", "40000 50000")?;
    // A period of nothing is the one thing that systemd does not keep.
    change(t, &container, json!({"cpu": {"quota": -1}}))?;
    reads(&dir, "cpu.max", "max 50000")?;
    shows(t, &unit, &["CPUQuotaPerSecUSec=infinity", "CPUQuotaPeriodUSec=50ms"])
}

fn unified(t: &Turn) -> Verdict {
    let (config, _) = sleeper(t, "system.slice");
    let values = json!({"memory.max": "64M", "memory.high": "0x2000000", "cpu.max": "30000  20000", "pids.max": " 50"});
    let container = t.started(&limit(config.clone(), json!({"memory": {"limit": 100_000_000}, "unified": values})))?;
    let dir = place(&container)?;
    systemctl(t, &["daemon-reload"])?;
    reads(&dir, "memory.max", "67108864")?;
    reads(&dir, "memory.high", "33554432")?;
    reads(&dir, "cpu.max", "30000 20000")?;
    reads(&dir, "pids.max", "50")?;
    let strange = limit(config, json!({"unified": {"cpuset.cpus": "0-1:1/2"}}));
    refused(t, &strange, &["linux.resources.unified[cpuset.cpus]", "AllowedCPUs"])
}

fn update_refused(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let container = t.started(&limit(config, json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 41}})))?;
    let file = t.dir.join("resources.json");
    let resources = json!({"memory": {"limit": 134_217_728}, "cpu": {"cpus": "999"}, "pids": {"limit": 17}});
    std::fs::write(&file, resources.to_string())?;
    t.fails(&["update", "--resources", &file.display().to_string(), &container.id])?;
    let dir = place(&container)?;
    let same = || -> Verdict {
        shows(t, &unit, &["MemoryMax=67108864", "TasksMax=41"])?;
        reads(&dir, "memory.max", "67108864")?;
        reads(&dir, "pids.max", "41")
    };
    same()?;
    systemctl(t, &["daemon-reload"])?;
    same()
}

fn devices(t: &Turn) -> Verdict {
    let (config, _) = sleeper(t, "system.slice");
    let container = t.started(&limit(capable(config, "CAP_MKNOD"), json!({"pids": {"limit": 41}})))?;
    let (major, minor) = disk()?;
    let script = format!("/bin/busybox mknod /tmp/disk b {major} {minor}; (: </tmp/disk) 2>/dev/null && echo read; echo done");
    systemctl(t, &["daemon-reload"])?;
    let said = exec(t, &container, &script)?;
    if said == "done\n" { Ok(()) } else { fail("open(2) of the disk", "done", said) }
}

fn exec_inside(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let container = t.started(&config)?;
    let said = exec(t, &container, "cat /proc/self/cgroup")?;
    if said == format!("0::/system.slice/{unit}\n") { Ok(()) } else { fail("exec cat /proc/self/cgroup", unit, said) }
}

fn annotation(t: &Turn) -> Verdict {
    let (mut config, unit) = sleeper(t, "system.slice");
    config["annotations"] = json!({
        "org.systemd.property.TimeoutStopUSec": "uint64 123000000", "org.systemd.property.CollectMode": "'inactive-or-failed'",
    });
    let _container = t.started(&config)?;
    shows(t, &unit, &["TimeoutStopUSec=2min 3s", "CollectMode=inactive-or-failed"])
}

fn wrong_annotation(t: &Turn) -> Verdict {
    for (name, value) in [("TimeoutStopUSec", "uint64"), ("NoSuchThing", "true")] {
        let (mut config, _) = sleeper(t, "system.slice");
        config["annotations"] = json!({ format!("org.systemd.property.{name}"): value });
        refused(t, &config, &[name])?;
    }
    Ok(())
}

fn oom(t: &Turn) -> Verdict {
    let (mut config, unit) = sleeper(t, "system.slice");
    config["process"]["args"] = json!(["/bin/sh", "-c", "x=x; while :; do x=$x$x; done"]);
    let config = limit(config, json!({"memory": {"limit": 16_777_216, "swap": 16_777_216}}));
    let container = t.started(&config)?;
    let dir = Path::new(TOP).join("system.slice").join(&unit);
    let code = container.ended()?;
    if code != 137 {
        return fail("the payload", "137", code);
    }
    container.delete()?;
    is_gone(t, &unit, &dir)
}

fn namespace(t: &Turn) -> Verdict {
    let (mut config, _) = sleeper(t, "system.slice");
    config["process"]["args"] = json!(["/bin/cat", "/proc/self/cgroup"]);
    crate::oci::bundle::push(&mut config["linux"]["namespaces"], json!({"type": "cgroup"}));
    t.prints(&config, "0::/\n")
}

fn no_name(t: &Turn) -> Verdict {
    for (path, named) in [("/a/b", "SLICE:PREFIX:NAME"), ("a/b.slice:p:n", "a/b.slice"), ("a.scope:p:n", "a.scope")] {
        let (mut config, _) = sleeper(t, "system.slice");
        config["linux"]["cgroupsPath"] = json!(path);
        refused(t, &config, &["linux.cgroupsPath", named])?;
    }
    Ok(())
}

fn taken(t: &Turn) -> Verdict {
    let (config, unit) = sleeper(t, "system.slice");
    let first = t.started(&config)?;
    refused(t, &config, &["linux.cgroupsPath", &unit])?;
    first.is("running")
}

fn absent(t: &Turn) -> Verdict {
    let (config, _) = sleeper(t, "system.slice");
    let bundle = t.bundle(&config)?.display().to_string();
    let id = t.fresh();
    let mut launch = t.launch(&["create", "--bundle", &bundle, &id]);
    launch.env.push(("DBUS_SYSTEM_BUS_ADDRESS".into(), "unix:path=/run/nobody".into()));
    let ran = launch.run(&t.column.actor)?;
    let named = ["D-Bus", "/run/nobody", "--cgroup-manager cgroupfs"].iter().all(|word| ran.err.contains(word));
    let said = !t.column.runtime.is_codexrun() || (named && ran.err.lines().count() == 1);
    ran.must("one line that names the bus", ran.code != 0 && said)?;
    t.unknown(&id)
}

/// The user's runtime directory, which a turn has its own of.
pub fn session(t: &Turn) -> Verdict {
    Ok(std::os::unix::fs::symlink("/run/user/1001/systemd", t.dir.join("run/systemd"))?)
}

const USERS: &str = "user.slice/user-1001.slice/user@1001.service/user.slice";

fn user_scope(t: &Turn) -> Verdict {
    session(t)?;
    let (config, unit) = sleeper(t, "");
    let container = t.started(&limit(config, json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 41}})))?;
    is_in(&container, &format!("{USERS}/{unit}"))?;
    shows(t, &unit, &["ActiveState=active", "Slice=user.slice", "MemoryMax=67108864", "TasksMax=41"])?;
    let dir = place(&container)?;
    reads(&dir, "memory.max", "67108864")?;
    reads(&dir, "pids.max", "41")
}

fn user_update(t: &Turn) -> Verdict {
    session(t)?;
    let (config, unit) = sleeper(t, "");
    let container = t.started(&limit(config, json!({"pids": {"limit": 41}})))?;
    change(t, &container, json!({"pids": {"limit": 17}}))?;
    let dir = place(&container)?;
    reads(&dir, "pids.max", "17")?;
    shows(t, &unit, &["TasksMax=17"])?;
    container.stopped()?;
    container.delete()?;
    is_gone(t, &unit, &dir)
}

fn user_exec(t: &Turn) -> Verdict {
    session(t)?;
    let (config, unit) = sleeper(t, "");
    let container = t.started(&config)?;
    let said = exec(t, &container, "cat /proc/self/cgroup")?;
    let scope = format!("0::/{USERS}/{unit}\n");
    if said == scope { Ok(()) } else { fail("exec cat /proc/self/cgroup", scope, said) }
}

fn user_without(t: &Turn) -> Verdict {
    session(t)?;
    let (config, unit) = sleeper(t, "");
    refused(t, &limit(config, json!({"blockIO": {"weight": 70}})), &["linux.resources.blockIO.weight", "`io`"])?;
    is_gone(t, &unit, &Path::new(TOP).join(USERS).join(&unit))
}

/// A sleeper beside its caller, who is in a cgroup below the one that was delegated.
fn beside(t: &Turn) -> Value {
    let mut config = t.sleeper();
    config["linux"]["cgroupsPath"] = json!(t.fresh());
    config
}

fn delegated(t: &Turn) -> Verdict {
    let config = beside(t);
    let dir = Path::new(DELEGATED).join(config["linux"]["cgroupsPath"].as_str().unwrap_or_default());
    let container = t.started(&limit(config, json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 41}})))?;
    if place(&container)? != dir {
        return fail("/proc/PID/cgroup", dir.display(), container.proc("cgroup")?);
    }
    reads(&dir, "memory.max", "67108864")?;
    reads(&dir, "pids.max", "41")?;
    container.stopped()?;
    container.delete()?;
    if dir.exists() { fail(dir.display(), "it is gone", "it is there") } else { Ok(()) }
}

fn elsewhere(t: &Turn) -> Value {
    let mut config = t.sleeper();
    config["linux"]["cgroupsPath"] = json!(format!("/{}", t.fresh()));
    config
}

fn not_delegated(t: &Turn) -> Verdict {
    let config = limit(elsewhere(t), json!({"memory": {"limit": 67_108_864}}));
    refused(t, &config, &["linux.resources.memory.limit", "delegated to this user"])?;
    // A controller that the one who delegated has kept.
    refused(t, &limit(beside(t), json!({"cpu": {"shares": 7}})), &["linux.resources.cpu.shares", "`cpu`"])
}

fn nothing_limited(t: &Turn) -> Verdict {
    let mut config = elsewhere(t);
    refused(t, &config, &["linux.cgroupsPath", "`--rootless true` goes without it"])?;
    bundle::remove(&mut config["linux"], "cgroupsPath");
    let container = t.started(&config)?;
    is_in(&container, "outer/delegated/caller")?;
    container.stopped()?;
    container.delete()
}
