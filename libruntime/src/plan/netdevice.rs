//! `linux.netDevices`: network devices of the host that become the container's.

use super::op::{NetDevice, Op, ParentOp, Sync};
use super::order::Stage;
use super::{Draft, ParentStep};
use oci_spec::runtime::Spec;
use std::collections::HashMap;

pub(super) fn plan(draft: &mut Draft, spec: &Spec) {
    let Some(devices) = spec.linux().as_ref().and_then(|l| l.net_devices().as_ref()).filter(|d| !d.is_empty()) else { return };
    let place = "linux.netDevices";
    if !draft.spaces.own(libc::CLONE_NEWNET) {
        return draft.refuse(place, "needs a network namespace of the container's own");
    }
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    draft.step(Stage::NetDevices, Op::Tell(Sync::Networked), place);
    draft.step(Stage::NetDevices, Op::Wait(Sync::NetDevices), place);
    draft.parent.push(ParentStep { op: ParentOp::Wait(Sync::Networked), origin: place.to_owned() });
    let mut taken = HashMap::new();
    for (host, device) in devices {
        let place = format!("{place}[{host}]");
        let inside = device.name().as_ref().filter(|name| !name.is_empty()).unwrap_or(host);
        let renamed = Some(inside).filter(|inside| *inside != host);
        for name in [Some(host), renamed].into_iter().flatten().filter(|name| !is_name(name)) {
            draft.refuse(&place, format!("`{name}` is no name of a network device"));
        }
        // Of a pattern the kernel makes a name that is free.
        if let Some(other) = taken.insert(inside, host).filter(|_| !inside.contains('%')) {
            draft.refuse(&place, format!("`{inside}` is the name of [{other}] already"));
        }
        let op = NetDevice { host: host.clone().into_bytes(), inside: inside.clone().into_bytes() };
        draft.parent.push(ParentStep { op: ParentOp::NetDevice(op), origin: place });
    }
    draft.parent.push(ParentStep { op: ParentOp::Tell(Sync::NetDevices), origin: place.to_owned() });
}

/// As the kernel sees it (`dev_valid_name`); `%d` stands for a number that it finds.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    let percent = name.matches('%').count() == usize::from(name.contains("%d"));
    (1..16).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(plain) && percent
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_the_kernels() {
        for (name, right) in [
            ("eth0", true),
            ("eth%d", true),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("%d%d", false),
            ("%s", false),
        ] {
            assert_eq!(is_name(name), right, "{name}");
        }
        assert!(is_name(&"x".repeat(15)) && !is_name(&"x".repeat(16)));
    }
}
