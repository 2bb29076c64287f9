//! What is wrong is told all at once, and by the file in which it stands.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const ID: &str = "box";
const NOBODY: u32 = 65534;

/// A bundle of busybox that root runs, and a state root of its own.
struct Place(TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        self.codexrun(&["delete", "--force", ID]);
    }
}

impl Place {
    /// `None` where there can be none, which is said.
    fn new() -> Option<Place> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().map(Path::new).find(|path| path.exists());
        let (Some(busybox), true) = (busybox, nix::unistd::geteuid().is_root()) else {
            eprintln!("skipped: needs root and busybox");
            return None;
        };
        let place = Place(tempfile::tempdir().unwrap());
        let bin = place.path("b/rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(place.path("b/rootfs/proc")).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        ["sh", "sleep", "true"].iter().for_each(|name| symlink("busybox", bin.join(name)).unwrap());
        fs::set_permissions(place.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut spec = json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["sleep", "60"], "cwd": "/", "env": ["PATH=/bin"]},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        });
        change(&mut spec);
        fs::write(self.path(name), spec.to_string()).unwrap();
    }

    /// Exit code, and the lines of standard error.
    fn codexrun(&self, words: &[&str]) -> (i32, Vec<String>) {
        self.codexrun_of(env!("CARGO_BIN_EXE_codexrun").as_ref(), words, None)
    }

    fn codexrun_of(&self, program: &Path, words: &[&str], uid: Option<u32>) -> (i32, Vec<String>) {
        let mut command = Command::new(program);
        command.arg("--root").arg(self.path("r")).args(words).current_dir(self.0.path());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let said = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(self.path("err")).unwrap());
        let code = said.status().unwrap().code().unwrap();
        (code, fs::read_to_string(self.path("err")).unwrap().lines().map(str::to_owned).collect())
    }

    /// Each line is an error at one of these places, in this order, and there is no other.
    fn tells(&self, (code, said): (i32, Vec<String>), places: &[&str]) {
        let bundle = self.path("b");
        let file = |place: &str| if place.starts_with("config.json: ") { bundle.join(place) } else { place.into() };
        let begins = places.iter().map(|place| format!("codexrun: error: {}: ", file(place).display()));
        assert!(code == 1 && said.len() == places.len(), "{code}: {said:#?}");
        begins.zip(&said).for_each(|(begin, line)| assert!(line.starts_with(&begin), "{begin}: {said:#?}"));
    }
}

fn bind(destination: &str, source: &str) -> Value {
    json!({"destination": destination, "source": source, "options": ["bind"]})
}

#[test]
fn every_source_and_file_system_that_is_missing_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| {
        let mounts = [
            bind("/a", "/nonexistent/a"),
            bind("/b", "/etc/passwd"),
            bind("/c", "/etc/passwd/c"),
            json!({"destination": "/d", "type": "nosuchfs", "source": "x"}),
            bind("/e", "/nonexistent/e"),
        ];
        spec["mounts"].as_array_mut().unwrap().extend(mounts);
    });
    let places = ["mounts[1]", "mounts[3]", "mounts[4]", "mounts[5]"].map(|place| format!("config.json: {place}"));
    place.tells(place.codexrun(&["run", "--bundle", "b", ID]), &places.each_ref().map(String::as_str));
    assert!(!place.path("r").join(ID).exists(), "nothing is left");
}

#[test]
fn what_is_to_be_opened_before_there_is_a_container_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| {
        spec["mounts"].as_array_mut().unwrap().push(bind("/a", "/nonexistent/a"));
        let joined = [
            json!({"type": "ipc", "path": "/nonexistent/ipc"}),
            json!({"type": "uts", "path": "/proc/self/ns/user"}),
            json!({"type": "network"}),
        ];
        spec["linux"]["namespaces"].as_array_mut().unwrap().extend(joined);
        spec["linux"]["netDevices"] = json!({"nosuch0": {}, "nosuch1": {}});
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent/agent",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
    let places = [
        "linux.namespaces[2].path",
        "linux.namespaces[3].path",
        "linux.netDevices[nosuch0]",
        "linux.netDevices[nosuch1]",
        "linux.seccomp.listenerPath",
        "mounts[1]",
    ];
    let places = places.map(|place| format!("config.json: {place}"));
    place.tells(place.codexrun(&["create", "--bundle", "b", ID]), &places.each_ref().map(String::as_str));
}

