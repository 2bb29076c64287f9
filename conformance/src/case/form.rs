//! Forms and rules of policies, each by what it lets a command do.

use super::{Case, On, Play, case, unchanged};
use crate::matrix::gone;
use crate::policy::{pair, path, special};
use crate::report::Verdict;
use crate::runtime::Job;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

pub const CASES: &[Case] = &[
    case("denied and granted directories alternate at every depth", On::Every, alternating),
    case("a file can be a writable root, its neighbours are not", On::Every, file_root),
    case("a read-only file below a writable root", On::Every, file_below),
    case("a writable file below a denied directory (62)", On::Every, file_reopened),
    case("a directory re-opened below a denied one, with restricted reads (17, 18)", On::Every, scoped_reopened),
    case("a file denied outside of every root (65)", On::Every, file_outside),
    case("what is protected and missing cannot be made, and is not left (49, 55)", On::Every, missing),
    case("a root behind a link is its target, with its protections (45, 46)", On::Every, linked_root),
    case("on a tie deny wins over write, and write over read", On::Every, ties),
    case("the longest match wins", On::Every, longest),
    case("an explicit grant of .git lifts its protection, and no other", On::Every, lifted),
    case("/ as a writable root keeps /proc and /dev fresh", On::Every, whole_root),
    case("the host's device nodes are used and not changed", On::Codexrun, lent),
    case(":tmpdir and :slash_tmp follow the launcher's environment", On::Sandbox, temporary),
    case("an unknown special path is kept, warned about, and without effect", On::Sandbox, unknown),
    case("extends: a child adds to its parent and takes from it", On::Sandbox, extends),
    case("an additional profile widens a policy for one command", On::Sandbox, additional),
    case("a denied /tmp and $TMPDIR (#39944)", On::Every, |p| denied_tmp(p, "root")),
    case("a denied /tmp and $TMPDIR with restricted reads (21)", On::Every, |p| denied_tmp(p, "minimal")),
];

fn with(play: &Play, more: &[Value], script: &str) -> Result<crate::launch::Ran, crate::report::No> {
    let mut entries = vec![special("root", "read"), special("project_roots", "write")];
    entries.extend_from_slice(more);
    let file = play.scene.put("policy.json", &pair(entries).to_string())?;
    play.sh(file.display(), script)
}

fn alternating(play: &Play) -> Verdict {
    let deep = play.scene.w().join("1/2/3/4/5");
    play.dir(&deep)?;
    for dir in deep.ancestors().take(5) {
        std::fs::write(dir.join("f"), format!("{}\n", dir.strip_prefix(play.scene.w()).unwrap_or(dir).display()))?;
    }
    play.column.actor.own(&play.scene.dir)?;
    let at = |below: &str, access: &str| path(play.scene.w().join(below), access);
    let more = [at("1", "deny"), at("1/2", "write"), at("1/2/3", "deny"), at("1/2/3/4", "read"), at("1/2/3/4/5", "write")];
    let script = "cat 1/f 1/2/f 1/2/3/f 1/2/3/4/f 1/2/3/4/5/f 2>/dev/null
        for d in 1 1/2 1/2/3 1/2/3/4 1/2/3/4/5; do touch $d/new 2>/dev/null && echo $d; done; :";
    let ran = with(play, &more, script)?;
    ran.must("three can be read, two written", ran.out == "1/2\n1/2/3/4\n1/2/3/4/5\n1/2\n1/2/3/4/5\n")
}

/// By whom they belong to: root's payload. What got through would be to mode, owner and time as they are.
fn lent(play: &Play) -> Verdict {
    let script = "for node in null zero full random urandom tty; do
            at=/dev/$node; then=$(stat -c %Y $at)
            chmod 666 $at && echo chmod $node; chown 0 $at && echo chown $node; touch -d @$then $at && echo touch $node
        done 2> /dev/null; echo x > /dev/null && head -c 1 /dev/zero | wc -c";
    ["read-only", "workspace-write"].into_iter().try_for_each(|policy| {
        let ran = play.sh(policy, script)?;
        ran.must("1: the host's nodes cannot be changed, and are written to", ran.code == 0 && ran.out == "1\n")
    })
}

fn file_root(play: &Play) -> Verdict {
    let out = play.scene.out();
    let script =
        format!("cd '{}' && echo new > file.txt && ! touch victim 2>/dev/null && ! touch other 2>/dev/null", out.display());
    with(play, &[path(out.join("file.txt"), "write")], &script)?.code_is(0)?;
    unchanged(&out.join("file.txt"), "new\n")
}

