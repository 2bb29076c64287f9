//! The fields of config.json, seen from inside: a busybox bundle is run by codexrun and, where they know the field, by runc and
//! crun, which must show the same.

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

const APPLETS: &[&str] = &[
    "sh", "cat", "ls", "stat", "readlink", "hostname", "id", "mount", "grep", "echo", "test", "touch", "ip", "ps", "sleep",
    "true", "head", "mkdir", "ionice", "awk", "uname", "sort", "wc", "tr", "nice", "cut", "umount",
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
        for path in [dir.path(), &root.join("bin/busybox")] {
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
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

    /// In a user namespace of so many ids, whose first is the host's 100000.
    fn remapped(self, ids: u32) -> Self {
        let map = json!([{"containerID": 0, "hostID": 100000, "size": ids}]);
        let bundle = self.with("/linux/namespaces/-", json!({"type": "user"}));
        bundle.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map)
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
        Holder::of(Command::new("unshare"), flags)
    }

    fn of(mut command: Command, flags: &[&str]) -> Holder {
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
        // What podman writes beside the path; the namespace's own maps are what counts.
        let dummy = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        let bundle = bundle.with("/process/oomScoreAdj", json!(500));
        let bundle = bundle.with("/linux/uidMappings", dummy.clone()).with("/linux/gidMappings", dummy);
        bundle.says_as(&wanted, &["crun"]);
        assert!(bundle.run("codexrun").err.contains("linux.uidMappings has no effect"));
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
        let clocks = || {
            let bundle = Bundle::new(script).with("/linux/namespaces/-", json!({"type": "time"}));
            bundle.with("/linux/timeOffsets", offsets.clone())
        };
        clocks().says_as("monotonic 2000000 0\nboottime 1000000 5\nahead\n", &[]);
        // Whose root is nobody on the host that /proc knows.
        let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let mapped = clocks().with("/linux/namespaces/-", json!({"type": "user"})).with("/linux/uidMappings", ids.clone());
        mapped.with("/linux/gidMappings", ids).says_as("monotonic 2000000 0\nboottime 1000000 5\nahead\n", &[]);
    }
}

mod network_devices {
    use super::*;

    /// Runs codexrun in a network namespace that has a pair of devices, one of them with addresses, and then `after`.
    fn with_devices(bundle: &Bundle, after: &str) -> Said {
        let inner = bundle.command("codexrun");
        let script = format!(
            "ip link add v0 type veth peer name v1 && ip addr add 10.9.8.7/24 dev v0 && ip -6 addr add fd00::7/64 dev v0 nodad && \
             ip link set v0 up && ip link set v1 up && \"$@\"; code=$?; {after}; exit $code"
        );
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
        Said::of(&command.output().unwrap())
    }

    fn can() -> bool {
        let made = Command::new("unshare").args(["-n", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]).output();
        let can = root() && made.is_ok_and(|output| output.status.success());
        if !can {
            eprintln!("skipped: no veth devices here");
        }
        can
    }

    #[test]
    fn a_device_is_moved_renamed_and_up_and_keeps_its_addresses() {
        if !can() {
            return;
        }
        let script = "ip -o addr show | awk '{print $2, $4}' | grep -v -e ^lo -e fe80; ip link show eth7 | grep -c ,UP";
        let bundle = Bundle::new(script).with("/linux/netDevices", json!({"v0": {"name": "eth7"}}));
        let said = with_devices(&bundle, "ip -o link | grep -c v0:");
        assert_eq!((said.code, said.out.as_str()), (0, "eth7 10.9.8.7/24\neth7 fd00::7/64\n1\n0\n"), "{}", said.err);
        let bundle = Bundle::new("ip -o link | awk '{print $2}' | grep net | cut -d@ -f1")
            .with("/linux/netDevices", json!({"v0": {"name": "net%d"}}));
        let said = with_devices(&bundle, "true");
        assert_eq!((said.code, said.out.as_str()), (0, "net0\n"), "{}", said.err);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let bundle = Bundle::new("ip -o addr show v0 | grep -c 10.9.8.7").with("/linux/netDevices", json!({"v0": {}}));
        let bundle = bundle.with("/linux/namespaces/-", json!({"type": "user"})).with("/linux/uidMappings", map.clone());
        let said = with_devices(&bundle.with("/linux/gidMappings", map), "true");
        assert_eq!((said.code, said.out.as_str()), (0, "1\n"), "{}", said.err);
    }

    /// Its device, address and state, as [`with_devices`] made them.
    const AS_IT_WAS: &str = "ip -o addr show v0 | grep -c -e 10.9.8.7/24 -e fd00::7/64; ip link show v0 | grep -c ,UP";

    #[test]
    fn the_host_has_its_devices_back_when_there_is_no_container() {
        if !can() {
            return;
        }
        let moved = |devices: Value| Bundle::new("true").with("/linux/netDevices", devices);
        let missing = moved(json!({"v0": {"name": "eth%d"}})).with("/process/args", json!(["no-such-program"]));
        let hook = json!({"createContainer": [{"path": "/bin/false"}]});
        let cases = [
            ("there is no network device of this name", moved(json!({"v0": {}, "zz": {}}))),
            ("is in the container already", moved(json!({"v0": {"name": "eth0"}, "v1": {"name": "lo"}}))),
            ("executable file not found", missing),
            ("the hook `/bin/false` failed", moved(json!({"v0": {}})).with("/hooks", hook)),
        ];
        for (why, bundle) in cases {
            let said = with_devices(&bundle, AS_IT_WAS);
            assert!(said.code != 0 && said.err.contains(why), "{why}: {}", said.err);
            assert_eq!(said.out, "2\n1\n", "{why}: {}", said.err);
        }
    }

    #[test]
    fn what_cannot_be_moved_is_named_and_stays() {
        if !can() {
            return;
        }
        let bundle = |devices| Bundle::new("true").with("/linux/netDevices", devices);
        let said = with_devices(&bundle(json!({"nosuch": {}})), "true");
        assert!(said.code == 1 && said.err.contains("linux.netDevices[nosuch]: cannot move network device"), "{}", said.err);
        let said = with_devices(&bundle(json!({"v0": {"name": "lo"}})), "ip -o addr show v0 | grep -c 10.9.8.7");
        assert!(
            said.code == 1 && said.out == "1\n" && said.err.contains("is in the container already"),
            "{}{}",
            said.out,
            said.err
        );
        let own = bundle(json!({"v0": {"name": "r0"}})).joining(&[("network", Path::new("/proc/self/ns/net"))]);
        let said = with_devices(&own, "ip -o addr show v0 | grep -c 10.9.8.7");
        assert!(said.out == "1\n" && said.err.contains("which `linux.netDevices` must not change"), "{}{}", said.out, said.err);
        let namespaces = json!([{"type": "mount"}, {"type": "pid"}]);
        bundle(json!({"v0": {}})).with("/linux/namespaces", namespaces).refused("linux.netDevices: needs a network namespace");
    }
}

mod read_only {
    use super::*;

    fn tmpfs(destination: &str, options: &[&str]) -> Value {
        json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
    }

    #[test]
    fn what_is_mounted_and_made_in_a_read_only_tmpfs_is_there() {
        if !root() {
            return;
        }
        let script = "ls -d /dev/null /dev/pts/ptmx /dev/shm/; touch /dev/x 2>/dev/null || echo no; touch /dev/shm/x && echo yes";
        let dev = || {
            let pts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance"]});
            Bundle::new(script).with("/mounts/1", tmpfs("/dev", &["ro", "mode=755"])).mount(pts).mount(tmpfs("/dev/shm", &[]))
        };
        dev().says("/dev/null\n/dev/pts/ptmx\n/dev/shm/\nno\nyes\n");
        let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let mapped = dev().with("/linux/namespaces/-", json!({"type": "user"})).with("/linux/uidMappings", ids.clone());
        mapped.with("/linux/gidMappings", ids).says_as("/dev/null\n/dev/pts/ptmx\n/dev/shm/\nno\nyes\n", &[]);
        let script = "touch /tmp/x /tmp/later 2>/dev/null || echo no; touch /tmp/a/b/x && echo yes; stat -c %a /tmp/node";
        let node = json!([{"path": "/tmp/node", "type": "p", "fileMode": 0o622}]);
        let nested = Bundle::new(script).mount(tmpfs("/tmp", &["rro"])).mount(tmpfs("tmp/a/b", &[]));
        nested.with("/linux/devices", node).says_as("no\nyes\n622\n", &[]);
        let covered = Bundle::new("touch /tmp/x && echo yes").mount(tmpfs("/tmp", &["ro"])).mount(tmpfs("/tmp", &[]));
        covered.says_as("yes\n", &[]);
    }

