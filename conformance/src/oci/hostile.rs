//! Bundles made to hurt: each is run or refused, in bounded time and memory, and what is said of it is a few short sentences. Of codexrun
//! only: the specification says nothing of the kind.

use super::Who::Both;
use super::bundle::push;
use super::turn::Turn;
use super::{Must, must};
use crate::launch::Ran;
use crate::report::{Verdict, skip};
use crate::runtime::Kind;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use std::fs;
use std::io::Result;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

pub const CASES: &[Must] = &[
    must("hostile.text", "a config.json that is no specification is refused, whatever it is instead", Both, texts),
    must("hostile.bytes", "no byte of a name reaches a terminal, and no name fills it", Both, bytes),
    must("hostile.size", "ten thousand of everything are run or refused, in bounded time and memory", Both, sizes),
    must("hostile.rootfs", "FIFOs, links and loops in the root file system hold nothing up", Both, roots),
];

/// KiB of address space; a launch of the smallest bundle takes a tenth of it.
const MEMORY: &str = "ulimit -v 524288; exec \"$@\"";
/// Lines and bytes of a line that may be said.
const TOLD: (usize, usize) = (1001, 11_000);

/// Runs a bundle with a config.json of this text.
fn run(turn: &Turn, text: &str, change: impl FnOnce(&Path) -> Result<()>) -> Verdict {
    let bundle = turn.bundle(&json!({}))?;
    fs::write(bundle.join("config.json"), text)?;
    change(&bundle)?;
    let mut launch = turn.launch(&["run", "--bundle", &bundle.display().to_string(), &turn.fresh()]);
    launch.argv = ["/bin/sh", "-c", MEMORY, "sh"].map(str::to_owned).into_iter().chain(launch.argv).collect();
    judge(&launch.run(&turn.column.actor)?)
}

fn judge(ran: &Ran) -> Verdict {
    let sentence = |line: &str| line.starts_with("codexrun: ") && line.len() < TOLD.1 && !line.contains(char::is_control);
    let told = ran.err.lines().count() <= TOLD.0 && ran.err.lines().all(sentence);
    let brief = Ran { err: ran.err.chars().take(500).collect(), ..ran.clone() };
    brief.must("an end", !ran.timed_out)?;
    brief.must("few and short sentences", told)?;
    brief.must(
        "to be run, or refused with a reason",
        if ran.code == 0 { ran.out == "ran\n" } else { ran.out.is_empty() && !ran.err.is_empty() },
    )
}

fn is_ours(turn: &Turn) -> Verdict {
    if turn.column.runtime.kind == Kind::Codexrun { Ok(()) } else { skip("codexrun promises it") }
}

fn base(turn: &Turn) -> Value {
    turn.config(&["/bin/echo", "ran"])
}

fn texts(turn: &Turn) -> Verdict {
    is_ours(turn)?;
    let good = base(turn).to_string();
    let inside = |more: &str| good.replacen('{', &format!("{{{more},"), 1);
    let keys: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":0")).collect();
    let wrong: Vec<String> = (0..5_000).map(|n| format!("\"{n}\"")).collect();
    let all = [
        String::new(),
        "\0".repeat(1 << 20),
        "[".repeat(1 << 20),
        "{\"a\":".repeat(1 << 18),
        format!("{{\"mounts\":{}", "[".repeat(1 << 20)),
        good.replace("\"cwd\"", "\"cwd\":\"/x\",\"cwd\""),
        inside("\"process\":{},\"process\":{}"),
        good.replace("\"uid\":0", "\"uid\":1e400"),
        good.replace("\"uid\":0", &format!("\"uid\":{}", "9".repeat(1 << 20))),
        good.replace("\"uid\":0", "\"uid\":-1"),
        inside(&keys.join(",")),
        format!("{{\"mounts\":[{}]}}", wrong.join(",")),
    ];
    all.iter().try_for_each(|text| run(turn, text, |_| Ok(())))
}

fn bytes(turn: &Turn) -> Verdict {
    is_ours(turn)?;
    let odd = "/a\n\u{1b}[31m\0\u{9b}2J\r";
    let long = format!("/{}", "é".repeat(1 << 19));
    for name in [odd, &long, &"/a".repeat(1 << 18), "/a\n\u{1b}c"] {
        for (pointer, value) in [
            ("/process/cwd", json!(name)),
            ("/process/args", json!([name])),
            ("/process/env", json!([name])),
            ("/hostname", json!(name)),
            ("/root/path", json!(name)),
            ("/ociVersion", json!(name)),
            ("/linux/maskedPaths", json!([name])),
            ("/linux/sysctl", json!({name: name})),
            ("/annotations", json!({name: name, format!("dev.codexrun.{name}"): name})),
            ("/mounts/1/destination", json!(name)),
            ("/mounts/1/type", json!(name)),
            ("/mounts/1/options", json!([name])),
        ] {
            run(turn, &with(turn, pointer, value).to_string(), |_| Ok(()))?;
        }
    }
    let others = [
        ("/mounts/1/source", json!(odd)),
        ("/domainname", json!(odd)),
        ("/process/capabilities", json!({"bounding": [odd]})),
        ("/process/rlimits", json!([{"type": odd, "soft": 1, "hard": 1}])),
        ("/process/apparmorProfile", json!(odd)),
        ("/process/selinuxLabel", json!(odd)),
        ("/linux/cgroupsPath", json!(odd)),
        ("/linux/devices", json!([{"path": odd, "type": odd, "major": 1, "minor": 3}])),
        ("/linux/mountLabel", json!(odd)),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid", "path": odd}])),
        ("/linux/readonlyPaths", json!([odd])),
        ("/linux/rootfsPropagation", json!(odd)),
        ("/linux/seccomp", json!({"defaultAction": odd, "syscalls": [{"names": [odd], "action": odd}]})),
        ("/hooks", json!({"createRuntime": [{"path": odd, "args": [odd], "env": [odd]}]})),
    ];
    others.into_iter().try_for_each(|(pointer, value)| run(turn, &with(turn, pointer, value).to_string(), |_| Ok(())))
}

