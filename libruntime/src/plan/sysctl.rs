//! `linux.sysctl`: kernel parameters of the container's own namespaces. What belongs to the whole machine is refused by name.

use super::Draft;
use super::namespace::LONGEST_NAME;
use super::op::Op;
use super::order::Stage;
use super::place::c_string;
use oci_spec::runtime::Spec;
use std::collections::HashMap;

const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/msg_next_id",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
];

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(keys) = spec.linux().as_ref().and_then(|l| l.sysctl().as_ref()) else { return };
    let mut keys: Vec<_> = keys.iter().collect();
    keys.sort();
    let mut written: HashMap<String, &str> = HashMap::with_capacity(keys.len());
    for (key, value) in keys {
        let place = format!("linux.sysctl[{key}]");
        let path = path(key);
        let allowed = path.as_deref().map_or_else(|| Err(MALFORMED.to_owned()), |path| allowed(draft, spec, path));
        if let Err(why) = allowed {
            draft.refuse(&place, why);
        }
        if value.is_empty() {
            draft.refuse(&place, "is empty: there is nothing to write");
        }
        let longest = if path.as_deref() == Some("kernel/domainname") { LONGEST_NAME } else { usize::MAX };
        if value.len() > longest {
            // The kernel would cut it off, and say nothing.
            draft.refuse(&place, format!("has {} bytes, and the kernel takes {longest}", value.len()));
        }
        if value.trim_end_matches('\n').contains('\n') {
            draft.refuse(&place, "has more than one line, of which the kernel would read the first");
        }
        if let Some(other) = path.clone().and_then(|path| written.insert(path, key)) {
            draft.refuse(&place, format!("is `{other}`, which stands there already"));
        }
        let strings = path.map(|path| c_string(path.as_bytes()).and_then(|path| Ok((path, c_string(value.as_bytes())?))));
        if let Some((path, value)) = strings.and_then(|strings| draft.take(&place, strings)) {
            draft.step(Stage::Sysctl, Op::Sysctl { path, value }, place);
        }
    }
}

const MALFORMED: &str = "is not the name of a kernel parameter";

/// Below /proc/sys. As sysctl(8): whichever of `.` and `/` comes first separates, and the other stands for the first inside of a
/// name (`net/ipv4/conf/eth0.100`, `net.ipv4.conf.eth0/100`).
fn path(key: &str) -> Option<String> {
    let separator = key.find(['.', '/']).map(|at| key.as_bytes()[at])?;
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if separator == b'.' { key.chars().map(swap).collect() } else { key.to_owned() };
    // Neither an empty name nor one that climbs (CVE-2025-52881 begins with a write that lands elsewhere).
    path.split('/').all(|name| !matches!(name, "" | "." | "..")).then_some(path)
}

fn allowed(draft: &Draft, spec: &Spec, path: &str) -> Result<(), String> {
    let needs = |flag, name| match draft.spaces.own(flag) {
        true => Ok(()),
        false => Err(format!("belongs to the {name} namespace, of which the container has none of its own")),
    };
    match path {
        "kernel/hostname" => Err("is what `hostname` is for".to_owned()),
        "kernel/domainname" if spec.domainname().is_some() => Err("is what `domainname` says already".to_owned()),
        "kernel/domainname" => needs(libc::CLONE_NEWUTS, "uts"),
        _ if IPC.contains(&path) || path.starts_with("fs/mqueue/") => needs(libc::CLONE_NEWIPC, "ipc"),
        _ if path.starts_with("net/") => needs(libc::CLONE_NEWNET, "network"),
        // user_namespaces(7): how many namespaces and the like may be made in it.
        _ if path.starts_with("user/") => needs(libc::CLONE_NEWUSER, "user"),
        "kernel/pid_max" => {
            Err("is not supported: before Linux 6.14 it is the whole machine's, and only then the pid namespace's".to_owned())
        }
        _ => Err("belongs to no namespace: it would be changed for the whole machine".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn the_first_separator_decides_and_nothing_climbs() {
        for (key, wanted) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
            ("net.ipv4.conf.eth0/100.forwarding", Some("net/ipv4/conf/eth0.100/forwarding")),
            ("net/ipv4/conf/eth0.100/forwarding", Some("net/ipv4/conf/eth0.100/forwarding")),
            ("net/../kernel/core_pattern", None),
            ("net.//.kernel.core_pattern", None),
            ("net..ipv4", None),
            ("/net/ipv4", None),
            ("net/", None),
            ("hostname", None),
            ("", None),
        ] {
            assert_eq!(path(key).as_deref(), wanted, "{key}");
        }
    }
}
