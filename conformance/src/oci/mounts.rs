//! Mounts: their order, where they go, and each option that a runtime must know.

use super::Who::{Both, Root};
use super::bundle::push;
use super::turn::Turn;
use super::{Must, must};
use crate::mounted::Mounted;
use crate::report::{Verdict, fail};
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::fs;

pub const CASES: &[Must] = &[
    must("config.mounts.order", "entries are mounted in the listed order", Both, order),
    must("config.mounts.destination.relative", "a relative destination is taken from `/`", Both, relative_destination),
    must("config.mounts.destination.required", "a mount without destination is an error", Both, no_destination),
    must("config.mounts.destination.made", "a missing mount point is made", Both, made),
    must("config.mounts.source.relative", "the source of a bind may be relative to the bundle", Both, relative_source),
    must("config.mounts.source.file", "a file can be bound over a file", Both, file),
    must("config.mounts.type.bind-dummy", "`type` is a dummy when the options have bind", Both, dummy),
    must("config.mounts.type.unknown", "a file system that the kernel does not have is an error", Both, unknown_type),
    must("config.mounts.options.flags", "each flag that a runtime must know is set on the mount", Both, flags),
    must("config.mounts.options.defaults", "`defaults` is an option, and changes nothing", Both, defaults),
    must("config.mounts.options.taken", "each option that has no flag in mountinfo is taken", Both, taken),
    must("config.mounts.options.propagation", "private, slave, shared, unbindable and their r forms", Root, propagation),
    must("config.mounts.options.rbind", "rbind brings what is mounted below, bind does not", Root, rbind),
    must("config.mounts.options.ro-filled", "a read-only tmpfs holds what is mounted in it, /dev its devices", Both, ro_filled),
    must("config.mounts.options.ro-bind", "a bind with ro is read-only", Both, ro_bind),
    must("config.mounts.options.cleared", "exec, dev, suid and rw take off what the source of a bind has", Root, cleared),
    must("config.mounts.options.remount", "remount changes the options of what is mounted there", Both, remount),
    must("config.mounts.options.data", "options of the file system reach it", Both, data),
    must("config.mounts.options.unknown", "an option that nobody knows is an error", Both, unknown_option),
];

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// Mounts, then one line of mountinfo per mount.
fn with(turn: &Turn, script: &str, mounts: &[Value]) -> Value {
    let mut config = turn.sh(script);
    mounts.iter().for_each(|m| push(&mut config["mounts"], m.clone()));
    config
}

/// The later mount lies above, and a mount inside another comes after it.
fn order(turn: &Turn) -> Verdict {
    let mounts = [
        tmpfs("/work", &["size=4k"]),
        tmpfs("/work/in", &["size=8k"]),
        tmpfs("/tmp", &["size=4k"]),
        tmpfs("/tmp", &["size=16k"]),
    ];
    let script =
        "while read -r a b c d at rest; do case $at in /work*|/tmp) echo $at ${rest##*size=};; esac; done < /proc/self/mountinfo";
    let config = with(turn, script, &mounts);
    let text = turn.output(&config)?;
    let seen: Vec<String> = text.lines().map(|l| l.split(',').next().unwrap_or_default().to_string()).collect();
    let expected = ["/work 4k", "/work/in 8k", "/tmp 4k", "/tmp 16k"];
    if seen == expected { Ok(()) } else { fail("mountinfo inside", format!("{expected:?}"), text) }
}

fn relative_destination(turn: &Turn) -> Verdict {
    let config = with(turn, "stat -f -c %T /work", &[tmpfs("work", &[])]);
    turn.prints(&config, "tmpfs\n")
}

fn no_destination(turn: &Turn) -> Verdict {
    turn.refused(&with(turn, "true", &[json!({"type": "tmpfs", "source": "tmpfs"})]))
}

fn made(turn: &Turn) -> Verdict {
    let config = with(turn, "stat -f -c %T /new/and/deep", &[tmpfs("/new/and/deep", &[])]);
    turn.prints(&config, "tmpfs\n")
}

fn relative_source(turn: &Turn) -> Verdict {
    let config = with(turn, "cat /work/mark", &[json!({"destination": "/work", "source": "rootfs/etc", "options": ["bind"]})]);
    turn.prints(&config, "busybox\n")
}

fn file(turn: &Turn) -> Verdict {
    let source = turn.trace("file");
    fs::write(&source, "from the host\n")?;
    let bound = |to: &str| json!({"destination": to, "type": "bind", "source": source, "options": ["bind", "ro"]});
    turn.prints(&with(turn, "cat /etc/mark /etc/new", &[bound("/etc/mark"), bound("/etc/new")]), "from the host\nfrom the host\n")
}

