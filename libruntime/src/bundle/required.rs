//! Members that the specification requires, and for which `oci_spec` reads 0, `false` or nothing where config.json leaves them out:
//! another limit, another rule, another device.

use super::locate::{self, Source};
use super::mend::Fault;
use crate::Error;
use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxBlockIo, LinuxDeviceType, LinuxIdMapping, LinuxNetwork, LinuxResources, LinuxThrottleDevice,
    Process, Spec,
};
use serde_json::Value;

const ANY: &str = "*";

/// What the objects at a place must have (config.md, config-linux.md: REQUIRED).
struct Required {
    /// Their ways from the file's root, with [`ANY`] for each of a list.
    at: &'static [&'static [&'static str]],
    members: &'static [&'static str],
    /// Whether one of them reads as if something had been left out. What often does so rightly is counted in the text.
    is_doubtful: fn(&Spec, &[u8]) -> bool,
}

const REQUIRED: &[Required] = &[
    Required {
        at: &[&["process", "consoleSize"]],
        members: &["height", "width"],
        is_doubtful: |spec, _| process(spec).and_then(Process::console_size).is_some_and(|s| s.height() == 0 || s.width() == 0),
    },
    Required {
        at: &[&["process", "ioPriority"]],
        members: &["class", "priority"],
        // Of the class that has no levels nothing is left out.
        is_doubtful: |spec, _| {
            let priority = process(spec).and_then(|process| process.io_priority().as_ref());
            priority.is_some_and(|priority| priority.class() != IOPriorityClass::IoprioClassIdle)
        },
    },
    Required {
        at: &[&["process", "rlimits", ANY]],
        members: &["soft", "hard"],
        is_doubtful: |spec, _| list(process(spec), Process::rlimits).any(|limit| limit.soft() == 0 || limit.hard() == 0),
    },
    Required {
        at: &[
            &["mounts", ANY, "uidMappings", ANY],
            &["mounts", ANY, "gidMappings", ANY],
            &["linux", "uidMappings", ANY],
            &["linux", "gidMappings", ANY],
        ],
        members: &["containerID", "hostID", "size"],
        is_doubtful: mappings,
    },
    Required {
        at: &[&["linux", "devices", ANY]],
        members: &["major", "minor"],
        is_doubtful: |spec, _| {
            let mut numbered = list(spec.linux().as_ref(), Linux::devices).filter(|d| d.typ() != LinuxDeviceType::P);
            numbered.any(|d| d.major() == 0 || d.minor() == 0)
        },
    },
    Required {
        at: &[&["linux", "resources", "devices", ANY]],
        members: &["allow"],
        is_doubtful: |spec, text| {
            let rules = || list(resources(spec), LinuxResources::devices);
            let counted = || count(within(text, &["linux", "resources", "devices"]), "\"allow\"");
            rules().any(|rule| !rule.allow()) && counted() < rules().count()
        },
    },
    Required {
        at: &[&["linux", "resources", "hugepageLimits", ANY]],
        members: &["pageSize", "limit"],
        is_doubtful: |spec, _| {
            list(resources(spec), LinuxResources::hugepage_limits).any(|l| l.limit() == 0 || l.page_size().is_empty())
        },
    },
    Required {
        at: &[&["linux", "resources", "network", "priorities", ANY]],
        members: &["name", "priority"],
        is_doubtful: |spec, _| {
            let network = resources(spec).and_then(|resources| resources.network().as_ref());
            list(network, LinuxNetwork::priorities).any(|p| p.priority() == 0 || p.name().is_empty())
        },
    },
    Required {
        at: &[&["linux", "resources", "blockIO", "weightDevice", ANY]],
        members: &["major", "minor"],
        is_doubtful: |spec, _| list(block_io(spec), LinuxBlockIo::weight_device).any(|d| d.major() == 0 || d.minor() == 0),
    },
    Required {
        at: &[
            &["linux", "resources", "blockIO", "throttleReadBpsDevice", ANY],
            &["linux", "resources", "blockIO", "throttleWriteBpsDevice", ANY],
            &["linux", "resources", "blockIO", "throttleReadIOPSDevice", ANY],
            &["linux", "resources", "blockIO", "throttleWriteIOPSDevice", ANY],
        ],
        members: &["major", "minor", "rate"],
        is_doubtful: |spec, _| {
            let mut all = block_io(spec).into_iter().flat_map(throttled).flat_map(|devices| devices.iter().flatten());
            all.any(|d| d.major() == 0 || d.minor() == 0 || d.rate() == 0)
        },
    },
];

