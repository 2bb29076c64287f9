//! On real hierarchies: the machine's own, and a private view of version 2 alone. They need root, and say so where they are left out.

use super::*;
use crate::host::cgroup::Cgroups;
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The groups of a fresh path below the caller's own cgroups.
fn groups(name: &str) -> Option<Vec<Group>> {
    let hierarchies = Cgroups::probe().unwrap().hierarchies;
    if !nix::unistd::geteuid().is_root()
        || hierarchies.is_empty()
        || fs::metadata("/sys/fs/cgroup").is_ok_and(|m| m.permissions().readonly())
    {
        eprintln!("left out: needs root and a writable cgroup file system");
        return None;
    }
    let path = PathBuf::from(format!("codexrun-unit-{}-{name}", std::process::id()));
    let group = |h: crate::host::cgroup::Hierarchy| Group {
        version: h.version,
        controllers: h.controllers,
        base: h.mount,
        path: path.clone(),
    };
    Some(hierarchies.into_iter().map(group).collect())
}

fn plan(groups: Vec<Group>, resources: Value) -> Plan {
    let resources = serde_json::from_value(resources).unwrap();
    let (change, errors) = limits(Some(&resources), &groups, false);
    assert!(errors.is_empty(), "{errors:?}");
    Plan {
        groups,
        writes: change.writes,
        devices: None,
        tolerant: false,
        owner: None,
        origin: "linux.cgroupsPath".into(),
        unit: None,
    }
}

fn create(name: &str, resources: Value) -> Option<Cgroup> {
    Cgroup::create(&plan(groups(name)?, resources)).unwrap()
}

/// Dropped, it is gone with all in it, also when the test fails.
struct Guard(Cgroup);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.remove().unwrap();
    }
}

