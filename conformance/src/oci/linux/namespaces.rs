//! Namespaces: new, inherited, joined by path; mappings and offsets.

use super::invalid;
use crate::oci::Who::{Both, Root};
use crate::oci::bundle::{bind, push, remove, without_namespace};
use crate::oci::container::{Container, until};
use crate::oci::turn::Turn;
use crate::oci::{Must, attack, host_mounts, must};
use crate::report::{No, Verdict, fail};
use crate::runtime::Kind;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};

pub const CASES: &[Must] = &[
    must("linux.namespaces.new", "a type without a path is a new namespace", Both, new),
    must("linux.namespaces.time", "so is time, with timeOffsets", Both, time),
    must("linux.namespaces.inherited", "a type that is not listed is the runtime's", Both, inherited),
    must(
        "linux.namespaces.inherited.mount",
        "so is the mount namespace, in which the mounts are not to be seen",
        Root,
        no_mounts,
    ),
    attack("linux.namespaces.inherited.escape", "chroot(2) leads out of the root of such a container to nothing", Root, escape),
    must("linux.namespaces.path.joined", "the process is in the namespace of that path", Root, joined),
    must("linux.namespaces.path.mount", "a mount namespace too: root.path is the root in it", Root, |t| held(t, "mount", "mnt")),
    must("linux.namespaces.path.cgroup", "a cgroup namespace too", Root, |t| held(t, "cgroup", "cgroup")),
    must("linux.namespaces.path.time", "a time namespace too", Root, |t| held(t, "time", "time_for_children")),
    must("linux.namespaces.path.type", "a path of another type's namespace is an error", Root, wrong_type),
    must("linux.namespaces.path.none", "a path of no namespace is an error", Both, no_namespace),
    must("linux.namespaces.path.absolute", "a path that is not absolute is an error", Both, relative),
    must("linux.mappings.applied", "uidMappings and gidMappings are the user namespace's", Root, mapped),
    must("linux.mappings.ownership", "the owners of the file system stay", Root, ownership),
    must("linux.mappings.required", "an entry without size, or of another type, is an error", Root, incomplete),
];

/// Types, and their names below /proc/PID/ns.
const KINDS: &[(&str, &str)] =
    &[("pid", "pid"), ("network", "net"), ("mount", "mnt"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")];

fn link(of: &str, name: &str) -> Result<String, No> {
    Ok(std::fs::read_link(format!("/proc/{of}/ns/{name}"))?.display().to_string())
}

fn inside(container: &Container, name: &str) -> Result<String, No> {
    container.proc(&format!("ns/{name}"))
}

fn new(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    ["network", "cgroup"].iter().for_each(|kind| push(&mut config["linux"]["namespaces"], json!({"type": kind})));
    let container = turn.started(&config)?;
    for (kind, name) in KINDS {
        if inside(&container, name)? == link("self", name)? {
            return fail(kind, "another namespace than the runtime's", "the same");
        }
    }
    Ok(())
}

fn time(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["/bin/cat", "/proc/self/timens_offsets"]);
    push(&mut config["linux"]["namespaces"], json!({"type": "time"}));
    config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 4321, "nanosecs": 5}, "boottime": {"secs": 86400}});
    let text = turn.output(&config)?;
    let lines: Vec<String> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = ["monotonic 4321 5", "boottime 86400 0"];
    if lines == expected { Ok(()) } else { fail("timens_offsets", format!("{expected:?}"), text) }
}

fn inherited(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    ["ipc", "uts"].iter().for_each(|kind| without_namespace(&mut config, kind));
    remove(&mut config, "hostname");
    let container = turn.started(&config)?;
    for name in ["net", "ipc", "uts", "time"] {
        let (seen, ours) = (inside(&container, name)?, link("self", name)?);
        if seen != ours {
            return fail(format!("ns/{name}"), ours, seen);
        }
    }
    Ok(())
}

/// crun may have been given a mount namespace of its own.
fn no_mounts(turn: &Turn) -> Verdict {
    let before = host_mounts();
    let mut config = turn.sleeper();
    without_namespace(&mut config, "mount");
    let container = turn.started(&config)?;
    let (seen, ours) = (inside(&container, "mnt")?, link("self", "mnt")?);
    let exec = turn.call(&["exec", &container.id, "/bin/cat", "/etc/mark"])?;
    let during = host_mounts();
    drop(container);
    unmount(turn)?;
    if turn.column.runtime.kind != Kind::Crun && seen != ours {
        return fail("ns/mnt", ours, seen);
    }
    exec.must("the root of the container", exec.out == "busybox\n")?;
    if during == before { Ok(()) } else { fail("mountinfo of the host", "what it was before", during) }
}

/// From a second root the first one is held open: the way up from there.
fn escape(turn: &Turn) -> Verdict {
    let outside = turn.dir.join("outside");
    std::fs::write(&outside, "")?;
    let climb = format!("cd -P /proc/self/fd/3/../../../../../..; busybox ls -d .{} etc/mark 2>&-", outside.display());
    let script = format!(
        "mkdir /work/bin; cat /bin/busybox > /work/bin/busybox; busybox chmod 755 /work/bin/busybox; exec 3< /; \
         busybox chroot /work /bin/busybox sh -c '{climb}'; echo end"
    );
    let mut config = turn.sh(&script);
    without_namespace(&mut config, "mount");
    push(&mut config["mounts"], bind(Path::new("/proc"), "/work/proc"));
    for set in ["bounding", "permitted", "effective"] {
        push(&mut config["process"]["capabilities"][set], "CAP_SYS_CHROOT".into());
    }
    let said = turn.output(&config);
    unmount(turn)?;
    let said = said?;
    if said == "etc/mark\nend\n" { Ok(()) } else { fail(climb, "the root of the container alone", said) }
}

