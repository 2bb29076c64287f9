//! Mounts whose files have other owners, and options that hold for what is mounted below as well: `idmap`, `ridmap`, `rro`, `rnosuid`.

use super::Who::Root;
use super::bundle::push;
use super::turn::Turn;
use super::{Must, must};
use crate::mounted::Mounted;
use crate::report::{No, Verdict, fail};
use nix::mount::MsFlags;
use nix::unistd::{Gid, Uid, chown};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub const CASES: &[Must] = &[
    must("config.mounts.idmap.own", "with mappings of its own files have the owners that these say", Root, own),
    must("config.mounts.idmap.own.user-namespace", "in a user namespace too, seen through the container's", Root, own_inside),
    must("config.mounts.idmap.container", "without any it has those of the container's user namespace", Root, container),
    must("config.mounts.idmap.joined", "of a user namespace that is joined by path too", Root, joined),
    must("config.mounts.idmap.writes", "what is written there belongs on disk to who the mappings say", Root, writes),
    must("config.mounts.idmap.recursive", "ridmap reaches what is mounted below, idmap does not", Root, recursive),
    must("config.mounts.idmap.none", "idmap without mappings and without a user namespace is an error", Root, none),
    must("config.mounts.idmap.both", "uidMappings without gidMappings is an error, and the other way round", Root, both),
    must(
        "config.mounts.options.recursive",
        "rro, rnosuid and their like reach what is mounted below, and take away",
        Root,
        reaching,
    ),
];

/// A file system of the suite's own, with another one below it, and a file of user 5 and group 6 in both.
struct Volume {
    _below: Mounted,
    top: Mounted,
}

impl Volume {
    fn new(turn: &Turn) -> Result<Volume, No> {
        let one = |at: &Path| {
            let mounted = Mounted::tmpfs("tmpfs", at, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0777"))?;
            fs::write(at.join("f"), "")?;
            chown(&at.join("f"), Some(Uid::from_raw(5)), Some(Gid::from_raw(6)))?;
            Ok::<_, std::io::Error>(mounted)
        };
        let top = one(&turn.dir.join("volume"))?;
        Ok(Volume { _below: one(&top.at.join("below"))?, top })
    }

    /// At /work.
    fn mount(&self, options: &[&str]) -> Value {
        json!({"destination": "/work", "type": "bind", "source": self.top.at, "options": options})
    }

    fn mapped(&self, options: &[&str], uid: u32, gid: u32) -> Value {
        let mut mount = self.mount(options);
        (mount["uidMappings"], mount["gidMappings"]) = (map(uid), map(gid));
        mount
    }
}

fn map(host: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": 1000}])
}

/// Ids of nobody's, as [`map`] has them.
const UID: u32 = 300_000;
const GID: u32 = 400_000;

fn with(turn: &Turn, script: &str, mount: Value) -> Value {
    let mut config = turn.sh(script);
    push(&mut config["mounts"], mount);
    config
}

/// The same in a user namespace of its own, which maps nobody of the host's.
pub fn in_user_namespace(mut config: Value) -> Value {
    push(&mut config["linux"]["namespaces"], json!({"type": "user"}));
    (config["linux"]["uidMappings"], config["linux"]["gidMappings"]) = (map(UID), map(GID));
    config
}

const OWNERS: &str = "stat -c %u:%g /work/f";

fn own(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    turn.prints(&with(turn, OWNERS, volume.mapped(&["bind", "idmap"], 2000, 3000)), "2005:3006\n")
}

fn own_inside(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    let config = with(turn, OWNERS, volume.mapped(&["bind", "idmap"], UID + 100, GID + 200));
    turn.prints(&in_user_namespace(config), "105:206\n")
}

fn container(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    turn.prints(&in_user_namespace(with(turn, OWNERS, volume.mount(&["bind", "idmap"]))), "5:6\n")
}

/// The namespace is another container's.
fn joined(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    let first = turn.started(&in_user_namespace(turn.sleeper()))?;
    let mut config = with(turn, OWNERS, volume.mount(&["bind", "idmap"]));
    push(&mut config["linux"]["namespaces"], json!({"type": "user", "path": format!("/proc/{}/ns/user", first.pid()?)}));
    turn.prints(&config, "5:6\n")
}

fn writes(turn: &Turn) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let volume = Volume::new(turn)?;
    turn.output(&in_user_namespace(with(turn, "echo > /work/new", volume.mapped(&["bind", "idmap"], UID, GID))))?;
    let meta = volume.top.at.join("new").metadata()?;
    let seen = (meta.uid(), meta.gid());
    if seen == (0, 0) {
        Ok(())
    } else {
        fail("the owner of what root of the container has written", "(0, 0)", format!("{seen:?}"))
    }
}

fn recursive(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    for (option, expected) in [("idmap", "2005:3006\n5:6\n"), ("ridmap", "2005:3006\n2005:3006\n")] {
        let script = format!("{OWNERS} /work/below/f");
        turn.prints(&with(turn, &script, volume.mapped(&["rbind", option], 2000, 3000)), expected)?;
    }
    Ok(())
}

fn none(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    ["idmap", "ridmap"].iter().try_for_each(|option| turn.refused(&with(turn, "true", volume.mount(&["rbind", option]))))
}

fn both(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    for missing in ["uidMappings", "gidMappings"] {
        let mut mount = volume.mapped(&["bind", "idmap"], 2000, 3000);
        super::bundle::remove(&mut mount, missing);
        turn.refused(&with(turn, "true", mount))?;
    }
    Ok(())
}

/// A recursive option, and a word that mountinfo has (or, with `!`, has not) for the mount below, which is nosuid and nodev.
const REACHING: &[(&str, &str)] = &[
    ("rro", "ro"),
    ("rrw", "rw"),
    ("rnosuid", "nosuid"),
    ("rsuid", "!nosuid"),
    ("rnodev", "nodev"),
    ("rdev", "!nodev"),
    ("rnoexec", "noexec"),
    ("rexec", "!noexec"),
    ("rnoatime", "noatime"),
    ("ratime", "!noatime"),
    ("rnodiratime", "nodiratime"),
    ("rdiratime", "!nodiratime"),
    ("rrelatime", "relatime"),
    ("rstrictatime", "!relatime"),
    ("rnosymfollow", "nosymfollow"),
    ("rsymfollow", "!nosymfollow"),
];

fn reaching(turn: &Turn) -> Verdict {
    let volume = Volume::new(turn)?;
    for (option, word) in REACHING {
        let text = turn.output(&with(turn, "cat /proc/self/mountinfo", volume.mount(&["rbind", option])))?;
        for at in ["/work", "/work/below"] {
            let options = options_of(&text, Path::new(at));
            let has = |word: &str| options.split(',').any(|one| one == word);
            if options.is_empty() || word.strip_prefix('!').map_or_else(|| !has(word), has) {
                return fail(format!("{option} on {at}"), word, options);
            }
        }
    }
    Ok(())
}

/// Of the last mount there.
fn options_of<'a>(mountinfo: &'a str, at: &Path) -> &'a str {
    let lines = mountinfo.lines().rev();
    let fields =
        lines.map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields.get(4).is_some_and(|f| Path::new(f) == at));
    fields.and_then(|fields| fields.get(5).copied()).unwrap_or_default()
}
