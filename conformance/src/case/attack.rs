//! `probe attack` in every mode: each promises some walls, and nothing may get through those. Outside of any sandbox much gets through: the
//! program can fail.

use super::{Case, On, Play, case};
use crate::launch::Ran;
use crate::outside::Outside;
use crate::policy::{POLICIES, special};
use crate::report::{No, Verdict, fail};
use crate::runtime::Job;
use crate::scene::{Scene, difference, snapshot};
use nix::unistd::Uid;
use serde_json::json;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};

pub const CASES: &[Case] = &[
    case("nothing gets through read-only", On::Every, |p| held(p, &preset(p, 0)?, &["files", "workspace", "network", "streams"])),
    case("nothing gets through workspace-write", On::Every, |p| held(p, &preset(p, 1)?, &["files", "network", "streams"])),
    case("nothing gets through with Unix datagrams", On::Codexrun, |p| {
        held_with(p, &preset(p, 1)?, &["--unix-datagrams"], &["files", "network"])
    }),
    case("nothing gets through with Unix datagrams and the network on", On::Codexrun, |p| {
        held_with(p, &preset(p, 2)?, &["--unix-datagrams"], &["files"])
    }),
    case("nothing gets through proxy-only", On::Every, proxy),
    case("nothing gets through with the network on", On::Every, |p| held(p, &preset(p, 2)?, &["files"])),
    case("nothing gets through unrestricted files without network", On::Every, |p| {
        held(p, &unrestricted(p)?, &["network", "streams"])
    }),
    case("outside of any sandbox attempts get through", On::Every, control),
    case("allow_syscalls lifts what it names and nothing else", On::Every, lifted),
];

/// The program knows more attempts than this for every mode, and for none.
const LEAST: usize = 1000;
/// Fewer than get through outside, as root and as an ordinary user.
const THROUGH: [usize; 2] = [250, 120];

fn preset(play: &Play, number: usize) -> Result<String, No> {
    Ok(POLICIES[number].word(&play.scene)?)
}

fn unrestricted(play: &Play) -> Result<String, No> {
    let policy = json!({"file_system": {"kind": "unrestricted"}, "network": "restricted"});
    Ok(play.scene.put("unrestricted.json", &policy.to_string())?.display().to_string())
}

/// The proxy is a listener that nobody comes to.
fn proxy(play: &Play) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let entries = vec![special("root", "read"), special("project_roots", "write")];
    let mut policy = crate::policy::pair(entries);
    policy["network"] = json!({"mode": "proxy"});
    let file = play.scene.put("proxy.json", &policy.to_string())?.display().to_string();
    let variable = format!("HTTP_PROXY=http://{}", listener.local_addr()?);
    held_with(play, &file, &["--env", &variable], &["files", "network", "proxy", "streams"])
}

fn held(play: &Play, policy: &str, walls: &[&str]) -> Verdict {
    held_with(play, policy, &[], walls)
}

/// What every sandbox promises, and these; and outside nothing has changed.
fn held_with(play: &Play, policy: &str, options: &[&str], walls: &[&str]) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    let walls = [walls, &["always"], if play.column.runtime.is_codexrun() { &["ours"] } else { &[] }].concat();
    set_user_id(play)?;
    let before = protected(&play.scene, &walls);
    let told = attack(play, &outside, policy, options, Some(&walls))?;
    told.ran.must(&format!("at least {LEAST} attempts, nothing through"), told.ran.code == 0 && told.made >= LEAST)?;
    if !told.through.is_empty() {
        let lines = told.through.join("\n");
        return fail(&told.ran.line, "nothing through", format!("{} of {}:\n{lines}", told.through.len(), told.made));
    }
    for (before, after) in before.iter().zip(protected(&play.scene, &walls)) {
        difference(before, &after).map_or(Ok(()), |difference| fail(&told.ran.line, "no change outside", difference))?;
    }
    let called = outside.called();
    if walls.contains(&"network") && !called.is_empty() { fail(&told.ran.line, "nobody called", called) } else { Ok(()) }
}

