//! What goes beyond Codex's forms: the object `codexrun` of a policy.

use super::{Case, On, Play, case, unchanged};
use crate::launch::Ran;
use crate::report::{No, Verdict, skip};
use crate::runtime::Job;
use serde_json::{Value, json};
use std::path::Path;

pub const CASES: &[Case] = &[
    case("private_tmp is empty, writable, and not the host's (#17625)", On::Every, private_tmp),
    case("a workspace below a private /tmp is the host's", On::Sandbox, below_private_tmp),
    case("a device that is granted can be opened, others are not there (#3141)", On::Every, device),
    case("a toolchain's cache is writable, what lies beside it is not (#2444)", On::Every, cache),
    case("deny_secrets hides keys and leaves the rest of the home directory", On::Every, secrets),
    case("limits.pids ends a fork bomb (#38909)", On::Sandbox, pids),
    case("limits.memory: too much is refused or ended, and said", On::Sandbox, memory),
    case("limits.files", On::Every, files),
    case("limits.wall: exit 124", On::Codexrun, wall),
    case("a choice that full access would ignore is refused", On::Sandbox, ignored),
    case("switches have the names of the fields", On::Sandbox, switches),
];

fn with(play: &Play, choices: Value, script: &str) -> Result<Ran, No> {
    let file = play.scene.put("policy.json", &json!({"type": "workspace-write", "codexrun": choices}).to_string())?;
    let home = play.scene.dir.join("home").display().to_string();
    play.column.run(&play.scene, &Job { env: vec![("HOME".into(), home)], ..Job::sh(file.display(), &play.scene, script) })
}

fn private_tmp(play: &Play) -> Verdict {
    let name = format!("codexrun-test-private-{}", std::process::id());
    let ran = with(play, json!({"private_tmp": true}), &format!("ls -A /tmp && echo x > /tmp/{name} && ls /tmp && touch made"))?;
    ran.must("only the new file", ran.code == 0 && ran.out.trim() == name)?;
    if Path::new("/tmp").join(&name).exists() {
        crate::report::fail(&ran.line, "no such file outside", "it is there")
    } else {
        Ok(())
    }
}

fn below_private_tmp(play: &Play) -> Verdict {
    let cwd = Path::new("/tmp").join(format!("codexrun-test-cwd-{}", std::process::id()));
    std::fs::create_dir_all(cwd.join(".git"))?;
    play.column.actor.own(&cwd)?;
    let file =
        play.scene.put("policy.json", &json!({"type": "workspace-write", "codexrun": {"private_tmp": true}}).to_string())?;
    let script = "touch made && ! touch .git/made 2>/dev/null && ! mkdir .codex 2>/dev/null && touch /tmp/own";
    let ran = play.column.run(&play.scene, &Job { cwd: cwd.clone(), ..Job::sh(file.display(), &play.scene, script) });
    let made = unchanged(&cwd.join("made"), "");
    std::fs::remove_dir_all(&cwd)?;
    ran?.code_is(0).and(made)
}

fn device(play: &Play) -> Verdict {
    if !Path::new("/dev/fuse").exists() {
        return skip("there is no /dev/fuse on this machine");
    }
    if play.column.runtime.kind == crate::runtime::Kind::Runc && play.column.actor.is_root() {
        return skip("runc's cgroup refuses every device that config.json does not list; `--portable-to runc` tells of it");
    }
    let may = play.column.actor.is_root();
    let open = if may { "exec 3<>/dev/fuse &&" } else { "" };
    with(
        play,
        json!({"devices": ["fuse"]}),
        &format!("{open} test -c /dev/fuse && ! test -e /dev/loop-control && ! touch /dev/fuse/x 2>/dev/null"),
    )?
    .code_is(0)
}

fn cache(play: &Play) -> Verdict {
    let home = play.scene.dir.join("home/.cargo");
    ["registry", "bin"].iter().try_for_each(|name| play.dir(&home.join(name)))?;
    let script = "cd ~/.cargo && touch registry/made && ! touch bin/made 2>/dev/null && ! touch config.toml 2>/dev/null";
    with(play, json!({"caches": ["cargo", "npm"]}), &script.replace('~', &play.scene.dir.join("home").display().to_string()))?
        .code_is(0)
}

fn secrets(play: &Play) -> Verdict {
    let home = play.scene.dir.join("home");
    play.dir(&home.join(".ssh"))?;
    for (name, text) in [(".ssh/id_rsa", "key"), (".netrc", "password"), (".profile", "profile")] {
        std::fs::write(home.join(name), text)?;
    }
    play.column.actor.own(&home)?;
    let ran = with(
        play,
        json!({"deny_secrets": true}),
        &format!("cd '{}'; cat .ssh/id_rsa .netrc .profile 2>/dev/null; :", home.display()),
    )?;
    ran.must("`profile`", ran.out == "profile")
}

/// A limit that this machine cannot hold for this user is refused, with the remedy.
fn held(ran: &Ran) -> Verdict {
    match ran.code == 1 && ran.err.contains("cannot be held") {
        true => skip("no cgroup can be made here, and the launch was refused"),
        false => Ok(()),
    }
}

fn pids(play: &Play) -> Verdict {
    let ran = with(play, json!({"limits": {"pids": 30}}), "for i in $(seq 100); do sleep 2 & done; echo all")?;
    held(&ran)?;
    ran.must("not all of them", !ran.out.contains("all") && ran.err.contains("fork"))
}

fn memory(play: &Play) -> Verdict {
    let ran = with(play, json!({"limits": {"memory": "64m"}}), "dd if=/dev/zero of=/dev/null bs=256M count=1")?;
    let said = ran.err.contains("wanted more memory than it may have") || ran.err.contains("memory exhausted");
    ran.must("an end, and its reason", ran.code != 0 && said)
}

fn files(play: &Play) -> Verdict {
    let ran = with(play, json!({"limits": {"files": 200}}), "ulimit -n; ulimit -Hn")?;
    ran.must("200, both", ran.out == "200\n200\n")
}

fn wall(play: &Play) -> Verdict {
    let start = std::time::Instant::now();
    let ran = with(play, json!({"limits": {"wall": 1}}), "sleep 60")?;
    let soon = start.elapsed() < std::time::Duration::from_secs(20);
    ran.must("exit 124 and a sentence", ran.code == 124 && ran.err.contains("the time is over") && soon)
}

fn ignored(play: &Play) -> Verdict {
    let file =
        play.scene.put("policy.json", &json!({"type": "danger-full-access", "codexrun": {"private_tmp": true}}).to_string())?;
    let ran = play.sh(file.display(), "echo started")?;
    ran.must("exit 1 and a sentence", ran.code == 1 && ran.out.is_empty() && ran.err.contains("`private_tmp` has no effect"))
}

fn switches(play: &Play) -> Verdict {
    let words = "sandbox --private-tmp --deny-secrets --nested-git --cache npm --limit files=41 -- /bin/sh -c";
    let words: Vec<&str> = words.split(' ').chain(["ulimit -n; ls -A /tmp | wc -l"]).collect();
    let ran = play.codexrun(&words)?;
    ran.must("41, and nothing in /tmp", ran.code == 0 && ran.out.starts_with("41\n"))?;
    let wrong = play.codexrun(&["sandbox", "--limit", "disk=1", "--", "true"])?;
    wrong.must("the names of limits", wrong.code == 1 && wrong.err.contains("pids, memory, cpus, files, wall"))
}
