//! Network devices of the runtime's that become the container's. Each runtime is called in a network namespace of the case's own, with
//! a pair of devices in it.

use super::invalid;
use crate::launch::Ran;
use crate::oci::Who::Root;
use crate::oci::bundle::push;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, skip};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("linux.net-devices.moved", "a device of the runtime's network is the container's, under its new name", Root, moved),
    must("linux.net-devices.name", "without a new name it keeps its own", Root, kept_name),
    must("linux.net-devices.addresses", "its permanent addresses of global scope come along, of both families", Root, addresses),
    must("linux.net-devices.up", "it is up, though it was down", Root, up),
    must("linux.net-devices.attributes", "its MTU and its hardware address stay", Root, attributes),
    must("linux.net-devices.name-taken", "a name that a device of the container has already is an error", Root, taken),
    must("linux.net-devices.template", "with %d in the new name the kernel finds a number", Root, template),
    must("linux.net-devices.stays", "nobody moves it out again when the container ends", Root, stays),
    must("linux.net-devices.missing", "one that does not exist is an error", Root, |t| {
        invalid(t, |c| net_devices(c, json!({"no-such-dev": {}})))
    }),
    must("linux.net-devices.namespace", "without a network namespace it is an error", Root, |t| {
        invalid(t, |c| c["linux"]["netDevices"] = json!({"lo": {}}))
    }),
];

fn net_devices(config: &mut Value, devices: Value) {
    push(&mut config["linux"]["namespaces"], json!({"type": "network"}));
    config["linux"]["netDevices"] = devices;
}

/// `cr0` and `cr1`, then what `prepare` says, the container, and `after` it.
fn run(turn: &Turn, script: &str, devices: Value, prepare: &str, after: &str) -> Result<Ran, No> {
    let mut config = turn.sh(script);
    net_devices(&mut config, devices);
    let script =
        format!("ip link add cr0 type veth peer name cr1 || exit 77; {prepare}\n\"$0\" \"$@\"; code=$?; {after}\nexit $code");
    let ran = turn.run_by(&["unshare", "--net", "/bin/sh", "-c", &script], &config)?;
    if ran.code == 77 { skip("this kernel makes no veth devices") } else { Ok(ran) }
}

/// The names of all devices inside.
const NAMES: &str = "while read -r name rest; do echo ${name%%:*}; done < /proc/net/dev";
const SHOW: &str = "busybox ip addr show dev inside0";

fn has(ran: &Ran, name: &str) -> bool {
    ran.out.lines().any(|l| l == name)
}

fn moved(turn: &Turn) -> Verdict {
    let ran = run(turn, NAMES, json!({"cr0": {"name": "inside0"}}), "", "")?;
    ran.must("inside0, and neither cr0 nor cr1", ran.code == 0 && has(&ran, "inside0") && !has(&ran, "cr0") && !has(&ran, "cr1"))
}

fn kept_name(turn: &Turn) -> Verdict {
    for device in [json!({}), json!({"name": ""})] {
        let ran = run(turn, NAMES, json!({"cr0": device}), "", "")?;
        ran.must("cr0", ran.code == 0 && has(&ran, "cr0"))?;
    }
    Ok(())
}

/// One that is not permanent, and one of the link's scope, are not the container's affair.
fn addresses(turn: &Turn) -> Verdict {
    let prepare = "ip addr add 10.9.8.7/24 dev cr0; ip addr add 10.9.8.8/24 dev cr0 valid_lft 300 preferred_lft 300; \
                   ip -6 addr add fd00::7/64 dev cr0 nodad; ip addr add 169.254.1.1/16 scope link dev cr0; ip link set cr0 up";
    let ran = run(turn, SHOW, json!({"cr0": {"name": "inside0"}}), prepare, "")?;
    let kept = ["inet 10.9.8.7/24", "inet6 fd00::7/64"].iter().all(|address| ran.out.contains(address));
    let left = ["10.9.8.8", "169.254.1.1"].iter().all(|address| !ran.out.contains(address));
    ran.must("10.9.8.7/24 and fd00::7/64, and not those for a time or for the link", ran.code == 0 && kept && left)
}

fn up(turn: &Turn) -> Verdict {
    let ran = run(turn, SHOW, json!({"cr0": {"name": "inside0"}}), "ip link set cr0 down", "")?;
    ran.must("a device that is UP", ran.code == 0 && ran.out.contains(",UP"))
}

fn attributes(turn: &Turn) -> Verdict {
    let prepare = "ip link set cr0 mtu 1337 address 02:00:00:00:00:2a";
    let ran = run(turn, SHOW, json!({"cr0": {"name": "inside0"}}), prepare, "")?;
    ran.must("its MTU and its address", ran.code == 0 && ran.out.contains("mtu 1337") && ran.out.contains("02:00:00:00:00:2a"))
}

fn taken(turn: &Turn) -> Verdict {
    let ran = run(turn, "true", json!({"cr0": {"name": "lo"}}), "", "")?;
    ran.must("an error", ran.code != 0)
}

fn template(turn: &Turn) -> Verdict {
    let ran = run(turn, NAMES, json!({"cr0": {"name": "in%d"}, "cr1": {"name": "in%d"}}), "", "")?;
    ran.must("in0 and in1", ran.code == 0 && has(&ran, "in0") && has(&ran, "in1"))
}

fn stays(turn: &Turn) -> Verdict {
    let after = "for n in 1 2 3 4 5; do ip link show; sleep 0.05; done | grep -c 'cr0\\|inside0'";
    let ran = run(turn, NAMES, json!({"cr0": {"name": "inside0"}}), "", after)?;
    let counted = ran.out.lines().last() == Some("0");
    ran.must("inside0 in the container and nothing outside", ran.code == 0 && has(&ran, "inside0") && counted)
}
