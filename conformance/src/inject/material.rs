//! What the launches ask for: a script, a bundle that has a bit of everything, policies, and the files that these speak of.

use super::asked;
use super::course::Course;
use super::outlet::Outlet;
use super::testimony;
use super::tracer::End;
use crate::mounted::Mounted;
use crate::oci::bundle;
use crate::oci::console::Socket;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Before and after its testimony: a payload that only SIGTERM ends, PID 1 or not, and that is not well then.
const LIVES_ON: (&str, &str) = ("trap 'exit 143' TERM\n", "sleep 1000 & wait");

/// The same where what a command leaves running goes on after it.
const ENDS: (&str, &str) = ("", "exec sleep 1000");

/// Before the testimony of a payload whose output nobody reads.
const ASIDE: &str = "exec >/trace/said\n";

/// Around the testimony of a payload whose output is relayed: each turn of the relay is like the one before, so a few of them are enough
/// to be struck at, and not one for each line.
const AT_ONCE: (&str, &str) = ("echo testimony\n{\n", "} >/tmp/said\ncat /tmp/said\n");

/// What the payload of a bundle tries to read and write.
const TRIED: &str = "/etc/mark /etc/hidden /etc/fixed /tmp/in/ro/file /trace/file /tmp/file /proc/interrupts \
                     /proc/irq/default_smp_affinity /proc/sys/kernel/domainname /etc/unlisted";

/// What the payload of a policy tries.
pub const TRIED_BY_POLICY: &str = "secret plain ../trace/file .git/config .codex/config.toml /etc/passwd";

/// What is in the workspace of a policy, before and after.
pub const WORKSPACE: [&str; 3] = [".git", "plain", "secret"];

/// The payload's script.
pub fn script(course: Course, end: End) -> String {
    let (first, last) = match end {
        End::Payload => ("", ""),
        End::Term if course == Course::Alone => ENDS,
        End::Term => LIVES_ON,
    };
    match course {
        // The terminal's master is nobody's here.
        Course::CreateTerminal => [ASIDE, testimony::SCRIPT].concat(),
        Course::RunTerminal | Course::ExecTerminal => [first, AT_ONCE.0, testimony::SCRIPT, AT_ONCE.1, last].concat(),
        _ => [first, testimony::SCRIPT, last].concat(),
    }
}

/// The directories of the host's that a course opens, and its policy.
pub fn workspace(turn: &Turn, course: Course, granted: &Socket) -> Result<Mounted, No> {
    let peer = peer(&turn.dir.join("ro"))?;
    for (file, text) in [("ro/file", "fixed\n"), ("trace/file", "open\n")] {
        fs::write(turn.dir.join(file), text)?;
    }
    let dir = turn.dir.join("workspace");
    fs::create_dir_all(dir.join(".git"))?;
    for (name, text) in [(".git/config", "[core]\n"), ("plain", "plain\n"), ("secret", "secret\n")] {
        fs::write(dir.join(name), text)?;
    }
    let choices = match course {
        Course::Alone => json!({"isolation": "landlock", "accept_loss": ["processes", "attributes", "metadata", "carve-outs"]}),
        Course::Outlet => json!({}),
        _ => json!({"unix_sockets": [granted.path]}),
    };
    let special = |kind: &str, access: &str| json!({"path": {"type": "special", "value": {"kind": kind}}, "access": access});
    let policy = json!({"type": "managed", "network": "restricted", "file_system": {"type": "restricted", "entries": [
        special("root", "read"),
        special("project_roots", "write"),
        {"path": {"type": "path", "path": dir.join("secret")}, "access": "deny"},
    ]}, "codexrun": choices});
    fs::write(turn.dir.join("policy.json"), policy.to_string())?;
    Ok(peer)
}

/// A mount of the host's that its copies share, as most of a host's are; in the column's namespace all others are private.
fn peer(at: &Path) -> Result<Mounted, No> {
    let peer = Mounted::tmpfs("peer", at, MsFlags::empty(), None)?;
    peer.change(MsFlags::MS_SHARED)?;
    Ok(peer)
}

/// The connections that the payload of a policy asks for: of the broker one that it makes and one that it refuses, or what goes by the bridge.
pub fn connections(turn: &Turn, sockets: [&Socket; 2], outlet: Option<&Outlet>) -> Verdict {
    let [granted, shut] = sockets.map(|socket| socket.path.display());
    let of_broker = || format!("granted\tunix-connect\t{granted}\nshut\tunix-connect\t{shut}\n");
    fs::write(turn.dir.join("asks"), outlet.map_or_else(of_broker, Outlet::asks) + &asked::questions())?;
    Ok(())
}