type Snapshot = std::collections::BTreeMap<std::path::PathBuf, String>;

fn protected(scene: &Scene, walls: &[&str]) -> Vec<Snapshot> {
    if !walls.contains(&"files") {
        return Vec::new();
    }
    [scene.out(), scene.w().join(".git"), scene.x().join(".codex")].iter().map(|dir| snapshot(dir)).collect()
}

/// Another user's program with the set-user-ID bit, where we can make one.
fn set_user_id(play: &Play) -> Verdict {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let program = play.scene.out().join("suid");
    std::fs::copy(play.scene.w().join("bin/probe"), &program)?;
    chown(&program, Some(if play.column.actor.is_root() { 65534 } else { 0 }), None)?;
    Ok(std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755))?)
}

/// What the program said.
struct Told {
    ran: Ran,
    through: Vec<String>,
    made: usize,
}

fn attack(play: &Play, outside: &Outside, policy: &str, options: &[&str], walls: Option<&[&str]>) -> Result<Told, No> {
    let scene = &play.scene;
    let mut world = vec![
        ("w", scene.w().display().to_string()),
        ("x", scene.x().display().to_string()),
        ("out", scene.out().display().to_string()),
        ("tmp", outside.tmp.display().to_string()),
        ("pid", outside.pid().to_string()),
        ("tcp", outside.tcp.clone()),
        ("udp", outside.udp.clone()),
        ("name", outside.name.clone()),
    ];
    world.extend(walls.map(|walls| ("walls", walls.join(","))));
    let world: Vec<String> = world.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let argv = [vec![scene.w().join("bin/probe").display().to_string(), "attack".into()], world].concat();
    let options = options.iter().map(|word| word.to_string()).collect();
    let job = Job { leak: true, options, argv, ..Job::new(policy, scene, &[]) };
    let ran = play.column.run(scene, &job)?;
    let (ends, through): (Vec<&str>, Vec<&str>) = ran.out.lines().partition(|line| line.starts_with("end\t"));
    let made = ends.first().and_then(|end| end[4..].parse().ok()).unwrap_or(0);
    let through = through.into_iter().map(|line| line.replace('\t', ": ")).collect();
    Ok(Told { ran, through, made })
}

/// danger-full-access is no sandbox: nothing is promised, and the attempts do what they are meant to do.
fn control(play: &Play) -> Verdict {
    let outside = Outside::new(&play.scene, &play.column.actor)?;
    set_user_id(play)?;
    let told = attack(play, &outside, "danger-full-access", &[], None)?;
    let least = THROUGH[usize::from(!play.column.actor.is_root())];
    let through = told.through.len();
    told.ran.must(&format!("at least {least} through, of {}; there are {through}", told.made), through >= least)
}

/// With each choice its own probe succeeds, and that of no other.
fn lifted(play: &Play) -> Verdict {
    let probes = ["ptrace-child", "unshare 10000000", "keyctl-session"];
    for (number, name) in ["tracing", "namespaces", "keys"].iter().enumerate() {
        let (ran, answers) = super::network::probes(play, super::WRITE, &["--allow-syscalls", name], &probes)?;
        let right = answers.iter().enumerate().all(|(n, answer)| (answer == "ok") == (n == number));
        ran.must(&format!("{name} alone; {probes:?} say {answers:?}"), right && ran.code == 0)?;
    }
    let mount = format!("userns-mount {}", play.scene.w().join("sub").display());
    for (options, expected) in [(&["namespaces"][..], "EPERM"), (&["namespaces", "mounts"], "ok")] {
        let options: Vec<&str> = options.iter().flat_map(|name| ["--allow-syscalls", name]).collect();
        let (ran, answers) = super::network::probes(play, super::WRITE, &options, &[&mount])?;
        ran.must(&format!("{expected}; it is {answers:?}"), answers[0] == expected)?;
    }
    Ok(())
}
