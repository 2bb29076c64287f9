//! Masked and read-only paths, propagation of the root, the label of its mounts.

use super::invalid;
use crate::oci::Who::{Both, Root};
use crate::oci::turn::Turn;
use crate::oci::{Must, must};
use crate::report::{Verdict, fail};
use serde_json::json;

pub const CASES: &[Must] = &[
    must("linux.masked-paths.file", "a masked file cannot be read", Both, masked_file),
    must("linux.masked-paths.directory", "a masked directory is empty", Both, masked_directory),
    must("linux.masked-paths.missing", "one that is not there is no error", Both, masked_missing),
    must("linux.masked-paths.absolute", "one that is not absolute is an error", Both, |t| {
        invalid(t, |c| c["linux"]["maskedPaths"] = json!(["proc/kcore"]))
    }),
    must("linux.readonly-paths.applied", "a read-only file or directory, and all below, cannot be written", Both, read_only),
    must("linux.readonly-paths.root", "`/` is a path too", Both, |t| {
        let mut config = t.sh("touch /new 2>/dev/null && echo written; echo end");
        config["linux"]["readonlyPaths"] = json!(["/"]);
        t.prints(&config, "end\n")
    }),
    must("linux.readonly-paths.missing", "one that is not there is no error", Both, read_only_missing),
    must("linux.readonly-paths.absolute", "one that is not absolute is an error", Both, |t| {
        invalid(t, |c| c["linux"]["readonlyPaths"] = json!(["proc/sys"]))
    }),
    must("linux.rootfs-propagation", "the root is shared, private, slave or unbindable as asked", Root, propagation),
    must("linux.mount-label", "a label is set; where nothing knows it, it is refused or named as without effect", Root, label),
];

fn masked_file(turn: &Turn) -> Verdict {
    let mut config = turn.sh("cat /etc/mark /proc/uptime; echo end");
    config["linux"]["maskedPaths"] = json!(["/etc/mark", "/proc/uptime"]);
    turn.prints(&config, "end\n")
}

fn masked_directory(turn: &Turn) -> Verdict {
    let mut config = turn.sh("ls -A /etc /proc/irq; touch /etc/new 2>/dev/null && echo written; echo end");
    config["linux"]["maskedPaths"] = json!(["/etc", "/proc/irq"]);
    turn.prints(&config, "/etc:\n\n/proc/irq:\nend\n")
}

fn masked_missing(turn: &Turn) -> Verdict {
    let mut config = turn.sh("ls /no/such 2>/dev/null; echo end");
    config["linux"]["maskedPaths"] = json!(["/no/such/file", "/proc/no-such"]);
    turn.prints(&config, "end\n")
}

fn read_only(turn: &Turn) -> Verdict {
    let script = "for f in /etc/mark /work/new /proc/self/oom_score_adj /proc/sys/kernel/msgmax; do \
                  (echo 1 > $f) 2>/dev/null && echo $f; done; echo end";
    let mut config = turn.sh(script);
    config["linux"]["readonlyPaths"] = json!(["/etc/mark", "/work", "/proc/sys"]);
    turn.prints(&config, "/proc/self/oom_score_adj\nend\n")
}

fn read_only_missing(turn: &Turn) -> Verdict {
    let mut config = turn.sh("ls /no 2>/dev/null; echo end");
    config["linux"]["readonlyPaths"] = json!(["/no/such", "/proc/no-such"]);
    turn.prints(&config, "end\n")
}

/// The optional fields of mountinfo that the root has, where the bundle lies on a shared mount.
fn propagation(turn: &Turn) -> Verdict {
    let dir = turn.dir.display();
    let script = format!("mount --bind {dir} {dir}; mount --make-shared {dir}; exec \"$0\" \"$@\"");
    for (word, field) in [("shared", "shared:"), ("private", "-"), ("unbindable", "unbindable"), ("slave", "master:")] {
        let mut config = turn.config(&["/bin/cat", "/proc/self/mountinfo"]);
        config["linux"]["rootfsPropagation"] = json!(word);
        let text = turn.run_by(&["unshare", "--mount", "/bin/sh", "-c", &script], &config)?.out;
        let line = text.lines().find(|l| l.split(' ').nth(4) == Some("/")).unwrap_or_default();
        if !line.split(' ').nth(6).is_some_and(|seen| seen.starts_with(field)) {
            return fail(format!("rootfsPropagation {word}"), field, line);
        }
    }
    Ok(())
}

fn label(turn: &Turn) -> Verdict {
    let mut config = turn.config(&["/bin/cat", "/proc/self/mountinfo"]);
    config["linux"]["mountLabel"] = json!("system_u:object_r:svirt_sandbox_file_t:s0:c715,c811");
    let container = turn.create(&config)?;
    if container.made.code != 0 {
        return turn.unknown(&container.id);
    }
    container.start()?;
    container.ended()?;
    if container.text().contains("context=") {
        return Ok(());
    }
    // Without it a runtime that has the word says that it means nothing here.
    let plan = turn.call(&["plan", &container.bundle.display().to_string()])?;
    plan.must("a word about linux.mountLabel", plan.err.contains("linux.mountLabel: no mount has the label"))
}
