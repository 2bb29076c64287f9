//! The fields of config.json, seen from inside: a busybox bundle is run by codexrun and, where they know the field, by runc and
//! crun, which must show the same.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const APPLETS: &[&str] = &[
    "sh", "cat", "ls", "stat", "readlink", "hostname", "id", "mount", "grep", "echo", "test", "touch", "ip", "ps", "sleep",
    "true", "head", "mkdir", "dmesg", "awk", "uname", "sort", "tr", "nice", "cut", "umount",
];

/// A bundle with a busybox in it.
struct Bundle {
    dir: TempDir,
    config: Value,
}

impl Bundle {
    fn new(script: &str) -> Bundle {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        for name in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        APPLETS.iter().for_each(|name| symlink("busybox", root.join("bin").join(name)).unwrap());
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let config = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", script], "cwd": "/",
                "env": ["PATH=/bin"], "noNewPrivileges": true,
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            ],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}]},
        });
        Bundle { dir, config }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    /// Puts a value at a JSON pointer; `-` adds to an array.
    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match self.config.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}")) {
            Value::Object(object) => drop(object.insert(name.to_owned(), value)),
            Value::Array(list) if name == "-" => list.push(value),
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
            other => panic!("{pointer}: {other}"),
        }
        self
    }

    fn mount(self, mount: Value) -> Self {
        self.with("/mounts/-", mount)
    }

    /// The namespaces of these kinds are joined at these paths.
    fn joining(self, paths: &[(&str, &Path)]) -> Self {
        let list = self.config["linux"]["namespaces"].as_array().unwrap().clone();
        let rest = list.into_iter().filter(|n| !paths.iter().any(|(kind, _)| n["type"] == *kind));
        let joined = paths.iter().map(|(kind, path)| json!({"type": kind, "path": path}));
        let all: Vec<Value> = rest.chain(joined).collect();
        self.with("/linux/namespaces", all.into())
    }

    fn write(&self) {
        fs::write(self.dir.path().join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }

    fn command(&self, runtime: &str) -> Command {
        self.write();
        let state = self.dir.path().join(format!("state-{runtime}"));
        fs::create_dir_all(&state).unwrap();
        let id =
            format!("f{}-{}", std::process::id(), self.dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.'));
        let program = if runtime == "codexrun" { env!("CARGO_BIN_EXE_codexrun") } else { runtime };
        let mut command = Command::new("unshare");
        // crun refuses a hybrid cgroup host; in a mount namespace of its own it sees none.
        let view = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
        match runtime {
            "crun" => drop(command.args(["-m", "sh", "-c", view, "sh", program])),
            _ => command = Command::new(program),
        }
        command.arg("--root").arg(state).args(["run", "--bundle"]).arg(self.dir.path()).arg(id).stdin(Stdio::null());
        command
    }

    fn run(&self, runtime: &str) -> Said {
        Said::of(&self.command(runtime).output().unwrap())
    }

    /// What codexrun's container says, and runc's and crun's too, where they are there and can.
    fn says(&self, wanted: &str) {
        self.says_as(wanted, &["runc", "crun"]);
    }

    fn says_as(&self, wanted: &str, referees: &[&str]) {
        let said = self.run("codexrun");
        assert_eq!((said.code, said.out.as_str()), (0, wanted), "{}", said.err);
        for referee in referees {
            if !has(referee) {
                eprintln!("skipped: no {referee} here");
                continue;
            }
            let said = self.run(referee);
            assert_eq!((said.code, said.out.as_str()), (0, wanted), "{referee}: {}", said.err);
        }
    }

    fn refused(&self, about: &str) {
        let said = self.run("codexrun");
        assert!(said.code != 0 && said.err.contains(about), "{}: {}{}", said.code, said.out, said.err);
    }
}

/// How a run ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Whether these tests can do anything here.
fn root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0 && Path::new("/bin/busybox").exists();
    if !root {
        eprintln!("skipped: needs root and a static /bin/busybox");
    }
    root
}

/// A process in namespaces of its own, for others to join; it ends with this value.
struct Holder(Child);

