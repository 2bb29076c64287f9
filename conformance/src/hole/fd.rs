//! Descriptors of the caller's that lead to the host.

use super::race::met;
use crate::launch::Ran;
use crate::oci::turn::Turn;
use crate::report::{No, Verdict};
use serde_json::json;
use std::fs;

/// Of which 7 and 9 are left open by the caller. runc's own, to the cgroups, was one of them.
const DESCRIPTORS: std::ops::Range<u32> = 3..12;
const SECRET: &str = "of the host's root";
const LEFT_OPEN: &str = "exec 7</ 9</; exec \"$0\" \"$@\"";

/// A call whose caller has the host's root open.
fn called(turn: &Turn, words: &[&str]) -> Result<Ran, No> {
    let mut launch = turn.launch(words);
    launch.argv.splice(0..0, ["/bin/sh", "-c", LEFT_OPEN].map(String::from));
    Ok(launch.start(&turn.column.actor)?.finish_beside_others()?)
}

/// With a working directory below a descriptor that was left open every path of the host is one of `../..`.
pub fn working_directory(turn: &Turn) -> Verdict {
    fs::write(turn.dir.join("secret"), SECRET)?;
    let read = format!("cat {}", super::climbing(&turn.dir.join("secret")).display());
    let outside = format!("cd /proc/self/fd/7 && {read}");
    let mut launch = turn.launch(&[]);
    launch.argv = ["/bin/sh", "-c", LEFT_OPEN, "/bin/sh", "-c", &outside].map(String::from).to_vec();
    launch.keeps_root = false;
    let ran = launch.start(&turn.column.actor)?.finish_beside_others()?;
    met("a descriptor that leads to the secret", ran.out == SECRET)?;
    for n in DESCRIPTORS {
        for dir in [format!("/proc/self/fd/{n}"), format!("/proc/self/fd/{n}/")] {
            let mut config = turn.sh(&read);
            config["process"]["cwd"] = json!(dir);
            let bundle = turn.bundle(&config)?.display().to_string();
            let ran = called(turn, &["run", "--bundle", &bundle, &turn.fresh()])?;
            ran.must("nothing of the host's", !ran.out.contains(SECRET))?;
        }
    }
    created(turn, &read)?;
    entered(turn, &read)
}

fn created(turn: &Turn, read: &str) -> Verdict {
    for n in DESCRIPTORS {
        let mut config = turn.sh(&format!("{read} > /trace/{n}; true"));
        crate::oci::bundle::push(&mut config["mounts"], crate::oci::bundle::bind(&turn.dir.join("trace"), "/trace"));
        config["process"]["cwd"] = json!(format!("/proc/self/fd/{n}"));
        let (bundle, id) = (turn.bundle(&config)?, turn.fresh());
        let made = called(turn, &["create", "--bundle", &bundle.display().to_string(), &id])?;
        if made.code == 0 {
            called(turn, &["start", &id])?;
        }
        turn.call(&["delete", "--force", &id])?;
        made.must("nothing of the host's", !turn.mark(&n.to_string()).contains(SECRET))?;
    }
    Ok(())
}

/// Also when an engine passes descriptors on knowingly.
fn entered(turn: &Turn, read: &str) -> Verdict {
    let container = turn.started(&turn.sleeper())?;
    for n in DESCRIPTORS {
        for keep in ["0", "8"] {
            let dir = format!("/proc/self/fd/{n}");
            let words = ["exec", "--preserve-fds", keep, "--cwd", &dir, &container.id, "/bin/sh", "-c", read];
            let ran = called(turn, &words)?;
            ran.must("nothing of the host's", !ran.out.contains(SECRET))?;
        }
    }
    Ok(())
}