#[test]
fn every_directory_that_overlays_lack_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| {
        let overlay = |at: &str, dirs: &str| {
            json!({"destination": at, "type": "overlay", "source": "overlay", "options": dirs.split(' ').collect::<Vec<_>>()})
        };
        let mounts = [
            overlay("/a", "lowerdir=/nonexistent/1:/etc:/nonexistent/2 upperdir=/nonexistent/3 workdir=/nonexistent/4"),
            overlay("/b", "lowerdir=/usr:/etc"),
            bind("/c", "/nonexistent/c"),
            overlay("/d", "lowerdir=/nonexistent/5:/etc"),
        ];
        spec["mounts"].as_array_mut().unwrap().extend(mounts);
    });
    let (code, said) = place.codexrun(&["run", "--bundle", "b", ID]);
    let [first, _, last] = said.as_slice() else { panic!("{said:#?}") };
    assert!(
        first.ends_with("(hint: there is no `/nonexistent/1`, `/nonexistent/2`, `/nonexistent/3`, `/nonexistent/4`)"),
        "{said:#?}"
    );
    assert!(last.ends_with("(hint: there is no `/nonexistent/5`)"), "{said:#?}");
    place.tells((code, said), &["config.json: mounts[1]", "config.json: mounts[3]", "config.json: mounts[4]"]);
}

#[test]
fn a_program_that_is_missing_is_told_alone() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| spec["process"]["args"] = json!(["nosuch"]));
    let (code, said) = place.codexrun(&["run", "--bundle", "b", ID]);
    assert_eq!((code, said), (127, vec!["codexrun: error: exec: \"nosuch\": executable file not found in $PATH".to_owned()]));
}

#[test]
fn every_limit_that_the_kernel_refuses_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| {
        spec["linux"]["cgroupsPath"] = format!("/codexrun-test-reasons-{}", std::process::id()).into();
        spec["linux"]["resources"] = json!({"cpu": {"cpus": "1000", "mems": "1000"}});
    });
    let places = ["cpus", "mems"].map(|field| format!("config.json: linux.resources.cpu.{field}"));
    let (code, said) = place.codexrun(&["run", "--bundle", "b", ID]);
    match said.iter().any(|line| line.contains("this host has no cgroup controller")) {
        true => eprintln!("skipped: no cpuset controller here"),
        false => place.tells((code, said), &places.each_ref().map(String::as_str)),
    }
}

#[test]
fn every_kernel_parameter_that_is_refused_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    let sysctl = json!({
        "net.ipv4.ip_forward": "banana", "net.ipv4.ip_default_ttl": "64", "net.ipv4.nosuch": "1", "net.ipv4.tcp_keepalive_time": "x",
    });
    place.write("b/config.json", |spec| {
        spec["mounts"].as_array_mut().unwrap().push(bind("/a", "/nonexistent/a"));
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network"}));
        spec["linux"]["sysctl"] = sysctl.clone();
        spec["hooks"] = json!({"poststart": [{"path": "/bin/true"}]});
    });
    let places =
        ["linux.sysctl[net.ipv4.ip_forward]", "linux.sysctl[net.ipv4.nosuch]", "linux.sysctl[net.ipv4.tcp_keepalive_time]"];
    let all = [&places[..], &["mounts[1]"]].concat().iter().map(|place| format!("config.json: {place}")).collect::<Vec<_>>();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for words in [&["run", "--bundle", "b", ID][..], &["create", "--bundle", "b", ID], &["run", "b"]] {
        place.tells(place.codexrun(words), &all);
    }
    // What somebody else has is changed no further than to the first.
    let mut other = Command::new("unshare").args(["--net", "sleep", "60"]).stdin(Stdio::null()).spawn().unwrap();
    let theirs = format!("/proc/{}/ns/net", other.id());
    while fs::read_link(&theirs).unwrap() == fs::read_link("/proc/self/ns/net").unwrap() {
        std::thread::yield_now();
    }
    place.write("b/config.json", |spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "network", "path": theirs}));
        spec["linux"]["sysctl"] = json!({"net.ipv4.nosuch1": "1", "net.ipv4.nosuch2": "1"});
    });
    let told = place.codexrun(&["run", "--bundle", "b", ID]);
    other.kill().and_then(|()| other.wait()).unwrap();
    place.tells(told, &["config.json: linux.sysctl[net.ipv4.nosuch1]"]);
}