fn process(spec: &Spec) -> Option<&Process> {
    spec.process().as_ref()
}

fn resources(spec: &Spec) -> Option<&LinuxResources> {
    spec.linux().as_ref().and_then(|linux| linux.resources().as_ref())
}

fn block_io(spec: &Spec) -> Option<&LinuxBlockIo> {
    resources(spec).and_then(|resources| resources.block_io().as_ref())
}

fn throttled(io: &LinuxBlockIo) -> [&Option<Vec<LinuxThrottleDevice>>; 4] {
    [
        io.throttle_read_bps_device(),
        io.throttle_write_bps_device(),
        io.throttle_read_iops_device(),
        io.throttle_write_iops_device(),
    ]
}

fn list<'s, T, I>(of: Option<&'s T>, member: fn(&'s T) -> &'s Option<Vec<I>>) -> impl Iterator<Item = &'s I> {
    of.into_iter().flat_map(move |of| member(of).iter().flatten())
}

/// Of all lists at once: to id 0 and from it is what they are for.
fn mappings(spec: &Spec, text: &[u8]) -> bool {
    let mounts = spec.mounts().iter().flatten().flat_map(|mount| [mount.uid_mappings(), mount.gid_mappings()]);
    let linux = spec.linux().iter().flat_map(|linux| [linux.uid_mappings(), linux.gid_mappings()]);
    let all: Vec<&LinuxIdMapping> = mounts.chain(linux).flat_map(|list| list.iter().flatten()).collect();
    let zero = |m: &&LinuxIdMapping| m.host_id() == 0 || m.container_id() == 0 || m.size() == 0;
    if !all.iter().any(zero) {
        return false;
    }
    let places = [&["mounts"][..], &["linux", "uidMappings"], &["linux", "gidMappings"]].map(|way| within(text, way));
    let counted = |name: &str| places.iter().map(|part| count(part, name)).sum::<usize>();
    ["\"containerID\"", "\"hostID\"", "\"size\""].iter().any(|name| counted(name) < all.len())
}

/// The part of the text that is the value there: elsewhere a member may have any name.
fn within<'t>(text: &'t [u8], way: &[&str]) -> &'t [u8] {
    super::mend::span(text, &locate::way(way)).map_or(&[], |span| &text[span])
}

/// How often it is the name of a member: in a string it would stand behind a backslash, or before something else than a colon.
fn count(text: &[u8], name: &str) -> usize {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.match_indices(name).filter(|(at, _)| text[at + name.len()..].trim_ascii_start().starts_with(':')).count()
}

/// Each of them that is missing. The text is read again only where one may be.
pub(super) fn missing(source: &Source, text: &[u8], spec: &Spec) -> Vec<Fault> {
    match REQUIRED.iter().any(|required| (required.is_doubtful)(spec, text)) {
        true => all(source, text),
        false => Vec::new(),
    }
}

pub(crate) fn all(source: &Source, text: &[u8]) -> Vec<Fault> {
    let json: Value = serde_json::from_slice(text).unwrap_or_default();
    let mut faults = Vec::new();
    for Required { at, members, .. } in REQUIRED {
        let mut one = |object: &Value, path: &str| {
            // config-linux.md, "Devices": a FIFO has no number.
            let needed = !path.starts_with("linux.devices") || object["type"] != "p";
            // ioprio_set(2): the class that has no levels.
            let idle = |name: &str| name == "priority" && object["class"] == "IOPRIO_CLASS_IDLE";
            let absent = members.iter().filter(|name| needed && object.is_object() && object.get(name).is_none() && !idle(name));
            faults.extend(absent.map(|name| fault(source, &format!("{path}.{name}"))));
        };
        at.iter().for_each(|way| each(&json, way, String::new(), &mut one));
    }
    faults
}

fn fault(source: &Source, path: &str) -> Fault {
    let error = Error::new("missing, and the specification requires it").at(source.place(path));
    Fault { path: path.to_owned(), error }
}

fn each(json: &Value, way: &[&str], path: String, found: &mut dyn FnMut(&Value, &str)) {
    match way {
        [] => found(json, &path),
        [ANY, rest @ ..] => {
            for (i, one) in json.as_array().into_iter().flatten().enumerate() {
                each(one, rest, format!("{path}[{i}]"), found);
            }
        }
        [name, rest @ ..] => {
            let Some(member) = json.get(name) else { return };
            let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
            each(member, rest, path, found);
        }
    }
}