impl Holder {
    fn new(flags: &[&str]) -> Holder {
        let mut command = Command::new("unshare");
        let child = command.args(flags).args(["sh", "-c", "echo; exec sleep 1000"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut holder = Holder(child);
        let mut byte = [0];
        std::io::Read::read_exact(holder.0.stdout.as_mut().unwrap(), &mut byte).unwrap();
        holder
    }

    fn path(&self, kind: &str) -> PathBuf {
        // With `unshare --fork` the child is what is inside.
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let pid = children.split_whitespace().next().map_or(pid.to_string(), str::to_owned);
        format!("/proc/{pid}/ns/{kind}").into()
    }

    fn link(&self, kind: &str) -> String {
        fs::read_link(self.path(kind)).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|c| c.parse().ok()) {
            nix_kill(child);
        }
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn nix_kill(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
}

mod namespaces {
    use super::*;

    #[test]
    fn every_kind_can_be_joined() {
        if !root() {
            return;
        }
        let holder = Holder::new(&["--net", "--ipc", "--uts", "--cgroup"]);
        let kinds = [("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
        let paths: Vec<_> = kinds.iter().map(|(kind, name)| (*kind, holder.path(name))).collect();
        let paths: Vec<_> = paths.iter().map(|(kind, path)| (*kind, path.as_path())).collect();
        let wanted: String = kinds.iter().map(|(_, name)| holder.link(name) + "\n").collect();
        let script = "for n in net ipc uts; do readlink /proc/self/ns/$n; done";
        Bundle::new(script).joining(&paths).says(&wanted);
        let cgroup = holder.path("cgroup");
        let bundle = Bundle::new("readlink /proc/self/ns/cgroup").joining(&[("cgroup", &cgroup)]);
        bundle.says_as(&format!("{}\n", holder.link("cgroup")), &[]);
    }

    #[test]
    fn a_joined_pid_namespace_shows_its_processes_and_our_child_is_the_payload() {
        if !root() {
            return;
        }
        let holder = Holder::new(&["--pid", "--fork", "--mount-proc"]);
        let path = holder.path("pid");
        let script = "readlink /proc/self/ns/pid; test $$ != 1 && ps -o pid,args | grep -c '^ *1 sleep'; exit 7";
        let bundle = Bundle::new(script).joining(&[("pid", &path)]);
        for runtime in ["codexrun", "runc", "crun"] {
            let said = bundle.run(runtime);
            assert_eq!((said.code, said.out), (7, format!("{}\n1\n", holder.link("pid"))), "{runtime}: {}", said.err);
        }
    }

    #[test]
    fn a_joined_user_namespace_gives_its_ids() {
        if !root() {
            return;
        }
        let holder = Holder::new(&["--user", "--map-root-user", "--net", "--ipc", "--uts"]);
        let (user, net) = (holder.path("user"), holder.path("net"));
        let script =
            "readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; cat /proc/self/uid_map | awk '{print $1, $3}'";
        let wanted = format!("{}\n{}\n0\n0 1\n", holder.link("user"), holder.link("net"));
        let bundle = Bundle::new(script).joining(&[("user", &user), ("network", &net)]);
        bundle.says_as(&wanted, &["crun"]);
    }

    #[test]
    fn a_network_of_the_host_is_joined_before_a_new_user_namespace() {
        if !root() {
            return;
        }
        let holder = Holder::new(&["--net"]);
        let path = holder.path("net");
        let map = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
        let bundle = Bundle::new("readlink /proc/self/ns/net; id -u").joining(&[("network", &path)]);
        let bundle = bundle.with("/linux/namespaces/-", json!({"type": "user"}));
        let bundle = bundle.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map);
        bundle.says_as(&format!("{}\n0\n", holder.link("net")), &[]);
    }

    #[test]
    fn a_joined_mount_namespace_becomes_the_containers() {
        if !root() {
            return;
        }
        let holder = Holder::new(&["--mount"]);
        let path = holder.path("mnt");
        let bundle = Bundle::new("readlink /proc/self/ns/mnt; ls /bin/busybox").joining(&[("mount", &path)]);
        bundle.says_as(&format!("{}\n/bin/busybox\n", holder.link("mnt")), &[]);
    }

    #[test]
    fn what_is_no_namespace_of_that_kind_is_refused() {
        if !root() {
            return;
        }
        let join = |path: &str| Bundle::new("true").joining(&[("network", Path::new(path))]);
        join("/etc/passwd").refused("linux.namespaces[4].path: `/etc/passwd` is not a network namespace");
        join("/proc/self/ns/uts").refused("`/proc/self/ns/uts` is not a network namespace, but a uts namespace");
        join("/nowhere").refused("cannot open the namespace `/nowhere`: ENOENT");
    }

    #[test]
    fn lo_is_left_alone_in_a_network_that_is_joined() {
        if !root() {
            return;
        }
        let holder = Holder::new(&["--net"]);
        let path = holder.path("net");
        Bundle::new("ip link show lo | grep -c LOOPBACK,UP").says_as("1\n", &["runc", "crun"]);
        let joined = Bundle::new("ip link show lo | grep -c LOOPBACK,UP || true").joining(&[("network", &path)]);
        joined.says("0\n");
    }

    #[test]
    fn clocks_are_ahead() {
        if !root() {
            return;
        }
        let offsets = json!({"boottime": {"secs": 1_000_000, "nanosecs": 5}, "monotonic": {"secs": 2_000_000}});
        let script = "cat /proc/self/timens_offsets | tr -s ' ' ; test $(cut -d. -f1 /proc/uptime) -ge 1000000 && echo ahead";
        let bundle = Bundle::new(script).with("/linux/namespaces/-", json!({"type": "time"}));
        let said = bundle.with("/linux/timeOffsets", offsets).run("codexrun");
        assert_eq!((said.code, said.out.as_str()), (0, "monotonic 2000000 0\nboottime 1000000 5\nahead\n"), "{}", said.err);
    }
}

mod sysctl {
    use super::*;

    #[test]
    fn kernel_parameters_of_the_containers_namespaces_are_set_and_the_hosts_are_not() {
        if !root() {
            return;
        }
        let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        let keys =
            json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "999", "fs.mqueue.msg_max": "77", "kernel.domainname": "d"});
        let script = "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmni fs/mqueue/msg_max kernel/domainname";
        Bundle::new(script).with("/linux/sysctl", keys).says_as("1\n999\n77\nd\n", &["runc"]);
        let slashes = json!({"net/ipv4/conf/lo/forwarding": "0"});
        Bundle::new("cat /proc/sys/net/ipv4/conf/lo/forwarding").with("/linux/sysctl", slashes).says_as("0\n", &[]);
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before);
    }

    #[test]
    fn the_hosts_network_by_path_is_refused() {
        if !root() {
            return;
        }
        let bundle = Bundle::new("true").joining(&[("network", Path::new("/proc/self/ns/net"))]);
        bundle.with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})).refused("which `linux.sysctl` must not change");
    }
}

