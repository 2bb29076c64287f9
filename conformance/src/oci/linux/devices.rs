//! File systems and devices that a container has in any case, and those that are asked for.

use crate::oci::Who::{Both, Root};
use crate::oci::bundle::remove;
use crate::oci::container::Container;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

pub const CASES: &[Must] = &[
    must(
        "linux.filesystems",
        "/proc, /sys, /dev/pts and /dev/shm are in the configuration that `spec` writes",
        Root,
        filesystems,
    ),
    must("linux.devices.default", "null, zero, full, random, urandom and tty are supplied", Both, default),
    must("linux.devices.default.work", "and can be used", Both, usable),
    must("linux.devices.ptmx", "/dev/ptmx is the container's own /dev/pts/ptmx", Both, ptmx),
    must("linux.devices.made", "a device has its type, number, mode and owner, in /dev and elsewhere", Root, made),
    must("linux.devices.mode-default", "without fileMode it can be used all the same", Root, plain),
    must("linux.devices.mismatch", "a file in its place that does not match is an error", Root, mismatch),
    must("linux.devices.match", "one that matches is none", Root, matching),
    must("linux.devices.required", "a device without path or type is an error", Root, required),
    must("linux.devices.number", "one of the types c, b and u without major or minor too; a pipe needs none", Root, number),
];

fn filesystems(turn: &Turn) -> Verdict {
    let dir = turn.dir.join("made");
    fs::create_dir(&dir)?;
    turn.succeeds(&["spec", "--bundle", &dir.display().to_string()])?;
    let config: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?).unwrap_or_default();
    for (at, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")] {
        let mounts = config["mounts"].as_array().into_iter().flatten();
        if !mounts.into_iter().any(|m| m["destination"] == at && m["type"] == kind) {
            return fail("spec", format!("a mount of type {kind} on {at}"), &config["mounts"]);
        }
    }
    Ok(())
}

const NODES: &str = "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %F %t:%T' $n; done";

fn default(turn: &Turn) -> Verdict {
    let nodes = [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")];
    let expected: String = nodes.iter().map(|(name, number)| format!("{name} character special file {number}\n")).collect();
    turn.prints(&turn.sh(NODES), &expected)
}

fn usable(turn: &Turn) -> Verdict {
    let script = "echo lost > /dev/null && echo null; read -r -n 1 x < /dev/urandom; echo urandom; \
                  echo x > /dev/full || echo full; cat /dev/null; echo end";
    turn.prints(&turn.sh(&format!("{{ {script}; }} 2>/dev/null")), "null\nurandom\nfull\nend\n")
}

fn ptmx(turn: &Turn) -> Verdict {
    let script = "[ /dev/ptmx -ef /dev/pts/ptmx ] && echo same; : < /dev/ptmx && echo opened";
    turn.prints(&turn.sh(script), "same\nopened\n")
}

fn with(turn: &Turn, script: &str, devices: Value) -> Value {
    let mut config = turn.sh(script);
    config["linux"]["devices"] = devices;
    config
}

fn made(turn: &Turn) -> Verdict {
    let devices = json!([
        {"type": "c", "path": "/dev/one", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"type": "u", "path": "/dev/deep/er/two", "major": 1, "minor": 3, "fileMode": 0o600},
        {"type": "b", "path": "/work/three", "major": 7, "minor": 9, "fileMode": 0o660, "uid": 1, "gid": 2},
        {"type": "p", "path": "/work/four", "fileMode": 0o622, "uid": 3, "gid": 4},
    ]);
    let script = "stat -c '%F %t:%T %a %u %g' /dev/one /dev/deep/er/two /work/three /work/four";
    let expected = "character special file a:e5 640 7 8\ncharacter special file 1:3 600 0 0\n\
                    block special file 7:9 660 1 2\nfifo 0:0 622 3 4\n";
    turn.prints(&with(turn, script, devices), expected)
}

fn plain(turn: &Turn) -> Verdict {
    let devices = json!([{"type": "c", "path": "/dev/another", "major": 1, "minor": 5}]);
    turn.prints(&with(turn, "read -r -n 1 x < /dev/another; echo $?", devices), "1\n").or_else(|_: No| {
        let devices = json!([{"type": "c", "path": "/dev/another", "major": 1, "minor": 3}]);
        turn.prints(&with(turn, "cat /dev/another && echo read", devices), "read\n")
    })
}

/// A device is asked for at /work/node, where something lies.
fn over<'a>(turn: &'a Turn, make: impl FnOnce(&PathBuf) -> std::io::Result<()>) -> Result<(Container<'a>, PathBuf), No> {
    let devices = json!([{"type": "c", "path": "/work/node", "major": 1, "minor": 3, "fileMode": 0o666}]);
    let bundle = turn.bundle(&with(turn, "stat -c %t:%T /work/node", devices))?;
    let node = bundle.join("rootfs/work/node");
    make(&node)?;
    Ok((Container::create(turn, bundle, &[])?, node))
}

fn node(at: &PathBuf, minor: u32) -> std::io::Result<()> {
    Ok(mknodat(CWD, at, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, minor))?)
}

fn mismatch(turn: &Turn) -> Verdict {
    for case in 0..3 {
        let (container, _) = over(turn, |at| match case {
            0 => fs::write(at, "a file"),
            1 => fs::create_dir(at),
            _ => node(at, 5),
        })?;
        container.made.must("create fails", container.made.code != 0)?;
    }
    Ok(())
}

fn matching(turn: &Turn) -> Verdict {
    let (container, _) = over(turn, |at| node(at, 3))?;
    container.made.must("create exits 0", container.made.code == 0)?;
    container.start()?;
    container.ended()?;
    container.says("1:3\n")
}

fn number(turn: &Turn) -> Verdict {
    for device in [json!({"type": "c", "minor": 3}), json!({"type": "b", "major": 8}), json!({"type": "u"})] {
        turn.refused(&with_device(turn, "true", device))?;
    }
    turn.prints(&with_device(turn, "stat -c %F /dev/local", json!({"type": "p"})), "fifo\n")
}

fn with_device(turn: &Turn, script: &str, mut device: Value) -> Value {
    let mut config = turn.sh(script);
    device["path"] = json!("/dev/local");
    config["linux"]["devices"] = json!([device]);
    config
}

fn required(turn: &Turn) -> Verdict {
    for field in ["path", "type"] {
        let mut device = json!({"type": "c", "path": "/dev/one", "major": 1, "minor": 3});
        remove(&mut device, field);
        turn.refused(&with(turn, "true", json!([device])))?;
    }
    Ok(())
}