fn dummy(turn: &Turn) -> Verdict {
    for kind in ["none", "no-such-type"] {
        let mount = json!({"destination": "/work", "type": kind, "source": turn.dir.join("trace"), "options": ["rbind"]});
        fs::write(turn.trace("here"), "")?;
        turn.prints(&with(turn, "ls /work", &[mount]), "here\n")?;
    }
    Ok(())
}

fn unknown_type(turn: &Turn) -> Verdict {
    turn.refused(&with(turn, "true", &[json!({"destination": "/work", "type": "no-such-fs", "source": "none"})]))
}

/// Options of a tmpfs, and a word that mountinfo must (or, with `!`, must not) have for it.
const FLAGS: &[(&[&str], &str)] = &[
    (&["ro"], "ro"),
    (&["rw"], "rw"),
    (&["ro", "rw"], "rw"),
    (&["nosuid"], "nosuid"),
    (&["nosuid", "suid"], "!nosuid"),
    (&["nodev"], "nodev"),
    (&["noexec"], "noexec"),
    (&["noexec", "exec"], "!noexec"),
    (&["noatime"], "noatime"),
    (&["noatime", "atime"], "!noatime"),
    (&["nodiratime"], "nodiratime"),
    (&["nodiratime", "diratime"], "!nodiratime"),
    (&["relatime"], "relatime"),
    (&["strictatime"], "!relatime"),
    (&["sync"], "sync"),
    (&["sync", "async"], "!sync"),
    (&["dirsync"], "dirsync"),
    (&["lazytime"], "lazytime"),
    (&["lazytime", "nolazytime"], "!lazytime"),
];

fn flags(turn: &Turn) -> Verdict {
    let mounts = FLAGS.iter().enumerate().map(|(n, (options, _))| tmpfs(&format!("/work/{n}"), options));
    let mounts: Vec<Value> = std::iter::once(tmpfs("/work", &[])).chain(mounts).collect();
    let config = with(turn, "cat /proc/self/mountinfo", &mounts);
    let text = turn.output(&config)?;
    let wrong: Vec<String> =
        FLAGS.iter().enumerate().filter_map(|(n, (options, word))| not_as(&text, n, options, word)).collect();
    if wrong.is_empty() { Ok(()) } else { fail("mountinfo inside", "each option's flag", wrong.join("\n")) }
}

/// The mount's own options and its superblock's, which has sync, dirsync and lazytime.
fn not_as(mountinfo: &str, n: usize, options: &[&str], word: &str) -> Option<String> {
    let at = format!("/work/{n}");
    let line = mountinfo.lines().find(|l| l.split(' ').nth(4) == Some(&at)).unwrap_or_default();
    let fields: Vec<&str> = line.split(' ').collect();
    let own = fields.get(5).unwrap_or(&"");
    let of_super = fields.last().unwrap_or(&"");
    let has = |w: &str| own.split(',').any(|o| o == w) || (!["ro", "rw"].contains(&w) && of_super.split(',').any(|o| o == w));
    let holds = !line.is_empty() && word.strip_prefix('!').map_or_else(|| has(word), |w| !has(w));
    (!holds).then(|| format!("{options:?}: wanted {word}, got `{line}`"))
}

fn defaults(turn: &Turn) -> Verdict {
    turn.prints(&with(turn, "stat -f -c %T /work; touch /work/x && echo rw", &[tmpfs("/work", &["defaults"])]), "tmpfs\nrw\n")
}

/// What is spent on the mount(2) call, or has no effect that a file in /proc shows.
const TAKEN: &[&str] = &["dev", "exec", "suid", "norelatime", "nostrictatime", "iversion", "noiversion", "silent", "loud"];

fn taken(turn: &Turn) -> Verdict {
    for option in TAKEN.iter().filter(|o| turn.column.actor.is_root() || **o != "dev") {
        let text = turn.output(&with(turn, "stat -f -c %T /work", &[tmpfs("/work", &[option])]))?;
        if text != "tmpfs\n" {
            return fail(option, "a mounted tmpfs", text);
        }
    }
    Ok(())
}

/// Optional fields of mountinfo for each propagation, `-` for none.
const PROPAGATION: &[(&str, &str)] = &[
    ("private", "-"),
    ("rprivate", "-"),
    ("shared", "shared:"),
    ("rshared", "shared:"),
    ("unbindable", "unbindable"),
    ("runbindable", "unbindable"),
];

fn propagation(turn: &Turn) -> Verdict {
    let mounts = PROPAGATION.iter().map(|(option, _)| tmpfs(&format!("/work/{option}"), &[option]));
    let mounts: Vec<Value> = std::iter::once(tmpfs("/work", &[])).chain(mounts).collect();
    let config = with(turn, "cat /proc/self/mountinfo", &mounts);
    let text = turn.output(&config)?;
    for (option, word) in PROPAGATION {
        let at = format!("/work/{option}");
        let line = text.lines().find(|l| l.split(' ').nth(4) == Some(&at)).unwrap_or_default();
        if !line.split(' ').nth(6).is_some_and(|field| field.starts_with(word)) {
            return fail(option, word, line);
        }
    }
    slave(turn)
}

