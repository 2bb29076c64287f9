//! A /proc that is not the kernel's, or lies where nobody masks it.

use super::race;
use super::{directory, image};
use crate::oci::bundle::{bind, push};
use crate::oci::container::Container;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// What is masked of a file system, as the end of the mask's mount point.
const MASKED: &[(&str, &str)] = &[("proc", "/uptime"), ("sysfs", "/fs")];

/// `create` is refused, or each proc and sysfs of the container's has its mask. Mounts are told by their numbers: their names change
/// with every swap. Whether it was made.
fn masked(turn: &Turn, bundle: &Path) -> Result<bool, No> {
    let container = Container::create(turn, bundle.to_path_buf(), &[])?;
    if container.made.code != 0 {
        return Ok(false);
    }
    let text = container.proc("mountinfo")?;
    let mounts: Vec<Vec<&str>> = text.lines().map(|l| l.split(' ').collect()).collect();
    let of = |kind: &str| {
        let word = format!(" - {kind} ");
        text.lines().filter(move |l| l.contains(&word)).filter_map(|l| l.split(' ').next()).collect::<Vec<_>>()
    };
    for (kind, end) in MASKED {
        let has_mask = |id: &&str| mounts.iter().any(|m| m[1] == *id && m[4].ends_with(end));
        if !of(kind).iter().all(has_mask) {
            return fail(&container.made.line, format!("a mask on the {end} of each {kind}"), text);
        }
    }
    Ok(true)
}

fn with_masks(turn: &Turn) -> Value {
    let mut config = turn.sleeper();
    config["linux"]["maskedPaths"] = json!(["/proc/uptime", "/sys/fs"]);
    if turn.column.actor.is_root() {
        push(&mut config["mounts"], json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}));
    }
    config
}

/// The image's /proc is a directory, and a link to one on a volume, in turn: mounted behind the link it has no masks.
pub fn swapped(turn: &Turn) -> Verdict {
    let volume = directory(turn, "volume")?;
    fs::create_dir(volume.join("proc"))?;
    let mut config = with_masks(turn);
    let mounts = config["mounts"].as_array_mut();
    mounts.into_iter().for_each(|m| m.insert(0, bind(&volume, "/vol")));
    let bundle = image(turn, &config, |root| symlink("/vol/proc", root.join("evil")))?;
    let (proc, evil) = (bundle.join("rootfs/proc"), bundle.join("rootfs/evil"));
    let ran = Cell::new(0);
    race::run(&proc, &evil, || {
        ran.set(ran.get() + u32::from(masked(turn, &bundle)?));
        Ok(())
    })?;
    race::met("containers that were made", ran.get() > 0)
}

/// The image's /proc is a link that lies still. Where it leads, on a volume, another container exchanges two directories: one has the
/// mount, and the other is where its masks are looked for.
pub fn onto_a_volume(turn: &Turn) -> Verdict {
    let volume = directory(turn, "volume")?;
    let (proc, other) = (volume.join("proc"), volume.join("other"));
    [&proc, &other].iter().try_for_each(fs::create_dir)?;
    turn.column.actor.own(&volume)?;
    let mut config = with_masks(turn);
    let mounts = config["mounts"].as_array_mut();
    mounts.into_iter().for_each(|m| m.insert(0, bind(&volume, "/vol")));
    race::met("a container where no link lies", masked(turn, &image(turn, &config, |_| Ok(()))?)?)?;
    for target in ["/vol/proc", "vol/proc", "../../vol/proc"] {
        let bundle = image(turn, &config, |root| {
            fs::remove_dir(root.join("proc"))?;
            symlink(target, root.join("proc"))
        })?;
        masked(turn, &bundle)?;
        if target == "vol/proc" {
            race::run(&proc, &other, || masked(turn, &bundle).map(drop))?;
        }
    }
    Ok(())
}

