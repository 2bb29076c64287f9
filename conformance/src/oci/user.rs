//! Who the process is, and which capabilities it has.

use super::Who::{Both, Root};
use super::process::status_line;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{No, Verdict, fail};
use serde_json::{Value, json};

pub const CASES: &[Must] = &[
    must(
        "config.process.user.required",
        "a process without user, uid or gid is root or an error, never somebody else",
        Both,
        required,
    ),
    must("config.process.user.ids", "uid and gid, real, effective, saved and of the file system", Root, ids),
    must("config.process.user.additional-gids", "additionalGids are the supplementary groups, and only they", Root, groups),
    must("config.process.user.no-groups", "without additionalGids the caller's groups are gone", Root, no_groups),
    must("config.process.user.umask", "the umask is the given one", Both, umask),
    must("config.process.user.invalid", "a negative uid is an error", Both, invalid),
    must("config.process.capabilities.sets", "each of the five sets has exactly what is listed", Root, sets),
    must("config.process.capabilities.none", "without capabilities a user that is not root has none", Root, none),
    must("config.process.capabilities.kept-as-user", "permitted, effective and ambient survive the change of user", Root, kept),
    must("config.process.capabilities.unknown", "a name that the kernel does not have is not taken in silence", Both, unknown),
];

fn status(turn: &Turn, change: impl Fn(&mut Value)) -> Result<String, No> {
    let mut config = turn.config(&["/bin/cat", "/proc/self/status"]);
    change(&mut config["process"]);
    turn.output(&config)
}

fn is(text: &str, name: &str, expected: &str) -> Verdict {
    let seen = status_line(text, name);
    if seen == expected { Ok(()) } else { fail(name, expected, seen) }
}

fn required(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["/bin/id", "-u"]);
    super::bundle::remove(&mut config["process"], "user");
    let container = turn.create(&config)?;
    if container.made.code != 0 {
        return turn.unknown(&container.id);
    }
    container.start()?;
    container.ended()?;
    container.says("0\n")
}

fn ids(turn: &Turn) -> Verdict {
    let text = status(turn, |p| p["user"] = json!({"uid": 1234, "gid": 5678}))?;
    is(&text, "Uid", "1234 1234 1234 1234")?;
    is(&text, "Gid", "5678 5678 5678 5678")
}

fn groups(turn: &Turn) -> Verdict {
    let text = status(turn, |p| p["user"] = json!({"uid": 1234, "gid": 5678, "additionalGids": [7, 42, 100000]}))?;
    is(&text, "Groups", "7 42 100000")
}

fn no_groups(turn: &Turn) -> Verdict {
    is(&status(turn, |p| p["user"] = json!({"uid": 1234, "gid": 5678}))?, "Groups", "")
}

fn umask(turn: &Turn) -> Verdict {
    let mut config = turn.sh("umask");
    config["process"]["user"]["umask"] = json!(0o27);
    turn.prints(&config, "0027\n")
}

fn invalid(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["user"]["uid"] = json!(-1);
    turn.refused(&config)
}

/// Bits 0 (CHOWN), 5 (KILL), 6 (SETGID), 7 (SETUID), 10 (NET_BIND_SERVICE): capabilities(7).
fn sets(turn: &Turn) -> Verdict {
    let text = status(turn, |p| {
        p["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "inheritable": ["CAP_NET_BIND_SERVICE", "CAP_KILL"],
            "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "ambient": ["CAP_NET_BIND_SERVICE"],
        });
        // As root execve would fill permitted from bounding.
        p["user"] = json!({"uid": 1234, "gid": 1234});
    })?;
    is(&text, "CapBnd", "00000000000004e1")?;
    is(&text, "CapInh", "0000000000000420")?;
    is(&text, "CapAmb", "0000000000000400")?;
    is(&text, "CapPrm", "0000000000000400")?;
    is(&text, "CapEff", "0000000000000400")
}

fn none(turn: &Turn) -> Verdict {
    let text = status(turn, |p| {
        p["capabilities"] = json!({});
        p["user"] = json!({"uid": 1234, "gid": 1234});
    })?;
    ["CapBnd", "CapInh", "CapAmb", "CapPrm", "CapEff"].iter().try_for_each(|set| is(&text, set, "0000000000000000"))
}

fn kept(turn: &Turn) -> Verdict {
    let text = status(turn, |p| {
        let list = json!(["CAP_NET_BIND_SERVICE"]);
        p["capabilities"] = json!({"bounding": list, "permitted": list, "inheritable": list, "effective": list, "ambient": list});
        p["user"] = json!({"uid": 1234, "gid": 1234});
    })?;
    ["CapBnd", "CapInh", "CapAmb", "CapPrm", "CapEff"].iter().try_for_each(|set| is(&text, set, "0000000000000400"))
}

/// The specification wants a warning; runc 1.1.5 gives one too.
fn unknown(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["process"]["capabilities"]["bounding"] = json!(["CAP_CHOWN", "CAP_NO_SUCH"]);
    let container = turn.create(&config)?;
    container.made.must("a word about CAP_NO_SUCH", container.made.err.contains("CAP_NO_SUCH"))
}
