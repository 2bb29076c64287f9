//! Doors for the fuzzer (`fuzz/`) to readers that nobody else calls from outside. Only its builds have them (`--cfg fuzzing`).

use crate::plan::Plan;
use std::path::PathBuf;

/// What the parent says of eight bytes in the pipe of faults.
pub fn fault(bytes: [u8; 8], plan: &Plan) -> String {
    crate::run::fault::Fault::of(bytes).explain(plan).to_string()
}

/// The words of a D-Bus message's body, if the bytes are one.
pub fn bus_message(bytes: &[u8]) -> Option<Vec<String>> {
    use crate::systemd::wire::{Message, rest};
    let (head, after) = bytes.split_first_chunk()?;
    let message = Message::read(head, after.get(..rest(head)?)?)?;
    let mut body = message.body();
    Some(std::iter::from_fn(|| body.text()).map(str::to_owned).collect())
}

/// Whether it is an address of a bus.
pub fn bus_address(text: &str) -> bool {
    crate::systemd::bus::parse(text).is_some()
}

/// Whether a bridge's hook takes it for the OCI state.
pub fn oci_state(text: &str) -> bool {
    crate::bridge::door::State::read(text).is_ok()
}

/// The lines of a git configuration: section, name, key, value.
pub fn git_settings(text: &str) -> Vec<[String; 4]> {
    let all = crate::policy::compile::git::settings(text);
    all.into_iter().map(|s| [s.section, s.name, s.key, s.value]).collect()
}

/// The mount points of /proc/PID/mountinfo.
pub fn mount_points(text: &[u8]) -> Vec<PathBuf> {
    crate::mountinfo::parse(text).into_iter().map(|mount| mount.point).collect()
}

/// The start time in /proc/PID/stat.
pub fn start_time(text: &[u8]) -> Option<u64> {
    crate::state::process::Stat::parse(text).map(|stat| stat.start_time)
}

/// How many tables of a cgroup's statistics, and sentences of criu's log, have something in them.
pub fn tables(text: &str) -> usize {
    use crate::cgroup::stats::{numbers, v1_devices, v2_devices};
    let keys = [("rbytes", "Read"), ("wbytes", "Write")];
    numbers(text).len() + v1_devices(text).len() + v2_devices(text, &keys).len() + crate::run::criu::log::errors(text).len()
}

/// How many bytes the messages of a listing of the kernel's sockets have.
pub fn listed(bytes: &[u8]) -> usize {
    use crate::broker::whose::{messages, vfs};
    let length = |body: &[u8]| {
        vfs(body);
        body.len()
    };
    messages(bytes).map(|(_, body)| length(body)).sum()
}

/// A field of /proc/PID/status.
pub fn status_field(text: &str, name: &str) -> Option<String> {
    crate::proc_status::ProcStatus(text.to_owned()).field(name).map(str::to_owned)
}
