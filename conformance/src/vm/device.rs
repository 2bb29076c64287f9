//! `linux.resources.devices`: the program that version 2 asks at every open(2) and mknod(2).

use super::group::{capable, disk, exec, limit};
use crate::oci::Who::Root;
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must("devices.default", "without rules null, zero and the like open, the disk does not", Root, default),
    must("devices.denied", "a device that no rule allows is made and not opened", Root, denied),
    must("devices.read", "a device that may be read is not written", Root, read_only),
    must("devices.last", "the last rule that fits decides", Root, last),
    must("devices.exec", "the rules hold for exec too", Root, holds_for_exec),
    must("devices.update", "`update` leaves the rules as they are, whatever it is told", Root, update),
    must("devices.below", "they hold in a cgroup that the payload has made", Root, below),
];

/// Tries to read and to write the disk, and says how it went.
fn attempt(disk: (u32, u32)) -> String {
    let (major, minor) = disk;
    format!(
        "[ -e /tmp/disk ] || /bin/busybox mknod /tmp/disk b {major} {minor} || exit 1; \
         (: </tmp/disk) 2>/dev/null && echo read; (: >>/tmp/disk) 2>/dev/null && echo write; \
         (: </dev/null) && (: >/dev/null) && (: </dev/zero) && (: </dev/urandom) && echo default"
    )
}

const NOTHING: &str = r#"{"allow": false, "access": "rwm"}"#;

fn rules(rules: &[(bool, &str)]) -> Result<Value, No> {
    let (major, minor) = disk()?;
    let mut all: Vec<Value> = vec![serde_json::from_str(NOTHING).map_err(std::io::Error::from)?];
    let rule =
        |(allow, access): &(bool, &str)| json!({"allow": allow, "type": "b", "major": major, "minor": minor, "access": access});
    all.extend(rules.iter().map(rule));
    Ok(json!({ "devices": all }))
}

fn says(t: &Turn, resources: Value, expected: &str) -> Verdict {
    t.prints(&limit(capable(t.sh(&attempt(disk()?)), "CAP_MKNOD"), resources), expected)
}

fn default(t: &Turn) -> Verdict {
    says(t, json!({}), "default\n")
}

fn denied(t: &Turn) -> Verdict {
    says(t, rules(&[(true, "m")])?, "default\n")
}

fn read_only(t: &Turn) -> Verdict {
    says(t, rules(&[(true, "rm")])?, "read\ndefault\n")
}

fn last(t: &Turn) -> Verdict {
    says(t, rules(&[(false, "r"), (true, "rwm"), (false, "w")])?, "read\ndefault\n")
}

fn holds_for_exec(t: &Turn) -> Verdict {
    let container = t.started(&limit(capable(t.sleeper(), "CAP_MKNOD"), rules(&[(true, "r")])?))?;
    expect(&exec(t, &container, &attempt(disk()?))?)
}

fn expect(said: &str) -> Verdict {
    if said == "read\ndefault\n" { Ok(()) } else { fail("exec", "read, default", format!("{said:?}")) }
}

fn update(t: &Turn) -> Verdict {
    let container = t.started(&limit(capable(t.sleeper(), "CAP_MKNOD"), rules(&[(true, "r")])?))?;
    let file = t.dir.join("resources.json");
    for resources in [json!({"pids": {"limit": 50}}), rules(&[(true, "rwm")])?] {
        std::fs::write(&file, resources.to_string())?;
        t.succeeds(&["update", "--resources", &file.display().to_string(), &container.id])?;
        expect(&exec(t, &container, &attempt(disk()?))?)?;
    }
    Ok(())
}

fn below(t: &Turn) -> Verdict {
    let script = format!("mkdir /sys/fs/cgroup/x && echo $$ >/sys/fs/cgroup/x/cgroup.procs && {{ {}; }}", attempt(disk()?));
    let mut config = limit(capable(t.sh(&script), "CAP_MKNOD"), rules(&[(true, "r")])?);
    super::view::mounted(&mut config, "cgroup", &[]);
    t.prints(&config, "read\ndefault\n")
}
