//! `linux.resources.blockIO`.

use super::table::{Controller, Table, given};
use crate::host::cgroup::Version;
use crate::plan::device;
use oci_spec::runtime::{LinuxBlockIo, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

const IO: Controller = Controller("blkio", "io");

/// Field, file of version 1, key in `io.max` of version 2.
type Throttle = (&'static str, &'static str, &'static str);
const READ_BPS: Throttle = ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps");
const WRITE_BPS: Throttle = ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps");
const READ_IOPS: Throttle = ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops");
const WRITE_IOPS: Throttle = ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops");

pub(super) fn limits(t: &mut Table, r: &LinuxResources) {
    let Some(io) = r.block_io() else { return };
    weights(t, io);
    throttle(t, io.throttle_read_bps_device(), &READ_BPS);
    throttle(t, io.throttle_write_bps_device(), &WRITE_BPS);
    throttle(t, io.throttle_read_iops_device(), &READ_IOPS);
    throttle(t, io.throttle_write_iops_device(), &WRITE_IOPS);
}

fn weights(t: &mut Table, io: &LinuxBlockIo) {
    if let Some(value) = given(io.weight()) {
        weight(t, "blockIO.weight", "weight", "", value);
    }
    if let Some(value) = given(io.leaf_weight()) {
        leaf(t, "blockIO.leafWeight", "leaf_weight", "", value);
    }
    let number = |device: &LinuxWeightDevice| format!("{}:{}", device.major(), device.minor());
    t.refuse_rivals("blockIO.weightDevice", io.weight_device().as_deref().unwrap_or_default(), number);
    for (i, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{i}]");
        refuse_no_device(t, &field, device.major(), device.minor());
        let id = format!("{}:{} ", device.major(), device.minor());
        if device.weight().is_none() && device.leaf_weight().is_none() {
            t.refuse(&field, "has neither `weight` nor `leafWeight`");
        }
        if let Some(value) = given(device.weight()) {
            weight(t, &format!("{field}.weight"), "weight_device", &id, value);
        }
        if let Some(value) = given(device.leaf_weight()) {
            leaf(t, &format!("{field}.leafWeight"), "leaf_weight_device", &id, value);
        }
    }
}

/// Which file there is depends on the I/O scheduler that the kernel was built with: CFQ (until Linux 4.20) or BFQ.
fn weight(t: &mut Table, field: &str, file: &str, device: &str, value: u16) {
    refuse_odd(t, field, value);
    let Some((at, version)) = t.home(&IO, field) else { return };
    let plain = format!("{device}{value}");
    let choices = match version {
        Version::V1 => vec![(format!("blkio.{file}"), plain.clone()), (format!("blkio.bfq.{file}"), plain)],
        Version::V2 => {
            let default = if device.is_empty() { "default " } else { device };
            vec![("io.bfq.weight".to_owned(), plain), ("io.weight".to_owned(), format!("{default}{}", linear(value)))]
        }
    };
    t.put(at, field, "", "").choices = choices;
}

fn leaf(t: &mut Table, field: &str, file: &str, device: &str, value: u16) {
    refuse_odd(t, field, value);
    match t.home(&IO, field) {
        Some((at, Version::V1)) => drop(t.put(at, field, format!("blkio.{file}"), format!("{device}{value}"))),
        Some((_, Version::V2)) => t.refuse(field, "cgroup version 2 has no leaf weight"),
        None => {}
    }
}

/// What it can be (the kernel's blkio-controller.rst); for version 2 there would be no number, or one that means the least.
fn refuse_odd(t: &mut Table, field: &str, weight: u16) {
    if !(10..=1000).contains(&weight) {
        t.refuse(field, format!("{weight} is not from 10 to 1000"));
    }
}

/// The kernel would read another number from one that is too long for it.
fn refuse_no_device(t: &mut Table, field: &str, major: i64, minor: i64) {
    if device::number(major, minor).is_none() {
        t.refuse(field, format!("{major}:{minor} is no device number"));
    }
}

/// From 10…1000 to 1…10000, as runc and crun do.
fn linear(weight: u16) -> u32 {
    1 + u32::from(weight).saturating_sub(10) * 9999 / 990
}

fn throttle(t: &mut Table, devices: &Option<Vec<LinuxThrottleDevice>>, (name, file, key): &Throttle) {
    let number = |device: &LinuxThrottleDevice| format!("{}:{}", device.major(), device.minor());
    t.refuse_rivals(&format!("blockIO.{name}"), devices.as_deref().unwrap_or_default(), number);
    for (i, device) in devices.iter().flatten().enumerate() {
        let field = format!("blockIO.{name}[{i}]");
        refuse_no_device(t, &field, device.major(), device.minor());
        let id = format!("{}:{}", device.major(), device.minor());
        match t.home(&IO, &field) {
            Some((at, Version::V1)) => drop(t.put(at, &field, *file, format!("{id} {}", device.rate()))),
            // 0 takes the limit away, which version 2 says in a word.
            Some((at, Version::V2)) if device.rate() == 0 => drop(t.put(at, &field, "io.max", format!("{id} {key}=max"))),
            Some((at, Version::V2)) => drop(t.put(at, &field, "io.max", format!("{id} {key}={}", device.rate()))),
            None => {}
        }
    }
}
