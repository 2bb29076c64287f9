//! Where the terminal comes from, and where it goes.

use super::dev::without_mounts;
use super::race;
use super::{directory, holds, image};
use crate::oci::bundle::{bind, push};
use crate::oci::console::Socket;
use crate::oci::container::Container;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// `create` with a terminal, and `start` when it was made: whether it was.
fn launched(turn: &Turn, bundle: &Path) -> Result<bool, No> {
    let socket = Socket::new(turn)?;
    let container = Container::create(turn, bundle.to_path_buf(), &["--console-socket", &socket.path.display().to_string()])?;
    if container.made.code != 0 {
        return Ok(false);
    }
    let _master = socket.receive()?;
    container.start()?;
    container.ended()?;
    Ok(true)
}

fn with_terminal(turn: &Turn, script: &str) -> Value {
    let mut config = turn.sh(script);
    config["process"]["terminal"] = json!(true);
    config
}

pub fn redirected(turn: &Turn) -> Verdict {
    target(turn)?;
    source(turn)
}

/// /dev/console of the image is a link to a file of the host's that is missing, now and then: it is not made (crun's CVE-2026-88264),
/// and what a process writes to its console comes to no file.
fn target(turn: &Turn) -> Verdict {
    let outside = directory(turn, "outside")?;
    let mut config = with_terminal(turn, "echo written > /dev/console; true");
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.retain(|m| m["destination"] != "/dev");
    }
    let bundle = image(turn, &config, |root| {
        fs::create_dir(root.join("dev/pts"))?;
        fs::write(root.join("dev/console"), "")?;
        symlink(outside.join("console"), root.join("dev/evil"))
    })?;
    let dev = bundle.join("rootfs/dev");
    let mut ran = 0;
    race::run(&dev.join("console"), &dev.join("evil"), || {
        ran += u32::from(launched(turn, &bundle)?);
        holds(&outside, &[])
    })?;
    race::met("containers that ran", ran > 0)
}

/// The other end of the terminal was opened by its name in a /dev/pts that is a volume, and what lay there was bound.
fn source(turn: &Turn) -> Verdict {
    let volume = directory(turn, "pts")?;
    for name in ["0", "1", "2", "ptmx"] {
        symlink("/work/victim", volume.join(name))?;
    }
    let bundle = image(turn, &with_terminal(turn, "true"), |_| Ok(()))?;
    race::met("a container where no volume lies", launched(turn, &bundle)?)?;
    for covered in [false, true] {
        let mut config = with_terminal(turn, "echo written > /dev/console; true");
        if !covered {
            without_mounts(&mut config, "/dev/pts");
        }
        push(&mut config["mounts"], bind(&volume, "/dev/pts"));
        let bundle = image(turn, &config, |root| fs::write(root.join("work/victim"), "whole\n"))?;
        launched(turn, &bundle)?;
        let victim = fs::read_to_string(bundle.join("rootfs/work/victim"))?;
        if victim != "whole\n" {
            return fail("the file that a volume on /dev/pts leads to", "whole", victim);
        }
    }
    Ok(())
}
