//! Cgroups through the command line: what a process of the container sees, what an ordinary user is told, and that nothing stays.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

/// A bundle of busybox whose cgroup nobody else has; `None` where there can be none, which is said.
struct Place {
    dir: TempDir,
    cgroup: String,
}

/// The end of everything that a failed test may have left.
impl Drop for Place {
    fn drop(&mut self) {
        for dir in self.directories() {
            fs::remove_dir(dir).ok();
        }
    }
}

impl Place {
    fn new(name: &str) -> Option<Place> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
        let root = fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        let (Some(busybox), true, false) = (busybox, root, hierarchies().is_empty()) else {
            eprintln!("left out: needs root, busybox and a cgroup file system");
            return None;
        };
        let place = Place { dir: tempfile::tempdir().unwrap(), cgroup: format!("/codexrun-cli-{}-{name}", std::process::id()) };
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bin = place.dir.path().join("rootfs/bin");
        for dir in ["bin", "proc", "sys", "dev"] {
            fs::create_dir_all(place.dir.path().join("rootfs").join(dir)).unwrap();
        }
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in ["sh", "cat", "sleep", "mkdir", "grep"] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        Some(place)
    }

    /// The container's directories that exist.
    fn directories(&self) -> Vec<PathBuf> {
        let all = hierarchies().into_iter().map(|mount| mount.join(&self.cgroup[1..]));
        all.filter(|dir| dir.exists()).collect()
    }

    fn spec(&self, script: &str, namespaces: &[&str], resources: Value) -> Value {
        let namespaces: Vec<Value> = namespaces.iter().map(|typ| json!({"type": typ})).collect();
        json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh", "-ec", script], "cwd": "/", "env": ["PATH=/bin"]},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/sys", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]},
            ],
            "linux": {"namespaces": namespaces, "cgroupsPath": self.cgroup, "resources": resources},
        })
    }

    fn run(&self, spec: &Value, uid: u32) -> (i32, String, String) {
        fs::write(self.dir.path().join("config.json"), spec.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_codexrun"));
        let output = command.arg("run").arg(self.dir.path()).stdin(Stdio::null()).uid(uid).gid(uid).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

/// Where cgroup file systems are mounted.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let point = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (point, typ) = (words.next()?, words.next()?);
        typ.starts_with("cgroup").then(|| PathBuf::from(point))
    };
    mounts.lines().filter_map(point).collect()
}

/// The file that limits processes, as the container may see it.
const PIDS: &str = "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max";

fn has_pids() -> bool {
    hierarchies().iter().any(|mount| {
        mount.ends_with("pids") || fs::read_to_string(mount.join("cgroup.controllers")).is_ok_and(|c| c.contains("pids"))
    })
}

#[test]
fn a_limit_is_seen_inside_and_nothing_is_left() {
    let Some(place) = Place::new("limit") else { return };
    if !has_pids() {
        return eprintln!("left out: needs the controller pids");
    }
    for namespaces in [&["mount", "pid", "cgroup"][..], &["mount", "pid"]] {
        let script = format!("{PIDS}; cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x || echo kept");
        let (code, out, err) = place.run(&place.spec(&script, namespaces, json!({"pids": {"limit": 77}})), 0);
        assert_eq!((code, out.starts_with("77\n"), out.ends_with("kept\n")), (0, true, true), "{out} {err}");
        assert_eq!(out.contains(&place.cgroup), !namespaces.contains(&"cgroup"), "{out}");
        assert_eq!(place.directories(), Vec::<PathBuf>::new());
    }
}

#[test]
fn who_is_left_behind_without_a_pid_namespace_is_ended_with_the_cgroup() {
    let Some(place) = Place::new("left") else { return };
    let mark = format!("{}.25", 1_000_000 + std::process::id());
    let (code, out, err) = place.run(&place.spec(&format!("sleep {mark} >/dev/null 2>&1 & echo on"), &["mount"], json!({})), 0);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "on\n", ""));
    let lives = |pid: &fs::DirEntry| {
        fs::read(pid.path().join("cmdline")).is_ok_and(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes()))
    };
    assert!(!fs::read_dir("/proc").unwrap().flatten().any(|entry| lives(&entry)));
    assert_eq!(place.directories(), Vec::<PathBuf>::new());
}

