//! Namespaces that are shared, and networks.

use super::{Check, Group, On, Play, check};
use crate::report::Verdict;

pub const GROUP: Group = Group { name: "namespaces", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("each container has its own", On::Every, own),
    check("--pid=container:", On::Every, |p| joined(p, "pid")),
    check("--network=container:", On::Every, |p| joined(p, "net")),
    check("--ipc=container:", On::Every, |p| joined(p, "ipc")),
    check("--uts=host", On::Every, |p| host(p, "uts")),
    check("--pid=host", On::Every, |p| host(p, "pid")),
    check("with --pid=host, what the command leaves is killed", On::Rights, leftover),
    check("--network=host", On::Every, |p| host(p, "net")),
    check("no network but lo", On::Every, |p| {
        p.says(&[], "ls /sys/class/net 2>/dev/null | grep -v -e lo -e dummy -e sit -e ip6tnl -e tunl; true", "")
    }),
    check("a bridge gives it an address", On::Podman, |p| interface(p, "--network=podman", "eth0")),
    check("docker's bridge gives it an address", On::Docker, |p| interface(p, "--network=bridge", "eth0")),
    check("slirp4netns gives it an address", On::Podmans, |p| interface(p, "--network=slirp4netns", "tap0")),
];

fn own(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let pid = p.inspect(&name, ".State.Pid")?;
    for namespace in ["pid", "net", "ipc", "uts", "mnt"] {
        let link = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"));
        let differ = link(&pid)? != link("self")?;
        crate::engine::cli::equal(&format!("a {namespace} namespace of its own"), differ, true)?;
    }
    Ok(())
}

fn joined(p: &Play, namespace: &str) -> Verdict {
    let option = if namespace == "net" { "network" } else { namespace };
    // docker shares an IPC namespace only when its owner allows it.
    let name = p.idle(if namespace == "ipc" { &["--ipc=shareable"] } else { &[] })?;
    let script = format!("readlink /proc/self/ns/{namespace}");
    let there = p.exec(&[], &name, &script)?.out;
    p.says(&[&format!("--{option}=container:{name}")], &script, there.trim_end())
}

fn host(p: &Play, namespace: &str) -> Verdict {
    let option = if namespace == "net" { "network" } else { namespace };
    let here = std::fs::read_link(format!("/proc/self/ns/{namespace}"))?.display().to_string();
    p.says(&[&format!("--{option}=host")], &format!("readlink /proc/self/ns/{namespace}"), &here)
}

fn leftover(p: &Play) -> Verdict {
    p.sh(&["--pid=host"], "sleep 7531 >/dev/null 2>&1 & exit 0")?.code_is(0)?;
    let alive = || crate::launch::processes().iter().any(|(_, _, line)| line.ends_with(": sleep 7531"));
    crate::engine::cli::holds("the second process is gone", || !alive())
}

fn interface(p: &Play, option: &str, name: &str) -> Verdict {
    let script = format!(
        "i=0; until ip -4 addr show {name} 2>/dev/null | grep -q inet; do i=$((i+1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done"
    );
    p.sh(&[option], &script)?.code_is(0)
}
