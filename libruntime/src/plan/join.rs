//! `linux.namespaces[].path`: namespaces that exist already.

use super::namespace::Maps;
use super::op::{Join, Op, ParentOp};
use super::order::Stage;
use super::place::c_path;
use super::{Draft, ParentStep};
use oci_spec::runtime::{Linux, Spec};
use std::path::Path;

/// The container's namespaces as CLONE_NEW* flags; what is in neither is the runtime's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spaces {
    /// Made for it.
    pub new: u64,
    /// Made by somebody else.
    pub joined: u64,
}

impl Spaces {
    /// Whether the container has one of this kind that is not simply the runtime's.
    pub fn own(self, flag: libc::c_int) -> bool {
        (self.new | self.joined) & flag as u64 != 0
    }
}

/// All are opened before the clone: inside, the path may lead elsewhere.
pub(super) fn plan(draft: &mut Draft, spec: &Spec, place: &str, flag: u64, path: &Path) {
    if !path.is_absolute() {
        return draft.refuse(place, format!("`{}` is not an absolute path", path.display()));
    }
    if flag == libc::CLONE_NEWNS as u64 {
        let what = "the container's mounts are made in it, and its root becomes that of everybody there, as with runc and crun";
        draft.warnings.push(format!("config.json: {place}: {what}"));
    }
    if let Some(path) = draft.take(place, c_path(path)) {
        let op = ParentOp::Join(Join { flag, path, changed_by: changed_by(spec, flag) });
        draft.before.push(ParentStep { op, origin: place.to_owned() });
    }
}

/// The field that changes what a namespace of this kind holds.
fn changed_by(spec: &Spec, flag: u64) -> Option<&'static str> {
    let linux = spec.linux().as_ref();
    let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    let (ipc, net, uts) = (libc::CLONE_NEWIPC as u64, libc::CLONE_NEWNET as u64, libc::CLONE_NEWUTS as u64);
    let fields = [
        ("linux.sysctl", ipc | net | uts, linux.and_then(|l| l.sysctl().as_ref()).is_some_and(|keys| !keys.is_empty())),
        ("linux.netDevices", net, linux.and_then(|l| l.net_devices().as_ref()).is_some_and(|devices| !devices.is_empty())),
        ("hostname", uts, named(spec.hostname())),
        ("domainname", uts, named(spec.domainname())),
    ];
    fields.into_iter().find(|(_, kinds, said)| kinds & flag != 0 && *said).map(|(field, ..)| field)
}

/// A user namespace has its maps since it was made (user_namespaces(7)). Engines give some all the same, as runc once wanted
/// (podman a dummy, containerd those that the namespace has): they change nothing, which is said.
pub(super) fn user(draft: &mut Draft, linux: &Linux) -> Maps {
    for (list, name) in [(linux.uid_mappings(), "linux.uidMappings"), (linux.gid_mappings(), "linux.gidMappings")] {
        if list.as_ref().is_some_and(|l| !l.is_empty()) {
            draft.warnings.push(format!("config.json: {name} has no effect: the user namespace is joined, and has its own"));
        }
    }
    draft.step(Stage::UserMap, Op::Become { uid: 0, gid: 0 }, "linux.namespaces");
    Maps::Foreign
}