#[test]
fn an_ordinary_user_goes_without_unless_something_is_limited() {
    let Some(place) = Place::new("user") else { return };
    let spec = |resources| {
        let mut spec = place.spec(PIDS, &["mount", "pid", "user", "cgroup"], resources);
        for key in ["uidMappings", "gidMappings"] {
            spec["linux"][key] = json!([{"containerID": 0, "hostID": NOBODY, "size": 1}]);
        }
        spec["process"]["args"] = json!(["sh", "-c", "echo on"]);
        spec["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}));
        spec
    };
    // Every engine writes the first, and it is so anyway where no node can be made.
    let denied = json!({"allow": false, "access": "rwm"});
    assert_eq!(place.run(&spec(json!({"devices": [denied]})), NOBODY), (0, "on\n".into(), String::new()));
    let devices = json!({"devices": [denied, {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]});
    let file = place.dir.path().join("config.json").display().to_string();
    let told = format!(
        "codexrun: warning: {file}: linux.resources.devices: has no effect: only root of the initial user namespace can confine devices\n"
    );
    assert_eq!(place.run(&spec(devices), NOBODY), (0, "on\n".into(), told));
    let mut named = spec(json!({}));
    named["linux"]["cgroupsPath"] = json!(place.cgroup);
    let (code, out, err) = place.run(&named, NOBODY);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    let why =
        err.contains("config.json: linux.cgroupsPath: cannot make the cgroup") && err.contains("`--rootless true` goes without");
    assert!(why, "{err}");
    if has_pids() {
        let (code, out, err) = place.run(&spec(json!({"pids": {"limit": 5}})), NOBODY);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("config.json: linux.resources.pids.limit: cannot make the cgroup"), "{err}");
    }
    assert_eq!(place.directories(), Vec::<PathBuf>::new());
}

#[test]
fn devices_that_are_not_allowed_cannot_be_opened() {
    let Some(place) = Place::new("devices") else { return };
    if !Path::new("/dev/fuse").exists() {
        return eprintln!("left out: there is no /dev/fuse");
    }
    let script = "echo x > /dev/null; if (: < /dev/fuse) 2>/dev/null; then echo open; else echo kept; fi";
    let mut spec = place.spec(script, &["mount", "pid"], json!({}));
    let dev = json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]});
    spec["mounts"].as_array_mut().unwrap().push(dev);
    for (rule, said) in
        [(json!({"allow": false, "access": "rwm"}), "kept\n"), (json!({"allow": true, "access": "rwm"}), "open\n")]
    {
        spec["linux"]["resources"]["devices"] = json!([rule]);
        let (code, out, err) = place.run(&spec, 0);
        assert_eq!((code, out.as_str()), (0, said), "{err}");
    }
}

#[test]
fn a_rule_that_denies_a_default_device_or_mknod_is_obeyed() {
    let Some(place) = Place::new("denied") else { return };
    let script =
        "(: < /dev/zero) 2>/dev/null && echo zero; mknod /dev/made c 10 229 2>/dev/null && echo made; : < /dev/null; echo null";
    let mut spec = place.spec(script, &["mount", "pid"], json!({}));
    spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}));
    symlink("busybox", place.dir.path().join("rootfs/bin/mknod")).unwrap();
    spec["process"]["args"] = json!(["sh", "-c", script]);
    let caps = json!(["CAP_MKNOD"]);
    spec["process"]["capabilities"] = json!({"bounding": caps, "effective": caps, "permitted": caps});
    let all = json!({"allow": true, "access": "rwm"});
    let zero = json!({"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"});
    let mknod = json!({"allow": false, "access": "m"});
    for (rules, said) in
        [(json!([all]), "zero\nmade\nnull\n"), (json!([all, zero]), "made\nnull\n"), (json!([all, mknod]), "zero\nnull\n")]
    {
        spec["linux"]["resources"]["devices"] = rules.clone();
        let (code, out, err) = place.run(&spec, 0);
        assert_eq!((code, out.as_str()), (0, said), "{rules}: {err}");
    }
}

