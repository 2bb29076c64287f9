//! Who the command is and what it may do.

use super::{Check, Group, On, Play, check};
use crate::engine::cli::equal;
use crate::engine::image;
use crate::report::Verdict;
use std::path::Path;

pub const GROUP: Group = Group { name: "rights", checks: CHECKS };

const CHECKS: &[Check] = &[
    check("a user by number", On::Every, |p| p.says(&["-u", "1000:2000"], "id -u; id -g", "1000\n2000")),
    check("a user by name", On::Every, |p| p.says(&["-u", "app"], "id -u; id -g", "1000\n1000")),
    check("--group-add", On::Every, |p| p.says(&["-u", "1000", "--group-add=2000"], "id -G | tr ' ' '\\n' | grep -c 2000", "1")),
    check("an ordinary user has no capabilities", On::Every, |p| capability(p, &["-u", "1000"], "CapEff", "0000000000000000")),
    check("--cap-drop=all", On::Every, |p| capability(p, &["--cap-drop=all"], "CapBnd", "0000000000000000")),
    check("--cap-drop=all --cap-add=CHOWN", On::Every, |p| capability(p, DROP_BUT_ONE, "CapEff", "0000000000000001")),
    check("--security-opt no-new-privileges", On::Every, |p| status(p, &["--security-opt=no-new-privileges"], "NoNewPrivs", "1")),
    check("a seccomp profile is on", On::Every, |p| status(p, &[], "Seccomp", "2")),
    check("seccomp=unconfined", On::Every, |p| status(p, &["--security-opt=seccomp=unconfined"], "Seccomp", "0")),
    check("seccomp=FILE forbids mkdir", On::Every, |p| mkdir(p, &[])),
    check("seccomp=FILE with no-new-privileges", On::Every, |p| mkdir(p, &["--security-opt=no-new-privileges"])),
    check("--sysctl of the network namespace", On::Every, |p| sysctl(p, "net.ipv4.ip_default_ttl", "77")),
    check("--sysctl of the IPC namespace", On::Every, |p| sysctl(p, "kernel.msgmax", "9000")),
    check("--uidmap and --gidmap", On::Podman, mapped),
    check("root of a rootless container is the caller", On::Rootless, caller),
    check("the caller's groups are not the command's", On::Every, |p| p.says(&["-u", "1000:1000"], "id -G", "1000")),
    check("--group-add=keep-groups", On::Podman, kept),
];

/// runc does not know the annotation that podman writes for it.
fn kept(p: &Play) -> Verdict {
    let member = p.cli.behind(Path::new("/usr/bin/setpriv"), &["--groups=7,8"]);
    let run = ["run", "--rm", "--network=none", "--group-add=keep-groups", image::NAME, "id", "-G"];
    equal("the groups", member.said(&run)?, "0 7 8")
}

const DROP_BUT_ONE: &[&str] = &["--cap-drop=all", "--cap-add=CHOWN"];
const NO_MKDIR: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;

fn status(p: &Play, options: &[&str], field: &str, expected: &str) -> Verdict {
    p.says(options, &format!("grep ^{field}: /proc/self/status | tr -d ' \\t' | cut -d: -f2"), expected)
}

fn capability(p: &Play, options: &[&str], set: &str, expected: &str) -> Verdict {
    status(p, options, set, expected)
}

fn mkdir(p: &Play, more: &[&str]) -> Verdict {
    let file = p.cli.put("seccomp/no-mkdir.json", NO_MKDIR)?;
    let option = format!("--security-opt=seccomp={file}");
    let ran = p.sh(&[&[option.as_str()], more].concat(), "touch /tmp/x && mkdir /tmp/d")?;
    ran.must("Operation not permitted", ran.code == 1 && ran.err.contains("not permitted"))
}

fn sysctl(p: &Play, name: &str, value: &str) -> Verdict {
    let file = name.replace('.', "/");
    p.says(&[&format!("--sysctl={name}={value}")], &format!("cat /proc/sys/{file}"), value)
}

fn mapped(p: &Play) -> Verdict {
    let script = "awk '{print $1, $2, $3}' /proc/self/uid_map; id -u; ls -ln /data/first | awk '{print $3}'";
    p.says(&["--uidmap=0:100000:5000", "--gidmap=0:100000:5000"], script, "0 100000 5000\n0\n0")
}

fn caller(p: &Play) -> Verdict {
    let name = p.idle(&[])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", p.inspect(&name, ".State.Pid")?))?;
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:\t")).unwrap_or_default().to_string();
    equal("uid on the host", uid.split('\t').next().unwrap_or_default(), p.site.user.uid)
}