/// The good configuration with one value in place of another, or beside the others.
fn with(turn: &Turn, pointer: &str, value: Value) -> Value {
    let mut config = base(turn);
    let (parent, name) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(parent) = config.pointer_mut(parent) {
        parent[name] = value;
    }
    config
}

fn sizes(turn: &Turn) -> Verdict {
    is_ours(turn)?;
    let many = |n: usize, one: &dyn Fn(usize) -> Value| Value::Array((0..n).map(one).collect());
    let rule = |n: usize| json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": n, "op": "SCMP_CMP_EQ"}]});
    let words = |n: usize, length: usize| {
        let words = (0..n).map(|_| json!("x".repeat(length)));
        Value::Array([json!("/bin/true")].into_iter().chain(words).collect())
    };
    let deep = "/a".repeat(2000);
    let all = [
        ("/mounts", many(10_000, &|n| json!({"destination": format!("/m{n}"), "type": "tmpfs", "source": "x"}))),
        ("/mounts", many(2_000, &|n| json!({"destination": format!("{deep}{n}"), "type": "tmpfs", "source": "x"}))),
        ("/process/args", words(100, 100_000)),
        ("/process/args", words(1, 1 << 20)),
        ("/process/env", many(100_000, &|n| json!(format!("A={n}")))),
        ("/process/rlimits", many(10_000, &|_| json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": u64::MAX}))),
        ("/process/user/additionalGids", many(70_000, &|n| json!(n))),
        ("/linux/namespaces", many(20_000, &|_| json!({"type": "pid"}))),
        ("/linux/maskedPaths", many(10_000, &|n| json!(format!("/p{n}")))),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": many(20_000, &rule)})),
        (
            "/annotations",
            json!({"dev.codexrun.placeholders": many(20_000, &|n| json!(format!("/tmp/codexrun-test-{n}"))).to_string()}),
        ),
    ];
    all.into_iter().try_for_each(|(pointer, value)| run(turn, &with(turn, pointer, value).to_string(), |_| Ok(())))
}

fn roots(turn: &Turn) -> Verdict {
    is_ours(turn)?;
    let fifo = |path: &Path| -> Result<()> {
        mkfifo(path, Mode::S_IRWXU)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))
    };
    let config = base(turn);
    for name in ["proc", "dev", "sys", "tmp"] {
        run(turn, &config.to_string(), |b| {
            fs::remove_dir(b.join("rootfs").join(name)).and_then(|()| fifo(&b.join("rootfs").join(name)))
        })?;
        let link = |target: &'static str| {
            move |b: &Path| {
                fs::remove_dir(b.join("rootfs").join(name)).and_then(|()| symlink(target, b.join("rootfs").join(name)))
            }
        };
        run(turn, &config.to_string(), link("/"))?;
        run(turn, &config.to_string(), link("../../../../../../../../etc"))?;
        run(turn, &config.to_string(), link(name))?;
    }
    let in_etc = |b: &Path| fifo(&b.join("rootfs/etc/fifo")).and_then(|()| symlink("loop", b.join("rootfs/etc/loop")));
    let bind = |at: &str| json!({"destination": at, "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]});
    for path in ["/etc/fifo", "/etc/loop", "/etc/loop/x", "/etc/fifo/x"] {
        for (pointer, value) in [
            ("/process/args", json!([path])),
            ("/process/cwd", json!(path)),
            ("/linux/maskedPaths", json!([path])),
            ("/linux/readonlyPaths", json!([path])),
        ] {
            run(turn, &with(turn, pointer, value).to_string(), in_etc)?;
        }
        let mut config = base(turn);
        push(&mut config["mounts"], bind(path));
        run(turn, &config.to_string(), in_etc)?;
    }
    run(turn, "", |b| fs::remove_file(b.join("config.json")).and_then(|()| fifo(&b.join("config.json"))))?;
    run(turn, "", |b| fs::remove_file(b.join("config.json")).and_then(|()| symlink("/dev/zero", b.join("config.json"))))?;
    run(turn, &config.to_string(), |b| fs::remove_dir_all(b.join("rootfs")).and_then(|()| fifo(&b.join("rootfs"))))
}
