//! Bundles of the suite's own making: a root file system of one static busybox, and a small config.json. codexrun has no
//! part in them, so that a mistake in how it writes a bundle cannot hide one in how it reads it.

use crate::actor::Actor;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where Debian's busybox-static is.
pub const BUSYBOX: &str = "/bin/busybox";

/// The names under which the payloads of the cases call busybox.
const APPLETS: &[&str] = &[
    "cat", "echo", "env", "false", "hostname", "id", "ionice", "kill", "ls", "mkdir", "mount", "nice", "printf", "pwd",
    "readlink", "rm", "sh", "sleep", "stat", "stty", "touch", "true", "tty", "wc",
];

const DIRS: &[&str] = &["bin", "dev", "etc", "proc", "sys", "tmp", "trace", "work"];

/// Makes `rootfs` below `dir`; busybox is a hard link to `busybox`, which must be on the same file system.
pub fn rootfs(dir: &Path, busybox: &Path) -> io::Result<PathBuf> {
    let root = dir.join("rootfs");
    fs::create_dir_all(&root)?;
    for name in DIRS {
        fs::create_dir(root.join(name))?;
    }
    fs::hard_link(busybox, root.join("bin/busybox"))?;
    for name in APPLETS {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("etc/mark"), "busybox\n")?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(root)
}

/// A config.json that every runtime takes: `args` under `actor`, in new namespaces, with a cgroup of the name `cgroup`.
pub fn config(actor: &Actor, cgroup: &str, args: &[&str]) -> Value {
    let caps = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]);
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
        },
        "root": {"path": "rootfs"},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
        },
    });
    if actor.is_root() {
        config["linux"]["cgroupsPath"] = json!(format!("/{cgroup}"));
    } else {
        map_to_root(&mut config, actor);
    }
    config
}

/// The one identity that an ordinary user may map: runc wants uid 0 inside.
fn map_to_root(config: &mut Value, actor: &Actor) {
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    config["linux"]["uidMappings"] = map(actor.uid);
    config["linux"]["gidMappings"] = map(actor.gid);
    push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
}

/// Appends to an array; makes it when there is none.
pub fn push(array: &mut Value, item: Value) {
    match array.as_array_mut() {
        Some(items) => items.push(item),
        None => *array = json!([item]),
    }
}

/// A bind of a directory of the host, to be read and written.
pub fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rw"]})
}

/// Removes a namespace of one type.
pub fn without_namespace(config: &mut Value, kind: &str) {
    if let Some(all) = config["linux"]["namespaces"].as_array_mut() {
        all.retain(|n| n["type"] != kind);
    }
}

/// Removes a field of an object.
pub fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(uid: u32) -> Actor {
        Actor { label: "user", name: "x".into(), uid, gid: uid, home: "/".into() }
    }

    #[test]
    fn only_root_has_a_cgroup_and_only_others_a_user_namespace() {
        let (root, user) = (config(&actor(0), "c", &["sh"]), config(&actor(7), "c", &["sh"]));
        assert_eq!(root["linux"]["cgroupsPath"], "/c");
        assert!(user["linux"]["cgroupsPath"].is_null());
        assert_eq!(user["linux"]["uidMappings"][0]["hostID"], 7);
    }

    #[test]
    fn an_array_that_is_not_there_is_made() {
        let mut value = json!({});
        push(&mut value["hooks"], json!(1));
        push(&mut value["hooks"], json!(2));
        assert_eq!(value, json!({"hooks": [1, 2]}));
    }
}
