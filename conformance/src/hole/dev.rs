//! A /dev of the image's making.

use super::race;
use super::{climbing, directory, holds, image, inside, run};
use crate::oci::bundle::{bind, push};
use crate::oci::turn::Turn;
use crate::report::{Verdict, fail};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The mounts on and below a directory are left out.
pub(super) fn without_mounts(config: &mut Value, dir: &str) {
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|m| !Path::new(m["destination"].as_str().unwrap_or_default()).starts_with(dir));
    }
}

/// The container's /dev/null was bound over what is masked: with a link in its place, another file was.
pub fn masks(turn: &Turn) -> Verdict {
    let volume = directory(turn, "volume")?;
    symlink("/work/victim", volume.join("evil"))?;
    // Only root can make the device; for others a file plays it, and the mask must not be that either.
    let null = volume.join("null");
    if turn.column.actor.is_root() {
        mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))
            .map_err(std::io::Error::from)?;
    } else {
        fs::write(&null, "seen\n")?;
    }
    turn.column.actor.own(&volume)?;
    let mut config = turn.sh("cat /etc/mark; echo end");
    without_mounts(&mut config, "/dev");
    push(&mut config["mounts"], bind(&volume, "/dev"));
    config["linux"]["maskedPaths"] = json!(["/etc/mark"]);
    let bundle = image(turn, &config, |root| fs::write(root.join("work/victim"), "seen\n"))?;
    let mut ran = 0;
    race::run(&null, &volume.join("evil"), || match run(turn, &bundle)? {
        None => Ok(()),
        Some(text) if text == "end\n" => {
            ran += 1;
            Ok(())
        }
        Some(text) => fail("cat of a masked file", "end", text),
    })?;
    race::met("containers that ran", ran > 0)
}

/// runc removed `ptmx` and made links in what the image's /dev led to, while that was a name on the host.
pub fn link(turn: &Turn) -> Verdict {
    led_away(turn, false)
}

/// crun's own of the kind, of which the advisory says no more than that it is similar. Nodes are made there as well then.
pub fn link_uncovered(turn: &Turn) -> Verdict {
    led_away(turn, true)
}

fn led_away(turn: &Turn, uncovered: bool) -> Verdict {
    let outside = directory(turn, "outside")?;
    fs::write(outside.join("ptmx"), "the host's\n")?;
    turn.column.actor.own(&outside)?;
    let config = || {
        let mut config = turn.sh("true");
        if uncovered {
            without_mounts(&mut config, "/dev");
        }
        config
    };
    race::met("a container where no link lies", run(turn, &image(turn, &config(), |_| Ok(()))?)?.is_some())?;
    for target in [outside.clone(), climbing(&outside), inside(Path::new("/proc/self/root"), &outside)] {
        for exists_inside in [false, true] {
            let bundle = image(turn, &config(), |root| {
                fs::remove_dir(root.join("dev"))?;
                symlink(&target, root.join("dev"))?;
                if exists_inside { fs::create_dir_all(inside(root, &outside)) } else { Ok(()) }
            })?;
            run(turn, &bundle)?;
            holds(&outside, &["ptmx"])?;
        }
    }
    Ok(())
}