    #[test]
    fn the_root_is_so_with_all_below_by_a_path_too() {
        if !root() {
            return;
        }
        let script = "touch /x 2>/dev/null || echo no; touch /tmp/x 2>/dev/null || echo no; echo x > /dev/null && echo yes";
        Bundle::new(script).mount(tmpfs("/tmp", &[])).with("/linux/readonlyPaths", json!(["/"])).says_as("no\nno\nyes\n", &[]);
    }

    /// A disk of this content, read-only or not, as long as there is one to be had here.
    struct Disk(String, PathBuf);

    impl Disk {
        fn new(dir: &Path, readonly: bool) -> Option<Disk> {
            let image = dir.join("disk");
            fs::write(&image, vec![0; 8 << 20]).unwrap();
            let made = Command::new("mke2fs").args(["-q", "-t", "ext4"]).arg(&image).status();
            let flags: &[&str] = if readonly { &["-r", "-f", "--show"] } else { &["-f", "--show"] };
            let loops = Command::new("losetup").args(flags).arg(&image).output();
            match (made, loops) {
                (Ok(made), Ok(loops)) if made.success() && loops.status.success() => {
                    Some(Disk(String::from_utf8(loops.stdout).unwrap().trim().to_owned(), image))
                }
                _ => {
                    eprintln!("skipped: no ext4 on a loop device here");
                    None
                }
            }
        }

        fn mount(&self, options: &[&str]) -> Value {
            json!({"destination": "/tmp", "type": "ext4", "source": self.0, "options": options})
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            assert!(Command::new("losetup").args(["-d", &self.0]).status().unwrap().success());
        }
    }

    /// What the mount says of itself, and what its file system does.
    const BOTH: &str = "awk '$5 == \"/tmp\" { print substr($6, 1, 2), substr($NF, 1, 2) }' /proc/self/mountinfo";

    #[test]
    fn a_disk_is_not_written_to() {
        if !root() {
            return;
        }
        for (readonly, word) in [(false, "ro"), (false, "rro"), (true, "ro")] {
            let bundle = Bundle::new(BOTH);
            let Some(disk) = Disk::new(bundle.dir.path(), readonly) else { return };
            let before = fs::read(&disk.1).unwrap();
            let bundle = bundle.mount(disk.mount(&[word]));
            bundle.says_as("ro ro\n", &[]);
            assert!(before == fs::read(&disk.1).unwrap(), "{word}");
        }
    }

    #[test]
    fn a_remount_speaks_of_the_file_system_too() {
        if !root() {
            return;
        }
        for (first, then) in [("rw", "ro"), ("ro", "rw")] {
            let bundle = Bundle::new(BOTH);
            let Some(disk) = Disk::new(bundle.dir.path(), false) else { return };
            let bundle = bundle.mount(disk.mount(&[first])).mount(disk.mount(&["remount", then]));
            bundle.says_as(&format!("{then} {then}\n"), &[]);
        }
        let bundle =
            Bundle::new("touch /tmp/x && echo yes").mount(tmpfs("/tmp", &["ro"])).mount(tmpfs("/tmp", &["remount", "rw"]));
        bundle.says_as("yes\n", &[]);
    }
}

mod clearing {
    use super::*;

    const HAS: &str = "ro,noexec,nosuid,nodev,nodiratime,nosymfollow";
    const SEEN: &str = "grep ' /m ' /proc/self/mountinfo | cut -d ' ' -f 6";

    /// With a source of these options, which only this runtime sees.
    fn bound(bundle: Bundle, source: &Path, options: &[&str], uid: Option<u32>) -> Said {
        let bundle = bundle.mount(json!({"destination": "/m", "type": "bind", "source": source, "options": options}));
        let inner = bundle.command("codexrun");
        // In a user namespace of other ids it could not be made.
        fs::create_dir(bundle.root().join("m")).unwrap();
        let mount = format!("mount -t tmpfs -o {HAS} none {} && exec \"$@\"", source.display());
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &mount, "sh"]);
        if let Some(uid) = uid {
            assert!(Command::new("chown").arg("-R").arg(uid.to_string()).arg(bundle.dir.path()).status().unwrap().success());
            command.args(["setpriv", "--clear-groups", &format!("--reuid={uid}"), &format!("--regid={uid}")]);
        }
        Said::of(&command.arg(inner.get_program()).args(inner.get_args()).output().unwrap())
    }

    #[test]
    fn a_bind_loses_what_its_options_take_off_the_source() {
        if !root() {
            return;
        }
        let source = tempfile::tempdir().unwrap();
        for (options, want) in [
            (&["bind"][..], "ro,nosuid,nodev,noexec,nodiratime,relatime,nosymfollow\n"),
            (&["bind", "exec"], "ro,nosuid,nodev,nodiratime,relatime,nosymfollow\n"),
            (&["bind", "dev", "suid"], "ro,noexec,nodiratime,relatime,nosymfollow\n"),
            (&["rbind", "rw", "diratime", "symfollow"], "rw,nosuid,nodev,noexec,relatime\n"),
            (&["rbind", "rro", "rw", "exec"], "ro,nosuid,nodev,nodiratime,relatime,nosymfollow\n"),
        ] {
            let said = bound(Bundle::new(SEEN), source.path(), options, None);
            let sorted = |text: &str| {
                let mut words: Vec<_> = text.trim().split(',').map(str::to_owned).collect();
                words.sort();
                words
            };
            assert_eq!((said.code, sorted(&said.out)), (0, sorted(want)), "{options:?}: {}", said.err);
        }
    }

    /// A mount from outside keeps in a user namespace what it has.
    #[test]
    fn what_is_locked_is_refused_by_name_and_rw_is_told() {
        if !root() {
            return;
        }
        let source = tempfile::tempdir().unwrap();
        fs::set_permissions(source.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for uid in [None, test_user()] {
            let one = json!([{"containerID": 0, "hostID": uid.unwrap_or(100_000), "size": 1}]);
            let bundle = || {
                let bundle = Bundle::new(SEEN).with("/linux/namespaces/-", json!({"type": "user"}));
                bundle.with("/linux/uidMappings", one.clone()).with("/linux/gidMappings", one.clone())
            };
            let said = bound(bundle(), source.path(), &["bind", "exec"], uid);
            let why =
                "mounts[2].options: `exec` cannot be had: the source is `noexec`, which nobody in a user namespace may take off";
            assert!(said.code == 1 && said.err.contains(why), "{}{}", said.out, said.err);
            let said = bound(bundle(), source.path(), &["rbind", "rw"], uid);
            let told = "/config.json: mounts[2].options: `rw` has no effect: the source is `ro`";
            assert!(said.code == 0 && said.out.starts_with("ro,") && said.err.contains(told), "{}{}", said.out, said.err);
        }
    }
}

#[test]
fn a_user_namespace_has_limits_of_its_own() {
    if !root() {
        return;
    }
    let script = "cat /proc/sys/user/max_net_namespaces";
    let bundle = Bundle::new(script).remapped(5).with("/linux/sysctl", json!({"user.max_net_namespaces": "7"}));
    bundle.says_as("7\n", &[]);
    assert_ne!(fs::read_to_string("/proc/sys/user/max_net_namespaces").unwrap(), "7\n");
}

mod own_namespaces {
    use super::*;

    /// As whoever has only these namespaces to lose.
    fn apart(bundle: &Bundle, flags: &str, script: &str) -> String {
        let inner = bundle.command("codexrun");
        let mut command = Command::new("unshare");
        command.args([flags, "sh", "-c", &format!("\"$@\" 2>&1; {script}"), "sh"]);
        let said = Said::of(&command.arg(inner.get_program()).args(inner.get_args()).output().unwrap());
        said.out + &said.err
    }

    #[test]
    fn the_runtimes_own_host_name_is_not_changed() {
        if !root() {
            return;
        }
        let own = Path::new("/proc/self/ns/uts");
        for (field, look) in [("hostname", "hostname"), ("domainname", "cat /proc/sys/kernel/domainname")] {
            let bundle = Bundle::new("true").joining(&[("uts", own)]).with(&format!("/{field}"), json!("evil"));
            let said = apart(&bundle, "-u", look);
            assert!(said.contains(&format!("is the runtime's own namespace, which `{field}` must not change")), "{said}");
            assert!(!said.lines().any(|line| line == "evil"), "{said}");
        }
        Bundle::new("true").joining(&[("uts", own)]).says_as("", &[]);
    }

