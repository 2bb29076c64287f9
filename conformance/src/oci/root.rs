//! The version of the configuration, and the root file system.

use super::Who::Both;
use super::bundle::remove;
use super::turn::Turn;
use super::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::json;

pub const CASES: &[Must] = &[
    must("config.oci-version.semver", "ociVersion is SemVer 2.0.0; anything else is an error", Both, not_semver),
    must("config.oci-version.required", "a configuration without ociVersion is an error", Both, no_version),
    must("config.oci-version.minor", "every configuration of 1.0 to 1.3 is taken", Both, minor),
    must("config.root.required", "a configuration without root is an error", Both, no_root),
    must("config.root.path.required", "a root without path is an error", Both, no_path),
    must("config.root.path.directory", "a directory exists at root.path; otherwise an error", Both, directory),
    must("config.root.path.relative", "root.path may be relative to the bundle", Both, relative),
    must("config.root.path.absolute", "root.path may be absolute", Both, absolute),
    must("config.root.readonly.true", "the root file system is read-only inside", Both, readonly),
    must("config.root.readonly.default", "it is writable when nothing is said", Both, writable),
];

fn not_semver(turn: &Turn) -> Verdict {
    for version in ["1", "1.0", "one.two.three", ""] {
        let mut config = turn.sleeper();
        config["ociVersion"] = json!(version);
        turn.refused(&config)?;
    }
    Ok(())
}

fn no_version(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    remove(&mut config, "ociVersion");
    turn.refused(&config)
}

fn minor(turn: &Turn) -> Verdict {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"] {
        let mut config = turn.sleeper();
        config["ociVersion"] = json!(version);
        turn.created(&config)?;
    }
    Ok(())
}

fn no_root(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    remove(&mut config, "root");
    turn.refused(&config)
}

fn no_path(turn: &Turn) -> Verdict {
    let mut config = turn.sleeper();
    config["root"] = json!({"readonly": true});
    turn.refused(&config)
}

/// Nothing there, and a file there.
fn directory(turn: &Turn) -> Verdict {
    for path in ["nothing", "rootfs/etc/mark"] {
        let mut config = turn.sleeper();
        config["root"]["path"] = json!(path);
        turn.refused(&config)?;
    }
    Ok(())
}

fn relative(turn: &Turn) -> Verdict {
    turn.prints(&turn.sh("cat /etc/mark"), "busybox\n")
}

fn absolute(turn: &Turn) -> Verdict {
    let elsewhere = turn.bundle(&turn.sleeper())?.join("rootfs");
    std::fs::write(elsewhere.join("etc/mark"), "elsewhere\n")?;
    let mut config = turn.sh("cat /etc/mark");
    config["root"]["path"] = json!(elsewhere);
    turn.prints(&config, "elsewhere\n")
}

const WRITES: &str = "touch /etc/new 2>/dev/null && echo written; mkdir /new 2>/dev/null && echo made; echo end";

fn readonly(turn: &Turn) -> Verdict {
    let mut config = turn.sh(WRITES);
    config["root"]["readonly"] = json!(true);
    let container = turn.started(&config)?;
    container.ended()?;
    let there = container.bundle.join("rootfs/new").exists();
    if container.text() == "end\n" && !there {
        Ok(())
    } else {
        fail(&container.made.line, "nothing is written", container.text())
    }
}

fn writable(turn: &Turn) -> Verdict {
    turn.prints(&turn.sh(WRITES), "written\nmade\nend\n")
}
