//! Members that the specification requires, and for which `oci_spec` reads 0, `false` or nothing where config.json leaves them out:
//! another limit, another rule, another device.

use super::mend::Fault;
use crate::Error;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, LinuxIdMapping, LinuxResources, LinuxThrottleDevice, Process, Spec};
use serde_json::Value;
use std::path::Path;

const ANY: &str = "*";
const IDS: &[&str] = &["containerID", "hostID", "size"];
const RATE: &[&str] = &["major", "minor", "rate"];

/// Where objects are, [`ANY`] for each of a list, and what each of them must have (config.md, config-linux.md: REQUIRED).
const REQUIRED: &[(&[&str], &[&str])] = &[
    (&["process", "consoleSize"], &["height", "width"]),
    (&["process", "ioPriority"], &["class", "priority"]),
    (&["process", "rlimits", ANY], &["soft", "hard"]),
    (&["mounts", ANY, "uidMappings", ANY], IDS),
    (&["mounts", ANY, "gidMappings", ANY], IDS),
    (&["linux", "uidMappings", ANY], IDS),
    (&["linux", "gidMappings", ANY], IDS),
    (&["linux", "devices", ANY], &["major", "minor"]),
    (&["linux", "resources", "devices", ANY], &["allow"]),
    (&["linux", "resources", "hugepageLimits", ANY], &["pageSize", "limit"]),
    (&["linux", "resources", "network", "priorities", ANY], &["name", "priority"]),
    (&["linux", "resources", "blockIO", "weightDevice", ANY], &["major", "minor"]),
    (&["linux", "resources", "blockIO", "throttleReadBpsDevice", ANY], RATE),
    (&["linux", "resources", "blockIO", "throttleWriteBpsDevice", ANY], RATE),
    (&["linux", "resources", "blockIO", "throttleReadIOPSDevice", ANY], RATE),
    (&["linux", "resources", "blockIO", "throttleWriteIOPSDevice", ANY], RATE),
];

/// Each of them that is missing. The text is read again only where one may be.
pub(super) fn missing(file: &Path, text: &[u8], spec: &Spec) -> Vec<Fault> {
    if !is_doubtful(spec, text) {
        return Vec::new();
    }
    let json: Value = serde_json::from_slice(text).unwrap_or_default();
    let mut faults = Vec::new();
    for (way, fields) in REQUIRED {
        each(&json, way, String::new(), &mut |object, path| {
            // config-linux.md, "Devices": a FIFO has no number.
            let needed = !path.starts_with("linux.devices") || object["type"] != "p";
            let absent = fields.iter().filter(|field| needed && object.is_object() && object.get(field).is_none());
            faults.extend(absent.map(|field| fault(file, &format!("{path}.{field}"))));
        });
    }
    faults
}

fn fault(file: &Path, path: &str) -> Fault {
    let error = Error::new("missing, and the specification requires it").at(format!("{}: {path}", file.display()));
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

/// Whether something reads as if it had been left out. What often does so rightly is counted in the text.
fn is_doubtful(spec: &Spec, text: &[u8]) -> bool {
    let linux = spec.linux().as_ref();
    let devices = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let unnumbered = |d: &LinuxDevice| d.typ() != LinuxDeviceType::P && (d.major() == 0 || d.minor() == 0);
    spec.process().as_ref().is_some_and(process)
        || devices.iter().any(unnumbered)
        || linux.and_then(|linux| linux.resources().as_ref()).is_some_and(|resources| limits(resources, text))
        || ids(spec, text)
}

fn process(process: &Process) -> bool {
    process.console_size().is_some_and(|size| size.height() == 0 || size.width() == 0)
        || process.io_priority().is_some()
        || process.rlimits().iter().flatten().any(|limit| limit.soft() == 0 || limit.hard() == 0)
}

fn limits(r: &LinuxResources, text: &[u8]) -> bool {
    let io = r.block_io().as_ref();
    let throttled = |f: fn(&oci_spec::runtime::LinuxBlockIo) -> &Option<Vec<LinuxThrottleDevice>>| {
        io.is_some_and(|io| f(io).iter().flatten().any(|d| d.major() == 0 || d.minor() == 0 || d.rate() == 0))
    };
    let rules = r.devices().iter().flatten();
    (rules.clone().any(|rule| !rule.allow()) && count(text, "\"allow\"") < rules.count())
        || r.hugepage_limits().iter().flatten().any(|limit| limit.limit() == 0 || limit.page_size().is_empty())
        || r.network().as_ref().is_some_and(|n| n.priorities().iter().flatten().any(|p| p.priority() == 0 || p.name().is_empty()))
        || io.is_some_and(|io| io.weight_device().iter().flatten().any(|d| d.major() == 0 || d.minor() == 0))
        || throttled(|io| io.throttle_read_bps_device())
        || throttled(|io| io.throttle_write_bps_device())
        || throttled(|io| io.throttle_read_iops_device())
        || throttled(|io| io.throttle_write_iops_device())
}

fn ids(spec: &Spec, text: &[u8]) -> bool {
    let mounts = spec.mounts().iter().flatten().flat_map(|mount| [mount.uid_mappings(), mount.gid_mappings()]);
    let linux = spec.linux().iter().flat_map(|linux| [linux.uid_mappings(), linux.gid_mappings()]);
    let all: Vec<&LinuxIdMapping> = mounts.chain(linux).flat_map(|list| list.iter().flatten()).collect();
    let zero = |m: &&LinuxIdMapping| m.host_id() == 0 || m.container_id() == 0 || m.size() == 0;
    all.iter().any(zero) && IDS.iter().any(|field| count(text, &format!("\"{field}\"")) < all.len())
}

/// How often it is the name of a member: in a string it would stand behind a backslash, or before something else than a colon.
fn count(text: &[u8], name: &str) -> usize {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.match_indices(name).filter(|(at, _)| text[at + name.len()..].trim_ascii_start().starts_with(':')).count()
}