fn file_below(play: &Play) -> Verdict {
    let script = "! { echo x > plain.txt; } 2>/dev/null && ! rm -f plain.txt 2>/dev/null && cat plain.txt";
    with(play, &[path(play.scene.w().join("plain.txt"), "read")], script)?.code_is(0)?;
    unchanged(&play.scene.w().join("plain.txt"), "plain\n")
}

fn file_reopened(play: &Play) -> Verdict {
    let secret = play.scene.w().join("secret");
    std::fs::write(secret.join("other.txt"), "other\n")?;
    play.column.actor.own(&secret)?;
    let script = "! cat secret/other.txt 2>/dev/null && ! touch secret/new 2>/dev/null && echo new > secret/key.txt";
    with(play, &[path(&secret, "deny"), path(secret.join("key.txt"), "write")], script)?.code_is(0)?;
    unchanged(&secret.join("key.txt"), "new\n")
}

fn scoped_reopened(play: &Play) -> Verdict {
    let (ex, open) = (play.scene.w().join("ex"), play.scene.w().join("ex/open"));
    play.dir(&open)?;
    std::fs::write(ex.join("f"), "denied\n")?;
    let entries = vec![special("minimal", "read"), special("project_roots", "write"), path(&ex, "deny"), path(&open, "write")];
    let file = play.scene.put("policy.json", &pair(entries).to_string())?;
    let script = "! cat ex/f 2>/dev/null && ! touch ex/new 2>/dev/null && echo x > ex/open/new && cat ex/open/new";
    let ran = play.sh(file.display(), script)?;
    ran.must("`x`", ran.code == 0 && ran.out == "x\n")
}

fn file_outside(play: &Play) -> Verdict {
    let out = play.scene.out();
    let ran =
        with(play, &[path(out.join("file.txt"), "deny")], &format!("cd '{}'; cat file.txt victim 2>/dev/null", out.display()))?;
    ran.must("`victim`", ran.out == "victim\n")
}

/// One level below what is there, and two; a denied one cannot be made either.
fn missing(play: &Play) -> Verdict {
    let at = |name: &str, access: &str| path(play.scene.w().join(name), access);
    let script = "for f in later none/deep gone; do mkdir -p $(dirname $f) 2>/dev/null && touch $f 2>/dev/null && echo $f; done
        mkdir none/other later 2>/dev/null && echo directory; { echo x > later || echo x > gone; } 2>/dev/null && echo text; touch made";
    let ran = with(play, &[at("later", "read"), at("none/deep", "read"), at("gone", "deny")], script)?;
    ran.must("nothing is made but `made`", ran.code == 0 && ran.out.is_empty())?;
    gone(&["later", "none", "gone", ".codex"].map(|name| play.scene.w().join(name)), &ran.line)
}

/// The link to the root, and one above it; neither lies where the sandbox may write.
fn linked_root(play: &Play) -> Verdict {
    let (out, link) = (play.scene.out(), play.scene.dir.join("alias"));
    play.dir(&out.join("dir/.git"))?;
    symlink(&out, &link)?;
    symlink(out.join("dir"), play.scene.dir.join("direct"))?;
    let policies = [(link.join("dir"), out.join("dir/inner.txt")), (play.scene.dir.join("direct"), link.join("dir/inner.txt"))];
    for (root, denied) in policies {
        let script = format!(
            "cd '{0}' && touch made && ! cat inner.txt 2>/dev/null && ! touch .git/new 2>/dev/null && ! mkdir .codex 2>/dev/null &&
            ! touch ../new 2>/dev/null && touch '{1}/made' && ! cat '{1}/inner.txt' 2>/dev/null",
            root.display(),
            out.join("dir").display()
        );
        with(play, &[path(&root, "write"), path(denied, "deny")], &script)?.code_is(0)?;
    }
    Ok(())
}

fn ties(play: &Play) -> Verdict {
    let (sub, ex) = (play.scene.w().join("sub"), play.scene.out().join("dir"));
    let more = [path(&sub, "write"), path(&sub, "deny"), path(&sub, "read"), path(&ex, "read"), path(&ex, "write")];
    with(play, &more, &format!("! ls sub 2>/dev/null && touch '{}/new'", ex.display()))?.code_is(0)
}

fn longest(play: &Play) -> Verdict {
    let more = [path(play.scene.w().join("sub"), "read"), path(play.scene.w().join("sub/inner.txt"), "write")];
    let script = "! touch sub/new 2>/dev/null && echo x > sub/inner.txt";
    with(play, &more, script)?.code_is(0)
}