#[test]
fn every_device_that_a_dev_of_the_hosts_lacks_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| {
        spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/dev", "source": "/dev", "options": ["rbind"]}));
        let device = |name: &str, kind: &str| json!({"path": format!("/dev/{name}"), "type": kind, "major": 1, "minor": 3});
        spec["linux"]["devices"] =
            json!([device("nosuch1", "c"), device("null", "c"), device("zero", "c"), device("nosuch2", "b")]);
    });
    let places = [0, 2, 3].map(|n| format!("config.json: linux.devices[{n}]"));
    place.tells(place.codexrun(&["run", "--bundle", "b", ID]), &places.each_ref().map(String::as_str));
}

/// The kernel is asked by the container's process, so for an ordinary user too.
#[test]
fn every_option_that_a_file_system_does_not_know_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    let program = place.path("codexrun");
    fs::copy(env!("CARGO_BIN_EXE_codexrun"), &program).unwrap();
    place.write("b/config.json", |spec| {
        let tmpfs = |at: &str, option: &str| json!({"destination": at, "type": "tmpfs", "source": "t", "options": [option]});
        let mounts = [tmpfs("/a", "size=banana"), tmpfs("/b", "mode=755"), tmpfs("/c", "nosuch"), tmpfs("/d", "uid=x")];
        spec["mounts"].as_array_mut().unwrap().extend(mounts);
        spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/e", "type": "nosuchfs", "source": "x"}));
    });
    let places = ["mounts[1]", "mounts[3]", "mounts[4]", "mounts[5]"].map(|place| format!("config.json: {place}"));
    let places = places.each_ref().map(String::as_str);
    place.tells(place.codexrun(&["run", "--bundle", "b", ID]), &places);
    let mut spec: Value = serde_json::from_slice(&fs::read(place.path("b/config.json")).unwrap()).unwrap();
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": NOBODY, "size": 1}]);
    (spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]) = (map.clone(), map);
    fs::write(place.path("b/config.json"), spec.to_string()).unwrap();
    place.tells(place.codexrun_of(&program, &["run", "b"], Some(NOBODY)), &places);
}

#[test]
fn every_limit_that_an_ordinary_user_cannot_have_is_told_at_once() {
    let Some(place) = Place::new() else { return };
    let own = place.path("codexrun");
    fs::copy(env!("CARGO_BIN_EXE_codexrun"), &own).unwrap();
    place.write("b/config.json", |spec| {
        spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        for list in ["uidMappings", "gidMappings"] {
            spec["linux"][list] = json!([{"containerID": 0, "hostID": NOBODY, "size": 1}]);
        }
        spec["linux"]["resources"] =
            json!({"memory": {"limit": 100 << 20, "swap": 200 << 20}, "cpu": {"shares": 512}, "pids": {"limit": 9}});
    });
    fs::create_dir(place.path("r")).unwrap();
    nix::unistd::chown(&place.path("r"), Some(NOBODY.into()), None).unwrap();
    let (code, said) = place.codexrun_of(&own, &["run", "--bundle", "b", ID], Some(NOBODY));
    if said.iter().any(|line| line.contains("this host has no cgroup controller")) {
        return eprintln!("skipped: not every controller is here: {said:?}");
    }
    assert_eq!((code, said.len()), (1, 4), "{said:#?}");
    for field in ["memory.limit", "memory.swap", "cpu.shares", "pids.limit"] {
        let file = place.path("b/config.json");
        let begin = format!("codexrun: error: {}: linux.resources.{field}: cannot make the cgroup `", file.display());
        assert!(said.iter().any(|line| line.starts_with(&begin)), "{field}: {said:#?}");
    }
}

#[test]
fn a_process_in_a_file_is_told_of_by_that_file() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |_| {});
    assert_eq!(place.codexrun(&["run", "--bundle", "b", "--detach", ID]), (0, vec![]));
    let process = |change: Value| {
        let mut process = json!({"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/", "env": ["PATH=/bin"]});
        process.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        fs::write(place.path("p.json"), process.to_string()).unwrap();
        let (code, said) = place.codexrun(&["exec", "--process", "p.json", ID]);
        // `exec` says 255 where it could not run anything.
        (if code == 255 { 1 } else { code }, said)
    };
    place.tells(process(json!({"cwd": "rel", "args": []})), &["p.json: args", "p.json: cwd"]);
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_u64 << 40}]);
    place.tells(process(json!({ "rlimits": limit })), &["p.json: rlimits[0]"]);
    let warned = ["codexrun: warning: p.json: `colour` is no known field, and has no effect".to_owned()];
    assert_eq!(process(json!({"colour": "red"})), (0, warned.to_vec()));
    let (code, said) = process(json!({"capabilities": {"bounding": ["CAP_X"]}}));
    assert!(
        code == 0 && said.len() == 1 && said[0].starts_with("codexrun: warning: p.json: capabilities.bounding: "),
        "{said:?}"
    );
}