    #[test]
    fn a_fifo_is_no_namespace_and_is_not_waited_for() {
        let bundle = Bundle::new("true");
        let fifo = bundle.dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for kind in ["network", "mount", "uts"] {
            let bundle = Bundle::new("true").joining(&[(kind, &fifo)]);
            let inner = bundle.command("codexrun");
            let mut command = Command::new("timeout");
            command.args(["-s", "KILL", "20"]).arg(inner.get_program()).args(inner.get_args());
            let said = Said::of(&command.output().unwrap());
            assert!(said.code == 1 && said.err.contains(&format!("is not a {kind} namespace")), "{} {}", said.code, said.err);
        }
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

    /// More than a socket holds.
    #[test]
    fn nodes_that_cannot_all_be_received_are_refused_and_nobody_waits() {
        if !root() {
            return;
        }
        let node = |n: usize| json!({"path": format!("/dev/x/{n}"), "type": "c", "major": 1, "minor": 3});
        let bundle = Bundle::new("true").remapped(65536).with("/linux/devices", (0..600).map(node).collect());
        let inner = bundle.command("codexrun");
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "30", "sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"]);
        let said = Said::of(&command.arg(inner.get_program()).args(inner.get_args()).output().unwrap());
        assert!(said.code == 1 && said.err.contains("]: cannot mknod ") && said.err.contains(": EMFILE"), "{}", said.err);
    }

    #[test]
    fn in_a_user_namespace_nodes_are_made_outside_and_can_be_opened() {
        if !root() {
            return;
        }
        let mut devices = devices();
        devices.as_array_mut().unwrap().push(json!({"path": "/dev/a/z", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600}));
        let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' fuse9 loop/9 pipe full a/z; head -c 3 a/z | tr '\\0' x";
        let wanted = "fuse9 character special file a:e5 640 3:4\nloop/9 block special file 7:9 666 0:0\npipe fifo 0:0 600 0:0\n\
                      full character special file 1:7 600 0:0\na/z character special file 1:5 600 0:0\nxxx";
        let bundle = Bundle::new(script).remapped(65536).with("/linux/devices", devices);
        let left = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let before = left();
        bundle.says_as(wanted, &[]);
        assert_eq!(left(), before);
    }

    #[test]
    fn a_node_whose_owner_is_not_mapped_is_the_hosts() {
        if !root() {
            return;
        }
        let bundle = |minor| {
            let node = json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": minor, "fileMode": 0o640, "uid": 5}]);
            let script = "stat -c %t:%T /dev/zero; head -c 3 /dev/zero | tr '\\0' x";
            Bundle::new(script).remapped(5).with("/linux/devices", node)
        };
        let said = bundle(5).run("codexrun");
        assert_eq!((said.code, said.out.as_str()), (0, "1:5\nxxx"), "{}", said.err);
        for (field, there) in [("fileMode", true), ("uid", true), ("gid", false)] {
            assert_eq!(said.err.contains(&format!("linux.devices[0].{field} has no effect")), there, "{}", said.err);
        }
        bundle(7).refused("linux.devices[0]: cannot bind /dev/zero → /dev/zero ro: ENODEV");
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
        let bind = json!({"destination": "/dev/", "type": "bind", "source": host.path(), "options": ["rbind"]});
        let bundle = |path: &str, minor: u32| {
            let device = json!([{"path": path, "type": "c", "major": 1, "minor": minor}]);
            Bundle::new("ls /dev").with("/linux/devices", device).with("/mounts/1", bind.clone())
        };
        bundle("/dev/null", 3).says_as("null\n", &["runc"]);
        // config-linux.md, "Devices": what does not match is an error, and so is what is not there.
        bundle("/dev/null", 5).refused("linux.devices[0]: cannot find /dev/null character 1:5: ENODEV");
        bundle("/dev/below/x", 5).refused("linux.devices[0]: cannot find /dev/below/x character 1:5: ENOENT");
        assert_eq!(fs::read_dir(host.path()).unwrap().count(), 1);
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

    /// What `runc spec` itself writes, as it is but for the terminal and the command.
    #[test]
    fn the_default_of_runc_runs() {
        if !root() || !has("runc") {
            return;
        }
        let mut bundle = Bundle::new("");
        let spec = Command::new("runc").arg("spec").current_dir(bundle.dir.path()).status().unwrap();
        assert!(spec.success());
        bundle.config = serde_json::from_slice(&fs::read(bundle.dir.path().join("config.json")).unwrap()).unwrap();
        let script = "hostname; ls /sys/fs/cgroup/memory >/dev/null && echo cgroup; stat -f -c %T /dev/mqueue; ls /dev | wc -l";
        let bundle = bundle.with("/process/terminal", json!(false)).with("/process/args", json!(["sh", "-c", script]));
        let said = bundle.run("codexrun");
        assert!(said.code == 0 && said.out.starts_with("runc\n"), "{}{}", said.out, said.err);
    }

    #[test]
    fn an_unknown_name_is_a_warning() {
        if !root() {
            return;
        }
        let bundle = Bundle::new("true").with("/process/capabilities", json!({"bounding": ["CAP_FLY"]}));
        let said = bundle.run("codexrun");
        assert!(said.code == 0 && said.err.starts_with("codexrun: warning: "), "{}", said.err);
        assert!(said.err.contains("process.capabilities.bounding: `CAP_FLY` is no known capability"), "{}", said.err);
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

mod more_mounts {
    use super::*;

    fn tmpfs(at: &str, options: &[&str]) -> Value {
        json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": options})
    }

    #[test]
    fn a_tmpfs_begins_as_a_copy_of_what_it_covers() {
        if !root() {
            return;
        }
        let script = "stat -c '%n %a %u' /d /d/sub /d/sub/f /d/l | sort; cat /d/sub/f; readlink /d/l; test -w /d && echo x > /d/new; \
                      stat -f -c %T /d";
        let bundle = Bundle::new(script);
        let dir = bundle.root().join("d");
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/f"), "text\n").unwrap();
        symlink("/etc/passwd", dir.join("l")).unwrap();
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o750)).unwrap();
        fs::set_permissions(dir.join("sub"), PermissionsExt::from_mode(0o711)).unwrap();
        fs::set_permissions(dir.join("sub/f"), PermissionsExt::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(dir.join("sub"), Some(7), Some(8)).unwrap();
        let wanted = "/d 750 0\n/d/l 777 0\n/d/sub 711 7\n/d/sub/f 640 0\ntext\n/etc/passwd\ntmpfs\n";
        let bundle = bundle.mount(tmpfs("/d", &["rw", "tmpcopyup", "size=1m"]));
        bundle.says_as(wanted, &["runc"]);
        assert!(!dir.join("new").exists());
        let bundle = bundle.with("/mounts/2", tmpfs("/d", &["tmpcopyup", "mode=755,uid=3"]));
        let said = bundle.run("codexrun");
        assert!(said.out.starts_with("/d 755 3\n/d/l 777 0\n"), "{}{}", said.out, said.err);
        let read_only = bundle
            .with("/mounts/2", tmpfs("/d", &["ro", "tmpcopyup"]))
            .with("/process/args/2", json!("cat /d/sub/f; echo x > /d/n"));
        let said = read_only.run("codexrun");
        assert!(said.out == "text\n" && said.err.contains("Read-only"), "{}{}", said.out, said.err);
    }

    /// docker looks for the words "not a directory", and asks whether that is what was meant.
    #[test]
    fn a_file_goes_over_no_directory_and_no_directory_over_a_file() {
        if !root() {
            return;
        }
        let bind = |source: &str| json!({"destination": "/d", "source": source, "options": ["bind"]});
        for (source, make) in
            [("/etc/passwd", (|at| fs::create_dir(at)) as fn(&Path) -> std::io::Result<()>), ("/etc", |at| fs::write(at, ""))]
        {
            let bundle = Bundle::new("true");
            make(&bundle.root().join("d")).unwrap();
            let said = bundle.mount(bind(source)).run("codexrun");
            assert!(said.code == 1 && said.err.contains("mounts[2]: ") && said.err.contains("not a directory"), "{}", said.err);
        }
    }

    #[test]
    fn a_tmpfs_without_a_mode_has_that_of_the_directory() {
        if !root() {
            return;
        }
        let bundle = Bundle::new("stat -c %a /d; test -d /e && stat -c %a /e /tmp || true");
        fs::create_dir(bundle.root().join("d")).unwrap();
        fs::set_permissions(bundle.root().join("d"), PermissionsExt::from_mode(0o2710)).unwrap();
        let bundle = bundle.mount(tmpfs("/d", &[]));
        bundle.says_as("2710\n", &["runc"]);
        let bundle = bundle.mount(tmpfs("/e", &["mode=0700"])).mount(tmpfs("/tmp", &["mode=1777"]));
        bundle.says_as("2710\n700\n1777\n", &[]);
    }

    #[test]
    fn a_remount_changes_attributes_and_the_file_system() {
        if !root() {
            return;
        }
        let bundle =
            Bundle::new("grep ' /d ' /proc/self/mountinfo | grep -o size=64k; echo x > /d/x").mount(tmpfs("/d", &["size=128k"]));
        let said = bundle.mount(tmpfs("/d", &["remount", "ro", "size=64k"])).run("codexrun");
        assert!(said.out.is_empty() || said.out == "size=64k\n", "{}", said.out);
        assert!(said.err.contains("/d/x: Read-only file system"), "{}", said.err);
        let bundle = Bundle::new("awk '$5 == \"/d\" {print $NF}' /proc/self/mountinfo").mount(tmpfs("/d", &["size=128k"]));
        let said = bundle.mount(tmpfs("/d", &["remount", "size=64k"])).run("codexrun");
        assert!(said.out.contains("size=64k"), "{}{}", said.out, said.err);
    }

    /// mount(2) says EINVAL, also where it would change nothing.
    #[test]
    fn a_remount_of_nothing_is_refused_with_its_place() {
        if !root() {
            return;
        }
        for options in [&["bind", "remount"][..], &["remount"], &["bind", "remount", "ro"], &["remount", "size=64k"]] {
            let bundle = Bundle::new("true").mount(tmpfs("/tmp", options));
            bundle.refused("config.json: mounts[2]: cannot remount /tmp");
            bundle.refused("EINVAL (Invalid argument) (hint: nothing is mounted there");
            assert!(!has("runc") || bundle.run("runc").code != 0);
        }
        Bundle::new("echo yes").mount(tmpfs("/tmp", &[])).mount(tmpfs("/tmp", &["remount"])).says("yes\n");
    }

    #[test]
    fn a_mount_over_the_root_is_the_root() {
        if !root() {
            return;
        }
        let other = Bundle::new("true");
        fs::write(other.root().join("etc/which"), "other\n").unwrap();
        let bundle = Bundle::new("cat /etc/which; awk '$5 == \"/\"' /proc/self/mountinfo | grep -c .; ls -d /work /proc/1");
        fs::write(bundle.root().join("etc/which"), "first\n").unwrap();
        let over = json!({"destination": "/", "type": "bind", "source": other.root(), "options": ["rbind"]});
        let mut mounts = bundle.config["mounts"].as_array().unwrap().clone();
        mounts.insert(0, over.clone());
        mounts.insert(0, over);
        let said = bundle.with("/mounts", mounts.into()).run("codexrun");
        assert_eq!(said.out, "other\n1\n/proc/1\n", "{}", said.err);
    }

    #[test]
    fn an_overlay_has_its_layers_also_when_their_names_are_long() {
        if !root() {
            return;
        }
        let layers = tempfile::tempdir().unwrap();
        let mut lower = Vec::new();
        for n in 0..8 {
            let dir = layers.path().join(format!("layer-with-a-name-that-is-not-short-at-all-{n}"));
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(format!("f{n}")), "").unwrap();
            lower.push(dir.to_str().unwrap().to_owned());
        }
        for count in [2, 8] {
            let option = format!("lowerdir={}", lower[..count].join(":"));
            let mount = json!({"destination": "/o", "type": "overlay", "source": "overlay", "options": ["ro", "nosuid", option]});
            let names: String = (0..count).map(|n| format!("f{n}\n")).collect();
            Bundle::new("ls /o").mount(mount).says_as(&names, &["runc", "crun"]);
        }
    }

    #[test]
    fn an_id_mapped_bind_shows_other_owners() {
        if !root() {
            return;
        }
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("f"), "").unwrap();
        fs::set_permissions(source.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(source.path().join("f"), Some(5), Some(6)).unwrap();
        let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1000}]);
        let bind = |options: &[&str]| {
            json!({"destination": "/m", "type": "bind", "source": source.path(), "options": options,
                   "uidMappings": map(2000), "gidMappings": map(3000)})
        };
        for options in [&["rbind", "idmap"][..], &["rbind", "ridmap", "ro"], &["bind"]] {
            Bundle::new("stat -c %u:%g /m/f").mount(bind(options)).says_as("2005:3006\n", &[]);
        }
        let space = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let own = json!({"destination": "/m", "type": "bind", "source": source.path(), "options": ["rbind", "idmap"]});
        let bundle = Bundle::new("stat -c %u:%g /m/f").mount(own.clone()).with("/linux/namespaces/-", json!({"type": "user"}));
        fs::create_dir(bundle.root().join("m")).unwrap();
        bundle.with("/linux/uidMappings", space.clone()).with("/linux/gidMappings", space).says_as("5:6\n", &[]);
        let holder = Holder::new(&["--user"]);
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", holder.0.id()), "0 100000 65536\n").unwrap();
        }
        let bundle = Bundle::new("stat -c %u:%g /m/f").mount(own.clone()).joining(&[("user", &holder.path("user"))]);
        fs::create_dir(bundle.root().join("m")).unwrap();
        bundle.says_as("5:6\n", &[]);
        Bundle::new("true").mount(own).refused("mounts[2].uidMappings: is missing, and the container has no mappings");
    }

    #[test]
    fn every_mount_has_the_propagation_that_it_asks_for() {
        if !root() {
            return;
        }
        let script = "awk '$5 ~ \"^/p\" && $5 != \"/proc\" {print $5, $7 ~ /shared/, $7 ~ /unbindable/}' /proc/self/mountinfo";
        let wanted = "/private 0 0\n/pshared 1 0\n/punbindable 0 1\n";
        let at = |word: &str| tmpfs(&format!("/p{}", word.trim_start_matches("p")), &[word]);
        let bundle = Bundle::new(script).mount(at("private")).mount(at("shared")).mount(at("unbindable"));
        bundle.says_as(wanted, &["runc"]);
    }
}