/// What systemd answers is tried where there is one: `conformance --vm`.
#[test]
fn without_systemd_its_driver_says_so_in_one_sentence() {
    let Some(place) = Place::new("systemd") else { return };
    let run = |spec: &Value, view: &str| {
        fs::write(place.dir.path().join("config.json"), spec.to_string()).unwrap();
        let script = format!("{view} && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_codexrun"), "--systemd-cgroup", "run"]);
        let output = command.arg(place.dir.path()).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let mut spec = place.spec("echo on", &["mount", "pid"], json!({}));
    spec["mounts"] = json!([]);
    let unified = "mount -t cgroup2 none /sys/fs/cgroup";
    if !Command::new("unshare").args(["-m", "sh", "-c", unified]).status().is_ok_and(|status| status.success()) {
        return eprintln!("left out: cgroup2 cannot be mounted here");
    }
    spec["linux"]["cgroupsPath"] = json!("system.slice:p:n");
    for (view, why) in [
        (unified, "cannot reach systemd over D-Bus: /nowhere/bus: No such file or directory"),
        ("mount -t tmpfs none /sys/fs/cgroup", "the systemd driver needs cgroup version 2"),
    ] {
        let (code, err) = run(&spec, view);
        assert!(code == 1 && err.contains(&format!("config.json: linux.cgroupsPath: {why}")), "{err}");
        assert!(err.lines().count() == 1 && err.contains("`--cgroup-manager cgroupfs`"), "{err}");
    }
    spec["linux"]["cgroupsPath"] = json!("/a/b");
    assert!(run(&spec, unified).1.contains("`/a/b` is not SLICE:PREFIX:NAME"));
}

/// Directories of that name in any hierarchy.
fn named(name: &str) -> Vec<PathBuf> {
    let below = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir());
    let (mut found, mut todo) = (Vec::new(), hierarchies());
    while let Some(dir) = todo.pop() {
        found.extend(dir.ends_with(name).then(|| dir.clone()));
        todo.extend(below(&dir));
    }
    found
}

/// A sandbox with a limit, as a user who was given a cgroup; its process in that.
fn limited(place: &Place, given: &Path, uid: u32, script: &str) -> std::process::Child {
    let inside = "echo $$ > \"$0\"/cgroup.procs && exec setpriv --reuid $1 --regid $1 --clear-groups \"$2\" sandbox \
                  --limit pids=50 -- /bin/sh -c \"$3\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", inside]).arg(given).arg(uid.to_string()).arg(env!("CARGO_BIN_EXE_codexrun")).arg(script);
    command.current_dir(place.dir.path().join("work")).spawn().unwrap()
}