/// What stands in the container's config.json is told of by that, what an option says by the option, before the launch and in it.
#[test]
fn what_an_option_says_is_told_of_by_the_option() {
    let Some(place) = Place::new() else { return };
    place.write("b/config.json", |spec| spec["process"]["rlimits"] = json!([]));
    assert_eq!(place.codexrun(&["run", "--bundle", "b", "--detach", ID]), (0, vec![]));
    let exec = |options: &[&str]| {
        let (code, said) = place.codexrun(&[&["exec"], options, &[ID, "true"]].concat());
        assert_eq!(code, 255, "{said:?}");
        (1, said)
    };
    place.tells(exec(&["--cwd", "/nosuch"]), &["--cwd"]);
    let long = format!("/{}", "x".repeat(5000));
    place.tells(exec(&["--cwd", &long]), &["--cwd"]);
    place.tells(exec(&["--process-label", "a:b:c:d"]), &["--process-label"]);
    fs::write(place.path("p.json"), json!({"user": {"uid": 0, "gid": 0}, "args": ["true"], "cwd": "/nosuch"}).to_string())
        .unwrap();
    place.tells(exec(&["--process", "p.json"]), &["p.json: cwd"]);
    place.tells(exec(&["--process", "p.json", "--cwd", "/none"]), &["--cwd"]);
    place.codexrun(&["delete", "--force", ID]);
    place.write("b/config.json", |spec| spec["process"]["cwd"] = "/bin/sh".into());
    place.tells(place.codexrun(&["run", "--bundle", "b", ID]), &["config.json: process.cwd"]);
    place.write("b/config.json", |spec| spec["process"]["cwd"] = "nosuch".into());
    for words in [&["run", "--bundle", "b", ID][..], &["plan", "b"], &["explain", "b"]] {
        place.tells(place.codexrun(words), &["config.json: process.cwd"]);
    }
}

/// Where the bundle is, a relative source is too.
#[test]
fn a_relative_source_is_planned_and_explained_as_it_is_run() {
    let Some(place) = Place::new() else { return };
    fs::create_dir(place.path("b/data")).unwrap();
    place.write("b/config.json", |spec| {
        spec["mounts"].as_array_mut().unwrap().push(bind("/data", "data"));
        spec["process"]["args"] = json!(["true"]);
    });
    for words in [&["run", "b"][..], &["plan", "b"], &["explain", "b", "/data"], &["losses", "--host", "b"]] {
        assert_eq!(place.codexrun(words), (0, vec![]), "{words:?}");
    }
}

#[test]
fn a_config_of_another_name_is_told_of_by_that_name() {
    let Some(place) = Place::new() else { return };
    let file = place.path("c.json").display().to_string();
    let hook = |kind: &str| {
        let kind = kind.to_owned();
        move |spec: &mut Value| spec["hooks"] = json!({kind: [{"path": "/bin/false"}]})
    };
    place.write("c.json", hook("poststop"));
    assert_eq!(place.codexrun(&["create", "--bundle", "b", "--config", "c.json", ID]), (0, vec![]));
    let (code, said) = place.codexrun(&["delete", "--force", ID]);
    let warned = format!("codexrun: warning: {file}: hooks.poststop[0]: ");
    assert!(code == 0 && said.len() == 1 && said[0].starts_with(&warned), "{said:?}");
    place.write("c.json", |spec| {
        hook("startContainer")(spec);
        spec["hooks"]["startContainer"][0]["path"] = "/bin/nosuch".into();
    });
    assert_eq!(place.codexrun(&["create", "--bundle", "b", "--config", "c.json", ID]), (0, vec![]));
    place.tells(place.codexrun(&["start", ID]), &[&format!("{file}: hooks.startContainer[0]")]);
    place.write("c.json", |spec| spec["mounts"].as_array_mut().unwrap().push(bind("/a", "/nonexistent")));
    place.tells(place.codexrun(&["run", "--bundle", "b", "--config", "c.json", ID]), &[&format!("{file}: mounts[1]")]);
}