mod devices {
    use super::*;

    fn devices() -> Value {
        json!([
            {"path": "/dev/fuse9", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
            {"path": "/dev/loop/9", "type": "b", "major": 7, "minor": 9},
            {"path": "/dev/pipe", "type": "p", "major": 0, "minor": 0, "fileMode": 0o600},
            {"path": "/dev/full", "type": "c", "major": 1, "minor": 7, "fileMode": 0o600},
        ])
    }

    #[test]
    fn nodes_have_their_number_mode_and_owner() {
        if !root() {
            return;
        }
        let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' fuse9 loop/9 pipe full zero";
        let wanted = "fuse9 character special file a:e5 640 3:4\nloop/9 block special file 7:9 666 0:0\npipe fifo 0:0 600 0:0\n\
                      full character special file 1:7 600 0:0\nzero character special file 1:5 666 0:0\n";
        Bundle::new(script).with("/linux/devices", devices()).says_as(wanted, &["runc"]);
    }

    #[test]
    fn a_link_of_the_image_does_not_lead_a_node_out() {
        if !root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let bundle = Bundle::new("ls /lib/x /lib2/x").with(
            "/linux/devices",
            json!([
                {"path": "/lib/x/n", "type": "c", "major": 1, "minor": 3},
                {"path": "/lib2/x/n", "type": "c", "major": 1, "minor": 3},
            ]),
        );
        symlink(outside.path(), bundle.root().join("lib")).unwrap();
        symlink("../../../../../../../../../../tmp/escaped", bundle.root().join("lib2")).unwrap();
        let said = bundle.run("codexrun");
        assert_eq!((said.code, said.out.as_str()), (0, "/lib/x:\nn\n\n/lib2/x:\nn\n"), "{}", said.err);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(!Path::new("/tmp/escaped").exists() && bundle.root().join("tmp/escaped/x/n").exists());
    }

    #[test]
    fn another_device_in_its_place_is_refused() {
        if !root() {
            return;
        }
        let node = json!([{"path": "/etc/n", "type": "c", "major": 1, "minor": 3}]);
        let bundle = Bundle::new("stat -c %t:%T /etc/n").with("/linux/devices", node);
        let mknod =
            |minor: &str| Command::new("mknod").arg(bundle.root().join("etc/n")).args(["c", "1", minor]).status().unwrap();
        mknod("3");
        bundle.says_as("1:3\n", &["runc"]);
        fs::remove_file(bundle.root().join("etc/n")).unwrap();
        mknod("5");
        bundle.refused("linux.devices[0]: cannot mknod /etc/n c 1:3 0666 0:0: EEXIST");
    }

    #[test]
    fn in_a_user_namespace_the_hosts_nodes_are_bound() {
        if !root() {
            return;
        }
        let map = json!([{"containerID": 0, "hostID": 100000, "size": 65536}]);
        let node = |minor| json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": minor}]);
        let bundle = |minor| {
            let bundle = Bundle::new("stat -c %t:%T /dev/zero; head -c 3 /dev/zero | tr '\\0' x");
            let bundle = bundle.with("/linux/namespaces/-", json!({"type": "user"})).with("/linux/devices", node(minor));
            bundle.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map.clone())
        };
        let said = bundle(5).run("codexrun");
        assert_eq!((said.code, said.out.as_str()), (0, "1:5\nxxx"), "{}", said.err);
        bundle(7).refused("linux.devices[0]: cannot bind /dev/zero → /dev/zero: ENODEV");
    }