/// A mount namespace of its own with a shared mount at a directory, in which a runtime runs; what is mounted there meanwhile must
/// not reach this machine.
mod out_of_reach {
    use super::*;

    /// A directory that nobody else may enter, with `in/file` in it.
    fn shut() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("in/file"), "there\n").unwrap();
        std::os::unix::fs::chown(dir.path(), Some(12345), Some(12345)).unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        dir
    }

    /// On one of the two that every image here has.
    fn bind(dir: &TempDir, at: &str, options: &[&str]) -> Value {
        json!({"destination": at, "type": "bind", "source": dir.path().join("in"), "options": options})
    }

    #[test]
    fn sources_that_the_containers_root_could_not_reach_are_bound() {
        if !root() {
            return;
        }
        let (one, other) = (shut(), shut());
        let bundle = Bundle::new("cat /tmp/file /etc/file; touch /etc/new 2>/dev/null || echo refused").remapped(65536);
        let bundle = bundle.mount(bind(&one, "/tmp", &["rbind"])).mount(bind(&other, "/etc", &["bind", "ro"]));
        fs::set_permissions(other.path().join("in"), PermissionsExt::from_mode(0o777)).unwrap();
        bundle.says_as("there\nthere\nrefused\n", &["runc"]);
        fs::remove_dir_all(other.path().join("in")).unwrap();
        bundle.refused("mounts[3]: cannot copy ");
        assert!(bundle.run("codexrun").err.contains("(hint: the source does not exist on the host)"));
    }

    /// A copy that was made in the host's own mount namespace would have lost this (mount_namespaces(7)).
    #[test]
    fn what_is_read_only_on_the_host_stays_so() {
        if !root() {
            return;
        }
        let dir = shut();
        let powers = json!({"bounding": ["CAP_SYS_ADMIN"], "effective": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"]});
        let bundle = Bundle::new("mount -o remount,bind,rw /tmp 2>&1; touch /tmp/new 2>/dev/null || echo refused");
        let bundle = bundle.remapped(65536).mount(bind(&dir, "/tmp", &["bind"])).with("/process/capabilities", powers);
        let codexrun = bundle.command("codexrun");
        let mut command = Command::new("unshare");
        let script = "in=$1; shift; chmod 777 $in; mount --bind $in $in && mount -o remount,bind,ro $in && exec \"$@\"";
        command.args(["-m", "sh", "-c", script, "sh"]).arg(dir.path().join("in"));
        let said = Said::of(&command.arg(codexrun.get_program()).args(codexrun.get_args()).output().unwrap());
        assert!(said.code == 0 && said.out.contains("denied") && said.out.ends_with("refused\n"), "{}{}", said.out, said.err);
    }
}

mod propagation {
    use super::*;

    fn root_says(word: &str, wanted: &str, referees: &[&str]) {
        let script = "awk '$5 == \"/\" {print $7 ~ /shared/, $7 ~ /unbindable/}' /proc/self/mountinfo";
        let bundle = Bundle::new(script).with("/linux/rootfsPropagation", json!(word));
        bundle.says_as(wanted, referees);
    }

    #[test]
    fn the_root_has_the_propagation_that_it_asks_for() {
        if !root() {
            return;
        }
        root_says("private", "0 0\n", &["runc", "crun"]);
        root_says("rslave", "0 0\n", &["runc", "crun"]);
        root_says("shared", "1 0\n", &["crun"]);
        root_says("rshared", "1 0\n", &["crun"]);
        root_says("unbindable", "0 1\n", &[]);
    }

    /// Runs codexrun below `unshare -m` where DIR is a shared mount, and then `after`.
    fn with_shared(bundle: &Bundle, dir: &Path, after: &str) -> String {
        let inner = bundle.command("codexrun");
        let mut command = Command::new("unshare");
        let script = format!(
            "mount -t tmpfs t {dir} && mount --make-shared {dir} && mkdir {dir}/in {dir}/host && \
             mount --bind {root} {root} && mount --make-private {root} && \"$@\"; {after}",
            dir = dir.display(),
            root = bundle.dir.path().display(),
        );
        command.args(["-m", "sh", "-c", &script, "sh"]).arg(inner.get_program()).args(inner.get_args());
        let said = Said::of(&command.output().unwrap());
        said.out + &said.err
    }

    #[test]
    fn a_shared_volume_passes_mounts_to_the_host_and_the_rest_of_the_host_stays() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let caps = json!(["CAP_SYS_ADMIN"]);
        let volume = |word: &str| json!({"destination": "/v", "type": "bind", "source": dir.path(), "options": ["rbind", word]});
        let script = "mount -t tmpfs inside /v/in";
        let bundle = |word: &str, volume_word: &str| {
            let bundle = Bundle::new(script).mount(volume(volume_word)).with("/linux/rootfsPropagation", json!(word));
            bundle.with("/process/capabilities", json!({"bounding": caps, "effective": caps, "permitted": caps}))
        };
        let after = format!(
            "grep -c {}/in /proc/self/mountinfo; grep -c ' {} ' /proc/self/mountinfo",
            dir.path().display(),
            dir.path().display()
        );
        assert_eq!(with_shared(&bundle("rshared", "rshared"), dir.path(), &after), "1\n1\n");
        assert_eq!(with_shared(&bundle("rslave", "rslave"), dir.path(), &after), "0\n1\n");
        assert_eq!(with_shared(&bundle("rprivate", "rprivate"), dir.path(), &after), "0\n1\n");
    }

    #[test]
    fn an_id_mapped_volume_of_a_shared_file_system_carries_no_mounts_to_the_host() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let caps = json!(["CAP_SYS_ADMIN"]);
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        let after = format!("grep -c {}/in /proc/self/mountinfo", dir.path().display());
        for options in [&["rbind"][..], &["rbind", "rslave"], &["rbind", "rshared"]] {
            let volume = json!({"destination": "/v", "type": "bind", "source": dir.path(), "options": options, "uidMappings": map, "gidMappings": map});
            let bundle = Bundle::new("mount -t tmpfs inside /v/in && grep -c /v/in /proc/self/mountinfo").mount(volume);
            let bundle = bundle.with("/process/capabilities", json!({"bounding": caps, "effective": caps, "permitted": caps}));
            assert_eq!(with_shared(&bundle, dir.path(), &after), "1\n0\n", "{options:?}");
        }
    }

    #[test]
    fn a_volume_hears_of_the_hosts_mounts_when_it_asks_and_no_other_does() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let volume = |at: &str, words: &[&str]| {
            let options: Vec<&str> = ["rbind"].iter().chain(words).copied().collect();
            json!({"destination": at, "type": "bind", "source": dir.path(), "options": options})
        };
        let script = "awk '$5 ~ \"^/v[0-9]$\" {print $5, / shared:/, / master:/}' /proc/self/mountinfo";
        let words: &[&[&str]] = &[&[], &["slave"], &["rslave"], &["rshared"], &["private"], &["rprivate"]];
        let mut bundle = Bundle::new(script);
        for (i, words) in words.iter().enumerate() {
            bundle = bundle.mount(volume(&format!("/v{i}"), words));
        }
        let wanted = "/v0 0 0\n/v1 0 1\n/v2 0 1\n/v3 1 1\n/v4 0 0\n/v5 0 0\n";
        assert_eq!(with_shared(&bundle, dir.path(), "true"), wanted);
    }

    /// As with mount(2), one word behind the other: what was made private or a slave first is no peer of the host's.
    #[test]
    fn words_of_propagation_are_taken_one_behind_the_other() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let script = "awk '$5 ~ \"^/v[0-9]$\" {print $5, / shared:/, / master:/}' /proc/self/mountinfo";
        let mut bundle = Bundle::new(script).with("/linux/rootfsPropagation", json!("shared"));
        for (i, words) in
            [&["shared"][..], &["slave", "shared"], &["private", "shared"], &["rslave", "rshared"]].iter().enumerate()
        {
            let options: Vec<&str> = ["rbind"].iter().chain(*words).copied().collect();
            bundle =
                bundle.mount(json!({"destination": format!("/v{i}"), "type": "bind", "source": dir.path(), "options": options}));
        }
        assert_eq!(with_shared(&bundle, dir.path(), "true"), "/v0 1 0\n/v1 1 1\n/v2 1 0\n/v3 1 1\n");
        // A peer would carry it to the host.
        for (words, seen) in [(["rbind", "shared"].as_slice(), "1\n"), (&["rbind", "private", "shared"], "0\n")] {
            let caps = json!(["CAP_SYS_ADMIN"]);
            let bundle = Bundle::new("mount -t tmpfs inside /v/in").with("/linux/rootfsPropagation", json!("shared"));
            let bundle = bundle.with("/process/capabilities", json!({"bounding": caps, "effective": caps, "permitted": caps}));
            let bundle = bundle.mount(json!({"destination": "/v", "type": "bind", "source": dir.path(), "options": words}));
            let after = format!("grep -c {}/in /proc/self/mountinfo", dir.path().display());
            assert_eq!(with_shared(&bundle, dir.path(), &after), seen, "{words:?}");
        }
    }

    /// Whether the container's process has taken over the host's mounts when it is made or not.
    #[test]
    fn a_copy_of_what_the_containers_root_could_not_reach_is_always_the_same() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let within = dir.path().join("shut/in");
        fs::create_dir_all(within.join("v")).unwrap();
        let volume = json!({"destination": "/tmp", "type": "bind", "source": within, "options": ["rbind", "slave"]});
        let bundle = |mode: u32| {
            std::os::unix::fs::chown(dir.path().join("shut"), Some(12345), Some(12345)).unwrap();
            fs::set_permissions(dir.path().join("shut"), PermissionsExt::from_mode(mode)).unwrap();
            let script = "awk '$5 == \"/tmp/v\" {print / shared:/, / master:/}' /proc/self/mountinfo";
            Bundle::new(script).remapped(65536).mount(volume.clone()).with("/linux/rootfsPropagation", json!("shared"))
        };
        for mode in [0o755, 0o700, 0o700, 0o700, 0o700, 0o700, 0o700, 0o700, 0o700] {
            assert_eq!(with_shared(&bundle(mode), &within.join("v"), "true"), "1 1\n", "{mode:o}");
        }
    }

    #[test]
    fn a_slave_volume_sees_what_the_host_mounts_later() {
        if !root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let volume = |word: &str| json!({"destination": "/v", "type": "bind", "source": dir.path(), "options": ["rbind", word]});
        for (base, word, wanted) in [("rslave", "rslave", "1\n"), ("rslave", "rprivate", "0\n"), ("rprivate", "rslave", "0\n")] {
            let script = "touch /v/ready; while ! test -e /v/go; do sleep 0.01; done; grep -c ' /v/host ' /proc/self/mountinfo";
            let bundle = Bundle::new(script).mount(volume(word)).with("/linux/rootfsPropagation", json!(base));
            let inner = bundle.command("codexrun");
            let script = format!(
                "mount -t tmpfs t {dir} && mount --make-shared {dir} && mkdir {dir}/host && \"$@\" & \
                 while ! test -e {dir}/ready; do sleep 0.01; done; mount -t tmpfs later {dir}/host; touch {dir}/go; wait",
                dir = dir.path().display(),
            );
            let mut command = Command::new("unshare");
            command
                .args(["-m", "bash", "-c", &script.replace("mkdir", "mkdir -p"), "sh"])
                .arg(inner.get_program())
                .args(inner.get_args());
            let said = Said::of(&command.output().unwrap());
            assert_eq!(said.out, wanted, "{base} {word}: {}", said.err);
        }
    }
}

