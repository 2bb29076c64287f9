//! The spec to start from by hand, `codexrun spec` without a policy: what `runc spec` writes; without root less its cgroup, which nobody
//! has delegated.

use crate::{Error, Result};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// Who is going to run the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// Root.
    Root,
    /// An ordinary user with these ids, who becomes root of a new user namespace.
    Rootless {
        /// Effective user.
        uid: u32,
        /// Effective group.
        gid: u32,
    },
}

/// `sh` on a terminal, in a read-only `rootfs`.
pub fn spec(runner: Runner) -> Result<Spec> {
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": process(),
        "root": { "path": crate::bundle::ROOTFS, "readonly": true },
        "hostname": "codexrun",
        "mounts": mounts(runner),
        "linux": linux(runner),
    });
    crate::bundle::spec(&spec).map_err(|e| Error::new("the default spec is broken").cause(e))
}

fn process() -> Value {
    let caps = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    json!({
        "terminal": true,
        "user": { "uid": 0, "gid": 0 },
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts(runner: Runner) -> Value {
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let (pts, sys) = match runner {
        Runner::Root => (&pts[..], mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])),
        // A user namespace with one group has no `tty` (5), and without a network namespace of its own no sysfs.
        Runner::Rootless { .. } => (&pts[..5], mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])),
    };
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        sys,
    ];
    if runner == Runner::Root {
        // With it comes a cgroup, which `pause`, `update` and `events` act on.
        mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
    }
    mounts.into()
}

fn mount(at: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": at, "type": kind, "source": source, "options": options })
}

fn linux(runner: Runner) -> Value {
    let namespaces = |kinds: &[&str]| Value::from_iter(kinds.iter().map(|kind| json!({ "type": kind })));
    let one = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    let mut linux = json!({
        "namespaces": namespaces(&["pid", "network", "ipc", "uts", "mount"]),
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if runner == Runner::Root {
        linux["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    }
    if let Runner::Rootless { uid, gid } = runner {
        linux["namespaces"] = namespaces(&["pid", "ipc", "uts", "mount", "user"]);
        linux["uidMappings"] = one(uid);
        linux["gidMappings"] = one(gid);
    }
    linux
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_rootless_differ_as_runcs_do() {
        let root = serde_json::to_value(spec(Runner::Root).unwrap()).unwrap();
        let own = serde_json::to_value(spec(Runner::Rootless { uid: 1000, gid: 100 }).unwrap()).unwrap();
        assert_eq!(own["linux"]["uidMappings"][0]["hostID"], 1000);
        assert_eq!(own["linux"]["gidMappings"][0]["hostID"], 100);
        assert_eq!(root["linux"].get("uidMappings"), None);
        assert_eq!(root["mounts"][2]["options"][5], "gid=5");
        assert_eq!(own["mounts"][2]["options"].as_array().unwrap().len(), 5);
        assert_eq!(own["mounts"][5]["source"], "/sys");
        assert_eq!(root["process"]["args"], own["process"]["args"]);
    }

    #[test]
    fn nothing_is_lost_on_the_way_through_the_types() {
        let typed = serde_json::to_value(spec(Runner::Root).unwrap()).unwrap();
        assert_eq!(typed["mounts"], mounts(Runner::Root));
        assert_eq!(typed["linux"]["maskedPaths"], linux(Runner::Root)["maskedPaths"]);
        assert_eq!(typed["process"]["env"], process()["env"]);
    }
}
