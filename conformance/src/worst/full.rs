//! File systems with no room, and such as cannot be written: for records, bundles, pid files, and the workspace.

use super::{Case, Place};
use crate::inject::course::{Course, Ground};
use crate::inject::judge::Judge;
use crate::inject::tracer::End;
use crate::launch::{Launch, Ran};
use crate::mounted::Mounted;
use crate::report::{No, Verdict, fail};
use nix::mount::MsFlags;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub const CASES: &[Case] = &[
    ("a state directory without inodes", |p| records(p, "nr_inodes", 1..12)),
    ("a state directory without blocks", |p| records(p, "nr_blocks", 1..8)),
    ("a pid file", pid_file),
    ("a bundle", bundle),
    ("a bundle's root file system", rootfs),
    ("a log", log),
    ("a workspace without room for a placeholder", workspace),
    ("a workspace without room, where the keeper is waited for", awaited),
    ("standard error", standard_error),
];

/// A file system of its own for a directory.
pub(super) struct Small(Mounted);

impl Small {
    /// With a limit such as `nr_inodes=3` (tmpfs(5)), owned by the caller.
    pub fn mount(place: &Place, at: &Path, limit: &str) -> Result<Small, No> {
        let actor = &place.turn.column.actor;
        let data = format!("mode=0755,uid={},gid={},{limit}", actor.uid, actor.gid);
        Ok(Small(Mounted::tmpfs("small", at, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(&data))?))
    }

    /// Where it is.
    pub fn at(&self) -> &Path {
        &self.0.at
    }

    /// Nobody can write to it any more, or all can again.
    pub fn remount(&self, read_only: bool) -> Verdict {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let flags = if read_only { flags | MsFlags::MS_RDONLY } else { flags };
        Ok(self.0.change(flags)?)
    }

    /// What is in it.
    fn names(&self) -> Result<Vec<String>, No> {
        let names = fs::read_dir(self.at())?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        Ok(names.collect::<std::io::Result<_>>()?)
    }

    pub fn is_empty(&self, line: &str) -> Verdict {
        let names = self.names()?;
        if names.is_empty() { Ok(()) } else { fail(line, format!("nothing in {}", self.at().display()), names.join(" ")) }
    }
}

/// Containers whose records have ever more room, from none to plenty.
fn records(place: &Place, kind: &str, levels: std::ops::Range<u32>) -> Verdict {
    let mut faults = Vec::new();
    for course in [Course::Run, Course::Create] {
        let ground = Ground::new(&place.turn, course, End::Payload)?;
        let judge = Judge::new(course, ground.untraced(|launch| launch)?)?;
        for level in levels.clone() {
            let limit = format!("{kind}={level}");
            let small = Small::mount(place, &place.turn.state, &limit)?;
            let trial = ground.untraced(|launch| launch)?;
            let left = small.names()?;
            faults.extend(judge.fault_in_want(&trial).map(|what| format!("{}, {limit}: {what}", course.name())));
            faults.extend((!left.is_empty()).then(|| format!("{}, {limit}: left: {}", course.name(), left.join(" "))));
        }
    }
    if faults.is_empty() { Ok(()) } else { fail(kind, "all or nothing, and nothing left", faults.join("\n")) }
}

fn refused(ran: &Ran) -> Verdict {
    refused_by(ran, 1)
}

/// With this exit code, and one sentence.
pub(super) fn refused_by(ran: &Ran, code: i32) -> Verdict {
    let one = ran.err.lines().filter(|line| !line.starts_with("codexrun: warning")).count() == 1;
    ran.must(&format!("exit {code} and one sentence"), ran.code == code && one && ran.err.starts_with("codexrun: error: "))
}

fn pid_file(place: &Place) -> Verdict {
    let turn = &place.turn;
    let dir = turn.bundle(&turn.sleeper())?.display().to_string();
    for limit in ["nr_inodes=1", "nr_inodes=2,size=4k", "nr_inodes=3,size=4k"] {
        let small = Small::mount(place, &turn.dir.join("small"), limit)?;
        if limit.contains("size") {
            // The one block that there is.
            fs::write(small.at().join("full"), [0; 4096])?;
        }
        let (before, file, id) = (small.names()?, small.at().join("pid").display().to_string(), turn.fresh());
        let ran = turn.call(&["create", "--bundle", &dir, "--pid-file", &file, &id])?;
        refused(&ran)?;
        turn.unknown(&id)?;
        if small.names()? != before {
            return fail(&ran.line, before.join(" "), small.names()?.join(" "));
        }
    }
    Ok(())
}

fn bundle(place: &Place) -> Verdict {
    let turn = &place.turn;
    let levels = (1..8).map(|n| format!("nr_inodes={n}")).chain((1..4).map(|n| format!("nr_blocks={n}")));
    for limit in levels {
        let small = Small::mount(place, &turn.dir.join("small"), &limit)?;
        let at = small.at().display().to_string();
        let cwd = turn.dir.display().to_string();
        let ran = turn.call(&["spec", "--from-policy", "workspace-write", "--cwd", &cwd, "--bundle", &at, "--", "/bin/true"])?;
        if ran.code != 0 {
            refused(&ran)?;
            small.is_empty(&format!("{} ({limit})", ran.line))?;
        }
    }
    Ok(())
}