/// Without a mount namespace: the container is in the runtime's, where nobody sees its mounts.
mod no_mount_namespace {
    use super::*;

    /// Whether this kernel has it, and we may use it.
    fn possible() -> bool {
        let possible =
            root() && !Bundle::new("true").with("/linux/namespaces", json!([])).run("codexrun").err.contains("Linux 6.15");
        if !possible {
            eprintln!("skipped: needs Linux 6.15");
        }
        possible
    }

    fn bundle(script: &str) -> Bundle {
        let sysfs = json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]});
        Bundle::new(script).with("/linux/namespaces", json!([])).mount(sysfs)
    }

    /// Runs `script` in a mount namespace in which everything is shared, as on most hosts; `$@` is `codexrun run`. What was mounted there
    /// before and is not afterwards, and the other way round, is said behind what it says itself.
    fn on_a_shared_host(bundle: &Bundle, script: &str) -> String {
        let inner = bundle.command("codexrun");
        let script = format!(
            "mount -t tmpfs t {dir}/v && mount --bind {dir}/rootfs {dir}/rootfs && mount --make-rshared / || exit
             mounts() {{ cut -d' ' -f 4- /proc/self/mountinfo | sort; }}
             mounts > {dir}/before; {script}; mounts | diff {dir}/before -",
            dir = bundle.dir.path().display(),
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "bash", "-c", &script, "sh"]);
        let said = Said::of(&command.arg(inner.get_program()).args(inner.get_args()).output().unwrap());
        said.out + &said.err
    }

    fn volume(bundle: Bundle) -> Bundle {
        let dir = bundle.dir.path().join("v");
        fs::create_dir(&dir).unwrap();
        bundle.mount(json!({"destination": "/v", "type": "bind", "source": dir, "options": ["rbind"]}))
    }

    #[test]
    fn the_mounts_are_the_containers_alone() {
        if !possible() {
            return;
        }
        let masks = "cat /proc/kcore | wc -c; ls /proc/irq | wc -l; touch /proc/sys/x /sys/x 2>/dev/null || echo no";
        let script = format!("readlink /proc/self/ns/mnt; wc -l < /proc/mounts; test -c /dev/null && echo dev; {masks}");
        let bundle = bundle(&script).with("/linux/maskedPaths", json!(["/proc/kcore", "/proc/irq"]));
        let said = bundle.with("/linux/readonlyPaths", json!(["/proc/sys"])).run("codexrun");
        let ours = fs::read_link("/proc/self/ns/mnt").unwrap();
        assert_eq!(said.out, format!("{}\n0\ndev\n0\n0\nno\n", ours.display()), "{}", said.err);
        assert!(said.err.contains("/config.json: linux.namespaces: without a mount namespace"), "{}", said.err);
    }

    #[test]
    fn a_shared_host_sees_none_of_them_and_they_see_none_of_its() {
        if !possible() {
            return;
        }
        let seen =
            "echo up > /v/up; while ! test -e /v/go; do sleep 0.01; done; ls -d /v/later/mark /bin/mark 2>/dev/null; echo end";
        let bundle = volume(bundle(seen));
        let dir = bundle.dir.path().display().to_string();
        let script = format!(
            "mkdir {dir}/v/later; \"$@\" 2>/dev/null & while ! test -e {dir}/v/up; do sleep 0.01; done; mounts | diff {dir}/before -; \
             for at in v/later rootfs/bin; do mount -t tmpfs later {dir}/$at; touch {dir}/$at/mark; done; touch {dir}/v/go; wait; \
             umount {dir}/v/later {dir}/rootfs/bin"
        );
        assert_eq!(on_a_shared_host(&bundle, &script), "end\n");
    }

    #[test]
    fn nothing_stays_when_codexrun_is_killed_at_any_moment() {
        if !possible() {
            return;
        }
        let bundle = volume(bundle("sleep 1000"));
        // The container outlives a runtime that is killed when it runs already: its cgroup, or its own SIGKILL, is who ends it.
        let bundle = bundle.with("/annotations", json!({"dev.codexrun.die-with-parent": "true"}));
        let script = "for n in $(seq 40); do \"$@\" 2>/dev/null & p=$!; sleep 0.0$((RANDOM % 60 + 10)); kill -9 $p; wait $p; \
                      \"$1\" \"$2\" \"$3\" delete --force \"${!#}\" >/dev/null 2>&1; done 2>/dev/null";
        assert_eq!(on_a_shared_host(&bundle, script), "");
    }

    /// What is held open outside of the new root leads to the tree's own, which lies in nothing; the way by a namespace takes CAP_SYS_ADMIN.
    #[test]
    fn chroot_leads_nowhere() {
        if !possible() {
            return;
        }
        let inner = json!({"destination": "/tmp/proc", "type": "proc", "source": "proc"});
        let caps = json!(["CAP_SYS_CHROOT"]);
        let bundle = bundle("")
            .mount(inner)
            .with("/process/capabilities", json!({"bounding": caps, "effective": caps, "permitted": caps}));
        let escape = format!(
            "mkdir /tmp/bin; cat /bin/busybox > /tmp/bin/busybox; busybox chmod 755 /tmp/bin/busybox; exec 3< /; \
             climb='cd -P /proc/self/fd/3/../../../..; busybox ls -d .{}/config.json bin/sh 2>&-'; \
             busybox chroot /tmp /bin/busybox sh -c \"$climb\"; exec 2>/dev/null; \
             busybox nsenter --mount=/proc/1/ns/mnt true || busybox nsenter --mount=/proc/self/ns/mnt true || echo no; \
             busybox unshare -m true || busybox unshare -Ur true || echo no",
            bundle.dir.path().display()
        );
        let said = bundle.with("/process/args", json!(["sh", "-c", escape])).run("codexrun");
        assert_eq!(said.out, "bin/sh\nno\nno\n", "{}", said.err);
    }

    #[test]
    fn the_runtimes_own_mount_namespace_is_not_joined_by_path() {
        if !root() {
            return;
        }
        let path = Path::new("/proc/self/ns/mnt");
        let bundle = Bundle::new("true").joining(&[("mount", path)]);
        fs::create_dir(bundle.dir.path().join("v")).unwrap();
        let said = on_a_shared_host(&bundle, "\"$@\"");
        assert!(said.contains("linux.namespaces[4].path: `/proc/self/ns/mnt` is the runtime's own"), "{said}");
        assert!(said.lines().all(|line| line.contains(": linux.namespaces[4].path: ")), "{said}");
    }
}