/// A configuration that has a bit of everything: hooks, masks, read-only paths, binds, seccomp, limits, a cgroup.
pub fn everything(turn: &Turn) -> Value {
    let mut config = turn.traced("");
    config["process"]["noNewPrivileges"] = json!(true);
    config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 123}]);
    config["process"]["oomScoreAdj"] = json!(500);
    config["process"]["user"]["umask"] = json!(0o27);
    let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=1m"]});
    bundle::push(&mut config["mounts"], tmp);
    // Where no umask has a say in the directory that has to be made for it.
    let (ro, options) = (turn.dir.join("ro"), ["rbind", "ro", "nosuid"]);
    bundle::push(&mut config["mounts"], json!({"destination": "/tmp/in/ro", "type": "bind", "source": ro, "options": options}));
    config["hooks"] = late(turn);
    let linux = &mut config["linux"];
    linux["maskedPaths"] = json!(["/etc/hidden", "/proc/interrupts", "/proc/irq"]);
    linux["readonlyPaths"] = json!(["/etc/fixed", "/proc/sys"]);
    linux["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {"names": ["kexec_load"], "action": "SCMP_ACT_NOTIFY"}]});
    bundle::push(&mut linux["namespaces"], json!({"type": "cgroup"}));
    bundle::push(&mut linux["namespaces"], json!({"type": "network"}));
    if turn.column.actor.is_root() {
        linux["resources"] = json!({"pids": {"limit": 50}, "memory": {"limit": 67_108_864}, "cpu": {"shares": 512}});
    }
    asked::add(&mut config, TRIED, &turn.trace(asked::HOOKS), turn.column.actor.is_root());
    config
}

/// A bundle that codexrun makes of the policy, with late hooks, and asked what a sandbox of it is asked.
pub fn compiled(turn: &Turn, course: Course, script: &str) -> Result<PathBuf, No> {
    turn.column.actor.own(&turn.dir)?;
    let dir = turn.dir.join(format!("bundle-{}", turn.fresh()));
    let [policy, cwd, asks] = ["policy.json", "workspace", "asks"].map(|name| turn.dir.join(name).display().to_string());
    let stays = ["/bin/sleep", "1000"];
    let said = ["/bin/sh", "-c", script];
    let args = if course.joins() || course.deletes() { &stays[..] } else { &said };
    let words = ["spec", "--from-policy", &policy, "--cwd", &cwd, "--bundle", &dir.display().to_string(), "--"];
    turn.succeeds(&[&words, args].concat())?;
    let file = dir.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file)?).map_err(std::io::Error::from)?;
    let probe = turn.column.runtime.path.with_file_name("probe").display().to_string();
    for variable in [format!("TRIED={TRIED_BY_POLICY}"), format!("ASKS={probe} {asks}")] {
        bundle::push(&mut config["process"]["env"], json!(variable));
    }
    config["hooks"] = late(turn);
    fs::write(&file, config.to_string())?;
    Ok(dir)
}

/// The hooks that come when a payload has begun and when it is gone; each leaves a mark.
fn late(turn: &Turn) -> Value {
    let hook = |name: &str| {
        let script = format!("echo {name} >>{}", turn.trace(name).display());
        json!([{"path": bundle::BUSYBOX, "args": ["busybox", "sh", "-c", script]}])
    };
    let [starts, stops] = asked::LATE;
    json!({starts: hook(starts), stops: hook(stops)})
}

/// Without a mount namespace: what is covered there must lie where no name can be changed.
pub fn here(config: &mut Value, turn: &Turn) {
    asked::here(config, &turn.trace(asked::HOOKS));
    bundle::without_namespace(config, "mount");
    config["linux"]["maskedPaths"] = json!(["/proc/interrupts", "/proc/irq"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
}

/// The files that [`everything`] masks and fixes, in a bundle's root file system.
pub fn furnish(rootfs: &Path) -> Verdict {
    for name in ["hidden", "fixed"] {
        fs::write(rootfs.join("etc").join(name), "text\n")?;
    }
    // Not as a tmpfs is by itself.
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o777))?;
    // FUSE's, which a container may not open that does not ask for it.
    let (all, node) = (Mode::from_bits_truncate(0o666), rootfs.join("etc/unlisted"));
    mknod(&node, SFlag::S_IFCHR, all, makedev(10, 229)).map_err(std::io::Error::from)?;
    fs::set_permissions(node, fs::Permissions::from_mode(0o666))?;
    Ok(())
}