/// A slave needs a master: a mount of the host that is shared. Engines ask for the root's propagation as well then.
fn slave(turn: &Turn) -> Verdict {
    let host = Mounted::tmpfs("tmpfs", &turn.dir.join("shared"), MsFlags::empty(), None)?;
    host.change(MsFlags::MS_SHARED)?;
    let of_it = |option: &str| json!({"destination": "/work", "source": turn.dir.join("shared"), "options": ["rbind", option]});
    for option in ["slave", "rslave"] {
        let mut config = with(turn, "cat /proc/self/mountinfo", &[of_it(option)]);
        config["linux"]["rootfsPropagation"] = json!("rslave");
        let text = turn.output(&config)?;
        let line = text.lines().find(|l| l.split(' ').nth(4) == Some("/work")).unwrap_or_default();
        if !line.contains(" master:") || line.contains(" shared:") {
            return fail(option, "master:N and not shared", line);
        }
    }
    Ok(())
}

fn rbind(turn: &Turn) -> Verdict {
    let shallow = json!({"source": "/sys", "options": ["bind", "ro"], "destination": "/tmp"});
    let deep = json!({"source": "/sys", "options": ["rbind", "ro"], "destination": "/sys"});
    let script = "ls /tmp/fs/cgroup | wc -l; ls /sys/fs/cgroup | wc -l";
    let text = turn.output(&with(turn, script, &[shallow, deep]))?;
    let counts: Vec<u32> = text.lines().filter_map(|l| l.trim().parse().ok()).collect();
    match counts[..] {
        [0, below] if below > 0 => Ok(()),
        _ => fail("entries of /sys/fs/cgroup by bind and by rbind of /sys", "none, then some", text),
    }
}

fn ro_filled(turn: &Turn) -> Verdict {
    let script =
        "for at in /dev /work; do touch $at/x 2>/dev/null && echo $at; done; touch /work/in/x && ls -d /dev/null /dev/pts/ptmx";
    let mut config = with(turn, script, &[tmpfs("/work", &["ro"]), tmpfs("/work/in", &[])]);
    let dev = config["mounts"].as_array_mut().into_iter().flatten().find(|mount| mount["destination"] == "/dev");
    dev.into_iter().for_each(|dev| push(&mut dev["options"], json!("ro")));
    turn.prints(&config, "/dev/null\n/dev/pts/ptmx\n")
}

fn ro_bind(turn: &Turn) -> Verdict {
    let mount = json!({"destination": "/work", "type": "bind", "source": turn.dir.join("trace"), "options": ["bind", "ro"]});
    turn.prints(&with(turn, "touch /work/new 2>/dev/null && echo written; echo end", &[mount]), "end\n")
}

/// Options of a bind, and what it has no more of its source's, which is all of these.
const CLEARED: &[(&[&str], &[&str])] =
    &[(&["bind", "exec"], &["noexec"]), (&["bind", "dev", "suid"], &["nodev", "nosuid"]), (&["rbind", "rw"], &["ro"])];

fn cleared(turn: &Turn) -> Verdict {
    let all = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let host = Mounted::tmpfs("tmpfs", &turn.dir.join("source"), all, None)?;
    for (options, gone) in CLEARED {
        let bind = json!({"destination": "/work", "type": "bind", "source": host.at, "options": options});
        let text = turn.output(&with(turn, "cat /proc/self/mountinfo", &[bind]))?;
        let line = text.lines().find(|l| l.split(' ').nth(4) == Some("/work")).unwrap_or_default();
        let has = line.split(' ').nth(5).unwrap_or("ro,nosuid,nodev,noexec");
        if has.split(',').any(|option| gone.contains(&option)) {
            return fail(format!("{options:?} of a source that is ro, nosuid, nodev, noexec"), format!("none of {gone:?}"), line);
        }
    }
    Ok(())
}

fn remount(turn: &Turn) -> Verdict {
    let again = json!({"destination": "/work", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro"]});
    let config = with(turn, "touch /work/new 2>/dev/null && echo written; stat -f -c %T /work", &[tmpfs("/work", &[]), again]);
    turn.prints(&config, "tmpfs\n")
}

fn data(turn: &Turn) -> Verdict {
    turn.prints(&with(turn, "stat -c %a /work", &[tmpfs("/work", &["mode=1751", "size=64k"])]), "1751\n")
}

fn unknown_option(turn: &Turn) -> Verdict {
    turn.refused(&with(turn, "true", &[tmpfs("/work", &["no-such-option"])]))
}