/// Into the image itself, onto a tmpfs that config.json mounts there, and below one that it mounts there afterwards: what is masked is
/// looked for in that one.
pub fn links(turn: &Turn) -> Verdict {
    race::met("a container where no link lies", masked(turn, &image(turn, &with_masks(turn), |_| Ok(()))?)?)?;
    for covered in [None, Some(0), Some(usize::MAX)] {
        let mut config = with_masks(turn);
        if let (Some(at), Some(mounts)) = (covered, config["mounts"].as_array_mut()) {
            mounts.insert(at.min(mounts.len()), json!({"destination": "/work", "type": "tmpfs", "source": "tmpfs"}));
        }
        let bundle = image(turn, &config, |root| {
            for name in ["proc", "sys"] {
                fs::remove_dir(root.join(name))?;
                fs::create_dir(root.join("work").join(name))?;
                symlink(format!("work/{name}"), root.join(name))?;
            }
            Ok(())
        })?;
        masked(turn, &bundle)?;
    }
    Ok(())
}

/// What lies at /proc is no proc; the kernel's is at /real.
fn with_another_proc(turn: &Turn, script: &str, proc: Option<Value>) -> Value {
    let mut config = turn.sh(script);
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|m| m["destination"] != "/proc");
        mounts.extend(proc);
        mounts.push(json!({"destination": "/real", "type": "proc", "source": "proc"}));
    }
    config
}

const PARAMETER: &str = "sys/net/ipv4/ip_forward";

/// The parameter is a file, or a link to one that must not be written to; in the image and on a volume.
pub fn parameters(turn: &Turn) -> Verdict {
    let mut ran = 0;
    for (on_volume, is_link) in [(false, false), (false, true), (true, false), (true, true)] {
        let volume = directory(turn, &format!("volume-{is_link}"))?;
        let proc = on_volume.then(|| bind(&volume, "/proc"));
        let mut config = with_another_proc(turn, &format!("cat /real/{PARAMETER}"), proc);
        push(&mut config["linux"]["namespaces"], json!({"type": "network"}));
        config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        let bundle = image(turn, &config, |root| {
            fs::write(root.join("work/victim"), "whole\n")?;
            let at = if on_volume { volume.join(PARAMETER) } else { root.join("proc").join(PARAMETER) };
            at.parent().map_or(Ok(()), fs::create_dir_all)?;
            if is_link { symlink("/work/victim", &at) } else { fs::write(&at, "whole\n") }
        })?;
        let said = super::run(turn, &bundle)?;
        let root = bundle.join("rootfs");
        let at = if on_volume { volume.join(PARAMETER) } else { root.join("proc").join(PARAMETER) };
        let victim = if is_link { root.join("work/victim") } else { at };
        let text = fs::read_to_string(&victim)?;
        if text != "whole\n" || said.as_ref().is_some_and(|s| s != "1\n") {
            return fail(format!("{} and the parameter", victim.display()), "whole, 1", format!("{text:?}, {said:?}"));
        }
        ran += u32::from(said.is_some());
    }
    race::met("containers that ran", ran > 0)
}

/// A label is written to /proc/self/attr: with a volume there it was lost, and the process unconfined. On a host without such a module
/// only a refusal will do; the machine of `--vm` has AppArmor, and a case of the same name.
pub fn label(turn: &Turn) -> Verdict {
    let volume = directory(turn, "volume")?;
    for attr in ["attr", "attr/apparmor"] {
        let dir = volume.join("self").join(attr);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("exec"), "")?;
    }
    turn.column.actor.own(&volume)?;
    for (field, name) in [("apparmorProfile", "codexrun-no-such"), ("selinuxLabel", "system_u:system_r:container_t:s0")] {
        for proc in [bind(&volume, "/proc"), json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"})] {
            let mut config = with_another_proc(turn, "cat /real/self/attr/current 2>/dev/null; true", Some(proc));
            config["process"][field] = json!(name);
            let bundle = image(turn, &config, |_| Ok(()))?;
            let said = super::run(turn, &bundle)?;
            if said.as_ref().is_some_and(|text| !text.starts_with(name)) {
                return fail(format!("process.{field}"), format!("a refusal, or {name}"), format!("{said:?}"));
            }
        }
    }
    Ok(())
}