mod users {
    use super::*;

    fn mapped(script: &str, uid: Value, gid: Value) -> Bundle {
        let bundle = Bundle::new(script).with("/linux/namespaces/-", json!({"type": "user"}));
        bundle.with("/linux/uidMappings", uid).with("/linux/gidMappings", gid)
    }

    fn range(rest: u32) -> Value {
        json!([{"containerID": 0, "hostID": 1001, "size": 1}, {"containerID": 1, "hostID": rest, "size": 65536}])
    }

    #[test]
    fn a_user_namespace_may_have_no_root() {
        if !root() {
            return;
        }
        let one = json!([{"containerID": 1, "hostID": 1001, "size": 1}]);
        let bundle = mapped("id -u; id -g; touch /dev/x && stat -c %u:%g /dev/x", one.clone(), one);
        bundle.with("/process/user", json!({"uid": 1, "gid": 1})).says_as("1\n1\n1:1\n", &[]);
    }

    #[test]
    fn an_ordinary_user_may_not_open_what_is_not_its_own() {
        if !root() {
            return;
        }
        let one = json!([{"containerID": 0, "hostID": 1001, "size": 1}]);
        let bundle = mapped("id -u", one.clone(), one).joining(&[("network", Path::new("/proc/1/ns/net"))]);
        let Some(said) = ordinary(&bundle, "codexrun") else { return eprintln!("skipped: no user codexrun-test") };
        assert!(said.err.contains("cannot open the namespace `/proc/1/ns/net`: EACCES"), "{}", said.err);
    }