    #[test]
    fn a_dev_of_the_hosts_is_left_alone() {
        if !root() {
            return;
        }
        // runc wants to find this one in any case.
        let host = tempfile::tempdir().unwrap();
        let null = host.path().join("null");
        assert!(Command::new("mknod").arg(null).args(["c", "1", "3"]).status().unwrap().success());
        let bundle = Bundle::new("ls /dev").with("/linux/devices", devices());
        let bind = json!({"destination": "/dev/", "type": "bind", "source": host.path(), "options": ["rbind"]});
        bundle.with("/mounts/1", bind).says_as("null\n", &["runc"]);
    }
}

mod capabilities {
    use super::*;

    #[test]
    fn what_runc_spec_writes_runs_and_grants_no_more() {
        if !root() {
            return;
        }
        let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
        let sets = json!({"bounding": caps, "effective": caps, "permitted": caps, "ambient": caps});
        let bundle = Bundle::new("grep ^Cap /proc/self/status | tr '\\t' ' '").with("/process/capabilities", sets);
        let (some, none) = ("0000000020000420", "0000000000000000");
        let wanted = format!("CapInh: {none}\nCapPrm: {some}\nCapEff: {some}\nCapBnd: {some}\nCapAmb: {none}\n");
        bundle.says_as(&wanted, &["runc"]);
        assert!(bundle.run("codexrun").err.contains("capabilities.ambient: "));
    }

    #[test]
    fn an_unknown_name_is_refused() {
        if !root() {
            return;
        }
        let bundle = Bundle::new("true").with("/process/capabilities", json!({"bounding": ["CAP_FLY"]}));
        bundle.refused("CAP_FLY");
    }
}

mod mounts {
    use super::*;

    #[test]
    fn missing_targets_are_made_inside_whatever_links_lie_there() {
        if !root() {
            return;
        }
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("file");
        fs::write(&file, "content\n").unwrap();
        let bind = |at: &str| json!({"destination": at, "type": "bind", "source": file, "options": ["bind", "ro"]});
        let bundle = Bundle::new("cat /a/b/c /etc/resolv.conf /out/x /run/stub");
        symlink("../run/stub", bundle.root().join("etc/resolv.conf")).unwrap();
        symlink(outside.path(), bundle.root().join("out")).unwrap();
        let bundle = bundle.mount(bind("/a/b/c")).mount(bind("/etc/resolv.conf")).mount(bind("/out/x"));
        bundle.says_as(&"content\n".repeat(4), &["runc"]);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "something was made outside of the root");
    }
}

mod users {
    use super::*;

    #[test]
    fn an_ordinary_user_joins_what_is_its_own() {
        if !root() {
            return;
        }
        let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        let bundle = Bundle::new("id -u; readlink /proc/self/ns/net").with("/linux/namespaces/-", json!({"type": "user"}));
        let bundle = bundle.with("/linux/uidMappings", map(1001)).with("/linux/gidMappings", map(1001));
        let Some(said) = ordinary(&bundle, "codexrun") else { return eprintln!("skipped: no user codexrun-test") };
        assert!(said.code == 0 && said.out.starts_with("0\nnet:"), "{}{}", said.out, said.err);
        let path = PathBuf::from("/proc/1/ns/net");
        let said = ordinary(&bundle.joining(&[("network", &path)]), "codexrun").unwrap();
        assert!(said.err.contains("cannot open the namespace `/proc/1/ns/net`: EACCES"), "{}", said.err);
    }
}

/// Runs as the ordinary user `codexrun-test`.
fn ordinary(bundle: &Bundle, runtime: &str) -> Option<Said> {
    let uid = fs::read_to_string("/etc/passwd").unwrap();
    let uid: u32 = uid.lines().find(|l| l.starts_with("codexrun-test:"))?.split(':').nth(2)?.parse().ok()?;
    let mut command = bundle.command(runtime);
    let given = Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(bundle.dir.path()).status();
    assert!(given.unwrap().success());
    Some(Said::of(&command.uid(uid).gid(uid).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap()))
}
