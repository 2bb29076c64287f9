//! Facts about the process the sandbox made: privileges, namespaces, descriptors, environment, mounts.

use crate::Verb;
use crate::outcome::{Outcome, word};
use crate::syscall::{Arg, call};
use std::fs;

/// Every verb of this file.
pub const VERBS: &[Verb] = &[
    ("no-new-privs", |_| same("1", &status("NoNewPrivs")?)),
    ("seccomp", |_| same("2", &status("Seccomp")?)),
    ("no-caps", |a| same("0000000000000000", &status(a[0])?)),
    ("pid-namespace", |_| pid_namespace()),
    ("parent-is-1", |_| parent_is_1()),
    ("own-session", |_| own_session()),
    ("reaper", |_| reaper()),
    ("descriptors", |_| descriptors()),
    ("env", |a| same(a[1], &std::env::var(a[0]).unwrap_or_else(|_| "unset".into()))),
    ("env-any", env_any),
    ("cwd", |a| same(a[0], &std::env::current_dir()?.display().to_string())),
    ("rw-mounts", rw_mounts),
    ("no-setid-mounts", |_| no_setid_mounts()),
    ("only-processes", |_| only_processes()),
    ("interfaces", |_| interfaces()),
];

fn same(expected: &str, got: &str) -> Outcome {
    if expected == got { Ok(got.into()) } else { word("differs", format!("expected {expected}, got {got}")) }
}

fn status(key: &str) -> std::io::Result<String> {
    let text = fs::read_to_string("/proc/self/status")?;
    let value = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    Ok(value.unwrap_or("absent").trim().into())
}

/// /proc belongs to the namespace that we are in, and it is a young one.
fn pid_namespace() -> Outcome {
    let seen = fs::read_link("/proc/self")?.display().to_string();
    let own = std::process::id().to_string();
    if seen != own {
        return word("foreign-proc", format!("{seen} is not {own}"));
    }
    if own.len() > 3 { word("differs", format!("pid {own} in a new namespace?")) } else { Ok(own) }
}

/// The command is a child of PID 1, a reaper. The command is our parent: each probe is a child of it.
fn parent_is_1() -> Outcome {
    let text = fs::read_to_string(format!("/proc/{}/status", std::os::unix::process::parent_id()))?;
    same("1", text.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap_or("absent").trim())
}

/// A session whose leader is in this namespace: 0 means that the leader, and its terminal, are outside.
fn own_session() -> Outcome {
    match call(libc::SYS_getsid, [Arg::Int(0)])? {
        0 => word("foreign", "getsid(0) = 0"),
        sid => Ok(sid.to_string()),
    }
}

/// An orphan is collected by PID 1 (codex 10.3, number 29).
fn reaper() -> Outcome {
    let script = "sh -c 'sleep 0.1 & echo $!' & wait";
    let out = std::process::Command::new("/bin/sh").args(["-c", script]).output()?;
    let pid = String::from_utf8_lossy(&out.stdout).trim().to_string();
    for _ in 0..30 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        if fs::metadata(format!("/proc/{pid}")).is_err() {
            return Ok(pid);
        }
    }
    word("zombie", pid)
}

/// Descriptors above 2 in the process that the sandbox started, which is this one's parent: PID 1 or its child.
fn descriptors() -> Outcome {
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        let target = fs::read_link(&path).map(|t| t.display().to_string()).unwrap_or_default();
        let number = path.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok()).unwrap_or(0);
        // The directory being read is one, and belongs to this function.
        if number > 2 && !target.ends_with("/fd") {
            open.push(format!("{number}->{target}"));
        }
    }
    if open.is_empty() { Ok(String::new()) } else { word("leaked", open.join(" ")) }
}

/// At least one of the variables is set.
fn env_any(names: &[&str]) -> Outcome {
    match names.iter().find(|n| std::env::var_os(n).is_some()) {
        Some(name) => Ok((*name).into()),
        None => word("unset", names.join(" ")),
    }
}

/// Every mount that is not below one of `allowed` is read-only: the hole that `rbind,ro` leaves.
fn rw_mounts(allowed: &[&str]) -> Outcome {
    let below = |at: &str| allowed.iter().any(|a| at == *a || at.starts_with(&format!("{a}/")));
    let open: Vec<String> = mounts(|at, options| !below(at) && !options.split(',').any(|o| o == "ro"))?;
    if open.is_empty() { Ok(String::new()) } else { word("writable", open.join(" ")) }
}

/// Every mount is nosuid: set-user-id programs of the host keep no power. Below /dev and /proc there are no programs, and
/// a rootless runtime may bind the host's device nodes there one by one.
fn no_setid_mounts() -> Outcome {
    let programs = |at: &str| at != "/" && !at.starts_with("/dev/") && !at.starts_with("/proc/");
    let open = mounts(|at, options| programs(at) && !options.split(',').any(|o| o == "nosuid"))?;
    if open.is_empty() { Ok(String::new()) } else { word("suid", open.join(" ")) }
}

fn mounts(pick: impl Fn(&str, &str) -> bool) -> std::io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let fields = text.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    Ok(fields.filter(|f| f.len() > 5 && pick(f[4], f[5])).map(|f| f[4].to_string()).collect())
}

/// No process of the host is listed: the sandbox has a handful.
fn only_processes() -> Outcome {
    let count = fs::read_dir("/proc")?
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())));
    match count.count() {
        n if n <= 8 => Ok(n.to_string()),
        n => word("many", n),
    }
}

/// Only the loopback interface (and kernel tunnels, which are down) exists.
fn interfaces() -> Outcome {
    let text = fs::read_to_string("/proc/self/net/dev")?;
    let names = text.lines().skip(2).filter_map(|l| l.split(':').next()).map(str::trim);
    let real: Vec<&str> = names.filter(|n| n.starts_with("eth") || n.starts_with("en") || n.starts_with("wl")).collect();
    if real.is_empty() { Ok(String::new()) } else { word("host", real.join(" ")) }
}