    #[test]
    fn an_ordinary_user_joins_what_is_its_own() {
        if !root() {
            return;
        }
        let Some(uid) = test_user() else { return eprintln!("skipped: no user codexrun-test") };
        let mut command = Command::new("unshare");
        command.uid(uid).gid(uid);
        let holder = Holder::of(command, &["--user", "--map-root-user", "--net", "--ipc", "--uts", "--pid", "--fork"]);
        let kinds = [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
        let paths: Vec<_> = kinds.iter().map(|(kind, name)| (*kind, holder.path(name))).collect();
        let paths: Vec<_> = paths.iter().map(|(kind, path)| (*kind, path.as_path())).collect();
        let script = "for n in user net ipc uts pid; do readlink /proc/self/ns/$n; done; id -u; cat /proc/self/oom_score_adj";
        let wanted: String = kinds.iter().map(|(_, name)| holder.link(name) + "\n").collect();
        let bundle = Bundle::new(script).joining(&paths).with("/process/oomScoreAdj", json!(500));
        let said = ordinary(&bundle, "codexrun").unwrap();
        assert_eq!((said.code, said.out), (0, wanted + "0\n500\n"), "{}", said.err);
    }

    /// As rootless podman calls it: user 0 of a user namespace, and the container has none of its own.
    #[test]
    fn the_root_of_a_user_namespace_makes_containers_without_another_one() {
        if !root() {
            return;
        }
        let script =
            "id -u; test -c /dev/null && echo x > /dev/null && stat -c %t:%T /dev/zero; cat /proc/sys/net/ipv4/ip_forward";
        let bundle = Bundle::new(script).with("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
        let bundle = bundle.with("/linux/devices", json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}]));
        let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
        let sets = json!({"bounding": caps, "effective": caps, "permitted": caps});
        let bundle = bundle.with("/process/capabilities", sets);
        let inner = bundle.command("codexrun");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(inner.get_program()).args(inner.get_args());
        let said = Said::of(&command.output().unwrap());
        assert_eq!((said.code, said.out.as_str()), (0, "0\n1:5\n1\n"), "{}", said.err);
    }

    #[test]
    fn an_ordinary_user_has_the_ids_that_it_was_granted() {
        if !root() {
            return;
        }
        let script = "id -u; id -g; id -G; awk '{print $1, $2, $3}' /proc/self/uid_map /proc/self/gid_map; umask; touch /tmp/f; stat -c %a /tmp/f";
        let wanted = "5\n6\n6 7 8\n0 1001 1\n1 100000 65536\n0 1001 1\n1 100000 65536\n0027\n640\n";
        let tmp = json!({"destination": "/tmp", "type": "tmpfs", "source": "t", "options": ["mode=1777"]});
        let user = json!({"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o027});
        let bundle = mapped(script, range(100_000), range(100_000)).with("/process/user", user).mount(tmp);
        let Some(said) = ordinary(&bundle, "codexrun") else { return eprintln!("skipped: no user codexrun-test") };
        assert_eq!((said.code, said.out.as_str()), (0, wanted), "{}", said.err);
    }

    #[test]
    fn a_range_that_is_not_granted_is_refused() {
        if !root() {
            return;
        }
        let bundle = mapped("true", range(200_000), range(100_000));
        let Some(said) = ordinary(&bundle, "codexrun") else { return eprintln!("skipped: no user codexrun-test") };
        let line = |list: &str, program: &str, file: &str, ids: &str| {
            let what = format!("`{program}` does not map these ids: `/etc/{file}` does not grant `codexrun-test` the ids {ids}");
            format!("config.json: linux.{list}: {what} (hint: /etc/{file} says which ids the user may have)\n")
        };
        let uids = line("uidMappings[1]", "newuidmap", "subuid", "200000 to 265535");
        assert!(said.code != 0 && said.err.ends_with(&uids) && said.err.lines().count() == 1, "{}", said.err);
        // The groups are written first, and refused first.
        let bundle = mapped("true", range(200_000), range(300_000))
            .with("/linux/uidMappings/-", json!({"containerID": 90_000, "hostID": 100_000, "size": 9}));
        let Some(said) = ordinary(&bundle, "codexrun") else { return };
        let gids = line("gidMappings[1]", "newgidmap", "subgid", "300000 to 365535");
        assert!(said.err.contains(&gids) && said.err.contains(&uids) && said.err.lines().count() == 2, "{}", said.err);
    }

    #[test]
    #[allow(unsafe_code)]
    fn a_signal_ends_the_wait_for_a_helper_that_hangs_and_the_helper() {
        if !root() {
            return;
        }
        // The background of a shell has it ignored. SAFETY: there is no handler.
        unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
        let Some(uid) = test_user() else { return eprintln!("skipped: no user codexrun-test") };
        let bundle = mapped("true", range(100_000), range(100_000));
        let (helper, runs) = (bundle.dir.path().join("newgidmap"), bundle.dir.path().join("runs"));
        fs::write(&helper, format!("#!/bin/sh\necho $$ >{0}.new; mv {0}.new {0}; exec sleep 60\n", runs.display())).unwrap();
        fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = bundle.command("codexrun");
        let given = Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(bundle.dir.path()).status();
        assert!(given.unwrap().success());
        let path = format!("{}:/usr/bin:/bin", bundle.dir.path().display());
        let command = command.uid(uid).gid(uid).env_clear().env("PATH", path).stderr(Stdio::piped());
        let mut waiting = command.spawn().unwrap();
        while !runs.exists() {
            assert_eq!(waiting.try_wait().unwrap(), None, "it ends before the helper has begun");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let pid = Pid::from_raw(waiting.id().cast_signed());
        kill(pid, Signal::SIGINT).unwrap();
        let said = Said::of(&waiting.wait_with_output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (130, "codexrun: error: stopped by SIGINT before the process could start\n"));
        let helper = fs::read_to_string(&runs).unwrap();
        assert!(!Path::new("/proc").join(helper.trim()).exists(), "the helper is gone");
    }

    #[test]
    fn without_the_helper_the_sentence_names_it() {
        if !root() {
            return;
        }
        let bundle = mapped("true", range(100_000), range(100_000));
        let Some(said) = ordinary_with(&bundle, "codexrun", "/nowhere") else { return };
        assert!(said.err.contains("linux.gidMappings: `newgidmap` is not installed"), "{}", said.err);
    }
}

mod scheduling {
    use super::*;

    #[test]
    fn scheduler_io_priority_memory_policy_and_personality_are_the_processes() {
        if !root() {
            return;
        }
        let script =
            "awk '{print $19, $41}' /proc/self/stat; ionice -p $$; uname -m; head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2";
        let bundle = Bundle::new(script)
            .with("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7, "flags": []}))
            .with("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}))
            .with("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}))
            .with("/linux/personality", json!({"domain": "LINUX32"}));
        bundle.says_as("7 3\nbest-effort: prio 6\ni686\nbind=static:0\n", &[]);
    }

    #[test]
    fn a_flag_is_understood_as_the_specification_spells_it() {
        if !root() {
            return;
        }
        let scheduler = json!({"policy": "SCHED_BATCH", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        let bundle = Bundle::new("awk '{print $19}' /proc/$$/stat /proc/self/stat; true").with("/process/scheduler", scheduler);
        // awk is a child of the shell, and does not inherit what is better than normal (sched(7)).
        bundle.says_as("-3\n0\n", &[]);
    }

    #[test]
    fn a_personality_is_what_crun_makes_of_it() {
        if !root() {
            return;
        }
        Bundle::new("uname -m").with("/linux/personality", json!({"domain": "LINUX32"})).says_as("i686\n", &["crun"]);
    }
}

mod labels {
    use super::*;

    #[test]
    fn a_module_that_is_not_on_is_named() {
        if !root() || Path::new("/sys/module/apparmor").exists() || Path::new("/sys/fs/selinux/enforce").exists() {
            return;
        }
        let bundle = Bundle::new("true").with("/process/apparmorProfile", json!("p")).with("/process/selinuxLabel", json!("l"));
        bundle.refused("process.apparmorProfile: `p` cannot be applied");
        bundle.refused("process.selinuxLabel: `l` cannot be applied");
    }
}

#[test]
fn a_bind_may_carry_words_that_were_written_for_a_tmpfs() {
    if !root() {
        return;
    }
    let bundle = Bundle::new("ls /mnt");
    let source = bundle.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "").unwrap();
    let words = json!(["rbind", "nosuid", "mode=755", "size=1k"]);
    let bundle = bundle.mount(json!({"destination": "/mnt", "type": "bind", "source": source, "options": words}));
    bundle.says("file\n");
    assert!(bundle.run("codexrun").err.contains("`mode` means nothing to a bind mount"));
}

#[test]
fn a_source_is_a_path_of_the_host_whatever_is_mounted_inside() {
    if !root() {
        return;
    }
    let bundle = Bundle::new("touch /tmp/inside; ls /mnt");
    fs::write(bundle.root().join("tmp/outside"), "").unwrap();
    bundle
        .mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}))
        .mount(json!({"destination": "/mnt", "type": "bind", "source": "rootfs/tmp", "options": ["bind"]}))
        .says_as("outside\n", &[]);
}

/// CVE-2019-19921, CVE-2023-27561.
#[test]
fn proc_and_sysfs_are_not_mounted_where_a_link_of_the_image_leads() {
    if !root() {
        return;
    }
    for (kind, name) in [("proc", "proc"), ("sysfs", "sys")] {
        let bundle = Bundle::new("true").mount(json!({"destination": "/sys", "type": "sysfs", "source": "sysfs"}));
        fs::remove_dir(bundle.root().join(name)).unwrap();
        symlink("/tmp", bundle.root().join(name)).unwrap();
        let said = bundle.run("codexrun");
        assert!(said.code != 0 && said.err.contains("must be mounted on ordinary directory"), "{kind}: {}", said.err);
    }
}

/// Docker and containerd leave it to the runtime.
#[test]
fn home_is_the_users_when_the_environment_does_not_say() {
    if !root() {
        return;
    }
    let bundle = |uid: u32, env: Value| {
        let bundle = Bundle::new("echo $HOME").with("/process/env", env).with("/process/user", json!({"uid": uid, "gid": 0}));
        fs::write(bundle.root().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\na:x:7:7::/a:/bin/sh\n").unwrap();
        bundle
    };
    for (uid, home, referees) in [(0, "/root\n", &["runc", "crun"][..]), (7, "/a\n", &["runc", "crun"]), (8, "/\n", &["runc"])] {
        bundle(uid, json!(["PATH=/bin"])).says_as(home, referees);
    }
    bundle(7, json!(["PATH=/bin", "HOME=/mine"])).says("/mine\n");
    bundle(7, json!(["PATH=/bin", "HOME="])).says_as("/a\n", &["runc"]);
}

/// As an image has it that names a `WORKDIR` of root's and a `USER`.
#[test]
fn a_working_directory_may_be_one_that_the_user_could_not_enter() {
    if !root() {
        return;
    }
    let bundle = Bundle::new("readlink /proc/self/cwd").with("/process/user", json!({"uid": 7, "gid": 7}));
    fs::create_dir(bundle.root().join("root")).unwrap();
    fs::set_permissions(bundle.root().join("root"), PermissionsExt::from_mode(0o700)).unwrap();
    bundle.with("/process/cwd", json!("/root")).says("/root\n");
}

/// It is made inside the root, whatever link of the image's lies on the way; of a root that is read-only too.
#[test]
fn a_working_directory_that_is_missing_is_made() {
    if !root() {
        return;
    }
    let bundle = |cwd: &str| {
        let bundle = Bundle::new("readlink /proc/self/cwd; stat -c '%a %u' .").with("/process/user", json!({"uid": 7, "gid": 7}));
        let outside = bundle.dir.path().to_owned();
        symlink(outside, bundle.root().join("out")).unwrap();
        bundle.with("/process/cwd", json!(cwd)).with("/root/readonly", json!(true))
    };
    bundle("/new/work").says("/new/work\n755 0\n");
    let linked = bundle("/out/work");
    let inside = linked.dir.path().join("work");
    linked.says_as(&format!("{}\n755 0\n", inside.display()), &[]);
    assert!(!inside.exists());
    fs::write(linked.root().join("file"), "").unwrap();
    linked.with("/process/cwd", json!("/file/x")).refused("ENOTDIR");
}

#[test]
fn a_terminal_belongs_to_the_user() {
    if !root() {
        return;
    }
    let devpts = json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]});
    Bundle::new("echo mine > $(readlink /proc/self/fd/0); echo console > /dev/console")
        .mount(devpts)
        .with("/process/user", json!({"uid": 7, "gid": 7}))
        .with("/process/terminal", json!(true))
        .says_as("mine\nconsole\n", &[]);
}

/// A profile of years ago names none of these calls. Without `noNewPrivileges` it is in force from before the user id changes.
#[test]
fn a_filter_that_is_older_than_our_system_calls_hinders_nothing() {
    if !root() {
        return;
    }
    let bundle = |refused: Value, cwd: &str, args: Value| {
        let filter = json!({"names": refused, "action": "SCMP_ACT_ERRNO"});
        let hook = json!({"path": "/bin/touch", "args": ["touch", "/tmp/hooked"]});
        Bundle::new("")
            .with("/process/noNewPrivileges", json!(false))
            .with("/process/args", args)
            .with("/process/cwd", json!(cwd))
            .with("/hooks", json!({"startContainer": [hook]}))
            .with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [filter]}))
    };
    let younger = json!(["faccessat2", "openat2", "close_range"]);
    let list = json!(["sh", "-c", "readlink /proc/self/cwd; ls"]);
    bundle(younger.clone(), "/tmp", list.clone()).says_as("/tmp\nhooked\n", &[]);
    bundle(json!(["getcwd"]), "/tmp", list).says_as("/tmp\nhooked\n", &[]);
    // What those calls are for (CVE-2019-5736) is seen without them too; the working directory is entered before (CVE-2024-21626).
    bundle(younger, "/", json!(["/proc/self/exe"])).refused("leads through a link of /proc");
    bundle(json!(["getcwd"]), "/proc/self/cwd", json!(["readlink", "/proc/self/cwd"])).says_as("/\n", &[]);
}