fn lifted(play: &Play) -> Verdict {
    let script = "touch .git/new && ! touch .codex 2>/dev/null && ! mkdir .agents 2>/dev/null";
    let ran = with(play, &[path(play.scene.w().join(".git"), "write")], script)?;
    ran.code_is(0)?;
    gone(&[".codex", ".agents"].map(|name| play.scene.w().join(name)), &ran.line)
}

fn whole_root(play: &Play) -> Verdict {
    let out = play.scene.out();
    let script = format!(
        "touch '{0}/new' && echo > /dev/null && ! test -e /dev/kmsg && ! touch /proc/sys/new 2>/dev/null && ! ls '{0}/dir' 2>/dev/null",
        out.display()
    );
    let entries = vec![special("root", "write"), path(out.join("dir"), "deny")];
    let file = play.scene.put("policy.json", &pair(entries).to_string())?;
    play.sh(file.display(), &script)?.code_is(0)
}

/// Unset, empty, relative, missing, and a directory.
fn temporary(play: &Play) -> Verdict {
    let x = play.scene.x().display().to_string();
    let missing = play.scene.dir.join("none").display().to_string();
    let tests =
        [(None, ""), (Some(""), ""), (Some("tmp"), "TMPDIR is ignored"), (Some(missing.as_str()), ""), (Some(x.as_str()), "")];
    for (tmpdir, warning) in tests {
        let writable = if tmpdir == Some(x.as_str()) { "" } else { "!" };
        let script = format!("touch made && {writable} touch '{x}/made' 2>/dev/null");
        let env = tmpdir.map(|dir| ("TMPDIR".to_string(), dir.to_string())).into_iter().collect();
        let ran = play.column.run(&play.scene, &Job { env, ..Job::sh("workspace-write", &play.scene, &script) })?;
        ran.must(&format!("exit 0, {warning:?} on stderr"), ran.code == 0 && ran.err.contains(warning))?;
    }
    Ok(())
}

fn unknown(play: &Play) -> Verdict {
    let future = json!({"path": {"type": "special", "value": {"kind": "unknown", "path": ":future"}}, "access": "deny"});
    let ran = with(play, &[future], "touch made")?;
    ran.must("exit 0, a warning that names `:future`", ran.code == 0 && ran.err.contains("`:future` has no effect"))
}

fn extends(play: &Play) -> Verdict {
    let text = "default_permissions = \"child\"
        [permissions.parent]\nextends = \":workspace\"
        [permissions.parent.filesystem.\":workspace_roots\"]\nsub = \"read\"\nsecret = \"deny\"
        [permissions.child]\nextends = \"parent\"
        [permissions.child.filesystem.\":workspace_roots\"]\nsub = \"write\"\n\"**/*.env\" = \"deny\"\n";
    let file = play.scene.put("policy.toml", text)?;
    let script = "touch sub/new && ! ls secret 2>/dev/null && ! cat secret.env 2>/dev/null && ! touch .git/new 2>/dev/null";
    play.sh(file.display(), script)?.code_is(0)
}

fn additional(play: &Play) -> Verdict {
    let out = play.scene.out();
    let profile = json!({"file_system": {"entries": [path(&out, "write"), path(out.join("dir"), "deny")]}});
    let file = play.scene.put("additional.json", &profile.to_string())?.display().to_string();
    let script = format!("touch made '{0}/new' && ! ls '{0}/dir' 2>/dev/null && ! touch .git/new 2>/dev/null", out.display());
    let command = ["--", "/bin/sh", "-c", &script];
    play.codexrun(&[&["sandbox", "--additional", &file][..], &command].concat())?.code_is(0)?;
    let without = play.codexrun(&[&["sandbox"][..], &command].concat())?;
    without.must("not permitted without it", without.code != 0)
}

fn denied_tmp(play: &Play, readable: &str) -> Verdict {
    let x = play.scene.x();
    let policy = pair(vec![
        special(readable, "read"),
        special("project_roots", "write"),
        special("slash_tmp", "deny"),
        special("tmpdir", "deny"),
    ]);
    let file = play.scene.put("policy.json", &policy.to_string())?;
    let script = format!("touch made && ! ls /tmp 2>/dev/null && ! cat '{}/plain.txt' 2>/dev/null", x.display());
    let env = vec![("TMPDIR".to_string(), x.display().to_string())];
    let ran = play.column.run(&play.scene, &Job { env, ..Job::sh(file.display(), &play.scene, &script) })?;
    ran.code_is(0)
}
