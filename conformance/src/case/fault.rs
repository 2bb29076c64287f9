//! Faults that other sandboxes have or had; each name says what must hold instead. Numbers are issues of openai/codex.

use super::{Case, On, Play, case, unchanged};
use crate::matrix::gone;
use crate::policy::{pair, path, special};
use crate::report::{No, Verdict};
use crate::runtime::Job;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;

pub const CASES: &[Case] = &[
    case("a .codex that is a symlink fails closed (#20716)", On::Sandbox, |p| symlinked_metadata(p, ".codex")),
    case("an .agents that is a symlink fails closed", On::Sandbox, |p| symlinked_metadata(p, ".agents")),
    case("a .git that is a symlink fails closed", On::Sandbox, |p| symlinked_metadata(p, ".git")),
    case("a .codex that is a dangling symlink fails closed", On::Sandbox, dangling_metadata),
    case("a deny path that is a symlink below a root fails closed", On::Sandbox, symlinked_deny),
    case("many denied files (#43929, #22889)", On::Every, many_denied),
    case("nested writable roots (#43516)", On::Every, nested_roots),
    case("a missing writable root is ignored", On::Every, missing_root),
    case("a writable root below a denied directory", On::Every, reopened),
    case("root = write with a deny keeps /dev/null (#16451)", On::Every, root_write),
    case("$TMPDIR is writable", On::Sandbox, tmpdir),
    case("$TMPDIR and /tmp can be excluded", On::Sandbox, excluded),
    case("a workspace with blanks and quotes in its name", On::Every, odd_name),
    case("a symlinked working directory", On::Sandbox, symlinked_cwd),
    case("/dev/shm of the host can be a root", On::Every, shm),
    case("links between two roots of one file system or EXDEV, never a hang (#24796)", On::Every, cross_link),
    case("semaphores: /dev/shm is private and writable (#7251)", On::Every, private_shm),
    case("three thousand denied files (#22889)", On::Sandbox, thousands),
    case("a write outside every root fails and does not vanish (#36852)", On::Every, no_scratch),
    case("a working directory that the caller does not own (#37318)", On::Sandbox, foreign_cwd),
    case("a place that the caller cannot reach is nobody's", On::Sandbox, barred),
    case("a working directory of 4000 bytes", On::Sandbox, long_path),
    case("a link planted as a missing $TMPDIR gains nothing", On::Sandbox, planted_tmpdir),
    case("an outer container that forbids a fresh /proc (#44304)", On::Sandbox, outer_proc),
];

fn with(play: &Play, policy: &Value, script: &str) -> Result<crate::launch::Ran, No> {
    let file = play.scene.put("policy.json", &policy.to_string())?;
    play.sh(file.display(), script)
}

