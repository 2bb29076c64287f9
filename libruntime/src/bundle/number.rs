//! Numbers of devices that config.json leaves out. `oci_spec` reads 0 for them, which would be another device, or (0:0) none.

use super::mend::Fault;
use crate::Error;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use serde_json::Value;
use std::path::Path;

/// config-linux.md, "Devices": `major` and `minor` are required unless the type is `p`. The text is read again only where a number is 0.
pub(super) fn missing(file: &Path, text: &[u8], spec: &Spec) -> Vec<Fault> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    if !devices.iter().any(|device| has_number(device) && (device.major() == 0 || device.minor() == 0)) {
        return Vec::new();
    }
    let json: Value = serde_json::from_slice(text).unwrap_or_default();
    let numbered = devices.iter().enumerate().filter(|(_, device)| has_number(device));
    let fields = numbered.flat_map(|(i, _)| ["major", "minor"].map(|field| (i, field)));
    let left_out = fields.filter(|(i, field)| json["linux"]["devices"][i].get(field).is_none());
    left_out.map(|(i, field)| fault(file, &format!("linux.devices[{i}].{field}"))).collect()
}

fn has_number(device: &LinuxDevice) -> bool {
    device.typ() != LinuxDeviceType::P
}

fn fault(file: &Path, path: &str) -> Fault {
    let error = Error::new("missing: only a device of the type `p` has no number").at(format!("{}: {path}", file.display()));
    Fault { path: path.to_owned(), error }
}