fn soon(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_sandbox_that_is_killed_leaves_no_cgroup() {
    let pids = hierarchies().into_iter().find(|mount| mount.ends_with("pids"));
    let (Some(place), Some(pids)) = (Place::new("killed"), pids) else {
        return eprintln!("left out: needs the controller pids of version 1");
    };
    for (uid, git) in [(0, true), (NOBODY, false)] {
        let given = pids.join(&place.cgroup[1..]);
        fs::create_dir(&given).unwrap();
        let work = place.dir.path().join("work");
        fs::create_dir(&work).unwrap();
        // With all of them there, the keeper has nothing to keep but the cgroup.
        let protected = [".git", ".agents", ".codex"].iter().filter(|_| git).map(|name| work.join(name));
        protected.for_each(|dir| fs::create_dir(dir).unwrap());
        [&given, &work].iter().for_each(|dir| std::os::unix::fs::chown(dir, Some(uid), Some(uid)).unwrap());
        let mut sandbox = limited(&place, &given, uid, ": > ready; sleep 60");
        let name = format!("codexrun-{}", sandbox.id());
        soon("it is ready", || work.join("ready").exists());
        assert!(named(&name).contains(&given.join(&name)), "as {uid}");
        sandbox.kill().unwrap();
        sandbox.wait().unwrap();
        soon("its cgroup is gone", || named(&name).is_empty());
        // Of one that nobody was left to clean up after.
        let stale = given.join(format!("codexrun-{}", i32::MAX));
        fs::create_dir(&stale).unwrap();
        std::os::unix::fs::chown(&stale, Some(uid), Some(uid)).unwrap();
        assert!(limited(&place, &given, uid, "exit 0").wait().unwrap().success());
        assert!(!stale.exists(), "as {uid}");
        soon("the cgroup is empty", || fs::remove_dir(&given).is_ok());
        fs::remove_dir_all(&work).unwrap();
    }
}

#[test]
fn a_launch_that_the_kernel_ends_for_want_of_memory_names_the_limit() {
    let Some(place) = Place::new("starved") else { return };
    if !hierarchies().iter().any(|mount| mount.ends_with("memory")) {
        return eprintln!("left out: needs the controller memory of cgroup version 1");
    }
    let (code, out, err) = place.run(&place.spec("echo ran", &["mount", "pid"], json!({"memory": {"limit": 1}})), 0);
    // Which step wants the first page is the kernel's affair.
    let killed = match code {
        137 => "the kernel ended 1 process(es)",
        _ => "the process was killed by SIGKILL before it was ready (hint: the kernel has ended 1 process(es)",
    };
    assert!(out.is_empty() && err.contains(&format!("config.json: linux.resources.memory.limit: {killed}")), "{code}: {err}");
    assert_eq!(place.directories(), Vec::<PathBuf>::new());
}

#[test]
fn a_cgroup_that_has_processes_of_others_is_mentioned_and_an_empty_one_is_not() {
    let Some(place) = Place::new("company") else { return };
    let spec = place.spec("true", &["mount", "pid"], json!({}));
    let hierarchies = hierarchies();
    // A cpuset that nobody has filled takes no process.
    let mount = hierarchies.iter().find(|mount| mount.ends_with("pids")).or(hierarchies.first()).unwrap();
    let there = mount.join(&place.cgroup[1..]);
    fs::create_dir(&there).unwrap();
    assert_eq!(place.run(&spec, 0), (0, String::new(), String::new()));
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    fs::write(there.join("cgroup.procs"), other.id().to_string()).unwrap();
    let (code, _, err) = place.run(&spec, 0);
    other.kill().unwrap();
    other.wait().unwrap();
    fs::remove_dir(&there).unwrap();
    let what = format!(": linux.cgroupsPath: the cgroup `{}` has processes of others, one is {}: ", there.display(), other.id());
    assert!(code == 0 && err.starts_with("codexrun: warning: ") && err.contains(&what), "{code}: {err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    let (code, _, err) = place.run(&spec, 0);
    assert_eq!((code, err.as_str()), (0, ""));
}

/// As an engine may make it beforehand.
#[test]
fn a_launch_that_the_kernel_ends_in_a_cgroup_that_was_there_is_told_why() {
    let Some(place) = Place::new("starved-there") else { return };
    let Some(memory) = hierarchies().into_iter().find(|mount| mount.ends_with("memory")) else {
        return eprintln!("left out: needs the controller memory of cgroup version 1");
    };
    let there = memory.join(place.cgroup.trim_start_matches('/'));
    fs::create_dir(&there).unwrap();
    let (code, out, err) = place.run(&place.spec("echo ran", &["mount", "pid"], json!({"memory": {"limit": 1}})), 0);
    fs::remove_dir(&there).unwrap();
    let why = "before it was ready (hint: the kernel has ended 1 process(es) of the cgroup for want of memory since it was made";
    // Which step wants the first page is the kernel's affair.
    assert!(out.is_empty() && (code == 137 || err.contains(why)), "{code}: {err}");
}