/// runc's words.
#[test]
fn a_start_container_hook_that_the_filter_ends_is_told_of_as_that() {
    if !root() {
        return;
    }
    let filter = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"});
    Bundle::new("")
        .with("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
        .with("/hooks", json!({"startContainer": [{"path": "/bin/mkdir", "args": ["mkdir", "/tmp/made"]}]}))
        .with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [filter]}))
        .refused("`/bin/mkdir` failed: error running startContainer hook #0: signal: bad system call");
}

#[test]
fn an_idle_process_needs_no_level_of_priority() {
    if !root() {
        return;
    }
    let seen = |priority: Value| Bundle::new("ionice -p $$").with("/process/ioPriority", priority);
    seen(json!({"class": "IOPRIO_CLASS_IDLE"})).says_as("idle\n", &[]);
    seen(json!({"class": "IOPRIO_CLASS_BE"})).refused("process.ioPriority.priority: missing");
}

/// What a launch would do without the calls that a filter around codexrun refuses.
#[test]
fn a_plan_says_what_is_done_without_the_calls_that_are_missing() {
    if !root() {
        return;
    }
    let plan = |names: &[&str], errno: i32| {
        let filter = json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
        let program = json!({"destination": "/codexrun", "source": env!("CARGO_BIN_EXE_codexrun"), "options": ["bind"]});
        Bundle::new("")
            .with("/process/args", json!(["/codexrun", "plan", "--policy", "read-only", "--cwd", "/tmp", "--", "/bin/true"]))
            .with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [filter]}))
            .mount(program)
            .run("codexrun")
    };
    let all = plan(&["io_uring_setup"], libc::ENOSYS);
    assert!(all.code == 0 && all.out.contains("\nchild\n") && !all.out.contains("this host"), "{}{}", all.out, all.err);
    let some = plan(&["clone3", "keyctl"], libc::ENOSYS);
    let lines: Vec<&str> = some.out.lines().skip_while(|line| *line != "this host").skip(1).collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("  no clone3: clone(2)") && lines[1].starts_with("  no keyctl: "),
        "{lines:?}"
    );
    let forbidden = plan(&["clone3", "keyctl"], libc::EPERM);
    assert_eq!(forbidden.out.lines().skip_while(|line| *line != "this host").count(), 2, "{}", forbidden.out);
    // What codexrun asks for before it plans is in the plan itself.
    let (broker, one_call) = ("fork the broker of Unix sockets", "(open_tree_attr)");
    assert!(all.out.contains(broker) && all.out.contains(one_call) == some.out.contains(one_call), "{}", all.out);
    for errno in [libc::ENOSYS, libc::EPERM] {
        for name in ["faccessat2", "setns"] {
            let plan = plan(&[name], errno);
            assert!(plan.out.contains(&format!("\nthis host\n  no {name}: ")), "{}{}", plan.out, plan.err);
        }
        for (name, way) in [("open_tree_attr", one_call), ("pidfd_getfd", broker), ("process_vm_readv", broker)] {
            let plan = plan(&[name], errno);
            assert!(
                plan.code == 0 && plan.out.contains("\nchild\n") && !plan.out.contains(way),
                "{name}: {}{}",
                plan.out,
                plan.err
            );
        }
    }
}

/// Runs as the ordinary user `codexrun-test`.
fn ordinary(bundle: &Bundle, runtime: &str) -> Option<Said> {
    ordinary_with(bundle, runtime, "/usr/bin:/bin")
}

fn ordinary_with(bundle: &Bundle, runtime: &str, path: &str) -> Option<Said> {
    let uid = test_user()?;
    let mut command = bundle.command(runtime);
    let given = Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(bundle.dir.path()).status();
    assert!(given.unwrap().success());
    Some(Said::of(&command.uid(uid).gid(uid).env_clear().env("PATH", path).output().unwrap()))
}

fn test_user() -> Option<u32> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    users.lines().find(|l| l.starts_with("codexrun-test:"))?.split(':').nth(2)?.parse().ok()
}

#[test]
fn a_filter_that_ends_the_launch_is_named() {
    if !root() {
        return;
    }
    let filter = |action: &str, syscalls: Value| json!({"defaultAction": action, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": syscalls});
    for (action, how) in [("SCMP_ACT_KILL_PROCESS", "killed by SIGSYS"), ("SCMP_ACT_ERRNO", "before it was ready")] {
        let bundle = Bundle::new("echo ran")
            .with("/process/noNewPrivileges", false.into())
            .with("/linux/seccomp", filter(action, json!([{"names": ["execve"], "action": "SCMP_ACT_ALLOW"}])));
        let said = bundle.run("codexrun");
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{}", said.err);
        let named = said.err.contains("config.json: linux.seccomp: the process ") && said.err.contains(how);
        assert!(named && said.err.contains("without process.noNewPrivileges"), "{action}: {}", said.err);
        let said = bundle.with("/linux/seccomp", filter(action, json!([]))).run("codexrun");
        assert!(said.code == 1 && said.err.contains("linux.seccomp: refuses execve(2)"), "{action}: {}", said.err);
    }
}