/// What a referee has left on the host.
fn unmount(turn: &Turn) -> Verdict {
    let dir = turn.dir.display().to_string();
    let all = host_mounts();
    for at in all.lines().rev().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.starts_with(&dir)) {
        std::process::Command::new("umount").args(["--lazy", at]).status()?;
    }
    Ok(())
}

/// The configuration joins the namespace `kind` at a path.
fn joining(mut config: Value, kind: &str, path: String) -> Value {
    without_namespace(&mut config, kind);
    push(&mut config["linux"]["namespaces"], json!({"type": kind, "path": path}));
    config
}

fn joined(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    push(&mut config["linux"]["namespaces"], json!({"type": "network"}));
    let first = turn.started(&config)?;
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        let mut config = joining(turn.sleeper(), kind, format!("/proc/{}/ns/{name}", first.pid()?));
        if kind == "uts" {
            remove(&mut config, "hostname");
        }
        let second = turn.started(&config)?;
        let (seen, expected) = (inside(&second, name)?, inside(&first, name)?);
        // Collected: the first one of a PID namespace is not gone before all others are.
        second.stopped()?;
        if seen != expected {
            return fail(format!("joining {kind}"), expected, seen);
        }
    }
    Ok(())
}

/// A process that has a namespace of its own, for its life or for its children's.
struct Holder(Child);

impl Holder {
    fn new(kind: &str) -> Result<Holder, No> {
        let option = format!("--{kind}");
        Ok(Holder(Command::new("unshare").args([&option, "sleep", "1000"]).spawn()?))
    }

    /// Once it is another than ours.
    fn namespace(&self, name: &str) -> Result<(String, String), No> {
        let (theirs, ours) = (self.0.id().to_string(), link("self", name)?);
        until(|| link(&theirs, name).is_ok_and(|theirs| theirs != ours))?;
        Ok((format!("/proc/{theirs}/ns/{name}"), link(&theirs, name)?))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // One that has ended already has nothing to be killed, and the look at what is left is the judge of this.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn held(turn: &Turn, kind: &str, name: &str) -> Verdict {
    let holder = Holder::new(kind)?;
    let (path, expected) = holder.namespace(name)?;
    let container = turn.started(&joining(turn.sleeper(), kind, path))?;
    let seen = inside(&container, name)?;
    if seen != expected {
        return fail(format!("joining {kind}"), expected, seen);
    }
    let exec = turn.call(&["exec", &container.id, "/bin/cat", "/etc/mark"])?;
    exec.must("the root of the container", exec.out == "busybox\n")
}

fn wrong_type(turn: &Turn) -> Verdict {
    for (kind, name) in [("network", "ipc"), ("ipc", "net"), ("pid", "uts")] {
        turn.refused(&joining(turn.sleeper(), kind, format!("/proc/self/ns/{name}")))?;
    }
    Ok(())
}

fn no_namespace(turn: &Turn) -> Verdict {
    for path in ["/no/such/file", "/etc/passwd", "/proc"] {
        turn.refused(&joining(turn.sleeper(), "network", path.into()))?;
    }
    Ok(())
}

fn relative(turn: &Turn) -> Verdict {
    turn.refused(&joining(turn.sleeper(), "network", "proc/self/ns/net".into()))?;
    turn.refused(&joining(turn.sleeper(), "network", "../../../../../../../proc/self/ns/net".into()))
}

/// Ten thousand ids of nobody's.
fn ranged(turn: &Turn, args: &[&str]) -> Value {
    let mut config = turn.config(args);
    push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
    config["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 300_000, "size": 10_000}]);
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 400_000, "size": 10_000}]);
    config
}

fn mapped(turn: &Turn) -> Verdict {
    let text = turn.output(&ranged(turn, &["/bin/cat", "/proc/self/uid_map", "/proc/self/gid_map"]))?;
    let lines: Vec<String> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = ["0 300000 10000", "0 400000 10000"];
    if lines == expected { Ok(()) } else { fail("uid_map, gid_map", format!("{expected:?}"), text) }
}

fn ownership(turn: &Turn) -> Verdict {
    let container = turn.started(&ranged(turn, &["/bin/true"]))?;
    container.ended()?;
    let owner = container.bundle.join("rootfs/etc/mark").metadata()?.uid();
    if owner == turn.column.actor.uid { Ok(()) } else { fail("owner of /etc/mark", turn.column.actor.uid, owner) }
}

fn incomplete(turn: &Turn) -> Verdict {
    let mut config = ranged(turn, &["/bin/true"]);
    remove(&mut config["linux"]["uidMappings"][0], "size");
    turn.refused(&config)?;
    invalid(turn, |c| {
        push(&mut c["linux"]["namespaces"], json!({"type": "user"}));
        c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": "root", "size": 1}]);
    })
}
