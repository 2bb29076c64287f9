//! What version 2, or a part of the hierarchy, cannot give: refused, and by the field's name.

use super::group::{TOP, limit, refused};
use crate::oci::Who::Root;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

pub const CASES: &[Must] = &[
    must("refused.v1-only", "fields that only version 1 has, each by its name", Root, v1_only),
    must("refused.not-delegated", "a controller that a group of processes above cannot hand down", Root, not_delegated),
    must(
        "refused.not-delegated.nothing",
        "without limits a container runs there, and the group above stays as it was",
        Root,
        unlimited,
    ),
    must("refused.not-there", "a unified key of a controller that does not exist", Root, no_controller),
    must("refused.no-file", "a unified key that no file answers to", Root, no_file),
    must("refused.value", "a value that the kernel refuses, with the field", Root, value),
    must("refused.cpuset", "a CPU that is not there", Root, no_cpu),
    must("refused.io", "a device that is not there", Root, no_device),
    must("refused.swap", "a sum below the memory, and a sum without memory", Root, swap),
    must("refused.frozen", "a cgroup that is frozen", Root, frozen),
    must("refused.left", "what is refused leaves no directory", Root, left),
    must("refused.update", "an update that cannot be is refused by name and changes nothing", Root, update),
];

fn field(t: &Turn, resources: Value, name: &str) -> Verdict {
    refused(t, &limit(t.sleeper(), resources), &[&format!("linux.resources.{name}")])
}

/// All at once, as it is one list of reasons.
fn v1_only(t: &Turn) -> Verdict {
    let resources = json!({
        "network": {"classID": 7, "priorities": [{"name": "lo", "priority": 3}]},
        "memory": {"swappiness": 7, "disableOOMKiller": true},
        "cpu": {"realtimeRuntime": 1000},
        "blockIO": {"leafWeight": 100},
    });
    let names = [
        "linux.resources.network.classID",
        "linux.resources.network.priorities[0]",
        "linux.resources.memory.swappiness",
        "linux.resources.memory.disableOOMKiller",
        "linux.resources.cpu.realtimeRuntime",
        "linux.resources.blockIO.leafWeight",
    ];
    refused(t, &limit(t.sleeper(), resources), &names)
}

/// A group with a process in it: it can hand down no controller, cgroups(7).
struct Occupied {
    dir: PathBuf,
    process: Child,
}

impl Occupied {
    fn new(t: &Turn) -> std::io::Result<Occupied> {
        let dir = Path::new(TOP).join(t.fresh());
        fs::create_dir(&dir)?;
        let process = Command::new("/bin/sleep").arg("1000").spawn()?;
        fs::write(dir.join("cgroup.procs"), process.id().to_string())?;
        Ok(Occupied { dir, process })
    }

    fn path(&self, leaf: &str) -> String {
        format!("/{}/{leaf}", self.dir.file_name().unwrap_or_default().to_string_lossy())
    }
}

impl Drop for Occupied {
    /// What is left of it is found after the case.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir(&self.dir);
    }
}

fn not_delegated(t: &Turn) -> Verdict {
    let above = Occupied::new(t)?;
    let all = [
        (json!({"memory": {"limit": 67_108_864}}), "memory.limit"),
        (json!({"pids": {"limit": 7}}), "pids.limit"),
        (json!({"cpu": {"shares": 7}}), "cpu.shares"),
        (json!({"blockIO": {"weight": 70}}), "blockIO.weight"),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}), "hugepageLimits[0]"),
        (json!({"unified": {"memory.high": "max"}}), "unified[memory.high]"),
    ];
    all.into_iter().try_for_each(|(resources, name)| {
        let mut config = limit(t.sleeper(), resources);
        config["linux"]["cgroupsPath"] = json!(above.path("child"));
        let controller = if name == "hugepageLimits[0]" { "hugetlb" } else { name.split(['.', '[']).next().unwrap_or_default() };
        let controller = match controller {
            "blockIO" => "io",
            "unified" => "memory",
            other => other,
        };
        refused(t, &config, &[&format!("linux.resources.{name}"), &format!("`{controller}`")])
    })
}

fn unlimited(t: &Turn) -> Verdict {
    let above = Occupied::new(t)?;
    let mut config = t.sleeper();
    config["linux"]["cgroupsPath"] = json!(above.path("child"));
    let container = t.started(&config)?;
    super::group::reads(&above.dir, "cgroup.subtree_control", "")?;
    container.stopped()?;
    container.delete()
}

fn no_controller(t: &Turn) -> Verdict {
    field(t, json!({"unified": {"nonsense.max": "7"}}), "unified[nonsense.max]")
}

fn no_file(t: &Turn) -> Verdict {
    field(t, json!({"unified": {"memory.nonsense": "7"}}), "unified[memory.nonsense]")
}

fn value(t: &Turn) -> Verdict {
    field(t, json!({"unified": {"memory.high": "much"}}), "unified[memory.high]")?;
    field(t, json!({"cpu": {"quota": 1, "period": 1}}), "cpu.quota")
}

fn no_cpu(t: &Turn) -> Verdict {
    field(t, json!({"cpu": {"cpus": "63"}}), "cpu.cpus")
}

fn no_device(t: &Turn) -> Verdict {
    field(
        t,
        json!({"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 7, "rate": 7}]}}),
        "blockIO.throttleReadBpsDevice[0]",
    )
}

fn swap(t: &Turn) -> Verdict {
    field(t, json!({"memory": {"limit": 67_108_864, "swap": 33_554_432}}), "memory.swap")?;
    field(t, json!({"memory": {"swap": 33_554_432}}), "memory.swap")
}

fn frozen(t: &Turn) -> Verdict {
    let above = Path::new(TOP).join(t.fresh());
    fs::create_dir(&above)?;
    fs::write(above.join("cgroup.freeze"), "1")?;
    let mut config = t.sleeper();
    config["linux"]["cgroupsPath"] = json!(format!("/{}/child", above.file_name().unwrap_or_default().to_string_lossy()));
    let verdict = refused(t, &config, &["linux.cgroupsPath", "frozen"]);
    fs::write(above.join("cgroup.freeze"), "0")?;
    fs::remove_dir(&above)?;
    verdict
}

fn left(t: &Turn) -> Verdict {
    let mut config = limit(t.sleeper(), json!({"pids": {"limit": 7}, "unified": {"memory.high": "much"}}));
    let tag = t.fresh();
    config["linux"]["cgroupsPath"] = json!(format!("/{tag}/one/two"));
    refused(t, &config, &["memory.high"])?;
    let dir = Path::new(TOP).join(tag);
    if dir.exists() { fail(dir.display(), "it is gone", "it is there") } else { Ok(()) }
}

fn update(t: &Turn) -> Verdict {
    let config = limit(t.sleeper(), json!({"pids": {"limit": 7}}));
    let container = t.started(&config)?;
    let file = t.dir.join("resources.json");
    fs::write(&file, json!({"pids": {"limit": 9}, "memory": {"swappiness": 7}}).to_string())?;
    let ran = t.fails(&["update", "--resources", &file.display().to_string(), &container.id])?;
    ran.must("it names memory.swappiness", ran.err.contains("memory.swappiness"))?;
    super::group::reads(&super::group::of(&config), "pids.max", "7")
}