/// A mount point that is missing cannot be made; what is there is enough.
fn rootfs(place: &Place) -> Verdict {
    let turn = &place.turn;
    let mut config = turn.sh("exit 0");
    let whole = turn.bundle(&config)?;
    let small = Small::mount(place, &turn.dir.join("small"), "size=8m,nr_inodes=70")?;
    let copied = Launch::new(&["cp", "-a", &format!("{}/rootfs", whole.display()), &small.at().display().to_string()], &turn.dir);
    let copied = copied.run(&turn.column.actor)?;
    copied.must("exit 0", copied.code == 0)?;
    (0..).map_while(|n| fs::write(small.at().join(n.to_string()), "").ok()).for_each(drop);
    let (before, id) = (small.names()?, turn.fresh());
    config["root"]["path"] = json!(small.at().join("rootfs"));
    let run = |config: &Value| -> Result<Ran, No> {
        let dir = turn.bundle(config)?.display().to_string();
        turn.call(&["run", "--bundle", &dir, &id])
    };
    let ran = run(&config)?;
    ran.must("exit 0", ran.code == 0)?;
    crate::oci::bundle::push(&mut config["mounts"], json!({"destination": "/a/b", "type": "tmpfs", "source": "tmpfs"}));
    let ran = run(&config)?;
    refused(&ran)?;
    ran.must("mounts[3], ENOSPC", ran.err.contains("mounts[3]") && ran.err.contains("ENOSPC"))?;
    turn.unknown(&id)?;
    if small.names()? == before { Ok(()) } else { fail(&ran.line, before.join(" "), small.names()?.join(" ")) }
}

/// What fails is told all the same, and that it is not in the log; what is done needs none.
fn log(place: &Place) -> Verdict {
    let turn = &place.turn;
    let small = Small::mount(place, &turn.dir.join("small"), "nr_inodes=1")?;
    let (dir, file) = (turn.bundle(&turn.sh("exit 3"))?.display().to_string(), small.at().join("log").display().to_string());
    let ran = turn.call(&["--log", &file, "run", "--bundle", &dir, &turn.fresh()])?;
    ran.must("exit 3", ran.code == 3 && ran.err.is_empty())?;
    let ran = turn.call(&["--log", &file, "state", &turn.fresh()])?;
    let [what, log] = ["codexrun: error: container does not exist", &format!("the log `{file}` cannot be written: ")];
    ran.must(
        "both in one sentence",
        ran.code == 1 && ran.err.lines().count() == 1 && ran.err.contains(what) && ran.err.contains(log),
    )?;
    small.is_empty("run, state")
}

/// Nothing can be held there: the sandbox does not start with less.
fn workspace(place: &Place) -> Verdict {
    let turn = &place.turn;
    for (limit, starts) in [("nr_inodes=1", false), ("nr_inodes=2", false), ("nr_inodes=3", false), ("nr_inodes=100", true)] {
        let small = Small::mount(place, &turn.dir.join("small"), limit)?;
        let cwd = small.at().display().to_string();
        let ran = turn.call(&["sandbox", "--policy", "workspace-write", "--cwd", &cwd, "--", "/bin/true"])?;
        if starts {
            ran.must("exit 0", ran.code == 0)?
        } else {
            refused(&ran)?
        }
        crate::launch::orphans_end(crate::launch::GRACE);
        small.is_empty(&format!("{} ({limit})", ran.line))?;
    }
    Ok(())
}

/// The same where the child waits for the keeper and codexrun for the child: with the hooks of a bridge, and where it is recorded.
fn awaited(place: &Place) -> Verdict {
    let turn = &place.turn;
    let small = Small::mount(place, &turn.dir.join("small"), "nr_inodes=1")?;
    let cwd = small.at().display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let proxied = ["--managed-network", "{}", "--env", "HTTP_PROXY=http://127.0.0.1:9"];
    for words in [&["--publish", &port][..], &["--allow-host-port", &port], &["--allow-domain", "localhost"], &proxied] {
        let sandbox = ["sandbox", "--policy", "workspace-write", "--cwd", &cwd];
        refused(&turn.call(&[&sandbox[..], words, &["--", "/bin/true"]].concat())?)?;
    }
    let bundle = turn.dir.join("full").display().to_string();
    turn.succeeds(&["spec", "--from-policy", "workspace-write", "--cwd", &cwd, "--bundle", &bundle, "--", "/bin/true"])?;
    for words in [&["create"][..], &["run"], &["run", "--detach"]] {
        let id = turn.fresh();
        refused(&turn.call(&[words, &["--bundle", &bundle, &id]].concat())?)?;
        turn.unknown(&id)?;
    }
    crate::launch::orphans_end(crate::launch::GRACE);
    small.is_empty("sandbox, create, run")
}

/// What cannot be told stops nothing: a warning, and what a sandbox without namespaces gives up.
fn standard_error(place: &Place) -> Verdict {
    let turn = &place.turn;
    let mut config = turn.sh("exit 3");
    config["hooks"] = json!({"poststop": [{"path": "/bin/false"}]});
    let dir = turn.bundle(&config)?.display().to_string();
    let unheard = |words: &[&str]| {
        let launch = turn.launch(words);
        let shell = ["/bin/sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"].map(str::to_string);
        Launch { argv: [&shell[..], &launch.argv].concat(), ..launch }.run(&turn.column.actor)
    };
    let ran = unheard(&["run", "--bundle", &dir, &turn.fresh()])?;
    ran.must("exit 3", ran.code == 3)?;
    let lost = ["processes", "attributes", "metadata"].map(|name| format!("--accept-loss={name}"));
    let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
    let alone = [&["sandbox", "--policy", "read-only", "--isolation", "landlock"], &lost[..], &["--", "/bin/sh", "-c", "exit 3"]];
    let ran = unheard(&alone.concat())?;
    ran.must("exit 3", ran.code == 3)
}