fn sleeper() -> Child {
    Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap()
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn read(cgroup: &Cgroup, controller: &str, file: &str) -> String {
    let group = cgroup.groups.iter().find(|g| g.controllers.iter().any(|name| name == controller)).unwrap();
    file::read(&group.dir(), file).unwrap()
}

fn has(cgroup: &Cgroup, version: Version, controller: &str) -> bool {
    cgroup.groups.iter().any(|g| g.version == version && g.controllers.iter().any(|name| name == controller))
}

/// Runs this test again in a mount namespace in which cgroup version 2 is all there is; `true` for the one inside.
fn in_pure_v2(test: &str) -> bool {
    if std::env::var_os("CODEXRUN_PURE_V2").is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("left out: needs root");
        return false;
    }
    let script = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" --exact --nocapture --test-threads 1 \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", script]).arg(std::env::current_exe().unwrap()).arg(format!("cgroup::tests::{test}"));
    let output = command.env("CODEXRUN_PURE_V2", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[test]
fn limits_are_what_the_kernel_then_says_and_rise_and_fall_together() {
    let resources = json!({
        "memory": {"limit": 64 << 20, "swap": 128 << 20}, "pids": {"limit": 9},
        "cpu": {"shares": 512, "period": 50_000, "quota": 20_000, "burst": 1000, "cpus": "0"},
    });
    let Some(cgroup) = create("limits", resources).map(Guard) else { return };
    if !has(&cgroup.0, Version::V1, "memory") {
        return eprintln!("left out: needs cgroup version 1");
    }
    let memory = || {
        ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
            .map(|file| read(&cgroup.0, "memory", file).parse::<i64>().unwrap() >> 20)
    };
    assert_eq!(memory(), [64, 128]);
    assert_eq!((read(&cgroup.0, "pids", "pids.max"), read(&cgroup.0, "cpuset", "cpuset.cpus")), ("9".into(), "0".into()));
    assert_ne!(read(&cgroup.0, "cpuset", "cpuset.mems"), "");
    for (file, value) in
        [("cpu.shares", "512"), ("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "50000"), ("cpu.cfs_burst_us", "1000")]
    {
        assert_eq!(read(&cgroup.0, "cpu", file), value, "{file}");
    }
    for (limit, swap) in [(300, 400), (32, 48), (48, 48), (500, 500), (20, 900)] {
        let resources =
            json!({"memory": {"limit": limit << 20, "swap": swap << 20}, "devices": [{"allow": false, "access": "rwm"}]});
        cgroup.0.update(&serde_json::from_value(resources).unwrap()).unwrap();
        assert_eq!(memory(), [limit, swap]);
    }
    let zeros = json!({"memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0}, "cpu": {"shares": 0}, "blockIO": {"weight": 0}, "pids": {"limit": 0}});
    cgroup.0.update(&serde_json::from_value(zeros).unwrap()).unwrap();
    assert_eq!(
        (memory(), read(&cgroup.0, "cpu", "cpu.shares"), read(&cgroup.0, "pids", "pids.max")),
        ([20, 900], "512".into(), "9".into())
    );
    for (limit, swap) in [(600, 950), (10, 11)] {
        let wrong = json!({"memory": {"limit": limit << 20, "swap": swap << 20}, "cpu": {"shares": 9, "cpus": "0-4095"}});
        let said = cgroup.0.update(&serde_json::from_value(wrong).unwrap()).unwrap_err()[0].to_string();
        assert!(said.starts_with("config.json: linux.resources.cpu.cpus: cannot write cpuset.cpus"), "{said}");
        assert_eq!(
            (memory(), read(&cgroup.0, "cpu", "cpu.shares")),
            ([20, 900], "512".into()),
            "a refused update changes nothing"
        );
    }
    cgroup.0.update(&serde_json::from_value(json!({"memory": {"limit": -1}})).unwrap()).unwrap();
    assert!(memory().iter().all(|limit| *limit > 1 << 40), "{:?}", memory());
}

/// Of a disk, as MAJOR:MINOR.
fn disk() -> Option<[u64; 2]> {
    let disks = fs::read_dir("/sys/block").unwrap().flatten().filter(|entry| entry.path().join("device").exists());
    let text = disks.into_iter().find_map(|entry| fs::read_to_string(entry.path().join("dev")).ok())?;
    let (major, minor) = text.trim().split_once(':')?;
    Some([major, minor].map(|number| number.parse().unwrap()))
}

#[test]
fn a_refused_update_puts_back_files_of_several_lines_too() {
    let Some(cgroup) = create("lines", json!({})).map(Guard) else { return };
    if !["memory", "blkio", "cpuset"].iter().all(|name| has(&cgroup.0, Version::V1, name)) {
        return eprintln!("left out: needs cgroup version 1");
    }
    let Some([major, minor]) = disk() else { return eprintln!("left out: no disk in /sys/block") };
    let update = |resources: Value| cgroup.0.update(&serde_json::from_value(resources).unwrap());
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let limits = || {
        let of = |name: &str| read(&cgroup.0, "blkio", &format!("blkio.throttle.{name}_device"));
        (of("read_bps"), of("write_iops"), read(&cgroup.0, "memory", "memory.oom_control").lines().next().unwrap().to_owned())
    };
    update(json!({"blockIO": {"throttleReadBpsDevice": rate(1 << 20)}})).unwrap();
    let before = limits();
    assert_eq!(before, (format!("{major}:{minor} {}", 1 << 20), String::new(), "oom_kill_disable 0".into()));
    let io = json!({"throttleReadBpsDevice": rate(4096), "throttleWriteIOPSDevice": rate(7)});
    // More CPUs than there are.
    let said = update(json!({"memory": {"disableOOMKiller": true}, "blockIO": io, "cpu": {"cpus": "0-4095"}})).unwrap_err();
    assert!(said[0].to_string().starts_with("config.json: linux.resources.cpu.cpus: cannot write cpuset.cpus"), "{said:?}");
    let hint = said[0].hint.clone().unwrap();
    let cpus = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    assert_eq!((hint, limits()), (format!("this machine has the CPUs {}", cpus.trim()), before));
    update(json!({"memory": {"disableOOMKiller": true}, "blockIO": io})).unwrap();
    assert_eq!(
        (limits().0, limits().2),
        (format!("{major}:{minor} 4096"), "oom_kill_disable 1".into()),
        "what is not refused holds"
    );
}

#[test]
fn an_empty_cpuset_above_is_filled_too() {
    let Some(groups) = groups("cpuset/below") else { return };
    let Some(group) = groups.iter().find(|g| g.version == Version::V1 && g.controllers.iter().any(|name| name == "cpuset"))
    else {
        return eprintln!("left out: needs cpuset in version 1");
    };
    let above = group.dir().parent().unwrap().to_owned();
    fs::create_dir(&above).unwrap();
    let cgroup = Cgroup::create(&plan(groups, json!({}))).unwrap().unwrap();
    let cpus = [file::read(&above, "cpuset.cpus").unwrap(), read(&cgroup, "cpuset", "cpuset.cpus")];
    cgroup.remove().unwrap();
    assert!(above.exists(), "somebody else made it");
    fs::remove_dir(&above).unwrap();
    assert!(!cpus[0].is_empty() && cpus[0] == cpus[1], "{cpus:?}");
}

#[test]
fn a_limit_that_fails_leaves_nothing_behind_and_names_its_field() {
    let Some(groups) = groups("fails") else { return };
    let mut plan = plan(groups, json!({}));
    let write = |file: &str| Write {
        group: 0,
        choices: vec![(file.into(), "x".into())],
        origin: "linux.resources.x".into(),
        may_miss: false,
        again: false,
        above: None,
    };
    plan.writes = vec![write("no.such.file")];
    let said = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(said.starts_with("config.json: linux.resources.x: cannot write no.such.file x in `"), "{said}");
    assert!(plan.paths().iter().all(|path| !path.exists()));
    plan.writes[0].may_miss = true;
    let cgroup = Cgroup::create(&plan).unwrap().unwrap();
    assert!(plan.paths().iter().all(|path| path.exists()));
    cgroup.remove().unwrap();
    cgroup.remove().unwrap();
    assert!(plan.paths().iter().all(|path| !path.exists()));
}

/// `memory.swap` without `memory.limit`: the kernel of version 1 refuses it, as there is no memory's limit that it could hold beside.
#[test]
fn a_limit_of_swap_that_cannot_be_is_told_with_the_errnos_name_and_why() {
    let Some(mut groups) = groups("swap") else { return };
    groups.retain(|group| group.version == Version::V1 && group.controllers.iter().any(|name| name == "memory"));
    if !groups.first().is_some_and(|group| group.base.join("memory.memsw.limit_in_bytes").exists()) {
        return eprintln!("left out: no memory.memsw of version 1");
    }
    let said = Cgroup::create(&plan(groups, json!({"memory": {"swap": 1 << 30}}))).unwrap_err().to_string();
    assert!(said.starts_with("config.json: linux.resources.memory.swap: cannot "), "{said}");
    assert!(said.contains(": EINVAL (Invalid argument) (hint: ") && said.contains("may not be below `limit`"), "{said}");
}

#[test]
fn a_cgroup_that_somebody_has_removed_is_told_once_and_each_limit_that_there_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let group = |path: &str| Group { version: Version::V1, controllers: vec![], base: dir.path().into(), path: path.into() };
    let write = |file: &str| Write {
        group: 0,
        choices: vec![(file.into(), "x".into())],
        origin: format!("linux.resources.{file}"),
        may_miss: false,
        again: false,
        above: None,
    };
    let said = |path: &str| super::make::write_all(&[group(path)], &["a", "b"].map(write)).unwrap_err().each();
    let hints = |path: &str| said(path).into_iter().map(|error| error.hint.unwrap()).collect::<Vec<_>>();
    assert_eq!(hints("."), ["this kernel has no such limit"; 2]);
    assert_eq!(hints("gone"), ["somebody has removed that cgroup"]);
}

#[test]
fn what_was_there_before_is_shared_and_stays() {
    let Some(first) = create("shared", json!({})).map(Guard) else { return };
    let (mut sleeper, second) = (sleeper(), create("shared", json!({})).unwrap());
    second.enter(pid(&sleeper)).unwrap();
    assert!(first.0.is_own() && !second.is_own() && second.made.is_empty());
    assert!(second.kill_all(libc::SIGTERM).unwrap_err().to_string().contains("was there before the container"));
    assert!(second.freeze().is_err() && !second.is_frozen().unwrap());
    second.remove().unwrap();
    assert_eq!((second.pids().unwrap(), sleeper.try_wait().unwrap()), (vec![pid(&sleeper)], None));
    first.0.kill_all(libc::SIGKILL).unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn what_will_be_made_is_known_before() {
    let Some(groups) = groups("planned/below") else { return };
    let plan = plan(groups, json!({}));
    let planned = Cgroup::foresee(&plan);
    let made = Cgroup::create(&plan).unwrap().unwrap();
    assert_eq!((&planned, planned.made.len()), (&made, 2 * plan.groups.len()));
    assert!(Cgroup::foresee(&plan).made.is_empty());
    planned.remove().unwrap();
    assert!(planned.made.iter().all(|dir| !dir.exists()));
    planned.remove().unwrap();
}

#[test]
fn nothing_enters_a_frozen_cgroup() {
    let Some(cgroup) = create("frozen", json!({})).map(Guard) else { return };
    cgroup.0.freeze().unwrap();
    let below = |group: &Group| Group { path: group.path.join("below"), ..group.clone() };
    let plan = plan(cgroup.0.groups.iter().map(below).collect(), json!({}));
    let said = Cgroup::create(&plan).unwrap_err().to_string();
    assert!(said.starts_with("config.json: linux.cgroupsPath: container's cgroup unexpectedly frozen: `"), "{said}");
    assert!(plan.paths().iter().all(|path| !path.exists()));
}

#[test]
fn who_joins_a_divided_cgroup_enters_where_its_init_is() {
    if !in_pure_v2("who_joins_a_divided_cgroup_enters_where_its_init_is") {
        return;
    }
    let Some(cgroup) = create("divided", json!({})).map(Guard) else { return };
    let Some(controller) = cgroup.0.groups[0].controllers.first() else { return eprintln!("left out: no controller") };
    let (mut init, mut second) = (sleeper(), sleeper());
    let dir = cgroup.0.groups[0].dir();
    fs::create_dir(dir.join("init")).unwrap();
    file::write(&dir.join("init"), "cgroup.procs", &pid(&init).to_string()).unwrap();
    file::write(&dir, "cgroup.subtree_control", &format!("+{controller}")).unwrap();
    assert!(cgroup.0.enter(pid(&second)).unwrap_err().to_string().contains("may hold no process"));
    let entry = cgroup.0.open(Some(pid(&init)), false).unwrap();
    std::io::Write::write_all(
        &mut fs::File::from(entry.files.into_iter().next().flatten().unwrap()),
        pid(&second).to_string().as_bytes(),
    )
    .unwrap();
    assert!(file::holds(&dir.join("init"), pid(&second)));
    assert!(cgroup.0.open(None, true).unwrap().unified.is_some());
    cgroup.0.kill_all(libc::SIGKILL).unwrap();
    init.wait().unwrap();
    second.wait().unwrap();
}

/// Runs itself again as user 65534, who may not enter.
#[test]
fn an_ordinary_user_may_be_refused_where_nothing_is_limited() {
    if let Ok(text) = std::env::var("CODEXRUN_LENIENT") {
        let cgroup: Cgroup = serde_json::from_str(&text).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(Cgroup { lenient: false, ..cgroup.clone() }.enter(own).is_err());
        return cgroup.enter(own).unwrap();
    }
    let Some(cgroup) = create("lenient", json!({})).map(Guard) else { return };
    let text = serde_json::to_string(&Cgroup { lenient: true, ..cgroup.0.clone() }).unwrap();
    let name = "cgroup::tests::an_ordinary_user_may_be_refused_where_nothing_is_limited";
    let mut again = Command::new(std::env::current_exe().unwrap());
    std::os::unix::process::CommandExt::uid(again.args(["--exact", name]).env("CODEXRUN_LENIENT", text), 65534);
    match again.output() {
        Err(e) => eprintln!("left out: {e}"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
    }
}

#[test]
fn a_record_of_it_reads_back_and_directories_above_it_go_too() {
    let Some(cgroup) = create("above/record", json!({})).map(Guard) else { return };
    let text = serde_json::to_string(&cgroup.0).unwrap();
    assert_eq!(serde_json::from_str::<Cgroup>(&text).unwrap(), cgroup.0);
    let above = cgroup.0.groups[0].dir().parent().unwrap().to_owned();
    drop(cgroup);
    assert!(!above.exists());
}

fn stands_still(child: &Child) -> bool {
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(11).unwrap().to_owned()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_millis(150));
    before == ticks()
}

fn busy() -> Child {
    Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()
}

fn freezes(name: &str) {
    let Some(cgroup) = create(name, json!({})).map(Guard) else { return };
    let mut child = busy();
    cgroup.0.enter(pid(&child)).unwrap();
    assert!(!cgroup.0.is_frozen().unwrap());
    cgroup.0.freeze().unwrap();
    assert!(cgroup.0.is_frozen().unwrap() && stands_still(&child));
    cgroup.0.thaw().unwrap();
    assert!(!cgroup.0.is_frozen().unwrap() && !stands_still(&child));
    cgroup.0.freeze().unwrap();
    cgroup.0.kill_all(libc::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn it_freezes_and_thaws_and_what_is_frozen_can_be_killed() {
    freezes("freeze");
}

#[test]
fn version_2_freezes_and_thaws_and_what_is_frozen_can_be_killed() {
    if in_pure_v2("version_2_freezes_and_thaws_and_what_is_frozen_can_be_killed") {
        freezes("freeze");
    }
}

/// Processes that never stop forking, some of them in a cgroup that they made themselves.
fn chain(cgroup: &Cgroup) -> Child {
    let own = cgroup.own().find(|g| g.version == Version::V2 || g.controllers.iter().any(|c| c == "freezer")).unwrap().dir();
    let script = "mkdir $0/sub; f() { sleep 0.01; f & }; for i in 1 2 3 4 5; do f & done; sh -c 'echo $$ >'$0'/sub/cgroup.procs; sleep 100' & sleep 100";
    let mut command = Command::new("sh");
    // The shell enters by itself, so that no child is missed.
    let enter = cgroup.groups.iter().map(|g| format!("echo $$ > {}/cgroup.procs;", g.dir().display())).collect::<String>();
    command.args(["-c", &format!("{enter}{script}")]).arg(own).stdin(Stdio::null()).process_group_of_its_own().spawn().unwrap()
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

fn kills(name: &str, without: fn(&Group) -> bool) {
    let Some(groups) = groups(name) else { return };
    let groups = groups.into_iter().filter(|g| !without(g)).collect();
    let cgroup = Guard(Cgroup::create(&plan(groups, json!({}))).unwrap().unwrap());
    let mut child = chain(&cgroup.0);
    let begun = Instant::now();
    while cgroup.0.pids().unwrap().len() < 8 && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(cgroup.0.pids().unwrap().len() >= 8);
    cgroup.0.kill_all(libc::SIGKILL).unwrap();
    assert_eq!(cgroup.0.pids().unwrap(), Vec::<i32>::new());
    child.wait().unwrap();
    let paths: Vec<PathBuf> = cgroup.0.groups.iter().map(Group::dir).collect();
    cgroup.0.remove().unwrap();
    assert!(paths.iter().all(|path| !path.exists()));
}

#[test]
fn a_fork_chain_does_not_outrun_the_freezer_of_version_1() {
    kills("chain-v1", |group| group.version == Version::V2);
}

#[test]
fn a_fork_chain_does_not_outrun_cgroup_kill() {
    if in_pure_v2("a_fork_chain_does_not_outrun_cgroup_kill") {
        kills("chain-v2", |_| false);
    }
}

#[test]
fn removing_it_ends_whoever_is_left() {
    let Some(cgroup) = create("remove", json!({})) else { return };
    let mut child = sleeper();
    cgroup.enter(pid(&child)).unwrap();
    cgroup.remove().unwrap();
    assert!(cgroup.groups.iter().all(|g| !g.dir().exists()));
    child.wait().unwrap();
}

#[test]
fn each_process_gets_a_signal_once() {
    let Some(cgroup) = create("signal", json!({})).map(Guard) else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let script = format!("trap 'echo x >> {}' USR1; echo ready; while :; do sleep 0.05; done", log.display());
    let mut child = Command::new("bash").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    cgroup.0.enter(pid(&child)).unwrap();
    cgroup.0.kill_all(libc::SIGUSR1).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(fs::read_to_string(&log).unwrap(), "x\n");
    cgroup.0.kill_all(libc::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn use_is_measured_and_want_of_memory_is_heard_of() {
    let Some(cgroup) = create("oom", json!({"memory": {"limit": 8 << 20, "swap": 8 << 20}, "pids": {"limit": 50}})).map(Guard)
    else {
        return;
    };
    let mut oom = cgroup.0.oom().unwrap();
    let enter = cgroup.0.groups.iter().map(|g| format!("echo $$ > {}/cgroup.procs;", g.dir().display())).collect::<String>();
    // tail keeps the last line, which never ends.
    let mut child = Command::new("sh").args(["-c", &format!("{enter} tail -n 1 /dev/zero")]).spawn().unwrap();
    assert_eq!(oom.wait().unwrap(), Some(true));
    child.wait().unwrap();
    let stats = cgroup.0.stats();
    assert_eq!((&stats["pids"]["limit"], &stats["memory"]["usage"]["limit"]), (&json!(50), &json!(8 << 20)));
    assert!(
        stats["cpu"]["usage"]["total"].as_u64().unwrap() > 0 && stats["memory"]["usage"]["max"].as_u64().unwrap() > 0,
        "{stats}"
    );
    assert!(
        stats["memory"]["raw"].as_object().unwrap().len() > 10
            && stats["cpuset"]["cpus"].as_array().is_some_and(|cpus| !cpus.is_empty()),
        "{stats}"
    );
}

#[test]
fn a_device_program_decides_who_opens_what() {
    if !in_pure_v2("a_device_program_decides_who_opens_what") {
        return;
    }
    use crate::bpf::device::{Kind, MKNOD, READ, Rule, WRITE, program};
    let rule = |allow, major, minor, access| Rule { allow, kind: Some(Kind::Char), major: Some(major), minor, access };
    let deny = Rule { allow: false, kind: None, major: None, minor: None, access: READ | WRITE | MKNOD };
    let rules = [deny, rule(true, 1, Some(3), READ | WRITE), rule(true, 1, None, READ)];
    let Some(groups) = groups("devices") else { return };
    let mut plan = plan(groups, json!({}));
    plan.devices = Some(crate::plan::cgroup::Devices { group: 0, program: program(&rules) });
    let cgroup = Guard(Cgroup::create(&plan).unwrap().unwrap());
    let can = |command: &str| {
        let script = format!("echo $$ > {}/cgroup.procs; {command}", cgroup.0.groups[0].dir().display());
        Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(can(": > /dev/null") && can(": < /dev/null") && can(": < /dev/zero"));
    assert!(!can(": > /dev/zero") && !can(": < /dev/ptmx") && !can("mknod /dev/shm/codexrun-test-node c 1 3"));
}

#[test]
fn the_directory_is_given_to_the_containers_user() {
    if !in_pure_v2("the_directory_is_given_to_the_containers_user") {
        return;
    }
    let Some(groups) = groups("owner") else { return };
    let cgroup = Guard(Cgroup::create(&Plan { owner: Some(7), ..plan(groups, json!({})) }).unwrap().unwrap());
    let owner = |name: &str| std::os::unix::fs::MetadataExt::uid(&fs::metadata(cgroup.0.groups[0].dir().join(name)).unwrap());
    assert_eq!(["", "cgroup.procs", "cgroup.subtree_control", "cgroup.max.depth"].map(owner), [7, 7, 7, 0]);
}