/// Below a directory of mode 0700 of somebody else's: as root, whose capabilities end at its own user namespace, and as anybody.
fn barred(play: &Play) -> Verdict {
    let shut = play.scene.out().join("shut");
    let key = play.scene.out().join("shut/key");
    std::fs::create_dir_all(shut.join("root"))?;
    std::fs::write(&key, "")?;
    if !nix::unistd::geteuid().is_root() {
        return crate::report::skip("only root can give a directory away");
    }
    std::fs::set_permissions(&shut, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    std::os::unix::fs::chown(&shut, Some(65534), Some(65534))?;
    let entries = vec![
        special("root", "read"),
        special("project_roots", "write"),
        path(&key, "deny"),
        path(shut.join("root"), "write"),
        path(shut.join("none"), "deny"),
    ];
    let ran = with(play, &pair(entries), &format!("cat {} || echo started", key.display()))?;
    let warned = ran.err.contains("is not granted");
    ran.must("a warning, and a start", ran.code == 0 && ran.out == "started\n" && warned)
}

/// The sentence names the link, and nothing is started.
fn symlinked_metadata(play: &Play, name: &str) -> Verdict {
    let link = play.scene.w().join(name);
    let _ = std::fs::remove_dir_all(&link);
    play.dir(&play.scene.w().join("decoy"))?;
    symlink("decoy", &link)?;
    closed(play, name)
}

fn dangling_metadata(play: &Play) -> Verdict {
    symlink("../out/later", play.scene.w().join(".codex"))?;
    closed(play, ".codex")
}

fn closed(play: &Play, name: &str) -> Verdict {
    let ran = play.write(&format!("echo x > {name}/config; echo started"))?;
    let says = ran.err.starts_with("codexrun: error: ") && ran.err.contains(name) && !ran.err.contains("panicked");
    ran.must(&format!("exit 1 and a sentence about {name}, nothing started"), ran.code == 1 && says && ran.out.is_empty())
}

fn symlinked_deny(play: &Play) -> Verdict {
    symlink("secret", play.scene.w().join("alias"))?;
    let entries =
        vec![special("root", "read"), special("project_roots", "write"), path(play.scene.w().join("alias/key.txt"), "deny")];
    let ran = with(play, &pair(entries), "rm alias; echo started; cat secret/key.txt")?;
    let closed = ran.code == 1 && ran.err.starts_with("codexrun: error: ") && ran.out.is_empty();
    ran.must("exit 1 and a sentence about the link", closed && ran.err.contains("alias"))
}

fn many_denied(play: &Play) -> Verdict {
    let dir = play.scene.w().join("many");
    play.dir(&dir)?;
    let files: Vec<_> = (0..60).map(|n| dir.join(format!("{n}.env"))).collect();
    files.iter().try_for_each(|f| std::fs::write(f, "secret\n"))?;
    play.dir(&dir)?;
    let mut entries = vec![special("root", "read"), special("project_roots", "write")];
    entries.extend(files.iter().map(|f| path(f, "deny")));
    let ran = with(play, &pair(entries), "cat many/*.env 2>/dev/null; ls many | wc -l")?;
    ran.must("60 names, no content", ran.code == 0 && ran.out == "60\n")
}

fn nested_roots(play: &Play) -> Verdict {
    let inner = play.scene.w().join("sub");
    let policy = json!({"type": "workspace-write", "writable_roots": [inner]});
    let ran = with(play, &policy, "touch sub/made made && ! mkdir sub/.codex 2>/dev/null && ! mkdir .codex 2>/dev/null")?;
    ran.code_is(0)?;
    gone(&[inner.join(".codex"), inner.join(".git"), inner.join(".agents"), play.scene.w().join(".codex")], &ran.line)
}

fn missing_root(play: &Play) -> Verdict {
    let missing = play.scene.dir.join("no-such-root");
    let ran = with(play, &json!({"type": "workspace-write", "writable_roots": [missing]}), "touch made")?;
    ran.code_is(0)?;
    gone(&[missing], &ran.line)
}

fn reopened(play: &Play) -> Verdict {
    let (blocked, open) = (play.scene.out(), play.scene.out().join("dir"));
    let entries = vec![special("root", "read"), special("project_roots", "write"), path(&blocked, "deny"), path(&open, "write")];
    let script = format!(
        "cat '{0}/file.txt' 2>/dev/null && exit 8; touch '{0}/new' 2>/dev/null && exit 9; cat '{1}/inner.txt' && touch '{1}/new'",
        blocked.display(),
        open.display()
    );
    let ran = with(play, &pair(entries), &script)?;
    ran.must("`inner`, and nothing of the denied directory", ran.code == 0 && ran.out == "inner\n")
}

fn root_write(play: &Play) -> Verdict {
    let entries = vec![special("root", "write"), path(play.scene.w().join("secret"), "deny")];
    let ran = with(play, &pair(entries), "echo x > /dev/null && ! cat secret/key.txt 2>/dev/null && touch made")?;
    ran.code_is(0)
}

fn tmpdir(play: &Play) -> Verdict {
    let job = Job::sh("workspace-write", &play.scene, "touch \"$TMPDIR/made\" && ! mkdir \"$TMPDIR/.git\" 2>/dev/null");
    let job = Job { env: vec![("TMPDIR".into(), play.scene.x().display().to_string())], ..job };
    play.column.run(&play.scene, &job)?.code_is(0)
}

fn excluded(play: &Play) -> Verdict {
    let policy = json!({"type": "workspace-write", "exclude_tmpdir_env_var": true, "exclude_slash_tmp": true});
    let file = play.scene.put("policy.json", &policy.to_string())?;
    let script = "touch made && ! touch \"$TMPDIR/made\" 2>/dev/null && ! touch /tmp/codexrun-test-made 2>/dev/null";
    let env = vec![("TMPDIR".into(), play.scene.x().display().to_string())];
    let job = Job { env, ..Job::sh(file.display(), &play.scene, script) };
    play.column.run(&play.scene, &job)?.code_is(0)
}

fn odd_name(play: &Play) -> Verdict {
    let dir = play.scene.dir.join("a b'\"\\ ü,:");
    play.dir(&dir)?;
    let job = Job { cwd: dir.clone(), ..Job::sh("workspace-write", &play.scene, "touch made && ! mkdir .codex 2>/dev/null") };
    let ran = play.column.run(&play.scene, &job)?;
    ran.code_is(0)?;
    unchanged(&dir.join("made"), "")
}

fn symlinked_cwd(play: &Play) -> Verdict {
    let link = play.scene.dir.join("link");
    symlink("w", &link)?;
    let job = Job { cwd: link, ..Job::sh("workspace-write", &play.scene, "touch made && ! touch .git/made 2>/dev/null") };
    play.column.run(&play.scene, &job)?.code_is(0)?;
    unchanged(&play.scene.w().join("made"), "")
}

fn shm(play: &Play) -> Verdict {
    let name = format!("codexrun-test-{}", std::process::id());
    let policy = json!({"type": "workspace-write", "writable_roots": ["/dev/shm"]});
    let ran = with(play, &policy, &format!("echo shared > /dev/shm/{name}"))?;
    let text = std::fs::read_to_string(format!("/dev/shm/{name}")).unwrap_or_default();
    let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
    ran.must("the host's file says `shared`", ran.code == 0 && text == "shared\n")
}

fn cross_link(play: &Play) -> Verdict {
    let x = play.scene.x();
    let policy = json!({"type": "workspace-write", "writable_roots": [x]});
    let ran =
        with(play, &policy, &format!("cp -l plain.txt '{0}/linked' 2>/dev/null || cp plain.txt '{0}/linked'", x.display()))?;
    ran.code_is(0)?;
    unchanged(&x.join("linked"), "plain\n")
}

fn private_shm(play: &Play) -> Verdict {
    let name = format!("codexrun-test-private-{}", std::process::id());
    let ran = play.write(&format!("echo x > /dev/shm/{name}"))?;
    ran.code_is(0)?;
    gone(&[format!("/dev/shm/{name}").into()], &ran.line)
}

fn thousands(play: &Play) -> Verdict {
    let dir = play.scene.w().join("many");
    play.dir(&dir)?;
    (0..3000).try_for_each(|n| std::fs::write(dir.join(format!("{n}.env")), "secret\n"))?;
    play.dir(&dir)?;
    let glob = json!({"path": {"type": "glob_pattern", "pattern": "codex-project-roots://**/*.env"}, "access": "deny"});
    let entries = vec![special("root", "read"), special("project_roots", "write"), glob];
    let ran = with(play, &pair(entries), "cat many/*.env 2>/dev/null; ls many | wc -l")?;
    ran.must("3000 names, no content", ran.code == 0 && ran.out.ends_with("3000\n") && !ran.out.contains("secret"))
}

/// Only the workspace and the system can be seen: every directory on the way to them is nobody's to write.
fn no_scratch(play: &Play) -> Verdict {
    let entries = vec![special("minimal", "read"), special("project_roots", "write")];
    let above = play.scene.dir.display().to_string();
    let script =
        format!("for d in / /var /var/tmp '{above}' /home /opt; do mkdir $d/new 2>/dev/null && echo $d; done; touch made");
    let ran = with(play, &pair(entries), &script)?;
    ran.must("nothing is made", ran.code == 0 && ran.out.is_empty())
}

fn foreign_cwd(play: &Play) -> Verdict {
    if play.column.actor.is_root() {
        return crate::report::skip("root owns every directory");
    }
    let cwd = std::path::PathBuf::from("/usr/share");
    let script = "cd /usr/share && ! touch new 2>/dev/null && ! mkdir .git 2>/dev/null && touch \"$0/made\"";
    let argv = ["/bin/sh", "-c", script, &play.scene.w().display().to_string()];
    let policy = json!({"type": "workspace-write", "writable_roots": [play.scene.w()]});
    let file = play.scene.put("policy.json", &policy.to_string())?;
    play.column.run(&play.scene, &Job { cwd, ..Job::new(file.display(), &play.scene, &argv) })?.code_is(0)
}

fn long_path(play: &Play) -> Verdict {
    let mut cwd = play.scene.w();
    while cwd.as_os_str().len() < 3900 {
        cwd.push("d".repeat(90));
    }
    play.dir(&cwd)?;
    let job = Job { cwd, ..Job::sh("workspace-write", &play.scene, "touch made && ! mkdir .codex 2>/dev/null && pwd | wc -c") };
    let ran = play.column.run(&play.scene, &job)?;
    ran.must("a path of more than 3900 bytes", ran.code == 0 && ran.out.trim().parse::<usize>().is_ok_and(|n| n > 3900))
}

/// What an earlier sandbox has left in /tmp must not widen the next one.
fn planted_tmpdir(play: &Play) -> Verdict {
    let link = std::path::Path::new("/tmp").join(format!("codexrun-test-planted-{}", std::process::id()));
    symlink(play.scene.out(), &link)?;
    let env = vec![("TMPDIR".to_string(), link.display().to_string())];
    let ran =
        play.column.run(&play.scene, &Job { env, ..Job::sh("workspace-write", &play.scene, "echo x > \"$TMPDIR/file.txt\"") });
    std::fs::remove_file(&link)?;
    let ran = ran?;
    ran.must("exit 1 and a sentence about the link", ran.code == 1 && ran.err.contains("writable symlink"))?;
    unchanged(&play.scene.out().join("file.txt"), "outside\n")
}

/// As in a container of docker: part of /proc is covered, so the kernel refuses a whole one (mount_too_revealing).
fn outer_proc(play: &Play) -> Verdict {
    if !play.column.actor.is_root() {
        return crate::report::skip("only root can cover the host's /proc; asked as root");
    }
    let inside = |more: &str| {
        let exe = play.column.runtime.codexrun.display();
        let script = format!(
            "mount -t tmpfs -o ro none /proc/acpi 2>/dev/null || mount -t tmpfs -o ro none /proc/sys; '{exe}' sandbox {more} -- sh -c 'test -r /proc/self/status && touch made'"
        );
        let argv = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", &script];
        Ok::<_, No>(crate::launch::Launch::new(&argv, &play.scene.w()).run(&play.column.actor)?)
    };
    let refused = inside("")?;
    refused.must("exit 1 and the remedy", refused.code == 1 && refused.err.contains("--proc outer"))?;
    inside("--proc outer")?.code_is(0)?;
    let auto = inside("--isolation auto")?;
    auto.must(
        "exit 1 and the remedies",
        auto.code == 1 && auto.err.contains("`--proc outer`") && auto.err.contains("`--accept-loss processes`"),
    )?;
    inside("--isolation auto --policy danger-full-access")?.code_is(0)?;
    let auto = inside("--isolation auto --accept-loss processes")?;
    auto.must("namespaces, and what is lost", auto.code == 0 && auto.err.contains("isolation: namespaces; given up: processes"))
}
